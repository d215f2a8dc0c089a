"""`callflows provider`: content providers and their contracts (D3, D13)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import click
import jdatetime  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from billing.digits import ascii_digits
from billing.premium.providers import Contract, ContractKind, Part, Providers, parse_parts
from cli.main import settings_of
from cli.parts import Parts

# Years before are Solar Hijri, as in the house's files.
FIRST_GREGORIAN = 1700


@click.group("provider")
def command() -> None:
    """Content providers: add, contract, list, suspend, resume, key.

    \b
    Example:
      callflows provider add hafez "Hafez Institute"
      callflows provider contract hafez --kind b --share 80 --levy vat=9 --from 1405/09/01
    """


def _providers(parts: Parts) -> Providers:
    return Providers(parts.database, parts.clock)


def _day(zone: ZoneInfo, text: str) -> datetime:
    """The beginning (UTC) of a day written as 2026-11-22 or 1405/09/01."""
    match = re.fullmatch(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})", ascii_digits(text))
    if match is None:
        raise click.BadParameter("expected a day such as 2026-11-22 or 1405/09/01")
    year, month, day = map(int, match.groups())
    try:
        if year < FIRST_GREGORIAN:
            found = jdatetime.date(year, month, day).togregorian()
        else:
            found = date(year, month, day)
    except ValueError as error:
        raise click.BadParameter(f"there is no such day: {text}") from error
    return datetime.combine(found, time(), zone).astimezone(UTC)


def _percent(part: int) -> str:
    return f"{part / 100:g} %"


def _list(parts: tuple[Part, ...]) -> str:
    return ", ".join(f"{part.code} {_percent(part.bp)}" for part in parts) or "none"


@command.command("add")
@click.argument("code")
@click.argument("title")
def add(code: str, title: str) -> None:
    """Add a provider: a short CODE for commands and accounts, and its TITLE."""
    added = _providers(Parts(settings_of())).add(code, title)
    click.echo(f"provider {code} " + ("added" if added else "was there before"))


@command.command("contract")
@click.argument("code")
@click.option("--kind", type=click.Choice(["a", "b"]), required=True, help="a: sends an invoice.")
@click.option("--share", required=True, help="Per cent of each charge, such as 80 or 77.5.")
@click.option("--levy", "levies", multiple=True, help="Of each charge, for others: vat=9.")
@click.option("--deduct", "deductions", multiple=True, help="Withheld in order: tax=3.")
@click.option(
    "--least-payout",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Less is carried forward, rials.",
)
@click.option("--from", "begins", required=True, help="First day: 2026-11-22 or 1405/09/01.")
def contract(
    code: str,
    kind: ContractKind,
    share: str,
    levies: tuple[str, ...],
    deductions: tuple[str, ...],
    least_payout: int,
    begins: str,
) -> None:
    """Write down the terms of a provider from a day on; they can never be changed.

    \b
    Example:
      callflows provider contract hafez --kind b --share 80 --levy vat=9 --deduct tax=3 \\
        --least-payout 1000000 --from 1405/09/01
    """
    parts = Parts(settings_of())
    agreed = _providers(parts).agree(
        code,
        valid_from=_day(parts.settings.zone, begins),
        kind=kind,
        share_bp=parse_parts(f"share={share}")[0].bp,
        levies=parse_parts(",".join(levies)),
        deductions=parse_parts(",".join(deductions)),
        least_payout=least_payout,
    )
    since = agreed.valid_from.astimezone(parts.settings.zone)
    click.echo(f"provider {code}: {_percent(agreed.share_bp)} from {since:%Y-%m-%d} on")


@command.command("list")
def list_all() -> None:
    """List all providers with their contracts."""
    parts = Parts(settings_of())
    providers = _providers(parts)
    table = Table(box=None, header_style="bold")
    for column in ("code", "title", "status", "from", "kind", "share", "levies", "deductions"):
        table.add_column(column)
    found = providers.listed()
    for each in found:
        first = True
        known: list[Contract | None] = [*providers.contracts(each.code)]
        for terms in known or [None]:
            facts = ("", "", "", "", "")
            if terms is not None:
                facts = (
                    f"{terms.valid_from.astimezone(parts.settings.zone):%Y-%m-%d}",
                    terms.kind,
                    _percent(terms.share_bp),
                    _list(terms.levies),
                    _list(terms.deductions),
                )
            name = (each.code, each.title, each.status) if first else ("", "", "")
            table.add_row(*name, *facts)
            first = False
    if found:
        Console().print(table)
    else:
        click.echo("there is no provider")


@command.command("suspend")
@click.argument("code")
def suspend(code: str) -> None:
    """Stop all services of a provider for now."""
    moved = _providers(Parts(settings_of())).set_status(code, "suspended")
    click.echo(f"provider {code} " + ("is suspended" if moved else "was suspended before"))


@command.command("resume")
@click.argument("code")
def resume(code: str) -> None:
    """Let a suspended provider go on."""
    moved = _providers(Parts(settings_of())).set_status(code, "active")
    click.echo(f"provider {code} " + ("is active" if moved else "was not suspended"))


@command.command("key")
@click.argument("code")
def key(code: str) -> None:
    """Show the key with which what we ask the provider's CRM is signed (HMAC-SHA256)."""
    parts = Parts(settings_of())
    _providers(parts).find(code)
    click.echo(parts.crm.key(code).hex())
