"""`python -m bench.survival`: runs, a few at a time; its exit code says whether all held."""

from __future__ import annotations

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

import atexit
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bench.survival.plan import Plan, plan_of
from bench.survival.run import Verdict, carry_out, quiet
from esl_worker import crew
from sounds import Catalogue, load_catalogue
from tests.calls.scenario import Scenario
from tests.calls.world import World

LIMIT_S = 90.0
_fork: Any = monkey.get_original("os", "fork")
_waitpid: Any = monkey.get_original("os", "waitpid")


@click.command()
@click.option("--runs", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--seed", type=int, default=None, help="Default: a new one, which is printed.")
@click.option("--only", type=int, help="Just the run of this index, with its log: to replay it.")
@click.option("--at-once", type=click.IntRange(1, 64), default=4, show_default=True)
@click.option("--verbose", is_flag=True, help="Print every run.")
def main(runs: int, seed: int | None, only: int | None, at_once: int, verbose: bool) -> None:
    """Kill workers -9 in the middle of calls, and see that nothing is dropped, doubled or lost.

    A run whose moments did not come (the call was over before) does not count: another is made.
    Ends with 1 if anything was.
    """
    seed = int.from_bytes(os.urandom(3), "big") if seed is None else seed
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="callflows-survival-", dir=place))
    try:
        good = _all(seed, runs, only, at_once, verbose, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(not good)


@dataclass
class _Running:
    plan: Plan
    pid: int
    folder: Path
    deadline: float


class _Runs:
    """Starts runs in processes of their own and gathers their verdicts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._catalogue: Catalogue = load_catalogue()
        self._templates: dict[tuple[object, ...], Path] = {}
        self._running: dict[int, _Running] = {}

    @property
    def count(self) -> int:
        return len(self._running)

    def start(self, plan: Plan) -> None:
        """Start a run."""
        folder = self._folder / str(plan.index)
        folder.mkdir()
        shutil.copy(self._template(plan.scenario), folder / "calls.db")
        out, into = os.pipe()
        crew.no_loop()
        pid = _fork()
        if pid == 0:
            self._be_run(plan, folder, into)
        os.close(into)
        self._running[out] = _Running(plan, pid, folder, time.monotonic() + LIMIT_S)

    def _be_run(self, plan: Plan, folder: Path, into: int) -> None:
        code = 1
        try:
            os.setsid()
            quiet(folder)
            verdict = carry_out(plan, folder, self._catalogue)
            code = 0
        except BaseException as error:
            verdict = Verdict(plan.index, faults=[f"failed: {error!r}"])
        finally:
            (folder / "verdict").write_text(verdict.to_json())
            os.write(into, b".")
            os._exit(code)

    def gather(self) -> list[tuple[Plan, Verdict, str]]:
        """The runs that have ended since: plan, verdict, log."""
        ended = _readable(list(self._running), 0.2)
        now = time.monotonic()
        found = []
        for out, run in list(self._running.items()):
            if out in ended:
                verdict = _verdict(run)
            elif now > run.deadline:
                verdict = Verdict(run.plan.index, faults=["failed: the run does not end"])
            else:
                continue
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
            _waitpid(run.pid, 0)
            os.close(out)
            del self._running[out]
            log = run.folder / "log"
            told = log.read_text() if log.exists() else ""
            shutil.rmtree(run.folder, ignore_errors=True)
            found.append((run.plan, verdict, told))
        return found

    def close(self) -> None:
        """End whatever still runs."""
        for run in self._running.values():
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)

    def _template(self, scenario: Scenario) -> Path:
        key = (
            tuple(scenario.paid),
            tuple(scenario.more_bills),
            tuple(scenario.sms_used.items()),
            tuple(scenario.limits.items()),
        )
        if key not in self._templates:
            folder = self._folder / f"template{len(self._templates)}"
            folder.mkdir()
            World(folder, scenario).close()
            self._templates[key] = folder / "calls.db"
        return self._templates[key]


def _verdict(run: _Running) -> Verdict:
    try:
        return Verdict(**json.loads((run.folder / "verdict").read_text()))
    except (OSError, ValueError):
        return Verdict(run.plan.index, faults=["failed: the run's process died"])


def _readable(descriptors: list[int], seconds: float) -> list[int]:
    # gevent's would start the loop, which no fork survives.
    return list(monkey.get_original("select", "select")(descriptors, [], [], seconds)[0])


def _all(seed: int, runs: int, only: int | None, at_once: int, verbose: bool, folder: Path) -> bool:
    begun = time.monotonic()
    house = _Runs(folder)
    faults: Counter[str] = Counter()
    counted = killed = idle = repeats = 0
    bad: list[str] = []
    index = 0 if only is None else only
    wanted = runs if only is None else 1
    atexit.register(house.close)
    while counted < wanted or house.count:
        while house.count < at_once and counted + house.count < wanted:
            house.start(plan_of(seed, index))
            index += 1
        for plan, verdict, log in house.gather():
            if not verdict.kills and not verdict.faults and only is None:
                idle += 1
                continue
            counted += 1
            killed += verdict.kills
            repeats += verdict.repeats
            faults.update({fault.partition(":")[0] for fault in verdict.faults})
            if verdict.faults:
                bad.append(str(plan))
            if verbose or verdict.faults or only is not None:
                click.echo(f"{plan}\n    {verdict.kills} killed, {verdict.seconds:.2f} s")
            for fault in verdict.faults:
                click.echo(f"    {fault}")
            if only is not None:
                click.echo(log)
    took = time.monotonic() - begun
    click.echo(
        f"seed {seed}: {counted} runs, {killed} workers killed, {repeats} questions asked again, "
        f"{took:.0f} s ({idle} more runs were over before their moment came)"
    )
    click.echo(
        f"{faults['dropped']} calls dropped, {faults['duplicate']} orders duplicate, "
        f"{faults['lost']} promises lost, {faults['journal']} journals not whole"
    )
    others = {name: count for name, count in faults.items() if name not in KNOWN}
    if others:
        click.echo(f"other faults: {others}")
    if bad:
        click.echo(f"replay one: python -m bench.survival --seed {seed} --only INDEX")
    return not bad


KNOWN = ("dropped", "duplicate", "lost", "journal")

if __name__ == "__main__":
    main()
