"""Russian: plural forms, gender of thousands, genitive dates and years."""

from __future__ import annotations

import datetime
from typing import ClassVar

from sounds.speech import Names, Speech, check_period, check_year, groups_of_three, words

_UNITS = words(
    "ноль один два три четыре пять шесть семь восемь девять десять одиннадцать двенадцать "
    "тринадцать четырнадцать пятнадцать шестнадцать семнадцать восемнадцать девятнадцать"
)
_TENS = words("двадцать тридцать сорок пятьдесят шестьдесят семьдесят восемьдесят девяносто")
_HUNDREDS = words("сто двести триста четыреста пятьсот шестьсот семьсот восемьсот девятьсот")
_FEMININE = {1: "одна", 2: "две"}
# Forms: one, few (2-4), many (0, 5-20 ...), as CLDR names them.
_SCALES = {
    "billion": ("миллиард", "миллиарда", "миллиардов"),
    "million": ("миллион", "миллиона", "миллионов"),
    "thousand": ("тысяча", "тысячи", "тысяч"),
}
_NOUNS = {
    "rial": ("риал", "риала", "риалов"),
    "bill": ("неоплаченный счёт", "неоплаченных счёта", "неоплаченных счетов"),
    "hour": ("час", "часа", "часов"),
    "minute": ("минута", "минуты", "минут"),
    "second": ("секунда", "секунды", "секунд"),
}
_FEMININE_NOUNS = frozenset({"minute", "second"})
# Genitive ordinals: first, second ... (day of month, last word of a year).
_GENITIVE_UNITS = words(
    "первого второго третьего четвёртого пятого шестого седьмого восьмого девятого десятого "
    "одиннадцатого двенадцатого тринадцатого четырнадцатого пятнадцатого шестнадцатого "
    "семнадцатого восемнадцатого девятнадцатого"
)
_GENITIVE_TENS = words(
    "двадцатого тридцатого сорокового пятидесятого шестидесятого семидесятого восьмидесятого "
    "девяностого"
)
_ORDINAL_UNITS = words(
    "первый второй третий четвёртый пятый шестой седьмой восьмой девятый десятый одиннадцатый "
    "двенадцатый тринадцатый четырнадцатый пятнадцатый шестнадцатый семнадцатый восемнадцатый "
    "девятнадцатый"
)
_ORDINAL_TENS = words(
    "двадцатый тридцатый сороковой пятидесятый шестидесятый семидесятый восьмидесятый девяностый"
)
MONTHS = words("января февраля марта апреля мая июня июля августа сентября октября ноября декабря")


def plural(number: int) -> int:
    """Index of the plural form: 0 one, 1 few, 2 many (CLDR rules for Russian)."""
    if number % 10 == 1 and number % 100 != 11:
        return 0
    if 2 <= number % 10 <= 4 and not 12 <= number % 100 <= 14:
        return 1
    return 2


def _below_100(number: int, feminine: bool = False) -> str:
    tens, units = (0, number) if number < 20 else divmod(number, 10)
    word = _FEMININE.get(units, _UNITS[units]) if feminine else _UNITS[units]
    if not tens:
        return word
    return _TENS[tens - 2] + (f" {word}" if units else "")


def _ordinal(number: int, units_words: tuple[str, ...], tens_words: tuple[str, ...]) -> str:
    """An ordinal 1..99: only its last word is inflected."""
    if number < 20:
        return units_words[number - 1]
    tens, units = divmod(number, 10)
    if not units:
        return tens_words[tens - 2]
    return f"{_TENS[tens - 2]} {units_words[units - 1]}"


class Russian(Speech):
    """Russian; dates and years are in the genitive («до пятого декабря ... года»)."""

    language = "ru"
    DIGITS = _UNITS[:10]
    STAR, HASH = "звёздочка", "решётка"
    CONTEXTS: ClassVar = {
        "digit": "отдельная цифра под запись; медленно и чётко",
        "key": "название клавиши телефона",
        "number": "часть числа, тон не завершать",
        "noun": "после числа",
        "period": "порядковый номер, дальше «период»",
        "day": "число месяца, дальше месяц",
        "month": "месяц, дальше год",
        "year": "год после месяца или периода",
    }

    def _add_words(self) -> None:
        below_100 = [self._add(f"number/{n}", _below_100(n)) for n in range(100)]
        hundreds = [self._add(f"number/{n}00", word) for n, word in enumerate(_HUNDREDS, 1)]
        feminine = {
            n: self._add(f"number/{n}-f", _below_100(n, feminine=True))
            for n in range(100)
            if n % 10 in _FEMININE and n not in (11, 12)
        }
        self._masculine = self._table(hundreds, below_100)
        self._feminine = self._table(hundreds, [feminine.get(n, below_100[n]) for n in range(100)])
        self._scale = {
            scale: [self._add(f"number/{scale}-{form}", word) for form, word in enumerate(forms, 1)]
            for scale, forms in _SCALES.items()
        }
        self._nouns = {
            noun: [self._add(f"noun/{noun}-{form}", word) for form, word in enumerate(forms, 1)]
            for noun, forms in _NOUNS.items()
        }
        self._tens = below_100[0::10]
        self._periods = {
            n: self._add(f"period/{n}", _ordinal(n, _ORDINAL_UNITS, _ORDINAL_TENS))
            for n in (*range(1, 20), *range(20, 100, 10))
        }
        self._days = [
            self._add(f"day/{n}", _ordinal(n, _GENITIVE_UNITS, _GENITIVE_TENS))
            for n in range(1, 32)
        ]
        self._months = [self._add(f"month/{n}", word) for n, word in enumerate(MONTHS, 1)]
        self._century = {
            13: self._add("year/13", "тысяча триста"),
            14: self._add("year/14", "тысяча четыреста"),
            20: self._add("year/20", "две тысячи"),
        }
        self._year_1400 = self._add("year/1400", "тысяча четырёхсотого года")
        self._year_of_century = {
            n: self._add(f"year/of-{n}", f"{_ordinal(n, _GENITIVE_UNITS, _GENITIVE_TENS)} года")
            for n in (*range(1, 61), *range(90, 100))
        }

    @staticmethod
    def _table(hundreds: list[str], below_100: list[str]) -> list[Names]:
        table: list[Names] = []
        for n in range(1000):
            hundred, rest = divmod(n, 100)
            head: Names = (hundreds[hundred - 1],) if hundred else ()
            table.append(head + ((below_100[rest],) if rest or not hundred else ()))
        return table

    def count(self, number: int) -> Names:
        """«сто двадцать две тысячи один»; masculine, thousands feminine; 1000 «одна тысяча»."""
        return self._count(number, self._masculine)

    def _count(self, number: int, units_table: list[Names]) -> Names:
        billions, millions, thousands, units = groups_of_three(number)
        if not number:
            return self._masculine[0]
        names: Names = ()
        if billions:
            names += (*self._masculine[billions], self._scale["billion"][plural(billions)])
        if millions:
            names += (*self._masculine[millions], self._scale["million"][plural(millions)])
        if thousands:
            names += (*self._feminine[thousands], self._scale["thousand"][plural(thousands)])
        if units:
            names += units_table[units]
        return names

    def counted(self, number: int, noun: str) -> Names:
        """«двадцать один риал», «пять тысяч риалов», «двадцать одна минута»."""
        table = self._feminine if noun in _FEMININE_NOUNS else self._masculine
        return (*self._count(number, table), self._nouns[noun][plural(number)])

    def time(self, at: datetime.time) -> Names:
        """«восемь часов», «двадцать один час две минуты»."""
        minutes = self.counted(at.minute, "minute") if at.minute else ()
        return (*self.counted(at.hour, "hour"), *minutes)

    def period(self, number: int) -> Names:
        """«третий», «двадцать» + «первый»: agrees with «период»."""
        check_period(number)
        if number in self._periods:
            return (self._periods[number],)
        return (self._tens[number // 10], self._periods[number % 10])

    def year(self, number: int) -> Names:
        """«тысяча четыреста пятого года»: genitive, the word for year included."""
        check_year(number)
        if number == 1400:
            return (self._year_1400,)
        century, rest = divmod(number, 100)
        return (self._century[century], self._year_of_century[rest])

    def _date(self, day: datetime.date) -> Names:
        """«пятого декабря две тысячи двадцать шестого года»."""
        return (self._days[day.day - 1], self._months[day.month - 1], *self.year(day.year))

    def _group(self, digits: str) -> Names:
        """Zeros each on their own, then a number: 0912 «ноль девятьсот двенадцать»."""
        rest = digits.lstrip("0")
        zeros = self._masculine[0] * (len(digits) - len(rest))
        return zeros + (self.count(int(rest)) if rest else ())
