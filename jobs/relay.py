"""The relay: hands what is due in the outbox to RQ.

The outbox is the truth and Redis only carries nudges, so the relay asks two questions over and
over: which rows are due, and has each of them its job? It wakes at a nudge and looks at the
latest after `poll_s` seconds, which is how a row is found whose writer was killed before its
nudge, whose time to be tried again has come, or whose consumer died (its lease has ended).
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Callable

from redis import Redis
from redis.exceptions import RedisError

from billing import outbox
from billing.clock import Clock
from billing.database import Database
from billing.errors import Unavailable
from billing.outbox import QUEUES, Due, Queue
from jobs.handover import enqueue
from jobs.nudge import wait_for_nudge
from jobs.redis_client import connect
from jobs.stopping import Stop

LEADER = "callflows:relay"

# Rows of a queue in Redis at most; what is behind them waits in the outbox, where nothing is
# lost. For each queue apart, so that a flood of SMS does not hold up payments.
_WINDOW = 2000

_GATHER_S = 0.02
_LONGEST_PAUSE_S = 30.0

_log = logging.getLogger(__name__)


class Relay:
    """One relay works, any others stand by: the one that holds a key in Redis (with an expiry).

    The same key tells a Redis that lost its memory (flushed, restarted without its file, another
    master): the key is not ours any more, and then everything that is due is handed over again.
    `chores` are called at each look, such as asking for the day's report.
    """

    def __init__(
        self,
        database: Database,
        redis_url: str,
        clock: Clock,
        *,
        poll_s: float = 1.0,
        recheck_s: float = 30.0,
        chores: Callable[[], object] | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._poll_s = poll_s
        # How long a job may be with a consumer that has not claimed its row before it counts as
        # lost. The consumer claims first of all, so only a death between lasts that long.
        self._recheck_s = recheck_s
        self._chores = chores
        self._leader_ms = int(1000 * max(10.0, 5 * poll_s))
        self._redis: Redis = connect(redis_url, answer_s=poll_s + 5.0)
        self._name = secrets.token_hex(8)
        self._leads = False
        # Rows handed over: what was due, and when by the monotonic clock we last made sure.
        self._handed: dict[int, tuple[Due, float]] = {}
        self._stopping = Stop()

    def run(self) -> None:
        """Work until `stop` is called. Redis or database away is waited for, not raised."""
        away = ""
        pause = 0.0
        while not self._stopping.asked:
            try:
                self.look()
                if away:
                    _log.info("relay: %s is back", away)
                away, pause = "", 0.0
                if self._leads:
                    wait_for_nudge(self._redis, self._poll_s)
                    # Calls end in bursts: one look for all nudges of a moment.
                    self._stopping.wait(_GATHER_S)
                else:
                    # A nudge taken by a relay that stands by would be lost for the one that works.
                    self._stopping.wait(self._poll_s)
            except (RedisError, Unavailable) as fault:
                self._handed.clear()
                what = "the database" if isinstance(fault, Unavailable) else "Redis"
                if what != away:
                    _log.warning("relay: %s is away (%s)", what, type(fault).__name__)
                away = what
                pause = min(2 * pause or 0.1, _LONGEST_PAUSE_S, 10 * self._poll_s)
                self._stopping.wait(pause)
        self._resign()

    @property
    def leads(self) -> bool:
        """Whether this is the relay that works, as of its last look."""
        return self._leads

    def stop(self) -> None:
        """Make `run` return within `poll_s` seconds. May be called from a signal handler."""
        self._stopping.ask()

    def look(self) -> int:
        """Hand over what is due and not handed over yet; gives how many jobs that were.

        Raises RedisError, Unavailable.
        """
        self._leads = self._lead()
        if not self._leads:
            return 0
        if self._chores is not None:
            self._chores()
        wall = self._clock.now()
        due = [
            row
            for queue in QUEUES
            for row in outbox.due(self._database, wall, _WINDOW, queue=queue)
        ]
        now = time.monotonic()
        # Rows that are not due any more are done or claimed; should they come back, they are new.
        self._handed = {row.id: seen for row in due if (seen := self._handed.get(row.id))}
        fresh: dict[Queue, list[Due]] = defaultdict(list)
        renew: set[int] = set()
        for row in due:
            seen = self._handed.get(row.id)
            if seen is None or seen[0] != row:
                fresh[row.queue].append(row)
            elif now - seen[1] >= self._recheck_s:
                fresh[row.queue].append(row)
                renew.add(row.id)
        count = 0
        for queue, rows in fresh.items():
            count += enqueue(self._redis, queue, rows, renew=renew)
            self._handed.update((row.id, (row, now)) for row in rows)
        return count

    def _lead(self) -> bool:
        """Whether we are the relay that works; forgets everything if Redis forgot us."""
        holder = self._redis.get(LEADER)
        if holder == self._name.encode():
            self._redis.pexpire(LEADER, self._leader_ms)
            return True
        self._handed.clear()
        return holder is None and bool(
            self._redis.set(LEADER, self._name, nx=True, px=self._leader_ms)
        )

    def _resign(self) -> None:
        """Let a relay that stands by begin at once. Without Redis the key ends by itself."""
        try:
            if self._redis.get(LEADER) == self._name.encode():
                self._redis.delete(LEADER)
        except RedisError:
            pass
        self._redis.close()
