"""Taking a charge off bills, and undoing it by new entries.

What was collected of a reversed charge becomes the line's credit, which its next bill takes; the
provider's part of that is taken back, with the next statement where it was settled before.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing import bills, campaigns, ledger
from billing.bills import Debt
from billing.premium import accounts, posting
from billing.premium.collecting import OPEN
from billing.premium.posting import Parts
from billing.premium.schema import bill_charges, charges, collections
from billing.schema import bills as bills_table

_ON_BILLS = (
    select(bill_charges.c.bill, func.sum(OPEN).label("left"))
    .where(bill_charges.c.charge == bindparam("charge"), OPEN > 0)
    .group_by(bill_charges.c.bill)
    .order_by(bill_charges.c.bill)
)

_LOCK_BILL = (
    select(
        bills_table.c.id,
        bills_table.c.bill_id,
        bills_table.c.year,
        bills_table.c.period,
        bills_table.c.paid,
        bills_table.c.amount - bills_table.c.paid - bills_table.c.carried_out,
    )
    .where(bills_table.c.id == bindparam("bill"))
    .with_for_update()
)


def lock_bills(conn: Connection, charge: int) -> None:
    """Lock the bills that ask for a charge, before the charge itself: so does whoever pays."""
    for row in conn.execute(_ON_BILLS, {"charge": charge}).all():
        conn.execute(_LOCK_BILL, {"bill": row.bill})


def withdraw(conn: Connection, charge: Any, key: str, now: datetime) -> None:
    """Take what bills still ask for of a disputed charge off them; posted under ``key``.

    ``charge`` is its row, locked.
    """
    total = 0
    for row in conn.execute(_ON_BILLS, {"charge": charge.id}).all():
        # Locked before, or a bill that has come in between: then now.
        debt = Debt(*conn.execute(_LOCK_BILL, {"bill": row.bill}).one())
        left = int(row.left)
        conn.execute(
            update(bill_charges)
            .where(bill_charges.c.bill == row.bill, bill_charges.c.charge == charge.id)
            .values(withdrawn=bill_charges.c.withdrawn + OPEN)
        )
        if bills.withdraw(conn, debt, left, now):
            campaigns.bill_settled(conn, charge.line, now)
        total += left
    if total:
        conn.execute(
            update(charges)
            .where(charges.c.id == charge.id)
            .values(unbilled=charges.c.unbilled + total)
        )
        transfer = ledger.Transfer(
            accounts.unbilled(charge.line), ledger.receivable(charge.line), total
        )
        ledger.post(conn, key, "dispute", [transfer], now)


def reverse(conn: Connection, charge: Any, now: datetime) -> None:
    """Undo all of a disputed charge by new entries; no bill asks for it any more.

    ``charge`` is its row, locked, after `withdraw`.
    """
    collected = charge.collected
    share = charge.provider_part * collected // charge.amount
    conn.execute(
        update(charges)
        .where(charges.c.id == charge.id, charges.c.status == "disputed")
        .values(status="reversed", collected=0, unbilled=0)
    )
    if collected:
        conn.execute(
            insert(collections).values(
                charge=charge.id,
                amount=-collected,
                provider_part=-share,
                kind="reversal",
                at=now,
            )
        )
    divided = Parts(
        charge.provider_part - share, charge.operator_part, posting.levies_of(charge.levies)
    )
    ledger.post(
        conn,
        f"reversal:{charge.call_id}",
        "reversal",
        accounts.paired(
            [
                (accounts.collected(charge.provider), share),
                *posting.credits_of(charge.provider, divided),
            ],
            [
                (accounts.unbilled(charge.line), charge.amount - collected),
                (ledger.credit(charge.line), collected),
            ],
        ),
        now,
    )
