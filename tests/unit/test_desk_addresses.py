"""E-mail addresses out of hostile text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.addresses import extract_address
from billing.errors import InvalidAddress


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ali@example.ir", "ali@example.ir"),
        ("My address is Ali.Rezaei@Example.COM.", "Ali.Rezaei@example.com"),
        ("ali@example.ir\n", "ali@example.ir"),
        ("<ali@example.ir>", "ali@example.ir"),
        ("mailto:ali@example.ir", "ali@example.ir"),
        ("ایمیل من: ali@example.ir،", "ali@example.ir"),
        ("\u200eali@example.ir\u200f", "ali@example.ir"),
        ("ali۱۲@example.ir", "ali12@example.ir"),
        ("ali٣@example.ir", "ali3@example.ir"),
        ("ali＠example．ir", "ali@example.ir"),
        ("ali@example.ir ali@EXAMPLE.ir", "ali@example.ir"),
        ("o'neil+bills@mail.example.co.uk", "o'neil+bills@mail.example.co.uk"),
        ("ali@مثال.ایران", "ali@xn--mgbh0fb.xn--mgba3a4f16a"),
        ("a" * 64 + "@example.ir", "a" * 64 + "@example.ir"),
    ],
)
def test_an_address_is_found_as_people_write_it(text: str, expected: str) -> None:
    """Sentences, brackets, marks a phone adds, a Persian keyboard's digits and signs."""
    assert extract_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no address here",
        "ali@",
        "@example.ir",
        "ali@example",
        "ali@localhost",
        "ali@192.168.1.1",
        "ali@[192.168.1.1]",
        "a@b@example.ir",
        "ali@example.ir, reza@example.ir",
        "ali@example.ir\r\nBcc: everybody@example.org",
        "ali@-example.ir",
        "ali@example..ir",
        "ali..r@example.ir",
        ".ali@example.ir",
        "-oQ/tmp@example.ir",
        '"ali rezaei"@example.ir',
        "علی@example.ir",
        "ali/../x@example.ir",
        "a" * 65 + "@example.ir",
        "a@" + "b" * 64 + ".ir",
        "a@" + ".".join(["b" * 60] * 4) + ".example.ir",
        "ali@example.ir" + " " * 2000,
        "ali@ex\u0000ample.ir",
    ],
)
def test_what_is_not_exactly_one_address_is_refused(text: str) -> None:
    """Two addresses, header injection, lengths over RFC 5321's, other people's forms."""
    with pytest.raises(InvalidAddress):
        extract_address(text)


@given(st.text(max_size=300) | st.from_regex(r"[^@]{0,20}@[^@]{0,20}\.[a-z]{0,5}", fullmatch=True))
def test_what_is_accepted_can_stand_in_a_header(text: str) -> None:
    """Whatever comes in: an address of harmless characters within the limits, or a refusal."""
    try:
        address = extract_address(text)
    except InvalidAddress:
        return
    assert re.fullmatch(r"[A-Za-z0-9._+'-]{1,64}@[a-z0-9.-]{4,}", address)
    assert len(address) <= 254
    assert extract_address(address) == address
