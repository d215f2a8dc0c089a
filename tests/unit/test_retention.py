"""Destinations of messages are forgotten after their time; money and journals never."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select

from billing import outbox, retention
from billing.schema import bills, email_requests, entries, inbound_messages, sms_counters
from billing.schema import outbox as rows
from jobs.retention import Retention


def count(database, table):
    with database.read() as conn:
        return conn.execute(select(func.count()).select_from(table)).scalar_one()


def test_old_destinations_are_forgotten_and_facts_stay(database, desk, clock):
    """Sent messages, expired requests, old counters and message ids go; bills and ledger stay."""
    bill = desk.opening("02188776655").open_bills[0]
    desk.send_bill("a", bill, "09121112233", "fa", True, None, "call")
    desk.ask_email("b", bill, "09121112233", "fa", True, None, "call")
    desk.answer_email_by_sms("09121112233", "a@example.com", "m1")
    jobs = outbox.claim(database, "test", clock.now(), lease_s=60)
    outbox.done(database, jobs, clock.now())
    before = count(database, bills), count(database, entries)
    clock.advance(timedelta(days=92).total_seconds())
    desk.send_bill("c", bill, "09121112233", "fa", True, None, "call")

    gone = retention.forget(database, clock.now() - timedelta(days=90))

    assert gone == {
        "outbox": len(jobs), "email_requests": 1, "inbound_messages": 1,
        "missed_calls": 0, "sms_counters": gone["sms_counters"],
    }  # fmt: skip
    assert gone["sms_counters"] > 0
    assert count(database, email_requests) == count(database, inbound_messages) == 0
    assert count(database, rows) == 1
    assert count(database, sms_counters) > 0
    assert (count(database, bills), count(database, entries)) == before


def test_what_waits_or_failed_is_not_forgotten(database, desk, clock):
    """A message that was not sent is still needed, however old."""
    bill = desk.opening("02188776655").open_bills[0]
    desk.send_bill("a", bill, "09121112233", "fa", True, None, "call")
    desk.send_bill("b", bill, "09121112233", "fa", True, None, "call")
    (job,) = outbox.claim(database, "test", clock.now(), lease_s=60, limit=1)
    outbox.fail(database, job, "no such subscriber", clock.now())
    clock.advance(timedelta(days=400).total_seconds())
    assert retention.forget(database, clock.now())["outbox"] == 0
    assert count(database, rows) == 2


def test_asked_for_once_a_day(database, clock):
    """However often the relay looks, a day has one row."""
    chore = Retention(database, clock, 90)
    for _ in range(3):
        chore.ask()
        Retention(database, clock, 90).ask()
    clock.advance(timedelta(days=1).total_seconds())
    chore.ask()
    assert [due.queue for due in outbox.due(database, clock.now())] == ["reports", "reports"]
