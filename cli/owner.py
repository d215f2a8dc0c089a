"""`callflows owner`: what lines' owners have set for premium services, for operations (D8, D9)."""

from __future__ import annotations

import click

from billing.numbers import mask
from billing.premium.owners import registered_mobile
from cli.lines import line_named
from cli.main import settings_of
from cli.parts import Parts


@click.group("owner")
def command() -> None:
    """Owners' settings: show them, block and unblock lines, revoke approvals, forget a PIN.

    A PIN is shown to nobody and set by its owner only, by telephone.

    \b
    Examples:
      callflows owner show 02188776655
      callflows owner block 02188776655
      callflows owner revoke 02188776655 17
    """


@command.command("show")
@click.argument("line")
def show(line: str) -> None:
    """Show what the owner of LINE has set, requests that wait and approvals that hold."""
    parts = Parts(settings_of())
    found = line_named(parts, line)
    owner = parts.premium.owner.owners.view(found.id)
    now, zone = parts.clock.now(), parts.settings.zone
    pin = "set" if owner.has_pin else "not set"
    if owner.pin_locked_until is not None and owner.pin_locked_until > now:
        pin += f", locked until {owner.pin_locked_until.astimezone(zone):%Y-%m-%d %H:%M:%S}"
    for name, value in (
        ("mobile", mask(registered_mobile(found))),
        ("each call", owner.authentication),
        ("PIN", pin),
        ("blocked", f"by the {owner.blocked_by}" if owner.blocked_by else "no"),
        ("charge SMS", "yes" if owner.charge_sms else "no"),
        ("greeting", "yes" if owner.greeting else "no"),
        ("birthday", "yes" if owner.birthday else "no"),
    ):
        click.echo(f"{name:<11} {value}")
    approvals = parts.premium.owner.approvals
    for request in approvals.pending(found.id):
        local = request.created_at.astimezone(zone)
        click.echo(f"request     {request.service}, asked {local:%Y-%m-%d %H:%M:%S}")
    for approval in approvals.of_line(found.id):
        local = approval.valid_until.astimezone(zone)
        about = approval.service or f"category {approval.category}"
        click.echo(
            f"approval    {approval.id}: {about}, {approval.left:,} of {approval.ceiling:,} rials"
            f" left, until {local:%Y-%m-%d}, by {approval.via}"
        )


@command.command("block")
@click.argument("line")
def block(line: str) -> None:
    """Let no premium call through from LINE; its owner cannot lift this."""
    parts = Parts(settings_of())
    parts.premium.owner.owners.block(line_named(parts, line).id, "operator")
    click.echo("blocked by the operator")


@command.command("unblock")
@click.argument("line")
def unblock(line: str) -> None:
    """Lift the operator's block of LINE; where there is none, the owner's."""
    parts = Parts(settings_of())
    open_now = parts.premium.owner.owners.unblock(line_named(parts, line).id, "operator")
    click.echo("not blocked" if open_now else "still blocked by the owner; again lifts that, too")


@command.command("forget-pin")
@click.argument("line")
def forget_pin(line: str) -> None:
    """Forget the PIN of LINE's owner; a new one is set by telephone, after an SMS code."""
    parts = Parts(settings_of())
    had = parts.premium.owner.pins().clear(line_named(parts, line).id)
    click.echo("the PIN is forgotten" if had else "no PIN was set")


@command.command("revoke")
@click.argument("line")
@click.argument("approval", type=click.IntRange(1, 2**31 - 1))
def revoke(line: str, approval: int) -> None:
    """Revoke an APPROVAL of LINE, by its number."""
    parts = Parts(settings_of())
    if not parts.premium.owner.approvals.revoke(line_named(parts, line).id, approval):
        raise click.ClickException(
            f"the line has no approval {approval} that holds; `callflows owner show` lists them"
        )
    click.echo(f"approval {approval} is revoked")
