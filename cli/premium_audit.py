"""`callflows premium-audit`: every balance of premium calls rebuilt and compared."""

from __future__ import annotations

import click

from billing.premium.audit import audit
from cli.main import settings_of
from cli.parts import Parts


@click.command("premium-audit")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Rebuild every balance of premium calls from consents, calls and collections, and compare.

    Credits, approvals, reservations, prices, charges, bills, settlements and the ledger's accounts
    are each computed again from what they came from. The exit code is 1 if anything differs; each
    difference is named. Nothing is changed.
    """
    parts = Parts(settings_of())
    findings = audit(parts.database, parts.settings.zone)
    for finding in findings:
        click.echo(f"{finding.where}: {finding.what}")
    click.echo(f"{len(findings)} differences" if findings else "everything adds up")
    ctx.exit(1 if findings else 0)
