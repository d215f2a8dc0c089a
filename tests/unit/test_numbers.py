"""Telephone numbers: read from any text, shown masked."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.errors import InvalidNumber
from billing.numbers import is_mobile, mask, national, parse_number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("02188776655", "+982188776655"),
        ("+982188776655", "+982188776655"),
        ("00982188776655", "+982188776655"),
        ("021-8877 6655", "+982188776655"),
        ("09123456789", "+989123456789"),
        ("۰۹۱۲۳۴۵۶۷۸۹", "+989123456789"),
        ("٠٩١٢٣٤٥٦٧٨٩", "+989123456789"),
        (" 09123456789\n", "+989123456789"),
        ("+44 7911 123456", "+447911123456"),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, expected: str) -> None:
    """National and international forms, separators, Persian and Arabic digits."""
    assert parse_number(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2000",
        "021",
        "0218877665",
        "091234567890",
        "+",
        "1-800-FLOWERS",
        "tel:02188776655",
        "02188776655;ext=5",
        "'; DROP TABLE lines",
        "0" * 5000,
        "\x00",
        "²²²²²²²²²²²",
        "09123456789,",
    ],
)
def test_what_is_no_number_is_refused_without_repeating_it(text: str) -> None:
    """The error is for logs too: it never holds the input."""
    with pytest.raises(InvalidNumber) as caught:
        parse_number(text)
    assert text.strip() == "" or text.strip() not in str(caught.value)


@given(st.text(max_size=60))
def test_hostile_text_raises_nothing_else(text: str) -> None:
    """Any text at all is a number in E.164 or InvalidNumber; masking never fails."""
    mask(text)
    try:
        number = parse_number(text)
    except InvalidNumber:
        return
    assert number.startswith("+")
    assert number[1:].isdigit()
    assert parse_number(number) == number


@given(st.integers(min_value=10**9, max_value=10**10 - 1))
def test_the_short_way_for_home_numbers_agrees_with_phonenumbers(digits: int) -> None:
    """The fast patterns accept and classify exactly what the library does."""
    number = phonenumbers.parse(f"+98{digits}")
    expected = phonenumbers.is_valid_number(number)
    try:
        parsed: str | None = parse_number(f"0{digits}")
    except InvalidNumber:
        parsed = None
    assert (parsed is not None) == expected
    if parsed is not None:
        mobile = phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.MOBILE
        assert is_mobile(parsed) == mobile


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("02188776655", "mobile"),
        ("09123456789", "fixed"),
        ("+44 20 7946 0018", "mobile"),
        ("+44 7911 123456", "fixed"),
    ],
)
def test_a_number_of_the_other_kind_is_refused(text: str, kind: str) -> None:
    """An SMS never goes to a fixed line, a fixed line's bill never names a mobile."""
    with pytest.raises(InvalidNumber):
        parse_number(text, kind=kind)  # type: ignore[arg-type]


def test_national_form_is_what_is_dialled_at_home() -> None:
    """With the leading zero at home, with 00 and the country code for foreign numbers."""
    assert national("+982188776655") == "02188776655"
    assert national("+447911123456") == "00447911123456"


@pytest.mark.parametrize(
    ("number", "masked"),
    [
        ("+989123456789", "+98912***6789"),
        ("02188776655", "021887***6655"),
        (None, "-"),
        ("", "-"),
        ("2000", "2000"),
        ("8877665", "***65"),
        ("sip:ali@example.org", "***"),
    ],
)
def test_masked_numbers_keep_what_operations_need(number: str | None, masked: str) -> None:
    """Enough to follow a complaint, not enough to call."""
    assert mask(number) == masked
