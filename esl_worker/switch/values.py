"""How FreeSWITCH reads numbers and yes-or-no values from text."""

from __future__ import annotations

_TRUE = frozenset({"yes", "on", "true", "t", "enabled", "active", "allow"})


def true(text: str | None) -> bool:
    """Whether FreeSWITCH takes the text for yes (switch_true)."""
    if text is None:
        return False
    if text.lower() in _TRUE:
        return True
    return text.isascii() and text.lstrip("-").isdigit() and integer(text) != 0


def integer(text: str) -> int:
    """The number at the start of the text, as C's atoi reads it; 0 if there is none."""
    digits = text.lstrip(" \t")[:10]
    sign, digits = (digits[:1], digits[1:]) if digits[:1] in ("+", "-") else ("", digits)
    length = 0
    while length < len(digits) and "0" <= digits[length] <= "9":
        length += 1
    return int(f"{sign}{digits[:length]}") if length else 0
