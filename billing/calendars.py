"""Calendars of working days: weekends and dated holidays, read from a file (domain E2, E3).

A calendar knows only the years it lists. A day of another year is an error and never a guess:
whoever relied on it would call people on their holidays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from billing.errors import BillingError

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
"""The names of weekdays in a calendar file, in the order of `date.weekday`."""

_NAME = re.compile(r"[a-z0-9_\-]{1,64}")
_ENTRIES = {"name", "weekend", "years", "holidays"}


class InvalidCalendar(BillingError, ValueError):
    """A calendar file cannot be used; the text names file and entry."""


class YearNotCovered(BillingError, LookupError):
    """A calendar does not know the year of a day that it was asked about."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """Which days are days of work. ``weekend`` holds weekdays as `date.weekday` counts them."""

    name: str
    weekend: frozenset[int]
    years: frozenset[int]
    holidays: Mapping[date, str]

    def is_working(self, day: date) -> bool:
        """Return whether ``day`` is neither weekend nor holiday.

        Raises:
            YearNotCovered: the calendar does not list the day's year.
        """
        if day.year not in self.years:
            known = ", ".join(str(year) for year in sorted(self.years))
            raise YearNotCovered(
                f"calendar {self.name} covers {known}, not {day.year}:"
                f" add the holidays of {day.year} to its file"
            )
        return day.weekday() not in self.weekend and day not in self.holidays


class Calendars:
    """The calendars of a folder by name; a file that was changed is read again."""

    def __init__(self, folder: Path) -> None:
        """Read ``<name>.yaml`` in ``folder``, when it is asked for."""
        self._folder = folder
        self._read: dict[str, tuple[int, Calendar]] = {}

    def get(self, name: str) -> Calendar:
        """Return the calendar of that name.

        Raises:
            InvalidCalendar: there is none, or its file is malformed.
        """
        if not _NAME.fullmatch(name):
            raise InvalidCalendar(f"calendar {name!r}: lower case letters, digits, '_' and '-'")
        path = self._folder / f"{name}.yaml"
        try:
            changed = path.stat().st_mtime_ns
        except OSError as error:
            known = ", ".join(sorted(file.stem for file in self._folder.glob("*.yaml"))) or "none"
            raise InvalidCalendar(
                f"calendar {name}: no such file in {self._folder}; there: {known}"
            ) from error
        read = self._read.get(name)
        if read is None or read[0] != changed:
            read = self._read[name] = (changed, load_calendar(path))
        return read[1]


def load_calendar(path: Path) -> Calendar:
    """Read a calendar file: ``name``, ``weekend``, ``years`` and ``holidays`` (YAML).

    Raises:
        InvalidCalendar: it is missing or malformed; the text says what and where.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidCalendar(f"calendar {path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: not UTF-8, or a date such as 2026-02-30.
        raise InvalidCalendar(f"calendar {path}: {error}") from error
    try:
        return _calendar(content)
    except ValueError as error:
        raise InvalidCalendar(f"calendar {path}: {error}") from error


def _calendar(content: Any) -> Calendar:
    if not isinstance(content, dict) or set(content) != _ENTRIES:
        raise ValueError(f"needs exactly the entries {', '.join(sorted(_ENTRIES))}")
    name = content["name"]
    if not isinstance(name, str) or not name:
        raise ValueError("name: a text")
    years = content["years"]
    if not isinstance(years, list) or not years or not all(type(year) is int for year in years):
        raise ValueError("years: a list of years such as [2026, 2027]")
    weekend = content["weekend"]
    if not isinstance(weekend, list) or not all(day in WEEKDAYS for day in weekend):
        raise ValueError(f"weekend: a list of {', '.join(WEEKDAYS)}")
    if len(set(weekend)) == len(WEEKDAYS):
        raise ValueError("weekend: leaves no day for work")
    holidays = content["holidays"] or {}
    if not isinstance(holidays, dict):
        raise ValueError("holidays: dates with their names")
    for day, title in holidays.items():
        if type(day) is not date or not isinstance(title, str):
            raise ValueError(f"holidays: {day!r}: a date such as 2026-03-21 and its name")
        if day.year not in years:
            raise ValueError(f"holidays: {day}: its year is not among years")
    return Calendar(name, frozenset(map(WEEKDAYS.index, weekend)), frozenset(years), dict(holidays))
