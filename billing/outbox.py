"""The outbox: what must happen outside, kept in the same transaction as the fact that causes it.

A row is pending until it is done or has failed for good. A worker claims rows for a time (lease);
when it dies the lease ends and another gets them. Delivery is therefore at least once, and every
row carries the key by which the receiving side can tell a repetition.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    type_coerce,
    update,
)

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing.database import Database
from billing.schema import outbox

Queue = Literal["sms", "email", "billing", "reports"]

QUEUES: tuple[Queue, ...] = ("sms", "email", "billing", "reports")

LONGEST_REASON = 500
"""Characters of a failure's reason that are kept."""


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed row; ``attempts`` counts this claim too. ``payload`` is as it was put."""

    id: int
    key: str
    queue: Queue
    kind: str
    payload: dict[str, Any]
    attempts: int
    claimed_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Due:
    """A row that waits for somebody to claim it now.

    One that has been claimed in the meantime differs from before, in attempts or in availability.
    """

    id: int
    queue: Queue
    attempts: int
    available_at: datetime


@dataclass(frozen=True, slots=True)
class Depth:
    """How full a queue is: rows pending, rows due now, age of the oldest pending (s), failed."""

    pending: int
    due: int
    oldest_age_s: float | None
    failed: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A row that failed for good; without payload, which may hold personal data."""

    id: int
    key: str
    queue: Queue
    kind: str
    attempts: int
    reason: str
    created_at: datetime
    failed_at: datetime


# Whether a row comes back says whether it was written; a row count beside RETURNING, which
# SQLAlchemy adds on PostgreSQL by itself, would not.
_PUT = insert(outbox).on_conflict_do_nothing(index_elements=[outbox.c.key]).returning(outbox.c.id)


def put(
    conn: Connection,
    key: str,
    queue: Queue,
    kind: str,
    payload: dict[str, Any],
    now: datetime,
    available_at: datetime | None = None,
) -> bool:
    """Write a row in the caller's transaction; return False when ``key`` exists already.

    Args:
        conn: a write transaction.
        key: says which effect this is; the same key is the same effect.
        queue: who does it.
        kind: what it is, ``sms.bill`` for instance.
        payload: ids and destination; a JSON object.
        now: the moment it is written.
        available_at: not to be done before; at once when None.
    """
    row = conn.execute(
        _PUT,
        {
            "key": key,
            "queue": queue,
            "kind": kind,
            "payload": json.dumps(payload, ensure_ascii=False, separators=(",", ":")),
            "available_at": available_at or now,
            "created_at": now,
        },
    ).one_or_none()
    return row is not None


# Written out, not bound: a database takes a partial index only for a condition that it can read.
_PENDING = outbox.c.status == literal_column("'pending'")
_FAILED = outbox.c.status == literal_column("'failed'")


def _is_due(now: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    return and_(
        _PENDING,
        outbox.c.available_at <= now,
        or_(outbox.c.claimed_until.is_(None), outbox.c.claimed_until <= now),
    )


def _selected(queue: Queue | None, ids: Sequence[int] | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if queue is not None:
        conditions.append(outbox.c.queue == queue)
    if ids is not None:
        conditions.append(outbox.c.id.in_(ids))
    return conditions


def claim(
    database: Database,
    worker: str,
    now: datetime,
    lease_s: float,
    *,
    queue: Queue | None = None,
    ids: Sequence[int] | None = None,
    limit: int = 100,
) -> list[Job]:
    """Claim rows that are due, oldest first; no two claimers ever get the same row.

    Args:
        database: where.
        worker: the claimer's name.
        now: the moment; rows available by then and not under a live lease are taken.
        lease_s: seconds until others may take them.
        queue: only this queue's.
        ids: only these.
        limit: at most so many.

    Raises:
        Unavailable: the database is locked or away.
    """
    chosen = (
        select(outbox.c.id)
        .where(_is_due(now), *_selected(queue, ids))
        .order_by(outbox.c.available_at, outbox.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)  # PostgreSQL; on SQLite there is one writer
        # A CTE is run once; as a subquery PostgreSQL might run it again and claim past the limit.
        .cte("chosen")
    )
    statement = (
        update(outbox)
        .where(outbox.c.id.in_(select(chosen.c.id)))
        .values(
            claimed_until=now + timedelta(seconds=lease_s),
            claimed_by=worker,
            attempts=outbox.c.attempts + 1,
        )
        .returning(
            outbox.c.id,
            outbox.c.key,
            outbox.c.queue,
            outbox.c.kind,
            outbox.c.payload,
            outbox.c.attempts,
            outbox.c.claimed_by,
            outbox.c.created_at,
        )
    )

    def work(conn: Connection) -> list[Job]:
        return [
            Job(row.id, row.key, row.queue, row.kind, json.loads(row.payload), *row[5:])
            for row in conn.execute(statement)
        ]

    return sorted(database.write(work), key=lambda job: job.id)


def done(database: Database, jobs: Iterable[Job], now: datetime) -> int:
    """Mark jobs done; return how many were still pending.

    A worker whose lease has ended may say so too: the effect has happened, and saying it keeps the
    next claimer from repeating it.

    Raises:
        Unavailable: the database is locked or away.
    """
    finished = list(jobs)
    return database.write(lambda conn: done_in(conn, finished, now)) if finished else 0


def done_in(conn: Connection, jobs: Iterable[Job], now: datetime) -> int:
    """Mark jobs done in the caller's transaction; return how many were still pending."""
    result = conn.execute(
        update(outbox)
        .where(outbox.c.id.in_([job.id for job in jobs]), _PENDING)
        .values(status="done", done_at=now, claimed_until=None, claimed_by=None)
    )
    return result.rowcount


def _still_held(job: Job) -> list[ColumnElement[bool]]:
    # A claim is worker and attempt: one whose lease has ended cannot undo the next one's work.
    return [
        outbox.c.id == job.id,
        _PENDING,
        outbox.c.claimed_by == job.claimed_by,
        outbox.c.attempts == job.attempts,
    ]


def retry_later(database: Database, job: Job, reason: str, at: datetime) -> bool:
    """Give a job back, to be done again from ``at`` on; False when the claim is no longer held.

    Raises:
        Unavailable: the database is locked or away.
    """
    statement = (
        update(outbox)
        .where(*_still_held(job))
        .values(
            available_at=at,
            claimed_until=None,
            claimed_by=None,
            reason=reason[:LONGEST_REASON],
        )
    )
    return database.write(lambda conn: conn.execute(statement).rowcount == 1)


def give_back(database: Database, jobs: Iterable[Job]) -> int:
    """Let go of jobs that were not begun; return how many were still held.

    The claim does not count as an attempt, and the rows keep their places in the queue.

    Raises:
        Unavailable: the database is locked or away.
    """
    statements = [
        update(outbox)
        .where(*_still_held(job))
        .values(
            attempts=outbox.c.attempts - 1,
            # By the smallest step: so the relay sees that its job of before is used up.
            available_at=type_coerce(outbox.c.available_at, BigInteger) - 1,
            claimed_until=None,
            claimed_by=None,
        )
        for job in jobs
    ]
    return database.write(lambda conn: sum(conn.execute(one).rowcount for one in statements))


def fail(database: Database, job: Job, reason: str, now: datetime) -> bool:
    """Put a job on the failed list for good; False when the claim is no longer held.

    Raises:
        Unavailable: the database is locked or away.
    """
    statement = (
        update(outbox)
        .where(*_still_held(job))
        .values(
            status="failed",
            reason=reason[:LONGEST_REASON],
            done_at=now,
            claimed_until=None,
            claimed_by=None,
        )
    )
    return database.write(lambda conn: conn.execute(statement).rowcount == 1)


def retry_failed(
    database: Database,
    now: datetime,
    *,
    queue: Queue | None = None,
    ids: Sequence[int] | None = None,
) -> int:
    """Make failed rows pending again, their attempts counted anew; return how many.

    Raises:
        Unavailable: the database is locked or away.
    """
    statement = (
        update(outbox)
        .where(_FAILED, *_selected(queue, ids))
        .values(status="pending", attempts=0, available_at=now, done_at=None)
    )
    return database.write(lambda conn: conn.execute(statement).rowcount)


def due(
    database: Database, now: datetime, limit: int = 1000, *, queue: Queue | None = None
) -> list[Due]:
    """Return rows that nobody holds and that could be done now, oldest first: for the relay.

    Of one queue, or of all.

    Raises:
        Unavailable: the database is locked or away.
    """
    statement = (
        select(outbox.c.id, outbox.c.queue, outbox.c.attempts, outbox.c.available_at)
        .where(_is_due(now), *_selected(queue, None))
        .order_by(outbox.c.available_at, outbox.c.id)
        .limit(limit)
    )
    return database.query(lambda conn: [Due(*row) for row in conn.execute(statement)])


def first_written(conn: Connection) -> datetime | None:
    """Return when the oldest row that is still there was written; None if there is none."""
    statement = select(outbox.c.created_at).order_by(outbox.c.id).limit(1)
    return conn.execute(statement).scalar_one_or_none()


def failed_among(database: Database, ids: Sequence[int]) -> set[int]:
    """Return those of some ids whose rows have failed for good.

    Raises:
        Unavailable: the database is locked or away.
    """
    statement = select(outbox.c.id).where(_FAILED, *_selected(None, ids))
    return database.query(lambda conn: set(conn.scalars(statement)))


_PENDING_BY_QUEUE = (
    select(
        outbox.c.queue,
        func.count(),
        func.count().filter(_is_due(bindparam("now", type_=outbox.c.available_at.type))),
        func.min(outbox.c.created_at),
    )
    .where(_PENDING)
    .group_by(outbox.c.queue)
)
_FAILED_BY_QUEUE = select(outbox.c.queue, func.count()).where(_FAILED).group_by(outbox.c.queue)


def depths(database: Database, now: datetime) -> dict[Queue, Depth]:
    """Return how full each queue is; all four are always there.

    Raises:
        Unavailable: the database is locked or away.
    """

    def work(conn: Connection) -> tuple[dict[Queue, tuple[Any, ...]], dict[Queue, int]]:
        pending = {row[0]: tuple(row[1:]) for row in conn.execute(_PENDING_BY_QUEUE, {"now": now})}
        return pending, {row[0]: row[1] for row in conn.execute(_FAILED_BY_QUEUE)}

    pending_by_queue, failed_by_queue = database.query(work)
    found: dict[Queue, Depth] = {}
    for queue in QUEUES:
        pending, due_now, oldest = pending_by_queue.get(queue, (0, 0, None))
        age = None if oldest is None else max(0.0, (now - oldest).total_seconds())
        found[queue] = Depth(pending, due_now, age, failed_by_queue.get(queue, 0))
    return found


def failures(database: Database, queue: Queue | None = None, limit: int = 100) -> list[Failure]:
    """Return the rows that failed for good, latest first.

    Raises:
        Unavailable: the database is locked or away.
    """
    statement = (
        select(
            outbox.c.id,
            outbox.c.key,
            outbox.c.queue,
            outbox.c.kind,
            outbox.c.attempts,
            outbox.c.reason,
            outbox.c.created_at,
            outbox.c.done_at,
        )
        .where(_FAILED, *_selected(queue, None))
        .order_by(outbox.c.done_at.desc(), outbox.c.id.desc())
        .limit(limit)
    )
    return database.query(lambda conn: [Failure(*row) for row in conn.execute(statement)])
