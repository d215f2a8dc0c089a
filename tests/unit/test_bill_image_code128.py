"""Code 128, set C: known codes, and the standard's own arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.bill_image.code128 import bar_widths

DIGITS = st.text("0123456789", min_size=1, max_size=20).map(lambda half: half + half[::-1])


def test_known_code():
    """0123456789: start C, 01 23 45 67 89, check symbol 1000 mod 103 = 73, stop."""
    known = "211232 222122 312131 113123 141122 212141 142112 2331112"
    assert "".join(map(str, bar_widths("0123456789"))) == known.replace(" ", "")


@given(DIGITS)
def test_every_symbol_is_eleven_modules_wide(digits):
    """Start, pairs and check symbol are 11 modules wide, of which an even number is black."""
    widths = bar_widths(digits)
    assert sum(widths) == 11 * (len(digits) // 2 + 2) + 13
    for start in range(0, len(widths) - 7, 6):
        symbol = widths[start : start + 6]
        assert sum(symbol) == 11
        assert sum(symbol[::2]) % 2 == 0


@pytest.mark.parametrize("text", ["", "1", "123", "12 4", "1a", "۱۲", "²2", "-1"])
def test_only_pairs_of_digits(text):
    """Anything but a non-empty even number of digits 0-9 is refused."""
    with pytest.raises(ValueError, match="pairs of digits"):
        bar_widths(text)
