"""Dates, years, periods, telephone numbers, IDs and keys: spoken and written."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sounds import LANGUAGES, Phrase, PhraseError, load_catalogue

CATALOGUE = load_catalogue()
DECEMBER_5 = datetime.date(2026, 12, 5)


def bill(**slots: object) -> Phrase:
    """A bill_summary with some slots changed."""
    usual = {"number": "+982188776655", "amount": 5, "period": 3, "year": 1405, "due": DECEMBER_5}
    return Phrase("bill_summary", **(usual | slots))


def said(phrase: Phrase, language: str) -> str:
    """All words of a phrase; a bar where a silence is."""
    names = CATALOGUE.recordings(phrase, language)
    return " ".join(CATALOGUE.text_of(name) or "|" for name in names)


@pytest.mark.parametrize(
    ("day", "language", "spoken", "written"),
    [
        (DECEMBER_5, "fa", "چهاردهم آذرماه هزار و چهارصد و پنج", "۱۴ آذر ۱۴۰۵"),
        (DECEMBER_5, "ar", "الخامس من ديسمبر عام ألفين و ستة وعشرين", "٥ ديسمبر ٢٠٢٦"),
        (DECEMBER_5, "ru", "пятого декабря две тысячи двадцать шестого года", "5 декабря 2026 г."),
        (DECEMBER_5, "en", "the fifth of December twenty twenty-six", "5 December 2026"),
        # Nowruz, the first day of a leap year's end, and the ends of the months.
        (datetime.date(2026, 3, 21), "fa", "یکم فروردین‌ماه هزار و چهارصد و پنج", "۱ فروردین ۱۴۰۵"),
        (datetime.date(2025, 3, 20), "fa", "سی‌ام اسفندماه هزار و چهارصد و سه", "۳۰ اسفند ۱۴۰۳"),
        (
            datetime.date(2026, 9, 22),
            "fa",
            "سی و یکم شهریورماه هزار و چهارصد و پنج",
            "۳۱ شهریور ۱۴۰۵",
        ),
        (datetime.date(2021, 3, 20), "fa", "سی‌ام اسفندماه هزار و سیصد و نود و نه", "۳۰ اسفند ۱۳۹۹"),
        (
            datetime.date(2030, 1, 31),
            "ar",
            "الحادي والثلاثين من يناير عام ألفين و ثلاثين",
            "٣١ يناير ٢٠٣٠",
        ),
        (
            datetime.date(2042, 8, 20),
            "ar",
            "العشرين من أغسطس عام ألفين و اثنين وأربعين",
            "٢٠ أغسطس ٢٠٤٢",
        ),
        (
            datetime.date(2030, 1, 31),
            "ru",
            "тридцать первого января две тысячи тридцатого года",
            "31 января 2030 г.",
        ),
        (
            datetime.date(2040, 2, 22),
            "en",
            "the twenty-second of February twenty forty",
            "22 February 2040",
        ),
    ],
)
def test_date_in_the_calendar_of_the_language(
    day: datetime.date, language: str, spoken: str, written: str
) -> None:
    """Solar Hijri in Persian, Gregorian otherwise; each in its case and order."""
    assert spoken in said(bill(due=day), language)
    assert written in CATALOGUE.text(bill(due=day), language)


@given(st.dates(datetime.date(2020, 3, 20), datetime.date(2060, 12, 31)))
def test_every_date_can_be_said(day: datetime.date) -> None:
    """Every day of the years there are recordings for has its words in all languages."""
    for language in LANGUAGES:
        script = {line.key for line in CATALOGUE.script(language)}
        names = CATALOGUE.recordings(bill(due=day), language)
        assert {name for name in names if not name.startswith("silence/")} <= script


def test_date_must_be_a_date() -> None:
    """A date in writing is not guessed at, and a year without recordings is an error."""
    for wrong in ("2026-12-05", datetime.date(2009, 1, 1), datetime.date(2080, 1, 1)):
        for language in LANGUAGES:
            with pytest.raises(PhraseError, match="slot due"):
                CATALOGUE.recordings(bill(due=wrong), language)


@pytest.mark.parametrize(
    ("year", "spoken"),
    [
        (
            1400,
            {
                "fa": "هزار و چهارصد",
                "ar": "ألف وأربعمئة",
                "ru": "тысяча четырёхсотого года",
                "en": "fourteen hundred",
            },
        ),
        (
            1405,
            {
                "fa": "هزار و چهارصد و پنج",
                "ar": "ألف وأربعمئة و خمسة",
                "ru": "тысяча четыреста пятого года",
                "en": "fourteen oh five",
            },
        ),
        (
            1399,
            {
                "fa": "هزار و سیصد و نود و نه",
                "ar": "ألف وثلاثمئة و تسعة وتسعين",
                "ru": "тысяча триста девяносто девятого года",
                "en": "thirteen ninety-nine",
            },
        ),
        (
            2026,
            {
                "fa": "دو هزار و بیست و شش",
                "ar": "ألفين و ستة وعشرين",
                "ru": "две тысячи двадцать шестого года",
                "en": "twenty twenty-six",
            },
        ),
    ],
)
def test_year_of_a_bill(year: int, spoken: dict[str, str]) -> None:
    """The year printed on the bill is said as years are said."""
    for language, words in spoken.items():
        assert f" {words} " in said(bill(year=year), language)


@given(st.integers(1390, 1450) | st.integers(2020, 2060), st.integers(1, 99))
def test_every_year_and_period_can_be_said(year: int, period: int) -> None:
    """Years 1390..1450 and 2020..2060 and periods 1..99 have recordings in the script."""
    for language in LANGUAGES:
        script = {line.key for line in CATALOGUE.script(language)}
        names = CATALOGUE.recordings(bill(year=year, period=period), language)
        assert {name for name in names if not name.startswith("silence/")} <= script


@pytest.mark.parametrize(("slot", "wrong"), [("period", 0), ("period", 100), ("year", 1389)])
def test_year_and_period_out_of_range_are_refused(slot: str, wrong: int) -> None:
    """A bill of the hundredth period is a mistake, not a prompt."""
    for language in LANGUAGES:
        with pytest.raises(PhraseError, match=f"slot {slot}"):
            CATALOGUE.recordings(bill(**{slot: wrong}), language)


@pytest.mark.parametrize(
    ("period", "persian", "russian"),
    [
        (1, "یکم", "первый"),
        (3, "سوم", "третий"),
        (12, "دوازدهم", "двенадцатый"),
        (21, "بیست و یکم", "двадцать первый"),
        (40, "چهل", "сороковой"),
    ],
)
def test_period_is_an_ordinal_where_custom_has_it(period: int, persian: str, russian: str) -> None:
    """Persian and Russian count periods with ordinals, and write them as figures."""
    assert f"دورهٔ {persian} سال" in said(bill(period=period), "fa")
    assert f"за {russian} период" in said(bill(period=period), "ru")
    assert f"за {period}-й период" in CATALOGUE.text(bill(period=period), "ru")


@pytest.mark.parametrize(
    ("number", "language", "spoken"),
    [
        (
            "+982188776655",
            "fa",
            "صفر بیست و یک | هشتاد و هشت | هفتاد و هفت | شصت و شش | پنجاه و پنج",
        ),
        ("+989123456789", "fa", "صفر نهصد و دوازده | سیصد و چهل و پنج | شصت و هفت | هشتاد و نه"),
        ("+982100050070", "fa", "صفر بیست و یک | صفر صفر | صفر پنج | صفر صفر | هفتاد"),
        ("+989120030201", "fa", "صفر نهصد و دوازده | صفر صفر سه | صفر دو | صفر یک"),
        ("+982188776655", "ru", "ноль двадцать один | восемьдесят восемь | семьдесят семь |"),
        (
            "+989123456789",
            "ru",
            "ноль девятьсот двенадцать | триста сорок пять | шестьдесят семь |",
        ),
        ("+989123456789", "en", "zero nine one two | three four five | six seven | eight nine"),
        ("+982188776655", "ar", "صفر اثنان واحد | ثمانية ثمانية | سبعة سبعة | ستة ستة | خمسة خمسة"),
        ("+4930123456", "en", "zero zero | four nine three | zero one two | three four five | six"),
        ("2000", "fa", "بیست | صفر صفر"),
    ],
)
def test_telephone_number_in_customary_groups(number: str, language: str, spoken: str) -> None:
    """Numbers are read nationally, in the groups of the country, each leading zero clear."""
    assert spoken in said(Phrase("number_read_back", number=number), language)


@given(st.from_regex(r"\+98[1-9][0-9]{9}", fullmatch=True))
def test_telephone_number_is_complete(number: str) -> None:
    """Read digit by digit (English), a number comes out as it is dialled in the country."""
    names = CATALOGUE.recordings(Phrase("number_read_back", number=number), "en")
    digits = [name.rsplit("/", 1)[1][:-4] for name in names if "/number/" in name]
    assert "".join(digits) == "0" + number[3:]


def test_telephone_number_is_written_in_one_piece() -> None:
    """Written numbers have no spaces: right to left, groups would change places."""
    phrase = Phrase("number_read_back", number="+982188776655")
    assert "۰۲۱۸۸۷۷۶۶۵۵" in CATALOGUE.text(phrase, "fa")
    assert "٠٢١٨٨٧٧٦٦٥٥" in CATALOGUE.text(phrase, "ar")
    assert "02188776655" in CATALOGUE.text(phrase, "ru")


@given(st.from_regex(r"[0-9]{1,13}", fullmatch=True), st.sampled_from(LANGUAGES))
def test_id_is_read_three_digits_at_a_time(bill_id: str, language: str) -> None:
    """Each digit is its own clear recording, a pause after each, a longer one after three (A7)."""
    phrase = Phrase("read_ids", amount=1, bill_id=bill_id, payment_id="1")
    names = CATALOGUE.recordings(phrase, language)
    start = names.index(f"{language}/read_ids/2.wav") + 2
    read = names[start : start + 2 * len(bill_id)]
    assert read[0::2] == tuple(f"{language}/digit/{digit}.wav" for digit in bill_id)
    for place, pause in enumerate(read[1::2], start=1):
        end_of_group = place % 3 == 0 or place == len(bill_id)
        assert pause == f"silence/{'0900' if end_of_group else '0200'}.wav"


def test_id_is_written_in_ascii_digits() -> None:
    """IDs are typed into a bank's form: ASCII digits in every language."""
    phrase = Phrase("read_ids", amount=1, bill_id="9174639504124", payment_id="12908190")
    for language in LANGUAGES:
        assert "9174639504124" in CATALOGUE.text(phrase, language)


@pytest.mark.parametrize("wrong", ["", "12a", "۱۲", "1" * 27, "1\n"])
def test_id_must_be_digits(wrong: str) -> None:
    """Nothing but ASCII digits is read as an ID."""
    phrase = Phrase("read_ids", amount=1, bill_id=wrong, payment_id="1")
    with pytest.raises(PhraseError, match="slot bill_id"):
        CATALOGUE.recordings(phrase, "fa")
    with pytest.raises(PhraseError, match="slot bill_id"):
        CATALOGUE.text(phrase, "fa")


@pytest.mark.parametrize(
    ("language", "star", "hash_"),
    [
        ("fa", "ستاره", "مربع"),
        ("ar", "نجمة", "مربع"),
        ("ru", "звёздочка", "решётка"),
        ("en", "star", "hash"),
    ],
)
def test_keypad_keys_have_names(language: str, star: str, hash_: str) -> None:
    """Star and hash are named as in the country; in writing they are the signs."""
    assert star in said(Phrase("language_option", key="*"), language)
    assert hash_ in said(Phrase("language_option", key="#"), language)
    assert "#" in CATALOGUE.text(Phrase("language_option", key="#"), language)


def test_amount_is_written_in_the_numerals_of_the_language() -> None:
    """Thousands separators and numerals are the language's own."""
    phrase = bill(amount=1_290_000)
    assert "۱٬۲۹۰٬۰۰۰ ریال" in CATALOGUE.text(phrase, "fa")
    assert "١٬٢٩٠٬٠٠٠ ريال" in CATALOGUE.text(phrase, "ar")
    assert "1\u00a0290\u00a0000 риалов" in CATALOGUE.text(phrase, "ru")
    assert "1,290,000 rials" in CATALOGUE.text(phrase, "en")
