"""`callflows service`: premium-rate services, from a provider's file to the callers (D5, D15)."""

from __future__ import annotations

import csv
import difflib
import getpass
import json
import sys
from pathlib import Path
from typing import Any

import click
import yaml
from rich.console import Console
from rich.table import Table

from billing.calendars import InvalidCalendar
from billing.errors import BillingError
from billing.premium.answers import Answers
from billing.premium.supervision import Supervision
from callflows.trees.format import Callout
from callflows.trees.services import Checked, WrongService, check_service
from callflows.trees.yaml_file import read_yaml
from cli.main import settings_of
from cli.parts import Parts
from cli.service_sounds import heard, make, missing

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
BY = click.option(
    "--by", default=getpass.getuser, show_default="who is logged in", help="Who decides."
)


@click.group("service")
def command() -> None:
    """Premium-rate services: check, submit, approve, refuse, suspend, list, show, diff, answers.

    \b
    Example:
      callflows provider add hafez "Hafez Institute"
      callflows provider contract hafez --kind b --share 80 --from 2026-11-01
      callflows service submit conf/sample/premium/hafez.yaml
      callflows service approve 9091234567
    """


def supervision_of(parts: Parts) -> Supervision:
    """The operator's supervision, with this configuration."""
    settings = parts.settings
    return Supervision(parts.database, parts.clock, settings.zone, region=settings.region)


def read_service(parts: Parts, path: Path) -> Checked:
    """A service's file, checked. Raises ClickException naming file, node and field."""
    settings = parts.settings
    try:
        found = check_service(read_yaml(path), settings.zone, settings.region)
        holidays = found.definition["holidays"]
        if holidays is not None:
            try:
                parts.calendars.get(holidays["calendar"])
            except InvalidCalendar as error:
                raise WrongService([f"field holidays.calendar: {error}"]) from error
    except BillingError as error:
        lines = "\n".join(f"{path}: {line}" for line in str(error).splitlines())
        raise click.ClickException(f"the service cannot be used\n{lines}") from error
    return found


@command.command("check")
@click.argument("file", type=FILE)
def check(file: Path) -> None:
    """Check a service's FILE: every fault is named, with node and field."""
    parts = Parts(settings_of())
    found = read_service(parts, file)
    nodes = 0 if found.tree is None else len(found.tree.nodes)
    recordings = sum(1 for _ in found.recordings(0))
    click.echo(f"{file}: whole; {nodes} nodes, {recordings} recordings")


@command.command("submit")
@click.argument("file", type=FILE)
@click.option(
    "--recordings",
    type=FOLDER,
    help="Recordings of the provider: <language>/name.wav, <language>/tree/<node>.wav ... "
    "(8 kHz, mono, 16 bit); what is not there is spoken by espeak-ng.",
)
@BY
def submit(file: Path, recordings: Path | None, by: str) -> None:
    """Hand in a version of a service, and make its recordings; callers do not hear it yet."""
    parts = Parts(settings_of())
    found = read_service(parts, file)
    version = supervision_of(parts).submit(found.definition, by)
    made = make(parts, found, version.version, recordings)
    seconds = sum(made.ms.values()) / 1000
    click.echo(
        f"{version.number}: version {version.version} is {version.decision};"
        f" {len(made.built)} recordings built, {len(made.given)} given, {len(made.unchanged)}"
        f" unchanged, {seconds / 60:.1f} minutes of sound"
    )
    if version.decision == "pending":
        click.echo(f"Publish it with `callflows service approve {version.number}`.")


@command.command("approve")
@click.argument("number")
@click.option("--version", type=click.IntRange(min=1), help="Default: the newest undecided one.")
@BY
def approve(number: str, version: int | None, by: str) -> None:
    """Publish a version of the service NUMBER: callers get it within seconds.

    Its tariffs are approved with it, and can never be changed afterwards.
    """
    parts = Parts(settings_of())
    supervision = supervision_of(parts)
    version = version or _undecided(supervision, number)
    settings = parts.settings
    # As it was handed in, checked by the rules of today; nothing of it may be silent.
    found = check_service(supervision.definition(number, version), settings.zone, settings.region)
    absent = missing(Path(settings.sounds_dir), found, version)
    if absent:
        click.echo(f"{len(absent)} recordings are missing; they are built now", err=True)
        make(parts, found, version, None)
    supervision.approve(number, version, by)
    click.echo(f"{number}: version {version} is published")


def _undecided(supervision: Supervision, number: str) -> int:
    newest = supervision.versions(number)[0]
    if newest.decision != "pending":
        raise click.ClickException(f"{number}: version {newest.version} is {newest.decision}")
    return newest.version


@command.command("sounds")
def sounds() -> None:
    """Build the recordings of all published services that are not in this machine's sounds_dir.

    On the machine where a version was submitted they are there already. What a provider has
    recorded is not built: copy the folder `services` of that machine's sounds_dir first.
    """
    parts = Parts(settings_of())
    built = 0
    for version, found in heard(supervision_of(parts), parts.settings):
        built += len(make(parts, found, version, None, keep=True).built)
    click.echo(f"{parts.settings.sounds_dir}: {built} recordings built")


@command.command("refuse")
@click.argument("number")
@click.option("--version", type=click.IntRange(min=1), help="Default: the newest undecided one.")
@click.option("--reason", required=True, help="For the provider.")
@BY
def refuse(number: str, version: int | None, reason: str, by: str) -> None:
    """Refuse a version of the service NUMBER."""
    supervision = supervision_of(Parts(settings_of()))
    version = version or _undecided(supervision, number)
    supervision.refuse(number, version, by, reason)
    click.echo(f"{number}: version {version} is refused")


@command.command("suspend")
@click.argument("number")
def suspend(number: str) -> None:
    """Stop a service for now: callers are told so; calls under way go on."""
    moved = supervision_of(Parts(settings_of())).suspend(number)
    click.echo(f"{number}: " + ("suspended" if moved else "was not published"))


@command.command("resume")
@click.argument("number")
def resume(number: str) -> None:
    """End the suspension of a service."""
    moved = supervision_of(Parts(settings_of())).resume(number)
    click.echo(f"{number}: " + ("published" if moved else "was not suspended"))


@command.command("withdraw")
@click.argument("number")
@click.confirmation_option(prompt="For good?")
def withdraw(number: str) -> None:
    """Take a service out of the book for good."""
    moved = supervision_of(Parts(settings_of())).withdraw(number)
    click.echo(f"{number}: " + ("withdrawn" if moved else "was withdrawn before"))


@command.command("list")
@click.option("--provider", help="Only this provider's.")
def list_all(provider: str | None) -> None:
    """List all services."""
    table = Table(box=None, header_style="bold")
    for column in ("number", "provider", "category", "status", "version", "undecided"):
        table.add_column(column)
    found = supervision_of(Parts(settings_of())).listed(provider)
    for each in found:
        table.add_row(
            each.number,
            each.provider,
            each.category,
            each.status,
            str(each.published or ""),
            str(each.waiting or ""),
        )
    if found:
        Console().print(table)
    else:
        click.echo("there is no service")


@command.command("show")
@click.argument("number")
@click.option("--version", type=click.IntRange(min=1), help="Default: the newest one.")
def show(number: str, version: int | None) -> None:
    """Show a version of a service: who decided what, whom it calls, and its definition."""
    parts = Parts(settings_of())
    supervision = supervision_of(parts)
    versions = supervision.versions(number)
    chosen = next((each for each in versions if version in (None, each.version)), None)
    if chosen is None:
        raise click.ClickException(f"{number}: there is no version {version}")
    click.echo(f"{number}, version {chosen.version}: {chosen.decision}")
    click.echo(f"submitted {chosen.submitted_at:%Y-%m-%d %H:%M} UTC by {chosen.submitted_by}")
    if chosen.decided_at is not None:
        reason = f": {chosen.reason}" if chosen.reason else ""
        click.echo(
            f"{chosen.decision} {chosen.decided_at:%Y-%m-%d %H:%M} UTC"
            f" by {chosen.decided_by}{reason}"
        )
    definition = supervision.definition(number, chosen.version)
    found = check_service(definition, parts.settings.zone, parts.settings.region)
    nodes: dict[str, Any] = {} if found.tree is None else dict(found.tree.nodes)
    for name, node in nodes.items():
        if isinstance(node, Callout):
            click.echo(f"asks {node.url} (node {name})")
    click.echo(yaml.safe_dump(definition, allow_unicode=True, sort_keys=False), nl=False)


@command.command("diff")
@click.argument("number")
@click.option("--version", type=click.IntRange(min=1), help="Default: the newest one.")
def diff(number: str, version: int | None) -> None:
    """Show what a version would change for callers, line by line."""
    supervision = supervision_of(Parts(settings_of()))
    newest = version or supervision.versions(number)[0].version
    listed = supervision.listed()
    published = next((each.published for each in listed if each.number == number), None)
    before = [] if published is None else _lines(supervision.definition(number, published))
    after = _lines(supervision.definition(number, newest))
    titles = (f"{number} version {published or 'none'}", f"{number} version {newest}")
    for line in difflib.unified_diff(before, after, *titles, lineterm=""):
        click.echo(line)


def _lines(definition: dict[str, Any]) -> list[str]:
    text = yaml.safe_dump(definition, allow_unicode=True, sort_keys=False, width=100)
    return str(text).splitlines()


@command.command("answers")
@click.argument("number")
@click.option("--node", help="Only this node's.")
@click.option("--csv", "as_csv", is_flag=True, help="Every answer, as CSV.")
@click.option("--json", "as_json", is_flag=True, help="Every answer, a JSON object a line.")
def answers(number: str, node: str | None, as_csv: bool, as_json: bool) -> None:
    """Show what callers of the service NUMBER have left: votes, orders, messages.

    Without --csv or --json, the votes are counted and the others are listed.
    """
    parts = Parts(settings_of())
    supervision_of(parts).versions(number)
    found = Answers(parts.database, parts.clock).of(number, node)
    if as_json:
        for each in found:
            row = {"at": each.at.isoformat(), "node": each.node, "kind": each.kind}
            click.echo(json.dumps(row | {"answer": dict(each.answer)}, ensure_ascii=False))
        return
    if as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(("at", "version", "node", "kind", "field", "value"))
        for each in found:
            for field, value in each.answer.items():
                writer.writerow(
                    (each.at.isoformat(), each.version, each.node, each.kind, field, value)
                )
        return
    votes: dict[tuple[str, str], int] = {}
    for each in found:
        if each.kind == "poll":
            choice = (each.node, str(each.answer["choice"]))
            votes[choice] = votes.get(choice, 0) + 1
        else:
            said = ", ".join(f"{field}: {value}" for field, value in each.answer.items())
            click.echo(f"{each.at:%Y-%m-%d %H:%M}  {each.node}  {said}")
    totals: dict[str, int] = {}
    for (poll, _), count in votes.items():
        totals[poll] = totals.get(poll, 0) + count
    for (poll, name), count in sorted(votes.items()):
        click.echo(f"{poll}  {name}: {count} ({count / totals[poll]:.0%})")
