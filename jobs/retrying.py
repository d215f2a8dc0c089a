"""When a job that failed is tried again, and when it is given up."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Retrying:
    """Waits that double from `first_s` seconds to at most `longest_s`, `attempts` tries in all.

    With the defaults a job is tried for about three hours: longer than most outages, and short
    enough that a caller's SMS still means something.
    """

    attempts: int = 12
    first_s: float = 5.0
    longest_s: float = 1800.0

    def next_at(
        self, now: datetime, attempts: int, *, at_least_s: float | None = None
    ) -> datetime | None:
        """When to try again after `attempts` tries; None if that was the last one.

        Half of the wait is random, so that what failed together does not come back together.
        `at_least_s`: seconds that the other side asked for, granted up to `longest_s`.
        """
        if attempts >= self.attempts:
            return None
        wait = min(self.first_s * 2.0 ** min(attempts - 1, 30), self.longest_s)
        wait *= 0.5 + random.random() / 2
        return now + timedelta(seconds=max(wait, min(at_least_s or 0.0, self.longest_s)))
