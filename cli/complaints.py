"""`callflows complaints`: complaints about premium charges, and their decisions (D12)."""

from __future__ import annotations

import getpass
from pathlib import Path
from zoneinfo import ZoneInfo

import click
from sqlalchemy import select

from billing.numbers import mask
from billing.premium.disputes import Complaint, Status
from billing.premium.schema import charges
from cli.main import settings_of
from cli.parts import Parts

BY = click.option(
    "--by", default=getpass.getuser, show_default="your account", help="Who decides this."
)
REASON = click.option("--reason", required=True, help="Why; kept with the decision.")


@click.group("complaints")
def command() -> None:
    """Complaints about charges: what was said, and what a person decides.

    A charge is disputed from the complaint on: no bill asks for it, no statement settles it.

    \b
    Examples:
      callflows complaints list
      callflows complaints show 7
      callflows complaints accept 7 --reason "the line was tapped"
      callflows complaints reject 7 --reason "heard, pressed, and used for 12 minutes"
    """


@command.command("list")
@click.option(
    "--status",
    type=click.Choice(["open", "accepted", "rejected", "all"]),
    default="open",
    show_default=True,
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
def list_complaints(status: Status | str, limit: int) -> None:
    """List complaints, the oldest first."""
    parts = Parts(settings_of())
    wanted: Status | None = None if status == "all" else status  # type: ignore[assignment]
    found = parts.premium.complaints.listed(wanted, limit)
    for each in found:
        click.echo(_told(each, parts.settings.zone))
    if not found:
        click.echo("no complaints")


@command.command("show")
@click.argument("number", type=int)
def show(number: int) -> None:
    """Show complaint NUMBER, where it was recorded, and what to read about its call."""
    parts = Parts(settings_of())
    settings = parts.settings
    try:
        found = parts.premium.complaints.find(number)
    except LookupError as error:
        raise click.ClickException(str(error)) from error
    click.echo(_told(found, settings.zone))
    click.echo(f"  collected so far: {found.collected:,} rials")
    path = None if found.recording is None else Path(settings.recordings_dir) / found.recording
    if path is not None and path.is_file():
        click.echo(f"  message: {path}")
    else:
        click.echo("  no message was left")
    if found.decided_at is not None:
        at = found.decided_at.astimezone(settings.zone)
        click.echo(f"  decided {at:%Y-%m-%d %H:%M} by {found.decided_by}: {found.reason}")
    click.echo(f"  what was heard and pressed: callflows explain {found.charged_call}")


@command.command("open")
@click.argument("call_id", metavar="CALL")
@click.option("--again", is_flag=True, help="Also where one was rejected before.")
def open_one(call_id: str, again: bool) -> None:
    """Open a complaint about the charge of a CALL, for somebody who wrote or came in."""
    parts = Parts(settings_of())
    with parts.database.read() as conn:
        charge = conn.execute(
            select(charges.c.id, charges.c.line).where(charges.c.call_id == call_id)
        ).one_or_none()
    if charge is None:
        raise click.ClickException(f"call {call_id} was not charged")
    key = f"operations:{call_id}:{parts.clock.now().isoformat()}"
    number = parts.premium.complaints.open(key, charge.line, charge.id, call_id, again=again)
    parts.nudge()
    click.echo(f"complaint {number} is open")


@command.command("accept")
@click.argument("number", type=int)
@REASON
@BY
def accept(number: int, reason: str, by: str) -> None:
    """Accept complaint NUMBER: its charge is reversed by new entries, and the owner is told."""
    parts = Parts(settings_of())
    amount = parts.premium.complaints.accept(number, by, reason)
    parts.nudge()
    click.echo(f"complaint {number} is accepted: {amount:,} rials are reversed")


@command.command("reject")
@click.argument("number", type=int)
@REASON
@BY
def reject(number: int, reason: str, by: str) -> None:
    """Reject complaint NUMBER: its charge stands, and the owner is told."""
    parts = Parts(settings_of())
    amount = parts.premium.complaints.reject(number, by, reason)
    parts.nudge()
    click.echo(f"complaint {number} is rejected: {amount:,} rials stand")


def _told(each: Complaint, zone: ZoneInfo) -> str:
    opened = each.opened_at.astimezone(zone)
    at = each.connected_at.astimezone(zone)
    return (
        f"{each.id}  {each.status:<8}  {opened:%Y-%m-%d %H:%M}  {mask(each.line)}"
        f"  {each.service.number} of {at:%Y-%m-%d %H:%M:%S}, {each.seconds} s,"
        f" {each.amount:,} rials"
    )
