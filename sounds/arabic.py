"""Arabic: number-noun agreement, units before tens, the month names of most countries."""

from __future__ import annotations

import datetime
from typing import ClassVar

from sounds.speech import Names, Speech, check_period, check_year, groups_of_three, words

# Vowelled, for the speaker and the synthesiser; texts that are shown drop the marks.
_DIGITS = (
    "صِفر",
    "واحِد",
    "اِثنان",
    "ثَلاثَة",
    "أَربَعَة",
    "خَمسَة",
    "سِتَّة",
    "سَبعَة",
    "ثَمانِيَة",
    "تِسعَة",
)
_TEENS = (
    "عَشَرَة",
    "أَحَدَ عَشَر",
    "اِثنا عَشَر",
    "ثَلاثَةَ عَشَر",
    "أَربَعَةَ عَشَر",
    "خَمسَةَ عَشَر",
    "سِتَّةَ عَشَر",
    "سَبعَةَ عَشَر",
    "ثَمانِيَةَ عَشَر",
    "تِسعَةَ عَشَر",
)
_TENS_STEMS = words("عِشر ثَلاث أَربَع خَمس سِتّ سَبع ثَمان تِسع")
_HUNDREDS = (
    "مِئَة",
    "مِئَتان",
    "ثَلاثُمِئَة",
    "أَربَعُمِئَة",
    "خَمسُمِئَة",
    "سِتُّمِئَة",
    "سَبعُمِئَة",
    "ثَمانِمِئَة",
    "تِسعُمِئَة",
)
# With feminine nouns: 1 to 19; the ones also stand before tens («إحدى وعشرون»).
_FEMININE = (
    "واحِدَة",
    "اِثنَتان",
    "ثَلاث",
    "أَربَع",
    "خَمس",
    "سِتّ",
    "سَبع",
    "ثَمان",
    "تِسع",
    "عَشر",
    "إِحدى عَشرَة",
    "اِثنَتا عَشرَة",
    "ثَلاثَ عَشرَة",
    "أَربَعَ عَشرَة",
    "خَمسَ عَشرَة",
    "سِتَّ عَشرَة",
    "سَبعَ عَشرَة",
    "ثَمانِيَ عَشرَة",
    "تِسعَ عَشرَة",
)
# Forms: one, two, few (3-10), many and round numbers (the accusative sounds as the singular).
_FEMININE_NOUNS = {
    "hour": ("ساعَة واحِدَة", "ساعَتان", "ساعات", "ساعَة"),
    "minute": ("دَقيقَة واحِدَة", "دَقيقَتان", "دَقائِق", "دَقيقَة"),
    "second": ("ثانِيَة واحِدَة", "ثانِيَتان", "ثَوانٍ", "ثانِيَة"),
}
_HOURS = (
    "الواحِدَة",
    "الثّانِيَة",
    "الثّالِثَة",
    "الرّابِعَة",
    "الخامِسَة",
    "السّادِسَة",
    "السّابِعَة",
    "الثّامِنَة",
    "التّاسِعَة",
    "العاشِرَة",
    "الحادِيَةَ عَشرَة",
    "الثّانِيَةَ عَشرَة",
)
# Forms: singular, dual, dual before its noun, plural (3-10), accusative (11-99).
_SCALES = {
    "billion": ("مِلْيار", "مِلْياران", "مِلْيارا", "مِلْيارات", "مِلْيارًا"),
    "million": ("مِلْيون", "مِلْيونان", "مِلْيونا", "مَلايين", "مِلْيونًا"),
    "thousand": ("أَلف", "أَلفان", "أَلفا", "آلاف", "أَلفًا"),
}
_FORMS = ("one", "two", "two-of", "few", "many")
_ORDINAL_DAYS = (
    "الأَوَّل",
    "الثّاني",
    "الثّالِث",
    "الرّابِع",
    "الخامِس",
    "السّادِس",
    "السّابِع",
    "الثّامِن",
    "التّاسِع",
    "العاشِر",
    "الحادي عَشَر",
    "الثّاني عَشَر",
    "الثّالِثَ عَشَر",
    "الرّابِعَ عَشَر",
    "الخامِسَ عَشَر",
    "السّادِسَ عَشَر",
    "السّابِعَ عَشَر",
    "الثّامِنَ عَشَر",
    "التّاسِعَ عَشَر",
)
MONTHS = (
    "يَنايِر",
    "فِبرايِر",
    "مارِس",
    "أَبريل",
    "مايو",
    "يونيو",
    "يوليو",
    "أَغُسطُس",
    "سِبتَمبِر",
    "أُكتوبَر",
    "نوفَمبِر",
    "ديسَمبِر",
)


def _below_100(number: int, genitive: bool = False) -> str:
    """0..99, masculine as the counted nouns are; the unit comes before the ten."""
    if genitive and number in (2, 12):
        return {2: "اِثنَين", 12: "اِثنَي عَشَر"}[number]
    if number < 10:
        return _DIGITS[number]
    if number < 20:
        return _TEENS[number - 10]
    tens, units = divmod(number, 10)
    word = _TENS_STEMS[tens - 2] + ("ين" if genitive else "ون")
    return f"{_below_100(units, genitive)} وَ{word}" if units else word


def _ordinal_day(number: int) -> str:
    """1..31 in the genitive: «الخامس», «الحادي والعشرين»."""
    if number < 20:
        return _ORDINAL_DAYS[number - 1]
    tens, units = divmod(number, 10)
    word = {2: "العِشرين", 3: "الثَّلاثين"}[tens]
    if not units:
        return word
    return f"{'الحادي' if units == 1 else _ORDINAL_DAYS[units - 1]} وَ{word}"


class Arabic(Speech):
    """Arabic; amounts are in the nominative, dates and years in the genitive.

    The rial counts so: ريال واحد, ريالان, ثلاثة ريالات, أحد عشر ريالًا, مئة ريال, ألفا ريال;
    one and two beyond a hundred are said after it: مئة ريال وريال واحد, مئة ألف وألفان.
    """

    language = "ar"
    DIGITS = _DIGITS
    STAR, HASH = "نَجمَة", "مُرَبَّع"
    CONTEXTS: ClassVar = {
        "digit": "رقم منفرد ليُكتب؛ ببطء ووضوح",
        "key": "اسم مفتاح الهاتف",
        "number": "جزء من عدد؛ ما ينتهي بواو يوصل بما بعده",
        "noun": "بعد العدد",
        "day": "يوم الشهر؛ يتبعه الشهر",
        "month": "اسم الشهر؛ يتبعه العام",
        "year": "السنة، في حالة الجر",
        "time": "الساعة؛ ما ينتهي بواو تتبعه الدقائق",
    }

    def _add_words(self) -> None:
        below_100 = [self._add(f"number/{n}", _below_100(n)) for n in range(100)]
        hundreds = [self._add(f"number/{n}00", word) for n, word in enumerate(_HUNDREDS, 1)]
        joined = [self._add(f"number/{n}00-wa", f"{word} وَ") for n, word in enumerate(_HUNDREDS, 1)]
        two_hundred_of = self._add("number/200-of", "مِئَتا")
        self._scale = {
            (scale, form): self._add(f"number/{scale}-{form}", word)
            for scale, words in _SCALES.items()
            for form, word in zip(_FORMS, words, strict=True)
        }
        self._scale_wa = {
            (scale, form): self._add(f"number/{scale}-{form}-wa", f"{word} وَ")
            for scale, words in _SCALES.items()
            for form, word in zip(_FORMS, words, strict=True)
            if form != "two-of"
        }
        self._below_1000: list[Names] = [(name,) for name in below_100]
        for n in range(100, 1000):
            hundred, rest = divmod(n, 100)
            self._below_1000.append(
                (joined[hundred - 1], below_100[rest]) if rest else (hundreds[hundred - 1],)
            )
        # Before the counted noun only 200 changes: مئتا ريال.
        self._below_1000_of = list(self._below_1000)
        self._below_1000_of[200] = (two_hundred_of,)
        self._rial = {
            form: self._add(f"noun/rial-{form}", word)
            for form, word in (
                ("one", "رِيال واحِد"),
                ("two", "رِيالان"),
                ("few", "رِيالات"),
                ("many", "رِيالًا"),
                ("other", "رِيال"),
                ("other-wa", "رِيال وَ"),
            )
        }
        self._feminine = {
            n: self._add(f"number/{n}-f", word) for n, word in enumerate(_FEMININE, 1)
        }
        self._feminine_wa = {
            n: self._add(f"number/{n}-f-wa", f"{'إِحدى' if n == 1 else _FEMININE[n - 1]} وَ")
            for n in range(1, 10)
        }
        self._tens = below_100[0::10]
        self._feminine_nouns = {
            noun: {
                form: self._add(f"noun/{noun}-{form}", word)
                for form, word in zip(("one", "two", "few", "other"), words, strict=True)
            }
            | {"other-wa": self._add(f"noun/{noun}-other-wa", f"{words[3]} وَ")}
            for noun, words in _FEMININE_NOUNS.items()
        }
        self._hours = [self._add(f"time/{n}", word) for n, word in enumerate(_HOURS, 1)]
        self._hours_wa = [
            self._add(f"time/{n}-wa", f"{word} وَ") for n, word in enumerate(_HOURS, 1)
        ]
        self._half_days = (self._add("time/am", "صَباحًا"), self._add("time/pm", "مَساءً"))
        self._days = [self._add(f"day/{n}", f"{_ordinal_day(n)} مِن") for n in range(1, 32)]
        self._months = [self._add(f"month/{n}", word) for n, word in enumerate(MONTHS, 1)]
        self._in_year = self._add("year/in", "عام")
        self._century = {
            13: self._add("year/13-wa", "أَلف وَثَلاثِمِئَة وَ"),
            14: self._add("year/14-wa", "أَلف وَأَربَعِمِئَة وَ"),
            20: self._add("year/20-wa", "أَلفَين وَ"),
        }
        self._year_1400 = self._add("year/14", "أَلف وَأَربَعِمِئَة")
        self._genitive = {
            n: self._add(f"year/{n}", _below_100(n, genitive=True))
            for n in (2, 12, *range(20, 61), *range(90, 100))
        }

    def count(self, number: int) -> Names:
        """«مليون ومئتان وأربعة وثلاثون ألفًا وخمسمئة»."""
        return self._number(number, before_noun=False)

    def _number(self, number: int, *, before_noun: bool) -> Names:
        billions, millions, thousands, units = groups_of_three(number)
        if not number:
            return self._below_1000[0]
        names: Names = ()
        if billions:
            more = bool(millions or thousands or units)
            names += self._scaled(billions, "billion", more, before_noun)
        if millions:
            names += self._scaled(millions, "million", bool(thousands or units), before_noun)
        if thousands:
            names += self._scaled(thousands, "thousand", bool(units), before_noun)
        if units:
            names += (self._below_1000_of if before_noun else self._below_1000)[units]
        return names

    def _scaled(self, group: int, scale: str, more: bool, before_noun: bool) -> Names:
        """One group with its scale word; ``more`` if lower groups follow with «و»."""
        last_two = group % 100
        construct = before_noun and not more
        scales = self._scale_wa if more else self._scale
        if last_two in (1, 2):
            form = "one" if last_two == 1 else "two-of" if construct else "two"
            if group == last_two:
                return (scales[scale, form],)
            # مئة ألف وألفان: one and two are said after the round number.
            hundreds = self._below_1000_of[group - last_two]
            return (*hundreds, self._scale_wa[scale, "one"], scales[scale, form])
        if 3 <= last_two <= 10:
            form = "few"
        elif last_two:
            # Before its noun the scale word loses its tanwin: أحد عشر ألفَ ريال.
            form = "one" if construct else "many"
        else:
            form = "one"
        return (*self._below_1000_of[group], scales[scale, form])

    def time(self, at: datetime.time) -> Names:
        """«الثامنة صباحًا», «الثامنة وثلاثون دقيقة مساءً»."""
        hour, half_day = (at.hour - 1) % 12, self._half_days[at.hour >= 12]
        if not at.minute:
            return (self._hours[hour], half_day)
        return (self._hours_wa[hour], *self.counted(at.minute, "minute"), half_day)

    def _counted_feminine(self, number: int, noun: str) -> Names:
        """«دقيقة واحدة», «ثلاث دقائق», «إحدى وعشرون دقيقة», «مئة دقيقة ودقيقتان»."""
        nouns = self._feminine_nouns[noun]
        last_two = number % 100
        head = number - last_two
        if last_two in (1, 2):
            tail = nouns["one" if last_two == 1 else "two"]
            if not head:
                return (tail,)
            return (*self._number(head, before_noun=True), nouns["other-wa"], tail)
        if not last_two:
            return (*self._number(number, before_noun=True), nouns["other"])
        hundreds = self._before_units(head) if head else ()
        tens, units = divmod(last_two, 10)
        if last_two < 20:
            counting: Names = (self._feminine[last_two],)
        elif units:
            counting = (self._feminine_wa[units], self._tens[tens])
        else:
            counting = (self._tens[tens],)
        return (*hundreds, *counting, nouns["few" if last_two <= 10 else "other"])

    def _before_units(self, number: int) -> Names:
        """A round number that «و» joins to what follows: said as 103 is, without its three."""
        return self._number(number + 3, before_noun=False)[:-1]

    def counted(self, number: int, noun: str) -> Names:
        if noun in self._feminine_nouns:
            return self._counted_feminine(number, noun)
        if noun != "rial":
            raise KeyError(noun)
        last_two = number % 100
        if last_two in (1, 2):
            tail = self._rial["one" if last_two == 1 else "two"]
            if number == last_two:
                return (tail,)
            return (
                *self._number(number - last_two, before_noun=True),
                self._rial["other-wa"],
                tail,
            )
        form = "few" if 3 <= last_two <= 10 else "many" if 11 <= last_two <= 99 else "other"
        return (*self._number(number, before_noun=True), self._rial[form])

    def period(self, number: int) -> Names:
        check_period(number)
        return self._below_1000[number]

    def year(self, number: int) -> Names:
        """«ألفين وستة وعشرين», «ألف وأربعمئة وخمسة»: genitive."""
        check_year(number)
        if number == 1400:
            return (self._year_1400,)
        century, rest = divmod(number, 100)
        tail = (self._genitive[rest],) if rest in self._genitive else self._below_1000[rest]
        return (self._century[century], *tail)

    def _date(self, day: datetime.date) -> Names:
        """«الخامس من ديسمبر عام ألفين وستة وعشرين»."""
        return (
            self._days[day.day - 1],
            self._months[day.month - 1],
            self._in_year,
            *self.year(day.year),
        )

    def _group(self, digits: str) -> Names:
        return self._spelled(digits)
