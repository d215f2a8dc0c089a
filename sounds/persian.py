"""Persian: numbers joined with «و», Solar Hijri dates, telephone numbers in pairs and threes."""

from __future__ import annotations

import datetime
from typing import ClassVar

from sounds import hijri
from sounds.speech import (
    Names,
    Speech,
    check_period,
    check_year,
    groups_of_three,
    words,
)

_UNITS = words(
    "صفر یک دو سه چهار پنج شش هفت هشت نُه ده یازده دوازده سیزده چهارده پانزده شانزده هفده هجده نوزده"
)
_TENS = words("بیست سی چهل پنجاه شصت هفتاد هشتاد نود")
_HUNDREDS = words("صد دویست سیصد چهارصد پانصد ششصد هفتصد هشتصد نهصد")
_SCALES = {"billion": "میلیارد", "million": "میلیون", "thousand": "هزار"}
MONTHS = words("فروردین اردیبهشت خرداد تیر مرداد شهریور مهر آبان آذر دی بهمن اسفند")
NON_JOINER = "\u200c"
_ORDINAL_UNITS = words(
    "یکم دوم سوم چهارم پنجم ششم هفتم هشتم نهم دهم یازدهم دوازدهم سیزدهم چهاردهم پانزدهم "
    "شانزدهم هفدهم هجدهم نوزدهم"
)


def _below_100(number: int) -> str:
    if number < 20:
        return _UNITS[number]
    tens, units = divmod(number, 10)
    return _TENS[tens - 2] + (f" و {_UNITS[units]}" if units else "")


def _ordinal(number: int) -> str:
    """1..31 with the ezafe that ties the month or year to it."""
    if number < 20:
        word = _ORDINAL_UNITS[number - 1]
    elif number in (20, 30):
        word = {20: "بیستم", 30: "سی‌ام"}[number]
    else:
        word = f"{_TENS[number // 10 - 2]} و {_ORDINAL_UNITS[number % 10 - 1]}"
    return word + "ِ"


class Persian(Speech):
    """Persian as spoken on the telephone in Iran.

    «و» belongs to the word before it («صد و», «هزار و»), as it does in speech (-o).
    """

    language = "fa"
    DIGITS = _UNITS[:10]
    STAR, HASH = "ستاره", "مربع"
    CONTEXTS: ClassVar = {
        "digit": "رقم تنها برای یادداشت؛ شمرده و روشن",
        "key": "نام کلید تلفن",
        "number": "بخشی از یک عدد؛ اگر با «و» تمام می‌شود، به واژهٔ پیش بچسبد (صدُ، هزارُ)",
        "noun": "پس از عدد",
        "day": "روز ماه یا شمارهٔ دوره، با کسرهٔ اضافه",
        "month": "نام ماه، با کسرهٔ اضافه؛ پس از آن سال می‌آید",
        "time": "ساعت؛ پس از آن دقیقه می‌آید",
    }

    def _add_words(self) -> None:
        below_100 = [self._add(f"number/{n}", _below_100(n)) for n in range(100)]
        hundreds = [self._add(f"number/{n}00", word) for n, word in enumerate(_HUNDREDS, 1)]
        joined = [self._add(f"number/{n}00-o", f"{word} و") for n, word in enumerate(_HUNDREDS, 1)]
        self._scale = {s: self._add(f"number/{s}", word) for s, word in _SCALES.items()}
        self._scale_o = {s: self._add(f"number/{s}-o", f"{word} و") for s, word in _SCALES.items()}
        self._below_1000: list[Names] = [(name,) for name in below_100]
        for n in range(100, 1000):
            hundred, rest = divmod(n, 100)
            self._below_1000.append(
                (joined[hundred - 1], below_100[rest]) if rest else (hundreds[hundred - 1],)
            )
        self._nouns = {
            "rial": self._add("noun/rial", "ریال"),
            "hour": self._add("noun/hour", "ساعت"),
            "minute": self._add("noun/minute", "دقیقه"),
            "second": self._add("noun/second", "ثانیه"),
        }
        self._hours_o = [self._add(f"time/{n}-o", f"{_below_100(n)} و") for n in range(24)]
        self._days = [self._add(f"day/{n}", _ordinal(n)) for n in range(1, 32)]
        self._months = [
            # A zero-width non-joiner, except after the letters that never join (ر, د).
            self._add(f"month/{n}", f"{word}{'' if word[-1] in 'رد' else NON_JOINER}ماهِ")
            for n, word in enumerate(MONTHS, 1)
        ]

    def count(self, number: int) -> Names:
        """«یک میلیون و دویست هزار و پنج»; 1000 is «هزار»."""
        billions, millions, thousands, units = groups_of_three(number)
        if not number:
            return self._below_1000[0]
        names: Names = ()
        if billions:
            scale = self._scale_o if millions or thousands or units else self._scale
            names += (*self._below_1000[billions], scale["billion"])
        if millions:
            scale = self._scale_o if thousands or units else self._scale
            names += (*self._below_1000[millions], scale["million"])
        if thousands:
            # «هزار», not «یک هزار», when nothing stands before it.
            if thousands > 1 or names:
                names += self._below_1000[thousands]
            names += ((self._scale_o if units else self._scale)["thousand"],)
        if units:
            names += self._below_1000[units]
        return names

    def counted(self, number: int, noun: str) -> Names:
        return (*self.count(number), self._nouns[noun])

    def time(self, at: datetime.time) -> Names:
        """«هشت», «هشت و سی دقیقه»."""
        if not at.minute:
            return self._below_1000[at.hour]
        return (self._hours_o[at.hour], *self.counted(at.minute, "minute"))

    def period(self, number: int) -> Names:
        """«سومِ»; beyond 31 the bare number."""
        check_period(number)
        return (self._days[number - 1],) if number <= 31 else self._below_1000[number]

    def year(self, number: int) -> Names:
        check_year(number)
        return self.count(number)

    def _date(self, day: datetime.date) -> Names:
        """«پانزدهمِ آذرماهِ هزار و چهارصد و پنج»."""
        year, month, number = hijri.from_gregorian(day)
        return (self._days[number - 1], self._months[month - 1], *self.year(year))

    def _group(self, digits: str) -> Names:
        """Leading zeros each on their own, the rest as a number: 0912 «صفر نهصد و دوازده»."""
        rest = digits.lstrip("0")
        zeros = self._below_1000[0] * (len(digits) - len(rest))
        return zeros + (self.count(int(rest)) if rest else ())
