"""Settlement: once, in order, out of what was collected, and it adds up to the ledger (D13)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.clock import FixedClock
from billing.database import Database
from billing.premium import accounts
from billing.premium.disputes import Complaints
from billing.premium.payouts import payout
from billing.premium.providers import Part, UnknownProvider
from billing.premium.settlement import (
    NotInOrder,
    NotOver,
    Settlements,
    Statement,
    UnknownStatement,
    WrongInvoice,
)
from billing.premium.settlement_check import check
from tests.books_house import Books, at, levies
from tests.charging_house import TEHRAN

# The clock of the tests begins in Aban 1405 and is moved to the middle of the months after it.
ABAN, AZAR, DEY = 140508, 140509, 140510
IN_AZAR, IN_DEY, IN_BAHMAN = at(2026, 12, 5), at(2027, 1, 5), at(2027, 2, 5)


@pytest.fixture
def books(database: Database, clock: FixedClock) -> Books:
    """A provider with 70 %, 10 % tax, then 5 % insurance of the rest."""
    return Books(
        database,
        clock,
        share_bp=7000,
        levies=levies(("vat", 900)),
        deductions=levies(("tax", 1000), ("insurance", 500)),
    )


@pytest.fixture
def settlements(books: Books, clock: FixedClock) -> Settlements:
    """The settlements of that house."""
    return Settlements(books.database, clock, TEHRAN, "persian")


def _move(clock: FixedClock, moment: object) -> None:
    clock.advance((moment - clock.now()).total_seconds())  # type: ignore[operator]


def _settle(books: Books, settlements: Settlements, month: int) -> Statement:
    statement = settlements.settle(books.provider_code, month)
    assert statement is not None
    assert check(books.database) == []
    books.check()
    return statement


def test_a_month_is_settled_out_of_what_was_collected(
    books: Books, settlements: Settlements, clock: FixedClock
) -> None:
    """Gross, not collected, collected, share, deductions in order, to pay."""
    line = books.line(10_000_000)
    books.used(line, 100_000)
    books.used(line, 50_000)
    books.pay(books.bill(line, 10_000), 130_000)
    _move(clock, IN_AZAR)
    found = _settle(books, settlements, ABAN)
    assert (found.gross, found.not_collected, found.collected) == (150_000, 30_000, 120_000)
    assert found.share == 84_000
    assert [(each.code, each.of, each.amount) for each in found.deductions] == [
        ("tax", 84_000, 8_400),
        ("insurance", 75_600, 3_780),
    ]
    assert (found.withheld, found.payable, found.carried_out) == (12_180, 71_820, 0)
    assert (found.status, found.held_back) == ("payable", 0)
    assert books.balance(accounts.payable(books.provider)) == -71_820
    assert books.balance(accounts.deduction("tax")) == -8_400


def test_run_twice_it_changes_nothing(
    books: Books,
    settlements: Settlements,
    clock: FixedClock,
    in_threads: Callable[[list[Callable[[], object]]], list[object]],
) -> None:
    """Also at the same moment: one statement, one posting, and later runs find it."""
    line = books.line(10_000_000)
    books.used(line, 100_000)
    books.pay(books.bill(line, 10_000), 110_000)
    _move(clock, IN_AZAR)
    code = books.provider_code
    results = in_threads([lambda: settlements.settle(code, ABAN)] * 5)
    assert all(each == results[0] for each in results)
    before = books.rows("SELECT count(*), sum(amount) FROM entries")
    assert settlements.settle_all(ABAN) == []
    assert settlements.settle(code, ABAN) == results[0]
    assert books.rows("SELECT count(*), sum(amount) FROM entries") == before
    assert check(books.database) == []


def test_months_are_over_and_in_their_order(
    books: Books, settlements: Settlements, clock: FixedClock
) -> None:
    """Not before its end (and some minutes), not without the month before; no gap."""
    line, code = books.line(10_000_000), books.provider_code
    with pytest.raises(UnknownProvider):
        settlements.settle("nobody", ABAN)
    _move(clock, at(2026, 11, 21, 20))
    assert settlements.settle(code, 140507) is None
    books.used(line, 10_000)
    with pytest.raises(NotOver):
        settlements.settle(code, ABAN)
    # Azar begins on 22 November at 00:00 in Tehran, 20:30 UTC on the day before.
    _move(clock, at(2026, 11, 21, 20).replace(minute=39))
    with pytest.raises(NotOver):
        settlements.settle(code, ABAN)
    _move(clock, at(2026, 11, 21, 20).replace(minute=40))
    assert _settle(books, settlements, ABAN).gross == 10_000
    _move(clock, IN_BAHMAN)
    with pytest.raises(NotInOrder, match="1405-09"):
        settlements.settle(code, DEY)
    made = settlements.settle_all(DEY)
    assert [each.period for each in made] == [AZAR, DEY]
    assert [(each.gross, each.not_collected) for each in made] == [(0, 10_000)] * 2
    assert [each.period for each in settlements.listed()] == [ABAN, AZAR, DEY]
    assert settlements.listed(AZAR) == made[:1]


def test_a_provider_without_charges_has_no_statement(
    books: Books, settlements: Settlements, clock: FixedClock
) -> None:
    """There is nothing to say."""
    _move(clock, IN_AZAR)
    assert settlements.settle(books.provider_code, ABAN) is None
    assert settlements.settle_all(ABAN) == []


def test_little_is_carried_forward(database: Database, clock: FixedClock) -> None:
    """Less than the least payout goes into the next month whole; nothing is withheld before."""
    books = Books(database, clock, least_payout=50_000, deductions=levies(("tax", 1000)), kind="a")
    settlements = Settlements(database, clock, TEHRAN, "persian")
    line = books.line(10_000_000)
    books.used(line, 60_000)
    books.pay(books.bill(line, 1_000), 61_000)
    _move(clock, IN_AZAR)
    first = _settle(books, settlements, ABAN)
    # 48,000 less a tenth is under 50,000.
    assert (first.share, first.carried_out, first.payable) == (48_000, 48_000, 0)
    assert (first.withheld, first.deductions, first.status) == (0, (), "carried")
    books.used(line, 10_000)
    books.pay(books.bill(line, 1_000), 11_000)
    _move(clock, IN_DEY)
    second = _settle(books, settlements, AZAR)
    assert (second.carried_in, second.share, second.withheld) == (48_000, 8_000, 5_600)
    assert (second.payable, second.carried_out) == (50_400, 0)
    assert second.status == "awaiting_invoice"


def test_a_provider_with_a_platform_sends_an_invoice(database: Database, clock: FixedClock) -> None:
    """Contract (a): to be paid against an invoice of exactly the amount; paid once."""
    books = Books(database, clock, kind="a")
    settlements = Settlements(database, clock, TEHRAN, "persian")
    line = books.line(10_000_000)
    books.used(line, 60_000)
    books.pay(books.bill(line, 1_000), 61_000)
    _move(clock, IN_AZAR)
    made = _settle(books, settlements, ABAN)
    assert (made.status, made.payable) == ("awaiting_invoice", 48_000)
    with pytest.raises(WrongInvoice, match="awaiting_invoice"):
        settlements.paid(made.id, "T-1")
    with pytest.raises(WrongInvoice, match="48000"):
        settlements.invoice(made.id, "F-17", 48_001)
    for _ in range(2):
        taken = settlements.invoice(made.id, "F-17", 48_000)
        assert (taken.status, taken.invoice) == ("payable", "F-17")
    with pytest.raises(WrongInvoice):
        settlements.invoice(made.id, "F-18", 48_000)
    for _ in range(2):
        done = settlements.paid(made.id, "T-1")
        assert (done.status, done.transfer, done.paid_at) == ("paid", "T-1", clock.now())
    with pytest.raises(WrongInvoice):
        settlements.paid(made.id, "T-2")
    assert settlements.get(made.id) == done
    assert check(database) == []
    assert books.balance(accounts.PAID_OUT) == -48_000
    with pytest.raises(UnknownStatement):
        settlements.invoice(made.id + 1, "F-17", 1)
    with pytest.raises(WrongInvoice):
        settlements.invoice(made.id, "\x00", 48_000)


def test_what_is_disputed_is_held_back(
    books: Books, settlements: Settlements, clock: FixedClock
) -> None:
    """Collected and under complaint: settled once it is rejected."""
    complaints = Complaints(books.database, clock)
    line = books.line(10_000_000)
    call = books.used(line, 100_000)
    books.used(line, 20_000)
    books.pay(books.bill(line, 1_000), 121_000)
    charge = books.charge(call)
    complaint = complaints.open("key", line, charge.id, "call")
    _move(clock, IN_AZAR)
    first = _settle(books, settlements, ABAN)
    assert (first.gross, first.held_back, first.collected) == (120_000, 100_000, 20_000)
    complaints.reject(complaint, "care", "used")
    _move(clock, IN_DEY)
    second = _settle(books, settlements, AZAR)
    assert (second.gross, second.held_back, second.collected) == (0, 0, 100_000)


def test_a_reversal_after_settlement_comes_back(
    books: Books, settlements: Settlements, clock: FixedClock
) -> None:
    """The next statement takes it back, below zero too, and carries what is missing."""
    complaints = Complaints(books.database, clock)
    line = books.line(10_000_000)
    call = books.used(line, 100_000)
    books.pay(books.bill(line, 1_000), 101_000)
    _move(clock, IN_AZAR)
    assert _settle(books, settlements, ABAN).share == 70_000
    charge = books.charge(call)
    complaints.accept(complaints.open("key", line, charge.id, "call"), "care", "never called")
    books.used(line, 30_000)
    # The line has 100,000 of credit: its next bill is paid by it.
    books.bill(line, 1_000)
    _move(clock, IN_DEY)
    second = _settle(books, settlements, AZAR)
    assert (second.gross, second.collected) == (-70_000, -70_000)
    assert (second.share, second.carried_out, second.payable) == (-49_000, -49_000, 0)
    assert (second.withheld, second.status) == (0, "carried")
    assert books.balance(accounts.settled(books.provider)) == 49_000
    books.used(line, 110_000)
    books.bill(line, 1_000)
    _move(clock, IN_BAHMAN)
    third = _settle(books, settlements, DEY)
    # 69,000 of credit are left, 1,000 for the bill's own charges: 68,000 for the new charge.
    assert (third.carried_in, third.collected) == (-49_000, 68_000)
    assert third.share + third.carried_in == 47_600 - 49_000 == third.carried_out


def test_terms_of_the_months_end(books: Books, settlements: Settlements, clock: FixedClock) -> None:
    """Deductions are those of the contract in force at the month's end; shares those of a call."""
    line = books.line(10_000_000)
    first = books.used(line, 100_000)
    books.agree(valid_from=at(2026, 11, 21, 12), share_bp=5000)
    _move(clock, at(2026, 11, 21, 13))
    second = books.used(line, 100_000)
    assert [books.charge(call).provider_part for call in (first, second)] == [70_000, 50_000]
    books.pay(books.bill(line, 1_000), 201_000)
    _move(clock, IN_AZAR)
    found = _settle(books, settlements, ABAN)
    assert (found.share, found.withheld, found.payable) == (120_000, 0, 120_000)


def test_a_difference_is_found(books: Books, settlements: Settlements, clock: FixedClock) -> None:
    """What somebody changes behind the books' back stands in the check."""
    line = books.line(10_000_000)
    books.used(line, 100_000)
    books.pay(books.bill(line, 1_000), 101_000)
    _move(clock, IN_AZAR)
    _settle(books, settlements, ABAN)
    with books.database.begin() as conn:
        conn.exec_driver_sql(
            "UPDATE settlements SET gross = gross + 1, share = share + 1, payable = payable + 1"
        )
    names = [each.where.partition(" ")[2] or each.where for each in check(books.database)]
    assert len(names) == 6
    assert any(name.endswith("share") for name in names)


@given(
    st.integers(-(10**10), 10**10),
    st.lists(st.integers(1, 10_000), max_size=5),
    st.integers(0, 10**8),
)
def test_a_payout_adds_up(total: int, shares: list[int], least: int) -> None:
    """Withheld, carried and payable sum to the share; nothing is withheld of what is carried."""
    parts = [Part(f"d{place}", bp) for place, bp in enumerate(shares)]
    found = payout(total, parts, least)
    assert found.withheld + found.carried_out + found.payable == total
    assert found.payable >= 0
    if found.payable:
        assert found.payable >= least
        assert found.carried_out == 0
    if found.carried_out:
        assert found.deductions == ()
    left = total
    for each in found.deductions:
        assert (each.of, each.amount) == (left, left * each.bp // 10_000)
        left -= each.amount
