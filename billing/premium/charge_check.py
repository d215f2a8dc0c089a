"""Charges against the switch's records: a difference is a report, a large one waits for a person.

What a worker says of a call's length is money. As soon as the switch's record of the call is there,
the seconds that are charged are compared with those that the record confirms. Up to the tolerance
the difference is only reported; over it the charge is parked before it is posted, and posted or
waived by a person. A charge that was posted before the record came is left and an alert is made.

Clocks of switch and worker are taken to agree within the tolerance (NTP): a whole host that is
minutes off has its charges parked, which is as it should be.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, exists, literal, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing import outbox
from billing.cdr_document import Cdr
from billing.clock import Clock
from billing.database import Database
from billing.errors import BillingError
from billing.premium import call_records
from billing.premium.schema import (
    charges,
    consents,
    guard_alerts,
    premium_calls,
    premium_services,
    service_versions,
)
from billing.schema import outbox as outbox_table

TOLERANCE = timedelta(seconds=2)
"""By how much the charged seconds may be more than the record's; more is for a person."""

RULE = "cdr_difference"
"""The rule that alerts of posted charges name."""

WAIVED = "waived by"
"""How the reason of a call begins that a person has made free."""

_CALL = premium_calls.c
_LONGEST_REASON = 300

_LOCK = (
    update(premium_calls)
    .where(_CALL.call_id == bindparam("by_call"))
    .values(cdr_seconds=_CALL.cdr_seconds)
    .returning(
        _CALL.line, _CALL.consent, _CALL.connected_at, _CALL.seconds, _CALL.status, _CALL.reason
    )
)


class NotParked(BillingError, LookupError):
    """No parked charge of this call."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A charge and its record: ``seconds`` charged, ``recorded`` seconds that are confirmed."""

    call_id: str
    seconds: int
    recorded: int
    parked: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """A charge whose seconds are not those of its record.

    ``service`` is the service's number, ``amount`` in rials; ``reason`` says why it is parked or
    what a person has decided.
    """

    call_id: str
    service: str
    connected_at: datetime
    seconds: int
    recorded: int
    amount: int
    status: str
    reason: str | None


def post_key(call_id: str) -> str:
    """Return the outbox key under which a call's charge is posted."""
    return f"charge:{call_id}"


def arrived(conn: Connection, cdr: Cdr, now: datetime, tolerance: timedelta) -> Checked | None:
    """Check the charge that a new record is of, if it is of one."""
    return check(conn, cdr.uuid, now, tolerance) if cdr.leg == "a" else None


def check(conn: Connection, call_id: str, now: datetime, tolerance: timedelta) -> Checked | None:
    """Compare a charge with the record of its call; None: there is nothing to compare yet.

    A charge that a person has released stays released.
    """
    # Said first, and of any call, so that the end of the call and its record cannot miss each
    # other: whoever comes second sees what the first has written.
    call = conn.execute(_LOCK, {"by_call": call_id}).one_or_none()
    if call is None or call.status != "charged":
        return None
    record = call_records.record(conn, call_id)
    if record is None:
        return None
    length = timedelta(seconds=call.seconds)
    confirmed = record.confirms(
        call.connected_at,
        call.connected_at + length,
        talks_only=_consultants_only(conn, call.consent),
    )
    over = length - confirmed > tolerance
    recorded = confirmed // timedelta(seconds=1)
    conn.execute(update(premium_calls).where(_CALL.call_id == call_id).values(cdr_seconds=recorded))
    if call.reason is not None:
        # A person has decided.
        return Checked(call_id, call.seconds, recorded, parked=False)
    reason = f"{call.seconds} s are charged, the switch's record confirms {recorded} s"
    if over:
        parked = _park(conn, call_id, reason)
        if not parked:
            _alert(conn, call_id, call.line, reason, now)
        return Checked(call_id, call.seconds, recorded, parked)
    _post_now(conn, call_id, now)
    return Checked(call_id, call.seconds, recorded, parked=False)


class ParkedCharges:
    """Charges that wait for a person, over one database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def parked(self, limit: int = 100) -> list[Difference]:
        """Return parked charges, the oldest first.

        Raises:
            Unavailable: the database is locked or away.
        """
        statement = _DIFFERENCES.where(_CALL.status == "parked").limit(limit)
        return self._database.query(lambda conn: _differences(conn, statement))

    def differences(self, begin: datetime, end: datetime, limit: int = 1000) -> list[Difference]:
        """Return the charges of calls connected from ``begin`` to before ``end`` that differ.

        Raises:
            Unavailable: the database is locked or away.
        """
        statement = _DIFFERENCES.where(
            _CALL.connected_at >= begin,
            _CALL.connected_at < end,
            _CALL.cdr_seconds.is_not(None),
            _CALL.cdr_seconds != _CALL.seconds,
        ).limit(limit)
        return self._database.query(lambda conn: _differences(conn, statement))

    def release(self, call_id: str, who: str) -> int:
        """Let a parked charge be posted as it is; return its rials.

        Raises:
            NotParked: there is no such parked charge.
            Unavailable: the database is locked or away; nothing was written.
        """

        def work(conn: Connection) -> int:
            amount = self._decide(conn, call_id, "charged", f"released by {who}")
            _post(conn, f"{post_key(call_id)}:released", call_id, self._clock.now())
            return amount

        return self._database.write(work)

    def waive(self, call_id: str, who: str, why: str) -> int:
        """Make a parked call free; return the rials that are not charged.

        The month's credit stays used: it was, whoever bears the cost.

        Raises:
            NotParked: there is no such parked charge.
            Unavailable: the database is locked or away; nothing was written.
        """
        reason = f"{WAIVED} {who}: {why}"[:_LONGEST_REASON]
        return self._database.write(lambda conn: self._decide(conn, call_id, "free", reason))

    def _decide(self, conn: Connection, call_id: str, status: str, reason: str) -> int:
        amount = conn.execute(
            update(premium_calls)
            .where(_CALL.call_id == call_id, _CALL.status == "parked")
            .values(status=status, reason=reason)
            .returning(_CALL.amount)
        ).scalar_one_or_none()
        if amount is None:
            raise NotParked(f"no charge of call {call_id} is parked")
        return int(amount)


_DIFFERENCES = (
    select(
        _CALL.call_id,
        premium_services.c.number,
        _CALL.connected_at,
        _CALL.seconds,
        _CALL.cdr_seconds,
        _CALL.amount,
        _CALL.status,
        _CALL.reason,
    )
    .select_from(premium_calls.join(premium_services))
    .order_by(_CALL.begun_at, _CALL.call_id)
)


def _differences(conn: Connection, statement: Any) -> list[Difference]:
    return [Difference(*row) for row in conn.execute(statement)]


def _consultants_only(conn: Connection, consent: int) -> bool:
    """Whether nothing else than a consultant can have been what was charged."""
    definition = conn.execute(
        select(service_versions.c.definition)
        .select_from(
            consents.join(
                service_versions,
                (service_versions.c.service == consents.c.service)
                & (service_versions.c.version == consents.c.version),
            )
        )
        .where(consents.c.id == consent)
    ).scalar_one_or_none()
    if definition is None:
        return False
    content = json.loads(definition).get("content", {})
    return bool(content.get("consultants")) and not content.get("tree")


def _park(conn: Connection, call_id: str, reason: str) -> bool:
    posted = exists().where(charges.c.call_id == call_id)
    parked = conn.execute(
        update(premium_calls)
        .where(_CALL.call_id == call_id, _CALL.status == "charged", ~posted)
        .values(status="parked", reason=reason)
        .returning(_CALL.call_id)
    )
    return parked.one_or_none() is not None


def _alert(conn: Connection, call_id: str, line: int, reason: str, now: datetime) -> None:
    conn.execute(
        insert(guard_alerts)
        .values(
            key=f"{RULE}:{call_id}",
            rule=RULE,
            subject=f"line:{line}",
            reason=f"call {call_id}: {reason}; it is posted already",
            at=now,
        )
        .on_conflict_do_nothing(index_elements=[guard_alerts.c.key])
    )


def _post(conn: Connection, key: str, call_id: str, now: datetime) -> None:
    outbox.put(conn, key, "billing", "post_charge", {"call": call_id}, now)


def _post_now(conn: Connection, call_id: str, now: datetime) -> None:
    """The record has come: the charge needs not wait for it any longer."""
    row = outbox_table.c
    conn.execute(
        update(outbox_table)
        .where(
            row.key == post_key(call_id),
            row.status == "pending",
            row.attempts == 0,
            row.available_at > literal(now, row.available_at.type),
        )
        .values(available_at=now)
    )
