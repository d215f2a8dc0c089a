"""When a subscriber may be called: a daily window, by the clock and calendar where they live.

Where a number lives follows from its prefix (the numbering plan's time zones, as libphonenumber
lists them). A number that may be in several zones, as most mobile numbers of large countries,
counts as the operator's own if that zone is among them; else it is called only while the window is
open in all of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import phonenumbers
from phonenumbers import timezone as zones_of_numbers

from billing.calendars import Calendar
from billing.errors import BillingError

_WINDOW = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])-([01]?[0-9]|2[0-4]):([0-5][0-9])")
_DAY_MINUTES = 24 * 60
# libphonenumber's word for "nobody knows".
_UNKNOWN = "Etc/Unknown"
# Longer than any run of weekends and holidays; a calendar without a working day ends there.
_LONGEST_REST_DAYS = 60


class InvalidWindow(BillingError, ValueError):
    """A text is not a calling window."""


class NeverOpen(BillingError):
    """No moment in the coming weeks is one to call at: window, zones and calendar leave none."""


@dataclass(frozen=True, slots=True)
class Window:
    """From ``start`` up to, not including, ``end``: minutes after local midnight."""

    start: int
    end: int

    def __str__(self) -> str:
        """The form that `parse_window` reads."""
        return "-".join(f"{at // 60:02d}:{at % 60:02d}" for at in (self.start, self.end))


def parse_window(text: str) -> Window:
    """Return the window written as ``09:00-20:00``; ``24:00`` is the end of the day.

    Raises:
        InvalidWindow: it is not one, or is empty or goes over midnight.
    """
    match = _WINDOW.fullmatch(text.strip())
    if match is None:
        raise InvalidWindow(f"window {text!r}: write it as 09:00-20:00")
    hour, minute, end_hour, end_minute = map(int, match.groups())
    window = Window(hour * 60 + minute, end_hour * 60 + end_minute)
    if not window.start < window.end <= _DAY_MINUTES:
        raise InvalidWindow(f"window {text!r}: has to end after it starts, on the same day")
    return window


@dataclass(frozen=True, slots=True)
class CallingHours:
    """A window with the calendar of working days (None: every day is one) and the home zone."""

    window: Window
    calendar: Calendar | None
    home: ZoneInfo

    def next_open(self, number: str, now: datetime) -> datetime:
        """Return ``now`` if the number (E.164) may be called, else the next moment it may (UTC).

        Raises:
            YearNotCovered: the calendar ends before it can be told.
            NeverOpen: there is no such moment.
        """
        return self._next_open(_zones(number, self.home), now)

    def home_next_open(self, now: datetime) -> datetime:
        """Return the same for a number in the home zone: when the campaign as a whole opens.

        Raises:
            YearNotCovered: the calendar ends before it can be told.
            NeverOpen: there is no such moment.
        """
        return self._next_open((self.home,), now)

    def after(self, start: datetime, open_s: float) -> datetime:
        """Return when ``open_s`` seconds of open time in the home zone have passed since ``start``.

        Raises:
            YearNotCovered: the calendar ends before it can be told.
            NeverOpen: there is no such moment.
        """
        at, left = self.home_next_open(start), open_s
        while True:
            closes = _moment(at.astimezone(self.home).date(), self.window.end, self.home)
            span = (closes - at).total_seconds()
            if left <= span:
                return at + timedelta(seconds=left)
            left -= span
            at = self.home_next_open(closes)

    def _next_open(self, zones: tuple[ZoneInfo, ...], now: datetime) -> datetime:
        at = now.astimezone(UTC)
        limit = at + timedelta(days=_LONGEST_REST_DAYS)
        while at < limit:
            # Each zone can only put it off; a moment that no zone puts off is open in all.
            latest = max(self._next_open_in(zone, at) for zone in zones)
            if latest == at:
                return at
            at = latest
        raise NeverOpen(f"window {self.window} is never open for this number")

    def _next_open_in(self, zone: ZoneInfo, at: datetime) -> datetime:
        day = at.astimezone(zone).date()
        for _ in range(_LONGEST_REST_DAYS):
            if self.calendar is None or self.calendar.is_working(day):
                opens = _moment(day, self.window.start, zone)
                closes = _moment(day, self.window.end, zone)
                if at < closes and opens < closes:
                    return max(at, opens)
            day += timedelta(days=1)
        raise NeverOpen(f"no working day within {_LONGEST_REST_DAYS} days")


def _moment(day: date, minutes: int, zone: ZoneInfo) -> datetime:
    """The moment (UTC) at which the clocks of ``zone`` show ``minutes`` after midnight."""
    if minutes == _DAY_MINUTES:
        day, minutes = day + timedelta(days=1), 0
    local = datetime.combine(day, time(minutes // 60, minutes % 60), tzinfo=zone)
    return local.astimezone(UTC)


@lru_cache(maxsize=4096)
def _zones(number: str, home: ZoneInfo) -> tuple[ZoneInfo, ...]:
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return (home,)
    names = zones_of_numbers.time_zones_for_number(parsed)
    known = tuple(name for name in names if name != _UNKNOWN)
    if home.key in known or not known:
        return (home,)
    return tuple(ZoneInfo(name) for name in known)
