"""`callflows credit`: the monthly credit of lines for premium-rate calls (D8)."""

from __future__ import annotations

import getpass
import uuid

import click

from billing.premium.credit_policy import ceiling
from billing.premium.months import format_month
from cli.lines import line_named
from cli.main import settings_of
from cli.parts import Parts


@click.group("credit")
def command() -> None:
    """Monthly credit for premium services: show, set, and what was asked for.

    \b
    Examples:
      callflows credit show 02188776655
      callflows credit set 02188776655 2000000 --reason "letter of 1405/08/12"
      callflows credit requests 02188776655
    """


@command.command("show")
@click.argument("line")
def show(line: str) -> None:
    """Show the credit of LINE: this month's, and what the policy would grant."""
    parts = Parts(settings_of())
    found = line_named(parts, line)
    view = parts.premium.credit.view(found.id)
    requests = parts.premium.owner.credit_requests
    history = requests.history(found.id)
    click.echo(f"month      {format_month(view.month)}")
    for name in ("ceiling", "used", "held", "available"):
        click.echo(f"{name:<10} {getattr(view, name):>15,} rials")
    most = 0 if history.overdue else ceiling(history, requests.policy)
    click.echo(f"{'by policy':<10} {most:>15,} rials")
    click.echo(
        f"{history.in_time} of the last {history.bills} bills paid in time,"
        f" {history.overdue} overdue"
    )


@command.command("set")
@click.argument("line")
@click.argument("amount", type=click.IntRange(0, 10**12))
@click.option("--reason", required=True, help="Why; kept with the decision.")
@click.option("--by", default=getpass.getuser, show_default="your account", help="Who decides.")
def set_credit(line: str, amount: int, reason: str, by: str) -> None:
    """Set the monthly credit of LINE to AMOUNT rials, whatever the policy says.

    What is used and held already stays so: this month's credit is never set below it.
    """
    parts = Parts(settings_of())
    found = line_named(parts, line)
    # Each run is a decision of its own.
    key = f"operations:{uuid.uuid4()}"
    parts.premium.owner.credit_requests.set(key, found.id, amount, f"{by}: {reason}")
    view = parts.premium.credit.view(found.id)
    click.echo(f"from now on {amount:,} rials a month; this month {view.ceiling:,} rials")


@command.command("requests")
@click.argument("line")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
def requests(line: str, limit: int) -> None:
    """List what was asked for LINE and granted, and why so much; latest first."""
    parts = Parts(settings_of())
    found = parts.premium.owner.credit_requests.requests(line_named(parts, line).id, limit)
    for each in found:
        local = each.at.astimezone(parts.settings.zone)
        click.echo(
            f"{each.id:>8}  {local:%Y-%m-%d %H:%M:%S}  {each.via:<10}"
            f"  asked {each.asked:>15,}  granted {each.granted:>15,}  {each.reason}"
        )
    if not found:
        click.echo("nothing was asked for")
