"""The day's report: asked for when a day has ended, written by the queue reports."""

from __future__ import annotations

import json
import os
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from billing import outbox, reports
from billing.clock import Clock
from billing.database import Database
from billing.outbox import Job
from jobs.consumers import Handler


class DailyReport:
    """`ask` is the relay's chore; the handler writes `<day>.json` into `folder`.

    A day ends at midnight in `timezone` (IANA name).
    """

    def __init__(self, database: Database, clock: Clock, folder: Path, timezone: str) -> None:
        self._database = database
        self._clock = clock
        self._folder = folder
        self._timezone = timezone
        self._zone = ZoneInfo(timezone)
        self._asked: date | None = None

    def handlers(self) -> dict[str, Handler]:
        """The handler of each kind of row."""
        return {"daily": self.write}

    def ask(self) -> None:
        """Put yesterday's report into the outbox, once; costs nothing during the day.

        Raises Unavailable.
        """
        now = self._clock.now()
        day = now.astimezone(self._zone).date() - timedelta(days=1)
        if day == self._asked:
            return
        self._database.write(
            lambda conn: outbox.put(
                conn, f"daily:{day}", "reports", "daily", {"day": day.isoformat()}, now
            )
        )
        self._asked = day

    def write(self, job: Job) -> None:
        """Write the report of the row's day; the same day again replaces the file whole."""
        day = date.fromisoformat(job.payload["day"])
        report = reports.daily(self._database, day, self._timezone)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = self._folder / f".{day}.{os.getpid()}"
        aside.write_text(json.dumps(report, ensure_ascii=False, indent=2, default=str) + "\n")
        aside.rename(self._folder / f"{day}.json")
