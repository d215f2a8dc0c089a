"""Posting: a charged call comes into the books once, divided to the last rial (D3)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, text

from billing import ledger, outbox
from billing.clock import FixedClock
from billing.database import Database
from billing.premium import accounts
from billing.premium.posting import Inconsistent, NotCharged, NoTerms, Posted, parts
from billing.premium.providers import Contract, Part
from billing.premium.schema import owners
from tests.books_house import Books, at, levies
from tests.charging_house import LONG_AGO


@pytest.fixture
def books(database: Database, clock: FixedClock) -> Books:
    """A provider with 80 %, a levy of 9 % and one of half a per cent."""
    return Books(database, clock, levies=levies(("vat", 900), ("fund", 50)))


def test_a_charge_is_divided_and_in_the_ledger(books: Books) -> None:
    """Caller's debit = provider + levies + operator, each on its account."""
    line = books.line(1_000_000)
    call = books.used(line, 20_001)
    charge = books.charge(call)
    assert (charge.provider_part, charge.operator_part, charge.levies_part) == (
        16_001,
        2_100,
        1_900,
    )
    assert json.loads(charge.levies) == [
        {"code": "vat", "amount": 1_800},
        {"code": "fund", "amount": 100},
    ]
    assert (charge.status, charge.unbilled, charge.contract) == (
        "posted",
        20_001,
        books.contract.id,
    )
    assert books.balance(accounts.unbilled(line)) == 20_001
    assert books.balance(accounts.uncollected(books.provider)) == -16_001
    assert books.balance(accounts.OPERATOR) == -2_100
    assert books.balance(accounts.levy("vat")) == -1_800
    books.check()


def test_it_is_posted_once_however_often(
    books: Books, in_threads: Callable[[list[Callable[[], object]]], list[object]]
) -> None:
    """Several jobs at once post one charge; the others hear that it is there."""
    call = books.used(books.line(1_000_000), 20_000, post=False)
    results = in_threads([lambda: books.post(call)] * 6)
    assert all(isinstance(each, Posted) and each.status == "posted" for each in results)
    assert sorted(each.new for each in results if isinstance(each, Posted)) == [False] * 5 + [True]
    assert len({each.charge for each in results if isinstance(each, Posted)}) == 1
    books.check()


def test_what_is_not_to_be_posted_is_not(books: Books) -> None:
    """A parked or free call is left alone; one that runs or is unknown is a fault of the asker."""
    line = books.line(1_000_000)
    call = books.used(line, 20_000, post=False)
    with books.database.begin() as conn:
        conn.execute(text("UPDATE premium_calls SET status = 'parked', reason = 'x'"))
    assert books.post(call) == Posted("parked", None, new=False)
    with books.database.begin() as conn:
        conn.execute(text("UPDATE premium_calls SET status = 'free'"))
    assert books.post(call) == Posted("free", None, new=False)
    service = books.service()
    books.connect("running", line, service)
    for unknown in ("running", "nobody"):
        with pytest.raises(NotCharged):
            books.post(unknown)


def test_without_terms_nothing_is_posted(database: Database, clock: FixedClock) -> None:
    """A provider whose first contract begins later: the charge waits until it is written down."""
    books = Books(database, clock, valid_from=at(2027, 1, 1))
    call = books.used(books.line(1_000_000), 20_000, post=False)
    with pytest.raises(NoTerms):
        books.post(call)
    assert books.rows("SELECT count(*) FROM charges") == [(0,)]


def test_an_amount_that_the_consent_does_not_tell_is_not_posted(books: Books) -> None:
    """Whoever changes a call's amount behind the books' back gets it nowhere."""
    call = books.used(books.line(1_000_000), 20_000, post=False)
    with books.database.begin() as conn:
        conn.execute(text("UPDATE premium_calls SET amount = 20001"))
    with pytest.raises(Inconsistent):
        books.post(call)


def test_the_owner_is_told_where_wished(books: Books, clock: FixedClock) -> None:
    """One SMS job for each charge, to the registered mobile; none where it is not wished."""
    quiet, told = books.line(1_000_000), books.line(1_000_000)
    with books.database.begin() as conn:
        conn.execute(
            text("UPDATE lines SET mobile = '+989121111111', language = 'ru' WHERE id = :line"),
            {"line": told},
        )
        conn.execute(insert(owners).values(line=told, charge_sms=1))
    assert not books.post(books.used(quiet, 20_000, post=False)).sms
    call = books.used(told, 20_000, post=False)
    posted = books.post(call)
    assert posted.sms
    assert not books.post(call).sms
    (job,) = outbox.claim(books.database, "test", clock.now(), 60, queue="sms")
    assert (job.kind, job.payload) == (
        "sms.charge",
        {"to": "+989121111111", "language": "ru", "charge": posted.charge},
    )


@st.composite
def _terms(draw: st.DrawFn) -> Contract:
    share = draw(st.integers(0, 10_000))
    left = 10_000 - share
    taken = []
    for code in ("vat", "fund", "town"):
        bp = draw(st.integers(0, left))
        left -= bp
        if bp:
            taken.append(Part(code, bp))
    return Contract(1, 1, LONG_AGO, "b", share, tuple(taken), (), 0)


@given(st.integers(1, 10**12), _terms())
def test_the_parts_sum_to_the_charge(amount: int, terms: Contract) -> None:
    """No rial is lost or made, and nobody's part is a rial or more off its share."""
    divided = parts(amount, terms)
    levied = [part for _, part in divided.levies]
    assert divided.provider + divided.operator + sum(levied) == amount
    shares = [terms.share_bp, *(levy.bp for levy in terms.levies)]
    shares.append(10_000 - sum(shares))
    for part, share in zip([divided.provider, *levied, divided.operator], shares, strict=True):
        assert abs(part * 10_000 - amount * share) < 10_000
        assert part >= 0
        assert share or not part


@given(
    st.lists(st.integers(0, 50), min_size=2, max_size=6),
    st.randoms(use_true_random=False),
)
def test_two_sides_that_sum_to_the_same_are_paired(amounts: list[int], random: object) -> None:
    """Transfers put on each account exactly what it should get."""
    total = sum(amounts)
    debits = [("a", total // 3), ("b", total - total // 3)]
    credits = [(f"c{place}", amount) for place, amount in enumerate(amounts)]
    moved: dict[str, int] = {}
    for transfer in accounts.paired(debits, credits):
        assert isinstance(transfer, ledger.Transfer)
        assert transfer.amount > 0
        moved[transfer.debit] = moved.get(transfer.debit, 0) + transfer.amount
        moved[transfer.credit] = moved.get(transfer.credit, 0) - transfer.amount
    expected = {code: amount for code, amount in debits if amount}
    expected |= {code: -amount for code, amount in credits if amount}
    assert moved == expected
