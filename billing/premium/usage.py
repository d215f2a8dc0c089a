"""What premium services a line has used in a month, itemised per service (D4, D13c)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from billing.premium.schema import charges, premium_calls
from billing.premium.service_names import Named, named


@dataclass(frozen=True, slots=True)
class UsedCall:
    """One call: ``seconds`` of use from ``connected_at`` on for ``amount`` rials.

    ``status`` says how far it is: running, charged (not yet posted), parked, posted, disputed,
    reversed (given back), or free.
    """

    call_id: str
    connected_at: datetime
    seconds: int
    amount: int
    status: str

    @property
    def owed(self) -> int:
        """The rials that stand: none for what is free, parked, running or given back."""
        return self.amount if self.status in ("charged", "posted", "disputed") else 0


@dataclass(frozen=True, slots=True)
class UsedService:
    """The calls to one service, in order of time."""

    service: Named
    calls: Sequence[UsedCall]

    @property
    def seconds(self) -> int:
        """All seconds of the calls that stand."""
        return sum(call.seconds for call in self.calls if call.owed)

    @property
    def amount(self) -> int:
        """All rials that stand."""
        return sum(call.owed for call in self.calls)


def usage(conn: Connection, line: int, begin: datetime, end: datetime) -> list[UsedService]:
    """Return what a line used, of calls connected from ``begin`` to before ``end``, by service.

    Services come in order of their numbers. Calls that were never connected are left out.
    """
    call = premium_calls.c
    rows = conn.execute(
        select(
            call.service,
            call.call_id,
            call.connected_at,
            call.seconds,
            call.amount,
            call.status,
            charges.c.status.label("posted"),
        )
        .select_from(premium_calls.outerjoin(charges, charges.c.call_id == call.call_id))
        .where(call.line == line, call.connected_at >= begin, call.connected_at < end)
        .order_by(call.connected_at, call.call_id)
    ).all()
    calls: dict[int, list[UsedCall]] = {}
    for row in rows:
        status = row.posted or ("running" if row.status == "connected" else row.status)
        calls.setdefault(row.service, []).append(
            UsedCall(row.call_id, row.connected_at, row.seconds or 0, row.amount or 0, status)
        )
    used = [UsedService(named(conn, service), each) for service, each in calls.items()]
    return sorted(used, key=lambda each: each.service.number)
