"""Hours of a service or a consultant: windows on weekdays, and holidays on which nobody works."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from billing.calendars import WEEKDAYS, Calendar

DAY_MINUTES = 24 * 60
# How far ahead somebody is told when it opens again.
_LOOK_DAYS = 14
_CLOCK = re.compile(r"([0-9]{1,2}):([0-5][0-9])")
_ENTRIES = {"days", "from", "to"}
_MOST_WINDOWS = 100


@dataclass(frozen=True, slots=True)
class Hours:
    """On ``days`` (Monday is 0) from ``begin`` to before ``end``, minutes of the local clock."""

    days: frozenset[int]
    begin: int
    end: int

    def as_dict(self) -> dict[str, Any]:
        """Return it as it is kept, and as `parse_hours` reads it."""
        return {
            "days": [WEEKDAYS[day] for day in sorted(self.days)],
            "from": _clock(self.begin),
            "to": _clock(self.end),
        }


def parse_hours(entries: Any) -> tuple[Hours, ...]:
    """Read ``[{days: [saturday], from: "08:00", to: "20:00"}]``; without ``days``, every day.

    Raises:
        ValueError: its text is ``<place>: <reason>``, the place such as ``[0].from``.
    """
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise ValueError(": a list of entries with days, from and to is needed")
    if len(entries) > _MOST_WINDOWS:
        raise ValueError(f": {_MOST_WINDOWS} at most")
    return tuple(_hours(place, entry) for place, entry in enumerate(entries))


def _hours(place: int, entry: Any) -> Hours:
    if not isinstance(entry, Mapping):
        raise ValueError(f"[{place}]: entries days, from and to are needed")
    for name in entry:
        if name not in _ENTRIES:
            raise ValueError(f"[{place}].{str(name)[:40]}: no such entry")
    days = entry.get("days", list(WEEKDAYS))
    if not isinstance(days, Sequence) or isinstance(days, str) or not days:
        raise ValueError(f"[{place}].days: a list of {', '.join(WEEKDAYS)}")
    for day in days:
        if day not in WEEKDAYS:
            raise ValueError(f"[{place}].days: {str(day)[:40]!r} is no day of the week")
    ends = []
    for name in ("from", "to"):
        minutes = _minutes(entry.get(name))
        if minutes is None:
            raise ValueError(f'[{place}].{name}: a time from "00:00" to "24:00", in quotes')
        ends.append(minutes)
    if ends[0] >= ends[1]:
        raise ValueError(f"[{place}].to: must be after from; over midnight, write two entries")
    return Hours(frozenset(map(WEEKDAYS.index, days)), ends[0], ends[1])


def is_open(
    hours: Sequence[Hours], closed: Calendar | None, moment: datetime, zone: ZoneInfo
) -> bool:
    """Return whether ``moment`` is within the hours; none at all means always.

    ``closed`` is the calendar on whose holidays nobody works; a year that it does not list has none
    for all we know.
    """
    local = moment.astimezone(zone)
    if _is_holiday(closed, local.date()):
        return False
    minute = local.hour * 60 + local.minute
    return not hours or any(
        local.weekday() in each.days and each.begin <= minute < each.end for each in hours
    )


def next_open(
    hours: Sequence[Hours], closed: Calendar | None, moment: datetime, zone: ZoneInfo
) -> datetime | None:
    """Return the first moment (UTC) from ``moment`` on that is within the hours.

    None if there is none within two weeks.
    """
    if is_open(hours, closed, moment, zone):
        return moment.astimezone(UTC)
    first = moment.astimezone(zone).date()
    for day in (first + timedelta(days=ahead) for ahead in range(_LOOK_DAYS + 1)):
        if _is_holiday(closed, day):
            continue
        begins = [0] if not hours else [each.begin for each in hours if day.weekday() in each.days]
        for minutes in sorted(begins):
            at = datetime.combine(day, time(minutes // 60, minutes % 60), zone).astimezone(UTC)
            if at > moment:
                return at
    return None


def _is_holiday(closed: Calendar | None, day: date) -> bool:
    return closed is not None and day in closed.holidays


def _minutes(value: Any) -> int | None:
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    minutes = int(match[1]) * 60 + int(match[2]) if match else DAY_MINUTES + 1
    return minutes if minutes <= DAY_MINUTES else None


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
