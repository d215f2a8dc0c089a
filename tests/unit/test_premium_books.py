"""Premium charges through anything that can happen to them: the books add up after each step."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing import ledger
from billing.clock import FixedClock
from billing.database import Database
from billing.premium import accounts
from billing.premium.disputes import Complaints, NotDisputable
from billing.premium.months import bounds, month_of
from billing.premium.settlement import Settlements
from billing.premium.settlement_check import check
from tests.books_house import Books, at, levies
from tests.charging_house import TEHRAN

_STEPS = st.one_of(
    st.tuples(st.just("use"), st.integers(1, 60_000)),
    st.tuples(st.just("bill"), st.integers(1, 60_000)),
    st.tuples(st.just("pay"), st.integers(1, 90_000)),
    st.tuples(st.just("complain"), st.integers(0, 10)),
    st.tuples(st.just("accept"), st.integers(0, 10)),
    st.tuples(st.just("reject"), st.integers(0, 10)),
    st.tuples(st.just("month"), st.just(0)),
)


@dataclass
class _World:
    books: Books
    clock: FixedClock
    complaints: Complaints
    settlements: Settlements
    line: int
    calls: list[str] = field(default_factory=list)
    bills: list[int] = field(default_factory=list)
    open: list[int] = field(default_factory=list)
    paid: int = 0
    asked: int = 0

    def step(self, what: str, number: int) -> None:
        getattr(self, f"_{what}")(number)
        self.clock.advance(1)
        self.books.check()
        assert check(self.books.database) == []

    def _use(self, amount: int) -> None:
        self.calls.append(self.books.used(self.line, amount))

    def _bill(self, amount: int) -> None:
        self.bills.append(self.books.bill(self.line, amount))
        self.asked += amount

    def _pay(self, amount: int) -> None:
        """The oldest open bill; too much is the line's credit."""
        for bill in self.bills:
            if self.books.bill_row(bill).status == "open":
                self.books.pay(bill, amount)
                self.paid += amount
                return

    def _complain(self, place: int) -> None:
        if not self.calls:
            return
        charge = self.books.charge(self.calls[place % len(self.calls)])
        key = f"{charge.call_id}:{self.clock.now()}"
        try:
            self.open.append(self.complaints.open(key, self.line, charge.id, "call", again=True))
        except NotDisputable:
            assert charge.status != "posted"

    def _accept(self, place: int) -> None:
        if self.open:
            self.complaints.accept(self.open.pop(place % len(self.open)), "care", "x")

    def _reject(self, place: int) -> None:
        if self.open:
            self.complaints.reject(self.open.pop(place % len(self.open)), "care", "x")

    def _month(self, _: int) -> None:
        """To the next month; the one that is over is settled, twice."""
        month = month_of(self.clock.now(), TEHRAN, "persian")
        _, until = bounds(month, TEHRAN, "persian")
        self.clock.advance((until + timedelta(hours=1) - self.clock.now()).total_seconds())
        self.settlements.settle_all(month)
        assert self.settlements.settle_all(month) == []

    def end(self) -> None:
        """What is still open is decided, billed, paid and settled: nothing is left anywhere."""
        while self.open:
            self.step("reject", 0)
        for _ in range(3):
            # What a bill cannot ask for (below a thousand) makes the next one whole.
            owed = self.books.balance(ledger.receivable(self.line))
            unbilled = sum(self.books.charge(call).unbilled for call in self.calls)
            self.step("bill", 1000 + (-(owed + unbilled)) % 1000)
            for bill in self.bills:
                if self.books.bill_row(bill).status == "open":
                    left = self.books.left(bill)
                    self.books.pay(bill, left)
                    self.paid += left
            self.books.check()
        self.step("month", 0)
        stand = [
            charge for charge in map(self.books.charge, self.calls) if charge.status != "reversed"
        ]
        assert all(charge.collected == charge.amount for charge in stand)
        statements = self.settlements.listed()
        mine = [each for each in statements if each.provider == self.books.provider]
        assert sum(each.gross for each in mine) == sum(charge.amount for charge in stand)
        share = sum(charge.provider_part for charge in stand)
        assert sum(each.share for each in mine) == share
        if mine:
            assert (mine[-1].not_collected, mine[-1].held_back) == (0, 0)
            out = sum(each.withheld + each.payable for each in mine)
            assert share == out + mine[-1].carried_out
        # Every rial that arrived paid something, or is the line's credit.
        credit = -self.books.balance(ledger.credit(self.line))
        assert self.paid == self.asked + sum(charge.amount for charge in stand) + credit
        assert self.books.balance(ledger.receivable(self.line)) == 0
        assert self.books.balance(accounts.unbilled(self.line)) == 0


@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    steps=st.lists(_STEPS, min_size=3, max_size=14),
    share_bp=st.integers(0, 8_000),
    deducted=st.integers(1, 9_999),
    least=st.sampled_from([0, 20_000]),
)
def test_whatever_happens_the_books_add_up(
    database: Database,
    steps: list[tuple[str, int]],
    share_bp: int,
    deducted: int,
    least: int,
) -> None:
    """Calls, bills, payments, complaints and settlements in any order: to the last rial."""
    clock = FixedClock(at(2026, 11, 21))
    books = Books(
        database,
        clock,
        share_bp=share_bp,
        levies=levies(("vat", 900)),
        deductions=levies(("tax", deducted)),
        least_payout=least,
    )
    world = _World(
        books,
        clock,
        Complaints(database, clock),
        Settlements(database, clock, TEHRAN, "persian"),
        books.line(100_000_000),
    )
    for what, number in steps:
        world.step(what, number)
    world.end()
