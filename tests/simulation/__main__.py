"""`python -m tests.simulation`: premium calls while everything dies; 1 if a rial differs."""

from __future__ import annotations

import sys
import time
from collections import Counter

import click

from tests.simulation.run import run_all


@click.command()
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--calls", type=click.IntRange(1), default=100_000, show_default=True)
@click.option("--processes", type=click.IntRange(1), default=2, show_default=True)
def main(seed: int, calls: int, processes: int) -> None:
    """Simulate premium calls, and audit what is left.

    Each process has a world of its own, with the next seed. A world that fails is run again, to the
    last row the same, by its seed, its calls and --processes 1.
    """
    begun = time.monotonic()
    outcomes = run_all(seed, calls, processes)
    happened: Counter[str] = sum((each.happened for each in outcomes), Counter())
    deaths: Counter[tuple[str, str]] = sum((each.deaths for each in outcomes), Counter())
    for name, count in sorted(happened.items()):
        click.echo(f"{count:>9,}  {name}")
    for (point, phase), count in sorted(deaths.items()):
        click.echo(f"{count:>9,}  died {phase} the write of: {point}")
    for each in outcomes:
        again = f"--seed {each.seed} --calls {each.calls} --processes 1"
        verdict = "nothing differs" if not each.wrong else f"{len(each.wrong)} things are wrong"
        click.echo(f"seed {each.seed}: {each.calls:,} calls, {verdict}; {each.fingerprint[:16]}")
        for line in each.wrong[:20]:
            click.echo(f"  {line}")
        if each.wrong:
            click.echo(f"  again: python -m tests.simulation {again}")
    click.echo(
        f"{sum(each.calls for each in outcomes):,} calls in {time.monotonic() - begun:.0f} s"
    )
    sys.exit(1 if any(each.wrong for each in outcomes) else 0)


if __name__ == "__main__":
    main()
