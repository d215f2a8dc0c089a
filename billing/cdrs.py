"""Call records of the switches, kept once each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, func, select

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing.cdr_document import Cdr
from billing.database import Database
from billing.errors import CdrConflict
from billing.journal import close_by_record
from billing.premium import charge_check
from billing.schema import cdrs, to_microseconds

_PUT = insert(cdrs).on_conflict_do_nothing().returning(cdrs.c.uuid)


def store(
    database: Database,
    cdr: Cdr,
    now: datetime,
    tolerance: timedelta = charge_check.TOLERANCE,
) -> bool:
    """Keep a record, once for core UUID, call UUID and leg; committed when this returns.

    It closes the journal that the call's workers left open.
    A premium call's charge is checked against it; ``tolerance`` is how much they may differ.

    Returns:
        True when it is new, False when the same record was there already.

    Raises:
        CdrConflict: a record of this leg with other content is there; nothing was changed.
        Unavailable: the database is locked or away.
    """
    row = {
        "core_uuid": cdr.core_uuid,
        "uuid": cdr.uuid,
        "leg": cdr.leg,
        "switch": cdr.switch,
        "direction": cdr.direction,
        "caller": cdr.caller,
        "dialled": cdr.dialled,
        "started_at": cdr.started_at,
        "answered_at": cdr.answered_at,
        "ended_at": cdr.ended_at,
        "billsec": cdr.billsec,
        "hangup_cause": cdr.hangup_cause,
        "hung_up_by": cdr.hung_up_by,
        "flow": cdr.flow,
        "offered": int(cdr.offered),
        "handovers": ",".join(str(to_microseconds(moment)) for moment in cdr.handovers),
        "digest": cdr.digest,
        "raw": cdr.raw,
        "received_at": now,
    }

    def work(conn: Connection) -> bool:
        if conn.execute(_PUT, row).one_or_none() is not None:
            charge_check.arrived(conn, cdr, now, tolerance)
            return True
        kept = conn.execute(
            select(cdrs.c.digest).where(
                cdrs.c.core_uuid == cdr.core_uuid,
                cdrs.c.uuid == cdr.uuid,
                cdrs.c.leg == cdr.leg,
            )
        ).scalar_one()
        if kept != cdr.digest:
            raise CdrConflict(f"call {cdr.uuid} has a record with other content; it stays")
        return False

    def keep(conn: Connection) -> bool:
        new = work(conn)
        if cdr.leg == "a":
            close_by_record(conn, cdr.uuid)
        return new

    return database.write(keep)


class Ending(NamedTuple):
    """How a call ended: whether it had been answered, and the hangup cause by its name."""

    call_id: str
    answered: bool
    cause: str


def endings(database: Database, call_ids: Sequence[str]) -> list[Ending]:
    """Return how calls ended (their first legs), as far as their records have come.

    Raises:
        Unavailable: the database is locked or away.
    """
    if not call_ids:
        return []
    # A call id is there twice only if two switches claim it: the later end is the call's.
    statement = (
        select(cdrs.c.uuid, cdrs.c.answered_at, cdrs.c.hangup_cause)
        .where(cdrs.c.uuid.in_(call_ids), cdrs.c.leg == "a")
        .order_by(cdrs.c.ended_at)
    )
    rows = database.query(lambda conn: conn.execute(statement).all())
    found = {
        call_id: Ending(call_id, answered_at is not None, cause)
        for call_id, answered_at, cause in rows
    }
    return list(found.values())


def count(database: Database, since: datetime, until: datetime) -> int:
    """Return how many records there are of legs that began from ``since`` to before ``until``.

    Raises:
        Unavailable: the database is locked or away.
    """
    statement = select(func.count()).where(cdrs.c.started_at >= since, cdrs.c.started_at < until)
    return database.query(lambda conn: conn.execute(statement).scalar_one())
