"""Complaints: disputed at once, off every bill, and reversed by new entries when accepted (D12)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text

from billing import ledger, outbox
from billing.clock import FixedClock
from billing.database import Database
from billing.errors import KeyConflict
from billing.premium import accounts
from billing.premium.disputes import Complaints, NotDisputable, NotOpen
from tests.books_house import Books, levies


@pytest.fixture
def books(database: Database, clock: FixedClock) -> Books:
    """A provider with 70 % and a levy of 9 %."""
    return Books(database, clock, share_bp=7000, levies=levies(("vat", 900)))


@pytest.fixture
def complaints(books: Books, clock: FixedClock) -> Complaints:
    """The complaints of that house."""
    return Complaints(books.database, clock)


def _open(books: Books, complaints: Complaints, call: str) -> int:
    charge = books.charge(call)
    return complaints.open(f"{call}:complaint", charge.line, charge.id, "complaint-call")


def test_the_last_charges_are_read_out(books: Books, complaints: Complaints) -> None:
    """The newest first; with how the complaint about each stands; reversed ones no more."""
    line = books.line(10_000_000)
    calls = [books.used(line, amount) for amount in (1_000, 2_000, 3_000, 4_000)]
    first = _open(books, complaints, calls[0])
    _open(books, complaints, calls[1])
    complaints.reject(first, "care", "used")
    recent = complaints.recent(line, 3)
    assert [(each.amount, each.complaint) for each in recent] == [
        (4_000, None),
        (3_000, None),
        (2_000, "open"),
    ]
    assert complaints.recent(line)[-1].complaint == "rejected"
    third = _open(books, complaints, calls[2])
    complaints.accept(third, "care", "not used")
    assert [each.amount for each in complaints.recent(line)] == [4_000, 2_000, 1_000]


def test_before_a_bill_no_bill_asks_for_it(books: Books, complaints: Complaints) -> None:
    """A disputed charge stays out of the next bill; rejected, it is in the one after."""
    line = books.line(10_000_000)
    call = books.used(line, 20_300)
    other = books.used(line, 5_000)
    complaint = _open(books, complaints, call)
    assert books.bill_row(books.bill(line, 100_000)).amount == 105_000
    complaints.reject(complaint, "care", "it was used")
    assert books.bill_row(books.bill(line, 100_000)).amount == 120_300
    assert (books.charge(call).unbilled, books.charge(other).unbilled) == (0, 0)
    books.check()


def test_it_comes_off_the_bill_at_once(books: Books, complaints: Complaints) -> None:
    """What is disputed is not to be paid: the bill has a new payment ID, and is soon settled."""
    line = books.line(10_000_000)
    call = books.used(line, 20_300)
    bill = books.bill(line, 100_000)
    books.pay(bill, 110_000)
    assert books.charge(call).collected == 10_000
    before = books.bill_row(bill).payment_id
    complaint = _open(books, complaints, call)
    assert books.bill_row(bill).payment_id == before  # nothing is left that it could ask for
    assert (books.bill_row(bill).status, books.left(bill)) == ("paid", 0)
    assert books.charge(call).unbilled == 10_300
    books.check()
    complaints.reject(complaint, "care", "used")
    again = books.bill(line, 50_000)
    assert books.bill_row(again).amount == 60_300
    books.pay(again, 60_000)
    assert books.charge(call).collected == 20_000
    books.check()


def test_an_open_bill_asks_for_less(books: Books, complaints: Complaints) -> None:
    """The other charges stay payable, by a payment ID of their own."""
    line = books.line(10_000_000)
    call = books.used(line, 20_300)
    bill = books.bill(line, 100_000)
    old = books.bill_row(bill).payment_id
    _open(books, complaints, call)
    assert books.left(bill) == 100_000
    assert books.bill_row(bill).payment_id != old
    books.pay(bill, 100_000)
    assert books.bill_row(bill).status == "paid"
    assert books.charge(call).collected == 0
    books.check()


def test_accepted_it_is_reversed_by_new_entries(books: Books, complaints: Complaints) -> None:
    """What was collected is the line's credit and comes back from everybody who had a part."""
    line = books.line(10_000_000)
    call = books.used(line, 20_300)
    bill = books.bill(line, 100_000)
    books.pay(bill, 110_000)
    part = 14_210 * 10_000 // 20_300
    assert books.provider_has() == (14_210 - part, part)
    assert complaints.accept(_open(books, complaints, call), "care", "never called") == 20_300
    assert books.provider_has() == (0, 0)
    assert books.balance(accounts.OPERATOR) == books.balance(accounts.levy("vat")) == 0
    assert books.balance(ledger.credit(line)) == -10_000
    assert books.collections(call) == [(10_000, part), (-10_000, -part)]
    assert books.charge(call).status == "reversed"
    books.check()
    # The credit pays the next bill, as any other does.
    assert books.left(books.bill(line, 50_000)) == 40_000


def test_a_carried_remainder_comes_off_the_bill_that_has_it(
    books: Books, complaints: Complaints
) -> None:
    """A charge on two bills is taken off both."""
    line = books.line(10_000_000)
    call = books.used(line, 20_300)
    first, second = books.bill(line, 100_000), books.bill(line, 50_000)
    assert (books.left(first), books.left(second)) == (120_000, 50_300)
    complaint = _open(books, complaints, call)
    assert (books.left(first), books.left(second)) == (100_000, 50_000)
    complaints.accept(complaint, "care", "never called")
    books.pay(first, 100_000)
    books.pay(second, 50_000)
    assert books.balance(ledger.receivable(line)) == 0
    books.check()


def test_it_is_written_down_once(
    books: Books,
    complaints: Complaints,
    in_threads: Callable[[list[Callable[[], object]]], list[object]],
) -> None:
    """The same key is the same complaint, also at the same moment; others are refused."""
    line = books.line(10_000_000)
    call, other = books.used(line, 20_300), books.used(line, 1_000)
    books.bill(line, 100_000)
    results = in_threads([lambda: _open(books, complaints, call)] * 6)
    assert len(set(results)) == 1
    assert isinstance(results[0], int)
    charge = books.charge(call)
    with pytest.raises(NotDisputable, match="open"):
        complaints.open("another", line, charge.id, "call")
    with pytest.raises(KeyConflict):
        complaints.open(f"{call}:complaint", line, books.charge(other).id, "call")
    with pytest.raises(NotDisputable, match="unknown"):
        complaints.open("third", books.line(), charge.id, "call")
    complaints.reject(results[0], "care", "used")
    with pytest.raises(NotDisputable, match="decided"):
        complaints.open("fourth", line, charge.id, "call")
    assert complaints.open("fifth", line, charge.id, "call", again=True) != results[0]
    books.check()


def test_it_is_decided_once(books: Books, complaints: Complaints) -> None:
    """Whoever decides second hears that it is decided."""
    line = books.line(10_000_000)
    complaint = _open(books, complaints, books.used(line, 1_000))
    complaints.attach(complaint, "complaints/a.wav")
    complaints.attach(complaint, "complaints/b.wav")
    complaints.accept(complaint, "care", "never called")
    for decide in (complaints.accept, complaints.reject):
        with pytest.raises(NotOpen):
            decide(complaint, "care", "again")
    found = complaints.find(complaint)
    assert (found.status, found.decided_by, found.reason) == ("accepted", "care", "never called")
    assert found.recording == "complaints/a.wav"
    assert (complaints.listed(), complaints.listed(None)) == ([], [found])
    with pytest.raises(LookupError):
        complaints.find(complaint + 1)


def test_a_payment_and_a_complaint_at_once(
    books: Books,
    complaints: Complaints,
    in_threads: Callable[[list[Callable[[], object]]], list[object]],
) -> None:
    """Whoever comes first: nothing is collected of a disputed charge, and no rial is lost."""
    for _ in range(4):
        line = books.line(10_000_000)
        call = books.used(line, 20_300)
        bill = books.bill(line, 1_000)
        results = in_threads(
            [
                lambda bill=bill: books.pay(bill, 9_000),
                lambda call=call: _open(books, complaints, call),
                lambda line=line: books.bill(line, 700),
                lambda bill=bill: books.pay(bill, 12_000),
            ]
        )
        assert [each for each in results if isinstance(each, Exception)] == []
        books.check()
        assert isinstance(results[1], int)
        complaints.accept(results[1], "care", "x")
        books.check()


def test_the_owner_is_told(books: Books, complaints: Complaints, clock: FixedClock) -> None:
    """An SMS when it is written down and when it is decided, where the owner has a mobile."""
    line = books.line(10_000_000)
    with books.database.begin() as conn:
        conn.execute(text("UPDATE lines SET mobile = '+989121111111', language = 'en'"))
    complaint = _open(books, complaints, books.used(line, 1_000))
    complaints.accept(complaint, "care", "never called")
    jobs = outbox.claim(books.database, "test", clock.now(), 60, queue="sms")
    assert [job.kind for job in jobs] == ["sms.complaint_opened", "sms.complaint_accepted"]
    payload = {"to": "+989121111111", "language": "en", "complaint": complaint}
    assert [job.payload for job in jobs] == [payload, payload]
