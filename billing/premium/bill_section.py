"""The premium section of bills: what a line has used since its last bill joins the next one (D4).

Works for a batch of bills in three steps: what the lines have used is looked up, bills take it,
and once the bills are written it is written down what of which charge each bill asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, literal_column, select, update

from billing import ledger
from billing.bills import Debt
from billing.ledger import Posting, Transfer
from billing.premium import accounts, collecting
from billing.premium.schema import bill_charges, bill_services, charges
from billing.premium.service_names import Named, named

Key = tuple[int, int, int]
"""A bill before it has a row: line, year, period."""

# Written out, not bound: a database takes a partial index only for a condition that it can read.
_UNBILLED = (
    select(charges.c.line, charges.c.id, charges.c.service, charges.c.seconds, charges.c.unbilled)
    .where(
        charges.c.line.in_(bindparam("line_ids", expanding=True)),
        charges.c.unbilled > literal_column("0"),
        charges.c.status == "posted",
    )
    .order_by(charges.c.connected_at, charges.c.id)
    .with_for_update()
)

_JOIN = (
    update(charges)
    .where(charges.c.id == bindparam("of_charge"))
    .values(
        unbilled=charges.c.unbilled - bindparam("taken", type_=charges.c.unbilled.type),
        bill=bindparam("of_bill"),
    )
)

_ASKING = (
    select(bill_charges.c.bill)
    .where(bill_charges.c.bill.in_(bindparam("bills", expanding=True)))
    .distinct()
)


@dataclass(frozen=True, slots=True)
class SectionRow:
    """A premium service on a bill: ``calls`` of ``seconds`` in all for ``amount`` rials."""

    service: Named
    calls: int
    seconds: int
    amount: int


@dataclass(frozen=True, slots=True)
class PremiumSection:
    """The premium section of a bill; ``withdrawn`` are rials set aside because of complaints."""

    rows: tuple[SectionRow, ...]
    withdrawn: int

    @property
    def amount(self) -> int:
        """All that the section asks for, rials."""
        return sum(row.amount for row in self.rows)


_ROWS = (
    select(
        bill_services.c.service,
        bill_services.c.calls,
        bill_services.c.seconds,
        bill_services.c.amount,
    )
    .where(bill_services.c.bill == bindparam("bill"))
    .order_by(bill_services.c.amount.desc(), bill_services.c.service)
)

_WITHDRAWN = select(func.coalesce(func.sum(bill_charges.c.withdrawn), 0)).where(
    bill_charges.c.bill == bindparam("bill")
)


def section(conn: Connection, bill: int) -> PremiumSection:
    """Return the premium section of a bill, by its row id; the dearest service first."""
    rows = conn.execute(_ROWS, {"bill": bill}).all()
    withdrawn = conn.execute(_WITHDRAWN, {"bill": bill}).scalar_one()
    return PremiumSection(
        tuple(
            SectionRow(named(conn, row.service), row.calls, row.seconds, row.amount) for row in rows
        ),
        int(withdrawn),
    )


@dataclass(frozen=True, slots=True)
class _Unbilled:
    charge: int
    service: int
    seconds: int
    amount: int


@dataclass(slots=True)
class _Section:
    """What a new bill takes: charges, and remainders of earlier bills with premium charges."""

    charges: list[_Unbilled] = field(default_factory=list)
    # (the earlier bill or its key, rials)
    carried: list[tuple[int | Key, int]] = field(default_factory=list)


class BillSections:
    """The premium sections of one batch of bills, in its write transaction."""

    def __init__(self, conn: Connection, now: datetime, line_ids: Sequence[int]) -> None:
        """Look up what the lines have used that no bill asks for."""
        self._conn = conn
        self._now = now
        self._unbilled: dict[int, list[_Unbilled]] = {}
        self._sections: dict[Key, _Section] = {}
        for line, *rest in conn.execute(_UNBILLED, {"line_ids": list(line_ids)}):
            self._unbilled.setdefault(line, []).append(_Unbilled(*rest))

    def take(self, key: Key) -> int:
        """Let a new bill take all that its line has used; return the rials of it."""
        taken = self._unbilled.pop(key[0], [])
        if taken:
            self._section(key).charges = taken
        return sum(each.amount for each in taken)

    def carry(self, key: Key, earlier: int | Key, rest: int) -> None:
        """Note that a new bill takes the ``rest`` of an earlier one, by its row id or key."""
        self._section(key).carried.append((earlier, rest))

    def posting(self, name: str, line: int, amount: int) -> Posting:
        """Return the posting by which a bill of ``name`` asks for ``amount`` rials of charges."""
        transfer = Transfer(ledger.receivable(line), accounts.unbilled(line), amount)
        return Posting(f"premium:{name}", "premium", [transfer])

    def write(self, ids: Mapping[Key, int], bills: Mapping[Key, Mapping[str, Any]]) -> None:
        """Write down what the new bills ask for, and collect what was paid of them at once.

        ``ids`` are their row ids, ``bills`` their columns, in the order in which they were made.
        """
        earlier = {
            bill
            for section in self._sections.values()
            for bill, _ in section.carried
            if isinstance(bill, int)
        }
        asking = set(self._conn.scalars(_ASKING, {"bills": list(earlier)})) if earlier else set()
        for key, bill in bills.items():
            section = self._sections.get(key)
            if section is None:
                continue
            asks = False
            for source, rest in section.carried:
                known = source if isinstance(source, int) else ids[source]
                if known in asking:
                    collecting.carry(self._conn, known, rest, ids[key])
                    asks = True
            if section.charges:
                self._join(ids[key], section.charges)
                asks = True
            if asks:
                asking.add(ids[key])
                self._collect(ids[key], bill)

    def _section(self, key: Key) -> _Section:
        return self._sections.setdefault(key, _Section())

    def _join(self, bill: int, taken: Sequence[_Unbilled]) -> None:
        rows = [{"of_bill": bill, "of_charge": each.charge, "taken": each.amount} for each in taken]
        self._conn.execute(_JOIN, rows)
        collecting.ask(self._conn, bill, "premium", [(each.charge, each.amount) for each in taken])
        services: dict[int, dict[str, int]] = {}
        for each in taken:
            totals = services.setdefault(
                each.service,
                {"bill": bill, "service": each.service, "calls": 0, "seconds": 0, "amount": 0},
            )
            totals["calls"] += 1
            totals["seconds"] += each.seconds
            totals["amount"] += each.amount
        self._conn.execute(bill_services.insert(), list(services.values()))

    def _collect(self, bill: int, columns: Mapping[str, Any]) -> None:
        """The line's credit may have paid of the new bill already."""
        if columns["paid"]:
            # As it was before: nothing of it was paid, nor carried on.
            before = Debt(
                bill, columns["bill_id"], columns["year"], columns["period"], 0, columns["amount"]
            )
            collecting.bill_paid(self._conn, before, columns["paid"], self._now)
