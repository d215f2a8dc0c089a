"""What operations see and do: how full the queues are, what failed and why, try again."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from redis.exceptions import RedisError
from rq import SimpleWorker

from billing import outbox
from billing.clock import Clock
from billing.database import Database
from billing.outbox import Failure, Queue
from jobs.handover import rq_queue
from jobs.nudge import send_nudge
from jobs.redis_client import connect

# A person may type any number; beyond this the database raises instead of finding nothing.
_LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class QueueState:
    """One queue: rows `pending` (of which `due` now), age of the oldest (s), rows given up, and
    the jobs that wait in Redis and consumers that serve the queue (None: Redis is away).
    """

    name: Queue
    pending: int
    due: int
    oldest_age_s: float | None
    failed: int
    waiting: int | None
    consumers: int | None


class Queues:
    """The queues as the database and Redis show them. Methods raise Unavailable."""

    def __init__(self, database: Database, redis_url: str, clock: Clock) -> None:
        self._database = database
        self._redis = connect(redis_url, timeout_s=2.0, answer_s=5.0)
        self._clock = clock

    def states(self) -> list[QueueState]:
        """All four queues, also while Redis is away."""
        depths = outbox.depths(self._database, self._clock.now())
        return [
            QueueState(
                name,
                depth.pending,
                depth.due,
                depth.oldest_age_s,
                depth.failed,
                *self._redis_of(name),
            )
            for name, depth in depths.items()
        ]

    def failures(self, queue: Queue | None = None, limit: int = 100) -> list[Failure]:
        """The rows that were given up, latest first, with reasons and without personal data."""
        return outbox.failures(self._database, queue, limit)

    def retry(self, *, queue: Queue | None = None, ids: Sequence[int] | None = None) -> int:
        """Try failed rows again: those of a queue, those with these ids, or all; gives how many.

        An id whose row has not failed changes nothing; `not_failed` names those beforehand.
        """
        if ids is not None:
            ids = [one for one in ids if one <= _LARGEST_ID]
        count = outbox.retry_failed(self._database, self._clock.now(), queue=queue, ids=ids)
        if count:
            # Without Redis there is nobody to nudge: the relay finds them when it is back.
            with contextlib.suppress(RedisError):
                send_nudge(self._redis)
        return count

    def not_failed(self, ids: Sequence[int]) -> list[int]:
        """Those of some ids that `retry` would leave alone, in order: done, pending, not there."""
        possible = [one for one in ids if one <= _LARGEST_ID]
        failed = outbox.failed_among(self._database, possible)
        return [one for one in dict.fromkeys(ids) if one not in failed]

    def _redis_of(self, name: str) -> tuple[int | None, int | None]:
        queue = rq_queue(self._redis, name)
        try:
            return queue.count, SimpleWorker.count(queue=queue)
        except RedisError:
            return None, None
