"""The table: on the terminal, and as a section of docs/performance.md."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich import box
from rich.table import Table

from bench.figures import Figure

BEGIN = "<!-- written by `python -m bench --write`: begin -->"
END = "<!-- written by `python -m bench --write`: end -->"


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _target(figure: Figure) -> str:
    if figure.limit is None:
        return ""
    return f"{'≥' if figure.at_least else '≤'} {figure.limit:g}"


def _verdict(figure: Figure) -> str:
    return {True: "pass", False: "FAIL", None: ""}[figure.passed]


def _cells(figure: Figure) -> tuple[str, ...]:
    spread = f"{_number(min(figure.values))} to {_number(max(figure.values))}"
    return (
        figure.title,
        figure.unit,
        _number(figure.median),
        spread if len(figure.values) > 1 else "",
        _target(figure),
        _verdict(figure),
    )


_HEAD = ("figure", "unit", "median", "min to max", "target", "")


def table(figures: Sequence[Figure]) -> Table:
    """The figures for a terminal."""
    drawn = Table(*_HEAD, box=box.SIMPLE)
    for column in (2, 3, 4):
        drawn.columns[column].justify = "right"
    for figure in figures:
        style = {True: "green", False: "bold red", None: "dim"}[figure.passed]
        drawn.add_row(*_cells(figure), style=style)
    return drawn


def machine(peers: str | None) -> list[str]:
    """What the figures were taken on, without any name of a host."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = [f"{name} {version(name)}" for name in ("gevent", "greenlet", "SQLAlchemy", "typst")]
    lines = [
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, "
        f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        f"Python {platform.python_version()}, {', '.join(versions)}, "
        f"SQLite {sqlite3.sqlite_version}",
        f"load of the machine before the run: {os.getloadavg()[0]:.1f} (others may be using it)",
    ]
    if peers:
        asked = (
            "from importlib.metadata import version as v;"
            "print(v('greenswitch'), v('genesis'), v('gevent'))"
        )
        done = subprocess.run([peers, "-c", asked], capture_output=True, text=True, check=True)
        stock, genesis, loop = done.stdout.split()
        lines.append(f"peers: greenswitch {stock} on gevent {loop}, genesis {genesis}")
    return lines


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def section(figures: Sequence[Figure], described: Sequence[str]) -> str:
    """The generated section of docs/performance.md."""
    lines = [f"Taken on {datetime.now(UTC):%Y-%m-%d}:", ""]
    lines += [f"* {each}" for each in described]
    lines += ["", f"| {' | '.join(_HEAD)} |", "|---|---|--:|--:|--:|---|"]
    lines += [f"| {' | '.join(_cells(figure))} |" for figure in figures]
    return "\n".join(lines)


def write(page: Path, text: str) -> None:
    """Put the section between its marks. Raises ValueError where the page has none."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page.name} has no place for the table")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
