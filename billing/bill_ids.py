"""Bill ID and payment ID, the Iranian standard's two numbers that a bill is paid with.

Bill ID (up to 13 digits): file number (8), company code (3), service code (1), check digit C.
Payment ID (up to 13): amount in thousands of rials (8), year (1), period (2), C1, C2. C1 guards
the payment ID, C2 both together. Both are strings of digits; canonical without leading zeros,
because C2 is computed over the payment ID without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from billing.digits import parse_digits
from billing.errors import InvalidIds
from billing.numbers import Kind, split

LONGEST = 13
"""Digits in either ID at most."""

THOUSAND = 1000
"""Rials in the unit that a payment ID counts in."""

LARGEST_INSTALMENT = 99_999_999 * THOUSAND
"""Rials that one payment ID can carry at most: eight digits of thousands."""

SERVICE_CODES: dict[Kind, str] = {"fixed": "4", "mobile": "5"}


def check_digit(digits: str) -> str:
    """Return the check digit over ``digits``: weights 2 to 7 from the right, modulo 11."""
    total = sum(
        weight * (ord(digit) - 48)
        for weight, digit in zip(_weights(len(digits)), reversed(digits), strict=True)
    )
    rest = total % 11
    return "0" if rest < 2 else str(11 - rest)


@lru_cache(maxsize=64)
def _weights(length: int) -> tuple[int, ...]:
    return tuple(2 + position % 6 for position in range(length))


@dataclass(frozen=True, slots=True)
class BillId:
    """A bill ID whose check digit holds, taken apart."""

    text: str

    @property
    def file(self) -> str:
        """The file number, without leading zeros."""
        return self.text[:-5]

    @property
    def company(self) -> str:
        """The three digits of the company code."""
        return self.text[-5:-2]

    @property
    def service(self) -> str:
        """The service code: 4 a fixed line's, 5 a mobile line's."""
        return self.text[-2]


@dataclass(frozen=True, slots=True)
class PaymentId:
    """A payment ID whose check digits hold, taken apart."""

    text: str

    @property
    def amount(self) -> int:
        """The rials it carries: whole thousands."""
        return int(self.text[:-5] or 0) * THOUSAND

    @property
    def year(self) -> str:
        """The last digit of the year."""
        return self.text[-5:-4] or "0"

    @property
    def period(self) -> int:
        """The number of the period."""
        return int(self.text[-4:-2])


def _canonical(text: str, name: str, shortest: int) -> str:
    try:
        digits = parse_digits(text, LONGEST).lstrip("0")
    except ValueError as error:
        raise InvalidIds(f"{name}: {error}") from None
    if len(digits) < shortest:
        raise InvalidIds(f"{name}: fewer than {shortest} digits")
    return digits


def parse_bill_id(text: str) -> BillId:
    """Return the bill ID written in ``text``, leading zeros dropped.

    Raises:
        InvalidIds: not 6 to 13 digits, or C is wrong; the text says what C should be.
    """
    digits = _canonical(text, "bill ID", 6)
    right = check_digit(digits[:-1])
    if digits[-1] != right:
        raise InvalidIds(f"bill ID: check digit C is {digits[-1]}, should be {right}")
    return BillId(digits)


def verify(bill_id: str, payment_id: str) -> tuple[BillId, PaymentId]:
    """Return both IDs, checked and canonical.

    Raises:
        InvalidIds: a digit is wrong (C, C1 or C2): the text names it and what it should be.
    """
    bill = parse_bill_id(bill_id)
    # Without amount and with year 0 only the period is left before C1 and C2.
    digits = _canonical(payment_id, "payment ID", 3)
    right = check_digit(digits[:-2])
    if digits[-2] != right:
        raise InvalidIds(f"payment ID: check digit C1 is {digits[-2]}, should be {right}")
    right = check_digit(bill.text + digits[:-1])
    if digits[-1] != right:
        raise InvalidIds(f"payment ID: check digit C2 is {digits[-1]}, should be {right}")
    return bill, PaymentId(digits)


def compute_bill_id(number: str, kind: Kind) -> str:
    """Return the bill ID of a line, canonical (no leading zeros).

    The file number is the last eight digits of the national significant number, the company code
    what stands before them (02188776655: file 88776655, company 021).

    Args:
        number: the line's number, E.164.
        kind: decides the service code.

    Raises:
        InvalidIds: more than three digits stand before the last eight.
    """
    if number.startswith("+98"):
        digits = number[3:]  # the country code is known, so there is nothing to look up
    else:
        digits = split(number)[1]
    file, company = digits[-8:], digits[:-8].zfill(3)
    if len(company) > 3:
        raise InvalidIds("bill ID: the number is too long for file number and company code")
    body = (file + company + SERVICE_CODES[kind]).lstrip("0")
    return body + check_digit(body)


def compute_payment_id(bill_id: str, amount: int, year: int, period: int) -> str:
    """Return the payment ID, canonical, for ``amount`` rials of the bill with ``bill_id``.

    Only whole thousands go in: ``amount % 1000`` is carried to the next bill.

    Args:
        bill_id: canonical, its check digit already verified or computed.
        amount: rials, at most LARGEST_INSTALMENT and the thousand begun.
        year: as printed on the bill; its last digit goes in.
        period: 1 to 99.

    Raises:
        InvalidIds: amount or period do not fit.
    """
    thousands = amount // THOUSAND
    if not 0 <= thousands <= LARGEST_INSTALMENT // THOUSAND:
        raise InvalidIds("payment ID: the amount has more than eight digits of thousands")
    if not 1 <= period <= 99:
        raise InvalidIds("payment ID: the period is not 1 to 99")
    body = f"{thousands}{year % 10}{period:02d}".lstrip("0")
    body += check_digit(body)
    return body + check_digit(bill_id + body)


def barcode26(bill_id: str, payment_id: str) -> str:
    """Return the 26 digits of a bill's barcode: both IDs padded to 13 with zeros, joined."""
    return bill_id.zfill(LONGEST) + payment_id.zfill(LONGEST)
