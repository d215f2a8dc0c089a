"""Lines and bills as a conversation sees them: without e-mail, address and postal code (A9)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from billing.bill_ids import LARGEST_INSTALMENT, THOUSAND, barcode26
from billing.numbers import Kind

Language = Literal["fa", "ar", "ru", "en"]

LANGUAGES: tuple[Language, ...] = ("fa", "ar", "ru", "en")


@dataclass(frozen=True, slots=True)
class Line:
    """A number with a service. Numbers are E.164; ``mobile`` is where a fixed line's SMS go."""

    id: int
    number: str
    kind: Kind
    language: Language
    mobile: str | None
    first_name: str
    last_name: str


@dataclass(frozen=True, slots=True)
class Bill:
    """A bill of a line. Money is integer rials.

    ``amount`` is the whole bill, of which ``carried`` came from earlier bills; ``carried_out`` is
    what a later bill asks for instead. ``payment_id`` is the one to pay with now.
    """

    id: int
    line_id: int
    number: str
    kind: Kind
    period: int
    year: int
    amount: int
    paid: int
    carried: int
    bill_id: str
    payment_id: str
    due_date: date
    status: Literal["open", "paid"]
    carried_out: int = 0

    @property
    def left(self) -> int:
        """Rials of this bill that are neither paid nor carried to a later one."""
        return self.amount - self.paid - self.carried_out

    @property
    def payable(self) -> int:
        """The whole thousands still to pay through bill ID and payment ID."""
        return payable(self.left)

    @property
    def instalment(self) -> int:
        """What the present payment ID carries: the payable part, as far as eight digits hold it."""
        return instalment(self.left)

    @property
    def remainder(self) -> int:
        """The rials below a thousand that the next bill will carry as its own line."""
        return self.left % THOUSAND

    @property
    def barcode(self) -> str:
        """The 26 digits of the printed barcode."""
        return barcode26(self.bill_id, self.payment_id)


def payable(left: int) -> int:
    """Return the whole thousands in ``left`` rials."""
    return left - left % THOUSAND


def instalment(left: int) -> int:
    """Return the rials that one payment ID for ``left`` rials carries."""
    return min(payable(left), LARGEST_INSTALMENT)


@dataclass(frozen=True, slots=True)
class Opening:
    """All that a conversation needs at its start.

    ``line`` is None for a number without a line; ``open_bills`` are oldest due first; ``last_paid``
    is the bill settled last, if any. ``owed`` is all that the line owes, in rials: its open bills,
    and the remainders below a thousand that its next bill will ask for.
    """

    line: Line | None
    open_bills: list[Bill]
    last_paid: Bill | None
    owed: int = 0


@dataclass(frozen=True, slots=True)
class BillView:
    """A bill with its line, for those who render it (SMS, image)."""

    line: Line
    bill: Bill
