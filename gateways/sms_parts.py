"""How many parts a text takes as SMS, and where it is cut (3GPP TS 23.038, TS 23.040).

One part holds 160 septets of the GSM 7-bit alphabet or 70 UCS-2 units; joined parts hold 153
and 67, because the header that joins them takes six octets. Our own splitter, because the
usual ones cut the two-septet characters (such as the euro sign) and surrogate pairs (emoji)
in the middle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# TS 23.038, 6.2.1 (default alphabet, without the escape code) and 6.2.1.1 (extension table).
_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("\f^{}\\[~]|€")

_SINGLE = {"GSM-7": 160, "UCS-2": 70}
_JOINED = {"GSM-7": 153, "UCS-2": 67}


@dataclass(frozen=True, slots=True)
class Segments:
    """A text as it is sent: `units` are septets (GSM-7) or 16-bit units (UCS-2)."""

    encoding: Literal["GSM-7", "UCS-2"]
    units: int
    parts: tuple[str, ...]


def segment(text: str) -> Segments:
    """Cut a text into SMS parts; joining `parts` gives the text again. An empty text is one part.

    One character outside the GSM alphabet makes the whole message UCS-2.
    """
    encoding: Literal["GSM-7", "UCS-2"] = (
        "GSM-7" if all(c in _BASIC or c in _EXTENSION for c in text) else "UCS-2"
    )
    widths = [_width(c, encoding) for c in text]
    units = sum(widths)
    if units <= _SINGLE[encoding]:
        return Segments(encoding, units, (text,))
    room = _JOINED[encoding]
    parts: list[str] = []
    start = used = 0
    for at, width in enumerate(widths):
        if used + width > room:
            parts.append(text[start:at])
            start, used = at, 0
        used += width
    parts.append(text[start:])
    return Segments(encoding, units, tuple(parts))


def _width(character: str, encoding: str) -> int:
    """Units of one character; a pair (escape + letter, or two surrogates) is never cut."""
    if encoding == "GSM-7":
        return 2 if character in _EXTENSION else 1
    return 2 if ord(character) > 0xFFFF else 1
