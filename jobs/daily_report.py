"""The day's report: asked for when a day has ended, written by the queue reports."""

from __future__ import annotations

import json
import os
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from billing import outbox, reports
from billing.cdr_matching import GRACE
from billing.clock import Clock
from billing.database import Database
from billing.outbox import Job
from jobs.consumers import Handler

_LONGEST_GAP_DAYS = 31


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

        With it come the days before, at most a month, that nobody asked for because no relay ran:
        those since the outbox's first row that have neither a file nor a row. Raises Unavailable.
        """
        now = self._clock.now()
        today = now.astimezone(self._zone).date()
        if today == self._asked:
            return
        missing = [
            day
            for back in range(_LONGEST_GAP_DAYS, 0, -1)
            if not os.path.exists(self._file(day := today - timedelta(days=back)))
        ]

        def work(conn: Connection) -> None:
            first = outbox.first_written(conn) or now
            first_day = first.astimezone(self._zone).date()
            for day in missing:
                if day >= first_day or day == today - timedelta(days=1):
                    payload = {"day": day.isoformat()}
                    at = self._settled(day)
                    outbox.put(conn, f"daily:{day}", "reports", "daily", payload, now, at)

        self._database.write(work)
        self._asked = today

    def _file(self, day: date) -> Path:
        return self._folder / f"{day}.json"

    def _settled(self, day: date) -> datetime:
        """When the records of the day's last calls have had time to come."""
        midnight = datetime.combine(day + timedelta(days=1), time(), self._zone)
        return midnight.astimezone(UTC) + GRACE

    def write(self, job: Job) -> None:
        """Write the report of the row's day; the same day again replaces the file whole."""
        day = date.fromisoformat(job.payload["day"])
        report = reports.daily(self._database, day, self._timezone, now=self._clock.now())
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = self._folder / f".{day}.{os.getpid()}"
        aside.write_text(json.dumps(report, ensure_ascii=False, indent=2, default=str) + "\n")
        aside.rename(self._file(day))
