"""What the switches' records (CDRs) tell of a premium call: its leg, and the consultants'."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, select

from billing.cdr_document import Cdr
from billing.schema import cdrs

Interval = tuple[datetime, datetime]

_NOTHING = timedelta(0)

_OWN = (
    select(cdrs.c.started_at, cdrs.c.answered_at, cdrs.c.ended_at)
    .where(cdrs.c.uuid == bindparam("call"))
    .order_by(cdrs.c.received_at)
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Legs:
    """When the caller's leg was up, and when each far one that it was bridged to was answered.

    ``caller`` is None where nobody answered. ``far`` holds what has arrived so far, in order.
    """

    caller: Interval | None
    far: tuple[Interval, ...]

    def within(self, begin: datetime, end: datetime, *, bridged: bool) -> timedelta:
        """Return how much of ``begin`` to ``end`` the records confirm.

        With ``bridged`` only the time with a far end counts, if the record of any has come.
        """
        if self.caller is None:
            return _NOTHING
        begin, end = max(begin, self.caller[0]), min(end, self.caller[1])
        if not bridged or not self.far:
            return max(_NOTHING, end - begin)
        total, reached = _NOTHING, begin
        for answered, over in self.far:
            # Far ends that were there together count once.
            start, stop = max(reached, answered), min(end, over)
            if stop > start:
                total += stop - start
                reached = stop
        return total


def legs(conn: Connection, call_id: str) -> Legs | None:
    """Return what is recorded of a call; None: the record of the caller's leg is not there."""
    own = conn.execute(_OWN, {"call": call_id}).one_or_none()
    if own is None:
        return None
    # A far leg's record names the call it belongs to, in the text as it is kept.
    named = json.dumps({"originating_leg_uuid": call_id}, separators=(",", ":"))[1:-1]
    far = conn.execute(
        select(cdrs.c.answered_at, cdrs.c.ended_at)
        .where(
            cdrs.c.leg == "b",
            cdrs.c.started_at >= own.started_at,
            cdrs.c.started_at <= own.ended_at,
            cdrs.c.answered_at.is_not(None),
            cdrs.c.raw.contains(named, autoescape=True),
        )
        .order_by(cdrs.c.answered_at)
    )
    return Legs(
        None if own.answered_at is None else (own.answered_at, own.ended_at),
        tuple((row.answered_at, row.ended_at) for row in far),
    )


def bridge_end(conn: Connection, call_id: str) -> datetime | None:
    """Return when the last bridge of a call ended; None where that is not recorded."""
    found = legs(conn, call_id)
    if found is None or found.caller is None or not found.far:
        return None
    return min(found.caller[1], max(end for _, end in found.far))


def call_of(cdr: Cdr) -> str | None:
    """Return the call that a record belongs to: its own, or the one that a far leg is part of."""
    if cdr.leg == "a":
        return cdr.uuid
    value = json.loads(cdr.raw)["variables"].get("originating_leg_uuid")
    return value if isinstance(value, str) and value else None
