"""`callflows premium`: charges that wait for a person, and the evidence of all."""

from __future__ import annotations

import getpass
import json
import sys
from dataclasses import asdict
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import click
from sqlalchemy import Connection, select

from billing.numbers import parse_number
from billing.premium.charge_check import Difference, ParkedCharges
from billing.premium.consents import Broken, seal, verify
from billing.schema import lines
from cli.main import settings_of
from cli.parts import Parts

HEADER = "service        connected            charged  recorded        amount  status   call"

BY = click.option(
    "--by", default=getpass.getuser, show_default="your account", help="Who decides this."
)


@click.group("premium")
def command() -> None:
    """Charges of premium calls: those that wait for a person, and the consents they stand on.

    A charge is parked when the switch's record confirms fewer seconds than are charged, by more
    than premium_cdr_tolerance_s. It is on no bill until it is released.

    \b
    Examples:
      callflows premium parked
      callflows explain CALL
      callflows premium release CALL
      callflows premium waive CALL --reason "the worker hung"
    """


@command.command("parked")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def parked(limit: int, as_json: bool) -> None:
    """List the charges that wait for a person, the oldest first."""
    parts = Parts(settings_of())
    _show(_charges(parts).parked(limit), parts.settings.zone, as_json, "no charge is parked")


@command.command("differences")
@click.option(
    "--day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The day (at the operator's place); default: today.",
)
@click.option("--limit", type=click.IntRange(1, 100_000), default=1000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def differences(day: datetime | None, limit: int, as_json: bool) -> None:
    """List the charges of a day whose seconds the switch's records do not wholly confirm."""
    parts = Parts(settings_of())
    zone = parts.settings.zone
    date = day.date() if day else parts.clock.now().astimezone(zone).date()
    begin = datetime.combine(date, time(), zone)
    end = datetime.combine(date + timedelta(days=1), time(), zone)
    found = _charges(parts).differences(begin, end, limit)
    _show(found, zone, as_json, f"{date}: no difference")


@command.command("release")
@click.argument("call_id", metavar="CALL")
@BY
def release(call_id: str, by: str) -> None:
    """Let the parked charge of CALL be posted as it is."""
    amount = _charges(Parts(settings_of())).release(call_id, by)
    click.echo(f"{amount:,} rials are going to be posted")


@command.command("waive")
@click.argument("call_id", metavar="CALL")
@click.option("--reason", required=True, help="Why; kept with the call.")
@BY
def waive(call_id: str, reason: str, by: str) -> None:
    """Make CALL, whose charge is parked, free."""
    amount = _charges(Parts(settings_of())).waive(call_id, by, reason)
    click.echo(f"{amount:,} rials are not charged")


@command.command("verify")
@click.argument("number", metavar="LINE", required=False)
@click.option("--seal", "known", help="The seal that was written down: is it still the same?")
def verify_chains(number: str | None, known: str | None) -> None:
    """Verify the chain of consents of a LINE, or of all lines, and print the seal over all.

    The seal changes with each consent. Whoever writes it down elsewhere (each night, say) can show
    later that the consents up to then are the same: compare with a restored backup of that night.
    The exit code is 1 if a chain does not hold, or the seal is not the one given.
    """
    parts = Parts(settings_of())

    def work(conn: Connection) -> tuple[list[Broken], str]:
        line = None
        if number is not None:
            wanted = parse_number(number, parts.settings.region)
            line = conn.execute(select(lines.c.id).where(lines.c.number == wanted)).scalar()
            if line is None:
                raise click.ClickException(f"{number} is no line of ours")
        return verify(conn, line), seal(conn)

    broken, whole = parts.database.query(work)
    for each in broken:
        click.echo(f"line {each.line}, place {each.place}: {each.reason} ({each.call_id or '-'})")
    click.echo(f"{len(broken)} places do not hold" if broken else "all consents hold")
    click.echo(f"seal {whole}")
    if known is not None and known != whole:
        click.echo("the seal is another one", err=True)
        sys.exit(1)
    sys.exit(1 if broken else 0)


def _charges(parts: Parts) -> ParkedCharges:
    return ParkedCharges(parts.database, parts.clock)


def _show(found: list[Difference], zone: ZoneInfo, as_json: bool, nothing: str) -> None:
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], default=str, indent=2))
        return
    if not found:
        click.echo(nothing)
        return
    click.echo(HEADER)
    for each in found:
        click.echo(
            f"{each.service:<13}  {each.connected_at.astimezone(zone):%Y-%m-%d %H:%M:%S}  "
            f"{each.seconds:>5} s  {each.recorded:>6} s  {each.amount:>12,}  {each.status:<7}  "
            f"{each.call_id}"
        )
        if each.reason:
            click.echo(f"    {each.reason}")
