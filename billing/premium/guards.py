"""Fraud guards: unusual use of premium-rate lines, told with a reason, and partly stopped (D15).

A premium number earns its provider money for each call, so calls are made that nobody wants: by a
line that was stolen, by a provider's own callers, by machines. What looks like that becomes an
alert for a person, once in each window of an hour or a day; some alerts also stop the subject's
further calls for a while, until a person lets them go on. What a stopped caller has used is charged
as ever; a complaint can undo it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

from sqlalchemy import (
    ColumnElement,
    Connection,
    case,
    func,
    literal,
    literal_column,
    null,
    select,
    type_coerce,
    update,
)

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.types import BigInteger

from billing.clock import Clock
from billing.database import Database
from billing.premium.guard_limits import Limits
from billing.premium.schema import guard_alerts, premium_calls, premium_services, providers
from billing.schema import call_steps, calls, to_microseconds

Rule = Literal[
    "simultaneous",
    "calls",
    "minutes",
    "amount",
    "short_calls",
    "silent",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_CALL = premium_calls.c
_ALERT = guard_alerts.c
# Written out, not bound: a database takes a partial index only for a condition that it can read.
_LIVE = _CALL.status.in_([literal_column("'begun'"), literal_column("'connected'")])


@dataclass(frozen=True, slots=True)
class Block:
    """Why a call is not let through, and until when; None: only while it is so."""

    reason: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Alert:
    """What looked like fraud. ``subject`` is line:<id>, service:<number> or provider:<code>."""

    id: int
    rule: str
    subject: str
    reason: str
    at: datetime
    blocked_until: datetime | None
    seen_at: datetime | None
    seen_by: str | None


class HasId(Protocol):
    """What the guards need of a line or a service."""

    @property
    def id(self) -> int:
        """Its row's id."""
        ...


_SHORT_SAMPLE = 100


class Guards:
    """Watches premium calls, over one database."""

    def __init__(self, database: Database, clock: Clock, limits: Limits | None = None) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits or Limits()

    def admit(self, line: HasId, service: HasId, now: datetime) -> Block | None:
        """Return why this call must not be let through, before it costs anything; None: it may.

        What is found on the way becomes an alert.

        Raises:
            Unavailable: the database is locked or away.
        """
        block, alerts = self._database.query(
            lambda conn: self._admission(conn, line.id, service.id, now)
        )
        if alerts:
            self._database.write(lambda conn: _put(conn, alerts))
            if block is None:
                # A person may have let this very alert's subject go on.
                subjects = [alert["subject"] for alert in alerts]
                block = self._database.query(lambda conn: _blocked(conn, subjects, now))
        return block

    def crowded(self, line: HasId, call_id: str, now: datetime) -> Block | None:
        """Return why a call that is accepted must not begin beside the line's others; None: it may.

        Calls that are dialled together are all let in while none of them has begun: so they are
        counted again before one begins. ``call_id`` itself does not count.

        Raises:
            Unavailable: the database is locked or away.
        """
        found = self._database.query(lambda conn: self._crowd(conn, line.id, now, call_id))
        if found is None:
            return None
        block, alert = found
        self._database.write(lambda conn: _put(conn, [alert]))
        return block

    def look(self, now: datetime | None = None) -> list[str]:
        """Look at all lines, services, providers and running calls; return the new alerts' keys.

        Raises:
            Unavailable: the database is locked or away.
        """
        moment = now or self._clock.now()

        def read(conn: Connection) -> list[dict[str, Any]]:
            return [
                *self._lines(conn, moment, None),
                *self._services(conn, moment),
                *self._short(conn, moment, None),
                *self._silent(conn, moment),
            ]

        alerts = self._database.query(read)
        return self._database.write(lambda conn: _put(conn, alerts)) if alerts else []

    def listed(self, *, unseen: bool = False, limit: int = 100) -> list[Alert]:
        """Return alerts, latest first.

        Raises:
            Unavailable: the database is locked or away.
        """
        statement = select(
            _ALERT.id,
            _ALERT.rule,
            _ALERT.subject,
            _ALERT.reason,
            _ALERT.at,
            _ALERT.blocked_until,
            _ALERT.seen_at,
            _ALERT.seen_by,
        )
        if unseen:
            statement = statement.where(_ALERT.seen_at.is_(None))
        statement = statement.order_by(_ALERT.at.desc(), _ALERT.id.desc()).limit(limit)
        return self._database.query(lambda conn: [Alert(*row) for row in conn.execute(statement)])

    def seen(self, alerts: Iterable[int], by: str) -> int:
        """Write down who has looked at alerts; return how many nobody had.

        Raises:
            Unavailable: the database is locked or away; nothing was written.
        """
        statement = (
            update(guard_alerts)
            .where(_ALERT.id.in_(list(alerts)), _ALERT.seen_at.is_(None))
            .values(seen_at=self._clock.now(), seen_by=by)
        )
        return self._database.write(lambda conn: conn.execute(statement).rowcount)

    def unblock(self, subject: str, by: str) -> int:
        """Let a subject go on; return how many alerts had stopped it. They count as seen.

        What it did so far does not stop it again within the alert's hour or day.

        Raises:
            Unavailable: the database is locked or away; nothing was written.
        """
        now = self._clock.now()
        moment = literal(now, _ALERT.seen_at.type)
        statement = (
            update(guard_alerts)
            .where(_ALERT.subject == subject, _ALERT.blocked_until > now)
            .values(
                blocked_until=null(),
                seen_at=func.coalesce(_ALERT.seen_at, moment),
                seen_by=func.coalesce(_ALERT.seen_by, by),
            )
        )
        return self._database.write(lambda conn: conn.execute(statement).rowcount)

    # -- one call ---------------------------------------------------------------------------------

    def _admission(
        self, conn: Connection, line: int, service: int, now: datetime
    ) -> tuple[Block | None, list[dict[str, Any]]]:
        number, provider = conn.execute(
            select(premium_services.c.number, providers.c.code)
            .join(providers, providers.c.id == premium_services.c.provider)
            .where(premium_services.c.id == service)
        ).one()
        subjects = [f"line:{line}", f"service:{number}", f"provider:{provider}"]
        block = _blocked(conn, subjects, now)
        if block is not None:
            return block, []
        crowd = self._crowd(conn, line, now)
        if crowd is not None:
            block, alert = crowd
            return block, [alert]
        return None, [*self._lines(conn, now, line), *self._short(conn, now, line)]

    def _crowd(
        self, conn: Connection, line: int, now: datetime, but: str = ""
    ) -> tuple[Block, dict[str, Any]] | None:
        """As many calls of a line as may go on at a time, not counting ``but``, and the alert."""
        most = self._limits.simultaneous
        if not most:
            return None
        live = conn.execute(
            select(func.count())
            .select_from(premium_calls)
            .where(_CALL.line == line, _LIVE, _CALL.call_id != but)
        ).scalar_one()
        if live < most:
            return None
        reason = f"{live} calls at the same time from one line"
        alert = _alert("simultaneous", f"line:{line}", reason, now, _HOUR, None)
        return Block(reason, None), alert

    # -- velocity ---------------------------------------------------------------------------------

    def _lines(self, conn: Connection, now: datetime, line: int | None) -> list[dict[str, Any]]:
        limits = self._limits
        found = []
        for rule, window, most, column in (
            ("calls", _HOUR, limits.line_calls, func.count()),
            ("minutes", _DAY, limits.line_minutes, _minutes(now)),
            ("amount", _DAY, limits.line_amount, func.sum(func.coalesce(_CALL.amount, 0))),
        ):
            if not most:
                continue
            statement = (
                select(_CALL.line, column.label("total"))
                .where(_CALL.begun_at > now - window, _CALL.begun_at <= now)
                .group_by(_CALL.line)
                .having(column >= most)
            )
            if line is not None:
                statement = statement.where(_CALL.line == line)
            for row in conn.execute(statement):
                reason = _velocity(rule, int(row.total), window, most)
                found.append(
                    _alert(rule, f"line:{row.line}", reason, now, window, self._until(now, window))
                )
        return found

    def _services(self, conn: Connection, now: datetime) -> list[dict[str, Any]]:
        limits = self._limits
        rows = conn.execute(
            select(
                premium_services.c.number,
                providers.c.code,
                func.count().label("calls"),
                _minutes(now).label("minutes"),
                func.sum(func.coalesce(_CALL.amount, 0)).label("amount"),
            )
            .join(premium_services, premium_services.c.id == _CALL.service)
            .join(providers, providers.c.id == premium_services.c.provider)
            .where(_CALL.begun_at > now - _HOUR, _CALL.begun_at <= now)
            .group_by(premium_services.c.number, providers.c.code)
        ).all()
        totals: dict[str, dict[str, int]] = {}
        for row in rows:
            for subject in (f"service:{row.number}", f"provider:{row.code}"):
                total = totals.setdefault(subject, dict.fromkeys(("calls", "minutes", "amount"), 0))
                for rule in total:
                    total[rule] += int(row._mapping[rule])
        found = []
        for subject, total in sorted(totals.items()):
            for rule, count in total.items():
                most = getattr(limits, f"{subject.partition(':')[0]}_{rule}")
                if most and count >= most:
                    reason = _velocity(rule, count, _HOUR, most)
                    found.append(_alert(rule, subject, reason, now, _HOUR, None))
        return found

    # -- the shape of calls -----------------------------------------------------------------------

    def _short(self, conn: Connection, now: datetime, line: int | None) -> list[dict[str, Any]]:
        """Calls that end as soon as they have cost something, again and again."""
        limits, until = self._limits, self._until(now, _HOUR)
        short = (_CALL.status == "charged") & (_CALL.seconds <= limits.short_s)
        recent = (_CALL.begun_at > now - _HOUR) & (_CALL.begun_at <= now)
        found = []
        if limits.line_short:
            statement = (
                select(_CALL.line, premium_services.c.number, func.count().label("total"))
                .join(premium_services, premium_services.c.id == _CALL.service)
                .where(recent, short)
                .group_by(_CALL.line, premium_services.c.number)
                .having(func.count() >= limits.line_short)
            )
            if line is not None:
                statement = statement.where(_CALL.line == line)
            for row in conn.execute(statement):
                reason = (
                    f"{row.total} calls of at most {limits.short_s} s to {row.number} in an hour"
                )
                found.append(_alert("short_calls", f"line:{row.line}", reason, now, _HOUR, until))
        if line is not None or not limits.service_short_percent:
            return found
        charged = func.sum(case((_CALL.status == "charged", 1), else_=0))
        shorts = func.sum(case((short, 1), else_=0))
        statement = (
            select(premium_services.c.number, charged.label("charged"), shorts.label("short"))
            .join(premium_services, premium_services.c.id == _CALL.service)
            .where(recent)
            .group_by(premium_services.c.number)
            .having(charged >= _SHORT_SAMPLE)
            .having(shorts * 100 >= charged * limits.service_short_percent)
        )
        for row in conn.execute(statement):
            reason = (
                f"{row.short} of {row.charged} calls in an hour lasted {limits.short_s} s or less"
            )
            found.append(_alert("short_calls", f"service:{row.number}", reason, now, _HOUR, None))
        return found

    def _silent(self, conn: Connection, now: datetime) -> list[dict[str, Any]]:
        """Calls that are held open, though nobody does anything in them."""
        silent = timedelta(seconds=self._limits.silent_s)
        if not silent:
            return []
        rows = conn.execute(
            select(_CALL.call_id, _CALL.line, _CALL.connected_at, calls.c.started_at)
            .outerjoin(calls, calls.c.call_id == _CALL.call_id)
            .where(_LIVE, _CALL.status == "connected", _CALL.connected_at <= now - silent)
        ).all()
        return [
            _alert(
                "silent",
                f"line:{row.line}",
                f"call {row.call_id} is open for {(now - row.connected_at).seconds // 60} minutes,"
                " and nobody presses a key or speaks with a consultant",
                now,
                _DAY,
                None,
                about=row.call_id,
            )
            for row in rows
            if _last_sign(conn, row, now) <= now - silent
        ]

    def _until(self, now: datetime, window: timedelta) -> datetime:
        """Stopped at least as long as the alert stands for whatever else happens."""
        end = _EPOCH + ((now - _EPOCH) // window + 1) * window
        return max(end, now + timedelta(seconds=self._limits.block_s))


def _minutes(now: datetime) -> ColumnElement[Any]:
    """Minutes of use: what was counted of ended calls, what has passed of connected ones."""
    running = (to_microseconds(now) - type_coerce(_CALL.connected_at, BigInteger)) / 1_000_000
    seconds = case((_CALL.status == "connected", running), else_=func.coalesce(_CALL.seconds, 0))
    return func.sum(seconds) / 60


def _velocity(rule: str, count: int, window: timedelta, most: int) -> str:
    what = {"calls": "calls", "minutes": "minutes", "amount": "rials"}[rule]
    period = "an hour" if window == _HOUR else "a day"
    return f"{count} {what} in {period}; {most} are still usual"


def _last_sign(conn: Connection, call: Any, now: datetime) -> datetime:
    """When the caller last pressed a key or spoke with a consultant; else when connected."""
    last: datetime = call.connected_at
    if call.started_at is None:
        return last
    batches = conn.scalars(
        select(call_steps.c.steps)
        .where(call_steps.c.call_id == call.call_id)
        .order_by(call_steps.c.seq)
    )
    speaking = False
    for _, at_ms, _, kind, data in (step for batch in batches for step in json.loads(batch)):
        event = data.get("event")
        if kind == "pressed" or event in ("calling", "bridged"):
            last = max(last, call.started_at + timedelta(milliseconds=at_ms))
            speaking = event == "calling"
    return now if speaking else last


def _alert(
    rule: str,
    subject: str,
    reason: str,
    now: datetime,
    window: timedelta,
    blocked_until: datetime | None,
    *,
    about: str | None = None,
) -> dict[str, Any]:
    place = (now - _EPOCH) // window
    return {
        "key": f"{rule}:{subject}:{about or place}",
        "rule": rule,
        "subject": subject,
        "reason": reason,
        "at": now,
        "blocked_until": blocked_until,
    }


def _put(conn: Connection, alerts: list[dict[str, Any]]) -> list[str]:
    statement = (
        insert(guard_alerts)
        .on_conflict_do_nothing(index_elements=[_ALERT.key])
        .returning(_ALERT.key)
    )
    return sorted(key for alert in alerts for key in conn.scalars(statement, alert))


def _blocked(conn: Connection, subjects: list[str], now: datetime) -> Block | None:
    row = conn.execute(
        select(_ALERT.reason, _ALERT.blocked_until)
        .where(_ALERT.subject.in_(subjects), _ALERT.blocked_until > now)
        .order_by(_ALERT.blocked_until.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Block(*row)
