"""How often one visitor may knock: a count per key and window of time, kept in memory.

Each web process counts for itself: it slows down guessing and hammering, and is no ledger. The
limits that protect other people from floods of messages are billing's, in the database.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable


class Throttle:
    """At most `limit` hits of a key in each window of `window_s` seconds.

    `clock` gives seconds that never go backwards. At most `capacity` keys are remembered, the
    longest unseen forgotten first, so that a flood of made-up keys cannot fill the memory.
    """

    def __init__(
        self, limit: int, window_s: float, clock: Callable[[], float], capacity: int = 10_000
    ) -> None:
        self._limit = limit
        self._window_s = window_s
        self._clock = clock
        self._capacity = capacity
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait_s(self, key: str) -> int:
        """Counts a hit of `key`: 0 when it may pass, else the whole seconds to wait (>= 1)."""
        now = self._clock()
        start, hits = self._windows.pop(key, (now, 0))
        if now - start >= self._window_s:
            start, hits = now, 0
        self._windows[key] = (start, hits + 1)
        if len(self._windows) > self._capacity:
            self._windows.popitem(last=False)
        if hits < self._limit:
            return 0
        return max(1, math.ceil(start + self._window_s - now))
