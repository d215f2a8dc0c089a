"""The relay takes in the switch's spool, and each day's report waits for late records."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from billing import cdrs, outbox
from billing.clock import FixedClock
from billing.database import Database
from jobs import cdr_spool
from jobs.cdr_spool import CdrSpool
from jobs.daily_report import DailyReport
from tests import cdr_forms

NOW = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)


def _count(database: Database) -> int:
    return cdrs.count(database, NOW - timedelta(days=1), NOW)


def test_the_spool_is_taken_in_each_minute(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at each look; a full batch goes on at the next look."""
    at = [1000.0]
    monkeypatch.setattr(cdr_spool.time, "monotonic", lambda: at[0])
    monkeypatch.setattr(cdr_spool, "_FILES", 2)
    spool = CdrSpool(database, FixedClock(NOW), tmp_path)
    for number, name in enumerate(("gave-up", "transferred", "far-leg")):
        (tmp_path / f"{number}.cdr.json").write_bytes(cdr_forms.body(name))
    seen = []
    for moment in (1000.0, 1000.0, 1030.0, 1061.0):
        at[0] = moment
        spool.look()
        seen.append(_count(database))
        (tmp_path / "late.cdr.json").write_bytes(cdr_forms.body("caller-hung-up"))
    assert seen == [2, 4, 4, 4]


def test_what_is_wrong_is_in_the_log_and_stops_nothing(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is no record, and a folder that is not there, are named each time."""
    bad = tmp_path / "1.cdr.json"
    bad.write_text("{")
    os.utime(bad, (0, 0))
    CdrSpool(database, FixedClock(NOW), tmp_path).look()
    CdrSpool(database, FixedClock(NOW), tmp_path / "nowhere").look()
    CdrSpool(database, FixedClock(NOW), None).look()
    assert [record.getMessage() for record in caplog.records] == [
        "call record 1.cdr.json: not JSON",
        "the spool of call records cannot be taken in: No such file or directory",
    ]


def test_the_report_of_a_day_waits_for_late_records(database: Database, tmp_path: Path) -> None:
    """Calls that ended just before midnight have no record yet: they would all be missing."""
    midnight = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)  # in Tehran
    DailyReport(database, FixedClock(midnight), tmp_path, "Asia/Tehran").ask()
    assert outbox.due(database, midnight + timedelta(minutes=14)) == []
    assert len(outbox.due(database, midnight + timedelta(minutes=15))) == 1
