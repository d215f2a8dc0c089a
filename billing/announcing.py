"""What the conversation of an announcing call learns and tells of its campaign (A1).

The call is known by its id, the uuid that its dialer chose. What is told here outlives dialer and
worker: a call whose conversation has begun counts as answered whoever dies afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, literal, select, update

from billing import do_not_call
from billing.campaigns import Machine, campaign_of, owes
from billing.clock import Clock
from billing.database import Database
from billing.do_not_call import OPT_OUT
from billing.schema import campaign_calls, campaign_targets


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a call is about.

    The line's ``number`` (E.164), whether it still ``owes`` what the campaign is about, and what is
    to happen should a ``machine`` have answered.
    """

    number: str
    owes: bool
    machine: Machine


class Announcements:
    """The campaigns' side of announcing calls, over one database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def answered(self, call_id: str) -> Announcement | None:
        """Write down that the call was answered; return what it is about, None for no such call.

        Said again by another worker it changes nothing.

        Raises:
            Unavailable: the database is locked or away; nothing was written.
        """
        now = self._clock.now()

        def work(conn: Connection) -> Announcement | None:
            call, target = campaign_calls.c, campaign_targets.c
            row = conn.execute(
                update(campaign_calls)
                .where(call.call_id == call_id)
                .values(
                    answered_at=func.coalesce(call.answered_at, literal(now, call.answered_at.type))
                )
                .returning(call.campaign, call.target)
            ).one_or_none()
            if row is None:
                return None
            campaign = campaign_of(conn, row.campaign)
            number, owing = conn.execute(
                select(target.number, owes(target.line, campaign.due_until, campaign.least)).where(
                    target.id == row.target
                )
            ).one()
            if not owing:
                self._say(conn, call_id, "paid", over=())
            return Announcement(number, owing, campaign.rules.machine)

        return self._database.write(work)

    def heard(self, call_id: str) -> None:
        """Write down that the first facts were heard to their end.

        Raises:
            Unavailable: the database is locked or away; nothing was written.
        """
        self._database.write(lambda conn: self._say(conn, call_id, "heard", over=()))

    def machine(self, call_id: str) -> None:
        """Write down that an answering machine has answered.

        Raises:
            Unavailable: the database is locked or away; nothing was written.
        """
        self._database.write(lambda conn: self._say(conn, call_id, "machine", over=()))

    def opt_out(self, call_id: str, number: str) -> None:
        """Put the line on the list of those who do not want to be called again.

        Raises:
            Unavailable: the database is locked or away; nothing was written.
        """
        now = self._clock.now()

        def work(conn: Connection) -> None:
            do_not_call.put(conn, OPT_OUT, number, now)
            self._say(conn, call_id, "opted_out", over=("heard",))

        self._database.write(work)

    def _say(self, conn: Connection, call_id: str, said: str, *, over: tuple[str, ...]) -> None:
        call, target = campaign_calls.c, campaign_targets.c
        row = conn.execute(
            update(campaign_calls)
            .where(call.call_id == call_id, call.said.is_(None) | call.said.in_(over))
            .values(said=said)
            .returning(call.target, call.ended_at)
        ).one_or_none()
        if row is None or row.ended_at is None:
            return
        # The call had ended before its conversation came to say so: the line is done with, unless
        # it is on the telephone again already.
        conn.execute(update(campaign_calls).where(call.call_id == call_id).values(result=said))
        status = {"heard": "reached", "opted_out": "do_not_call"}.get(said)
        if status is not None:
            conn.execute(
                update(campaign_targets)
                .where(target.id == row.target, target.status.in_(("waiting", "not_reached")))
                .values(
                    status=status,
                    result=said,
                    settled_at=literal(self._clock.now(), target.settled_at.type),
                )
            )
