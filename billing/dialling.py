"""Calls of a campaign as the dialers make them: claimed, looked after, ended, and never twice.

A call is written to the database before it is dialled, under the uuid that the switch will know it
by, with a lease of its dialer. Whatever dies when:

- before the claim is committed, nothing has happened;
- after it, the lease ends, and any dialer takes the call over and asks the switch about its uuid:
  it is looked after if it is still there, and ended if it is not. An answered call is known to be
  one, because its conversation wrote that before the first word; one of which nobody knows
  anything was not answered, and is tried again as its retry rule (``unknown``) says.

So a line has one call at a time (a unique index holds that, too), no answered subscriber is called
again because something died, and every line ends in a status of its own. Pace and limits stand in
the database as well and hold for all dialers together. Claims of one campaign follow one another:
each locks the campaign's row, which also makes pause and stop take effect with the next claim.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, Update, case, func, literal, or_, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing import outbox
from billing.calendars import Calendar, YearNotCovered
from billing.calling_hours import CallingHours, NeverOpen
from billing.campaigns import Campaign, Rules, campaign_of, on_list, owed, owes
from billing.database import Database
from billing.retry_rules import Result
from billing.schema import (
    bills,
    campaign_calls,
    campaign_pace,
    campaign_targets,
    campaigns,
    lines,
)

ALL = ""
"""Stands for all switches together in the pace."""

# Candidates looked at in one claim: numbers outside their hours are put off so many at a time.
_SCAN = 500
# SQLite takes 32,766 values in a statement.
_BATCH = 5000


@dataclass(frozen=True, slots=True)
class Dial:
    """A claimed call: ``number`` (E.164) is dialled as ``call_id``, before ``lease_until``."""

    call_id: str
    number: str
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim gave: calls to dial now, and when to look again (None: when one has ended).

    ``running`` is False when the campaign is paused, stopped or finished.
    """

    dials: list[Dial]
    running: bool
    again_at: datetime | None


@dataclass(frozen=True, slots=True)
class Orphan:
    """A call whose dialer is gone, now ours to look after."""

    call_id: str
    campaign: int
    switch: str
    started_at: datetime


class Dialling:
    """Claims and ends calls on behalf of one dialer.

    Args:
        database: migrated.
        calendars: returns the calendar of a name.
        dialer: this dialer's name, its own among all that ever run.
        lease_s: seconds after which others may ask about a call that this dialer does not renew.
        burst_s: calls that the pace allowed but nobody started are made up for this many seconds.
    """

    def __init__(
        self,
        database: Database,
        calendars: Callable[[str], Calendar],
        dialer: str,
        *,
        lease_s: float = 30.0,
        burst_s: float = 0.25,
    ) -> None:
        self._database = database
        self._calendars = calendars
        self._dialer = dialer
        self._lease = timedelta(seconds=lease_s)
        self._burst = timedelta(seconds=burst_s)
        self._rules: dict[int, Campaign] = {}

    def hours(self, rules: Rules) -> CallingHours:
        """Return the calling hours of a campaign, with its calendar as the file is now.

        Raises:
            InvalidCalendar: the file is gone or malformed.
        """
        return rules.hours(None if rules.calendar is None else self._calendars(rules.calendar))

    def claim(self, campaign: Campaign, switch: str, now: datetime, most: int = 100) -> Claim:
        """Claim the calls to be started on ``switch`` now, at most ``most``, and write them down.

        A line that owes nothing any more, or stands on a do-not-call list by now, is not claimed,
        in the very update that would claim it; one outside its hours is put off to their start.

        Raises:
            YearNotCovered, NeverOpen, InvalidCalendar: the campaign has no hours to call in.
            Unavailable: the database is locked or away; nothing was claimed.
        """
        hours = self.hours(campaign.rules)
        return self._database.write(
            lambda conn: self._claim(conn, campaign, hours, switch, now, most)
        )

    def _claim(
        self,
        conn: Connection,
        campaign: Campaign,
        hours: CallingHours,
        switch: str,
        now: datetime,
        most: int,
    ) -> Claim:
        status = conn.execute(
            select(campaigns.c.status).where(campaigns.c.id == campaign.id).with_for_update()
        ).scalar_one()
        if status != "running":
            return Claim([], False, None)
        room = min(most, self._room(conn, campaign, switch))
        if room <= 0:
            return Claim([], True, None)
        pace = _Pace(conn, campaign, switch, self._burst)
        allowed = min(room, pace.allowed(now))
        if allowed <= 0:
            return Claim([], True, pace.next_at(now))
        due = conn.execute(
            select(campaign_targets.c.id, campaign_targets.c.number)
            .where(
                campaign_targets.c.campaign == campaign.id,
                campaign_targets.c.status == "waiting",
                campaign_targets.c.due_at <= now,
            )
            .order_by(campaign_targets.c.due_at, campaign_targets.c.id)
            .limit(_SCAN)
            .with_for_update(skip_locked=True)
        ).all()
        if not due:
            return Claim([], True, self._next_due(conn, campaign.id))
        open_now: list[int] = []
        closed: dict[datetime, list[int]] = {}
        for target, number in due:
            opens = hours.next_open(number, now)
            if opens > now:
                closed.setdefault(opens, []).append(target)
            else:
                open_now.append(target)
                if len(open_now) == allowed:
                    break
        for opens, targets in closed.items():
            conn.execute(
                update(campaign_targets)
                .where(campaign_targets.c.id.in_(targets))
                .values(due_at=opens)
            )
        dials = self._write_calls(conn, campaign, switch, open_now, now)
        if dials:
            pace.start(len(dials), now)
        return Claim(dials, True, now if len(dials) < allowed else pace.next_at(now))

    def _room(self, conn: Connection, campaign: Campaign, switch: str) -> int:
        live: dict[str, int] = dict(
            conn.execute(
                select(campaign_calls.c.switch, func.count())
                .where(
                    campaign_calls.c.campaign == campaign.id, campaign_calls.c.ended_at.is_(None)
                )
                .group_by(campaign_calls.c.switch)
            ).all()
        )
        room = campaign.rules.simultaneous - sum(live.values())
        here = campaign.rules.switch_simultaneous
        return room if here is None else min(room, here - live.get(switch, 0))

    def _next_due(self, conn: Connection, campaign: int) -> datetime | None:
        moment: datetime | None = conn.execute(
            select(func.min(campaign_targets.c.due_at)).where(
                campaign_targets.c.campaign == campaign, campaign_targets.c.status == "waiting"
            )
        ).scalar_one()
        return moment

    def _write_calls(
        self,
        conn: Connection,
        campaign: Campaign,
        switch: str,
        targets: Sequence[int],
        now: datetime,
    ) -> list[Dial]:
        if not targets:
            return []
        refused = on_list(campaign_targets.c.number, campaign.rules.heeded)
        claimed = conn.execute(
            update(campaign_targets)
            .where(
                campaign_targets.c.id.in_(targets),
                campaign_targets.c.status == "waiting",
                owes(campaign_targets.c.line, campaign.due_until, campaign.least),
                ~refused,
            )
            .values(status="dialling", calls=campaign_targets.c.calls + 1)
            .returning(campaign_targets.c.id, campaign_targets.c.number, campaign_targets.c.calls)
        ).all()
        rest = set(targets) - {row.id for row in claimed}
        if rest:
            moment = literal(now, campaign_targets.c.due_at.type)
            conn.execute(
                update(campaign_targets)
                .where(campaign_targets.c.id.in_(rest), campaign_targets.c.status == "waiting")
                .values(
                    status=case((refused, "do_not_call"), else_="paid"),
                    paid_at=case((refused, campaign_targets.c.paid_at), else_=moment),
                    settled_at=now,
                )
            )
        until = now + self._lease
        dials = [Dial(str(uuid.uuid4()), row.number, until) for row in claimed]
        if dials:
            conn.execute(
                insert(campaign_calls),
                [
                    {
                        "call_id": dial.call_id,
                        "campaign": campaign.id,
                        "target": row.id,
                        "seq": row.calls,
                        "switch": switch,
                        "dialer": self._dialer,
                        "lease_until": until,
                        "started_at": now,
                    }
                    for dial, row in zip(dials, claimed, strict=True)
                ],
            )
        return dials

    def renew(self, call_ids: Sequence[str], now: datetime) -> int:
        """Keep the lease on calls that go on; return how many were still ours.

        Raises:
            Unavailable: the database is locked or away.
        """
        return self._extend(call_ids, now + self._lease)

    def _extend(self, call_ids: Sequence[str], until: datetime) -> int:
        renewed = 0
        for start in range(0, len(call_ids), _BATCH):
            statement = (
                update(campaign_calls)
                .where(
                    campaign_calls.c.call_id.in_(call_ids[start : start + _BATCH]),
                    campaign_calls.c.dialer == self._dialer,
                    campaign_calls.c.ended_at.is_(None),
                )
                .values(lease_until=until)
            )
            renewed += self._database.write(partial(_count, statement=statement))
        return renewed

    def let_go(self, call_ids: Sequence[str], now: datetime) -> None:
        """Give up the lease on calls that go on, so that another dialer takes them over at once.

        Raises:
            Unavailable: the database is locked or away; the leases end by themselves.
        """
        self._extend(call_ids, now)

    def take_over(self, now: datetime, limit: int = 100) -> list[Orphan]:
        """Make calls ours whose dialer has let its lease end; each goes to one dialer only.

        Raises:
            Unavailable: the database is locked or away.
        """
        call = campaign_calls.c
        orphans = (
            select(call.call_id)
            .where(call.ended_at.is_(None), call.lease_until <= now)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("orphans")
        )
        statement = (
            update(campaign_calls)
            .where(call.call_id.in_(select(orphans.c.call_id)))
            .values(dialer=self._dialer, lease_until=now + self._lease)
            .returning(call.call_id, call.campaign, call.switch, call.started_at)
        )
        return self._database.write(lambda conn: [Orphan(*row) for row in conn.execute(statement)])

    def finish(
        self,
        call_id: str,
        result: Result,
        now: datetime,
        *,
        answered: bool = False,
        cut: bool = False,
    ) -> Result | None:
        """End a call; return what it came to, or None when it had been ended before.

        The line is called again later, or done with, as the campaign's rules say; one that no call
        reached gets its SMS and e-mail (A2, A3), in the same transaction.

        Args:
            call_id: the call.
            result: what the switch says, for a call that nobody answered.
            now: the moment.
            answered: whether the switch says that it was answered. Without a word of its
                conversation such a call has failed: somebody answered to silence or an apology.
            cut: whether the switch died with the call, as far as anybody knows. A conversation that
                had begun and was not heard has then failed, too: nobody hung up.

        Raises:
            Unavailable: the database is locked or away; nothing was written.
        """
        silent: Result = "failed" if answered else result
        begun: Result = "failed" if cut else "hung_up"
        return self._database.write(lambda conn: self._finish(conn, call_id, silent, begun, now))

    def _finish(
        self, conn: Connection, call_id: str, silent: Result, begun: Result, now: datetime
    ) -> Result | None:
        call = campaign_calls.c
        ended = conn.execute(
            update(campaign_calls)
            .where(call.call_id == call_id, call.ended_at.is_(None))
            .values(
                ended_at=now,
                result=case(
                    (call.said.is_not(None), call.said),
                    (call.answered_at.is_not(None), begun),
                    else_=silent,
                ),
            )
            .returning(call.campaign, call.target, call.seq, call.result)
        ).one_or_none()
        if ended is None:
            return None
        campaign = self._campaign(conn, ended.campaign)
        outcome: Result = ended.result
        earlier = conn.execute(
            select(func.count()).where(
                call.target == ended.target, call.result == outcome, call.call_id != call_id
            )
        ).scalar_one()
        interval = campaign.rules.retry.interval_after(outcome, earlier, ended.seq)
        if interval is not None:
            self._wait(conn, ended.target, outcome, now + interval, now)
        elif self._settle(conn, ended.target, outcome, now) == "not_reached":
            self._announce_otherwise(conn, campaign, ended.target, now)
        return outcome

    def _wait(
        self, conn: Connection, target: int, result: Result, due_at: datetime, now: datetime
    ) -> None:
        paid = campaign_targets.c.paid_at.is_not(None)
        moment = literal(now, campaign_targets.c.due_at.type)
        conn.execute(
            update(campaign_targets)
            .where(campaign_targets.c.id == target, campaign_targets.c.status == "dialling")
            .values(
                status=case((paid, "paid"), else_="waiting"),
                settled_at=case((paid, moment)),
                due_at=due_at,
                result=result,
            )
        )

    def _settle(self, conn: Connection, target: int, result: Result, now: datetime) -> str | None:
        status = _SETTLED.get(result, "not_reached")
        column = campaign_targets.c
        row = conn.execute(
            update(campaign_targets)
            .where(column.id == target, column.status == "dialling")
            .values(
                # Paid while its last call failed: nobody needs to be told any more.
                status=case(
                    (column.paid_at.is_not(None) & (literal(status) == "not_reached"), "paid"),
                    else_=status,
                ),
                paid_at=func.coalesce(column.paid_at, literal(now, column.paid_at.type))
                if result == "paid"
                else column.paid_at,
                settled_at=now,
                result=result,
            )
            .returning(column.status)
        ).one_or_none()
        return None if row is None else row.status

    def _announce_otherwise(
        self, conn: Connection, campaign: Campaign, target: int, now: datetime
    ) -> None:
        """A2, A3: SMS and e-mail about the oldest overdue bill, if it is still open."""
        if not (campaign.rules.sms_not_reached or campaign.rules.email_not_reached):
            return
        row = _debt(conn, campaign, target)
        if row is None:
            return
        facts = {"language": row.language, "bill": row.bill}
        mobile = row.number if row.kind == "mobile" else row.mobile
        if campaign.rules.sms_not_reached and mobile is not None:
            outbox.put(
                conn,
                f"campaign:{campaign.id}:{target}:sms",
                "sms",
                "sms.debt_notice",
                {"to": mobile, **facts},
                now,
                # Quiet hours hold for an SMS that nobody asked for, too (E5).
                self._quietly(campaign.rules, mobile, now),
            )
        if campaign.rules.email_not_reached and row.email is not None:
            outbox.put(
                conn,
                f"campaign:{campaign.id}:{target}:email",
                "email",
                "email.debt_notice",
                # To the subscriber's own address, so the image may show the name (A9).
                {"to": row.email, "names": True, **facts},
                now,
            )

    def _quietly(self, rules: Rules, number: str, now: datetime) -> datetime:
        try:
            return self.hours(rules).next_open(number, now)
        except (YearNotCovered, NeverOpen, ValueError):
            # The last call has only just ended, so these are hours to call in.
            return now

    def close(self, campaign: int, now: datetime) -> bool:
        """Finish a running campaign when every line is done with; return whether it was.

        Raises:
            Unavailable: the database is locked or away.
        """
        waiting = select(campaign_targets.c.id).where(
            campaign_targets.c.campaign == campaign, campaign_targets.c.status == "waiting"
        )
        live = select(campaign_calls.c.call_id).where(
            campaign_calls.c.campaign == campaign, campaign_calls.c.ended_at.is_(None)
        )
        left = or_(waiting.exists(), live.exists())
        if self._database.query(lambda conn: conn.execute(select(left)).scalar_one()):
            return False
        statement = (
            update(campaigns)
            .where(campaigns.c.id == campaign, campaigns.c.status == "running", ~left)
            .values(status="finished", ended_at=now)
        )
        return self._database.write(lambda conn: conn.execute(statement).rowcount == 1)

    def _campaign(self, conn: Connection, campaign: int) -> Campaign:
        # Its rules and debts never change; how it stands is not taken from here.
        known = self._rules.get(campaign)
        if known is None:
            known = self._rules[campaign] = campaign_of(conn, campaign)
        return known


_SETTLED: dict[Result, str] = {
    "heard": "reached",
    "paid": "paid",
    "opted_out": "do_not_call",
}
"""How a target stands after its last call; every other result has not reached anybody."""


def _debt(conn: Connection, campaign: Campaign, target: int) -> Row[*tuple[Any, ...]] | None:
    return conn.execute(
        select(
            lines.c.number,
            lines.c.kind,
            lines.c.language,
            lines.c.mobile,
            lines.c.email,
            bills.c.id.label("bill"),
        )
        .select_from(
            campaign_targets.join(lines, lines.c.id == campaign_targets.c.line).join(
                bills, bills.c.line_id == lines.c.id
            )
        )
        .where(campaign_targets.c.id == target, owed(campaign.due_until, campaign.least))
        .order_by(bills.c.due_date, bills.c.id)
        .limit(1)
    ).one_or_none()


def _count(conn: Connection, statement: Update) -> int:
    return conn.execute(statement).rowcount


class _Pace:
    """How many calls may start now, by the rate of one switch and of all together.

    Each rate has the moment at which its next call may start; a call moves it on by one interval.
    It never lags behind by more than the burst, so what was missed is not made up for in a rush.
    """

    def __init__(self, conn: Connection, campaign: Campaign, switch: str, burst: timedelta) -> None:
        self._conn = conn
        self._campaign = campaign.id
        self._burst = burst
        self._intervals = {ALL: timedelta(seconds=1 / campaign.rules.cps)}
        if campaign.rules.switch_cps is not None:
            self._intervals[switch] = timedelta(seconds=1 / campaign.rules.switch_cps)
        self._next: dict[str, datetime] = dict(
            conn.execute(
                select(campaign_pace.c.switch, campaign_pace.c.next_at).where(
                    campaign_pace.c.campaign == campaign.id,
                    campaign_pace.c.switch.in_(list(self._intervals)),
                )
            ).all()
        )

    def _base(self, name: str, now: datetime) -> datetime:
        oldest = now - self._burst
        return max(self._next.get(name, oldest), oldest)

    def allowed(self, now: datetime) -> int:
        """How many calls may start now."""
        return min(
            0 if (base := self._base(name, now)) > now else (now - base) // interval + 1
            for name, interval in self._intervals.items()
        )

    def start(self, count: int, now: datetime) -> None:
        """Write down that ``count`` calls start."""
        for name, interval in self._intervals.items():
            self._next[name] = self._base(name, now) + count * interval
        statement = insert(campaign_pace)
        self._conn.execute(
            statement.on_conflict_do_update(
                index_elements=list(campaign_pace.primary_key),
                set_={"next_at": statement.excluded.next_at},
            ),
            [
                {"campaign": self._campaign, "switch": name, "next_at": self._next[name]}
                for name in self._intervals
            ],
        )

    def next_at(self, now: datetime) -> datetime:
        """When the next call may start."""
        return max(self._base(name, now) for name in self._intervals)
