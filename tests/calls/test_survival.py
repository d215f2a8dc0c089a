"""A live call survives its worker: a sample of what `make survival` does a thousand times."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from bench.survival.plan import KINDS, plan_of

ROOT = Path(__file__).parents[2]


def test_workers_killed_in_the_middle_of_calls():
    """kill -9 at seeded moments: no call dropped, nothing ordered twice, nothing promised lost,
    the journal whole."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.survival", "--runs", "25", "--seed", "20", "--at-once", "4"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 calls dropped, 0 orders duplicate, 0 promises lost, 0 journals not whole" in (
        done.stdout
    )
    killed = re.search(r"25 runs, (\d+) workers killed", done.stdout)
    assert killed is not None
    assert int(killed[1]) >= 25


def test_a_run_can_be_replayed():
    """The same seed and index plan the same call and the same deaths; another seed other ones."""
    assert [plan_of(1, index) for index in range(50)] == [plan_of(1, index) for index in range(50)]
    assert [plan_of(1, n).moments for n in range(50)] != [plan_of(2, n).moments for n in range(50)]


def test_every_kind_of_moment_is_met():
    """A thousand runs of a seed die in every way there is, more than once in a call, too."""
    plans = [plan_of(3, index) for index in range(1000)]
    assert {moment.kind for plan in plans for moment in plan.moments} == set(KINDS)
    assert {len(plan.moments) for plan in plans} == {1, 2, 3}
    assert len({plan.scenario.title for plan in plans}) > 20
