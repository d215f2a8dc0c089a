"""Who takes a provider's calls, and the queue for them (D5, D6).

A consultant is claimed for a call before being called, by one conditional update, so that two
callers never ring the same telephone; whoever serves several services is claimed in all of them.
A claim, and a place in the queue, lasts only as long as somebody renews it: what a dead worker
held is free again by itself.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, and_, func, or_, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing.clock import Clock
from billing.database import Database
from billing.premium.definitions import Order
from billing.premium.hours import is_open, parse_hours
from billing.premium.schema import consultants, premium_calls, queue_places

Outcome = Literal["served", "left", "lost"]

CLAIM_S = 90
"""How long a claim lasts unless it is renewed: longer than anybody's telephone rings."""

PLACE_S = 60
"""How long a place in the queue lasts unless it is renewed."""

USUAL_TALK_S = 240
"""How long a talk is taken to last before there were any."""

_RECENT_TALKS = 50
_WHO = consultants.c
_PLACE = queue_places.c


@dataclass(frozen=True, slots=True)
class Consultant:
    """Somebody to be called. ``number`` is E.164, ``code`` names them within the service."""

    id: int
    code: str
    number: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a caller stands in a queue: ``position`` from 1, and how long it may take."""

    position: int
    estimated_s: int


class Consultants:
    """Consultants and queues of all services, over one database; ``zone`` is that of their hours.

    Every method raises Unavailable when the database is locked or away.
    """

    def __init__(self, database: Database, clock: Clock, zone: ZoneInfo) -> None:
        self._database = database
        self._clock = clock
        self._zone = zone

    # -- who is called ------------------------------------------------------------------------

    def on_duty(self, service: int) -> int:
        """Return how many of a service's consultants (its id) work at this hour, busy or not."""
        now = self._clock.now()
        return self._database.query(lambda conn: len(self._working(conn, service, now)))

    def claim(
        self, service: int, order: Order, call_id: str, tried: Collection[str] = ()
    ) -> list[Consultant]:
        """Claim who is to be called next for a call: one, or with the order ``all`` everybody.

        None of the codes in ``tried``. Nobody while as many callers stand before this one in the
        queue as consultants are free. What the call has claimed before is given up.
        """

        def work(conn: Connection) -> list[Consultant]:
            now = self._clock.now()
            self._give_up(conn, call_id)
            free = [row for row in self._free(conn, service, now) if row.code not in tried]
            ahead = self._ahead(conn, service, call_id, now)
            if ahead >= (1 if order == "all" and free else len(free)):
                return []
            if order == "least_recent":
                free.sort(key=lambda row: (row.last_call_at is not None, row.last_call_at))
            # Another caller may be quicker: then the next one is taken.
            claimed: list[Consultant] = []
            for row in free:
                if self._take(conn, row.id, call_id, now):
                    claimed.append(Consultant(row.id, row.code, row.number))
                    if order != "all":
                        break
            return claimed

        return self._database.write(work)

    def hold(self, call_id: str, until: datetime, talking: str | None = None) -> None:
        """Renew the claims of a call; where one of them is ``talking`` (a code), only that one."""

        def work(conn: Connection) -> None:
            if talking is not None:
                self._give_up(conn, call_id, _WHO.code != talking)
            conn.execute(
                update(consultants).where(_WHO.call_id == call_id).values(busy_until=until)
            )

        self._database.write(work)

    def free(self, call_id: str, talked: str | None = None) -> None:
        """Give up the claims of a call; who has ``talked`` (a code) had the last call now."""

        def work(conn: Connection) -> None:
            if talked is not None:
                conn.execute(
                    update(consultants)
                    .where(_WHO.call_id == call_id, _WHO.code == talked)
                    .values(last_call_at=self._clock.now())
                )
            self._give_up(conn, call_id)

        self._database.write(work)

    # -- the queue ----------------------------------------------------------------------------

    def join(self, service: int, call_id: str) -> None:
        """Give a call the last place in a service's queue; its place stays if it has one."""
        now = self._clock.now()
        again = {
            "service": service,
            "joined_at": now,
            "seen_until": now + timedelta(seconds=PLACE_S),
            "left_at": None,
            "outcome": None,
        }
        statement = (
            insert(queue_places)
            .values(call_id=call_id, **again)
            .on_conflict_do_update(
                index_elements=[_PLACE.call_id],
                set_=again,
                where=or_(_PLACE.left_at.is_not(None), _PLACE.service != service),
            )
        )
        self._database.write(lambda conn: conn.execute(statement))

    def standing(self, service: int, call_id: str) -> Standing:
        """Return where a call stands in the queue, and renew its place."""

        def work(conn: Connection) -> Standing:
            now = self._clock.now()
            conn.execute(
                update(queue_places)
                .where(_PLACE.call_id == call_id, _PLACE.left_at.is_(None))
                .values(seen_until=now + timedelta(seconds=PLACE_S))
            )
            position = self._ahead(conn, service, call_id, now) + 1
            working = len(self._working(conn, service, now))
            return Standing(position, position * _talk_s(conn, service) // max(1, working))

        return self._database.write(work)

    def leave(self, call_id: str, outcome: Outcome) -> None:
        """Give up a call's place in the queue, if it has one."""
        statement = (
            update(queue_places)
            .where(_PLACE.call_id == call_id, _PLACE.left_at.is_(None))
            .values(left_at=self._clock.now(), outcome=outcome)
        )
        self._database.write(lambda conn: conn.execute(statement))

    def lose(self) -> int:
        """Close the places that nobody has renewed; return how many."""
        now = self._clock.now()
        statement = (
            update(queue_places)
            .where(_PLACE.left_at.is_(None), _PLACE.seen_until <= now)
            .values(left_at=now, outcome="lost")
        )
        return self._database.write(lambda conn: conn.execute(statement).rowcount)

    # -----------------------------------------------------------------------------------------

    def _working(self, conn: Connection, service: int, now: datetime) -> list[Any]:
        rows = conn.execute(
            select(consultants)
            .where(_WHO.service == service, _WHO.active == 1)
            .order_by(_WHO.place, _WHO.id)
        ).all()
        return [row for row in rows if self._works(row.hours, now)]

    def _works(self, hours: str, now: datetime) -> bool:
        return is_open(parse_hours(json.loads(hours)), None, now, self._zone)

    def _free(self, conn: Connection, service: int, now: datetime) -> list[Any]:
        working = self._working(conn, service, now)
        numbers = [row.number for row in working]
        # Whoever claims one of these telephones, for whichever service, waits here.
        conn.execute(
            select(_WHO.id).where(_WHO.number.in_(numbers)).order_by(_WHO.id).with_for_update()
        )
        busy = set(
            conn.scalars(
                select(_WHO.number).where(
                    _WHO.number.in_(numbers), _WHO.call_id.is_not(None), _WHO.busy_until > now
                )
            )
        )
        return [row for row in working if row.number not in busy]

    def _take(self, conn: Connection, who: int, call_id: str, now: datetime) -> bool:
        return bool(
            conn.execute(
                update(consultants)
                .where(_WHO.id == who, or_(_WHO.call_id.is_(None), _WHO.busy_until <= now))
                .values(call_id=call_id, busy_until=now + timedelta(seconds=CLAIM_S))
            ).rowcount
        )

    def _give_up(self, conn: Connection, call_id: str, *which: Any) -> None:
        conn.execute(
            update(consultants)
            .where(_WHO.call_id == call_id, *which)
            .values(call_id=None, busy_until=None)
        )

    def _ahead(self, conn: Connection, service: int, call_id: str, now: datetime) -> int:
        """How many callers wait longer than this one, which may have no place yet."""
        own = conn.scalar(
            select(_PLACE.joined_at).where(
                _PLACE.call_id == call_id,
                _PLACE.service == service,
                _PLACE.left_at.is_(None),
            )
        )
        joined = now if own is None else own
        before = or_(
            _PLACE.joined_at < joined,
            and_(_PLACE.joined_at == joined, _PLACE.call_id < call_id),
        )
        return int(
            conn.scalar(
                select(func.count()).where(
                    _PLACE.service == service,
                    _PLACE.left_at.is_(None),
                    _PLACE.seen_until > now,
                    _PLACE.call_id != call_id,
                    before,
                )
            )
            or 0
        )


def _talk_s(conn: Connection, service: int) -> int:
    """How long the last talks of a service were, on average."""
    recent = (
        select(premium_calls.c.seconds)
        .where(premium_calls.c.service == service, premium_calls.c.seconds > 0)
        .order_by(premium_calls.c.begun_at.desc())
        .limit(_RECENT_TALKS)
        .subquery()
    )
    average = conn.scalar(select(func.avg(recent.c.seconds)))
    return round(average) if average else USUAL_TALK_S
