"""`callflows queues`: how full the queues are, what failed and why, try again."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from billing.outbox import Queue
from callflows.config import ConfigError
from cli.main import settings_of
from cli.parts import Parts
from jobs.queues import Queues

NAMES = ("sms", "email", "billing", "reports")
# Nothing listens there: the queues are shown as the database has them.
NO_REDIS = "redis://127.0.0.1:1/0"


def _queues() -> Queues:
    settings = settings_of()
    parts = Parts(settings)
    try:
        url = settings.redis()
    except ConfigError:
        url = NO_REDIS
    return Queues(parts.database, url, parts.clock)


@click.group("queues", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show the queues: what waits, how old the oldest is, what failed, who serves them.

    \b
    Examples:
      callflows queues
      callflows queues failed
      callflows queues retry 17 18
      callflows queues retry --queue email
    """
    if ctx.invoked_subcommand is not None:
        return
    table = Table(box=None, header_style="bold")
    for column in ("queue", "waiting", "due", "oldest", "failed", "in Redis", "consumers"):
        table.add_column(column, justify="left" if column == "queue" else "right")
    states = _queues().states()
    for state in states:
        age = "-" if state.oldest_age_s is None else f"{state.oldest_age_s:.0f} s"
        table.add_row(
            state.name,
            str(state.pending),
            str(state.due),
            age,
            str(state.failed),
            "?" if state.waiting is None else str(state.waiting),
            "?" if state.consumers is None else str(state.consumers),
        )
    Console().print(table)
    if any(state.waiting is None for state in states):
        click.echo("Redis does not answer: jobs wait in the database until it is back.", err=True)
    if any(state.failed for state in states):
        click.echo("`callflows queues failed` says why; `callflows queues retry` tries again.")


@command.command("failed")
@click.option("--queue", type=click.Choice(NAMES), help="Only this queue.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
def failed(queue: Queue | None, limit: int) -> None:
    """List the jobs that were given up, with the reason; latest first."""
    failures = _queues().failures(queue, limit)
    for failure in failures:
        click.echo(
            f"{failure.id:>8}  {failure.failed_at:%Y-%m-%d %H:%M:%S}  {failure.kind:<24} "
            f"{failure.attempts} tries  {failure.reason}"
        )
    if not failures:
        click.echo("nothing failed")


@command.command("retry")
@click.argument("ids", nargs=-1, type=int)
@click.option("--queue", type=click.Choice(NAMES), help="All failed jobs of this queue.")
@click.option("--all", "everything", is_flag=True, help="All failed jobs of all queues.")
def retry(ids: tuple[int, ...], queue: Queue | None, everything: bool) -> None:
    """Try failed jobs again: those with these IDs, of one queue, or all."""
    if sum((bool(ids), queue is not None, everything)) != 1:
        raise click.UsageError("give IDs, or --queue NAME, or --all")
    count = _queues().retry(queue=queue, ids=list(ids) or None)
    if ids and count < len(set(ids)):
        click.echo(f"{count} jobs are tried again", err=True)
        raise click.ClickException(
            f"{len(set(ids)) - count} of these IDs are not failed; `callflows queues failed` lists "
            "those that are"
        )
    click.echo(f"{count} jobs are tried again")
