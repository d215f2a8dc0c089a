"""The Solar Hijri calendar."""

from __future__ import annotations

import datetime
from typing import NamedTuple

import jdatetime  # type: ignore[import-untyped]


class HijriDate(NamedTuple):
    """A day of the Solar Hijri calendar: year, month 1..12, day 1..31."""

    year: int
    month: int
    day: int


def from_gregorian(day: datetime.date) -> HijriDate:
    """The same day in the Solar Hijri calendar. Raises TypeError if it is not a date."""
    if not isinstance(day, datetime.date):
        raise TypeError("not a date")
    hijri = jdatetime.date.fromgregorian(date=day)
    return HijriDate(hijri.year, hijri.month, hijri.day)
