"""Telephone numbers as they are written nationally and grouped for the ear."""

from __future__ import annotations

import re

_IRAN = re.compile(r"\+98(\d{10})")
_ABROAD = re.compile(r"\+(\d{4,15})")
_NATIONAL = re.compile(r"\d{3,15}")


def national(number: str) -> str:
    """``+982188776655`` -> ``02188776655``; abroad, ``00`` and the country code.

    Numbers already written without ``+`` stay as they are. Raises ValueError for anything else.
    """
    if match := _IRAN.fullmatch(number):
        return "0" + match[1]
    if match := _ABROAD.fullmatch(number):
        return "00" + match[1]
    if _NATIONAL.fullmatch(number) and number.isascii():
        return number
    raise ValueError("not a telephone number in E.164 or national form")


def groups(number: str) -> tuple[str, ...]:
    """The groups a number is read in.

    Mobile 0912 345 67 89; fixed 021 88 77 66 55 (numbering plan of Iran: two-digit area codes,
    eight-digit local numbers); short codes in pairs; abroad the prefix, then groups of three.
    """
    digits = national(number)
    if len(digits) == 11 and digits.startswith("09"):
        sizes = [4, 3, 2, 2]
    elif len(digits) == 11 and digits.startswith("0"):
        sizes = [3, 2, 2, 2, 2]
    elif digits.startswith("00"):
        sizes = [2] + [3] * 5
    else:
        sizes = [2] * 8
    found, start = [], 0
    for size in sizes:
        if start < len(digits):
            found.append(digits[start : start + size])
            start += size
    return tuple(found)
