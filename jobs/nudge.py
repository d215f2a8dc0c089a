"""Waking the relay: "there is something new in the outbox".

A nudge only saves the wait until the relay's next look; losing one loses nothing. So it never
blocks, never raises, and a hundred of them within a moment are one.
"""

from __future__ import annotations

import logging
import threading
import time

from redis import Redis
from redis.exceptions import RedisError

from jobs.redis_client import connect

LIST = "callflows:nudge"

# Calls end at hundreds a second: one command for all nudges of this many seconds.
_GATHER_S = 0.05
_AWAY_S = 1.0

_log = logging.getLogger(__name__)


class Nudger:
    """Nudges the relay from a process that writes to the outbox.

    The sending is done by a background thread, which in a gevent-patched worker is a greenlet;
    it starts with the first nudge, so an instance may be made before a fork.
    """

    def __init__(self, redis_url: str) -> None:
        # Built here, so that a wrong URL is found at start; connecting is left to the thread.
        self._redis = connect(redis_url, timeout_s=1.0, answer_s=1.0)
        self._wanted = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def nudge(self) -> None:
        """Say that something is in the outbox. Costs a microsecond."""
        self._wanted.set()
        if self._thread is None:
            self._start()

    def close(self) -> None:
        """Stop the background thread, if it runs."""
        self._closed = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="nudger", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        away = False
        while True:
            self._wanted.wait()
            if self._closed:
                return
            self._wanted.clear()
            try:
                send_nudge(self._redis)
                away = False
            except RedisError as fault:
                # Dropped, not repeated: the relay looks by itself before long.
                if not away:
                    _log.warning("cannot nudge the relay: Redis is away (%s)", type(fault).__name__)
                away = True
            time.sleep(_AWAY_S if away else _GATHER_S)


def send_nudge(redis: Redis) -> None:
    """One nudge; the list never holds more than one. Raises RedisError."""
    with redis.pipeline(transaction=False) as pipe:
        pipe.lpush(LIST, 1)
        pipe.ltrim(LIST, 0, 0)
        pipe.execute()


def wait_for_nudge(redis: Redis, timeout_s: float) -> bool:
    """Wait until somebody nudges, at most `timeout_s` seconds; True if so. Raises RedisError."""
    return redis.brpop([LIST], timeout=timeout_s) is not None
