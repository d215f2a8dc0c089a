"""A batch of bills: remainders carried, credit used up, IDs computed, charges posted.

A bill whose IDs are computed here also asks for what its line has used of premium services
(`billing.premium.bill_section`); of one with the issuer's IDs nothing can be changed.

What a line has paid too much (its credit) pays its next bill as soon as that is loaded, in the
same transaction: the bill's ``paid`` is raised and its payment ID asks for the rest only. A bill
that is sent again while it is open takes what credit has come up since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing import ledger
from billing.bill_ids import SERVICE_CODES, THOUSAND, compute_bill_id, compute_payment_id
from billing.bills import Debt, pay
from billing.csv_rows import Rejected, Report, Row
from billing.entities import instalment, payable
from billing.errors import InvalidIds, InvalidRow
from billing.premium.bill_section import BillSections
from billing.premium.collecting import bill_paid
from billing.schema import accounts, bill_ids, bill_lines, bills, lines, payment_ids


@dataclass(frozen=True, slots=True)
class BillRow:
    """A row of the file. Without IDs ``amount`` is the charges, else the whole bill (rials)."""

    number: str
    period: int
    year: int
    amount: int
    bill_id: str | None
    payment_id: str | None
    due_date: date


@dataclass(slots=True)
class _Remainder:
    """Rials below a thousand that an earlier bill has left; ``bill`` is None while it is new."""

    year: int
    period: int
    amount: int
    bill: int | None
    new: dict[str, Any] | None = None


_LINES = select(lines.c.id, lines.c.number, lines.c.kind).where(
    lines.c.number.in_(bindparam("numbers", expanding=True))
)

_CHARGES = (
    select(bill_lines.c.amount)
    .where(bill_lines.c.bill == bills.c.id, bill_lines.c.kind == "charges")
    .scalar_subquery()
)

_left = bills.c.amount - bills.c.paid - bills.c.carried_out

_KNOWN = select(
    bills.c.id,
    bills.c.line_id,
    bills.c.year,
    bills.c.period,
    bills.c.amount,
    bills.c.bill_id,
    bills.c.due_date,
    func.coalesce(_CHARGES, 0).label("charges"),
).where(
    bills.c.line_id.in_(bindparam("line_ids", expanding=True)),
    bills.c.year.in_(bindparam("years", expanding=True)),
    bills.c.period.in_(bindparam("periods", expanding=True)),
)

_KNOWN_IDS = select(payment_ids.c.bill, payment_ids.c.payment_id).where(
    payment_ids.c.bill_id.in_(bindparam("bill_ids", expanding=True))
)

_REMAINDERS = (
    select(
        bills.c.id, bills.c.line_id, bills.c.year, bills.c.period, (_left % THOUSAND).label("rest")
    )
    .where(bills.c.line_id.in_(bindparam("line_ids", expanding=True)), _left % THOUSAND != 0)
    .order_by(bills.c.id)
    .with_for_update()
)

# Only batches take from credit, one at a time (csv_rows): meanwhile it can but grow.
_CREDITS = select(accounts.c.code, accounts.c.credits - accounts.c.debits).where(
    accounts.c.code.in_(bindparam("codes", expanding=True)),
    accounts.c.credits > accounts.c.debits,
)

_OPEN = (
    select(bills.c.id, bills.c.bill_id, bills.c.year, bills.c.period, bills.c.paid, _left)
    .where(bills.c.id == bindparam("bill"), bills.c.status == "open")
    .with_for_update()
)

_OWNERS = select(bill_ids.c.bill_id, bill_ids.c.line_id).where(
    bill_ids.c.bill_id.in_(bindparam("bill_ids", expanding=True))
)

_ADD_BILLS = insert(bills).returning(bills.c.id, bills.c.line_id, bills.c.year, bills.c.period)

_CARRY_OUT = (
    update(bills)
    .where(bills.c.id == bindparam("bill"))
    .values(carried_out=bills.c.carried_out + bindparam("rest"))
)


class BillBatch:
    """One batch of bill rows in one transaction."""

    def __init__(self, conn: Connection, now: datetime) -> None:
        """Store over ``conn``, a write transaction, at the moment ``now``."""
        self._conn = conn
        self._now = now
        self._report = Report()
        self._new: dict[tuple[int, int, int], dict[str, Any]] = {}
        self._parts: dict[tuple[int, int, int], dict[str, int]] = {}
        self._payment_ids: list[tuple[tuple[int, int, int], str]] = []
        self._carry_out: list[dict[str, int]] = []
        self._credited: list[tuple[Debt, int]] = []
        self._postings: list[ledger.Posting] = []

    def store(self, rows: Sequence[Row[BillRow]]) -> Report:
        """Store the rows that can be stored; report each that cannot."""
        self._look_up(rows)
        for row in rows:
            try:
                if self._add(row.content):
                    self._report.loaded += 1
                else:
                    self._report.unchanged += 1
            except (InvalidRow, InvalidIds) as error:
                self._report.rejected.append(Rejected(row.line_no, str(error)))
        ids = self._insert() if self._new else {}
        ledger.post_many(self._conn, self._postings, self._now)
        # After that: everybody locks what lines owe before what providers get.
        for debt, taken in self._credited:
            bill_paid(self._conn, debt, taken, self._now)
        self._sections.write(ids, self._new)
        return self._report

    def _look_up(self, rows: Sequence[Row[BillRow]]) -> None:
        contents = [row.content for row in rows]
        self._lines = {
            number: (identity, kind)
            for identity, number, kind in self._conn.execute(
                _LINES, {"numbers": list({content.number for content in contents})}
            )
        }
        line_ids = [identity for identity, _ in self._lines.values()]
        self._known = {
            (row.line_id, row.year, row.period): row
            for row in self._conn.execute(
                _KNOWN,
                {
                    "line_ids": line_ids,
                    "years": list({content.year for content in contents}),
                    "periods": list({content.period for content in contents}),
                },
            )
        }
        known_ids = {row.bill_id for row in self._known.values()}
        self._known_ids = (
            set(map(tuple, self._conn.execute(_KNOWN_IDS, {"bill_ids": list(known_ids)})))
            if known_ids
            else set()
        )
        self._credits = self._read_credits(line_ids)
        for content in contents:
            self._credit_again(content)
        # Not before credit has paid what it can: a remainder may go, or come up.
        self._remainders: dict[int, list[_Remainder]] = {}
        for row in self._conn.execute(_REMAINDERS, {"line_ids": line_ids}):
            self._remainders.setdefault(row.line_id, []).append(
                _Remainder(row.year, row.period, row.rest, row.id)
            )
        # Whoever pays or complains locks bills before charges, too.
        self._sections = BillSections(self._conn, self._now, line_ids)
        wanted = set(filter(None, map(self._bill_id_or_none, contents)))
        self._owners: dict[str, int] = {
            row.bill_id: row.line_id
            for row in self._conn.execute(_OWNERS, {"bill_ids": list(wanted)})
        }

    def _read_credits(self, line_ids: Sequence[int]) -> dict[int, int]:
        """Return the rials that each line of those has paid too much."""
        accounts_of = {ledger.credit(line_id): line_id for line_id in line_ids}
        rows = self._conn.execute(_CREDITS, {"codes": list(accounts_of)})
        return {accounts_of[code]: amount for code, amount in rows}

    def _take_credit(self, row: BillRow, line_id: int, paid: int, left: int) -> int:
        """Return the rials of ``left`` that the line's credit pays, and note their posting."""
        taken = min(self._credits.get(line_id, 0), left)
        if taken:
            self._credits[line_id] -= taken
            self._postings.append(
                ledger.Posting(
                    # What was paid before tells one offset of a bill from the next.
                    f"credit:{row.number}:{row.year}:{row.period}:{paid}",
                    "credit",
                    [ledger.Transfer(ledger.credit(line_id), ledger.receivable(line_id), taken)],
                )
            )
        return taken

    def _credit_again(self, row: BillRow) -> None:
        """Let a bill that is known just so, and still open, take the line's credit."""
        line_id, _ = self._lines.get(row.number, (0, None))
        known = self._known.get((line_id, row.year, row.period))
        if known is None or not self._credits.get(line_id):
            return
        try:
            self._compare(row, known)
        except InvalidRow:
            return  # `_add` says why
        found = self._conn.execute(_OPEN, {"bill": known.id}).one_or_none()
        if found is None:
            return
        debt = Debt(*found)
        taken = self._take_credit(row, line_id, debt.paid, debt.left)
        pay(self._conn, debt, taken, self._now)
        self._credited.append((debt, taken))

    def _bill_id(self, row: BillRow) -> str:
        """Return the bill ID given, or computed from the number of a known line."""
        if row.bill_id is not None:
            return row.bill_id
        return compute_bill_id(row.number, self._lines[row.number][1])

    def _bill_id_or_none(self, row: BillRow) -> str | None:
        try:
            return self._bill_id(row)
        except (KeyError, InvalidIds):
            return None  # `_add` says why

    def _add(self, row: BillRow) -> bool:
        """Take a row up; False when the bill is known just so."""
        found = self._lines.get(row.number)
        if found is None:
            raise InvalidRow("number: there is no line with it; load lines first")
        line_id, kind = found
        key = (line_id, row.year, row.period)
        known = self._known.get(key)
        if known is not None:
            self._compare(row, known)
            return False
        bill_id = self._bill_id(row)
        if bill_id[-2] != SERVICE_CODES[kind]:
            raise InvalidRow(
                f"bill ID: service code is {bill_id[-2]}, a {kind} line's is {SERVICE_CODES[kind]}"
            )
        if self._owners.setdefault(bill_id, line_id) != line_id:
            raise InvalidRow("bill ID: belongs to another line")
        self._create(row, key, bill_id)
        return True

    def _compare(self, row: BillRow, known: Any) -> None:
        given = row.payment_id is not None
        if row.amount != (known.amount if given else known.charges):
            raise InvalidRow("duplicate: the bill is known with another amount")
        if row.due_date != known.due_date:
            raise InvalidRow("duplicate: the bill is known with another due_date")
        if (row.bill_id is not None and row.bill_id != known.bill_id) or (
            given and (known.id, row.payment_id) not in self._known_ids
        ):
            raise InvalidRow("duplicate: the bill is known with other IDs")

    def _create(self, row: BillRow, key: tuple[int, int, int], bill_id: str) -> None:
        line_id, year, period = key
        earlier = [
            remainder
            for remainder in self._remainders.get(line_id, [])
            if (remainder.year, remainder.period) < (year, period)
        ]
        carried = sum(remainder.amount for remainder in earlier)
        amount = row.amount
        premium = 0
        if row.payment_id is None:
            premium = self._sections.take(key)
            amount += carried + premium
        elif carried > amount:
            # The issuer cannot have carried more than the bill asks for: it stays to be carried.
            earlier, carried = [], 0
        payment_id = row.payment_id or compute_payment_id(bill_id, instalment(amount), year, period)
        # Of the issuer's ID, too: it stands on paper, and must keep finding the bill.
        self._payment_ids.append((key, payment_id))
        self._take(key, earlier)
        name = f"{row.number}:{year}:{period}"
        own = amount - carried - premium
        if own:
            self._postings.append(
                ledger.Posting(
                    f"bill:{name}",
                    "bill",
                    [ledger.Transfer(ledger.receivable(line_id), ledger.REVENUE, own)],
                )
            )
        if premium:
            self._postings.append(self._sections.posting(name, line_id, premium))
        paid = self._take_credit(row, line_id, 0, amount)
        left = amount - paid
        if paid and payable(left):
            payment_id = compute_payment_id(bill_id, instalment(left), year, period)
            self._payment_ids.append((key, payment_id))
        bill = {
            "line_id": line_id,
            "year": year,
            "period": period,
            "amount": amount,
            "paid": paid,
            "carried_out": 0,
            "bill_id": bill_id,
            "payment_id": payment_id,
            "due_date": row.due_date,
            # Less than a thousand rials is not paid by itself: the next bill asks for it.
            "status": "open" if payable(left) else "paid",
            "settled_at": None if payable(left) else self._now,
        }
        self._new[key] = bill
        self._parts[key] = {"charges": own, "carried": carried, "premium": premium}
        rest = left % THOUSAND
        if rest:
            self._remainders.setdefault(line_id, []).append(
                _Remainder(year, period, rest, None, bill)
            )

    def _take(self, key: tuple[int, int, int], earlier: list[_Remainder]) -> None:
        line_id = key[0]
        for remainder in earlier:
            self._remainders[line_id].remove(remainder)
            if remainder.new is not None:
                remainder.new["carried_out"] += remainder.amount
            elif remainder.bill is not None:
                self._carry_out.append({"bill": remainder.bill, "rest": remainder.amount})
            source = remainder.bill or (line_id, remainder.year, remainder.period)
            self._sections.carry(key, source, remainder.amount)

    def _insert(self) -> dict[tuple[int, int, int], int]:
        """Write the new bills; return their row ids."""
        conn = self._conn
        conn.execute(
            insert(bill_ids).on_conflict_do_nothing(),
            [
                {"bill_id": bill["bill_id"], "line_id": bill["line_id"]}
                for bill in self._new.values()
            ],
        )
        rows = conn.execute(_ADD_BILLS, list(self._new.values()))
        ids = {(row.line_id, row.year, row.period): row.id for row in rows}
        parts = [
            {"bill": ids[key], "kind": kind, "amount": amount}
            for key in self._new
            for kind, amount in self._parts[key].items()
            if amount
        ]
        conn.execute(bill_lines.insert(), parts)
        conn.execute(
            # A little credit may leave the payment ID as it is.
            insert(payment_ids).on_conflict_do_nothing(),
            [
                {"bill_id": self._new[key]["bill_id"], "payment_id": text, "bill": ids[key]}
                for key, text in self._payment_ids
            ],
        )
        if self._carry_out:
            conn.execute(_CARRY_OUT, self._carry_out)
        return ids
