"""Values as lists of recordings: what the four languages have in common.

A language module adds its number grammar. Every word that can be asked for is in ``words``, so
that the recording script is complete by construction.
"""

from __future__ import annotations

import datetime
import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from sounds import telephone

MAX_NUMBER = 999_999_999_999
"""The greatest number that can be said: twelve digits, as in a bill's amount."""
MIN_YEAR_HIJRI, MAX_YEAR_HIJRI = 1390, 1450
MIN_YEAR_GREGORIAN, MAX_YEAR_GREGORIAN = 2020, 2060

DIGIT_PAUSE_MS = 200
"""After each digit of an ID, long enough to write it down (A7)."""
GROUP_PAUSE_MS = 900
"""After each three digits of an ID (A7)."""
PHONE_PAUSE_MS = 200
"""Between the groups of a telephone number."""

Names = tuple[str, ...]


def words(*lines: str) -> tuple[str, ...]:
    """The words of some text: word tables stay readable on a few lines."""
    return tuple(word for line in lines for word in line.split())


def silence(ms: int) -> str:
    """Name of the recording of ``ms`` milliseconds of silence."""
    return f"silence/{ms:04d}.wav"


class Speech(ABC):
    """Numbers, dates and the like of one language as recordings.

    Numbers are 0..999,999,999,999; outside, and for years beyond 1390..1450 and 2020..2060,
    ValueError is raised.
    """

    language: str
    DIGITS: tuple[str, ...]
    STAR: str
    HASH: str
    CONTEXTS: ClassVar[Mapping[str, str]]
    """A note for the speaker for each folder of words, by folder name."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}
        """Every word recording of the language: name -> what is said."""
        for digit, word in enumerate(self.DIGITS):
            self._add(f"digit/{digit}", word)
        self._add("key/star", self.STAR)
        self._add("key/hash", self.HASH)
        self._add_words()
        self._digits = {str(digit): self._name(f"digit/{digit}") for digit in range(10)}
        self._keys = {str(digit): (self._name(f"number/{digit}"),) for digit in range(10)}
        self._keys |= {"*": (self._name("key/star"),), "#": (self._name("key/hash"),)}
        self.date = functools.lru_cache(maxsize=4096)(self._date)
        self.phone = functools.lru_cache(maxsize=4096)(self._phone)

    def _name(self, stem: str) -> str:
        return f"{self.language}/{stem}.wav"

    def _add(self, stem: str, text: str) -> str:
        name = self._name(stem)
        self.words[name] = text
        return name

    def context(self, name: str) -> str:
        """The note for the speaker that belongs to a word recording."""
        return self.CONTEXTS[name.split("/")[1]]

    @abstractmethod
    def _add_words(self) -> None:
        """Fill ``words`` and the tables built on them."""

    @abstractmethod
    def count(self, number: int) -> Names:
        """A bare number."""

    @abstractmethod
    def counted(self, number: int, noun: str) -> Names:
        """A number and what it counts, in agreement; ``rial`` or a noun with recordings."""

    @abstractmethod
    def time(self, at: datetime.time) -> Names:
        """A time of day as a clock is read, to the minute."""

    @abstractmethod
    def period(self, number: int) -> Names:
        """A bill's period, 1..99, in the form the templates call for."""

    @abstractmethod
    def year(self, number: int) -> Names:
        """A year in the form the templates call for."""

    @abstractmethod
    def _date(self, day: datetime.date) -> Names:
        """A date in the language's calendar; cached as ``date``."""

    @abstractmethod
    def _group(self, digits: str) -> Names:
        """One group of a telephone number, 1 to 4 digits."""

    def amount(self, rials: int) -> Names:
        """An amount of money with its currency."""
        return self.counted(rials, "rial")

    def key(self, key: str) -> Names:
        """The spoken name of one keypad key."""
        return self._keys[key]

    def digits(self, digits: str) -> Names:
        """Digits one by one for a caller who writes them down: three at a time, with pauses."""
        names: list[str] = []
        for position, digit in enumerate(digits, 1):
            last_of_group = position % 3 == 0 or position == len(digits)
            names.append(self._digits[digit])
            names.append(silence(GROUP_PAUSE_MS if last_of_group else DIGIT_PAUSE_MS))
        return tuple(names)

    def _phone(self, number: str) -> Names:
        """A telephone number in its customary groups; cached as ``phone``."""
        names: list[str] = []
        for group in telephone.groups(number):
            if names:
                names.append(silence(PHONE_PAUSE_MS))
            names += self._group(group)
        return tuple(names)

    def _spelled(self, digits: str) -> Names:
        """Digits one by one without pauses, at the pace of running speech."""
        return tuple(self._name(f"number/{digit}") for digit in digits)


def check_number(number: int) -> None:
    """Raise ValueError outside 0..999,999,999,999."""
    if not 0 <= number <= MAX_NUMBER:
        raise ValueError(f"{number} is outside 0..{MAX_NUMBER}")


def check_year(number: int) -> None:
    """Raise ValueError for a year that has no recordings."""
    if not (
        MIN_YEAR_HIJRI <= number <= MAX_YEAR_HIJRI
        or MIN_YEAR_GREGORIAN <= number <= MAX_YEAR_GREGORIAN
    ):
        raise ValueError(f"no recordings for the year {number}")


def check_period(number: int) -> None:
    """Raise ValueError for a period outside 1..99 (two digits of the payment ID)."""
    if not 1 <= number <= 99:
        raise ValueError(f"period {number} is outside 1..99")


def groups_of_three(number: int) -> tuple[int, int, int, int]:
    """Billions, millions, thousands and units of a number up to twelve digits."""
    check_number(number)
    number, units = divmod(number, 1000)
    number, thousands = divmod(number, 1000)
    billions, millions = divmod(number, 1000)
    return billions, millions, thousands, units
