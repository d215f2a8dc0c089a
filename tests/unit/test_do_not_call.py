"""Do-not-call lists: loading, asking, forgetting."""

from __future__ import annotations

import pytest

from billing import do_not_call
from billing.clock import FixedClock
from billing.database import Database
from billing.do_not_call import InvalidList, Loaded


def test_a_file_is_loaded_line_by_line(database: Database, clock: FixedClock) -> None:
    """Any form of a number, comments and a byte order mark are fine; wrong lines are named."""
    rows = [
        "\ufeff02188776655 # head office\n",
        "\n",
        "# a comment\n",
        "+98 912 345 6789\r\n",
        "۰۲۱۸۸۷۷۶۶۵۵\n",
        "12\n",
        "no number\n",
    ]
    loaded = do_not_call.add(database, "regulator", rows, clock.now())
    assert (loaded.added, loaded.unchanged) == (2, 1)
    assert [place for place, _ in loaded.rejected] == [6, 7]
    assert do_not_call.numbers_of(database, "regulator") == ["+982188776655", "+989123456789"]
    again = do_not_call.add(database, "regulator", rows[:5], clock.now())
    assert again == Loaded(0, 3, [])


def test_a_number_can_be_on_several_lists(database: Database, clock: FixedClock) -> None:
    """Taken off one, it stays on the others."""
    for name in ("a", "b"):
        do_not_call.add(database, name, ["02188776655"], clock.now())
    assert do_not_call.remove(database, "a", "+982188776655")
    assert not do_not_call.remove(database, "a", "+982188776655")
    assert [(size.name, size.numbers) for size in do_not_call.sizes(database)] == [("b", 1)]


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a,b"])
def test_a_wrong_list_name_is_refused(database: Database, clock: FixedClock, name: str) -> None:
    """Nothing is loaded under it."""
    with pytest.raises(InvalidList):
        do_not_call.add(database, name, ["02188776655"], clock.now())
    assert do_not_call.sizes(database) == []


def test_a_long_file_is_loaded_in_pieces(database: Database, clock: FixedClock) -> None:
    """Thousands of numbers, read as they come, once each."""
    rows = (f"021{22000000 + place % 2500}" for place in range(5000))
    loaded = do_not_call.add(database, "x", rows, clock.now())
    assert (loaded.added, loaded.unchanged) == (2500, 2500)
