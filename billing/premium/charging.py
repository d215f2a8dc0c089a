"""A premium call's money while it runs: reserved ahead, charged at its end, never over (D8).

The order of a call: `Charging.begin` when all is accepted and nothing costs yet, `connected` from
where it costs, `extend` again and again ahead of the end of what is reserved, `ended`. A call that
comes to nothing is `abandoned`. Each may be said again, by another worker too, and changes nothing
then; whatever is killed between two of them, `sweep` resolves what is left. What a call costs is
`billing.premium.rating` of the tariffs in its consent, and never more than what is reserved.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, and_, bindparam, case, literal_column, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing import outbox
from billing.clock import Clock
from billing.database import Database
from billing.errors import BillingError, KeyConflict
from billing.premium import call_records
from billing.premium.charge_check import TOLERANCE, check, post_key
from billing.premium.consents import Consent, by_id
from billing.premium.credit import Credit
from billing.premium.schema import premium_calls, reservations
from billing.premium.slices import Grant, Refused, Slices
from billing.premium.standing import Standing, standing
from billing.schema import Instant

__all__ = [
    "LONGEST_CALL_S",
    "SLICE_S",
    "Charged",
    "Charging",
    "Grant",
    "Refused",
    "Standing",
    "UnknownCall",
    "standing",
]

LONGEST_CALL_S = 7200
SLICE_S = 120

WAITING_S = 600
"""How long a call may stay begun without a word: `waiting` renews it."""

GRACE_S = 300
"""How long after the end of its reserved time a connected call is left to those who serve it."""

_SWEPT_AT_ONCE = 500
_CLOCK_PUT_BACK = timedelta(seconds=10)
_SECOND = timedelta(seconds=1)
_CALL = premium_calls.c


def _at(name: str) -> Any:
    return bindparam(name, type_=Instant())


_THIS: Any = _CALL.call_id == bindparam("by_call")
_MOMENT = _at("moment")
_FROM_BEGIN = case((_CALL.begun_at > _MOMENT, _CALL.begun_at), else_=_MOMENT)
_SEEN = and_(_CALL.status == literal_column("'connected'"), _CALL.seen_at < _MOMENT)

_BEGIN = insert(premium_calls).on_conflict_do_nothing(index_elements=[_CALL.call_id])
# Changes nothing: the call is locked until the end of the transaction, and read as it is then.
_LOCK = update(premium_calls).where(_THIS).values(status=_CALL.status).returning(*_CALL)
_CONNECT = (
    update(premium_calls)
    .where(_THIS, _CALL.status == literal_column("'begun'"))
    .values(status="connected", connected_at=_FROM_BEGIN, seen_at=_FROM_BEGIN)
)
_SEE = (
    update(premium_calls)
    .where(_THIS)
    .values(seen_at=case((_SEEN, _MOMENT), else_=_CALL.seen_at))
    .returning(*_CALL)
)
_END = (
    update(premium_calls)
    .where(_THIS, _CALL.status == bindparam("by_status"))
    .values(
        status=bindparam("outcome"),
        ended_at=_at("end"),
        seconds=bindparam("used"),
        amount=bindparam("cost"),
        reason=bindparam("why"),
    )
)


class UnknownCall(BillingError, LookupError):
    """No premium call of this id was begun."""


@dataclass(frozen=True, slots=True)
class Charged:
    """What was charged: ``seconds`` of use for ``amount`` rials. 0 rials: the call was free."""

    seconds: int
    amount: int


class Charging:
    """The money of running calls, over one database.

    ``slice_s`` seconds are reserved ahead each time (as many as ``longest_call_s`` where nobody
    meters the call); ``cdr_wait_s`` is how long a charge waits for the call's record before it is
    posted, unless that comes earlier; ``cdr_tolerance_s`` how much it may differ.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        zone: ZoneInfo,
        credit: Credit,
        slice_s: int = SLICE_S,
        longest_call_s: int = LONGEST_CALL_S,
        *,
        cdr_wait_s: float = 0.0,
        cdr_tolerance_s: float = TOLERANCE.total_seconds(),
        waiting_s: float = WAITING_S,
        grace_s: float = GRACE_S,
    ) -> None:
        """Raises ValueError for a slice that is not from 1 to the longest call."""
        self._database = database
        self._clock = clock
        self._credit = credit
        self._slices = Slices(credit, zone, slice_s, longest_call_s, timedelta(seconds=grace_s))
        self.longest_call_s = longest_call_s
        self._cdr_wait = timedelta(seconds=cdr_wait_s)
        self._cdr_tolerance = timedelta(seconds=cdr_tolerance_s)
        self._waiting = timedelta(seconds=waiting_s)

    # -- while the call runs ----------------------------------------------------------------------

    def begin(
        self,
        call_id: str,
        consent: Consent,
        service_id: int,
        line: int,
        approval_id: int | None,
        caller: str,
    ) -> Grant | Refused:
        """Reserve the first slice and write the call down; nothing costs yet.

        At least the shortest use that is charged is reserved, else it is refused. A balance that
        is just enough is enough.

        Raises:
            KeyConflict: the consent is not this call's, or the call is over.
            Unavailable: the database is locked or away; nothing was written.
        """
        if (consent.call_id, consent.service, consent.line) != (call_id, service_id, line):
            raise KeyConflict(f"call {call_id} comes with another call's consent")

        def work(conn: Connection) -> Grant | Refused:
            now = self._clock.now()
            call = _locked(conn, call_id)
            if call is not None:
                return self._begun_again(conn, call, now)
            grant = self._slices.begin(conn, consent, approval_id, now, now + self._waiting)
            if isinstance(grant, Refused):
                return grant
            conn.execute(
                _BEGIN,
                {
                    "call_id": call_id,
                    "line": line,
                    "service": service_id,
                    "consent": consent.id,
                    "caller": caller,
                    "status": "begun",
                    "begun_at": now,
                },
            )
            return grant

        return self._database.write(work)

    def waiting(self, call_id: str) -> Grant | Refused:
        """Say that a begun call still waits (for a consultant): its reservation stays alive.

        The price may have changed since: the grant is what the reserve would pay for from now on,
        and it is refused when the credit does not reach for a beginning any more.

        Raises:
            UnknownCall: it was never begun.
            KeyConflict: the call is over.
            Unavailable: the database is locked or away; nothing was written.
        """

        def work(conn: Connection) -> Grant | Refused:
            call = _locked(conn, call_id)
            if call is None:
                raise UnknownCall(f"call {call_id} was not begun")
            return self._begun_again(conn, call, self._clock.now())

        return self._database.write(work)

    def connected(self, call_id: str, at: datetime) -> Grant:
        """Say that the content was connected ``at``: from here on it costs. The first word stands.

        0 seconds are granted when the call is over already, or when the price has risen since it
        began and the credit does not reach any more.

        Raises:
            UnknownCall: it was never begun.
            Unavailable: the database is locked or away; nothing was written.
        """

        def work(conn: Connection) -> Grant:
            now = self._clock.now()
            # Nothing costs in the future, nor (see the statement) before it was reserved.
            conn.execute(_CONNECT, {"by_call": call_id, "moment": min(at, now)})
            return self._covered(conn, call_id, now)

        return self._database.write(work)

    def extend(self, call_id: str, ahead_s: int = 0) -> Grant:
        """Reserve ahead again, to a slice from now; also says that the call is still connected.

        ``ahead_s``: for what takes so many seconds and must not be cut, if that is more.

        Raises:
            UnknownCall: it was never begun.
            Unavailable: the database is locked or away; nothing was written.
        """
        return self._database.write(
            lambda conn: self._covered(conn, call_id, self._clock.now(), ahead_s)
        )

    def ended(self, call_id: str, at: datetime) -> Charged:
        """Say that the content ended ``at``: charge it, and give back what was reserved too much.

        The first word stands. A call that was never connected is free.

        Raises:
            UnknownCall: it was never begun.
            Unavailable: the database is locked or away; nothing was written.
        """

        def work(conn: Connection) -> Charged:
            return self._end(conn, call_id, at, self._clock.now(), "not connected")

        return self._database.write(work)

    def abandoned(self, call_id: str, reason: str) -> None:
        """Say that the call came to nothing: all that was reserved is given back, it is free.

        A connected call is ended now instead: what was used is charged. A call that was never begun
        needs nothing.

        Raises:
            Unavailable: the database is locked or away; nothing was written.
        """

        def work(conn: Connection) -> None:
            now = self._clock.now()
            try:
                self._end(conn, call_id, now, now, reason)
            except UnknownCall:
                return

        self._database.write(work)

    def standing(self, call_id: str) -> Standing | None:
        """Return how a call stands; None: it was never begun.

        Raises:
            Unavailable: the database is locked or away.
        """
        return self._database.query(lambda conn: standing(conn, call_id))

    # -- when everybody died ----------------------------------------------------------------------

    def sweep(self, now: datetime | None = None) -> list[str]:
        """Resolve calls whose time is over and of which nobody has said the end; return their ids.

        A begun call is free. A connected one is charged up to the last moment at which somebody
        knew that it was connected. A talk with a consultant begins and goes on without a worker:
        where the call's record tells of one, it is charged to its end.

        Raises:
            Unavailable: the database is locked or away.
        """
        moment = now or self._clock.now()
        held = reservations.c
        statement = (
            select(held.key)
            .where(held.status == "open", held.expires_at <= moment)
            .order_by(held.expires_at, held.key)
            .limit(_SWEPT_AT_ONCE)
        )
        keys = self._database.query(lambda conn: list(conn.scalars(statement)))
        return [
            key
            for key in keys
            if self._database.write(partial(self._swept, call_id=key, now=moment))
        ]

    def _swept(self, conn: Connection, call_id: str, now: datetime) -> bool:
        call = _locked(conn, call_id)
        held = self._credit.find(conn, call_id)
        if held is None or held.status != "open" or held.expires_at > now:
            # Somebody has said something meanwhile.
            return False
        if call is None:
            self._credit.release(conn, call_id, now)
            return True
        end, record = now, call_records.record(conn, call_id)
        talks = record.talks if record is not None else ()
        if call.status == "begun" and talks:
            since, end = talks[0]
            conn.execute(_CONNECT, {"by_call": call_id, "moment": since})
        elif call.status == "connected":
            end = max([call.seen_at, *(until for _, until in talks)])
        self._end(conn, call_id, end, now, "nobody has said its end")
        return True

    # ---------------------------------------------------------------------------------------------

    def _begun_again(self, conn: Connection, call: Any, now: datetime) -> Grant | Refused:
        if call.status == "connected":
            return self._covered(conn, call.call_id, now)
        held = self._credit.find(conn, call.call_id)
        if call.status != "begun" or held is None or held.status != "open":
            raise KeyConflict(f"call {call.call_id} is over")
        tariffs = by_id(conn, call.consent).tariffs
        return self._slices.keep(conn, tariffs, held, now, now + self._waiting)

    def _covered(self, conn: Connection, call_id: str, now: datetime, ahead_s: int = 0) -> Grant:
        """Reserve ahead for a connected call; 0 seconds for one that is over."""
        call = conn.execute(_SEE, {"by_call": call_id, "moment": now}).one_or_none()
        if call is None:
            raise UnknownCall(f"call {call_id} was not begun")
        held = self._credit.find(conn, call_id)
        if call.status != "connected" or held is None or held.status != "open":
            return Grant(call.ended_at or now, True, 0, 0)
        tariffs = by_id(conn, call.consent).tariffs
        return self._slices.extend(conn, tariffs, held, call.connected_at, now, ahead_s)

    def _end(
        self, conn: Connection, call_id: str, at: datetime, now: datetime, reason: str
    ) -> Charged:
        call = _locked(conn, call_id)
        if call is None:
            raise UnknownCall(f"call {call_id} was not begun")
        if call.status not in ("begun", "connected"):
            return Charged(call.seconds or 0, call.amount or 0)
        held = self._credit.find(conn, call_id)
        assert held is not None, "a call is begun together with its reservation"
        seconds = amount = 0
        end = max(at, call.begun_at)
        if call.status == "connected":
            end = max(min(at, now), call.connected_at)
            if call.seen_at - end > _CLOCK_PUT_BACK:
                # That does not undo what somebody has seen. (Seconds do not count: who hears of a
                # hangup may have seen the call connected a little later.)
                end = call.seen_at
            tariffs = by_id(conn, call.consent).tariffs
            start = call.connected_at
            seconds, amount = self._slices.charge(tariffs, held, start, end)
            reason = "under a second" if end - start < _SECOND else "the credit does not reach"
        if held.status != "open":
            seconds = amount = 0
            reason = "its reservation had expired"
        elif amount:
            self._credit.commit(conn, call_id, amount, now)
        else:
            self._credit.release(conn, call_id, now)
        conn.execute(
            _END,
            {
                "by_call": call_id,
                "by_status": call.status,
                "outcome": "charged" if amount else "free",
                "end": end,
                "used": seconds,
                "cost": amount,
                "why": None if amount else reason,
            },
        )
        if amount:
            outbox.put(
                conn,
                post_key(call_id),
                "billing",
                "post_charge",
                {"call": call_id},
                now,
                available_at=now + self._cdr_wait,
            )
            # The switch may have been quicker to tell than we were.
            check(conn, call_id, now, self._cdr_tolerance)
        return Charged(seconds, amount)


def _locked(conn: Connection, call_id: str) -> Any | None:
    return conn.execute(_LOCK, {"by_call": call_id}).one_or_none()
