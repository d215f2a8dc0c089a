"""`callflows missed`: callers who found no worker, and are owed a call."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from billing import missed
from billing.numbers import mask
from cli.main import settings_of
from cli.parts import Parts

HEADER = (
    "      id  caller            calls  first             last              lang  dialled  "
    "interrupted      served since"
)


@click.group("missed", invoke_without_command=True)
@click.option("--full", is_flag=True, help="Show whole numbers, for whoever calls back.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.pass_context
def command(ctx: click.Context, full: bool, limit: int) -> None:
    """List the callers to call back: their calls heard an apology because no worker was there.

    New notes in missed_spool are taken in first. One line for each caller, the longest waiting
    first. "interrupted" is the state a conversation was in; "served since" tells who has called
    again meanwhile and was served.

    \b
    Examples:
      callflows missed
      callflows missed --full
      callflows missed done 17
      callflows missed take-in /var/spool/callflows/missed
    """
    if ctx.invoked_subcommand is not None:
        return
    parts = Parts(settings_of())
    spool = parts.settings.missed_spool
    complete = True
    if spool is not None:
        complete = _take_in(parts, spool, quiet=True)
    found = missed.call_backs(parts.database, limit)
    zone = parts.settings.zone
    if found:
        click.echo(HEADER)
    for entry in found:
        click.echo(
            f"{entry.id:>8}  {entry.caller if full else mask(entry.caller):<16}  "
            f"{entry.count:>5}  {_time(entry.first_at, zone)}  {_time(entry.last_at, zone)}  "
            f"{entry.language or '-':<4}  {entry.dialled or '-':<7}  {entry.state or '-':<15}  "
            f"{_time(entry.served_at, zone)}"
        )
    if not found:
        click.echo("nobody is to be called back")
    unknown = missed.anonymous(parts.database)
    if unknown:
        click.echo(f"and {unknown} missed calls without a number")
    ctx.exit(0 if complete else 1)


@command.command("take-in")
@click.argument(
    "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False
)
@click.pass_context
def take_in(ctx: click.Context, folder: Path | None) -> None:
    """Take in the notes of a spool FOLDER (default: missed_spool), as often as you like.

    The exit code is 1 if a note could not be used; it is named, and kept as *.bad.
    """
    parts = Parts(settings_of())
    folder = folder or parts.settings.missed_spool
    if folder is None:
        raise click.UsageError("give the folder, or configure missed_spool")
    ctx.exit(0 if _take_in(parts, folder, quiet=False) else 1)


@command.command("done")
@click.argument("missed_id", metavar="ID", type=int)
def done(missed_id: int) -> None:
    """Take the caller of line ID off the list; a call missed after that one stays."""
    parts = Parts(settings_of())
    try:
        count = missed.done(parts.database, missed_id, parts.clock.now())
    except LookupError as error:
        raise click.ClickException(f"{error}; `callflows missed` lists them") from error
    click.echo(f"{count} missed calls are done")


def _time(moment: datetime | None, zone: ZoneInfo) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M}" if moment else "-"


def _take_in(parts: Parts, folder: Path, *, quiet: bool) -> bool:
    try:
        intake = missed.take_in(parts.database, folder, parts.settings.region)
    except OSError as error:
        raise click.ClickException(
            f"missed_spool: {folder}: {error.strerror}\n"
            "The folder has to be readable and writable for this account and for the switch's."
        ) from error
    for name, reason in intake.rejected:
        click.echo(f"{name}: {reason}", err=True)
    if not quiet:
        click.echo(
            f"missed calls: {intake.taken} taken in, {intake.known} known, "
            f"{len(intake.rejected)} rejected"
        )
    return not intake.rejected
