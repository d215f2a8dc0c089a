"""The auditor: every balance of premium calls rebuilt from what it came from, and compared.

Consents are the ground: each call and each charge must stand on one, and cost what its tariffs say.
Credits and approvals are rebuilt from the reservations, reservations from the calls, charges from
calls and consents, what is collected from the collections, bills' sections and settlements from
charges and collections, and the ledger's accounts from its entries. Nothing is changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Select, and_, case, func, or_, select

from billing import ledger
from billing.database import Database
from billing.premium.consents import verify
from billing.premium.rating import rate
from billing.premium.schema import (
    bill_charges,
    bill_services,
    charges,
    collections,
    consents,
    owner_approvals,
    premium_calls,
    premium_credits,
    reservations,
    settlement_lines,
    settlements,
)
from billing.premium.tariffs import Tariff
from billing.schema import bills, outbox

_BATCH = 2000


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not what it came from says: ``where``, and ``what`` is wrong, in words."""

    where: str
    what: str


def audit(database: Database, zone: ZoneInfo) -> list[Finding]:
    """Rebuild and compare everything; return what differs, nothing where all is well.

    All is read as it stands at one moment; whoever writes meanwhile neither waits nor disturbs.
    ``zone`` is the operator's, for the hours that tariffs mean.

    Raises:
        Unavailable: the database is locked or away.
    """
    with database.read() as conn:
        if database.is_sqlite:
            conn.exec_driver_sql("BEGIN")
        else:
            conn.rollback()
            conn.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            conn.exec_driver_sql("SET LOCAL statement_timeout = 0")
        return [finding for check in _CHECKS for finding in check(conn, zone)]


def _consents(conn: Connection, _zone: ZoneInfo) -> Iterator[Finding]:
    for broken in verify(conn, None):
        yield Finding(f"consents of line {broken.line}, place {broken.place}", broken.reason)


def _credits(conn: Connection, _zone: ZoneInfo) -> Iterator[Finding]:
    """Of each line and month, and of each approval: what reservations have used and hold."""
    held, credit, purse = reservations.c, premium_credits.c, owner_approvals.c
    sums = (
        select(held.line, held.month, _used().label("used"), _open().label("held"))
        .group_by(held.line, held.month)
        .subquery()
    )
    statement = select(
        credit.line, credit.month, credit.used, credit.held, sums.c.used, sums.c.held
    ).outerjoin(sums, and_(sums.c.line == credit.line, sums.c.month == credit.month))
    for line, month, *counts in conn.execute(statement):
        yield from _compared(f"credit of line {line}, month {month}", *counts)
    orphans = select(sums.c.line, sums.c.month).where(
        ~select(credit.line)
        .where(credit.line == sums.c.line, credit.month == sums.c.month)
        .exists()
    )
    for line, month in conn.execute(orphans):
        yield Finding(f"credit of line {line}, month {month}", "there is none, but reservations")
    purses: Any = (
        select(held.approval, _used().label("used"), _open().label("held"))
        .where(held.approval.is_not(None))
        .group_by(held.approval)
        .subquery()
    )
    statement = select(purse.id, purse.used, purse.held, purses.c.used, purses.c.held).outerjoin(
        purses, purses.c.approval == purse.id
    )
    for row in conn.execute(statement):
        yield from _compared(f"approval {row.id}", *row[1:])


def _used() -> Any:
    return func.sum(reservations.c.committed)


def _open() -> Any:
    return func.sum(case((reservations.c.status == "open", reservations.c.held), else_=0))


def _compared(
    where: str, used: int, held: int, sum_used: int | None, sum_held: int | None
) -> Iterator[Finding]:
    for name, count, total in (("used", used, sum_used), ("held", held, sum_held)):
        if count != int(total or 0):
            yield Finding(where, f"{name} is {count}, reservations say {int(total or 0)}")


_RESOLVED = {
    "begun": ("open",),
    "connected": ("open",),
    "charged": ("committed",),
    "parked": ("committed",),
    "free": ("released", "expired", "committed"),
}
"""How a call's reservation may stand."""


def _calls(conn: Connection, _zone: ZoneInfo) -> Iterator[Finding]:
    """Each call and its reservation."""
    call, held = premium_calls.c, reservations.c
    statement = select(
        call.call_id, call.status, call.line, call.amount, held.status, held.line, held.committed
    ).outerjoin(reservations, held.key == call.call_id)
    for name, status, line, amount, hold, hold_line, committed in _streamed(conn, statement):
        where = f"call {name}"
        if hold is None:
            yield Finding(where, "was begun without a reservation")
        elif hold_line != line:
            yield Finding(where, f"is line {line}'s, its reservation line {hold_line}'s")
        elif hold not in _RESOLVED[status]:
            yield Finding(where, f"is {status}, its reservation {hold}")
        elif status not in ("begun", "connected") and committed != (amount or 0):
            # A charge that a person has waived has used its credit all the same.
            yield Finding(where, f"costs {amount}, of its credit {committed} are used")
    alone = select(held.key).where(
        ~select(call.call_id).where(call.call_id == held.key).exists(), held.committed > 0
    )
    for name in conn.scalars(alone):
        yield Finding(f"reservation {name}", "has used credit without a call")


def _prices(conn: Connection, zone: ZoneInfo) -> Iterator[Finding]:
    """Each charged call costs what the tariffs in its consent say, and nothing else."""
    call, consent = premium_calls.c, consents.c
    statement = (
        select(
            call.call_id,
            call.line,
            call.service,
            call.connected_at,
            call.ended_at,
            call.seconds,
            call.amount,
            consent.call_id.label("consented"),
            consent.line.label("consent_line"),
            consent.service.label("consent_service"),
            consent.pressed_at,
            consent.tariffs,
        )
        .join(consents, consent.id == call.consent)
        .where(or_(call.status == "charged", call.status == "parked"))
    )
    for row in _streamed(conn, statement):
        where = f"call {row.call_id}"
        if (row.consented, row.consent_line, row.consent_service) != (
            row.call_id,
            row.line,
            row.service,
        ):
            yield Finding(where, "stands on another call's consent")
            continue
        tariffs = tuple(map(Tariff.of, json.loads(row.tariffs)))
        price = rate(tariffs, row.connected_at, row.seconds, zone).amount
        if price != row.amount:
            yield Finding(where, f"costs {row.amount}, by its consent {price}")
        if row.seconds > (row.ended_at - row.connected_at).total_seconds():
            yield Finding(where, f"{row.seconds} s are charged, it was not connected as long")


def _charges(conn: Connection, _zone: ZoneInfo) -> Iterator[Finding]:
    """Each charge and its call; no charged call without a charge that is there or on its way."""
    charge, call = charges.c, premium_calls.c
    statement = select(
        charge.call_id,
        charge.amount,
        charge.segments,
        charge.levies,
        charge.levies_part,
        charge.line,
        charge.service,
        charge.consent,
        charge.connected_at,
        charge.seconds,
        call.status.label("call_status"),
        call.amount.label("call_amount"),
        call.line.label("call_line"),
        call.service.label("call_service"),
        call.consent.label("call_consent"),
        call.connected_at.label("call_connected_at"),
        call.seconds.label("call_seconds"),
    ).join(premium_calls, call.call_id == charge.call_id)
    names = ("amount", "line", "service", "consent", "connected_at", "seconds")
    for row in _streamed(conn, statement):
        where = f"charge of call {row.call_id}"
        values = row._mapping
        for name in names:
            if values[name] != values[f"call_{name}"]:
                yield Finding(where, f"{name} is not the call's")
        if row.call_status != "charged":
            yield Finding(where, f"the call is {row.call_status}")
        if sum(segment["amount"] for segment in json.loads(row.segments)) != row.amount:
            yield Finding(where, "its parts do not sum to it")
        if sum(levy["amount"] for levy in json.loads(row.levies)) != row.levies_part:
            yield Finding(where, "its levies do not sum to their part")
    missing = (
        select(call.call_id)
        .outerjoin(charges, charge.call_id == call.call_id)
        .where(call.status == "charged", charge.id.is_(None))
    )
    rows = outbox.c
    waiting = {
        json.loads(payload)["call"]
        for payload in conn.scalars(
            select(rows.payload).where(
                rows.kind == "post_charge", rows.status.in_(("pending", "failed"))
            )
        )
    }
    for name in _streamed(conn, missing).scalars():
        if name not in waiting:
            yield Finding(f"call {name}", "is charged, but nothing will post it")


def _collected(conn: Connection, _zone: ZoneInfo) -> Iterator[Finding]:
    """What is collected of each charge, and the bills' sections."""
    charge, taken = charges.c, collections.c
    sums = (
        select(
            taken.charge,
            func.sum(taken.amount).label("amount"),
            func.sum(taken.provider_part).label("provider_part"),
        )
        .group_by(taken.charge)
        .subquery()
    )
    statement = (
        select(
            charge.call_id,
            charge.collected,
            charge.amount,
            charge.provider_part,
            func.coalesce(sums.c.amount, 0).label("sum"),
            func.coalesce(sums.c.provider_part, 0).label("provider"),
        )
        .outerjoin(sums, sums.c.charge == charge.id)
        .where(or_(charge.collected > 0, sums.c.charge.is_not(None)))
    )
    for row in _streamed(conn, statement):
        where = f"charge of call {row.call_id}"
        if row.collected != int(row.sum):
            yield Finding(where, f"collected is {row.collected}, collections say {int(row.sum)}")
        provider = row.provider_part * row.collected // row.amount
        if int(row.provider) != provider:
            yield Finding(where, f"the provider has {int(row.provider)} of it, not {provider}")
    yield from _asked(conn)
    yield from _sections(conn)


def _asked(conn: Connection) -> Iterator[Finding]:
    """Each rial of a charge is collected, on a bill, or waits for one; bills ask for no more."""
    charge, asked = charges.c, bill_charges.c
    left = asked.amount - asked.collected - asked.carried - asked.withdrawn
    by_charge = select(asked.charge, func.sum(left).label("left")).group_by(asked.charge).subquery()
    on_bills = func.coalesce(by_charge.c.left, 0)
    owed = case((charge.status == "reversed", 0), else_=charge.amount)
    statement = (
        select(charge.call_id, owed, charge.collected + charge.unbilled + on_bills)
        .outerjoin(by_charge, by_charge.c.charge == charge.id)
        .where(charge.collected + charge.unbilled + on_bills != owed)
    )
    for call_id, amount, found in _streamed(conn, statement):
        yield Finding(f"charge of call {call_id}", f"{amount} are owed, {int(found)} accounted for")
    by_bill = select(asked.bill, func.sum(left).label("left")).group_by(asked.bill).subquery()
    rest = bills.c.amount - bills.c.paid - bills.c.carried_out
    statement = (
        select(bills.c.id, by_bill.c.left, rest)
        .join(by_bill, by_bill.c.bill == bills.c.id)
        .where(by_bill.c.left > rest)
    )
    for bill, premium, amount in _streamed(conn, statement):
        yield Finding(f"bill {bill}", f"asks for {amount}, of which {int(premium)} are premium")


def _sections(conn: Connection) -> Iterator[Finding]:
    asked, charge, section = bill_charges.c, charges.c, bill_services.c
    sums = (
        select(
            asked.bill,
            charge.service,
            func.count().label("calls"),
            func.sum(asked.amount).label("amount"),
        )
        .join(charges, charge.id == asked.charge)
        .where(asked.kind == "premium")
        .group_by(asked.bill, charge.service)
        .subquery()
    )
    statement = select(
        section.bill, section.service, section.calls, section.amount, sums.c.calls, sums.c.amount
    ).outerjoin(sums, and_(sums.c.bill == section.bill, sums.c.service == section.service))
    for bill, service, calls, amount, sum_calls, sum_amount in conn.execute(statement):
        if (calls, amount) != (sum_calls or 0, int(sum_amount or 0)):
            yield Finding(
                f"bill {bill}, service {service}",
                f"{calls} calls for {amount}, charges say {sum_calls or 0} for {sum_amount or 0}",
            )


def _settlements(conn: Connection, _zone: ZoneInfo) -> Iterator[Finding]:
    """What each statement settles."""
    taken, settled = collections.c, settlements.c
    sums = (
        select(
            settlement_lines.c.settlement,
            func.sum(taken.amount).label("amount"),
            func.sum(taken.provider_part).label("share"),
        )
        .join(collections, taken.id == settlement_lines.c.collection)
        .group_by(settlement_lines.c.settlement)
        .subquery()
    )
    statement = select(
        settled.id, settled.collected, settled.share, sums.c.amount, sums.c.share
    ).outerjoin(sums, sums.c.settlement == settled.id)
    for name, collected, share, sum_collected, sum_share in conn.execute(statement):
        if (collected, share) != (int(sum_collected or 0), int(sum_share or 0)):
            yield Finding(
                f"settlement {name}",
                f"collected {collected}, share {share};"
                f" its lines say {sum_collected or 0} and {sum_share or 0}",
            )


def _ledger(conn: Connection, _zone: ZoneInfo) -> Iterator[Finding]:
    """The accounts from their entries."""
    for difference in ledger.audit(conn):
        yield Finding(
            f"account {difference.code}",
            f"debits {difference.debits}, credits {difference.credits}; its entries say"
            f" {difference.entry_debits} and {difference.entry_credits}",
        )


def _streamed(conn: Connection, statement: Select[*tuple[Any, ...]]) -> Any:
    return conn.execute(statement.execution_options(yield_per=_BATCH))


_CHECKS: tuple[Callable[[Connection, ZoneInfo], Iterator[Finding]], ...] = (
    _consents,
    _credits,
    _calls,
    _prices,
    _charges,
    _collected,
    _settlements,
    _ledger,
)
