"""The books after premium calls, for tests: calls charged and posted, bills loaded and paid."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, text

from billing import ledger, payments
from billing.clock import FixedClock
from billing.csv_rows import Report
from billing.database import Database
from billing.importing import import_bills
from billing.premium import accounts
from billing.premium.audit import audit
from billing.premium.posting import Charges, Posted
from billing.premium.providers import Contract, Part, Providers
from billing.premium.schema import bill_charges, charges, collections, providers
from billing.schema import bills, lines
from tests.charging_house import LONG_AGO, TEHRAN, House, per_call

_count = itertools.count(1)
_HEADER = "number,period,year,amount,bill_id,payment_id,due_date"


class Books(House):
    """A provider with terms, a line, and the way of a call into a bill and a payment."""

    def __init__(self, database: Database, clock: FixedClock, **terms: Any) -> None:
        super().__init__(database, clock)
        self.posting = Charges(database, clock, TEHRAN)
        self.providers = Providers(database, clock)
        self.contract = self.agree(**terms)
        self._services: dict[int, Any] = {}
        self._periods = itertools.count(1)

    @property
    def provider_code(self) -> str:
        """The provider's short name."""
        wanted = select(providers.c.code).where(providers.c.id == self.provider)
        return str(self.database.query(lambda conn: conn.execute(wanted).scalar_one()))

    def agree(self, **terms: Any) -> Contract:
        """New terms of the provider: 80 % to it unless told otherwise."""
        values = {"valid_from": LONG_AGO, "kind": "b", "share_bp": 8000, **terms}
        return self.providers.agree(self.provider_code, **values)

    def used(self, line: int, amount: int, call_id: str | None = None, *, post: bool = True) -> str:
        """A call from a line that costs ``amount`` rials, charged and posted; its id."""
        if amount not in self._services:
            self._services[amount] = self.service(per_call(amount))
        call_id = call_id or f"call-{next(_count)}"
        self.connect(call_id, line, self._services[amount])
        self.clock.advance(7)
        self.charging.ended(call_id, self.clock.now())
        if post:
            self.post(call_id)
        return call_id

    def post(self, call_id: str) -> Posted:
        """Post a call's charge."""
        return self.posting.post(call_id)

    def number(self, line: int) -> str:
        """A line's number (E.164)."""
        wanted = select(lines.c.number).where(lines.c.id == line)
        return str(self.database.query(lambda conn: conn.execute(wanted).scalar_one()))

    def bill(self, line: int, amount: int, period: int | None = None, ids: str = ",") -> int:
        """Load a bill of ``amount`` rials of other charges; its row id."""
        period = period or next(self._periods)
        self.load(f"{self.number(line)},{period},1405,{amount},{ids},2027-01-20")
        wanted = select(bills.c.id).where(bills.c.line_id == line, bills.c.period == period)
        return int(self.database.query(lambda conn: conn.execute(wanted).scalar_one()))

    def load(self, *rows: str) -> Report:
        """Load rows of bills."""
        report = import_bills(self.database, [_HEADER, *rows], now=self.clock.now())
        assert report.rejected == []
        return report

    def pay(self, bill: int, amount: int) -> payments.Outcome:
        """Pay so many rials of a bill by its present IDs."""
        reference = f"ref-{next(_count)}"

        def work(conn: Any) -> payments.Outcome:
            row = conn.execute(select(bills).where(bills.c.id == bill)).one()
            now = self.clock.now()
            receipt = payments.receive(
                conn, reference, row.bill_id, row.payment_id, amount, "bank", now, now
            )
            return payments.post(conn, receipt.payment, now)

        outcome = self.database.write(work)
        assert outcome.status == "posted"
        return outcome

    def bill_row(self, bill: int) -> Any:
        """A bill's columns."""
        return self._one(select(bills).where(bills.c.id == bill))

    def left(self, bill: int) -> int:
        """What a bill still asks for, rials."""
        row = self.bill_row(bill)
        return int(row.amount - row.paid - row.carried_out)

    def charge(self, call_id: str) -> Any:
        """The charge of a call."""
        return self._one(select(charges).where(charges.c.call_id == call_id))

    def collections(self, call_id: str) -> list[tuple[int, int]]:
        """What was collected of a call's charge: rials, and the provider's part of them."""
        statement = (
            select(collections.c.amount, collections.c.provider_part)
            .join(charges, charges.c.id == collections.c.charge)
            .where(charges.c.call_id == call_id)
            .order_by(collections.c.id)
        )
        with self.database.read() as conn:
            return [(row.amount, row.provider_part) for row in conn.execute(statement)]

    def balance(self, code: str) -> int:
        """Debits less credits of a ledger account."""
        with self.database.read() as conn:
            return ledger.balance(conn, code)

    def provider_has(self) -> tuple[int, int]:
        """The provider's parts by the ledger: uncollected, and collected but not settled."""
        return (
            -self.balance(accounts.uncollected(self.provider)),
            -self.balance(accounts.collected(self.provider)),
        )

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What a statement finds."""
        with self.database.read() as conn:
            return [tuple(row) for row in conn.execute(text(statement))]

    def check(self) -> None:
        """Every charge is where it should be, to the rial, and the ledger agrees."""
        assert audit(self.database, TEHRAN) == []
        with self.database.read() as conn:
            assert ledger.audit(conn) == []
            rows = conn.execute(select(charges)).all()
            asked = conn.execute(select(bill_charges)).all()
            taken = conn.execute(select(collections)).all()
            money = conn.execute(select(bills)).all()
            for charge in rows:
                own = [each for each in asked if each.charge == charge.id]
                on_bills = sum(_open(each) for each in own)
                if charge.status == "reversed":
                    assert (charge.collected, charge.unbilled, on_bills) == (0, 0, 0)
                else:
                    assert charge.collected + charge.unbilled + on_bills == charge.amount
                got = [each for each in taken if each.charge == charge.id]
                assert sum(each.amount for each in got) == charge.collected
                assert (
                    sum(each.provider_part for each in got)
                    == charge.provider_part * charge.collected // charge.amount
                )
            for bill in money:
                on_bill = sum(_open(each) for each in asked if each.bill == bill.id)
                assert 0 <= on_bill <= bill.amount - bill.paid - bill.carried_out
            for line in {charge.line for charge in rows}:
                unbilled = sum(charge.unbilled for charge in rows if charge.line == line)
                assert ledger.balance(conn, accounts.unbilled(line)) == unbilled
                owed = sum(
                    bill.amount - bill.paid - bill.carried_out
                    for bill in money
                    if bill.line_id == line
                )
                assert ledger.balance(conn, ledger.receivable(line)) == owed
            for provider in {charge.provider for charge in rows}:
                own_charges = [charge for charge in rows if charge.provider == provider]
                missing = sum(
                    charge.provider_part - charge.provider_part * charge.collected // charge.amount
                    for charge in own_charges
                    if charge.status != "reversed"
                )
                assert -ledger.balance(conn, accounts.uncollected(provider)) == missing

    def _one(self, statement: Any) -> Any:
        with self.database.read() as conn:
            return conn.execute(statement).one()


def _open(asked: Any) -> int:
    return int(asked.amount - asked.collected - asked.carried - asked.withdrawn)


def levies(*parts: tuple[str, int]) -> Iterable[Part]:
    """Levies or deductions of codes and hundredths of a per cent."""
    return tuple(Part(code, bp) for code, bp in parts)


def at(year: int, month: int, day: int, hour: int = 8) -> datetime:
    """A moment (UTC)."""
    return datetime(year, month, day, hour, tzinfo=UTC)
