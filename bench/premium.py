"""Figures of premium calls: credit reserved and committed, on both databases."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench.postgres import Postgres, binaries
from bench.process import Child

PROCESSES = {"SQLite": 1, "PostgreSQL": 2}
"""Workers that share the work: SQLite has one writer, so a second worker would only wait."""


def credit_pairs(
    folder: Path, callers: int, pairs: int, rounds: int, say: Callable[[str], None]
) -> dict[str, list[float]]:
    """Pairs of reserve and commit a second, each on the disk, by database and round.

    Raises:
        BenchError: it could not be measured.
    """
    rates: dict[str, list[float]] = {}
    with ExitStack() as stack:
        urls = {"SQLite": f"sqlite:///{folder / 'credit.db'}"}
        programs = binaries()
        if programs is None:
            say("no PostgreSQL here: no figure of it")
        else:
            server = Postgres(programs, folder / "postgres")
            stack.callback(server.stop)
            server.start()
            urls["PostgreSQL"] = server.url
        for name, url in urls.items():
            _run([_child(name, url)])
            for turn in range(rounds):
                say(f"credit on {name}, round {turn + 1} of {rounds}")
                workers = PROCESSES[name]
                started = [
                    _child(name, url, f"{turn}-{worker}", callers // workers, pairs // workers)
                    for worker in range(workers)
                ]
                rates.setdefault(name, []).append(sum(map(float, _run(started, ready=True))))
    return rates


def _child(name: str, url: str, *options: object) -> Child:
    command = [sys.executable, "-m", "bench.credit", url, *map(str, options)]
    return Child(f"credit on {name}", command)


def _run(children: list[Child], *, ready: bool = False) -> list[str]:
    try:
        if ready:
            for child in children:
                child.line(60.0)
            for child in children:
                child.write("go\n")
        return [child.line(240.0) for child in children]
    finally:
        for child in children:
            child.close()
