"""What an owner's SMS orders: forms that are an order wholly, and everything else that is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.premium.owner_commands import LONGEST_ORDER, Command, parse_command


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("YES 4711", Command("yes", 4711)),
        ("yes4711", None),
        ("  Yes:  4711 !", Command("yes", 4711)),
        ("بله ۴۷۱۱", Command("yes", 4711)),
        ("\u200fبله\u200c ۴۷۱۱\u200f", Command("yes", 4711)),
        ("نَعَم ٤٧١١", Command("yes", 4711)),
        ("ДА 4711", Command("yes", 4711)),
        ("４７１１ ＹＥＳ", Command("yes", 4711)),
        ("نه ۴۷۱۱", Command("no", 4711)),
        ("خير 4711", Command("no", 4711)),
        ("нет 4711", Command("no", 4711)),
        ("ليست", Command("list")),
        ("قائمه", Command("list")),
        ("LIST", Command("list")),
        ("list 4", None),
        ("الغاء 12", Command("stop", 12)),
        ("стоп 12", Command("stop", 12)),
        ("STOP", None),
        ("credit 1,500,000", Command("credit", 1_500_000)),
        ("Credit 1'500'000 021 88776655", None),
        ("credit", Command("credit")),
        ("credit 500000 +982188776655", Command("credit", 500_000, "+982188776655")),
        ("yes no 4711", None),
        ("yes", Command("yes")),
    ],
)
def test_forms(text, command):
    """In four languages, with the marks that keyboards add, and numerals of any kind."""
    assert parse_command(text) == command


@given(st.text(max_size=200))
def test_any_text(text):
    """Nothing breaks; what is an order names no number that is not in it."""
    command = parse_command(text)
    if command is None:
        return
    assert len(text) <= LONGEST_ORDER
    assert command.number is None or 0 <= command.number < 10**16


@given(st.text(alphabet=st.characters(categories=["Lu", "Ll", "Lo", "Nd", "Po", "Zs"])))
def test_more_words_than_one_are_no_order(text):
    """A word of ours in a sentence orders nothing."""
    assert parse_command(f"yes indeed {text}") is None
