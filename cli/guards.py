"""`callflows guards`: unusual use of premium-rate lines."""

from __future__ import annotations

import getpass
from zoneinfo import ZoneInfo

import click

from billing.premium.guards import Alert
from cli.main import settings_of
from cli.parts import Parts

BY = click.option(
    "--by", default=getpass.getuser, show_default="your account", help="Who decides this."
)


@click.group("guards")
def command() -> None:
    """Alerts about unusual premium calls: list them, mark them as seen, let a line go on."""


@command.command("list")
@click.option("--unseen", is_flag=True, help="Only what nobody has looked at.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
def list_alerts(unseen: bool, limit: int) -> None:
    """List alerts, latest first.

    \b
    Examples:
      callflows guards list --unseen
      callflows guards seen 17 18
      callflows guards unblock line:42
    """
    parts = Parts(settings_of())
    found = parts.premium.guards.listed(unseen=unseen, limit=limit)
    for alert in found:
        click.echo(_told(alert, parts.settings.zone))
    if not found:
        click.echo("nothing unusual")


@command.command("look")
def look() -> None:
    """Look at all premium calls of the last hour and day now."""
    parts = Parts(settings_of())
    new = parts.premium.guards.look()
    for key in new:
        click.echo(key)
    click.echo(f"{len(new)} new alerts")


@command.command("seen")
@click.argument("alerts", type=int, nargs=-1, required=True)
@BY
def seen(alerts: tuple[int, ...], by: str) -> None:
    """Mark ALERTS as seen, by their numbers."""
    count = Parts(settings_of()).premium.guards.seen(alerts, by)
    click.echo(f"{count} alerts are seen now")


@command.command("unblock")
@click.argument("subject")
@BY
def unblock(subject: str, by: str) -> None:
    """Let a SUBJECT that an alert has stopped go on, such as line:42."""
    if not Parts(settings_of()).premium.guards.unblock(subject, by):
        raise click.ClickException(
            f"{subject} is not stopped; `callflows guards list` shows who is"
        )
    click.echo(f"{subject} may go on")


def _told(alert: Alert, zone: ZoneInfo) -> str:
    local = alert.at.astimezone(zone)
    stopped = ""
    if alert.blocked_until is not None:
        stopped = f"  stopped until {alert.blocked_until.astimezone(zone):%Y-%m-%d %H:%M}"
    seen = f"  seen by {alert.seen_by}" if alert.seen_by else ""
    return (
        f"{alert.id:>8}  {local:%Y-%m-%d %H:%M}  {alert.rule:<12}  {alert.subject:<20}  "
        f"{alert.reason}{stopped}{seen}"
    )
