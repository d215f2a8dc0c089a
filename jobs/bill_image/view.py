"""What a picture of a bill may show, and nothing else (A5, A9)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from billing.entities import Bill, Line
from billing.premium.bill_section import PremiumSection

NO_PREMIUM = PremiumSection((), 0)

LineKind = Literal["charges", "carried", "premium"]

MOST_SERVICES = 40
"""Premium services that are itemised; the cheapest beyond them are one row."""


@dataclass(frozen=True, slots=True)
class PremiumRow:
    """A premium service on the bill; ``name`` is None for all that have no row of their own."""

    name: str | None
    calls: int
    seconds: int
    amount: int


@dataclass(frozen=True, slots=True)
class BillView:
    """A bill as it may leave the house.

    There is no field for an address, a postal code or an e-mail address, and none may be added:
    what this type cannot hold cannot be printed (A9). The names are None unless the asker is the
    line's own caller. Amounts are integer rials; `remainder` is what a payment ID cannot carry and
    the next bill asks for, or asks for already; `withdrawn` is set aside because of a complaint;
    `premium` itemises premium services (D4). `number` is E.164; `year` is the year printed on the
    bill (Solar Hijri, such as 1405).

    Raises ValueError when IDs and barcode are not digits or do not agree.
    """

    number: str
    kind: Literal["fixed", "mobile"]
    first_name: str | None
    last_name: str | None
    period: int
    year: int
    amount: int
    lines: tuple[tuple[LineKind, int], ...]
    paid: int
    payable: int
    remainder: int
    bill_id: str
    payment_id: str
    due_date: date
    barcode: str
    premium: tuple[PremiumRow, ...] = ()
    withdrawn: int = 0

    def __post_init__(self) -> None:
        for name in ("bill_id", "payment_id", "barcode"):
            digits = getattr(self, name)
            if not (digits.isascii() and digits.isdecimal()):
                raise ValueError(f"{name} must be digits 0-9")
        # A picture whose barcode pays another bill than its digits would be worse than none.
        if self.barcode != self.bill_id.zfill(13) + self.payment_id.zfill(13):
            raise ValueError("the barcode must be bill ID and payment ID of 13 digits each")

    @classmethod
    def of(
        cls,
        line: Line,
        bill: Bill,
        *,
        names: bool,
        section: PremiumSection = NO_PREMIUM,
        language: str | None = None,
    ) -> BillView:
        """The view of a line's bill; `names`: the asker is the line's own caller (A9).

        What is payable is what the payment ID on the sheet carries: the current instalment.
        Premium services are called as in `language`, by default the line's, and itemised for the
        line's own caller only.
        """
        own = bill.amount - bill.carried - section.amount
        lines: list[tuple[LineKind, int]] = [("charges", own)] if own else []
        if section.amount:
            lines.append(("premium", section.amount))
        if bill.carried:
            lines.append(("carried", bill.carried))
        return cls(
            number=line.number,
            kind=line.kind,
            first_name=line.first_name if names else None,
            last_name=line.last_name if names else None,
            period=bill.period,
            year=bill.year,
            amount=bill.amount,
            lines=tuple(lines),
            paid=bill.paid,
            payable=bill.instalment,
            remainder=bill.remainder + bill.carried_out - section.withdrawn,
            bill_id=bill.bill_id,
            payment_id=bill.payment_id,
            due_date=bill.due_date,
            barcode=bill.barcode,
            # What somebody listens to is nobody else's business either.
            premium=_premium(section, language or line.language) if names else (),
            withdrawn=section.withdrawn,
        )

    @property
    def name(self) -> str | None:
        """First and last name in one, or None when they may not be shown."""
        parts = [part for part in (self.first_name, self.last_name) if part]
        return " ".join(parts) or None


def _premium(section: PremiumSection, language: str) -> tuple[PremiumRow, ...]:
    rows = [
        PremiumRow(row.service.name(language), row.calls, row.seconds, row.amount)
        for row in section.rows
    ]
    if len(rows) > MOST_SERVICES:
        rest = rows[MOST_SERVICES - 1 :]
        rows[MOST_SERVICES - 1 :] = [
            PremiumRow(
                None,
                sum(row.calls for row in rest),
                sum(row.seconds for row in rest),
                sum(row.amount for row in rest),
            )
        ]
    return tuple(rows)
