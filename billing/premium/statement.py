"""What stands on a provider's statement: sums per service, corrections, and each collection (D13).

Of callers nothing is told but the calls themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, bindparam, func, select

from billing.database import Database
from billing.premium.months import CalendarName, bounds
from billing.premium.providers import Contract, Provider, contract, provider
from billing.premium.schema import (
    charges,
    collections,
    complaints,
    premium_services,
    settlement_lines,
)
from billing.premium.service_names import Named, named
from billing.premium.settlement import Statement, statement_of

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class ServiceSum:
    """A service in a month, rials: ``calls`` charged in it for ``gross``; of whatever month,
    ``collected`` is settled here, and ``share`` of that is the provider's.
    """

    service: Named
    calls: int
    gross: int
    collected: int
    share: int


@dataclass(frozen=True, slots=True)
class Correction:
    """A charge that a complaint has reversed in the month."""

    call_id: str
    service: str
    connected_at: datetime
    decided_at: datetime
    amount: int


@dataclass(frozen=True, slots=True)
class Item:
    """A collection that a statement settles; negative where a collected charge was reversed."""

    call_id: str
    service: str
    connected_at: datetime
    seconds: int
    charged: int
    at: datetime
    kind: Literal["payment", "reversal"]
    collected: int
    share: int


@dataclass(frozen=True, slots=True)
class Content:
    """A whole statement but its items. ``begin`` and ``end`` are the month's.

    The services' gross less the corrections is the statement's; where a clock was put back there
    is also what belongs to ``earlier`` months.
    """

    statement: Statement
    provider: Provider
    contract: Contract
    begin: datetime
    end: datetime
    services: tuple[ServiceSum, ...]
    corrections: tuple[Correction, ...]

    @property
    def earlier(self) -> int:
        """Rials of the statement's gross that were charged in earlier months."""
        charged = sum(service.gross for service in self.services)
        return self.statement.gross - charged + sum(each.amount for each in self.corrections)


_AT = charges.c.posted_at.type

_CHARGED = (
    select(charges.c.service, func.count().label("calls"), func.sum(charges.c.amount).label("sum"))
    .where(
        charges.c.provider == bindparam("provider"),
        charges.c.posted_at >= bindparam("begin", type_=_AT),
        charges.c.posted_at < bindparam("end", type_=_AT),
    )
    .group_by(charges.c.service)
)

_SETTLED_FROM = settlement_lines.join(
    collections, collections.c.id == settlement_lines.c.collection
).join(charges, charges.c.id == collections.c.charge)

_SETTLED = (
    select(
        charges.c.service,
        func.sum(collections.c.amount).label("collected"),
        func.sum(collections.c.provider_part).label("share"),
    )
    .select_from(_SETTLED_FROM)
    .where(settlement_lines.c.settlement == bindparam("statement"))
    .group_by(charges.c.service)
)

_CORRECTIONS = (
    select(
        charges.c.call_id,
        premium_services.c.number,
        charges.c.connected_at,
        complaints.c.decided_at,
        charges.c.amount,
    )
    .select_from(
        complaints.join(charges, charges.c.id == complaints.c.charge).join(
            premium_services, premium_services.c.id == charges.c.service
        )
    )
    .where(
        charges.c.provider == bindparam("provider"),
        complaints.c.status == "accepted",
        complaints.c.decided_at >= bindparam("begin", type_=_AT),
        complaints.c.decided_at < bindparam("end", type_=_AT),
    )
    .order_by(complaints.c.decided_at, complaints.c.id)
)

_ITEMS = (
    select(
        charges.c.call_id,
        premium_services.c.number,
        charges.c.connected_at,
        charges.c.seconds,
        charges.c.amount,
        collections.c.at,
        collections.c.kind,
        collections.c.amount.label("collected"),
        collections.c.provider_part,
    )
    .select_from(_SETTLED_FROM.join(premium_services, premium_services.c.id == charges.c.service))
    .where(settlement_lines.c.settlement == bindparam("statement"))
    .order_by(collections.c.id)
)


def content(database: Database, statement: int, zone: ZoneInfo, calendar: CalendarName) -> Content:
    """Return what stands on a statement, by its number.

    Raises:
        UnknownStatement: there is none.
        Unavailable: the database is locked or away.
    """
    return database.query(lambda conn: _content(conn, statement, zone, calendar))


def items(database: Database, statement: int) -> Iterator[Item]:
    """Give the collections that a statement settles, one after the other: there may be many.

    Raises:
        Unavailable: the database is locked or away.
    """
    with database.read() as conn:
        options = {"yield_per": _BATCH}
        for row in conn.execution_options(**options).execute(_ITEMS, {"statement": statement}):
            yield Item(*row)


def _content(conn: Connection, number: int, zone: ZoneInfo, calendar: CalendarName) -> Content:
    statement = statement_of(conn, number)
    begin, end = bounds(statement.period, zone, calendar)
    span = {"provider": statement.provider, "begin": begin, "end": end}
    sums: dict[int, list[int]] = {}
    for row in conn.execute(_CHARGED, span):
        sums[row.service] = [row.calls, int(row.sum), 0, 0]
    for row in conn.execute(_SETTLED, {"statement": number}):
        sums.setdefault(row.service, [0, 0, 0, 0])[2:] = [int(row.collected), int(row.share)]
    services = [ServiceSum(named(conn, service), *counts) for service, counts in sums.items()]
    rows: Any = conn.execute(_CORRECTIONS, span)
    return Content(
        statement,
        provider(conn, statement.provider),
        contract(conn, statement.contract),
        begin,
        end,
        tuple(sorted(services, key=lambda each: each.service.number)),
        tuple(Correction(*row) for row in rows),
    )
