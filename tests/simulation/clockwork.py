"""The virtual time: what happens next, and what the clocks of the machines show meanwhile."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

TEHRAN = ZoneInfo("Asia/Tehran")
FOREVER = datetime(2100, 1, 1, tzinfo=UTC)


class VirtualClock:
    """The clock that all our processes read: the true time, but for its ``skew`` (seconds)."""

    def __init__(self, start: datetime) -> None:
        self.true = start
        self.skew = 0.0

    def now(self) -> datetime:
        """What the clock shows."""
        return self.true + timedelta(seconds=self.skew) if self.skew else self.true


class Agenda:
    """What happens when; at the same moment, in the order in which it was said."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._heap: list[tuple[datetime, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, moment: datetime, happens: Callable[[], None]) -> None:
        """Let something happen at a moment; at once, if that has passed."""
        heapq.heappush(self._heap, (max(moment, self._clock.true), next(self._order), happens))

    def after(self, seconds: float, happens: Callable[[], None]) -> None:
        """Let something happen in so many seconds."""
        self.at(self._clock.true + timedelta(seconds=seconds), happens)

    def run(self) -> None:
        """Let everything happen until nothing is left."""
        while self._heap:
            moment, _, happens = heapq.heappop(self._heap)
            self._clock.true = moment
            happens()
