"""Outbox rows as RQ jobs: how a job is named, what is in it, and when it counts as handed over.

An RQ job is only a nudge to look at a row. It holds the row's id and nothing else, so nothing
personal is in Redis or on the queue dashboard (A9), and losing it loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from redis import Redis
from rq import Queue as RqQueue
from rq.exceptions import NoSuchJobError
from rq.job import Job as RqJob
from rq.job import JobStatus
from rq.serializers import JSONSerializer

from billing.outbox import Due, Queue

# By its path, so that whoever hands over need not load what delivers.
DELIVER = "jobs.consumers.deliver"

# A job that hangs is ended by RQ after this time (s); a lease is longer (see consumers).
JOB_TIMEOUT_S = 120

# How long failed jobs stay on the dashboard. The outbox keeps its failed rows for ever.
_FAILED_KEPT_S = 30 * 86400


def job_id(outbox_id: int) -> str:
    """The RQ job of a row: one row, one id, however often it is handed over."""
    return f"outbox-{outbox_id}"


def rq_queue(redis: Redis, name: str) -> RqQueue:
    """An RQ queue that holds its arguments as JSON: what comes from Redis is never unpickled."""
    return RqQueue(name, connection=redis, serializer=JSONSerializer)


def enqueue(redis: Redis, queue: Queue, rows: Sequence[Due], *, renew: Iterable[int] = ()) -> int:
    """Hand over rows of one queue, those handed over already excepted; gives how many were not.

    A job that waits in the queue is left alone. One that is elsewhere (with a consumer, failed)
    is put back into the queue if the row has been tried before - then that consumer died, or a
    person asked for another try - or if its id is in `renew`. Raises RedisError.
    """
    target = rq_queue(redis, queue)
    with redis.pipeline(transaction=False) as pipe:
        for row in rows:
            pipe.hget(RqJob.key_for(job_id(row.id)), "status")
        states = [None if raw is None else raw.decode() for raw in pipe.execute()]
    waiting: set[str] = set()
    if any(state in (JobStatus.QUEUED, JobStatus.STARTED) for state in states):
        waiting = set(target.get_job_ids())
    renew = set(renew)
    missing: list[Due] = []
    for row, state in zip(rows, states, strict=True):
        if state is not None:
            busy = state in (JobStatus.QUEUED, JobStatus.STARTED)
            if job_id(row.id) in waiting or (busy and not row.attempts and row.id not in renew):
                continue
            discard(redis, job_id(row.id))
        missing.append(row)
    if missing:
        target.enqueue_many(
            [RqQueue.prepare_data(DELIVER, (row.id,), **_traits(queue, row.id)) for row in missing]
        )
    return len(missing)


def withdraw(redis: Redis, queue: str, outbox_ids: Sequence[int]) -> None:
    """Take away jobs, waiting or failed, whose rows are being seen to. Raises RedisError."""
    target = rq_queue(redis, queue)
    with redis.pipeline(transaction=False) as pipe:
        for outbox_id in outbox_ids:
            pipe.lrem(target.key, 1, job_id(outbox_id))
            pipe.zrem(target.failed_job_registry.key, job_id(outbox_id))
        removed = pipe.execute()
        # A job that another consumer has taken in the meantime is that consumer's to end.
        for outbox_id, waited, failed in zip(outbox_ids, removed[::2], removed[1::2], strict=True):
            if waited or failed:
                pipe.delete(RqJob.key_for(job_id(outbox_id)))
        pipe.execute()


def show_failed(redis: Redis, queue: str, outbox_id: int, reason: str) -> None:
    """Show a row among RQ's failed jobs, where operations look and try again. Raises RedisError."""
    target = rq_queue(redis, queue)
    job = target.create_job(
        DELIVER, (outbox_id,), status=JobStatus.FAILED, **_traits(queue, outbox_id)
    )
    job.ended_at = datetime.now(UTC)
    with redis.pipeline() as pipe:
        pipe.lrem(target.key, 1, job.id)
        # Saves the job, adds it to the failed ones and keeps the reason.
        job._handle_failure(reason, pipe)
        pipe.execute()


def discard(redis: Redis, job: str) -> None:
    """Forget a job by its id, wherever it is. Raises RedisError."""
    try:
        RqJob.fetch(job, connection=redis, serializer=JSONSerializer).delete()
    except NoSuchJobError:
        # A hash without content is left by a consumer's last sign of life.
        redis.delete(RqJob.key_for(job))


def _traits(queue: str, outbox_id: int) -> dict[str, Any]:
    """What every job has: a description without personal data; finished, it vanishes (its row
    tells the rest); failed, it stays visible.
    """
    return {
        "job_id": job_id(outbox_id),
        "description": f"{queue} #{outbox_id}",
        "timeout": JOB_TIMEOUT_S,
        "result_ttl": 0,
        "failure_ttl": _FAILED_KEPT_S,
    }
