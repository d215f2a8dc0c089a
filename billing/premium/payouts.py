"""What becomes of a provider's share: withheld, carried forward, to be paid (D13).

Of the share and what was carried in the contract's deductions are withheld in order, each of what
the one before has left, rounded down. What is left is to be paid; less than the contract's least
payout, or less than nothing, is carried forward whole, and nothing is withheld of it then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from billing.premium.providers import ALL_BP, Part


@dataclass(frozen=True, slots=True)
class Deduction:
    """``amount`` rials withheld: ``bp`` hundredths of a per cent ``of`` what was left."""

    code: str
    bp: int
    of: int
    amount: int


@dataclass(frozen=True, slots=True)
class Payout:
    """What becomes of a share: withheld, carried forward, to be paid."""

    deductions: tuple[Deduction, ...]
    carried_out: int
    payable: int

    @property
    def withheld(self) -> int:
        """All that is withheld."""
        return sum(deduction.amount for deduction in self.deductions)


def payout(total: int, deductions: Sequence[Part], least: int) -> Payout:
    """Return what becomes of ``total`` rials: the share and what was carried in."""
    left = total
    withheld = []
    for part in deductions:
        amount = max(0, left) * part.bp // ALL_BP
        withheld.append(Deduction(part.code, part.bp, left, amount))
        left -= amount
    if total <= 0 or left < least:
        return Payout((), total, 0)
    return Payout(tuple(withheld), 0, left)
