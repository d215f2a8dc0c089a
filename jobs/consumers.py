"""Seeing to outbox rows: claim, do, mark.

An RQ job names one row. Its consumer claims that row and further due rows of the same queue in
one transaction, does one after the other, and marks each as soon as it is done.

**Sent once?** A row is claimed under a lease, so two consumers never work on one row at a time.
It is marked done right after its message was handed over. If the process dies between the two,
nobody can know whether the message left; the lease ends, and another consumer sends it again
*with the same key*: a gateway that honours idempotency keys (and the sandbox) drops the
repetition, and a mail bears the same Message-ID. Without such a gateway that one message comes
twice rather than not at all. Postings to the ledger are keyed in the database itself and happen
once whatever dies.

**Counted once.** A try counts when it is begun. The rows of a batch that were claimed and not
begun - the consumer was told to stop, those before them took long, the database went away - are
given back with the count that they had.
"""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from billing import outbox
from billing.clock import Clock
from billing.database import Database
from billing.errors import Unavailable
from billing.outbox import Job
from gateways.errors import Permanent, Temporary
from jobs.handover import JOB_TIMEOUT_S, show_failed, withdraw
from jobs.metrics import JobMetrics
from jobs.retrying import Retrying
from jobs.stopping import Stop

Handler = Callable[[Job], None]
"""Does what a row asks for. Raises Temporary or Permanent; must bear being called again."""

_BATCH = 20

# Longer than RQ lets a job run, so that a lease never ends under a working consumer's hands.
LEASE_S = JOB_TIMEOUT_S + 60.0

# No further row of a batch is begun after this time (s), which leaves the last one the rest.
_BATCH_S = JOB_TIMEOUT_S / 3

# How long (s) a consumer tries to say that something was done, and its pause between (s).
_MARK_S = JOB_TIMEOUT_S / 6
_MARK_PAUSE_S = 0.2

# A row that takes its consumer down with it (out of memory, say) is claimed again and again
# without ever coming to a verdict; after so many times the allowed tries it is set aside.
_FATAL = 2

_log = logging.getLogger(__name__)


class JobFailed(Exception):
    """Makes RQ show a row among its failed jobs; the text is the reason kept in the outbox."""


class Consumer:
    """Sees to the rows of any queue with the handlers it is given (by the row's kind).

    `name` tells consumers apart in the outbox; it must differ between processes.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        redis: Redis,
        handlers: Mapping[str, Handler],
        *,
        name: str,
        retrying: Retrying = Retrying(),  # noqa: B008 - immutable
        lease_s: float = LEASE_S,
        metrics: JobMetrics | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._redis = redis
        self._handlers = handlers
        self._name = name
        self._retrying = retrying
        self._lease_s = lease_s
        self._metrics = metrics or JobMetrics()
        self._begun = 0.0
        self._stopping = Stop()

    def stop(self) -> None:
        """Finish the row in hand and give back the others. May be called from a signal handler."""
        self._stopping.ask()

    def deliver(self, outbox_id: int) -> None:
        """See to a row, and to more of its queue while at it.

        Does nothing if the row is done, not due yet, or with another consumer. A row that had
        failed is tried anew: its job can only come from somebody who put it back in the queue.
        Raises JobFailed if this row (not another of the batch) is given up.
        """
        try:
            own = self._claim_one(outbox_id)
            if own is None and self._was_failed(outbox_id):
                own = self._claim_one(outbox_id)
            if own is None:
                return
            more: list[Job] = []
            if not self._stopping.asked:
                more = self._claim(queue=own.queue, limit=_BATCH - 1)
            if more:
                self._tell_redis(withdraw, own.queue, [job.id for job in more])
            failed = self._see_to([own, *more])
        except Unavailable:
            # The leases end by themselves, and the relay hands the rows over again.
            _log.warning("the database is away; the rows wait for it")
            return
        reason = failed.pop(own.id, None)
        for other, why in failed.items():
            self._tell_redis(show_failed, own.queue, other, why)
        if reason is not None:
            raise JobFailed(reason)

    def _claim_one(self, outbox_id: int) -> Job | None:
        claimed = self._claim(ids=[outbox_id], limit=1)
        return claimed[0] if claimed else None

    def _claim(self, **which: Any) -> list[Job]:
        now = self._clock.now()
        return outbox.claim(self._database, self._name, now, self._lease_s, **which)

    def _was_failed(self, outbox_id: int) -> bool:
        return outbox.retry_failed(self._database, self._clock.now(), ids=[outbox_id]) > 0

    def _see_to(self, jobs: list[Job]) -> dict[int, str]:
        """Do the rows in order; gives the reasons of those that were given up, by id."""
        failed: dict[int, str] = {}
        begun = time.monotonic()
        for place, job in enumerate(jobs):
            # The first is in hand already: RQ has taken its job for it.
            if place and (self._stopping.asked or time.monotonic() - begun > _BATCH_S):
                outbox.give_back(self._database, jobs[place:])
                break
            try:
                reason = self._do(job)
            except Unavailable:
                with contextlib.suppress(Unavailable):
                    outbox.give_back(self._database, jobs[place + 1 :])
                raise
            if reason is not None:
                failed[job.id] = reason
        return failed

    def _do(self, job: Job) -> str | None:
        """Do one row and mark it; gives the reason if it was given up."""
        self._begun = time.monotonic()
        if job.attempts > _FATAL * self._retrying.attempts:
            return self._give_up(job, "its consumers died")
        handler = self._handlers.get(job.kind)
        if handler is None:
            return self._give_up(job, f"nothing sees to {job.kind}")
        try:
            handler(job)
        except Permanent as fault:
            return self._give_up(job, fault.reason)
        except Temporary as fault:
            return self._put_off(job, fault.reason, fault.retry_after_s)
        except Unavailable:
            raise
        except Exception as fault:
            # A bug, or RQ's alarm for a job that hangs. Its text may hold personal data.
            return self._put_off(job, _place(fault), None)
        self._mark_done(job)
        self._count(job, "done")
        _log.info("job %s: %s done", job.id, job.kind)
        return None

    def _mark_done(self, job: Job) -> None:
        """Mark a row done, and wait for a database that is away: its effect has happened, and
        forgetting that would be the same message once more. Raises Unavailable in the end.
        """
        until = time.monotonic() + _MARK_S
        while True:
            try:
                outbox.done(self._database, [job], self._clock.now())
                return
            except Unavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(_MARK_PAUSE_S)

    def _put_off(self, job: Job, reason: str, at_least_s: float | None) -> str | None:
        now = self._clock.now()
        at = self._retrying.next_at(now, job.attempts, at_least_s=at_least_s)
        if at is None:
            return self._give_up(job, reason)
        outbox.retry_later(self._database, job, reason, at)
        self._count(job, "put_off")
        wait = (at - now).total_seconds()
        _log.warning("job %s: %s again in %.0f s: %s", job.id, job.kind, wait, reason)
        return None

    def _give_up(self, job: Job, reason: str) -> str:
        outbox.fail(self._database, job, reason, self._clock.now())
        self._count(job, "given_up")
        _log.error("job %s: %s given up: %s", job.id, job.kind, reason)
        return reason

    def _count(self, job: Job, result: str) -> None:
        # A kind that nobody knows is text from the database: labels are bounded.
        kind = job.kind if job.kind in self._handlers else "unknown"
        self._metrics.tried(job.queue, kind, result, time.monotonic() - self._begun)

    def _tell_redis(self, command: Callable[..., None], *arguments: object) -> None:
        """What makes the queues look right; the rows are right without it."""
        try:
            command(self._redis, *arguments)
        except RedisError as fault:
            _log.warning("Redis is away (%s)", type(fault).__name__)


def _place(fault: Exception) -> str:
    """The kind of an exception and where it arose, without its words."""
    frames = traceback.extract_tb(fault.__traceback__)
    last = frames[-1]
    return (
        f"{type(fault).__name__} in {last.name} ({last.filename.rsplit('/', 1)[-1]}:{last.lineno})"
    )


# RQ calls functions by their path, and SimpleWorker calls them in its own process, so the
# process's one consumer is found here.
_consumer: Consumer | None = None


def install(consumer: Consumer) -> None:
    """Make a consumer the one that `deliver` uses in this process."""
    global _consumer
    _consumer = consumer


def deliver(outbox_id: int) -> None:
    """The function of every RQ job. Raises JobFailed; RuntimeError outside a consumer process."""
    if _consumer is None:
        raise RuntimeError("this is no consumer process: start one with `callflows run`")
    _consumer.deliver(outbox_id)
