"""Runs of the simulation: one seed, many calls, in one process or several."""

from __future__ import annotations

import gc
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.simulation.faults import FragileDatabase
from tests.simulation.world import Trouble, World


@dataclass
class Outcome:
    """What a run came to. ``wrong`` is empty, or the run has failed."""

    seed: int
    calls: int
    seconds: float
    fingerprint: str
    wrong: list[str]
    happened: Counter[str] = field(default_factory=Counter)
    deaths: Counter[tuple[str, str]] = field(default_factory=Counter)


def run(
    seed: int, calls: int, *, url: str | None = None, trouble: Trouble | None = None
) -> Outcome:
    """Run so many calls of a seed; in memory's file system, unless a database is given."""
    begun = time.monotonic()
    # A world makes objects, not rubbish in circles: looking for it costs a tenth of the time.
    gc.set_threshold(100_000, 20, 20)
    folder = Path("/dev/shm")  # a folder of our own is made in it
    with TemporaryDirectory(dir=folder if folder.is_dir() else None) as place:
        database = FragileDatabase(url or f"sqlite:///{place}/simulation.db")
        database.migrate()
        world = World(database, seed, calls, trouble)
        world.run()
        happened = world.happened + Counter({f"refused: {k}": n for k, n in world.refused.items()})
        outcome = Outcome(
            seed,
            calls,
            time.monotonic() - begun,
            world.fingerprint(),
            world.wrong,
            happened,
            database.deaths,
        )
        database.close()
    return outcome


def run_all(seed: int, calls: int, processes: int) -> list[Outcome]:
    """Share the calls among processes; each has a world and a seed of its own."""
    share = calls // processes
    if processes == 1:
        return [run(seed, calls)]
    with ProcessPoolExecutor(processes) as pool:
        return list(pool.map(run, range(seed, seed + processes), [share] * processes))
