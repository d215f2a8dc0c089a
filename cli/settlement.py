"""`callflows settlement`: what providers get for a month, and their statements (D13)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TextIO

import click
from rich.console import Console
from rich.table import Table

from billing.premium import settlement_check, statement
from billing.premium.months import format_month, month_of, parse_month, preceding
from billing.premium.providers import Providers
from billing.premium.settlement import Statement
from callflows.config import LANGUAGES
from cli.main import settings_of
from cli.parts import Parts
from jobs.statement import as_json, render, write_csv


@click.group("settlement")
def command() -> None:
    """Providers' shares of what was collected: settle a month, print statements, take invoices.

    \b
    Examples:
      callflows settlement run --month 1405-08
      callflows settlement print 17 -o hafez-1405-08.pdf --language fa
      callflows settlement invoice 17 F-2216 --amount 29768000
      callflows settlement paid 17 TR-90817
    """


def _month(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_month(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--month") from error


@command.command("run")
@click.option("--month", help="Such as 1405-08 (by premium_calendar); default: the last one.")
@click.option("--provider", help="Only this one, by its code.")
def run(month: str | None, provider: str | None) -> None:
    """Settle a month that is over; run again, it changes nothing.

    Months that were left out before are settled first.
    """
    parts = Parts(settings_of())
    settings = parts.settings
    wanted = _month(month)
    if wanted is None:
        present = month_of(parts.clock.now(), settings.zone, settings.premium_calendar)
        wanted = preceding(present)
    settlements = parts.premium.settlements
    if provider is not None:
        made = settlements.settle(provider, wanted)
        found = [] if made is None else [made]
    else:
        found = settlements.settle_all(wanted)
    for each in found:
        click.echo(_line(parts, each))
    if not found:
        click.echo(f"{format_month(wanted)}: nothing new to settle")


@command.command("list")
@click.option("--month", help="Such as 1405-08; default: all.")
def list_all(month: str | None) -> None:
    """List statements, rials."""
    parts = Parts(settings_of())
    found = parts.premium.settlements.listed(_month(month))
    table = Table(box=None, header_style="bold")
    for column in ("no.", "provider", "month", "gross", "collected", "share", "payable", "status"):
        table.add_column(column, justify="left" if column in ("provider", "status") else "right")
    names = _names(parts)
    for each in found:
        table.add_row(
            str(each.id),
            names[each.provider],
            format_month(each.period),
            f"{each.gross:,}",
            f"{each.collected:,}",
            f"{each.share:,}",
            f"{each.payable:,}",
            each.status,
        )
    if found:
        Console().print(table)
    else:
        click.echo("no statements")


@command.command("print")
@click.argument("number", type=int)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A .pdf, .csv or .json file; default: JSON on standard output.",
)
@click.option("--language", type=click.Choice(LANGUAGES), help="Of the PDF.")
def print_one(number: int, output: Path | None, language: str | None) -> None:
    """Print statement NUMBER: a sheet (PDF), each collection (CSV), or everything (JSON)."""
    parts = Parts(settings_of())
    settings = parts.settings
    kind = ".json" if output is None else output.suffix.lower()
    if kind not in (".pdf", ".csv", ".json"):
        raise click.BadParameter("a name that ends in .pdf, .csv or .json", param_hint="--output")
    content = statement.content(parts.database, number, settings.zone, settings.premium_calendar)
    if output is not None and kind == ".pdf":
        sheet = render(
            content,
            language or settings.language,
            parts.catalogue,
            settings.zone,
            operator=settings.operator_name,
        )
        output.write_bytes(sheet)
        return
    if output is None:
        _write(parts, content, kind, sys.stdout)
        return
    with output.open("w", encoding="utf-8", newline="") as out:
        _write(parts, content, kind, out)


def _write(parts: Parts, content: statement.Content, kind: str, out: TextIO) -> None:
    items = statement.items(parts.database, content.statement.id)
    zone = parts.settings.zone
    if kind == ".csv":
        write_csv(out, content, items, zone)
    else:
        json.dump(as_json(content, items, zone), out, ensure_ascii=False, indent=2)
        out.write("\n")


@command.command("invoice")
@click.argument("number", type=int)
@click.argument("invoice")
@click.option("--amount", type=int, required=True, help="Of the invoice, rials.")
def take_invoice(number: int, invoice: str, amount: int) -> None:
    """Take a provider's INVOICE for statement NUMBER: it has to be of exactly its amount."""
    parts = Parts(settings_of())
    click.echo(_line(parts, parts.premium.settlements.invoice(number, invoice, amount)))


@command.command("paid")
@click.argument("number", type=int)
@click.argument("transfer")
def paid(number: int, transfer: str) -> None:
    """Say that statement NUMBER was paid out by bank TRANSFER."""
    parts = Parts(settings_of())
    click.echo(_line(parts, parts.premium.settlements.paid(number, transfer)))


@command.command("check")
@click.pass_context
def check(ctx: click.Context) -> None:
    """Compare statements with collections and ledger; the exit code is 1 if anything differs."""
    differences = settlement_check.check(Parts(settings_of()).database)
    for each in differences:
        click.echo(f"{each.where}: {each.found:,} rials, should be {each.expected:,}")
    click.echo(f"{len(differences)} differences" if differences else "everything adds up")
    ctx.exit(1 if differences else 0)


def _names(parts: Parts) -> dict[int, str]:
    listed = Providers(parts.database, parts.clock).listed()
    return {provider.id: provider.code for provider in listed}


def _line(parts: Parts, each: Statement) -> str:
    return (
        f"{each.id}: {_names(parts)[each.provider]} {format_month(each.period)}:"
        f" share {each.share:,}, carried in {each.carried_in:,}, withheld {each.withheld:,},"
        f" carried out {each.carried_out:,}, payable {each.payable:,} rials: {each.status}"
    )
