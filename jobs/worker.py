"""A consumer process: RQ's loop around our consumer."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from redis import Redis
from redis.exceptions import RedisError
from rq import SimpleWorker
from rq.exceptions import StopRequested
from rq.serializers import JSONSerializer

from billing.clock import Clock
from billing.database import Database
from jobs.consumers import LEASE_S, Consumer, Handler, install
from jobs.handover import rq_queue
from jobs.redis_client import connect
from jobs.retrying import Retrying
from jobs.stopping import Stop

_LONGEST_PAUSE_S = 10.0

_log = logging.getLogger(__name__)


class _Worker(SimpleWorker):
    """Runs jobs in its own process, one at a time.

    RQ's usual worker forks for each job, which costs some ten milliseconds, a new database
    connection and a new font load for each bill image - and typst must not run in a fork of a
    process that has used it. What a fork protects from (a job that kills or hangs the process)
    the outbox's leases and RQ's alarm cover here.
    """

    # Lines of ours tell more, and masked.
    log_result_lifespan = False

    max_connection_wait_time = _LONGEST_PAUSE_S

    def __init__(
        self, queues: Sequence[str], redis: Redis, name: str, stop: Callable[[], None], asked: Stop
    ) -> None:
        super().__init__(
            [rq_queue(redis, queue) for queue in queues],
            connection=redis,
            name=name,
            serializer=JSONSerializer,
            log_job_description=False,
        )
        self._stop = stop
        self._asked = asked

    def check_for_suspension(self, burst: bool) -> None:
        """RQ's first act in each round of its loop: not to begin one after a request to stop.

        A signal between the worker's registration and RQ's own handlers reaches ours only, and
        RQ would go on to wait for a job.
        """
        if self._asked.asked:
            raise StopRequested
        super().check_for_suspension(burst)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        self._stop()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]


def run_consumer(
    queues: Sequence[str],
    *,
    database: Database,
    redis_url: str,
    clock: Clock,
    handlers: Mapping[str, Handler],
    retrying: Retrying = Retrying(),  # noqa: B008 - immutable
    lease_s: float = LEASE_S,
) -> None:
    """See to the jobs of some queues (the first is served first) until SIGTERM or SIGINT.

    The row in hand is finished then, the others of its batch are given back. While Redis is away
    it is waited for. Must run in a process's main thread (signals), unpatched by gevent.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("a consumer needs its process's main thread")
    # Registered by RQ afresh after each loss of Redis, so the name must not be taken again.
    name = f"{'+'.join(queues)}-{socket.gethostname()}-{os.getpid()}"
    redis = connect(redis_url)
    stopping = Stop()
    consumer = Consumer(
        database, clock, redis, handlers, name=name, retrying=retrying, lease_s=lease_s
    )
    install(consumer)

    def stop(*_: object) -> None:
        stopping.ask()
        consumer.stop()

    logging.getLogger("rq.worker").setLevel(logging.WARNING)
    pause = 0.0
    lives = 0
    while not stopping.asked:
        # RQ sets its own while it works.
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        lives += 1
        try:
            begun = time.monotonic()
            _Worker(queues, redis, f"{name}-{lives}", stop, stopping).work(logging_level="WARNING")
            pause = 0.0 if time.monotonic() - begun > _LONGEST_PAUSE_S else pause
        except RedisError as fault:
            if not pause:
                _log.warning("consumer: Redis is away (%s)", type(fault).__name__)
        if not stopping.asked:
            # The loop ends by itself only because of Redis.
            pause = min(2 * pause or 0.1, _LONGEST_PAUSE_S)
            stopping.wait(pause)
