"""Numbers and amounts as recordings: grammar of the four languages, twelve digits."""

from __future__ import annotations

import datetime
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from num2words import num2words

from sounds import Phrase, PhraseError, Recording, load_catalogue, written

CATALOGUE = load_catalogue()
LANGUAGES = CATALOGUE.languages
GREATEST = 999_999_999_999
numbers = st.one_of(
    st.integers(0, GREATEST),
    st.integers(0, 2500),
    # Round numbers, and numbers with empty groups between.
    st.builds(lambda n, zeros: n * 10**zeros, st.integers(0, 9999), st.integers(0, 8)),
    st.builds(lambda high, low: high * 10**6 + low, st.integers(0, 999_999), st.integers(0, 120)),
)


def amount_names(rials: int, language: str) -> list[str]:
    """The recordings of an amount alone, out of a phrase that holds one."""
    phrase = Phrase("bill_part_paid", paid=rials, amount=0)
    without = Phrase("bill_part_paid", paid=0, amount=0)
    names, zero = (list(CATALOGUE.recordings(p, language)) for p in (phrase, without))
    head = next(i for i, name in enumerate(zero) if "/number/" in name)
    tail = len(zero) - head - 2  # "zero" and the noun
    return names[head : len(names) - tail]


def said(rials: int, language: str) -> str:
    """An amount in words, as a transcript of the recordings."""
    return " ".join(CATALOGUE.text_of(name) for name in amount_names(rials, language))


def words(rials: int, language: str) -> list[str]:
    """The number's words without the currency and the word for "and" (not for Arabic)."""
    skip = {"و", "ریال", "and", "rial", "rials", "риал", "риала", "риалов"}
    return [word for word in said(rials, language).replace("-", " ").split() if word not in skip]


EXPECTED = {
    "fa": {
        0: "صفر ریال",
        5: "پنج ریال",
        21: "بیست و یک ریال",
        100: "صد ریال",
        101: "صد و یک ریال",
        1000: "هزار ریال",
        1100: "هزار و صد ریال",
        21_000: "بیست و یک هزار ریال",
        129_000: "صد و بیست و نه هزار ریال",
        1_000_000: "یک میلیون ریال",
        1_001_000: "یک میلیون و یک هزار ریال",
        1_234_567: "یک میلیون و دویست و سی و چهار هزار و پانصد و شصت و هفت ریال",
        2_000_000_009: "دو میلیارد و نه ریال",
    },
    "ar": {
        0: "صفر ريال",
        1: "ريال واحد",
        2: "ريالان",
        3: "ثلاثة ريالات",
        10: "عشرة ريالات",
        11: "أحد عشر ريالًا",
        12: "اثنا عشر ريالًا",
        21: "واحد وعشرون ريالًا",
        99: "تسعة وتسعون ريالًا",
        100: "مئة ريال",
        101: "مئة ريال و ريال واحد",
        102: "مئة ريال و ريالان",
        103: "مئة و ثلاثة ريالات",
        200: "مئتا ريال",
        250: "مئتان و خمسون ريالًا",
        1000: "ألف ريال",
        1001: "ألف ريال و ريال واحد",
        2000: "ألفا ريال",
        2500: "ألفان و خمسمئة ريال",
        3000: "ثلاثة آلاف ريال",
        11_000: "أحد عشر ألف ريال",
        11_500: "أحد عشر ألفًا و خمسمئة ريال",
        100_000: "مئة ألف ريال",
        101_000: "مئة ألف و ألف ريال",
        102_000: "مئة ألف و ألفا ريال",
        102_500: "مئة ألف و ألفان و خمسمئة ريال",
        129_000: "مئة و تسعة وعشرون ألف ريال",
        200_000: "مئتا ألف ريال",
        1_000_000: "مليون ريال",
        2_000_000: "مليونا ريال",
        3_000_000: "ثلاثة ملايين ريال",
        2_000_000_000: "مليارا ريال",
        1_234_567: "مليون و مئتان و أربعة وثلاثون ألفًا و خمسمئة و سبعة وستون ريالًا",
    },
    "ru": {
        0: "ноль риалов",
        1: "один риал",
        2: "два риала",
        5: "пять риалов",
        11: "одиннадцать риалов",
        21: "двадцать один риал",
        22: "двадцать два риала",
        112: "сто двенадцать риалов",
        1000: "одна тысяча риалов",
        2000: "две тысячи риалов",
        5000: "пять тысяч риалов",
        21_000: "двадцать одна тысяча риалов",
        122_000: "сто двадцать две тысячи риалов",
        1_000_001: "один миллион один риал",
        2_000_000: "два миллиона риалов",
        5_011_014: "пять миллионов одиннадцать тысяч четырнадцать риалов",
    },
    "en": {
        0: "zero rials",
        1: "one rial",
        21: "twenty-one rials",
        101: "one hundred and one rials",
        1005: "one thousand and five rials",
        129_000: "one hundred and twenty-nine thousand rials",
        1_000_100: "one million one hundred rials",
        2_000_000_020: "two billion and twenty rials",
    },
}


@pytest.mark.parametrize(
    ("language", "rials", "expected"),
    [(lang, n, text) for lang, table in EXPECTED.items() for n, text in table.items()],
)
def test_amount_follows_the_grammar(language: str, rials: int, expected: str) -> None:
    """Amounts agree with their currency as a native speaker says them."""
    assert said(rials, language) == expected


@given(numbers)
def test_persian_number_agrees_with_num2words(number: int) -> None:
    """Persian: the words are those of num2words."""
    assert said(number, "fa").removesuffix(" ریال") == num2words(number, lang="fa")


@given(numbers)
def test_russian_number_agrees_with_num2words(number: int) -> None:
    """Russian: numerals with gender and plural forms are those of num2words."""
    assert said(number, "ru").rsplit(" ", 1)[0] == num2words(number, lang="ru")


@given(numbers)
def test_english_number_agrees_with_num2words(number: int) -> None:
    """English: the words are those of num2words in British English, whose commas are not said."""
    expected = num2words(number, lang="en_GB").replace(",", "")
    assert said(number, "en").rsplit(" ", 1)[0] == expected


# Groups of thousands that num2words gets right: it has no dual and no plural after a hundred.
_SAFE_GROUPS = [0, *range(3, 100), *(n for n in range(100, 1000) if n % 100 == 0 or n % 100 > 10)]


@given(*(st.sampled_from(_SAFE_GROUPS),) * 4)
def test_arabic_number_agrees_with_num2words_where_it_is_right(
    billions: int, millions: int, thousands: int, units: int
) -> None:
    """Arabic: the numerals are those of num2words, case endings apart, where that is right."""
    number = ((billions * 1000 + millions) * 1000 + thousands) * 1000 + units
    theirs = num2words(number, lang="ar")
    for old, new in (("مائة", "مئة"), ("اً", "ًا"), ("و ", "و"), ("إثنا", "اثنا")):
        theirs = theirs.replace(old, new)
    ours = said(number, "ar").rsplit(" ", 1)[0].replace(" و ", " و")
    assert _stem(ours) == _stem(theirs)


def _stem(text: str) -> list[str]:
    return [re.sub(r"(ًا|ان|ا)$", "", word) for word in text.split()]


@given(numbers, st.sampled_from(LANGUAGES))
def test_every_word_of_a_number_is_in_the_script(number: int, language: str) -> None:
    """Whatever number is said, the recording script holds every word of it."""
    script = {line.key for line in CATALOGUE.script(language)}
    assert set(amount_names(number, language)) <= script


# A small reader of number words, the other way round: one value a word.
_VALUES: dict[str, dict[str, int]] = {
    language: {
        CATALOGUE.text_of(f"{language}/number/{n}.wav"): n
        for n in (*range(20), *range(20, 100, 10), *range(100, 1000, 100))
    }
    for language in LANGUAGES
}
_SCALES = {
    "fa": {"هزار": 10**3, "میلیون": 10**6, "میلیارد": 10**9},
    "en": {"thousand": 10**3, "million": 10**6, "billion": 10**9},
    "ru": {"тысяч": 10**3, "миллион": 10**6, "миллиард": 10**9},
}


def read(number: int, language: str) -> int:
    """The value a listener hears, from the words alone (not for Arabic)."""
    values = _VALUES[language] | {"одна": 1, "две": 2, "hundred": 100}
    scales = _SCALES[language]
    total = group = 0
    for word in words(number, language):
        scale = next((v for name, v in scales.items() if word.startswith(name)), None)
        if scale:
            total += (group or 1) * scale
            group = 0
        elif word == "hundred":
            group *= 100
        else:
            group += values[word]
    return total + group


@given(numbers, st.sampled_from(["fa", "ru", "en"]))
def test_number_is_read_back_the_same(number: int, language: str) -> None:
    """A listener who adds up the words gets the number."""
    assert read(number, language) == number


def read_arabic(number: int) -> int:
    """The value a listener hears in Arabic, from the recordings' texts."""
    scales = [("مليار", 10**9), ("مليون", 10**6), ("ملايين", 10**6), ("ألف", 1000), ("آلاف", 1000)]
    values = {word.split("/")[0]: n for word, n in _VALUES["ar"].items()} | {"مئتا": 200}
    total = group = rials = 0
    text = said(number, "ar").replace("أحد عشر", "أحد-عشر").replace("اثنا عشر", "اثنا-عشر")
    text = re.sub(r"(\w+) عشر(?!\w)", r"\1-عشر", text)
    values = {key.replace(" عشر", "-عشر"): n for key, n in values.items()}
    for word in re.sub(r"(?<=\s)و(?=\w)(?!احد)", "", text).split():
        scale = next((v for name, v in scales if word.startswith(name)), None)
        if word == "و":
            continue
        if word.startswith("ريال"):
            # «مئة ريال وريال واحد»: the second noun counts for itself.
            rials += total + group or (2 if word == "ريالان" else 0)
            total = group = 0
        elif scale:
            dual = 2 if re.search("(ألف|مليون|مليار)(ا|ان)$", word) else 1
            total += (group or dual) * scale
            group = 0
        else:
            group += values[word]
    return rials + total + group


@given(numbers)
def test_arabic_number_is_read_back_the_same(number: int) -> None:
    """A listener who adds up the Arabic words, duals included, gets the number."""
    assert read_arabic(number) == number


@pytest.mark.parametrize("language", LANGUAGES)
def test_number_beyond_twelve_digits_is_refused(language: str) -> None:
    """A thirteenth digit, or a debt below zero, is an error that names phrase and slot."""
    for wrong in (GREATEST + 1, -1):
        with pytest.raises(PhraseError, match="bill_part_paid: slot paid"):
            CATALOGUE.recordings(Phrase("bill_part_paid", paid=wrong, amount=0), language)
        with pytest.raises(PhraseError, match="bill_part_paid: slot paid"):
            CATALOGUE.text(Phrase("bill_part_paid", paid=wrong, amount=0), language)


@pytest.mark.parametrize("wrong", [True, 1.0, "1", None])
def test_amount_must_be_an_integer(wrong: object) -> None:
    """Money is integer rials: nothing else is said or written as an amount."""
    with pytest.raises(PhraseError, match="wrong type for amount"):
        CATALOGUE.recordings(Phrase("bill_part_paid", paid=wrong, amount=0), "fa")
    with pytest.raises(PhraseError, match="wrong type for amount"):
        CATALOGUE.text(Phrase("bill_part_paid", paid=wrong, amount=0), "fa")


def test_counted_noun_takes_the_russian_plural() -> None:
    """Russian open bills: счёт, счёта, счетов."""
    for count, form in ((1, "счёт"), (2, "счёта"), (5, "счетов"), (11, "счетов"), (22, "счёта")):
        phrase = Phrase("open_bills", number="+982188776655", count=count, total=0)
        texts = [CATALOGUE.text_of(name) for name in CATALOGUE.recordings(phrase, "ru")]
        assert any(text.startswith("неоплаченн") and text.endswith(f" {form}") for text in texts)
        assert f" {form}." in CATALOGUE.text(phrase, "ru")


def time_of_day(hour: int, minute: int, language: str) -> str:
    """A time of day as it is said, out of a phrase that holds one."""
    phrase = Phrase(
        "premium_closed_today",
        service=Recording("services/9091234567/1/fa/name.wav", ""),
        at=datetime.time(hour, minute),
    )
    names = CATALOGUE.recordings(phrase, language)
    words = ("/number/", "/noun/", "/time/", "/year/")
    return " ".join(CATALOGUE.text_of(n) for n in names if any(word in n for word in words))


@pytest.mark.parametrize(
    ("at", "fa", "ar", "ru", "en"),
    [
        ((8, 0), "هشت", "الثّامِنَة صَباحًا", "восемь часов", "eight a.m."),
        (
            (21, 2),
            "بیست و یک و دو دقیقه",
            "التّاسِعَة وَ دَقيقَتان مَساءً",
            "двадцать один час две минуты",
            "nine oh two p.m.",
        ),
        (
            (12, 30),
            "دوازده و سی دقیقه",
            "الثّانِيَةَ عَشرَة وَ ثَلاثون دَقيقَة مَساءً",
            "двенадцать часов тридцать минут",
            "twelve thirty p.m.",
        ),
        ((0, 0), "صفر", "الثّانِيَةَ عَشرَة صَباحًا", "ноль часов", "twelve a.m."),
    ],
)
def test_time_of_day_is_read_as_a_clock_is(at, fa, ar, ru, en) -> None:
    """Hours and minutes agree with their nouns; a round hour has no minutes."""
    for language, expected in (("fa", fa), ("ar", ar), ("ru", ru), ("en", en)):
        plain = written.numerals(written.plain(expected), language)
        assert time_of_day(*at, language) == plain


@pytest.mark.parametrize(
    ("count", "ar", "ru"),
    [
        (1, "دقيقة واحدة", "одна минута"),
        (2, "دقيقتان", "две минуты"),
        (3, "ثلاث دقائق", "три минуты"),
        (10, "عشر دقائق", "десять минут"),
        (11, "إحدى عشرة دقيقة", "одиннадцать минут"),
        (21, "إحدى و عشرون دقيقة", "двадцать одна минута"),
        (45, "خمس و أربعون دقيقة", "сорок пять минут"),
        (100, "مئة دقيقة", "сто минут"),
        (102, "مئة دقيقة و دقيقتان", "сто две минуты"),
        (203, "مئتان و ثلاث دقائق", "двести три минуты"),
        (1003, "ألف و ثلاث دقائق", "одна тысяча три минуты"),
    ],
)
def test_feminine_nouns_are_counted_in_agreement(count: int, ar: str, ru: str) -> None:
    """Minutes and seconds are feminine in Arabic and Russian, and their numbers follow."""
    for language, expected in (("ar", ar), ("ru", ru)):
        phrase = Phrase("premium_least_minutes", least=count)
        names = CATALOGUE.recordings(phrase, language)
        words = [CATALOGUE.text_of(n) for n in names if "/number/" in n or "/noun/" in n]
        assert " ".join(words) == written.plain(expected)
