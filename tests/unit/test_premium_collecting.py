"""Bills with premium charges: their own section, paid last, collected to the last rial (D4)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import ledger
from billing.bill_ids import compute_bill_id, compute_payment_id
from billing.clock import FixedClock
from billing.database import Database
from tests.books_house import Books, at, levies

ONE_DATABASE = settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def books(database: Database, clock: FixedClock) -> Books:
    """A provider with 70 % and a levy of 9 %."""
    return Books(database, clock, share_bp=7000, levies=levies(("vat", 900)))


def test_what_was_used_joins_the_next_bill(books: Books) -> None:
    """The bill without IDs asks for all charges of its line, in a section for each service."""
    line, other = books.line(10_000_000), books.line(10_000_000)
    calls = [books.used(line, amount) for amount in (20_001, 20_001, 5_300)]
    books.used(other, 7_000)
    bill = books.bill(line, 100_000)
    row = books.bill_row(bill)
    assert row.amount == 100_000 + 45_302
    assert books.rows(f"SELECT kind, amount FROM bill_lines WHERE bill = {bill} ORDER BY kind") == [
        ("charges", 100_000),
        ("premium", 45_302),
    ]
    sections = f"SELECT calls, seconds, amount FROM bill_services WHERE bill = {bill}"
    assert sorted(books.rows(sections)) == [(1, 7, 5_300), (2, 14, 40_002)]
    assert {books.charge(call).bill for call in calls} == {bill}
    assert row.payment_id == compute_payment_id(row.bill_id, 145_000, 1405, row.period)
    # 302 rials are the next bill's; those are of the newest charge.
    assert [books.charge(call).unbilled for call in calls] == [0, 0, 0]
    books.check()


def test_the_newest_charge_is_carried_on(books: Books) -> None:
    """What a bill leaves to the next one is what would have been paid last."""
    line = books.line(10_000_000)
    oldest, newest = books.used(line, 20_200), books.used(line, 10_100)
    first = books.bill(line, 100_000)
    books.bill(line, 50_000)
    carried = "SELECT charge, amount FROM bill_charges WHERE kind = 'carried'"
    assert books.rows(carried) == [(books.charge(newest).id, 300)]
    books.pay(first, 130_000)
    assert books.charge(oldest).collected == 20_200
    assert books.charge(newest).collected == 9_800
    books.check()


def test_loading_again_changes_nothing(books: Books) -> None:
    """The same row again, after more was used: the bill is as it was, the next one asks."""
    line = books.line(10_000_000)
    books.used(line, 20_000)
    bill = books.bill(line, 100_000, period=1)
    books.used(line, 30_000)
    assert books.bill(line, 100_000, period=1) == bill
    assert books.bill_row(bill).amount == 120_000
    second = books.bill(line, 50_000, period=2)
    assert books.bill_row(second).amount == 80_000
    books.check()


def test_a_bill_with_the_issuers_ids_is_left_as_it_is(books: Books) -> None:
    """Of its payment ID nothing can be changed: the charges wait for the next one without IDs."""
    line = books.line(10_000_000)
    call = books.used(line, 20_000)
    bill_id = compute_bill_id(books.number(line), "fixed")
    ids = f"{bill_id},{compute_payment_id(bill_id, 100_000, 1405, 1)}"
    given_bill = books.bill(line, 100_000, period=1, ids=ids)
    assert books.bill_row(given_bill).amount == 100_000
    assert books.charge(call).unbilled == 20_000
    own = books.bill(line, 100_000, period=2)
    assert books.bill_row(own).amount == 120_000
    books.check()


def test_everything_else_is_paid_first_then_the_oldest_charge(books: Books) -> None:
    """Nobody's telephone is cut off for a premium charge: those are what is missing."""
    line = books.line(10_000_000)
    first, second = books.used(line, 20_001), books.used(line, 10_000)
    bill = books.bill(line, 100_000)
    books.pay(bill, 100_000)
    assert books.collections(first) == []
    books.pay(bill, 15_000)
    assert books.collections(first) == [(15_000, 14_001 * 15_000 // 20_001)]
    assert books.collections(second) == []
    books.pay(bill, 15_000)
    assert [amount for amount, _ in books.collections(first)] == [15_000, 5_001]
    assert sum(part for _, part in books.collections(first)) == books.charge(first).provider_part
    assert [amount for amount, _ in books.collections(second)] == [9_999]
    # The last rial is below what a payment ID carries: the next bill asks for it.
    assert (books.bill_row(bill).status, books.left(bill)) == ("paid", 1)
    books.check()


def test_a_remainder_stays_with_its_charge(books: Books) -> None:
    """What is carried into the next bill is last there, too, and collected with the rest of it."""
    line = books.line(10_000_000)
    call = books.used(line, 20_300)
    first = books.bill(line, 100_000)
    books.pay(first, 120_000)
    assert books.charge(call).collected == 20_000
    second = books.bill(line, 50_500)
    newer = books.used(line, 10_000)
    row = books.bill_row(second)
    assert (row.amount, books.left(first)) == (50_800, 0)
    # 50,000 of 50,800: all of it is for the bill's own 50,500 rials.
    books.pay(second, 50_000)
    assert books.charge(call).collected == 20_000
    third = books.bill(line, 1_000)
    assert books.bill_row(third).amount == 1_000 + 800 + 10_000
    books.check()
    # 500 of the carried 800 are no premium: 1,500 go first, then the 300, then the newer charge.
    books.pay(third, 2_000)
    assert books.charge(call).collected == 20_300
    assert books.charge(newer).collected == 200
    assert sum(part for _, part in books.collections(call)) == books.charge(call).provider_part
    books.check()


def test_a_lines_credit_collects_too(books: Books) -> None:
    """What a line has paid too much pays its next bill at once, premium charges last."""
    line = books.line(10_000_000)
    books.pay(books.bill(line, 10_000), 10_000 + 65_000)
    call = books.used(line, 30_000)
    bill = books.bill(line, 50_000)
    assert (books.left(bill), books.charge(call).collected) == (15_000, 15_000)
    # And a bill that is open takes what has come up since when it is sent again.
    books.pay(books.bill(line, 1_000, period=60), 1_000 + 4_000)
    period = books.bill_row(bill).period
    books.load(f"{books.number(line)},{period},1405,50000,,,2027-01-20")
    assert (books.left(bill), books.charge(call).collected) == (11_000, 19_000)
    books.check()


def test_bills_of_one_file_pass_it_on(books: Books, clock: FixedClock) -> None:
    """Two bills of a line in one batch: the first one's remainder is in the second."""
    line = books.line(10_000_000)
    call = books.used(line, 20_700)
    number = books.number(line)
    books.load(
        f"{number},1,1405,100000,,,2027-01-20",
        f"{number},2,1405,100000,,,2027-02-20",
    )
    assert books.rows("SELECT kind, amount, carried FROM bill_charges ORDER BY bill") == [
        ("premium", 20_700, 700),
        ("carried", 700, 0),
    ]
    (first, second) = (row[0] for row in books.rows("SELECT id FROM bills ORDER BY id"))
    assert (books.left(first), books.left(second)) == (120_000, 100_700)
    books.check()
    # 700 more, for the second bill's remainder to be whole.
    third = books.bill(line, 99_300, period=3)
    assert books.left(second) == 100_000
    books.pay(third, 100_000)
    books.pay(first, 120_000)
    assert books.charge(call).collected == 20_700
    books.check()


def test_two_payments_at_once_collect_once(
    books: Books, in_threads: Callable[[list[Callable[[], object]]], list[object]]
) -> None:
    """Payments of two bills that ask for the same charge do not come between each other."""
    line = books.line(10_000_000)
    call = books.used(line, 20_700)
    first = books.bill(line, 1_000)
    second = books.bill(line, 1_300)
    assert books.rows("SELECT amount FROM bill_charges ORDER BY bill") == [(20_700,), (700,)]
    results = in_threads(
        [lambda: books.pay(first, 1_000)] * 4
        + [lambda: books.pay(second, 2_000)]
        + [lambda: books.pay(first, 1_000)] * 3
    )
    assert [each for each in results if isinstance(each, Exception)] == []
    assert books.charge(call).collected == 6_000 + 700
    books.check()


@ONE_DATABASE
@given(
    amounts=st.lists(st.integers(1, 60_000), min_size=1, max_size=4),
    other=st.integers(1, 90_000),
    shares=st.lists(st.integers(1, 30_000), min_size=1, max_size=6),
    share_bp=st.integers(0, 9_000),
)
def test_collected_in_any_order_of_payments(
    database: Database,
    amounts: list[int],
    other: int,
    shares: list[int],
    share_bp: int,
) -> None:
    """However a bill is paid, each step adds up; paid in full, the provider has its whole part."""
    clock = FixedClock(at(2026, 11, 21))
    books = Books(database, clock, share_bp=share_bp)
    line = books.line(10_000_000)
    calls = [books.used(line, amount) for amount in amounts]
    bill = books.bill(line, other)
    for share in shares:
        if books.bill_row(bill).status == "paid":
            break
        books.pay(bill, min(share, books.left(bill)))
        books.check()
        clock.advance(1)
    # Whatever is left is paid with the next bills, until no remainder is left.
    clock.advance(timedelta(days=30).total_seconds())
    for _ in range(3):
        last = bill
        rest = books.left(bill) % 1000
        bill = books.bill(line, 1000 - rest if rest else 1000)
        for each in (last, bill):
            if books.bill_row(each).status == "open":
                books.pay(each, books.left(each))
        books.check()
    for call in calls:
        charge = books.charge(call)
        assert charge.collected == charge.amount
        assert sum(part for _, part in books.collections(call)) == charge.provider_part
    assert books.provider_has() == (0, sum(books.charge(call).provider_part for call in calls))
    assert books.balance(ledger.receivable(line)) == 0
