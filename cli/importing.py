"""`callflows import`: lines and bills from CSV files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from billing.csv_rows import Report
from billing.errors import BillingError
from billing.importing import import_bills, import_lines
from cli.main import settings_of
from cli.parts import Parts

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
SHOWN = 50


@click.command()
@click.option("--lines", type=FILE, help="CSV file of lines and their subscribers.")
@click.option("--bills", type=FILE, help="CSV file of bills.")
def command(lines: Path | None, bills: Path | None) -> None:
    """Load lines and bills from CSV files. Rows that are there already are left as they are.

    Good rows are loaded; each bad row is named with its line and the reason, and the exit code is
    then 1 (2 if a file cannot be used at all).

    \b
    Columns of --lines: number,kind,first_name,last_name,language,mobile,email,address,postal_code
      kind is fixed or mobile, language fa, ar, ru or en.
    Columns of --bills: number,period,year,amount,bill_id,payment_id,due_date
      amount in rials; empty IDs are computed; due_date 2026-12-05 or, Solar Hijri, 1405/09/14.

    \b
    Example:
      callflows import --lines conf/sample/lines.csv --bills conf/sample/bills.csv
    """
    if lines is None and bills is None:
        raise click.UsageError("give --lines, --bills or both")
    database = Parts(settings_of()).database
    rejected = 0
    if lines is not None:
        rejected += _load("lines", lines, partial(import_lines, database))
    if bills is not None:
        rejected += _load("bills", bills, partial(import_bills, database))
    sys.exit(1 if rejected else 0)


def _load(what: str, file: Path, load: Callable[..., Report]) -> int:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed} rows"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task(f"{what}: {file.name}", total=None)
        try:
            report = load(file, progress=lambda rows: progress.update(task, completed=rows))
        except BillingError as error:
            click.echo(f"{file}: {error}", err=True)
            sys.exit(2)
    for row in report.rejected[:SHOWN]:
        click.echo(f"{file}:{row.line_no}: {row.reason}", err=True)
    if len(report.rejected) > SHOWN:
        click.echo(f"... and {len(report.rejected) - SHOWN} more rows with faults", err=True)
    click.echo(
        f"{what}: {report.loaded} loaded, {report.unchanged} unchanged, "
        f"{len(report.rejected)} rejected"
    )
    return len(report.rejected)
