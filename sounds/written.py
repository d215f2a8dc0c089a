"""How values and texts are written: numerals, separators, dates, and right-to-left hygiene.

The texts of the catalogue carry vowel and stress marks for the speaker; what is shown drops them.

Embedded foreign text (names, references, addresses) in Persian and Arabic is framed by LEFT-TO-
RIGHT MARK (U+200E), not by isolates (U+2066..U+2069): handsets know the mark since the first
Unicode version, while isolates came with Unicode 6.3 and old ones draw a box. Digits alone need
neither: every telephone number and ID is written without spaces or dashes, and so shows left to
right by itself. A web address stands on a line of its own, without a mark that a tap could take
along.
"""

from __future__ import annotations

import datetime
import re

from sounds import hijri, telephone
from sounds.arabic import MONTHS as _ARABIC_MONTHS
from sounds.english import MONTHS as _ENGLISH_MONTHS
from sounds.persian import MONTHS as _PERSIAN_MONTHS
from sounds.russian import MONTHS as _RUSSIAN_MONTHS
from sounds.russian import plural as _russian_plural

LRM = "\u200e"
RIGHT_TO_LEFT = frozenset({"fa", "ar"})

# Harakat, dagger alif and the stress accent. Tanwin fath stays where ordinary spelling has it
# (لطفاً, ريالًا, بناءً), which is everywhere but on ة.
_MARKS = str.maketrans("", "", "\u064c\u064d\u064e\u064f\u0650\u0651\u0652\u0670\u0301")
_NUMERALS: dict[str, dict[int, int]] = {
    "fa": str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹"),
    "ar": str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩"),
    "ru": {},
    "en": {},
}
# A no-break space in Russian; ٬ (U+066C) in Persian and Arabic.
_THOUSANDS = {"fa": "٬", "ar": "٬", "ru": "\u00a0", "en": ","}
_STRONG_LEFT = re.compile(r"[A-Za-z\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff]")
_STRONG_RIGHT = re.compile(r"[\u0590-\u08ff]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

_NOUNS: dict[str, dict[str, tuple[str, ...]]] = {
    "fa": {
        "rial": ("ریال",),
        "hour": ("ساعت",),
        "minute": ("دقیقه",),
        "second": ("ثانیه",),
    },
    "en": {
        "rial": ("rial", "rials"),
        "bill": ("open bill", "open bills"),
        "hour": ("hour", "hours"),
        "minute": ("minute", "minutes"),
        "second": ("second", "seconds"),
    },
    "ru": {
        "rial": ("риал", "риала", "риалов"),
        "bill": ("неоплаченный счёт", "неоплаченных счёта", "неоплаченных счетов"),
        "hour": ("час", "часа", "часов"),
        "minute": ("минута", "минуты", "минут"),
        "second": ("секунда", "секунды", "секунд"),
    },
    "ar": {
        "rial": ("ريال", "ريالات", "ريالًا"),
        "hour": ("ساعة", "ساعات", "ساعة"),
        "minute": ("دقيقة", "دقائق", "دقيقة"),
        "second": ("ثانية", "ثوان", "ثانية"),
    },
}


def plain(text: str) -> str:
    """The text without the marks that only serve the speaker."""
    return text.translate(_MARKS).replace("ة\u064b", "ة")


def numerals(text: str, language: str) -> str:
    """ASCII digits in the language's own numerals."""
    return text.translate(_NUMERALS[language])


def number(value: int, language: str) -> str:
    """An integer with thousands separators; four digits stay together in Russian."""
    if language == "ru" and value < 10_000:
        return str(value)
    return numerals(f"{value:,}".replace(",", _THOUSANDS[language]), language)


def counted(value: int, noun: str, language: str) -> str:
    """A number and its noun in agreement; the numeral stands first in every language.

    A plain space between them: a no-break space would push an English SMS out of GSM-7.
    """
    forms = _NOUNS[language][noun]
    if language == "ru":
        form = forms[_russian_plural(value)]
    elif language == "ar":
        form = forms[1 if 3 <= value % 100 <= 10 else 2 if 11 <= value % 100 <= 99 else 0]
    else:
        form = forms[0 if value == 1 else -1]
    return f"{number(value, language)} {form}"


def has_noun(noun: str, language: str) -> bool:
    """Whether the language can write a count of ``noun``."""
    return noun in _NOUNS[language]


def date(day: datetime.date, language: str) -> str:
    """Solar Hijri for Persian, Gregorian otherwise, the month by name."""
    if language == "fa":
        year, month, number_of_day = hijri.from_gregorian(day)
        return numerals(f"{number_of_day} {_PERSIAN_MONTHS[month - 1]} {year}", "fa")
    months = {"ar": _ARABIC_MONTHS, "ru": _RUSSIAN_MONTHS, "en": _ENGLISH_MONTHS}[language]
    written = f"{day.day} {plain(months[day.month - 1])} {day.year}"
    return numerals(written + (" г." if language == "ru" else ""), language)


def phone(value: str, language: str) -> str:
    """A national number in one piece: with spaces its groups would change places right to left."""
    return numerals(telephone.national(value), language)


def time(at: datetime.time, language: str) -> str:
    """A time of day on a clock of 24 hours, 8:05."""
    return numerals(f"{at.hour}:{at.minute:02d}", language)


def key(value: str, language: str) -> str:
    """A keypad key as a sign."""
    return numerals(value, language)


def embedded(value: str, language: str) -> str:
    """Foreign text in a text of ours: one line, no control characters, framed if it must be."""
    value = _CONTROLS.sub(" ", value).strip()
    if language not in RIGHT_TO_LEFT or "://" in value:
        return value
    if _STRONG_LEFT.search(value) and not _STRONG_RIGHT.search(value):
        return f"{LRM}{value}{LRM}"
    return value
