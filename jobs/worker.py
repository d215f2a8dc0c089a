"""A consumer process: takes RQ's jobs, one after the other, for our consumer."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Mapping, Sequence

from redis import Redis
from redis.exceptions import RedisError
from rq import SimpleWorker, worker_registration
from rq.exceptions import DequeueTimeout
from rq.serializers import JSONSerializer
from rq.suspension import is_suspended
from rq.worker import WorkerStatus

from billing.clock import Clock
from billing.database import Database
from jobs.consumers import LEASE_S, Consumer, Handler, install
from jobs.handover import discard, rq_queue
from jobs.metrics import JobMetrics
from jobs.redis_client import connect
from jobs.retrying import Retrying
from jobs.stopping import Stop

_LONGEST_PAUSE_S = 10.0

# One wait for a job (s): the longest that a request to stop goes unnoticed by an idle consumer.
_WAIT_S = 1

# How often an idle consumer says that it lives (s).
_LISTED_S = 5.0

_log = logging.getLogger(__name__)


class _Worker(SimpleWorker):
    """Runs jobs in its own process, one at a time.

    RQ's usual worker forks for each job, which costs some ten milliseconds, a new database
    connection and a new font load for each bill image - and typst must not run in a fork of a
    process that has used it. What a fork protects from (a job that kills or hangs the process)
    the outbox's leases and RQ's alarm cover here.

    The loop is our own, too. RQ's waits for minutes, so its signal handler must break the wait
    off by an exception, which may hit just after a job was taken; and while a job runs the handler
    writes to Redis, which may be away (the error then ends the message in hand) or not answer. It
    also takes orders through Redis: to stop a job, to end. Here a signal sets a flag and nothing
    else, each wait is short, and whoever can write to Redis can hand over ids but give no orders.
    """

    # Lines of ours tell more, and masked.
    log_result_lifespan = False

    # RQ makes the longest wait for an answer of these two (s): a Redis that hangs is left soon.
    dequeue_timeout = _WAIT_S
    connection_timeout = _WAIT_S + 2

    def __init__(self, queues: Sequence[str], redis: Redis, name: str) -> None:
        super().__init__(
            [rq_queue(redis, queue) for queue in queues],
            connection=redis,
            name=name,
            serializer=JSONSerializer,
            log_job_description=False,
        )
        self._listed_at = 0.0

    def serve(self, asked: Stop) -> None:
        """Take jobs and see to them until asked to stop. Raises RedisError."""
        # RQ refuses a name that is listed. An entry of this name is of an earlier life that lost
        # Redis, or of a process with this number that was killed.
        self.connection.delete(self.key)
        for left in self.get_current_executions():
            # In hand when Redis was lost. Its row tells how it ended, while RQ would show it among
            # the failed in a few minutes.
            discard(self.connection, left.job_id)
        self.connection.delete(self.executions_key)
        self.register_birth()  # type: ignore[no-untyped-call]
        self._listed_at = time.monotonic()
        self.set_state(WorkerStatus.IDLE)
        while not asked.asked:
            self._stay_listed()
            if self.should_run_maintenance_tasks:
                self.run_maintenance_tasks()  # type: ignore[no-untyped-call]
            if is_suspended(self.connection):
                asked.wait(_WAIT_S)
                continue
            try:
                taken = self.queue_class.dequeue_any(
                    self.queues, _WAIT_S, self.connection, self.job_class, self.serializer
                )
            except DequeueTimeout:
                continue
            if taken is None:
                continue
            job, queue = taken
            if asked.asked:
                queue.push_job_id(job.id, at_front=True)
                queue.intermediate_queue.remove(job.id)
                break
            job.redis_server_version = self.get_redis_server_version()  # type: ignore[no-untyped-call]
            self.execute_job(job, queue)
        self.register_death()  # type: ignore[no-untyped-call]

    def _stay_listed(self) -> None:
        """Say now and then that we live, whole: a Redis that lost its memory lists us again."""
        if time.monotonic() - self._listed_at < _LISTED_S:
            return
        with self.connection.pipeline() as pipe:
            pipe.hset(self.key, mapping=self.serialize() | {"state": self.get_state()})
            worker_registration.register(self, pipe)
            self.heartbeat(pipeline=pipe)
            pipe.execute()
        self._listed_at = time.monotonic()


def run_consumer(
    queues: Sequence[str],
    *,
    database: Database,
    redis_url: str,
    clock: Clock,
    handlers: Mapping[str, Handler],
    retrying: Retrying = Retrying(),  # noqa: B008 - immutable
    lease_s: float = LEASE_S,
    metrics: JobMetrics | None = None,
) -> None:
    """See to the jobs of some queues (the first is served first) until SIGTERM or SIGINT.

    The row in hand is finished then, the others of its batch are given back; more signals change
    nothing. While Redis is away it is waited for. Must run in a process's main thread (signals),
    unpatched by gevent.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("a consumer needs its process's main thread")
    name = f"{'+'.join(queues)}-{socket.gethostname()}-{os.getpid()}"
    redis = connect(redis_url)
    stopping = Stop()
    consumer = Consumer(
        database,
        clock,
        redis,
        handlers,
        name=name,
        retrying=retrying,
        lease_s=lease_s,
        metrics=metrics,
    )
    install(consumer)

    def stop(*_: object) -> None:
        stopping.ask()
        consumer.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    logging.getLogger("rq.worker").setLevel(logging.WARNING)
    pause = 0.0
    while not stopping.asked:
        begun = time.monotonic()
        try:
            _Worker(queues, redis, name).serve(stopping)
        except RedisError as fault:
            if time.monotonic() - begun > _LONGEST_PAUSE_S:
                pause = 0.0
            if not pause:
                _log.warning("consumer: Redis is away (%s)", type(fault).__name__)
        except Exception:
            # RQ met something strange in Redis. Its job is out of the queue, and the relay hands
            # the row over again.
            _log.exception("consumer: begins anew")
        if not stopping.asked:
            pause = min(2 * pause or 0.1, _LONGEST_PAUSE_S)
            stopping.wait(pause)
    redis.close()
