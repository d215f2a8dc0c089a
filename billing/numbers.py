"""Telephone numbers: read from any text, kept as E.164 (ITU-T E.164), shown masked in logs."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType

from billing.digits import ascii_digits
from billing.errors import InvalidNumber

Kind = Literal["fixed", "mobile"]

# Longer text is nobody's number (E.164: 15 digits); a caller ID can be made as long as one likes.
_LONGEST = 40

_FIXED = (PhoneNumberType.FIXED_LINE, PhoneNumberType.FIXED_LINE_OR_MOBILE)
_MOBILE = (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)

# What subscribers and switches nearly always write; phonenumbers takes 100 times as long to say
# the same, which the CPU budget of a call does not carry. The patterns are phonenumbers' own.
_HOME = "IR"
_HOME_CODE = "+98"
_HOME_FORM = re.compile(r"(?:\+98|0098|0)([1-9][0-9]{9})")
_home = phonenumbers.PhoneMetadata.metadata_for_region(_HOME)
if _home is None or _home.mobile is None or _home.fixed_line is None:  # pragma: no cover
    raise ImportError(f"phonenumbers has no numbering plan for {_HOME}")
_HOME_MOBILE = re.compile(_home.mobile.national_number_pattern or "(?!)")
_HOME_FIXED = re.compile(_home.fixed_line.national_number_pattern or "(?!)")


def parse_number(text: str, region: str = _HOME, kind: Kind | None = None) -> str:
    """Return the E.164 form (``+982188776655``) of the number written in ``text``.

    Args:
        text: national or international form; Persian and Arabic digits are read.
        region: country whose national form ``text`` may have (ISO 3166 code).
        kind: the kind of line it has to be; None for any valid number.

    Raises:
        InvalidNumber: no valid number, or one of another kind. The text never repeats the input.
    """
    home = _HOME_FORM.fullmatch(text) if region == _HOME else None
    if home is not None:
        national_number = home[1]
        if _HOME_MOBILE.fullmatch(national_number):
            if kind == "fixed":
                raise InvalidNumber("a mobile number, not a fixed line's")
            return _HOME_CODE + national_number
        if _HOME_FIXED.fullmatch(national_number):
            if kind == "mobile":
                raise InvalidNumber("a fixed line's number, not a mobile one")
            return _HOME_CODE + national_number
    return _parse_any(text, region, kind)


def _parse_any(text: str, region: str, kind: Kind | None) -> str:
    if len(text) > _LONGEST:
        raise InvalidNumber("not a telephone number: too long")
    digits = ascii_digits(text).strip()
    # phonenumbers digs numbers out of prose, vanity letters and URIs: a field has to be a number.
    if not re.fullmatch(r"\+?[0-9 ()./\-]+", digits):
        raise InvalidNumber("not a telephone number")
    try:
        number = phonenumbers.parse(digits, region)
    except NumberParseException:
        raise InvalidNumber("not a telephone number") from None
    if not phonenumbers.is_valid_number(number):
        raise InvalidNumber("not a complete telephone number")
    number_type = phonenumbers.number_type(number)
    if kind == "mobile" and number_type not in _MOBILE:
        raise InvalidNumber("not a mobile number")
    if kind == "fixed" and number_type not in _FIXED:
        raise InvalidNumber("not a fixed line's number")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def is_mobile(e164: str) -> bool:
    """Return whether the valid E.164 number is a mobile one."""
    try:
        parse_number(e164, kind="mobile")
    except InvalidNumber:
        return False
    return True


@lru_cache(maxsize=4096)
def split(e164: str) -> tuple[str, str]:
    """Return country code and national significant number of an E.164 number.

    Raises:
        InvalidNumber: it is not one.
    """
    try:
        number = phonenumbers.parse(e164)
    except NumberParseException:
        raise InvalidNumber("not an E.164 number") from None
    return str(number.country_code), phonenumbers.national_significant_number(number)


def national(e164: str) -> str:
    """Return the number as it is dialled at home: ``02188776655``; foreign ones with 00.

    Raises:
        InvalidNumber: it is not an E.164 number.
    """
    if e164.startswith(_HOME_CODE):
        return "0" + e164[len(_HOME_CODE) :]
    code, national_number = split(e164)
    return f"00{code}{national_number}"


def mask(number: str | None) -> str:
    """Return what a log may hold of a number: ``+98912***6789``; never fails.

    Six digits at the front and four at the end stay of an E.164 number; of shorter text that could
    be one, only the last two; text that is no number at all is ``***``.
    """
    if not number:
        return "-"
    if re.fullmatch(r"\+?[0-9]{10,15}", number):
        return f"{number[:6]}***{number[-4:]}"
    if re.fullmatch(r"[0-9]{1,9}", number):
        # Service numbers (2000, 9990) are nobody's secret.
        return number if len(number) <= 4 else f"***{number[-2:]}"
    return "***"
