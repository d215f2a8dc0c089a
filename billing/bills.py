"""Bills and lines out of the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing import ledger
from billing.bill_ids import compute_payment_id
from billing.entities import Bill, BillView, Line, Opening, instalment, payable
from billing.schema import accounts, bill_lines, bills, lines, payment_ids

_LINE = (
    lines.c.id,
    lines.c.number,
    lines.c.kind,
    lines.c.language,
    lines.c.mobile,
    lines.c.first_name,
    lines.c.last_name,
)

_CARRIED = (
    select(bill_lines.c.amount)
    .where(bill_lines.c.bill == bills.c.id, bill_lines.c.kind == "carried")
    .scalar_subquery()
)

# In the order of Bill, as they follow line, number and kind.
_BILL = (
    bills.c.id,
    bills.c.period,
    bills.c.year,
    bills.c.amount,
    bills.c.paid,
    func.coalesce(_CARRIED, 0),
    bills.c.bill_id,
    bills.c.payment_id,
    bills.c.due_date,
    bills.c.status,
    bills.c.carried_out,
)

_older = bills.alias("older")
_LAST_PAID = (
    select(_older.c.id)
    .where(_older.c.line_id == lines.c.id, _older.c.status == "paid")
    .order_by(_older.c.settled_at.desc(), _older.c.id.desc())
    .limit(1)
    .scalar_subquery()
)

# All that the line owes: its open bills, and the remainders that its next bill asks for.
_OWED = (
    select(accounts.c.debits - accounts.c.credits)
    .where(accounts.c.code == ledger.receivable_of(lines.c.id))
    .scalar_subquery()
)

# Line, open bills and last paid bill in one round: the start of every call.
_OPENING = (
    select(*_LINE, *_BILL, func.coalesce(_OWED, 0))
    .select_from(
        lines.outerjoin(
            bills,
            (bills.c.line_id == lines.c.id)
            & ((bills.c.status == "open") | (bills.c.id == _LAST_PAID)),
        )
    )
    .where(lines.c.number == bindparam("number"))
    .order_by(bills.c.due_date, bills.c.id)
)

_VIEW = (
    select(*_LINE, *_BILL)
    .select_from(lines.join(bills, bills.c.line_id == lines.c.id))
    .where(bills.c.id == bindparam("bill"))
)

_ONE_LINE = select(*_LINE).where(lines.c.id == bindparam("line"))

_WIDTH = len(_LINE)


def _line(row: Row[*tuple[Any, ...]]) -> Line:
    return Line(*row[:_WIDTH])


def _bill(row: Row[*tuple[Any, ...]]) -> Bill:
    identity, *rest = row[_WIDTH : _WIDTH + len(_BILL)]
    return Bill(identity, row[0], row[1], row[2], *rest)


def opening(conn: Connection, number: str) -> Opening:
    """Return what is known of a line by its number (E.164) in one query."""
    rows = conn.execute(_OPENING, {"number": number}).all()
    if not rows:
        return Opening(None, [], None)
    found = [_bill(row) for row in rows if row[_WIDTH] is not None]
    return Opening(
        _line(rows[0]),
        [bill for bill in found if bill.status == "open"],
        next((bill for bill in found if bill.status == "paid"), None),
        rows[0][-1],
    )


def view(conn: Connection, bill: int) -> BillView | None:
    """Return a bill with its line, by the bill's row id."""
    row = conn.execute(_VIEW, {"bill": bill}).one_or_none()
    return None if row is None else BillView(_line(row), _bill(row))


def line(conn: Connection, line_id: int) -> Line | None:
    """Return a line by its row id."""
    row = conn.execute(_ONE_LINE, {"line": line_id}).one_or_none()
    return None if row is None else _line(row)


_STATUS = select(bills.c.status).where(bills.c.id == bindparam("bill"))


def is_open(conn: Connection, bill: int) -> bool:
    """Return whether a bill is still to be paid, by its row id; False for one that is not there."""
    return conn.execute(_STATUS, {"bill": bill}).scalar() == "open"


_STANDING = select(bills.c.status, bills.c.paid, bills.c.carried_out).where(
    bills.c.id == bindparam("bill")
)


def as_it_stands(conn: Connection, known: Bill) -> Bill | None:
    """Return a bill that was read before as it is now; the same object if nothing has changed.

    Three columns tell; the rest is read only if they differ. None for a bill that is gone.
    """
    row = conn.execute(_STANDING, {"bill": known.id}).one_or_none()
    if row is not None and tuple(row) == (known.status, known.paid, known.carried_out):
        return known
    changed = view(conn, known.id)
    return None if changed is None else changed.bill


@dataclass(frozen=True, slots=True)
class Debt:
    """What a bill asks for as it stands, read under its lock. Money is integer rials.

    ``bill`` is its row id; ``left`` is neither ``paid`` nor carried to a later bill.
    """

    bill: int
    bill_id: str
    year: int
    period: int
    paid: int
    left: int


def pay(conn: Connection, debt: Debt, applied: int, now: datetime) -> bool:
    """Raise what is paid of a locked bill: settle it, or give it a payment ID for the rest.

    Args:
        conn: the write transaction that holds the lock.
        debt: the bill.
        applied: rials that are paid now; 1 to ``debt.left``.
        now: the moment it is settled at.

    Returns:
        whether it is settled: nothing is left that a payment ID can carry.
    """
    return _ask_for(conn, debt, {"paid": bills.c.paid + applied}, debt.left - applied, now)


def withdraw(conn: Connection, debt: Debt, amount: int, now: datetime) -> bool:
    """Let a locked bill, open or paid, ask for ``amount`` rials less; it is settled if nothing is
    left that a payment ID can carry.

    Returns:
        whether it is settled now.
    """
    carried_out = bills.c.carried_out + amount
    return _ask_for(conn, debt, {"carried_out": carried_out}, debt.left - amount, now)


def _ask_for(
    conn: Connection, debt: Debt, values: dict[str, Any], left: int, now: datetime
) -> bool:
    """Change a locked bill that asks for ``left`` then: settle it, or give it a new payment ID."""
    settled = payable(left) == 0
    if settled:
        values |= {
            "status": "paid",
            "settled_at": func.coalesce(
                bills.c.settled_at, bindparam("now", now, bills.c.settled_at.type)
            ),
        }
    else:
        # The old payment ID asks for the old amount: whoever paid by it again would pay too much.
        payment_id = compute_payment_id(debt.bill_id, instalment(left), debt.year, debt.period)
        values["payment_id"] = payment_id
        conn.execute(
            insert(payment_ids).on_conflict_do_nothing(),
            {"bill_id": debt.bill_id, "payment_id": payment_id, "bill": debt.bill},
        )
    # Locked since it was read; were it not, nothing would be written rather than something wrong.
    changed = conn.execute(
        update(bills).where(bills.c.id == debt.bill, bills.c.paid == debt.paid).values(values)
    ).rowcount
    if changed != 1:
        raise RuntimeError(f"bill {debt.bill} changed while it was locked")
    return settled
