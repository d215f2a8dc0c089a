"""How a premium call stands: begun, connected, charged, free, parked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, select

from billing.premium.schema import premium_calls, reservations

Status = Literal["begun", "connected", "charged", "free", "parked"]


@dataclass(frozen=True, slots=True)
class Standing:
    """A premium call as it stands. ``held`` are rials reserved for it (open), 0 when resolved."""

    call_id: str
    line: int
    service: int
    consent: int
    approval: int | None
    status: Status
    begun_at: datetime
    connected_at: datetime | None
    seen_at: datetime | None
    ended_at: datetime | None
    seconds: int | None
    amount: int | None
    reason: str | None
    held: int


def standing(conn: Connection, call_id: str) -> Standing | None:
    """Return how a call stands; None: it was never begun."""
    row = conn.execute(
        select(
            premium_calls,
            reservations.c.approval,
            reservations.c.held,
            reservations.c.status.label("hold"),
        )
        .select_from(
            premium_calls.outerjoin(reservations, reservations.c.key == premium_calls.c.call_id)
        )
        .where(premium_calls.c.call_id == call_id)
    ).one_or_none()
    if row is None:
        return None
    return Standing(
        call_id=row.call_id,
        line=row.line,
        service=row.service,
        consent=row.consent,
        approval=row.approval,
        status=row.status,
        begun_at=row.begun_at,
        connected_at=row.connected_at,
        seen_at=row.seen_at,
        ended_at=row.ended_at,
        seconds=row.seconds,
        amount=row.amount,
        reason=row.reason,
        held=row.held if row.hold == "open" else 0,
    )
