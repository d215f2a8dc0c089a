"""Months of credit and settlement, in either calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.premium.months import (
    CalendarName,
    bounds,
    following,
    format_month,
    month_of,
    parse_month,
    preceding,
)
from tests.charging_house import TEHRAN


def test_the_month_changes_at_midnight_in_tehran() -> None:
    """1405/09/01 is 2026-11-22, and it begins at 20:30 UTC of the day before."""
    begin = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
    before = begin - timedelta(microseconds=1)
    assert month_of(begin, TEHRAN, "persian") == 140509
    assert month_of(before, TEHRAN, "persian") == 140508
    assert bounds(140509, TEHRAN, "persian")[0] == begin
    assert bounds(140508, TEHRAN, "persian")[1] == begin
    assert month_of(begin, TEHRAN, "gregorian") == 202611
    assert bounds(202612, TEHRAN, "gregorian") == (
        datetime(2026, 11, 30, 20, 30, tzinfo=UTC),
        datetime(2026, 12, 31, 20, 30, tzinfo=UTC),
    )


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)),
    st.sampled_from(["persian", "gregorian"]),
)
def test_every_moment_is_in_one_month(moment: datetime, calendar: CalendarName) -> None:
    """Months follow each other without gap or overlap, each as its name says."""
    at = moment.replace(tzinfo=UTC)
    month = month_of(at, TEHRAN, calendar)
    begin, end = bounds(month, TEHRAN, calendar)
    assert begin <= at < end
    assert bounds(following(month), TEHRAN, calendar)[0] == end
    assert preceding(following(month)) == month
    assert parse_month(format_month(month)) == month


@pytest.mark.parametrize("text", ["1405-9", "1405/09", " ۱۴۰۵-۰۹ "])
def test_a_month_in_its_spellings(text: str) -> None:
    """With a hyphen or a slash, in any digits."""
    assert parse_month(text) == 140509


@pytest.mark.parametrize("text", ["", "1405", "1405-13", "1405-00", "140509", "0000-01", "x-y"])
def test_what_is_no_month(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="is no month"):
        parse_month(text)
