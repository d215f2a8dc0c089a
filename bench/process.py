"""Processes of a measurement: the servers under test, and the load generator that calls them."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.switch import Result

ROOT = Path(__file__).parent.parent
SERVERS = Path(__file__).parent / "servers"
START_S = 60.0
ORDER_S = 240.0


class BenchError(RuntimeError):
    """A measurement could not be taken; the text says of what and why."""


def _environment() -> dict[str, str]:
    """No configuration of whoever runs the benchmark reaches what is measured."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CALLFLOWS_", "GENESIS_", "OTEL_", "PYTHON"))
    }
    return kept | {"PYTHONPATH": str(ROOT)}


class Child:
    """A process that answers lines with lines, with its errors kept for the message."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # lives as long as the child
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=_environment(),
            # No configuration file of whoever runs the benchmark, either.
            cwd=tempfile.gettempdir(),
        )
        assert self._process.stdout is not None
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)

    def line(self, limit_s: float) -> str:
        """The child's next line. Raises BenchError with the end of its errors."""
        assert self._process.stdout is not None
        text = self._process.stdout.readline() if self._selector.select(limit_s) else ""
        if not text:
            raise BenchError(f"{self.name} does not answer\n{self.errors()[-2000:]}")
        return text

    def errors(self) -> str:
        """What the child has written to standard error."""
        self._errors.seek(0)
        return self._errors.read()

    def write(self, text: str) -> None:
        """Send the child a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def close(self) -> None:
        """End the child."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._selector, self._errors):
            if pipe is not None:
                pipe.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu_s(self) -> float:
        """CPU time that all threads of the process have used, user and system (ns resolution).

        The process's own clock, by the number that clock_getcpuclockid(3) gives.
        """
        return time.clock_gettime((~self.pid << 3) | 2)


class Server(Child):
    """A server under test, in a process and perhaps an environment of its own."""

    def __init__(self, script: str, python: str = sys.executable, *arguments: str) -> None:
        super().__init__(script, [python, str(SERVERS / f"{script}.py"), *arguments])
        try:
            self.port = int(self.line(START_S))
        except BenchError:
            self.close()
            raise

    def family_cpu_s(self) -> float:
        """CPU time of the processes that it has forked, and of those that they have."""
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        family = {self.pid}
        while more := {pid for pid, parent in parents.items() if parent in family} - family:
            family |= more
        family.discard(self.pid)
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in family)

    def memory_kib(self) -> int:
        """Proportional set size: resident memory, shared pages counted by their share."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))


class SwitchProcess(Child):
    """The load generator."""

    def __init__(self) -> None:
        super().__init__("load generator", [sys.executable, "-m", "bench.switch"])

    def run(self, *, tolerant: bool = False, **order: Any) -> Result:
        """Carry out an `Order`. Raises BenchError if a call did not end as it should, unless the
        failures are to be counted (`tolerant`)."""
        self.write(json.dumps(order) + "\n")
        result = Result(**json.loads(self.line(ORDER_S)))
        if result.failures and not tolerant:
            raise BenchError(f"calls failed: {result.failures}")
        return result

    def release(self) -> None:
        """Drop the parked calls."""
        self.run(release=True)
