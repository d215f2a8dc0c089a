"""English, British and neutral: hundreds with "and", dates with "of"."""

from __future__ import annotations

import datetime
from typing import ClassVar

from sounds.speech import Names, Speech, check_period, check_year, groups_of_three, words

_UNITS = words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")
_SCALES = ("billion", "million", "thousand")
_NOUNS = {
    "rial": ("rial", "rials"),
    "bill": ("open bill", "open bills"),
    "hour": ("hour", "hours"),
    "minute": ("minute", "minutes"),
    "second": ("second", "seconds"),
}
_ORDINAL_UNITS = words(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth "
    "thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth"
)
MONTHS = words(
    "January February March April May June July August September October November December"
)


def _below_100(number: int) -> str:
    if number < 20:
        return _UNITS[number]
    tens, units = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_UNITS[units]}" if units else "")


def _ordinal(number: int) -> str:
    if number < 20:
        return _ORDINAL_UNITS[number - 1]
    tens, units = divmod(number, 10)
    if not units:
        return {20: "twentieth", 30: "thirtieth"}[number]
    return f"{_TENS[tens - 2]}-{_ORDINAL_UNITS[units - 1]}"


class English(Speech):
    """English; "one hundred and five thousand and twenty-one rials"."""

    language = "en"
    DIGITS = _UNITS[:10]
    STAR, HASH = "star", "hash"
    CONTEXTS: ClassVar = {
        "digit": "a single digit to be written down; slow and clear",
        "key": "name of a telephone key",
        "number": "part of a number; keep the voice up",
        "noun": "after a number",
        "day": "day of the month; the month follows",
        "month": "month; the year follows",
        "year": "second half of a year, as in fourteen oh five",
        "time": "after a time of day",
    }

    def _add_words(self) -> None:
        below_100 = [self._add(f"number/{n}", _below_100(n)) for n in range(100)]
        hundreds = [self._add(f"number/{n}00", f"{_UNITS[n]} hundred") for n in range(1, 10)]
        joined = [self._add(f"number/{n}00-and", f"{_UNITS[n]} hundred and") for n in range(1, 10)]
        self._scale = {scale: self._add(f"number/{scale}", scale) for scale in _SCALES}
        self._scale_and = {
            scale: self._add(f"number/{scale}-and", f"{scale} and") for scale in _SCALES
        }
        self._below_1000: list[Names] = [(name,) for name in below_100]
        for n in range(100, 1000):
            hundred, rest = divmod(n, 100)
            self._below_1000.append(
                (joined[hundred - 1], below_100[rest]) if rest else (hundreds[hundred - 1],)
            )
        self._nouns = {
            noun: (self._add(f"noun/{noun}", one), self._add(f"noun/{noun}-s", many))
            for noun, (one, many) in _NOUNS.items()
        }
        self._days = [self._add(f"day/{n}", f"the {_ordinal(n)} of") for n in range(1, 32)]
        self._months = [self._add(f"month/{n}", word) for n, word in enumerate(MONTHS, 1)]
        self._oh = {n: self._add(f"year/oh-{n}", f"oh {_UNITS[n]}") for n in range(1, 10)}
        self._hundred = self._add("year/hundred", "hundred")
        self._half_days = (self._add("time/am", "a.m."), self._add("time/pm", "p.m."))

    def count(self, number: int) -> Names:
        billions, millions, thousands, units = groups_of_three(number)
        if not number:
            return self._below_1000[0]
        names: Names = ()
        # "and" comes before the last two digits when no hundreds are said with them.
        small_end = 0 < units < 100
        for group, scale in ((billions, "billion"), (millions, "million"), (thousands, "thousand")):
            if not group:
                continue
            last = number % {"billion": 10**9, "million": 10**6, "thousand": 1000}[scale] == units
            scales = self._scale_and if small_end and last else self._scale
            names += (*self._below_1000[group], scales[scale])
        if units:
            names += self._below_1000[units]
        return names

    def counted(self, number: int, noun: str) -> Names:
        return (*self.count(number), self._nouns[noun][number != 1])

    def time(self, at: datetime.time) -> Names:
        """Eight a.m., eight thirty a.m., twelve oh five p.m."""
        minutes: Names = ()
        if at.minute:
            minutes = (self._oh[at.minute],) if at.minute < 10 else self._below_1000[at.minute]
        return (*self._below_1000[at.hour % 12 or 12], *minutes, self._half_days[at.hour >= 12])

    def period(self, number: int) -> Names:
        check_period(number)
        return self._below_1000[number]

    def year(self, number: int) -> Names:
        """Fourteen hundred, fourteen oh five, twenty twenty-six."""
        check_year(number)
        century, rest = divmod(number, 100)
        if not rest:
            return (*self._below_1000[century], self._hundred)
        tail = (self._oh[rest],) if rest < 10 else self._below_1000[rest]
        return (*self._below_1000[century], *tail)

    def _date(self, day: datetime.date) -> Names:
        """The fifth of December twenty twenty-six."""
        return (self._days[day.day - 1], self._months[day.month - 1], *self.year(day.year))

    def _group(self, digits: str) -> Names:
        return self._spelled(digits)
