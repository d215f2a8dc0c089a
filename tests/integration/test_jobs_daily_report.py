"""The days' reports: each day once, also those on which nobody asked."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from billing import outbox
from jobs.daily_report import DailyReport


@pytest.fixture
def report(database, clock, tmp_path):
    return DailyReport(database, clock, tmp_path / "reports", "Asia/Tehran")


def asked(database, clock) -> list[str]:
    """The days that are asked for and not written yet."""
    jobs = outbox.claim(database, "t", clock.now(), 0, queue="reports")
    return [job.payload["day"] for job in jobs]


def write_all(database, clock, report) -> list[str]:
    """Do what a consumer does; gives the days."""
    jobs = outbox.claim(database, "t", clock.now(), 60, queue="reports")
    for job in jobs:
        report.write(job)
    outbox.done(database, jobs, clock.now())
    return [job.payload["day"] for job in jobs]


def written(tmp_path) -> list[str]:
    return sorted(path.stem for path in (tmp_path / "reports").glob("*.json"))


def test_the_first_day_has_no_past(database, clock, report):
    """A new installation asks for yesterday, not for a month of nothing."""
    report.ask()
    assert asked(database, clock) == ["2026-11-20"]


def test_days_on_which_no_relay_ran_are_made_up_for(database, clock, report, tmp_path):
    """Away for five days: each of them is written, in order, once."""
    report.ask()
    write_all(database, clock, report)
    clock.advance(5 * 86400)
    report.ask()
    days = ["2026-11-21", "2026-11-22", "2026-11-23", "2026-11-24", "2026-11-25"]
    assert write_all(database, clock, report) == days
    DailyReport(database, clock, tmp_path / "reports", "Asia/Tehran").ask()
    assert asked(database, clock) == []
    assert written(tmp_path) == ["2026-11-20", *days]


def test_a_gap_of_years_is_a_month(database, clock, report):
    """Bounded: 31 days, the last of them yesterday."""
    report.ask()
    clock.advance(900 * 86400)
    report.ask()
    days = [date.fromisoformat(day) for day in asked(database, clock)[1:]]
    yesterday = clock.now().date() - timedelta(days=1)
    assert days == [yesterday - timedelta(days=n) for n in range(30, -1, -1)]


def test_what_is_written_or_waits_is_not_asked_for_again(database, clock, report, tmp_path):
    """A file whose row was forgotten, and a row whose file is not there yet."""
    report.ask()
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "2026-11-22.json").write_text("{}\n")
    clock.advance(3 * 86400)
    report.ask()
    assert asked(database, clock) == ["2026-11-20", "2026-11-21", "2026-11-23"]
    assert (tmp_path / "reports" / "2026-11-22.json").read_text() == "{}\n"
