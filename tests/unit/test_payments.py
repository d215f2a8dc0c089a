"""Payments: taken in once, posted once, parked when their bill is unknown, never lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from billing import ledger, outbox, payments
from billing.bill_ids import LARGEST_INSTALMENT
from billing.clock import FixedClock
from billing.database import Database
from billing.desk import Desk
from billing.entities import Bill
from billing.errors import InvalidPayment, PaymentConflict

FIXED, MOBILE = "02188776655", "09123456789"


@pytest.fixture
def pay(desk: Desk, clock: FixedClock) -> Callable[..., payments.Outcome]:
    """Reports a payment for a bill and posts it."""

    def pay_bill(bill: Bill, amount: int, reference: str = "r1") -> payments.Outcome:
        receipt = desk.receive_payment(
            reference, bill.bill_id, bill.payment_id, amount, "bank", clock.now()
        )
        return desk.post_payment(receipt.payment)

    return pay_bill


Pay = Callable[..., payments.Outcome]


def _balances(database: Database, line: int = 1) -> dict[str, int]:
    with database.read() as conn:
        assert ledger.audit(conn) == []
        codes = [ledger.cash("bank"), ledger.receivable(line), ledger.credit(line), "suspense"]
        return {code.partition(":")[0]: ledger.balance(conn, code) for code in codes}


def _confirmations(database: Database, clock: FixedClock) -> list[dict[str, Any]]:
    jobs = outbox.claim(database, "t", clock.now(), 3600, queue="sms")
    outbox.done(database, jobs, clock.now())
    return [job.payload for job in jobs if job.kind == "sms.payment_confirmation"]


def test_a_full_payment_settles_the_bill(
    desk: Desk, pay: Pay, database: Database, clock: FixedClock
) -> None:
    """Paid by its payment ID the bill is closed, the remainder stays owed, an SMS confirms (E4)."""
    bill = desk.opening(FIXED).open_bills[0]
    assert pay(bill, 17_000) == payments.Outcome("posted", "full", None, True)
    opening = desk.opening(FIXED)
    assert opening.open_bills == []
    assert opening.last_paid is not None
    assert (opening.last_paid.paid, opening.last_paid.remainder) == (17_000, 450)
    assert _balances(database) == {"cash": 17_000, "receivable": 450, "credit": 0, "suspense": 0}
    assert _confirmations(database, clock) == [
        {
            "to": "+989121111111",
            "language": "fa",
            "bill": bill.id,
            "payment": 1,
            "number": "+982188776655",
            "amount": 17_000,
            "reference": "r1",
            "result": "full",
            "balance": 450,
        }
    ]


def test_a_partial_payment_leaves_the_rest_with_ids_of_its_own(
    desk: Desk, pay: Pay, database: Database, clock: FixedClock
) -> None:
    """The new payment ID asks for the rest only; paid by it the bill is settled, to the rial."""
    bill = desk.opening(FIXED).open_bills[0]
    assert pay(bill, 4_500).result == "partial"
    (rest,) = desk.opening(FIXED).open_bills
    assert (rest.paid, rest.payable, rest.remainder) == (4_500, 12_000, 950)
    assert rest.payment_id != bill.payment_id
    assert [c["result"] + str(c["balance"]) for c in _confirmations(database, clock)] == [
        "partial12000"
    ]
    assert pay(rest, rest.instalment, "r2").result == "full"
    assert desk.opening(FIXED).open_bills == []
    assert _balances(database)["receivable"] == 950


def test_the_printed_ids_keep_finding_the_bill(desk: Desk, pay: Pay) -> None:
    """After a part was paid, the IDs on the paper still work; too much becomes credit."""
    bill = desk.opening(FIXED).open_bills[0]
    pay(bill, 4_000)
    assert pay(bill, 13_000, "r2").result == "full"


def test_overpayment_becomes_the_lines_credit(
    desk: Desk, pay: Pay, database: Database, clock: FixedClock
) -> None:
    """The bill takes what is left of it to the last rial; the rest is owed to the line."""
    bill = desk.opening(FIXED).open_bills[0]
    assert pay(bill, 20_000).result == "over"
    assert _balances(database) == {
        "cash": 20_000,
        "receivable": 0,
        "credit": -2_550,
        "suspense": 0,
    }
    assert [c["balance"] for c in _confirmations(database, clock)] == [2_550]
    assert pay(bill, 17_000, "again").result == "over"
    assert _balances(database)["credit"] == -19_550


def test_a_twelve_digit_bill_is_paid_in_instalments(
    desk: Desk, pay: Pay, load: Callable[..., None], database: Database
) -> None:
    """A payment ID carries eleven digits at most: the rest gets its ID after the first payment."""
    load(["02188776602,fixed,A,B,en,,,,"], ["02188776602,1,1405,123456789012,,,2026-12-05"])
    (bill,) = desk.opening("02188776602").open_bills
    assert (bill.payable, bill.instalment) == (123_456_789_000, LARGEST_INSTALMENT)
    assert pay(bill, bill.instalment).result == "partial"
    (rest,) = desk.opening("02188776602").open_bills
    assert rest.instalment == 23_456_790_000
    assert pay(rest, rest.instalment, "r2").result == "full"
    assert _balances(database, bill.line_id)["receivable"] == 12


def test_a_line_without_a_mobile_gets_no_confirmation(
    desk: Desk, pay: Pay, load: Callable[..., None], database: Database, clock: FixedClock
) -> None:
    """There is nowhere to send it; the payment is posted all the same."""
    load(["02188776602,fixed,A,B,en,,,,"], ["02188776602,1,1405,5000,,,2026-12-05"])
    (bill,) = desk.opening("02188776602").open_bills
    assert pay(bill, 5000).status == "posted"
    assert _confirmations(database, clock) == []


def test_a_mobile_line_is_confirmed_to_itself(
    desk: Desk, pay: Pay, database: Database, clock: FixedClock
) -> None:
    """In its own language."""
    pay(desk.opening(MOBILE).open_bills[0], 129_000)
    (confirmation,) = _confirmations(database, clock)
    assert (confirmation["to"], confirmation["language"]) == ("+989123456789", "en")


def test_a_report_repeated_is_the_same_payment(desk: Desk, clock: FixedClock) -> None:
    """The same reference and content: the same receipt, not new."""
    bill = desk.opening(FIXED).open_bills[0]
    report = ("r1", bill.bill_id, bill.payment_id, 17_000, "bank", clock.now())
    first = desk.receive_payment(*report)
    clock.advance(60)
    assert (first.new, desk.receive_payment(*report)) == (
        True,
        payments.Receipt(first.payment, new=False),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 18_000},
        {"bill_id": "1"},
        {"payment_id": "1"},
        {"channel": "app"},
        {"paid_at": timedelta(seconds=1)},
    ],
)
def test_a_reference_used_for_another_payment_is_refused(
    desk: Desk, clock: FixedClock, change: dict[str, Any]
) -> None:
    """Any other content under the same reference is a conflict and changes nothing."""
    bill = desk.opening(FIXED).open_bills[0]
    report: dict[str, Any] = {
        "reference": "r1",
        "bill_id": bill.bill_id,
        "payment_id": bill.payment_id,
        "amount": 17_000,
        "channel": "bank",
        "paid_at": clock.now(),
    }
    desk.receive_payment(**report)
    if "paid_at" in change:
        change = {"paid_at": clock.now() + change["paid_at"]}
    with pytest.raises(PaymentConflict, match=next(iter(change))):
        desk.receive_payment(**(report | change))
    assert desk.receive_payment(**report).new is False


@pytest.mark.parametrize(
    "change",
    [
        {"reference": ""},
        {"reference": "x" * 65},
        {"reference": "a\nb"},
        {"amount": 0},
        {"amount": -5},
        {"amount": True},
        {"amount": 17_000.0},
        {"amount": "17000"},
        {"amount": 10**19},
        {"channel": "Bank Transfer"},
        {"channel": ""},
        {"bill_id": "1" * 33},
        {"payment_id": "\x00"},
        {"payment_id": None},
        {"paid_at": None},
    ],
)
def test_a_malformed_report_is_refused_by_field(
    desk: Desk, clock: FixedClock, database: Database, change: dict[str, Any]
) -> None:
    """The error names the field; nothing is written."""
    report: dict[str, Any] = {
        "reference": "r1",
        "bill_id": "1",
        "payment_id": "1",
        "amount": 17_000,
        "channel": "bank",
        "paid_at": clock.now(),
    }
    with pytest.raises(InvalidPayment, match=next(iter(change))):
        desk.receive_payment(**(report | change))
    with database.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM payments")).scalar() == 0


@pytest.mark.parametrize(
    ("bill_id", "payment_id", "reason"),
    [
        ("2234322344613", "1070189", "C is 3, should be 7"),
        ("9174639504124", "12908197", "C2 is 7, should be 0"),
        ("9174639504124", "12908190", "no bill"),
        ("", "", "bill ID"),
        ("ده", "drop table", "bill ID"),
    ],
)
def test_a_payment_without_its_bill_is_parked_visibly(
    desk: Desk,
    clock: FixedClock,
    database: Database,
    bill_id: str,
    payment_id: str,
    reason: str,
) -> None:
    """The money stands in suspense, the list says why, and posting again changes nothing."""
    receipt = desk.receive_payment("r1", bill_id, payment_id, 17_000, "bank", clock.now())
    for new in (True, False):
        outcome = desk.post_payment(receipt.payment)
        assert (outcome.status, outcome.new) == ("parked", new)
    (parked,) = payments.parked(database)
    assert (parked.reference, parked.amount, parked.channel) == ("r1", 17_000, "bank")
    assert reason in parked.reason
    assert _balances(database) == {
        "cash": 17_000,
        "receivable": 17_450,
        "credit": 0,
        "suspense": -17_000,
    }


def test_a_parked_payment_is_posted_once_its_bill_is_there(
    desk: Desk, clock: FixedClock, database: Database, load: Callable[..., None]
) -> None:
    """Retried too early it is parked again; then the suspense account is cleared, once."""
    ids = ("7748317800142", "1770160")
    receipt = desk.receive_payment("r1", *ids, 17_000, "bank", clock.now())
    desk.post_payment(receipt.payment)
    assert payments.retry_parked(database, receipt.payment, clock.now()).status == "parked"
    load(["02177483178,fixed,A,B,fa,,,,"], [f"02177483178,1,1407,17000,{','.join(ids)},1407/02/15"])
    outcome = payments.retry_parked(database, receipt.payment, clock.now())
    assert (outcome.status, outcome.result) == ("posted", "full")
    with pytest.raises(LookupError):
        payments.retry_parked(database, receipt.payment, clock.now())
    assert payments.parked(database) == []
    assert _balances(database, 3) == {"cash": 17_000, "receivable": 0, "credit": 0, "suspense": 0}
    assert desk.opening("02177483178").open_bills == []


def test_an_unknown_payment_is_an_error(desk: Desk) -> None:
    """A job for a payment that is not there is a bug, not a payment."""
    with pytest.raises(LookupError):
        desk.post_payment(999)


def test_a_report_at_the_same_moment_twenty_times_posts_once(
    desk: Desk,
    clock: FixedClock,
    database: Database,
    in_threads: Callable[..., list[object]],
) -> None:
    """Reported and posted by twenty threads at once: one payment, one posting, one confirmation."""
    bill = desk.opening(FIXED).open_bills[0]

    def report_and_post() -> tuple[bool, bool]:
        receipt = desk.receive_payment(
            "r1", bill.bill_id, bill.payment_id, 17_000, "bank", clock.now()
        )
        return receipt.new, desk.post_payment(receipt.payment).new

    results = in_threads([report_and_post] * 20)
    assert not [result for result in results if isinstance(result, Exception)]
    received, posted = zip(*results, strict=True)  # type: ignore[arg-type]
    assert (sum(received), sum(posted)) == (1, 1)
    assert _balances(database)["cash"] == 17_000
    assert len(_confirmations(database, clock)) == 1


def test_different_payments_of_one_bill_at_the_same_moment_add_up(
    desk: Desk, pay: Pay, database: Database, in_threads: Callable[..., list[object]]
) -> None:
    """Ten part payments at once: every rial is on the bill or the line's credit."""
    bill = desk.opening(FIXED).open_bills[0]
    results = in_threads([lambda n=n: pay(bill, 2_000, f"r{n}") for n in range(10)])
    assert not [result for result in results if isinstance(result, Exception)]
    assert desk.opening(FIXED).open_bills == []
    assert _balances(database) == {
        "cash": 20_000,
        "receivable": 0,
        "credit": -2_550,
        "suspense": 0,
    }


_numbers = iter(range(8_000_000, 9_000_000))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    steps=st.lists(
        st.one_of(
            st.builds(lambda amount: ("bill", 0, amount), st.integers(1, 30_000)),
            st.builds(
                lambda which, amount: ("pay", which, amount),
                st.integers(0, 3),
                st.integers(1, 40_000),
            ),
        ),
        min_size=3,
        max_size=10,
    )
)
@example(steps=[("bill", 0, 17_450), ("pay", 0, 4_500), ("bill", 0, 999), ("bill", 0, 20_700)])
def test_every_rial_is_explained_after_any_bills_and_payments(
    desk: Desk,
    clock: FixedClock,
    load: Callable[..., None],
    database: Database,
    steps: list[tuple[str, int, int]],
) -> None:
    """Bills with any remainders and payments of any size in any order: what the line owes in the
    ledger is what its bills have left; nothing is carried twice or forgotten."""
    number = f"021{8}{next(_numbers)}"
    load([f"{number},fixed,A,B,fa,,,,"], [])
    for n, (what, which, amount) in enumerate(steps, start=1):
        if what == "bill":
            load([], [f"{number},{n},1405,{amount},,,2026-12-05"])
            continue
        open_bills = desk.opening(number).open_bills
        if open_bills:
            bill = open_bills[which % len(open_bills)]
            receipt = desk.receive_payment(
                f"{number}-{n}", bill.bill_id, bill.payment_id, amount, "bank", clock.now()
            )
            assert desk.post_payment(receipt.payment).status == "posted"
    line = desk.opening(number).line
    assert line is not None
    if not any(what == "bill" for what, _, _ in steps):
        return
    with database.read() as conn:
        assert ledger.audit(conn) == []
        owed = ledger.balance(conn, ledger.receivable(line.id))
        left = conn.execute(
            text("SELECT sum(amount - paid - carried_out) FROM bills WHERE line_id = :line"),
            {"line": line.id},
        ).scalar_one()
        parts = conn.execute(
            text(
                "SELECT sum(amount) - (SELECT sum(b.amount) FROM bills b WHERE b.line_id = :line)"
                " FROM bill_lines WHERE bill IN (SELECT id FROM bills WHERE line_id = :line)"
            ),
            {"line": line.id},
        ).scalar_one()
        moved = conn.execute(
            text(
                "SELECT (SELECT sum(carried_out) FROM bills WHERE line_id = :line)"
                " - coalesce((SELECT sum(amount) FROM bill_lines WHERE kind = 'carried'"
                " AND bill IN (SELECT id FROM bills WHERE line_id = :line)), 0)"
            ),
            {"line": line.id},
        ).scalar_one()
    assert owed == left
    assert parts == 0
    assert moved == 0
