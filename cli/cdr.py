"""`callflows cdr`: call records of the switches, and whether they agree with the journals."""

from __future__ import annotations

import json
import sys
from datetime import datetime, time, timedelta, tzinfo
from pathlib import Path

import click

from billing import cdr_spool
from billing.cdr_matching import GRACE, TOLERANCE, Mismatches, mismatches
from cli.main import settings_of
from cli.parts import Parts


@click.group("cdr")
def command() -> None:
    """Call records (CDRs) of the switches: take in their disk spool, compare with the journals.

    \b
    Examples:
      callflows cdr take-in /var/spool/callflows/cdr
      callflows cdr mismatches --day 2026-11-21
    """


@command.command("take-in")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--remove", is_flag=True, help="Remove taken files instead of keeping them.")
def take_in(folder: Path, remove: bool) -> None:
    """Take in the records that a switch wrote to FOLDER (its err-log-dir) while nobody took them.

    Each file is stored first and then moved to FOLDER/taken; running it again changes nothing.
    What cannot be taken goes to FOLDER/bad and is named with the reason; the exit code is then 1.
    With cdr_spool_dir configured the relay does this each minute.
    """
    parts = Parts(settings_of())
    try:
        result = cdr_spool.take_in(
            parts.database,
            folder,
            parts.clock.now(),
            remove=remove,
            tolerance=parts.charge_tolerance,
        )
    except OSError as error:
        raise click.ClickException(
            f"{error.filename or folder}: {error.strerror}\n"
            "This account must be allowed to read the files and to move them."
        ) from error
    for rejected in result.rejected:
        click.echo(f"{rejected.file}: {rejected.reason}", err=True)
    waiting = f", {result.waiting} still being written" if result.waiting else ""
    click.echo(
        f"{result.stored} records taken, {result.repeated} were there already, "
        f"{len(result.rejected)} rejected{waiting}"
    )
    sys.exit(1 if result.rejected else 0)


@command.command("mismatches")
@click.option(
    "--day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The day (at the operator's place); default: today.",
)
@click.option(
    "--grace",
    type=click.FloatRange(0, 7 * 24 * 60),
    default=GRACE.total_seconds() / 60,
    show_default=True,
    help="Minutes that a record or a journal may be late.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 3600),
    default=TOLERANCE.total_seconds(),
    show_default=True,
    help="Seconds that times may be apart.",
)
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def show(day: datetime | None, grace: float, tolerance: float, limit: int, as_json: bool) -> None:
    """List the calls of a day whose journal and call record do not agree, and why.

    The exit code is 1 if there are any.

    \b
    no_journal    a worker had the call, and there is no journal of it
    not_served    answered, and no worker took it (see `callflows missed`)
    no_cdr        a journal without a record
    open_journal  the call is over, and no worker saw its end
    times         beginning or end differ
    outcome       the two cannot both be true
    """
    settings = settings_of()
    parts = Parts(settings)
    now = parts.clock.now()
    date = day.date() if day else now.astimezone(settings.zone).date()
    begin = datetime.combine(date, time(), settings.zone)
    found = mismatches(
        parts.database,
        begin,
        datetime.combine(date + timedelta(days=1), time(), settings.zone),
        now,
        grace=timedelta(minutes=grace),
        tolerance=timedelta(seconds=tolerance),
        limit=limit,
    )
    if as_json:
        click.echo(_as_json(found))
    else:
        _tell(found, settings.zone)
    sys.exit(1 if any(found.counts.values()) else 0)


def _as_json(found: Mismatches) -> str:
    items = [
        {"kind": each.kind, "call": each.call_id, "at": each.at.isoformat(), "detail": each.detail}
        for each in found.items
    ]
    return json.dumps({"counts": found.counts, "mismatches": items}, indent=2)


def _tell(found: Mismatches, zone: tzinfo) -> None:
    for each in found.items:
        at = f"{each.at.astimezone(zone):%Y-%m-%d %H:%M:%S}"
        click.echo(f"{each.call_id}  {at}  {each.kind:<13} {each.detail}")
    total = sum(found.counts.values())
    if found.since is None:
        click.echo("no switch has ever sent a call record: nothing to compare (docs/cdr.md)")
    elif total > len(found.items):
        click.echo(f"and {total - len(found.items)} more")
    elif not total:
        click.echo("journals and call records agree")
