"""Credit under simultaneous callers, and under any order of requests."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select

from billing.clock import FixedClock
from billing.database import Database
from billing.errors import KeyConflict
from billing.premium.credit import CreditView
from billing.premium.schema import reservations
from tests.credit_till import MONTH, Till


@pytest.fixture
def till(database: Database, clock: FixedClock) -> Till:
    """A till over a fresh database."""
    return Till(database, clock)


# -- simultaneous callers -------------------------------------------------------------------------


def test_two_hundred_callers_never_exceed_one_credit(
    till: Till, in_threads: Callable[[list[Callable[[], object]]], list[object]]
) -> None:
    """200 calls at the same moment on one line: as many as fit begin, to the last rial."""
    line = till.line(100_000)
    approval = till.approval(line, 99_000)
    draw = random.Random(4)
    used = [draw.randrange(700) for _ in range(200)]

    def caller(place: int) -> Callable[[], object]:
        def call() -> bool:
            # Every other call is under the owner's approval too.
            purse = approval if place % 2 else None
            if not till.reserve(f"call-{place}", line, 701, purse):
                return False
            till.extend(f"call-{place}", 999)
            return True

        return call

    began = in_threads([caller(place) for place in range(200)])
    assert set(began) <= {True, False}
    view = till.credit.view(line)
    assert view.held <= 100_000
    # Nobody was refused without need: no slice that was asked for would fit any more.
    assert view.available < 701
    ended = in_threads(
        [
            lambda place=place: till.commit(f"call-{place}", used[place])
            for place in range(200)
            if began[place]
        ]
    )
    assert set(ended) == {None}
    taken = sum(used[place] for place in range(200) if began[place])
    assert till.credit.view(line) == CreditView(MONTH, 100_000, taken, 0)
    of_purse = sum(used[place] for place in range(1, 200, 2) if began[place])
    assert till.purse(approval) == (of_purse, 0)


def test_one_call_said_by_many_is_held_once(
    till: Till, in_threads: Callable[[list[Callable[[], object]]], list[object]]
) -> None:
    """The same call reserved, then ended, by many workers at once counts once."""
    line = till.line(10_000)
    assert set(in_threads([lambda: till.reserve("a", line, 500)] * 20)) == {True}
    assert till.credit.view(line).held == 500
    amounts = [100, 200] * 10
    ended = in_threads([lambda amount=amount: till.commit("a", amount) for amount in amounts])
    conflicts = [each for each in ended if isinstance(each, KeyConflict)]
    assert len(conflicts) == 10
    assert till.credit.view(line).used in (100, 200)
    assert till.credit.view(line).held == 0


def test_ends_and_expiries_meet_without_harm(
    till: Till, in_threads: Callable[[list[Callable[[], object]]], list[object]]
) -> None:
    """Calls that end while they expire are resolved once, whichever comes first."""
    line = till.line(100_000)
    approval = till.approval(line, 100_000)
    for place in range(40):
        till.reserve(f"call-{place}", line, 1000, approval)
    till.clock.advance(120)
    results = in_threads(
        [lambda place=place: till.commit(f"call-{place}", 10) for place in range(40)]
        + [lambda: till.expire(3) for _ in range(20)]
    )
    committed = sum(each is None for each in results)
    expired = {key for each in results if isinstance(each, list) for key in each}
    assert committed + len(expired) >= 40 - sum(isinstance(each, KeyConflict) for each in results)
    expired.update(till.expire(100))
    assert committed + len(expired) == 40
    assert till.credit.view(line) == CreditView(MONTH, 100_000, 10 * committed, 0)
    assert till.purse(approval) == (10 * committed, 0)


# -- any order of anything ------------------------------------------------------------------------

AMOUNT = st.integers(1, 400)


class CreditMachine(RuleBasedStateMachine):
    """Whatever is asked in whatever order: the tables are what a plain model says."""

    keys: Bundle[str] = Bundle("keys")
    used_keys: Bundle[str] = Bundle("used_keys")

    def __init__(self, till: Till, number: int) -> None:
        super().__init__()
        self.till = till
        self.name = f"m{number}"
        self.count = 0
        self.line = till.line(1000)
        self.approval = till.approval(self.line, 600)
        self.ceiling = 1000
        self.open: dict[str, tuple[int, bool, datetime]] = {}
        self.over: dict[str, tuple[str, int]] = {}
        self.used = self.purse_used = self.waited = 0

    @property
    def held(self) -> int:
        return sum(held for held, _, _ in self.open.values())

    @property
    def purse_held(self) -> int:
        return sum(held for held, approved, _ in self.open.values() if approved)

    def fits(self, amount: int, approved: bool) -> bool:
        return self.used + self.held + amount <= self.ceiling and (
            not approved or self.purse_used + self.purse_held + amount <= 600
        )

    @rule(target=keys, amount=AMOUNT, approved=st.booleans())
    def reserve(self, amount: int, approved: bool) -> str:
        self.count += 1
        key = f"{self.name}-{self.count}"
        purse = self.approval if approved else None
        fits = self.fits(amount, approved)
        assert self.till.reserve(key, self.line, amount, purse) == fits
        if fits:
            self.open[key] = (amount, approved, self.till.later(self.till.clock.now()))
        return key

    @rule(key=keys, amount=AMOUNT)
    def reserve_again(self, key: str, amount: int) -> None:
        if key in self.open:
            purse = self.approval if self.open[key][1] else None
            assert self.till.reserve(key, self.line, amount, purse)
        elif key in self.over:
            with pytest.raises(KeyConflict):
                self.till.reserve(key, self.line, amount)

    @rule(key=keys, more=AMOUNT, total=st.booleans())
    def extend(self, key: str, more: int, total: bool) -> None:
        if key not in self.open:
            return
        held, approved, _ = self.open[key]
        if total:
            asked = max(0, more - held)
            answer = self.till.extend_to(key, more)
        else:
            asked = more
            answer = self.till.extend(key, more)
        fits = not asked or self.fits(asked, approved)
        assert answer == fits
        if fits:
            self.open[key] = (held + asked, approved, self.till.later(self.till.clock.now()))

    @rule(key=keys, share=st.fractions(0, 1))
    def commit(self, key: str, share: Any) -> None:
        if key in self.open:
            held, approved, _ = self.open.pop(key)
            spent = int(held * share)
            self.till.commit(key, spent)
            self.used += spent
            self.purse_used += spent if approved else 0
            self.over[key] = ("committed", spent)
        elif key in self.over:
            status, spent = self.over[key]
            if status == "committed":
                self.till.commit(key, spent)
            with pytest.raises(KeyConflict):
                self.till.commit(key, spent + 1)

    @rule(key=consumes(keys))
    def release(self, key: str) -> None:
        if key in self.open:
            self.till.release(key)
            del self.open[key]
            self.over[key] = ("released", 0)

    @rule(seconds=st.integers(1, 150))
    def wait(self, seconds: int) -> None:
        self.till.clock.advance(seconds)
        self.waited += seconds

    @rule()
    def expire(self) -> None:
        now = self.till.clock.now()
        gone = {key for key, (_, _, until) in self.open.items() if until <= now}
        assert set(self.till.expire()) == gone
        for key in gone:
            del self.open[key]
            self.over[key] = ("expired", 0)

    @rule(amount=st.integers(0, 2000))
    def set_standing(self, amount: int) -> None:
        self.till.set_standing(self.line, amount)
        self.ceiling = max(amount, self.used + self.held)

    @invariant()
    def the_tables_say_the_same(self) -> None:
        view = self.till.credit.view(self.line)
        assert (view.ceiling, view.used, view.held) == (self.ceiling, self.used, self.held)
        assert self.till.purse(self.approval) == (self.purse_used, self.purse_held)

    def teardown(self) -> None:
        """Leave nothing open that the next example's expiry would find."""
        for key in self.open:
            self.till.release(key)
        # Nor come to the end of the month.
        self.till.clock.advance(-self.waited)


def test_any_order_of_requests_counts_right(till: Till) -> None:
    """Reservations, slices, ends, expiries and new ceilings in any order, against a model."""
    made = iter(range(10**6))
    run_state_machine_as_test(
        lambda: CreditMachine(till, next(made)),
        settings=settings(
            max_examples=40,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    open_ = select(func.count()).select_from(reservations).where(reservations.c.status == "open")
    assert till.database.query(lambda conn: conn.execute(open_).scalar_one()) == 0
