"""Digits as people and files write them: Persian, Arabic and fullwidth ones made ASCII."""

from __future__ import annotations

_TO_ASCII = {
    ord(start) + value: str(value)
    for start in ("\u06f0", "\u0660", "\uff10")  # Persian, Arabic, fullwidth zero
    for value in range(10)
}


def ascii_digits(text: str) -> str:
    """Return ``text`` with Persian, Arabic and fullwidth digits written as 0-9."""
    if text.isascii():
        return text
    return text.translate(_TO_ASCII)


def parse_digits(text: str, longest: int) -> str:
    """Return ``text`` (spaces at its ends ignored) as 1 to ``longest`` ASCII digits.

    Raises:
        ValueError: anything else is in it, it is empty or too long.
    """
    digits = ascii_digits(text).strip()
    # str.isdigit alone accepts superscripts and other scripts' digits.
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError("digits only")
    if len(digits) > longest:
        raise ValueError(f"more than {longest} digits")
    return digits
