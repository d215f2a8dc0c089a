"""The ledger accounts of premium-rate charges (beside those of `billing.ledger`).

A charge is a debit of ``premium:line:<id>``, what a line has used and no bill asks for yet, and a
credit of its parts. A provider's part is ``uncollected`` until its charge is paid, ``collected``
until a statement settles it, then ``settled``: what is carried forward stands there, what is to be
paid out goes on to ``payable``.
"""

from __future__ import annotations

from collections.abc import Iterable

from billing.ledger import Transfer

OPERATOR = "operator:premium"
"""The operator's parts of all charges."""

PAID_OUT = "payouts"
"""What has been paid out to providers."""


def unbilled(line: int) -> str:
    """Return the account of what a line has used and no bill asks for."""
    return f"premium:line:{line}"


def levy(code: str) -> str:
    """Return the account of a levy on charges."""
    return f"levy:{code}"


def uncollected(provider: int) -> str:
    """Return the account of a provider's parts of what is not collected yet."""
    return f"provider:{provider}:uncollected"


def collected(provider: int) -> str:
    """Return the account of a provider's parts that are collected and not settled."""
    return f"provider:{provider}:collected"


def settled(provider: int) -> str:
    """Return the account of what statements have settled and carry forward."""
    return f"provider:{provider}:settled"


def payable(provider: int) -> str:
    """Return the account of what is to be paid out to a provider."""
    return f"provider:{provider}:payable"


def deduction(code: str) -> str:
    """Return the account of what is withheld of providers' shares."""
    return f"deduction:{code}"


def paired(debits: Iterable[tuple[str, int]], credits: Iterable[tuple[str, int]]) -> list[Transfer]:
    """Return transfers that put those amounts on those accounts; amounts of 0 are left out.

    Raises:
        ValueError: the two sides do not sum to the same.
    """
    left = [side for side in debits if side[1]]
    right = [side for side in credits if side[1]]
    if sum(amount for _, amount in left) != sum(amount for _, amount in right):
        raise ValueError("debits and credits do not sum to the same")
    transfers = []
    while left:
        (debit, of_debit), (credit, of_credit) = left.pop(0), right.pop(0)
        amount = min(of_debit, of_credit)
        transfers.append(Transfer(debit, credit, amount))
        if of_debit > amount:
            left.insert(0, (debit, of_debit - amount))
        if of_credit > amount:
            right.insert(0, (credit, of_credit - amount))
    return transfers
