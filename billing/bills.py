"""Bills and lines out of the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from billing.entities import Bill, BillView, Line, Opening
from billing.schema import bill_lines, bills, lines

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

# Line, open bills and last paid bill in one round: the start of every call.
_OPENING = (
    select(*_LINE, *_BILL)
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
    identity, *rest = row[_WIDTH:]
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
    )


def view(conn: Connection, bill: int) -> BillView | None:
    """Return a bill with its line, by the bill's row id."""
    row = conn.execute(_VIEW, {"bill": bill}).one_or_none()
    return None if row is None else BillView(_line(row), _bill(row))


def line(conn: Connection, line_id: int) -> Line | None:
    """Return a line by its row id."""
    row = conn.execute(_ONE_LINE, {"line": line_id}).one_or_none()
    return None if row is None else _line(row)
