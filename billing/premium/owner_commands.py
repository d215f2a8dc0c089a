"""What an owner's SMS orders: YES 4711, NO 4711, LIST, STOP 12, CREDIT 500000; in four languages.

The text is anybody's: it is either one of these forms, wholly, or no order at all. So a word in a
longer message ("no, I did not ask") orders nothing.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from billing.digits import ascii_digits

Order = Literal["yes", "no", "list", "stop", "credit"]

LONGEST_ORDER = 80
"""Characters; a message that is longer says something else."""

_WORDS: dict[Order, tuple[str, ...]] = {
    "yes": ("yes", "بله", "آری", "نعم", "да"),
    "no": ("no", "نه", "خیر", "لا", "нет"),
    "list": ("list", "لیست", "فهرست", "قائمة", "список"),
    "stop": ("stop", "لغو", "إلغاء", "стоп", "отмена"),
    "credit": ("credit", "اعتبار", "رصيد", "лимит", "кредит"),
}

# Letters that keyboards of the region write in several ways.
_ALIKE = str.maketrans({
    "ي": "ی", "ى": "ی", "ك": "ک", "ة": "ه", "أ": "ا", "إ": "ا", "آ": "ا", "ؤ": "و", "ё": "е",
})  # fmt: skip
# Between the digits of an amount: commas, dots, apostrophes, the Arabic thousands separator.
_SEPARATED = re.compile(r"(?<=\d)[,.'’٬،](?=\d{3}(?:\D|\Z))")
_EDGES = re.compile(r"[\s.,;:!?#*()\"'«»،؛؟…]+")
_DIGITS = re.compile(r"\+?[0-9]{1,16}")


@dataclass(frozen=True, slots=True)
class Command:
    """An order, with the number that it names (None: it names none), and perhaps a line's."""

    order: Order
    number: int | None = None
    line: str | None = None


def _plain(text: str) -> str:
    # Marks of vowels and of writing direction, joiners, tatweel: seen by nobody, sent by keyboards.
    shown = "".join(
        char
        for char in unicodedata.normalize("NFKC", text)
        if unicodedata.category(char) not in ("Mn", "Cf") and char != "ـ"
    )
    return ascii_digits(shown).casefold().translate(_ALIKE)


_ORDERS: dict[str, Order] = {
    _plain(word): order for order, words in _WORDS.items() for word in words
}


def parse_command(text: str) -> Command | None:
    """Return what an SMS orders; None for any other text."""
    if len(text) > LONGEST_ORDER:
        return None
    joined = _SEPARATED.sub("", _plain(text))
    parts = [part for part in _EDGES.split(joined) if part]
    words = [part for part in parts if not _DIGITS.fullmatch(part)]
    numbers = [part for part in parts if _DIGITS.fullmatch(part)]
    order = _ORDERS.get(words[0]) if len(words) == 1 else None
    if order is None:
        return None
    if order == "list":
        return Command(order) if not numbers else None
    if order == "credit":
        if not 1 <= len(numbers) <= 2 or numbers[0].startswith("+"):
            return Command(order) if not numbers else None
        return Command(order, int(numbers[0]), numbers[1] if len(numbers) == 2 else None)
    if not numbers:
        # A bare STOP means other things to other senders: it is no order of ours.
        return None if order == "stop" else Command(order)
    if len(numbers) > 1 or numbers[0].startswith("+"):
        return None
    return Command(order, int(numbers[0]))
