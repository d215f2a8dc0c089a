"""A sample of the simulation: premium calls while everything dies, and no rial is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, text

from billing.premium.credit import Credit
from tests.simulation.faults import PHASES
from tests.simulation.run import run
from tests.simulation.world import NONE, Trouble

ROUGH = Trouble(death_at_write=0.1, death_between=0.01, frozen=0.005)


def test_without_trouble_every_call_costs_what_it_should() -> None:
    """Nobody dies: each call is judged by the switch's own times, and the auditor is content."""
    outcome = run(7, 200, trouble=NONE)
    assert outcome.wrong == []
    assert outcome.happened["judged"] == 200
    assert not outcome.deaths


def test_with_trouble_nothing_is_lost_or_charged_too_much() -> None:
    """Workers die at every write, before, within and after it; records and clocks go wrong."""
    outcome = run(11, 600, trouble=ROUGH)
    assert outcome.wrong == []
    for point in ("accept", "begin", "connected", "extend", "ended", "record"):
        assert all(outcome.deaths[point, phase] for phase in PHASES), point
    for event in ("taken over", "swept", "frozen", "record lost", "record repeated"):
        assert outcome.happened[event], event


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
@pytest.mark.postgres
def test_it_holds_on_postgresql(database_url: str) -> None:
    """The same worlds, on the production database."""
    assert run(5, 100, url=database_url, trouble=ROUGH).wrong == []


def test_a_seed_is_the_same_run_again() -> None:
    """Down to the last row; another seed is another run."""
    first, again, other = (run(seed, 80, trouble=ROUGH) for seed in (3, 3, 4))
    assert (first.fingerprint, first.deaths, first.happened) == (
        again.fingerprint,
        again.deaths,
        again.happened,
    )
    assert other.fingerprint != first.fingerprint


def _keeps_a_rial(original: Callable[..., Any]) -> Callable[..., Any]:
    def commit(self: Credit, conn: Connection, key: str, amount: int, now: Any) -> None:
        original(self, conn, key, amount, now)
        if key.endswith("7"):
            conn.execute(text("UPDATE premium_credits SET held = held + 1"))

    return commit


def test_a_fault_is_found_and_its_seed_shows_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rial that stays held where it should not, in one call of ten: found, in every replay."""
    monkeypatch.setattr(Credit, "commit", _keeps_a_rial(Credit.commit))
    outcomes = [run(2, 60) for _ in range(2)]
    assert outcomes[0].wrong
    assert outcomes[0].wrong == outcomes[1].wrong
