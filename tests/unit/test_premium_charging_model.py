"""Premium calls on one line in any order of words, clocks and deaths, against a simple model."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from billing.clock import FixedClock
from billing.database import Database
from billing.errors import KeyConflict
from billing.premium.audit import audit
from billing.premium.consents import Consent
from billing.premium.rating import rate
from billing.premium.schema import premium_calls, premium_credits, reservations
from billing.premium.slices import Grant, Refused
from billing.premium.tariffs import Band
from tests.charging_house import TEHRAN, House, per_call, per_minute

# A quarter of an hour before peak ends at 20:00 in Tehran; a new version comes at midnight.
START = datetime(2026, 11, 21, 16, 15, tzinfo=UTC)
MIDNIGHT = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
PEAK = (Band(tuple(range(7)), 8 * 60, 20 * 60, 9000),)

CREDITS = st.sampled_from([6000, 20_000, 47_999, 120_000, 500_000])

# What may be said next, the frequent ones often; which call is meant; a number of seconds.
WEIGHTS = {
    "begin": 3,
    "connect": 3,
    "extend": 2,
    "end": 2,
    "time": 3,
    "waiting": 1,
    "abandon": 1,
    "put_back": 1,
    "sweep": 1,
    "again": 1,
}
WORDS = [word for word, weight in WEIGHTS.items() for _ in range(weight)]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(WORDS),
        st.integers(0, 3),
        st.sampled_from([0, 1, 19, 60, 61, 119, 300, 899, 1500]),
    ),
    min_size=12,
    max_size=40,
)


@dataclass
class Known:
    """What the model knows of a call."""

    consent: Consent
    connected_at: datetime | None = None
    until: datetime | None = None
    held: int = 0
    charged: tuple[int, int] | None = None


class Calls:
    """Workers, meter and sweeper, each saying whatever it likes whenever it likes."""

    def __init__(self, database: Database, credit: int, slice_s: int, once: bool) -> None:
        """A line with a credit, and a service."""
        self.database = database
        self.clock = FixedClock(START)
        self.house = House(database, self.clock, slice_s=slice_s, longest_call_s=900, waiting_s=300)
        self.line = self.house.line(credit)
        if once:
            tariffs = [per_call(6000, bands=PEAK)]
        else:
            tariffs = [
                per_minute(6000, minimum_s=60, increment_s=20, bands=PEAK),
                per_minute(12_000, valid_from=MIDNIGHT, increment_s=60),
            ]
        self.service = self.house.service(*tariffs)
        self.calls: dict[str, Known] = {}
        self.names = map("call {}".format, itertools.count(1))

    def step(self, word: str, which: int, seconds: int) -> None:
        """Say a word; of the calls, the newest are meant most."""
        if word == "begin":
            self.begin()
        elif word == "time":
            self.clock.advance(seconds)
        elif word == "put_back":
            # Not before the tariffs that were approved at the start.
            if self.clock.now() > START + timedelta(hours=1):
                self.clock.advance(-seconds)
        elif word == "sweep":
            self.sweep()
        elif self.calls:
            name = list(self.calls)[-1 - which % len(self.calls)]
            getattr(self, word)(name, self.calls[name], seconds)
        self.check()

    def begin(self) -> None:
        """A further call accepts and begins."""
        name = next(self.names)
        consent = self.house.consent(name, self.line, *self.service)
        granted = self.house.charging.begin(name, consent, self.service[0], self.line, None, "+98")
        if isinstance(granted, Refused):
            assert granted.reason == "no_credit"
            least = rate(consent.tariffs, self.clock.now(), 1, TEHRAN).amount
            assert self.house.view(self.line).available < least
            return
        assert granted.seconds >= 1
        self.calls[name] = Known(consent, held=granted.held)

    def again(self, name: str, known: Known, _seconds: int) -> None:
        """Another worker begins from the beginning."""
        again = self.house.charging.begin
        if known.charged is None:
            granted = again(name, known.consent, self.service[0], self.line, None, "+98")
            if isinstance(granted, Grant):
                self._granted(known, granted)
        else:
            with pytest.raises(KeyConflict):
                again(name, known.consent, self.service[0], self.line, None, "+98")

    def waiting(self, name: str, known: Known, _seconds: int) -> None:
        """Still in the queue, says a worker."""
        if known.charged is None:
            granted = self.house.charging.waiting(name)
            if isinstance(granted, Grant):
                self._granted(known, granted)

    def connect(self, name: str, known: Known, ago: int) -> None:
        """The content is connected, says a worker or a second one; some see the future."""
        at = self.clock.now() + timedelta(seconds=60 - ago)
        granted = self.house.charging.connected(name, at)
        if known.charged is None:
            at = self.house.standing(name).connected_at or START
            assert known.connected_at in (None, at), "the first word stands"
            if known.connected_at is None:
                # Not in the future, unless the clock was put back since the call began.
                begun_at = self.house.standing(name).begun_at
                assert begun_at <= at <= max(self.clock.now(), begun_at)
            known.connected_at = at
            self._granted(known, granted)
        else:
            assert (granted.seconds, granted.final) == (0, True)

    def extend(self, name: str, known: Known, _seconds: int) -> None:
        """The meter wants more."""
        granted = self.house.charging.extend(name)
        if known.charged is not None or known.connected_at is None:
            assert granted.seconds == 0
        else:
            self._granted(known, granted)

    def end(self, name: str, known: Known, ago: int) -> None:
        """It is over, says a worker; some see the future."""
        self._charged(name, known)
        at = self.clock.now() + timedelta(seconds=60 - ago)
        is_first = known.charged is None
        charged = self.house.charging.ended(name, at)
        standing = self.house.standing(name)
        if is_first and standing.ended_at is not None and standing.seconds:
            assert standing.seen_at is not None
            assert standing.ended_at <= max(self.clock.now(), standing.seen_at)
        self._charged(name, known)
        assert known.charged == (charged.seconds, charged.amount)

    def abandon(self, name: str, known: Known, _seconds: int) -> None:
        """It came to nothing."""
        self.house.charging.abandoned(name, "gone")
        self._charged(name, known)
        assert known.charged is not None
        if known.connected_at is None:
            assert known.charged == (0, 0)

    def sweep(self) -> None:
        """The sweeper looks."""
        now = self.clock.now()
        for name in self.house.charging.sweep():
            known = self.calls[name]
            self._charged(name, known)
            assert known.charged is not None
            if known.until is not None and known.connected_at is not None:
                assert known.until <= now, "nobody's running time is cut"

    def _granted(self, known: Known, granted: Grant) -> None:
        assert granted.held >= known.held, "what is granted is not taken away"
        start = known.connected_at
        if start is not None:
            if known.until is not None:
                assert granted.until >= known.until
            known.until = granted.until
            assert granted.until == start + timedelta(seconds=granted.seconds)
            cost = rate(known.consent.tariffs, start, granted.seconds, TEHRAN).amount
            assert cost <= granted.held
            assert granted.seconds <= 900
        known.held = granted.held

    def _charged(self, name: str, known: Known) -> None:
        standing = self.house.standing(name)
        if standing.status in ("begun", "connected"):
            assert known.charged is None
            return
        charged = (standing.seconds or 0, standing.amount or 0)
        assert known.charged in (None, charged), "charged once"
        known.charged = charged
        assert charged[1] <= known.held, "never more than was held"
        if charged[1]:
            assert known.connected_at is not None
            rated = rate(known.consent.tariffs, known.connected_at, charged[0], TEHRAN)
            assert rated.amount == charged[1]

    def check(self) -> None:
        """The credit holds, and is what the calls say; the auditor agrees."""
        with self.database.read() as conn:
            used, held = conn.execute(
                select(func.sum(premium_credits.c.used), func.sum(premium_credits.c.held))
            ).one()
            amounts = conn.scalar(select(func.sum(premium_calls.c.amount)))
            holds = conn.scalar(
                select(func.sum(reservations.c.held)).where(reservations.c.status == "open")
            )
        assert (used or 0, held or 0) == (amounts or 0, holds or 0)
        assert audit(self.database, TEHRAN) == []


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(CREDITS, st.sampled_from([30, 120, 900]), st.booleans(), STEPS)
def test_any_order_of_words_charges_once_and_never_over(
    migrated_sqlite: Path,
    credit: int,
    slice_s: int,
    once: bool,
    steps: list[tuple[str, int, int]],
) -> None:
    """Whatever is said, twice or late, by whom and under which clock: the rial holds."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(migrated_sqlite, f"{folder}/calls.db")
        database = Database(f"sqlite:///{folder}/calls.db")
        try:
            calls = Calls(database, credit, slice_s, once)
            for step in steps:
                calls.step(*step)
        finally:
            database.close()
