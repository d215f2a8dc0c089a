"""Cutting texts into SMS parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.sms_parts import segment


@pytest.mark.parametrize(
    ("text", "encoding", "units", "parts"),
    [
        ("", "GSM-7", 0, 1),
        ("a" * 160, "GSM-7", 160, 1),
        ("a" * 161, "GSM-7", 161, 2),
        ("a" * 306, "GSM-7", 306, 2),
        ("a" * 307, "GSM-7", 307, 3),
        ("€" * 80, "GSM-7", 160, 1),
        ("€" * 81, "GSM-7", 162, 2),
        ("ق" * 70, "UCS-2", 70, 1),
        ("ق" * 71, "UCS-2", 71, 2),
        ("ق" * 134, "UCS-2", 134, 2),
        ("ق" * 135, "UCS-2", 135, 3),
        ("a" * 69 + "ق", "UCS-2", 70, 1),
        ("🙂" * 35, "UCS-2", 70, 1),
        ("🙂" * 36, "UCS-2", 72, 2),
        ("`", "UCS-2", 1, 1),
    ],
)
def test_parts_are_counted_as_a_network_counts_them(text, encoding, units, parts):
    """160/153 septets and 70/67 units; the euro sign takes two septets, an emoji two units."""
    found = segment(text)
    assert (found.encoding, found.units, len(found.parts)) == (encoding, units, parts)


def test_a_two_septet_character_is_not_cut():
    """A euro sign that would straddle septets 153 and 154 moves to the next part whole."""
    assert segment("a" * 152 + "€" + "a" * 20).parts == ("a" * 152, "€" + "a" * 20)


def test_an_emoji_is_not_cut():
    """A surrogate pair that would straddle units 67 and 68 moves to the next part whole."""
    assert segment("ق" * 66 + "🙂" + "ق" * 5).parts == ("ق" * 66, "🙂" + "ق" * 5)


@given(st.text(max_size=700) | st.text(alphabet="a€|\n", max_size=700))
def test_nothing_is_lost_and_no_part_is_too_long(text):
    """The parts join to the text, and each fits its limit alone."""
    found = segment(text)
    assert "".join(found.parts) == text
    limit = {("GSM-7", True): 160, ("GSM-7", False): 153, ("UCS-2", True): 70}.get(
        (found.encoding, len(found.parts) == 1), 67
    )
    for part in found.parts:
        if found.encoding == "UCS-2":
            assert len(part.encode("utf-16-be", "surrogatepass")) // 2 <= limit
        else:
            assert sum(2 if c in "\f^{}\\[~]|€" else 1 for c in part) <= limit
