"""`callflows usage`: what premium services a line has used in a month, call by call."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import click
from sqlalchemy import Connection, select

from billing.numbers import parse_number
from billing.premium.months import bounds, format_month, month_of, parse_month
from billing.premium.usage import UsedService, usage
from billing.schema import lines
from callflows.config import LANGUAGES
from cli.main import settings_of
from cli.parts import Parts

COLUMNS = ("service", "name", "call", "connected_at", "seconds", "amount", "status")


@click.command()
@click.argument("number", metavar="LINE")
@click.option("--month", help="Such as 1405-09 (by premium_calendar); default: this month.")
@click.option("--language", type=click.Choice(LANGUAGES), help="Of the services' names.")
@click.option("--csv", "as_csv", is_flag=True, help="Print as CSV, a row for each call.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(
    number: str, month: str | None, language: str | None, as_csv: bool, as_json: bool
) -> None:
    """Itemise the premium calls of a LINE in a month, per service (rials; times at our place).

    What is free, waits for a person (parked) or was given back (reversed) is listed and not added.

    \b
    Examples:
      callflows usage 02188776655
      callflows usage 02188776655 --month 1405-09 --csv > usage.csv
    """
    if as_csv and as_json:
        raise click.UsageError("give either --csv or --json")
    parts = Parts(settings_of())
    settings = parts.settings
    line = parse_number(number, settings.region)
    try:
        chosen = (
            month_of(parts.clock.now(), settings.zone, settings.premium_calendar)
            if month is None
            else parse_month(month)
        )
        begin, end = bounds(chosen, settings.zone, settings.premium_calendar)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--month") from error

    def work(conn: Connection) -> tuple[str, list[UsedService]] | None:
        found = conn.execute(
            select(lines.c.id, lines.c.language).where(lines.c.number == line)
        ).one_or_none()
        return None if found is None else (found.language, usage(conn, found.id, begin, end))

    known = parts.database.query(work)
    if known is None:
        raise click.ClickException(f"{number} is no line of ours")
    rows = list(_rows(known[1], language or known[0], settings.zone))
    if as_csv:
        writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "name": _harmless(row["name"])} for row in rows)
    elif as_json:
        content = {
            "line": line,
            "month": format_month(chosen),
            "amount": sum(used.amount for used in known[1]),
            "calls": rows,
        }
        click.echo(json.dumps(content, ensure_ascii=False, indent=2))
    else:
        _print(known[1], language or known[0], settings.zone, format_month(chosen))


def _rows(found: list[UsedService], language: str, zone: ZoneInfo) -> Iterator[dict[str, object]]:
    for used in found:
        for call in used.calls:
            yield {
                "service": used.service.number,
                "name": used.service.name(language),
                "call": call.call_id,
                "connected_at": call.connected_at.astimezone(zone).isoformat(timespec="seconds"),
                "seconds": call.seconds,
                "amount": call.amount,
                "status": call.status,
            }


def _print(found: list[UsedService], language: str, zone: ZoneInfo, month: str) -> None:
    for used in found:
        click.echo(
            f"{used.service.number}  {used.service.name(language)}: "
            f"{used.seconds} s, {used.amount:,} rials"
        )
        for call in used.calls:
            at = _time(call.connected_at, zone)
            click.echo(
                f"  {at}  {call.seconds:>6} s  {call.amount:>12,}  {call.status:<9}  {call.call_id}"
            )
    total = sum(used.amount for used in found)
    click.echo(f"{month}: {total:,} rials" if found else f"{month}: no premium calls")


def _harmless(name: object) -> str:
    """A name that no spreadsheet takes for a formula."""
    text = str(name)
    return f"'{text}" if text[:1] in "=+-@\t\r" else text


def _time(moment: datetime, zone: ZoneInfo) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}"
