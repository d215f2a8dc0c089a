"""Texts of the catalogue respelled so that espeak-ng says them right.

espeak-ng's Persian rules know no unstressed «و» (-o), and its Arabic rules trip over a vowel mark
before shadda, over a doubled letter after the article, over long vowels without their short mark,
and over the ending -ūn/-īn; in Russian it misplaces the stress of a few words. A human speaker
reads the catalogue's own text.
"""

from __future__ import annotations

import re

_VOWELS = "\u064b\u064c\u064d\u064e\u064f\u0650"
_SHADDA, _SUKUN, _FATHA, _DAMMA, _KASRA = "\u0651", "\u0652", "\u064e", "\u064f", "\u0650"
_SUN = "تثدذرزسشصضطظلن"
_LETTER = "[\u0621-\u063a\u0641-\u064a]"

_CONSONANT_NEXT = "(?=[\u0621\u0623-\u0626\u0628-\u063a\u0641-\u0647])"

_ARABIC_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # After a preposition's vowel the article loses its alif, and its lam before a sun letter.
    (re.compile(f"{_KASRA}ال(?=[{_SUN}][{_VOWELS}]?{_SHADDA})"), _KASRA),
    (re.compile(f"{_KASRA}ا(?={_LETTER})"), _KASRA),
    # Unicode orders the vowel before shadda; espeak-ng hears the vowel only after it.
    (re.compile(f"([{_VOWELS}]){_SHADDA}"), _SHADDA + r"\1"),
    # It doubles a sun letter after the article by itself; with shadda it would be tripled.
    (re.compile(f"ال([{_SUN}]){_SHADDA}"), r"ال\1"),
    # Long i and u between consonants want their short mark.
    (re.compile(rf"([^\W اوىيآ]|{_SHADDA})ي{_CONSONANT_NEXT}"), r"\1" + _KASRA + "ي"),
    (re.compile(rf"([^\W اوىآ]|{_SHADDA})و{_CONSONANT_NEXT}"), r"\1" + _DAMMA + "و"),
    # The case ending of -un and -in is silent before a pause.
    (
        re.compile(f"([{_DAMMA}{_KASRA}])([وي])ن(?!{_LETTER}|[{_VOWELS}{_SUKUN}])"),
        r"\1\2ن" + _SUKUN,
    ),
    # Feminine -a: the t is silent before a pause.
    (re.compile(f"{_FATHA}ة(?=[^\u0621-\u0652 ]|$)"), _FATHA + "ه"),
)
_PERSIAN_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # «صد و بیست» is sad-o-bist: the conjunction is a short o on the word before it.
    (re.compile(r"(?<=\w) و(?= |$)"), _DAMMA),
)
_RUSSIAN_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # It stresses these on the second syllable; in double brackets stand its own phonemes.
    (re.compile(r"\bсорок\b"), "[[s'orVk]]"),
    (re.compile(r"\bгорода\b"), "[[g'orVda#]]"),
)
_RULES = {"ar": _ARABIC_RULES, "fa": _PERSIAN_RULES, "ru": _RUSSIAN_RULES}


def respell(text: str, language: str) -> str:
    """The text as espeak-ng has to be given it."""
    for pattern, replacement in _RULES.get(language, ()):
        text = pattern.sub(replacement, text)
    return text
