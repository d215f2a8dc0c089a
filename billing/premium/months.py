"""The months that premium credit and settlement count by, in the operator's calendar (D8, D13).

A month is year times 100 plus month: 140509 is Azar 1405 (Solar Hijri), 202611 November 2026.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from typing import Literal
from zoneinfo import ZoneInfo

import jdatetime  # type: ignore[import-untyped]

from billing.digits import ascii_digits

CalendarName = Literal["persian", "gregorian"]


def month_of(moment: datetime, zone: ZoneInfo, calendar: CalendarName) -> int:
    """Return the month that ``moment`` (aware) lies in, at the operator's place."""
    day = moment.astimezone(zone).date()
    if calendar == "gregorian":
        return day.year * 100 + day.month
    hijri = jdatetime.date.fromgregorian(date=day)
    return int(hijri.year * 100 + hijri.month)


def bounds(month: int, zone: ZoneInfo, calendar: CalendarName) -> tuple[datetime, datetime]:
    """Return the moments (UTC) from which and before which ``month`` is.

    Raises:
        ValueError: there is no such month.
    """
    return _first(month, zone, calendar), _first(following(month), zone, calendar)


def following(month: int) -> int:
    """Return the month after ``month``."""
    return month + 1 if month % 100 < 12 else month + 89


def preceding(month: int) -> int:
    """Return the month before ``month``."""
    return month - 1 if month % 100 > 1 else month - 89


def parse_month(text: str) -> int:
    """Read a month such as 1405-09 or ۱۴۰۵/۰۹.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(r"(\d{4})[-/](\d{1,2})", ascii_digits(text.strip()))
    if match is None or not 1 <= int(match[2]) <= 12 or int(match[1]) == 0:
        raise ValueError(f"{text!r} is no month; write it as 1405-09")
    return int(match[1]) * 100 + int(match[2])


def format_month(month: int) -> str:
    """Return a month as `parse_month` reads it."""
    return f"{month // 100:04}-{month % 100:02}"


def _first(month: int, zone: ZoneInfo, calendar: CalendarName) -> datetime:
    year, number = divmod(month, 100)
    if calendar == "gregorian":
        day = date(year, number, 1)
    else:
        day = jdatetime.date(year, number, 1).togregorian()
    return datetime.combine(day, time(), zone).astimezone(UTC)
