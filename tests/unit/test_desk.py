"""The desk: openings, promised messages, e-mail requests and their answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import text

from billing import outbox
from billing.clock import FixedClock
from billing.database import Database
from billing.desk import Desk
from billing.email_requests import Answer
from billing.entities import Bill
from billing.errors import BillPaid, InvalidNumber, Limited
from billing.limits import Limits
from billing.links import Links

FIXED, MOBILE, OTHER = "02188776655", "09123456789", "+989355555555"


@pytest.fixture
def bill(desk: Desk) -> Bill:
    """The fixed line's open bill."""
    return desk.opening(FIXED).open_bills[0]


@pytest.fixture
def jobs(database: Database, clock: FixedClock) -> Callable[[], list[tuple[str, dict[str, Any]]]]:
    """Takes what is due: kind and payload of each job."""

    def take() -> list[tuple[str, dict[str, Any]]]:
        claimed = outbox.claim(database, "test", clock.now(), 3600)
        outbox.done(database, claimed, clock.now())
        return [(job.kind, job.payload) for job in claimed]

    return take


Jobs = Callable[[], list[tuple[str, dict[str, Any]]]]

# --- opening


def test_an_opening_holds_all_that_a_call_needs(desk: Desk) -> None:
    """Line, open bill with its IDs, due date and what is to pay."""
    opening = desk.opening(FIXED)
    assert opening.line is not None
    assert (opening.line.number, opening.line.kind, opening.line.mobile) == (
        "+982188776655",
        "fixed",
        "+989121111111",
    )
    (bill,) = opening.open_bills
    assert (bill.amount, bill.payable, bill.remainder, bill.paid) == (17_450, 17_000, 450, 0)
    assert (bill.due_date, bill.year, bill.period) == (date(2026, 12, 6), 1405, 8)
    assert bill.barcode == bill.bill_id.zfill(13) + bill.payment_id.zfill(13)
    assert opening.last_paid is None


@pytest.mark.parametrize("number", [None, "", "02188776656", "anonymous", "'; --", "0" * 10**6])
def test_a_number_without_a_line_is_an_empty_opening(desk: Desk, number: str | None) -> None:
    """Unknown numbers and hostile caller IDs: no line, no error."""
    opening = desk.opening(number)
    assert (opening.line, opening.open_bills, opening.last_paid) == (None, [], None)


def test_open_bills_come_oldest_due_first_with_the_bill_paid_last(
    desk: Desk, load: Callable[..., None], clock: FixedClock
) -> None:
    """However they were loaded; of several paid bills only the last settled is there."""
    load(
        ["02188776601,fixed,A,B,fa,,,,"],
        [
            "02188776601,4,1405,40000,,,2026-10-01",
            "02188776601,2,1405,20000,,,2026-06-01",
            "02188776601,3,1405,30000,,,2026-08-01",
            "02188776601,1,1405,10000,,,2026-04-01",
        ],
    )
    bills = desk.opening("02188776601").open_bills
    assert [bill.period for bill in bills] == [1, 2, 3, 4]
    for bill in (bills[1], bills[0], bills[2]):
        clock.advance(60)
        receipt = desk.receive_payment(
            f"r{bill.period}", bill.bill_id, bill.payment_id, bill.payable, "bank", clock.now()
        )
        desk.post_payment(receipt.payment)
    opening = desk.opening("02188776601")
    assert [bill.period for bill in opening.open_bills] == [4]
    assert opening.last_paid is not None
    assert opening.last_paid.period == 3


def test_personal_data_is_in_no_entity(desk: Desk) -> None:
    """E-mail, street and postal code cannot reach a conversation (A9)."""
    opening = desk.opening(FIXED)
    shown = repr(opening) + repr(desk.bill(opening.open_bills[0].id))
    for secret in ("Hidden Street", "1234567890", "ali@example.ir"):
        assert secret not in shown


# --- promised messages


def test_a_promised_bill_is_a_job_without_names(desk: Desk, bill: Bill, jobs: Jobs) -> None:
    """The payload holds ids and destination; whoever sends it looks the names up."""
    assert desk.send_bill("c1:sms", bill, MOBILE, "fa", True, FIXED, "c1")
    assert jobs() == [
        (
            "sms.bill",
            {
                "to": "+989123456789",
                "language": "fa",
                "bill": bill.id,
                "names": True,
                "call": "c1",
            },
        )
    ]
    view = desk.bill(bill.id)
    assert view is not None
    assert (view.line.first_name, view.line.last_name, view.bill) == ("Ali", "Rezaei", bill)
    assert desk.bill(12345) is None
    assert desk.line(view.line.id) == view.line


def test_app_links_need_no_line(desk: Desk, jobs: Jobs) -> None:
    """An unknown caller may have the app's links, too."""
    assert desk.send_app_links("c1:app", None, MOBILE, "ru", None, "c1")
    assert jobs() == [
        (
            "sms.app_links",
            {"to": "+989123456789", "language": "ru", "line": None, "call": "c1"},
        )
    ]


@pytest.mark.parametrize("to", [FIXED, "", "2000", "hostile\r\ntext"])
def test_no_message_goes_to_what_is_no_mobile(desk: Desk, bill: Bill, jobs: Jobs, to: str) -> None:
    """A fixed line or nonsense is refused before anything is written."""
    for send in (
        lambda: desk.send_bill("k", bill, to, "fa", False, FIXED, "c1"),
        lambda: desk.send_app_links("k", None, to, "fa", FIXED, "c1"),
        lambda: desk.ask_email("k", bill, to, "fa", False, FIXED, "c1"),
    ):
        with pytest.raises(InvalidNumber):
            send()
    assert jobs() == []


def test_the_same_step_again_sends_nothing_and_counts_nothing(
    database: Database, clock: FixedClock, links: Links, desk: Desk, bill: Bill, jobs: Jobs
) -> None:
    """A call resumed by another worker repeats its step: it succeeds, also at the limit."""
    strict = Desk(database, clock, limits=Limits(2, 2, 2), links=links)
    answers = [
        strict.send_bill("a", bill, MOBILE, "fa", False, FIXED, "c1"),
        strict.send_bill("a", bill, MOBILE, "fa", False, FIXED, "c1"),
        strict.ask_email("b", bill, MOBILE, "fa", False, FIXED, "c1"),
        strict.ask_email("b", bill, MOBILE, "fa", False, FIXED, "c1"),
        strict.send_bill("a", bill, MOBILE, "fa", False, FIXED, "c1"),
    ]
    assert answers == [True, False, True, False, False]
    assert [kind for kind, _ in jobs()] == ["sms.bill", "sms.email_link"]


def test_at_the_limit_nothing_is_written(
    database: Database, clock: FixedClock, links: Links, desk: Desk, bill: Bill, jobs: Jobs
) -> None:
    """No job, no e-mail request and no count is left of a message that was refused."""
    strict = Desk(database, clock, limits=Limits(None, 1, None), links=links)
    strict.send_bill("a", bill, MOBILE, "fa", False, FIXED, "c1")
    with pytest.raises(Limited) as caught:
        strict.ask_email("b", bill, MOBILE, "fa", False, OTHER, "c2")
    assert caught.value.scope == "destination"
    with pytest.raises(Limited):
        strict.send_app_links("c", None, MOBILE, "fa", None, "c3")
    assert [kind for kind, _ in jobs()] == ["sms.bill"]
    with database.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM email_requests")).scalar() == 0


def _pay(desk: Desk, clock: FixedClock, bill: Bill, amount: int) -> None:
    receipt = desk.receive_payment(
        f"r{amount}", bill.bill_id, bill.payment_id, amount, "bank", clock.now()
    )
    assert desk.post_payment(receipt.payment).status == "posted"


def test_a_paid_bill_is_not_promised(
    database: Database, desk: Desk, clock: FixedClock, bill: Bill, jobs: Jobs
) -> None:
    """Paid since it was read: neither job nor e-mail request nor count is left of the order."""
    _pay(desk, clock, bill, 17_000)
    jobs()
    for send in (desk.send_bill, desk.ask_email):
        with pytest.raises(BillPaid):
            send("k", bill, MOBILE, "fa", False, FIXED, "c1")
    assert jobs() == []
    with database.read() as conn:
        for table in ("email_requests", "sms_counters"):
            assert conn.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 0


def test_what_was_promised_before_the_payment_stands(
    desk: Desk, clock: FixedClock, bill: Bill, jobs: Jobs
) -> None:
    """The same step again succeeds after the payment; of a bill paid in part the rest is sent."""
    sends = (("a", desk.send_bill), ("b", desk.ask_email))
    for key, send in sends:
        assert send(key, bill, MOBILE, "fa", False, FIXED, "c1")
    _pay(desk, clock, bill, 4_000)
    assert desk.send_bill("c", bill, MOBILE, "fa", False, FIXED, "c1")
    (rest,) = desk.opening(FIXED).open_bills
    _pay(desk, clock, rest, 13_000)
    for key, send in sends:
        assert send(key, bill, MOBILE, "fa", False, FIXED, "c1") is False
    assert [kind for kind, _ in jobs()].count("sms.bill") == 2


def test_an_opening_says_what_is_owed_in_all(
    desk: Desk, clock: FixedClock, bill: Bill, load: Callable[..., None]
) -> None:
    """Open bills and remainders, as in the ledger; nothing for a line without a bill."""
    assert desk.opening(FIXED).owed == 17_450
    _pay(desk, clock, bill, 17_000)
    opening = desk.opening(FIXED)
    assert (opening.open_bills, opening.owed) == ([], 450)
    load(["02188776601,fixed,A,B,fa,,,,"], [])
    assert desk.opening("02188776601").owed == 0


def test_one_step_at_the_same_moment_sends_once(
    desk: Desk, bill: Bill, jobs: Jobs, in_threads: Callable[..., list[object]]
) -> None:
    """Two workers on one call, twenty times over: one job, one request, and all succeed."""

    def step() -> bool:
        return desk.ask_email("k", bill, MOBILE, "fa", False, FIXED, "c1")

    assert sorted(map(bool, in_threads([step] * 20))) == [False] * 19 + [True]
    assert [kind for kind, _ in jobs()] == ["sms.email_link"]


# --- e-mail requests


@pytest.fixture
def token(desk: Desk, bill: Bill, jobs: Jobs, links: Links) -> str:
    """The token in the SMS of a fresh request from MOBILE, made at send time."""
    desk.ask_email("c1:email", bill, MOBILE, "ar", True, FIXED, "c1")
    ((kind, payload),) = jobs()
    assert kind == "sms.email_link"
    return links.token(payload["request"], payload["expires"])


def test_a_token_that_works_is_stored_nowhere(
    database: Database, desk: Desk, bill: Bill, links: Links, clock: FixedClock
) -> None:
    """Neither request nor outbox row holds it: only its hash, and what a sender makes it from."""
    desk.ask_email("k", bill, MOBILE, "fa", False, FIXED, "c1")
    with database.read() as conn:
        rows = [
            str(row)
            for table in ("email_requests", "outbox")
            for row in conn.execute(text(f"SELECT * FROM {table}"))
        ]
        payload = json.loads(conn.execute(text("SELECT payload FROM outbox")).scalar_one())
    token = links.token(payload["request"], payload["expires"])
    assert desk.email_request(token).answer is Answer.OPEN
    assert not any(token in row for row in rows)


def test_the_page_shows_the_line_and_nothing_personal(desk: Desk, token: str) -> None:
    """Language and the line's number; no mobile, no name."""
    page = desk.email_request(token)
    assert (page.answer, page.language, page.number) == (Answer.OPEN, "ar", "+982188776655")
    assert "9123456789" not in repr(page)


def test_an_address_on_the_page_is_taken_once(
    desk: Desk, token: str, jobs: Jobs, bill: Bill
) -> None:
    """The first address wins; the link is used up."""
    assert desk.answer_email_by_link(token, "not an address") is Answer.NOT_AN_ADDRESS
    assert desk.answer_email_by_link(token, " Ali@Example.ir ") is Answer.ACCEPTED
    assert desk.answer_email_by_link(token, "eve@example.org") is Answer.USED
    assert desk.email_request(token).answer is Answer.USED
    ((kind, payload),) = jobs()
    assert kind == "email.bill"
    assert payload == {
        "to": "Ali@example.ir",
        "language": "ar",
        "bill": bill.id,
        "names": True,
        "request": payload["request"],
    }


def test_a_link_expires(desk: Desk, token: str, clock: FixedClock, jobs: Jobs) -> None:
    """24 hours after it was asked for it takes nothing any more."""
    clock.advance(24 * 3600 - 1)
    assert desk.email_request(token).answer is Answer.OPEN
    clock.advance(1)
    for number in range(2):
        assert desk.email_request(token).answer is Answer.EXPIRED
        assert desk.answer_email_by_link(token, "ali@example.ir") is Answer.EXPIRED
        answer = desk.answer_email_by_sms(MOBILE, "ali@example.ir", f"m{number}")
        assert answer is Answer.NO_REQUEST
        clock.advance(1)
    assert [kind for kind, _ in jobs()] == ["sms.email_no_request"] * 2


def test_a_forged_link_is_invalid(
    database: Database, desk: Desk, token: str, clock: FixedClock, jobs: Jobs
) -> None:
    """Any changed character, another secret, a stranger's text: invalid, and nothing is shown."""
    forged = [
        token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        for place in range(len(token))
    ]
    stranger = Links(b"another secret, as long")
    forged.append(stranger.token(stranger.new_reference(), clock.now()))
    for text_ in [*forged, "", "x", token + "A", token * 100, "\u06f1" * 32]:
        assert desk.email_request(text_) == desk.email_request("")
        assert desk.answer_email_by_link(text_, "eve@example.org") is Answer.INVALID
    changed_secret = Desk(database, clock, links=stranger)
    assert changed_secret.email_request(token).answer is Answer.INVALID
    assert jobs() == []


def test_an_answer_by_sms_closes_the_newest_request(
    desk: Desk, token: str, jobs: Jobs, load: Callable[..., None], clock: FixedClock
) -> None:
    """The newest is meant; the older one stays open for its link or the next answer."""
    newer = desk.opening(MOBILE).open_bills[0]
    desk.ask_email("c2:email", newer, MOBILE, "en", False, MOBILE, "c2")
    jobs()
    answer = desk.answer_email_by_sms(MOBILE, "my address: Sara@example.ir", "m1")
    assert answer is Answer.ACCEPTED
    (email_kind, email), (sms_kind, sms) = sorted(jobs())
    assert (email_kind, email["bill"], email["to"]) == ("email.bill", newer.id, "Sara@example.ir")
    assert (sms_kind, sms) == ("sms.email_accepted", {"to": "+989123456789", "language": "en"})
    assert desk.email_request(token).answer is Answer.OPEN


def test_a_message_delivered_twice_is_answered_once(desk: Desk, token: str, jobs: Jobs) -> None:
    """The gateway may repeat itself: one e-mail, one reply."""
    assert desk.answer_email_by_sms(MOBILE, "a@example.ir", "m1") is Answer.ACCEPTED
    assert desk.answer_email_by_sms(MOBILE, "a@example.ir", "m1") is Answer.REPEATED
    assert sorted(kind for kind, _ in jobs()) == ["email.bill", "sms.email_accepted"]


def test_a_message_without_an_address_leaves_the_request_open(
    desk: Desk, token: str, jobs: Jobs
) -> None:
    """The subscriber is told, in the request's language, and may answer again."""
    for number, hostile in enumerate(("yes please", "a@b.ir c@d.ir", "a@b.ir\nBcc: x@y.org")):
        answer = desk.answer_email_by_sms(MOBILE, hostile, f"m{number}")
        assert answer is Answer.NOT_AN_ADDRESS
    assert [(kind, payload["language"]) for kind, payload in jobs()] == [
        ("sms.email_not_an_address", "ar")
    ] * 3
    assert desk.answer_email_by_sms(MOBILE, "a@example.ir", "m9") is Answer.ACCEPTED


@pytest.mark.parametrize("message_id", ["\x00", "\udcff", "x" * 10_000, ""])
def test_a_hostile_message_is_answered_like_any(
    desk: Desk, token: str, jobs: Jobs, message_id: str
) -> None:
    """Text that no database stores, in the id or the text, breaks nothing."""
    hostile = "\x00\udcff @ \udcff@\udcff.ir"
    assert desk.answer_email_by_sms(MOBILE, hostile, message_id) is Answer.NOT_AN_ADDRESS
    assert desk.answer_email_by_sms(MOBILE, hostile, message_id) is Answer.REPEATED
    assert len(jobs()) == 1


def test_replies_fall_silent_at_the_limit(desk: Desk, jobs: Jobs) -> None:
    """A machine that answers our replies does not go round in circles with us."""
    answers = {desk.answer_email_by_sms(OTHER, "auto reply", f"m{n}") for n in range(30)}
    assert answers == {Answer.NO_REQUEST}
    assert len(jobs()) == Limits().destination_per_hour


def test_a_sender_that_is_no_mobile_is_not_answered(desk: Desk, jobs: Jobs) -> None:
    """Short codes and names of senders cannot be sent to."""
    assert desk.answer_email_by_sms("BANK", "a@example.ir", "m1") is Answer.NO_REQUEST
    assert jobs() == []


def test_simultaneous_answers_are_one_email(
    desk: Desk, token: str, jobs: Jobs, in_threads: Callable[..., list[object]]
) -> None:
    """Page and SMS at the same moment, many times: the request is closed once."""
    answers = in_threads(
        [lambda n=n: desk.answer_email_by_link(token, f"a{n}@example.ir") for n in range(8)]
        + [lambda n=n: desk.answer_email_by_sms(MOBILE, "b@example.ir", f"m{n}") for n in range(8)]
    )
    assert answers.count(Answer.ACCEPTED) == 1
    assert set(answers) <= {Answer.ACCEPTED, Answer.USED, Answer.NO_REQUEST}
    assert [kind for kind, _ in jobs()].count("email.bill") == 1


def test_a_desk_without_links_says_so(database: Database, clock: FixedClock, bill: Bill) -> None:
    """A part that makes no links needs no secret; if it tries, the mistake is named."""
    with pytest.raises(RuntimeError, match="links"):
        Desk(database, clock).ask_email("k", bill, MOBILE, "fa", False, None, "c1")


@pytest.mark.parametrize("secret", [b"", b"short"])
def test_a_weak_secret_is_refused(secret: bytes) -> None:
    """At least sixteen bytes."""
    with pytest.raises(ValueError, match="16 bytes"):
        Links(secret)


def test_a_bill_is_read_again_as_it_stands(desk: Desk) -> None:
    """Unchanged: the same object; part-paid: new rest and payment ID; paid: says so; gone: None."""
    (bill,) = desk.opening("02188776655").open_bills
    assert desk.as_it_stands(bill) is bill
    paid_at = datetime(2026, 11, 21, 8, tzinfo=UTC)
    receipt = desk.receive_payment("r1", bill.bill_id, bill.payment_id, 5000, "app", paid_at)
    desk.post_payment(receipt.payment)
    part = desk.as_it_stands(bill)
    assert part is not None
    assert (part.status, part.paid) == ("open", 5000)
    assert part.payment_id != bill.payment_id
    receipt = desk.receive_payment(
        "r2", part.bill_id, part.payment_id, part.payable, "app", paid_at
    )
    desk.post_payment(receipt.payment)
    whole = desk.as_it_stands(part)
    assert whole is not None
    assert whole.status == "paid"
    assert desk.as_it_stands(replace(bill, id=10**9)) is None
