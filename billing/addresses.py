"""E-mail addresses out of hostile text (an SMS, a form field).

What is accepted is narrower than RFC 5321 and 5322: a dot-atom of letters, digits and ``._+-'`` in
front (at most 64 characters), a domain name of at least two labels behind (254 in all, RFC 5321
4.5.3.1). Nothing that means something in a header (white space, comma, angle brackets, quotes,
control characters) can be part of it. Persian, Arabic and fullwidth characters that a keyboard
puts in place of ASCII digits and signs are read as those; a domain in another script becomes
punycode (IDNA 2008); another script in front of the @ is refused, because few servers take it.
"""

from __future__ import annotations

import re
import unicodedata

import idna

from billing.digits import ascii_digits
from billing.errors import InvalidAddress

LONGEST_TEXT = 2000
"""Characters looked at: more than ten SMS is no answer to a question for an address."""

_LONGEST_LOCAL = 64
_LONGEST = 254

_LOCAL = re.compile(r"(?!-)[A-Za-z0-9_+'-]+(?:\.[A-Za-z0-9_+'-]+)*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# Only what RFC 5322 lets nobody write unquoted in an address: cutting at / or | would make another
# person's address out of a rare one.
_BETWEEN = re.compile(r"[\s,;:،؛<>()\[\]\"«»“”\x00-\x1f\x7f]+")

# Direction marks, joiners and the byte order mark: invisible, and phones add them by themselves.
_INVISIBLE = dict.fromkeys(
    [0x00AD, 0x061C, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070)]
)


def extract_address(text: str) -> str:
    """Return the one e-mail address in ``text``, its domain in lower case.

    The same address written twice is still one.

    Raises:
        InvalidAddress: none, more than one, or one that is malformed. The error's text never
            repeats the input.
    """
    if len(text) > LONGEST_TEXT:
        raise InvalidAddress("the text is too long")
    # Fullwidth @ and letters become plain ones.
    plain = unicodedata.normalize("NFKC", text).translate(_INVISIBLE)
    found = {
        _parse(candidate.lstrip("'").rstrip(".!?؟'"))
        for candidate in _BETWEEN.split(ascii_digits(plain))
        if "@" in candidate
    }
    if not found:
        raise InvalidAddress("there is no e-mail address")
    if len(found) > 1:
        raise InvalidAddress("there is more than one e-mail address")
    return found.pop()


def _parse(candidate: str) -> str:
    local, _, domain = candidate.partition("@")
    if len(local) > _LONGEST_LOCAL or not _LOCAL.fullmatch(local):
        raise InvalidAddress("the part before @ is not one that is accepted")
    domain = _parse_domain(domain)
    if len(local) + 1 + len(domain) > _LONGEST:
        raise InvalidAddress("the address is too long")
    return f"{local}@{domain}"


def _parse_domain(domain: str) -> str:
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise InvalidAddress("the part after @ is not a domain name") from None
    labels = domain.lower().split(".")
    if (
        len(labels) < 2
        or not all(_LABEL.fullmatch(label) for label in labels)
        # A last label of digits would be an IP address.
        or not re.fullmatch(r"[a-z]{2,}|xn--[a-z0-9-]+", labels[-1])
    ):
        raise InvalidAddress("the part after @ is not a domain name")
    return ".".join(labels)
