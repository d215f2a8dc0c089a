"""Settlement: what each provider gets for a month, out of what was collected (D13).

A statement settles every collection before the end of its month that no earlier one has settled,
corrections (negative collections) too; charges under an open complaint are held back. What
becomes of the provider's share then, `billing.premium.payouts` tells.

A month is settled once, after it is over, and months in their order. All amounts are rials.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, bindparam, func, literal, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing import ledger
from billing.clock import Clock
from billing.database import Database
from billing.errors import BillingError
from billing.premium import accounts
from billing.premium.months import CalendarName, bounds, following, format_month, month_of
from billing.premium.payouts import Deduction, payout
from billing.premium.providers import Contract, UnknownProvider, contract_at
from billing.premium.schema import (
    charges,
    collections,
    complaints,
    providers,
    settlement_lines,
    settlements,
)

Status = Literal["awaiting_invoice", "payable", "carried", "paid"]

WAIT = timedelta(minutes=10)
"""How long after its end a month is settled: whatever was begun in it is over by then."""

_INSTANT = timedelta(microseconds=1)
_AT_ONCE = 5000
_LONGEST_TEXT = 64


class NotOver(BillingError):
    """The month is not over yet, or only just."""


class NotInOrder(BillingError):
    """Another month has to be settled before."""


class UnknownStatement(BillingError, LookupError):
    """There is no statement of this number."""


class WrongInvoice(BillingError):
    """An invoice or a transfer does not fit the statement; the text says why."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A month of a provider, in rials.

    ``gross`` was charged in it (less what was reversed), ``not_collected`` is what of everything
    so far was not collected by its end, ``held_back`` is collected and under complaint,
    ``collected`` is settled here, of which ``share`` is the provider's; with ``carried_in`` that
    is ``withheld``, ``carried_out`` and ``payable``.
    """

    id: int
    provider: int
    period: int
    contract: int
    gross: int
    not_collected: int
    held_back: int
    collected: int
    share: int
    carried_in: int
    withheld: int
    deductions: tuple[Deduction, ...]
    carried_out: int
    payable: int
    status: Status
    invoice: str | None
    settled_at: datetime
    transfer: str | None
    paid_at: datetime | None


class Settlements:
    """All statements, over one database; months are those of ``zone`` and ``calendar``."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        zone: ZoneInfo,
        calendar: CalendarName = "persian",
        *,
        wait: timedelta = WAIT,
    ) -> None:
        self._database = database
        self._clock = clock
        self._zone = zone
        self._calendar = calendar
        self._wait = wait

    def settle(self, provider: str, month: int) -> Statement | None:
        """Settle a month of a provider (its code); settled before, it stays as it is.

        None: there is nothing to settle, since nothing was ever charged for it by then.

        Raises:
            ValueError: there is no such month.
            UnknownProvider: there is no such provider.
            NotOver: the month is not over.
            NotInOrder: an earlier month is not settled yet.
            Unavailable: the database is locked or away; nothing was written.
        """
        return self._database.write(partial(self._settle, code=provider, month=month))

    def settle_all(self, month: int) -> list[Statement]:
        """Settle a month of every provider, and what was left out before it; return the new ones.

        Each statement is a transaction of its own: killed in between, it goes on where it was.

        Raises:
            ValueError, NotOver, Unavailable: as for `settle`.
        """
        self._over(month)
        codes = self._database.query(
            lambda conn: list(conn.scalars(select(providers.c.code).order_by(providers.c.code)))
        )
        made = []
        for code in codes:
            for each in self._database.query(partial(self._missing, code=code, month=month)):
                statement = self.settle(code, each)
                if statement is not None:
                    made.append(statement)
        return made

    def invoice(self, statement: int, number: str, amount: int) -> Statement:
        """Take the provider's invoice for a statement that awaits it: now it is to be paid.

        Raises:
            UnknownStatement: there is none of this number.
            WrongInvoice: another amount than the statement's, or another invoice was taken before.
            Unavailable: the database is locked or away; nothing was written.
        """
        number = _short(number, "invoice")

        def work(conn: Connection) -> Statement:
            conn.execute(
                update(settlements)
                .where(
                    settlements.c.id == statement,
                    settlements.c.status == "awaiting_invoice",
                    settlements.c.payable == amount,
                )
                .values(status="payable", invoice=number)
            )
            found = statement_of(conn, statement)
            if found.status == "awaiting_invoice":
                raise WrongInvoice(f"the statement is of {found.payable} rials, not of {amount}")
            if (found.invoice, found.payable) != (number, amount):
                raise WrongInvoice(f"statement {statement} awaits no invoice")
            return found

        return self._database.write(work)

    def paid(self, statement: int, transfer: str) -> Statement:
        """Say that a statement was paid out, with the bank's reference; once.

        Raises:
            UnknownStatement: there is none of this number.
            WrongInvoice: it is not to be paid (yet), or was paid by another transfer.
            Unavailable: the database is locked or away; nothing was written.
        """
        transfer = _short(transfer, "transfer")

        def work(conn: Connection) -> Statement:
            now = self._clock.now()
            row = conn.execute(
                update(settlements)
                .where(settlements.c.id == statement, settlements.c.status == "payable")
                .values(status="paid", transfer=transfer, paid_at=now)
                .returning(settlements.c.provider, settlements.c.payable)
            ).one_or_none()
            found = statement_of(conn, statement)
            if row is None and found.transfer != transfer:
                raise WrongInvoice(f"statement {statement} is {found.status}")
            if row is not None:
                account = accounts.payable(row.provider)
                moved = [ledger.Transfer(account, accounts.PAID_OUT, row.payable)]
                ledger.post(conn, f"payout:{statement}", "payout", moved, now)
            return found

        return self._database.write(work)

    def get(self, statement: int) -> Statement:
        """Return a statement.

        Raises:
            UnknownStatement: there is none of this number.
            Unavailable: the database is locked or away.
        """
        return self._database.query(lambda conn: statement_of(conn, statement))

    def listed(self, month: int | None = None) -> list[Statement]:
        """Return the statements of a month, or all, in order.

        Raises:
            Unavailable: the database is locked or away.
        """
        return self._database.query(lambda conn: statements(conn, month=month))

    # ---------------------------------------------------------------------------------------------

    def _over(self, month: int) -> datetime:
        _, until = bounds(month, self._zone, self._calendar)
        if self._clock.now() < until + self._wait:
            raise NotOver(f"{format_month(month)} is not over yet, or only just")
        return until

    def _missing(self, conn: Connection, code: str, month: int) -> list[int]:
        """The months up to this one that are to be settled of a provider, in order."""
        provider = _provider(conn, code)
        month_to_settle = self._next(conn, provider)
        found = []
        while month_to_settle is not None and month_to_settle <= month:
            found.append(month_to_settle)
            month_to_settle = following(month_to_settle)
        return found

    def _next(self, conn: Connection, provider: int) -> int | None:
        """The month to settle next; None: nothing was ever charged."""
        last = _last(conn, provider)
        if last is not None:
            return following(last.period)
        first = conn.execute(
            select(func.min(charges.c.posted_at)).where(charges.c.provider == provider)
        ).scalar()
        return None if first is None else month_of(first, self._zone, self._calendar)

    def _settle(self, conn: Connection, code: str, month: int) -> Statement | None:
        if conn.dialect.name == "postgresql":
            # A year of a large provider takes as long as it takes.
            conn.exec_driver_sql("SET LOCAL statement_timeout = 0")
        provider = _provider(conn, code, lock=True)
        known = conn.execute(
            select(settlements).where(
                settlements.c.provider == provider, settlements.c.period == month
            )
        ).one_or_none()
        if known is not None:
            return _statement(known)
        until = self._over(month)
        wanted = self._next(conn, provider)
        if wanted is None or wanted > month:
            return None
        if wanted < month:
            raise NotInOrder(f"{format_month(wanted)} has to be settled before")
        contract = contract_at(conn, provider, until - _INSTANT)
        if contract is None:
            raise BillingError(f"provider {code} has charges, but no contract")
        return _make(conn, contract, month, until, self._clock.now())


def statements(
    conn: Connection, provider: int | None = None, month: int | None = None
) -> list[Statement]:
    """Return statements in order: of a provider (its row id), of a month, or all."""
    wanted = select(settlements).order_by(settlements.c.period, settlements.c.provider)
    if provider is not None:
        wanted = wanted.where(settlements.c.provider == provider)
    if month is not None:
        wanted = wanted.where(settlements.c.period == month)
    return [_statement(row) for row in conn.execute(wanted)]


def _make(
    conn: Connection, contract: Contract, month: int, until: datetime, now: datetime
) -> Statement:
    provider = contract.provider
    last = _last(conn, provider)
    stated = conn.execute(_STATED, {"provider": provider}).one()
    charged = _sum(conn, _CHARGED, provider, until) - _sum(conn, _REVERSED, provider, until)
    collected_ever = _sum(conn, _COLLECTED, provider, until)
    rows = conn.execute(_UNSETTLED, {"provider": provider, "until": until}).all()
    collected = sum(row.amount for row in rows)
    share = sum(row.provider_part for row in rows)
    carried_in = 0 if last is None else last.carried_out
    out = payout(share + carried_in, contract.deductions, contract.least_payout)
    status = "carried"
    if out.payable:
        status = "awaiting_invoice" if contract.kind == "a" else "payable"
    statement = _statement(
        conn.execute(
            insert(settlements)
            .values(
                provider=provider,
                period=month,
                contract=contract.id,
                gross=charged - int(stated.gross),
                not_collected=charged - collected_ever,
                held_back=collected_ever - int(stated.collected) - collected,
                collected=collected,
                share=share,
                carried_in=carried_in,
                withheld=out.withheld,
                deductions=json.dumps(
                    [
                        {"code": each.code, "bp": each.bp, "of": each.of, "amount": each.amount}
                        for each in out.deductions
                    ]
                ),
                carried_out=out.carried_out,
                payable=out.payable,
                status=status,
                settled_at=now,
            )
            .returning(*settlements.c)
        ).one()
    )
    for start in range(0, len(rows), _AT_ONCE):
        conn.execute(
            settlement_lines.insert(),
            [
                {"collection": row.id, "settlement": statement.id}
                for row in rows[start : start + _AT_ONCE]
            ],
        )
    _post(conn, statement, now)
    return statement


def _post(conn: Connection, statement: Statement, now: datetime) -> None:
    provider = statement.provider
    collected, settled = accounts.collected(provider), accounts.settled(provider)
    transfers = []
    if statement.share > 0:
        transfers.append(ledger.Transfer(collected, settled, statement.share))
    elif statement.share < 0:
        transfers.append(ledger.Transfer(settled, collected, -statement.share))
    transfers += [
        ledger.Transfer(settled, accounts.deduction(each.code), each.amount)
        for each in statement.deductions
        if each.amount
    ]
    if statement.payable:
        transfers.append(ledger.Transfer(settled, accounts.payable(provider), statement.payable))
    if transfers:
        key = f"settlement:{provider}:{statement.period}"
        ledger.post(conn, key, "settlement", transfers, now)


_UNTIL = bindparam("until", type_=charges.c.posted_at.type)
_OF_PROVIDER = charges.c.provider == bindparam("provider")

_CHARGED = select(func.sum(charges.c.amount)).where(_OF_PROVIDER, charges.c.posted_at < _UNTIL)

_REVERSED = (
    select(func.sum(charges.c.amount))
    .select_from(charges.join(complaints, complaints.c.charge == charges.c.id))
    .where(_OF_PROVIDER, complaints.c.status == "accepted", complaints.c.decided_at < _UNTIL)
)

_COLLECTED = (
    select(func.sum(collections.c.amount))
    .select_from(collections.join(charges, charges.c.id == collections.c.charge))
    .where(_OF_PROVIDER, collections.c.at < _UNTIL)
)

_UNSETTLED = (
    select(collections.c.id, collections.c.amount, collections.c.provider_part)
    .select_from(
        collections.join(charges, charges.c.id == collections.c.charge).outerjoin(
            settlement_lines, settlement_lines.c.collection == collections.c.id
        )
    )
    .where(
        _OF_PROVIDER,
        collections.c.at < _UNTIL,
        settlement_lines.c.collection.is_(None),
        charges.c.status != "disputed",
    )
    .order_by(collections.c.id)
)

_STATED = select(
    func.coalesce(func.sum(settlements.c.gross), 0).label("gross"),
    func.coalesce(func.sum(settlements.c.collected), 0).label("collected"),
).where(settlements.c.provider == bindparam("provider"))


def _sum(conn: Connection, statement: Any, provider: int, until: datetime) -> int:
    return int(conn.execute(statement, {"provider": provider, "until": until}).scalar() or 0)


def _provider(conn: Connection, code: str, *, lock: bool = False) -> int:
    wanted = select(providers.c.id).where(providers.c.code == literal(code))
    found = conn.execute(wanted.with_for_update() if lock else wanted).scalar_one_or_none()
    if found is None:
        raise UnknownProvider(f"there is no provider {code[:40]!r}")
    return int(found)


def _last(conn: Connection, provider: int) -> Statement | None:
    row = conn.execute(
        select(settlements)
        .where(settlements.c.provider == provider)
        .order_by(settlements.c.period.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else _statement(row)


def statement_of(conn: Connection, statement: int) -> Statement:
    """Return a statement by its number.

    Raises:
        UnknownStatement: there is none.
    """
    row = conn.execute(select(settlements).where(settlements.c.id == statement)).one_or_none()
    if row is None:
        raise UnknownStatement(f"there is no statement {statement}")
    return _statement(row)


def _statement(row: Row[Any]) -> Statement:
    values = dict(row._mapping)
    values["deductions"] = tuple(Deduction(**each) for each in json.loads(row.deductions))
    values["status"] = cast(Status, row.status)
    return Statement(**values)


def _short(text: str, name: str) -> str:
    text = " ".join(text.split())
    if not 0 < len(text) <= _LONGEST_TEXT or not text.isprintable():
        raise WrongInvoice(f"{name}: 1 to {_LONGEST_TEXT} printable characters")
    return text
