"""`callflows report`: a day in figures."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from billing import reports
from cli.main import settings_of
from cli.parts import Parts


@click.command()
@click.option(
    "--day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The day (at the operator's place); default: today.",
)
def command(day: datetime | None) -> None:
    """Print a day's figures as JSON: calls, ways to pay, messages, payments.

    The report of each past day is also written to state_dir/reports by the queue `reports`.

    \b
    Example:
      callflows report --day 2026-11-21
    """
    settings = settings_of()
    parts = Parts(settings)
    wanted = day.date() if day else datetime.now(UTC).astimezone(settings.zone).date()
    report = reports.daily(parts.database, wanted, settings.timezone, now=parts.clock.now())
    click.echo(json.dumps(report, ensure_ascii=False, indent=2, default=str))
