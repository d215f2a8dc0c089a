"""The clock of the embedded switch: virtual seconds that may run faster than real ones.

Every duration inside the switch (a prompt, a digit timer, a linger time) is virtual, so a
call that lasts a minute can be played in a second. Nothing else may call ``time`` here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import gevent
from gevent import Greenlet


class Clock:
    """Virtual time, `speed` times as fast as real time.

    Args:
        speed: virtual seconds in a real second; 1.0 is real time, 100.0 plays a call of
            100 s in one second.

    Raises:
        ValueError: the speed is not greater than zero.
    """

    def __init__(self, speed: float = 1.0) -> None:
        if not speed > 0:
            raise ValueError(f"speed must be greater than zero, not {speed!r}")
        self.speed = float(speed)
        self._start_real = time.monotonic()
        self._start_epoch = time.time()

    def now(self) -> float:
        """Virtual seconds since this clock was made."""
        return (time.monotonic() - self._start_real) * self.speed

    def epoch(self) -> float:
        """Virtual seconds since 1970; what event headers show as the time of day."""
        return self._start_epoch + self.now()

    def utc(self) -> datetime:
        """The virtual time of day, aware, in UTC."""
        return datetime.fromtimestamp(self.epoch(), UTC)

    def real(self, seconds: float) -> float:
        """The real seconds that `seconds` virtual ones take (never negative)."""
        return max(0.0, seconds) / self.speed

    def sleep(self, seconds: float) -> None:
        """Let `seconds` virtual seconds pass for the calling greenlet."""
        gevent.sleep(self.real(seconds))

    def later(self, seconds: float, function: Callable[..., Any], *args: Any) -> Greenlet[..., Any]:
        """Call `function` in a greenlet of its own after `seconds`; ``kill`` takes it back."""
        return gevent.spawn_later(self.real(seconds), function, *args)
