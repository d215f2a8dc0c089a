"""The jobs of charges: posting them, and what owners read about them in four languages."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert, text

from billing import outbox
from billing.clock import FixedClock
from billing.database import Database
from billing.outbox import Job
from billing.premium.disputes import Complaints
from billing.premium.schema import owners
from gateways.errors import Permanent
from jobs.charges import ChargeMessages, ChargePostings
from sounds import load_catalogue
from tests.books_house import Books, at
from tests.charging_house import TEHRAN


class Sms:
    """A gateway that keeps what it is given."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str, str]] = []

    def send(self, to: str, text: str, key: str) -> None:
        self.texts.append((to, text, key))


@pytest.fixture
def books(database: Database, clock: FixedClock) -> Books:
    return Books(database, clock)


@pytest.fixture
def sms() -> Sms:
    return Sms()


@pytest.fixture
def handlers(books: Books, clock: FixedClock, sms: Sms) -> dict[str, Any]:
    """All handlers; `nudges` counts."""
    nudges: list[None] = []
    messages = ChargeMessages(
        books.database,
        Complaints(books.database, clock),
        load_catalogue(),
        sms=sms,
        zone=TEHRAN,
        complaints_number="2020",
    )
    postings = ChargePostings(books.posting, lambda: nudges.append(None))
    return {**messages.handlers(), **postings.handlers(), "nudges": nudges}


def _reachable(books: Books, language: str = "en") -> int:
    line = books.line(10_000_000)
    with books.database.begin() as conn:
        statement = text("UPDATE lines SET mobile = '+989121111111', language = :language")
        conn.execute(statement, {"language": language})
        conn.execute(insert(owners).values(line=line, charge_sms=1))
    return line


def _do(books: Books, handlers: dict[str, Any], clock: FixedClock, queue: str) -> list[Job]:
    jobs = outbox.claim(books.database, "test", clock.now(), 0, queue=queue)  # type: ignore[arg-type]
    for job in jobs:
        handlers[job.kind](job)
    outbox.done(books.database, jobs, clock.now())
    return jobs


@pytest.mark.parametrize("language", ["fa", "ar", "ru", "en"])
def test_a_charge_is_posted_and_the_owner_reads_of_it(
    books: Books, handlers: dict[str, Any], clock: FixedClock, sms: Sms, language: str
) -> None:
    """From the outbox row of the call's end to the SMS, each once."""
    line = _reachable(books, language)
    call = books.used(line, 20_000, post=False)
    (job,) = _do(books, handlers, clock, "billing")
    assert job.payload == {"call": call}
    assert len(handlers["nudges"]) == 1
    handlers["post_charge"](job)
    assert len(handlers["nudges"]) == 1
    (job,) = _do(books, handlers, clock, "sms")
    ((to, told, key),) = sms.texts
    assert (to, key) == ("+989121111111", job.key)
    assert {"en": "20,000", "ru": "20"}.get(language, "") in told
    assert all(word not in told for word in ("{", "None"))


@pytest.mark.parametrize("language", ["fa", "ar", "ru", "en"])
@pytest.mark.parametrize("decision", ["accept", "reject"])
def test_both_decisions_are_told(
    books: Books,
    handlers: dict[str, Any],
    clock: FixedClock,
    sms: Sms,
    language: str,
    decision: str,
) -> None:
    """The number of the complaint stands in both messages; the reason is the operator's own."""
    line = _reachable(books, language)
    charge = books.charge(books.used(line, 20_000))
    complaints = Complaints(books.database, clock)
    complaint = complaints.open("key", line, charge.id, "call")
    getattr(complaints, decision)(complaint, "care", "an internal reason")
    jobs = _do(books, handlers, clock, "sms")
    assert [job.kind for job in jobs][-2:] == [
        "sms.complaint_opened",
        f"sms.complaint_{decision}ed",
    ]
    for _, told, _ in sms.texts[-2:]:
        assert str(complaint) in told
        assert "internal" not in told


def test_what_cannot_be_posted_fails_for_a_person(
    database: Database, clock: FixedClock, handlers: dict[str, Any], books: Books
) -> None:
    """No contract: trying again does not help until somebody has written it down."""
    later = Books(database, clock, valid_from=at(2027, 1, 1))
    later.used(later.line(10_000_000), 20_000, post=False)
    (job,) = outbox.claim(database, "test", clock.now(), 0, queue="billing")
    with pytest.raises(Permanent, match="contract"):
        handlers["post_charge"](job)
    later.database.write(
        lambda conn: conn.execute(text("UPDATE premium_calls SET status = 'parked', reason = 'x'"))
    )
    handlers["post_charge"](job)
    for kind in ("sms.charge", "sms.complaint_opened"):
        missing = {"charge": 77, "complaint": 77, "language": "fa", "to": "+989121111111"}
        with pytest.raises(Permanent):
            handlers[kind](Job(1, "k", "sms", kind, missing, 1, "w", clock.now()))
