"""The day in figures, for operations and the billing office."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, Select, func, literal_column, select

from billing import cdrs
from billing.cdr_matching import mismatches
from billing.database import Database
from billing.schema import calls, entries, outbox, payments, postings


def daily(
    database: Database, day: date, timezone: str = "Asia/Tehran", *, now: datetime | None = None
) -> dict[str, Any]:
    """Return the figures of a civil day; counts, and money in rials. No personal data.

    - ``calls``: ``count`` of those begun; ``outcomes`` and ``methods`` (ways to pay) by name;
    - ``messages``: by kind of job of the queues sms and email, how many ``done`` and ``failed``;
    - ``payments``: received, by channel: ``count`` and ``amount``;
    - ``posted``: moved in the ledger, by kind of posting: ``count`` of postings and ``amount``;
    - ``parked``: waiting for a person now, whatever day they came: ``count`` and ``amount``;
    - ``cdrs``: call records of the switches: ``count``, and ``mismatches`` with the journals by
      kind (see `billing.cdr_matching`) as of ``now`` (by default the end of the day).

    Raises:
        ValueError: the time zone is unknown.
        Unavailable: the database is locked or away.
    """
    try:
        zone = ZoneInfo(timezone)
    except (KeyError, OSError) as error:
        raise ValueError(f"unknown time zone: {timezone}") from error
    span = (
        datetime.combine(day, time(), zone).astimezone(UTC),
        datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC),
    )

    def work(conn: Connection) -> dict[str, Any]:
        return {
            "day": day.isoformat(),
            "timezone": timezone,
            "calls": _calls(conn, span),
            "messages": _messages(conn, span),
            "payments": _by_name(
                conn,
                select(payments.c.channel, func.count(), func.sum(payments.c.amount))
                .where(*_within(payments.c.received_at, span))
                .group_by(payments.c.channel)
                .order_by(payments.c.channel),
            ),
            "posted": _by_name(
                conn,
                select(
                    postings.c.kind,
                    func.count(postings.c.id.distinct()),
                    func.sum(entries.c.amount),
                )
                .select_from(postings.join(entries, entries.c.posting == postings.c.id))
                .where(*_within(postings.c.at, span))
                .group_by(postings.c.kind)
                .order_by(postings.c.kind),
            ),
            "parked": _parked(conn),
        }

    found = mismatches(database, *span, now or span[1], limit=0)
    return database.query(work) | {
        "cdrs": {
            "count": cdrs.count(database, *span),
            "mismatches": {kind: number for kind, number in found.counts.items() if number},
        }
    }


def _within(
    column: ColumnElement[Any], span: tuple[datetime, datetime]
) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return column >= span[0], column < span[1]


def _calls(conn: Connection, span: tuple[datetime, datetime]) -> dict[str, Any]:
    outcomes: Counter[str] = Counter()
    methods: Counter[str] = Counter()
    # Grouped by the combination of methods, of which there are few.
    for outcome, chosen, count in conn.execute(
        select(calls.c.outcome, calls.c.methods, func.count())
        .where(*_within(calls.c.started_at, span))
        .group_by(calls.c.outcome, calls.c.methods)
    ):
        outcomes[outcome or "unknown"] += count
        for method in filter(None, chosen.split(",")):
            methods[method] += count
    return {
        "count": outcomes.total(),
        "outcomes": dict(sorted(outcomes.items())),
        "methods": dict(sorted(methods.items())),
    }


def _messages(conn: Connection, span: tuple[datetime, datetime]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for kind, status, count in conn.execute(
        select(outbox.c.kind, outbox.c.status, func.count())
        .where(*_within(outbox.c.done_at, span), outbox.c.queue.in_(("sms", "email")))
        .group_by(outbox.c.kind, outbox.c.status)
        .order_by(outbox.c.kind)
    ):
        found.setdefault(kind, {"done": 0, "failed": 0})[status] = count
    return found


def _by_name(conn: Connection, statement: Select[str, int, int]) -> dict[str, dict[str, int]]:
    # PostgreSQL's sum of BIGINT is a Decimal.
    return {
        name: {"count": count, "amount": int(amount)}
        for name, count, amount in conn.execute(statement)
    }


def _parked(conn: Connection) -> dict[str, int]:
    count, amount = conn.execute(
        select(func.count(), func.coalesce(func.sum(payments.c.amount), 0)).where(
            payments.c.status == literal_column("'parked'")
        )
    ).one()
    return {"count": count, "amount": int(amount)}
