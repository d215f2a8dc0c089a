"""The daily forgetting: asked for by the relay, done by the queue reports."""

from __future__ import annotations

import logging
from datetime import date, timedelta

from billing import outbox, retention
from billing.clock import Clock
from billing.database import Database
from billing.outbox import Job
from jobs.consumers import Handler

_log = logging.getLogger(__name__)


class Retention:
    """`ask` is the relay's chore; the handler forgets what was finished `keep_days` ago."""

    def __init__(self, database: Database, clock: Clock, keep_days: int) -> None:
        self._database = database
        self._clock = clock
        self._keep = timedelta(days=keep_days)
        self._asked: date | None = None

    def handlers(self) -> dict[str, Handler]:
        """The handler of each kind of row."""
        return {"forget": self.forget}

    def ask(self) -> None:
        """Put the day's forgetting into the outbox, once a day (UTC). Raises Unavailable."""
        now = self._clock.now()
        if now.date() == self._asked:
            return
        key = f"forget:{now.date()}"
        self._database.write(lambda conn: outbox.put(conn, key, "reports", "forget", {}, now))
        self._asked = now.date()

    def forget(self, job: Job) -> None:
        """Delete what is old enough; the same again finds nothing."""
        gone = retention.forget(self._database, self._clock.now() - self._keep)
        if any(gone.values()):
            _log.info("forgotten: %s", ", ".join(f"{n} of {table}" for table, n in gone.items()))
