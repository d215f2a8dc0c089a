"""Collecting: which part of a bill's payments is for which premium charge.

Within a bill everything else is paid first and premium charges last, the oldest of them first: what
is missing is missing on premium services, for which no telephone is cut off. So the newest charges
are in what a bill leaves to the next one (remainders below a thousand rials), where they are last
again. Of each collected rial the provider has its part: in all ``part * collected // amount``,
which is the whole part when the whole charge is collected, however it was paid.

Whoever calls this holds the lock of the bill.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing import ledger
from billing.bills import Debt
from billing.premium import accounts
from billing.premium.schema import bill_charges, charges, collections

_ASKED = bill_charges.c
OPEN = _ASKED.amount - _ASKED.collected - _ASKED.carried - _ASKED.withdrawn
"""What a bill still asks for of a charge."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a bill still asks for of a charge: ``left`` rials."""

    charge: int
    kind: str
    left: int
    provider: int
    amount: int
    provider_part: int
    collected: int

    def provider_has(self, collected: int) -> int:
        """Return the provider's part of so many collected rials."""
        return self.provider_part * collected // self.amount


# The oldest charge first. Locked, for another bill may collect of the same charge.
_ASKED_OF_BILL = (
    select(
        _ASKED.charge,
        _ASKED.kind,
        OPEN.label("left"),
        charges.c.provider,
        charges.c.amount,
        charges.c.provider_part,
        charges.c.collected,
    )
    .select_from(bill_charges.join(charges, charges.c.id == _ASKED.charge))
    .where(_ASKED.bill == bindparam("of_bill"), OPEN > 0)
    .order_by(charges.c.connected_at, charges.c.id, _ASKED.kind)
    .with_for_update(of=charges)
)

_THIS = (
    (_ASKED.bill == bindparam("of_bill"))
    & (_ASKED.charge == bindparam("of_charge"))
    & (_ASKED.kind == bindparam("of_kind"))
)

_COLLECT = (
    update(bill_charges)
    .where(_THIS)
    .values(collected=_ASKED.collected + bindparam("taken", type_=_ASKED.collected.type))
)

_CARRY = (
    update(bill_charges)
    .where(_THIS)
    .values(carried=_ASKED.carried + bindparam("taken", type_=_ASKED.carried.type))
)

_RAISE = (
    update(charges)
    .where(charges.c.id == bindparam("of_charge"))
    .values(collected=charges.c.collected + bindparam("taken", type_=charges.c.collected.type))
)

_new_asked = insert(bill_charges)
_ASK = _new_asked.on_conflict_do_update(
    index_elements=[_ASKED.bill, _ASKED.charge, _ASKED.kind],
    set_={"amount": _ASKED.amount + _new_asked.excluded.amount},
)


def asked_by(conn: Connection, bill: int) -> list[Asked]:
    """Return what a locked bill still asks for of charges, the oldest charge first."""
    return [Asked(*row) for row in conn.execute(_ASKED_OF_BILL, {"of_bill": bill})]


def bill_paid(conn: Connection, debt: Debt, applied: int, now: datetime) -> int:
    """Collect what a payment of ``applied`` rials brings for a bill's premium charges.

    Args:
        conn: the write transaction that holds the bill's lock.
        debt: the bill as it stood before the payment.
        applied: rials that are paid now; up to ``debt.left``.
        now: the moment of it.

    Returns:
        the rials that are collected of charges.
    """
    asked = asked_by(conn, debt.bill)
    others = debt.left - sum(each.left for each in asked)
    return collect(conn, debt.bill, asked, max(0, applied - others), debt.paid, now)


def collect(
    conn: Connection, bill: int, asked: Sequence[Asked], money: int, paid: int, now: datetime
) -> int:
    """Give ``money`` rials to the oldest of the charges that a locked bill asks for.

    ``paid`` are the bill's rials before: no two payments of a bill have the same. Returns the rials
    that found a charge.
    """
    taken: list[tuple[Asked, int]] = []
    left = money
    for each in asked:
        if not left:
            break
        amount = min(left, each.left)
        left -= amount
        taken.append((each, amount))
    if not taken:
        return 0
    rows = [
        {"of_bill": bill, "of_charge": each.charge, "of_kind": each.kind, "taken": amount}
        for each, amount in taken
    ]
    conn.execute(_COLLECT, rows)
    conn.execute(_RAISE, rows)
    _write_collections(conn, bill, taken, paid, now)
    return money - left


def _write_collections(
    conn: Connection, bill: int, taken: Sequence[tuple[Asked, int]], paid: int, now: datetime
) -> None:
    # A charge may be asked for twice, by this bill's own section and in a remainder.
    collected = {each.charge: each.collected for each, _ in taken}
    shares: dict[int, int] = {}
    rows = []
    for each, amount in taken:
        before = collected[each.charge]
        collected[each.charge] += amount
        part = each.provider_has(before + amount) - each.provider_has(before)
        shares[each.provider] = shares.get(each.provider, 0) + part
        rows.append(
            {
                "charge": each.charge,
                "bill": bill,
                "amount": amount,
                "provider_part": part,
                "kind": "payment",
                "at": now,
            }
        )
    conn.execute(collections.insert(), rows)
    transfers = [
        ledger.Transfer(accounts.uncollected(provider), accounts.collected(provider), part)
        for provider, part in sorted(shares.items())
        if part
    ]
    if transfers:
        ledger.post(conn, f"collection:{bill}:{paid}", "collection", transfers, now)


def ask(conn: Connection, bill: int, kind: str, amounts: Sequence[tuple[int, int]]) -> None:
    """Let a bill ask for charges: pairs of a charge and its rials."""
    conn.execute(
        _ASK,
        [
            {"bill": bill, "charge": charge, "kind": kind, "amount": amount}
            for charge, amount in amounts
        ],
    )


def carry(conn: Connection, bill: int, rest: int, to: int) -> None:
    """Let bill ``to`` ask for the premium part of the ``rest`` that ``bill`` leaves to it.

    That is of the newest charges: they would have been paid last.
    """
    moved = []
    for each in reversed(asked_by(conn, bill)):
        if not rest:
            break
        amount = min(rest, each.left)
        rest -= amount
        moved.append((each, amount))
    if not moved:
        return
    conn.execute(
        _CARRY,
        [
            {"of_bill": bill, "of_charge": each.charge, "of_kind": each.kind, "taken": amount}
            for each, amount in moved
        ],
    )
    by_charge: dict[int, int] = {}
    for each, amount in moved:
        by_charge[each.charge] = by_charge.get(each.charge, 0) + amount
    ask(conn, to, "carried", list(by_charge.items()))
