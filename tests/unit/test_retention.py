"""Destinations of messages are forgotten after their time; money and journals never."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import func, select

from billing import cdrs, outbox, retention
from billing.cdr_document import parse
from billing.premium.answers import Answers
from billing.premium.approvals import Terms
from billing.schema import bills, email_requests, entries, inbound_messages, sms_counters
from billing.schema import cdrs as records
from billing.schema import outbox as rows
from jobs.retention import Retention
from tests import cdr_forms
from tests.owner_house import OwnerHouse
from tests.service_house import ServiceHouse


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
        "missed_calls": 0, "owner_codes": 0, "approval_requests": 0,
        "tree_answers": 0, "sms_counters": gone["sms_counters"], "cdrs": 0,
    }  # fmt: skip
    assert gone["sms_counters"] > 0
    assert count(database, email_requests) == count(database, inbound_messages) == 0
    assert count(database, rows) == 1
    assert count(database, sms_counters) > 0
    assert (count(database, bills), count(database, entries)) == before


def test_requests_to_owners_are_forgotten_and_approvals_stay(database, clock):
    """Whom we wrote to goes; what the owner has approved holds for as long as it was given."""
    house = OwnerHouse(database, clock, terms=Terms(days=365))
    house.codes.send("call-1:1:code", house.line(), "call", "call-1", "fa")
    house.granted()
    clock.advance(timedelta(days=92).total_seconds())
    gone = retention.forget(database, clock.now() - timedelta(days=90))
    assert (gone["owner_codes"], gone["approval_requests"]) == (1, 1)
    assert len(house.approvals.of_line(house.line().id)) == 1
    assert house.ask("call-2:1:approval").number


def test_orders_are_forgotten_and_votes_count_for_ever(database, clock):
    """Numbers that callers keyed in go; a line that has voted once has voted."""
    service = ServiceHouse(database, clock).publish()
    answers = Answers(database, clock)
    left = {"service": service.id, "version": 1, "node": "n", "call_id": "c", "line": None}
    answers.put("vote", **left, kind="poll", answer={"choice": "yes"})
    answers.put("order", **left, kind="order", answer={"phone": "+989123456789"})
    clock.advance(timedelta(days=92).total_seconds())
    gone = retention.forget(database, clock.now() - timedelta(days=90))
    assert gone["tree_answers"] == 1
    assert [each.kind for each in answers.of(service.number)] == ["poll"]


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


def test_the_text_of_old_call_records_goes_and_their_facts_stay(database, clock):
    """Who called whom and when is in the journals, too; the rest of the record is not needed."""
    cdr = parse(cdr_forms.body("gave-up"))
    for number in range(3):
        cdrs.store(database, replace(cdr, uuid=f"u{number}"), clock.now())
        clock.advance(86_400)
    assert retention.forget(database, clock.now() - timedelta(days=1.5))["cdrs"] == 2
    assert retention.forget(database, clock.now() - timedelta(days=1.5))["cdrs"] == 0
    with database.read() as conn:
        rows_left = conn.execute(select(records.c.uuid, records.c.raw).order_by(records.c.uuid))
        assert list(rows_left) == [("u0", None), ("u1", None), ("u2", cdr.raw)]
    assert not cdrs.store(database, replace(cdr, uuid="u0"), clock.now())


def test_asked_for_once_a_day(database, clock):
    """However often the relay looks, a day has one row."""
    chore = Retention(database, clock, 90)
    for _ in range(3):
        chore.ask()
        Retention(database, clock, 90).ask()
    clock.advance(timedelta(days=1).total_seconds())
    chore.ask()
    assert [due.queue for due in outbox.due(database, clock.now())] == ["reports", "reports"]
