"""`callflows payments`: payments that wait for a person."""

from __future__ import annotations

import click

from billing import payments
from billing.numbers import mask
from cli.main import settings_of
from cli.parts import Parts


@click.group("payments")
def command() -> None:
    """Payments that fit no bill: list them, post them again after the cause is mended."""


@command.command("parked")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
def parked(limit: int) -> None:
    """List parked payments with the reason."""
    found = payments.parked(Parts(settings_of()).database, limit)
    for payment in found:
        click.echo(
            f"{payment.id:>8}  {payment.received_at:%Y-%m-%d %H:%M:%S}  "
            f"{payment.amount:>15,} rials  "
            f"{payment.bill_id}/{payment.payment_id}  {payment.channel} {payment.reference}  "
            f"{payment.reason}"
        )
    if not found:
        click.echo("no payment is parked")


@command.command("credits")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
def list_credits(limit: int) -> None:
    """List lines that have paid too much; their next bill is paid from it first."""
    found = payments.credits(Parts(settings_of()).database, limit)
    for credit in found:
        click.echo(f"{mask(credit.number)}  {credit.amount:>15,} rials")
    if not found:
        click.echo("no line has credit")


@command.command("retry")
@click.argument("payment", type=int)
def retry(payment: int) -> None:
    """Post a parked PAYMENT again."""
    parts = Parts(settings_of())
    try:
        outcome = payments.retry_parked(parts.database, payment, parts.clock.now())
    except LookupError as error:
        raise click.ClickException(
            f"payment {payment} is not parked; `callflows payments parked` lists those that are"
        ) from error
    if outcome.status == "parked":
        raise click.ClickException(f"payment {payment} stays parked: {outcome.reason}")
    parts.nudge()
    click.echo(f"payment {payment} is posted ({outcome.result})")
