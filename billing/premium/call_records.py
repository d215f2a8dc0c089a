"""What the switches' records (CDRs) tell of a premium call: its leg, and the consultant's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from billing.schema import cdrs


@dataclass(frozen=True, slots=True)
class Leg:
    """One leg; ``answered_at`` is None where nobody answered."""

    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class Legs:
    """The caller's leg, and the last one that it was bridged to, if that has come."""

    caller: Leg
    far: Leg | None


def legs(conn: Connection, call_id: str) -> Legs | None:
    """Return what is recorded of a call; None: the record of the caller's leg is not there."""
    row = _record(conn, call_id)
    if row is None:
        return None
    far = _far_uuid(row.raw)
    other = None if far is None else _record(conn, far)
    return Legs(_leg(row), None if other is None else _leg(other))


def bridge_end(conn: Connection, call_id: str) -> datetime | None:
    """Return when the last bridge of a call ended; None where that is not recorded."""
    found = legs(conn, call_id)
    if found is None or found.far is None:
        return None
    return min(found.caller.ended_at, found.far.ended_at)


def caller_leg(raw: str) -> str | None:
    """Return the call that a far leg belongs to, from what is kept of its record."""
    return _variable(raw, "originating_leg_uuid")


def _far_uuid(raw: str | None) -> str | None:
    return None if raw is None else _variable(raw, "last_bridge_to")


def _variable(raw: str, name: str) -> str | None:
    value = json.loads(raw).get("variables", {}).get(name)
    return value if isinstance(value, str) and value else None


def _record(conn: Connection, uuid: str) -> Any | None:
    return conn.execute(
        select(cdrs.c.started_at, cdrs.c.answered_at, cdrs.c.ended_at, cdrs.c.raw)
        .where(cdrs.c.uuid == uuid)
        .order_by(cdrs.c.received_at)
        .limit(1)
    ).one_or_none()


def _leg(row: Any) -> Leg:
    return Leg(row.started_at, row.answered_at, row.ended_at)
