"""`python -m bench`: measures, prints the table; its exit code says whether all targets hold."""

from __future__ import annotations

import os
import sys
import time

import click
from rich.console import Console

from bench import report
from bench.figures import GROUPS, QUICK, Bench, Figure, Scale
from bench.process import ROOT, BenchError

PAGE = ROOT / "docs" / "performance.md"


@click.command()
@click.option(
    "--peers",
    metavar="PYTHON",
    type=click.Path(exists=True, dir_okay=False),
    # Not resolved: the environment is found by the link that its Python is.
    callback=lambda _context, _option, path: path and os.path.abspath(path),
    help="Python of an environment with the peers.",
)
@click.option(
    "--only",
    "names",
    multiple=True,
    type=click.Choice(list(GROUPS)),
    help="Only this group of figures (may be repeated).",
)
@click.option("--quick", is_flag=True, help="Too few calls to judge by: shows that it works.")
@click.option("--write", is_flag=True, help="Put the table into docs/performance.md.")
def main(peers: str | None, names: tuple[str, ...], quick: bool, write: bool) -> None:
    """Measure what a call costs, beside stock greenswitch and genesis.

    Ends with 1 when a target is missed (never with --quick), with 2 when it could not measure.
    """
    if write and (names or quick or not peers):
        raise click.UsageError("--write needs a whole run with --peers")
    console, progress = Console(), Console(stderr=True, highlight=False)
    described = report.machine(peers)
    begun = time.monotonic()
    figures: list[Figure] = []

    def say(text: str) -> None:
        progress.print(f"{time.monotonic() - begun:5.0f} s  {text}", style="dim")

    try:
        with Bench(QUICK if quick else Scale(), peers, say) as bench:
            for name in names or GROUPS:
                figures += GROUPS[name](bench)
    except BenchError as error:
        progress.print(str(error), style="red", markup=False)
        sys.exit(2)
    for line in described:
        console.print(line, style="dim", highlight=False)
    console.print(report.table(figures))
    if quick:
        console.print("quick run: the figures are too short to judge by")
        return
    if write:
        report.write(PAGE, report.section(figures, described))
    missed = [figure.title for figure in figures if figure.passed is False]
    if missed:
        console.print(f"missed: {'; '.join(missed)}", style="bold red")
        sys.exit(1)


if __name__ == "__main__":
    main()
