"""The fields of an order form: what the digits mean, and how they are read back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import jdatetime  # type: ignore[import-untyped]

from billing.numbers import parse_number
from callflows.trees.format import OrderField
from sounds import Phrase

# Years before are Solar Hijri, as in the house's files.
_FIRST_GREGORIAN = 1700
_DATE_DIGITS = 8


def digits_of(field: OrderField) -> tuple[int, int]:
    """How many digits the field takes: least and most."""
    if field.kind == "date":
        return _DATE_DIGITS, _DATE_DIGITS
    if field.kind == "amount":
        # Numbers are said up to twelve digits.
        return field.least, min(field.most, 12)
    return (4, 15) if field.kind == "phone" else (field.least, field.most)


def reader(field: OrderField, region: str) -> Callable[[str], str]:
    """What makes the field's value of the digits pressed; it raises ValueError."""
    least, most = digits_of(field)

    def read(pressed: str) -> str:
        if not pressed.isdigit() or not least <= len(pressed) <= most:
            raise ValueError("too few digits, too many, or a key that is none")
        if field.kind == "phone":
            return parse_number(pressed, region=region)
        if field.kind == "date":
            return _date(pressed).isoformat()
        return str(int(pressed)) if field.kind == "amount" else pressed

    return read


def read_back(field: OrderField, value: str) -> Phrase:
    """ "You have entered ...", and the keys to confirm or to change it."""
    if field.kind == "amount":
        return Phrase("tree_entered_amount", value=int(value))
    if field.kind == "phone":
        return Phrase("tree_entered_phone", value=value)
    if field.kind == "date":
        return Phrase("tree_entered_date", value=date.fromisoformat(value))
    return Phrase("tree_entered_digits", value=value)


def _date(pressed: str) -> date:
    year, month, day = int(pressed[:4]), int(pressed[4:6]), int(pressed[6:])
    if year < _FIRST_GREGORIAN:
        converted: date = jdatetime.date(year, month, day).togregorian()
    else:
        converted = date(year, month, day)
    # The years that there are recordings for.
    if not 2020 <= converted.year <= 2060:
        raise ValueError("not in the years 2020 to 2060")
    return converted
