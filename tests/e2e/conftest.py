"""The command line as a user has it: processes, a folder of their own, recordings built once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.calls.scenario import BILLS, LINES

ROOT = Path(__file__).parents[2]


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@dataclass
class House:
    """A folder with a configuration of its own, and the command to use in it."""

    folder: Path
    environment: dict[str, str]

    def run(self, *words: str, timeout: float = 60.0, **more: str) -> subprocess.CompletedProcess:
        """Run `callflows` with these words, to its end."""
        return subprocess.run(
            [*COMMAND, *words],
            cwd=self.folder,
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def start(self, *words: str, **popen) -> subprocess.Popen:
        """Start `callflows` with these words."""
        return subprocess.Popen(
            [*COMMAND, *words], cwd=self.folder, env=self.environment, text=True, **popen
        )


COMMAND = [sys.executable, "-P", "-m", "cli.main"]


@pytest.fixture
def house(tmp_path, sounds_dir) -> House:
    """Lines and bills of the scenarios, in CSV files, not imported yet."""
    return house_in(tmp_path, sounds_dir)


def house_in(tmp_path: Path, sounds_dir: Path) -> House:
    """A house in that folder."""
    (tmp_path / "lines.csv").write_text(LINES, encoding="utf-8")
    (tmp_path / "bills.csv").write_text(BILLS, encoding="utf-8")
    worker, web, dashboard = free_ports(3)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CALLFLOWS_")}
    return House(
        tmp_path,
        {
            **clean,
            "CALLFLOWS_SOUNDS_DIR": str(sounds_dir),
            "CALLFLOWS_WORKER_LISTEN": f"127.0.0.1:{worker}",
            "CALLFLOWS_WEB_LISTEN": f"127.0.0.1:{web}",
            "CALLFLOWS_PUBLIC_URL": f"http://127.0.0.1:{web}",
            "CALLFLOWS_DASHBOARD_LISTEN": f"127.0.0.1:{dashboard}",
        },
    )


@pytest.fixture
def furnished(house) -> House:
    """The house with lines and bills imported."""
    return furnish(house)


def furnish(house: House) -> House:
    """Import lines and bills."""
    done = house.run("import", "--lines", "lines.csv", "--bills", "bills.csv")
    assert done.returncode == 0, done.stderr
    return house
