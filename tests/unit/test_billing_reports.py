"""The day in figures."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from billing import outbox, reports
from billing.clock import FixedClock
from billing.database import Database
from billing.desk import Desk
from billing.journal import CallHeader, Journal

DAY = date(2026, 11, 21)


def test_a_day_without_anything_is_all_zeros(database: Database) -> None:
    """Every part is there, so that whoever prints it need not ask."""
    assert reports.daily(database, DAY) == {
        "day": "2026-11-21",
        "timezone": "Asia/Tehran",
        "calls": {"count": 0, "outcomes": {}, "methods": {}},
        "messages": {},
        "payments": {},
        "posted": {},
        "parked": {"count": 0, "amount": 0},
        "cdrs": {"count": 0, "mismatches": {}},
    }


def test_the_figures_of_a_day(database: Database, desk: Desk, clock: FixedClock) -> None:
    """Calls, outcomes, methods, messages done and failed, payments, postings, what is parked."""
    journal = Journal(database)
    for number, (outcome, methods) in enumerate(
        [("goodbye", ("sms", "read")), ("goodbye", ("sms",)), (None, ())]
    ):
        journal.write(
            CallHeader(f"c{number}", clock.now(), None, None, "2000", None, "fa", outcome, methods),
            [],
        )
    bill = desk.opening("02188776655").open_bills[0]
    desk.send_bill("a", bill, "09123456789", "fa", False, None, "c0")
    desk.send_bill("b", bill, "09123456789", "fa", False, None, "c1")
    good, bad = outbox.claim(database, "w", clock.now(), 30, queue="sms")
    outbox.done(database, [good], clock.now())
    outbox.fail(database, bad, "no route", clock.now())
    for reference, payment_id in (("r1", bill.payment_id), ("r2", "1")):
        receipt = desk.receive_payment(
            reference, bill.bill_id, payment_id, 17_000, "bank", clock.now()
        )
        desk.post_payment(receipt.payment)
    assert reports.daily(database, DAY) == {
        "day": "2026-11-21",
        "timezone": "Asia/Tehran",
        "calls": {
            "count": 3,
            "outcomes": {"goodbye": 2, "unknown": 1},
            "methods": {"read": 1, "sms": 2},
        },
        "messages": {"sms.bill": {"done": 1, "failed": 1}},
        "payments": {"bank": {"count": 2, "amount": 34_000}},
        "posted": {
            "bill": {"count": 2, "amount": 146_450},
            "parked payment": {"count": 1, "amount": 17_000},
            "payment": {"count": 1, "amount": 17_000},
        },
        "parked": {"count": 1, "amount": 17_000},
        "cdrs": {"count": 0, "mismatches": {}},
    }


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        (datetime(2026, 11, 21, 20, 29, 59, tzinfo=UTC), DAY),
        (datetime(2026, 11, 21, 20, 30, tzinfo=UTC), DAY + timedelta(days=1)),
    ],
)
def test_a_day_is_a_civil_day_of_its_time_zone(
    database: Database, moment: datetime, day: date
) -> None:
    """In Tehran the day ends at 20:30 UTC."""
    Journal(database).write(CallHeader("c", moment, None, None, None, None, None, "x"), [])
    counts = {
        each: reports.daily(database, each)["calls"]["count"]
        for each in (DAY, DAY + timedelta(days=1))
    }
    assert counts.pop(day) == 1
    assert list(counts.values()) == [0]


def test_an_unknown_time_zone_is_refused(database: Database, load: Callable[..., None]) -> None:
    """With its name, before any query."""
    with pytest.raises(ValueError, match="Mars"):
        reports.daily(database, DAY, "Mars/Olympus")
