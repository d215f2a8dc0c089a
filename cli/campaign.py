"""`callflows campaign`: call subscribers about their overdue bills."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args
from zoneinfo import ZoneInfo

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from billing import campaigns, do_not_call
from billing.bill_ids import THOUSAND
from billing.calling_hours import NeverOpen
from billing.campaigns import Campaign, Machine, Progress, Rules, Selection
from billing.do_not_call import Loaded
from billing.entities import LANGUAGES, Language
from billing.errors import BillingError
from billing.numbers import Kind, parse_number
from billing.retry_rules import DEFAULT_RULES, RESULTS
from cli.main import settings_of
from cli.parts import Parts

METHODS = ("transfer", "bill", "app", "read", "email")


@click.group("campaign")
def command() -> None:
    """Call subscribers about overdue bills: create, start, pause, resume, stop, watch.

    The calls are made by `callflows run --only dialer`, over the switches of control_addresses.

    \b
    Example:
      callflows campaign create --name october --overdue 10 --window 09:00-20:00 --calendar iran
      callflows campaign start october
      callflows campaign watch october
    """


@command.command("create")
@click.option("--name", required=True, help="Its name: letters, digits, '_', '.' and '-'.")
@click.option(
    "--overdue",
    type=click.IntRange(0, 36500),
    required=True,
    help="Bills at least so many days past their due date.",
)
@click.option("--window", required=True, help="When to call, by the subscriber's clock.")
@click.option("--language", type=click.Choice(LANGUAGES), help="Only lines of this language.")
@click.option("--kind", type=click.Choice(["fixed", "mobile"]), help="Only lines of this kind.")
@click.option(
    "--min-amount",
    type=click.IntRange(THOUSAND, 10**15),
    default=THOUSAND,
    show_default=True,
    help="Only bills with so many rials left to pay.",
)
@click.option("--calendar", help="Weekends and holidays to keep: iran, arab, russia.")
@click.option("--zone", help="The operator's time zone; default: the key timezone.")
@click.option(
    "--dnc",
    multiple=True,
    help="Do-not-call list to heed: its name, or a file of numbers to load under its own name.",
)
@click.option("--caller-id", help="Number shown; default: the key announce_caller_id.")
@click.option("--cps", type=float, default=1.0, show_default=True, help="Calls started a second.")
@click.option(
    "--simultaneous", type=int, default=30, show_default=True, help="Calls at a time, in total."
)
@click.option("--per-switch-cps", type=float, help="Calls started a second on each switch.")
@click.option("--per-switch-simultaneous", type=int, help="Calls at a time on each switch.")
@click.option("--ring", type=int, default=30, show_default=True, help="Seconds of ringing.")
@click.option(
    "--retries", default=DEFAULT_RULES, show_default=True, help="Retries by result, with interval."
)
@click.option(
    "--cap",
    type=int,
    default=4,
    show_default=True,
    help="Calls to one line, whatever they came to.",
)
@click.option("--sms-not-reached", is_flag=True, help="An SMS to those whom no call reached.")
@click.option("--email-not-reached", is_flag=True, help="The bill by e-mail to those likewise.")
@click.option(
    "--machine",
    type=click.Choice(get_args(Machine)),
    default="hangup",
    show_default=True,
    help="What to do with an answering machine.",
)
def create(
    name: str,
    overdue: int,
    window: str,
    language: Language | None,
    kind: Kind | None,
    min_amount: int,
    calendar: str | None,
    zone: str | None,
    dnc: tuple[str, ...],
    caller_id: str | None,
    cps: float,
    simultaneous: int,
    per_switch_cps: float | None,
    per_switch_simultaneous: int | None,
    ring: int,
    retries: str,
    cap: int,
    sms_not_reached: bool,
    email_not_reached: bool,
    machine: Machine,
) -> None:
    """Make a campaign with its list of lines; nobody is called before it is started.

    \b
    Example:
      callflows campaign create --name october --overdue 10 --window 09:00-20:00 \\
        --calendar iran --dnc regulator.txt --cps 5 --simultaneous 100 \\
        --retries no_answer=2@60m,busy=3@10m --cap 4 --sms-not-reached
    """
    settings = settings_of()
    parts = Parts(settings)
    files = {_list_name(each): Path(each) for each in dnc if Path(each).is_file()}
    rules = Rules(
        window=window,
        zone=zone or settings.timezone,
        caller_id=caller_id or settings.announce_caller_id,
        calendar=calendar,
        cps=cps,
        simultaneous=simultaneous,
        switch_cps=per_switch_cps,
        switch_simultaneous=per_switch_simultaneous,
        ring_s=ring,
        retries=retries,
        cap=cap,
        machine=machine,
        sms_not_reached=sms_not_reached,
        email_not_reached=email_not_reached,
        lists=tuple(_list_name(each) for each in dnc),
    )
    now = parts.clock.now()
    # Found wrong now rather than by the dialer: calendar, its years, a window that never opens.
    rules.hours(None if calendar is None else parts.calendars.get(calendar)).home_next_open(now)
    known = {size.name for size in do_not_call.sizes(parts.database)}
    for each in rules.lists:
        if each not in files and each not in known:
            raise click.ClickException(f"do-not-call list {each}: no such file, and no such list")
    for list_name, path in files.items():
        _load(parts, list_name, path, now)
    campaign = campaigns.create(
        parts.database, name, Selection(overdue, min_amount, kind, language), rules, now
    )
    progress = campaigns.progress(parts.database, campaign.id, now)
    click.echo(
        f"campaign {name}: {progress.left} lines to call, "
        f"{progress.targets.get('do_not_call', 0)} on do-not-call lists"
    )
    if progress.left:
        click.echo(f"Start it with `callflows campaign start {name}`.")


def _list_name(given: str) -> str:
    path = Path(given)
    return path.stem if path.is_file() else given


def _load(parts: Parts, name: str, path: Path, now: datetime) -> Loaded:
    with path.open(encoding="utf-8") as rows:
        try:
            loaded = do_not_call.add(parts.database, name, rows, now, parts.settings.region)
        except UnicodeDecodeError as error:
            raise click.ClickException(f"{path.name}: not text in UTF-8") from error
    for line, reason in loaded.rejected:
        click.echo(f"{path.name}:{line}: {reason}", err=True)
    click.echo(f"list {name}: {loaded.added} added, {loaded.unchanged} there before")
    if loaded.rejected:
        # Somebody on it would be called: better no campaign than a wrong call.
        raise click.ClickException(f"{len(loaded.rejected)} numbers of {path.name} are wrong")
    return loaded


def _move(name: str, action: Literal["start", "pause", "resume", "stop"]) -> None:
    parts = Parts(settings_of())
    campaign = campaigns.move(parts.database, name, action, parts.clock.now())
    click.echo(f"campaign {name} is {campaign.status}")


@command.command("start")
@click.argument("name")
def start(name: str) -> None:
    """Begin to call."""
    _move(name, "start")


@command.command("pause")
@click.argument("name")
def pause(name: str) -> None:
    """Start no further calls for now; those under way go on."""
    _move(name, "pause")


@command.command("resume")
@click.argument("name")
def resume(name: str) -> None:
    """Go on with a paused campaign."""
    _move(name, "resume")


@command.command("stop")
@click.argument("name")
def stop(name: str) -> None:
    """End a campaign for good: telephones that ring stop ringing, conversations go on."""
    _move(name, "stop")


@command.command("list")
def list_all() -> None:
    """List all campaigns, latest first."""
    parts = Parts(settings_of())
    table = Table(box=None, header_style="bold")
    for column in ("name", "status", "lines", "left", "reached", "paid"):
        left = column in ("name", "status")
        table.add_column(column, justify="left" if left else "right")
    found = campaigns.listed(parts.database)
    for campaign in found:
        progress = campaigns.progress(parts.database, campaign.id, parts.clock.now())
        table.add_row(
            campaign.name,
            campaign.status,
            str(progress.total),
            str(progress.left),
            str(progress.targets.get("reached", 0)),
            str(progress.paid),
        )
    if found:
        Console().print(table)
    else:
        click.echo("there is no campaign")


@command.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Show the rules of a campaign, and how far it has come."""
    parts = Parts(settings_of())
    campaign = campaigns.find(parts.database, name)
    rules = campaign.rules
    per_switch = ", ".join(
        f"{value:g} {unit}"
        for value, unit in (
            (rules.switch_cps, "a second"),
            (rules.switch_simultaneous, "at a time"),
        )
        if value is not None
    )
    facts = {
        "bills due until": f"{campaign.due_until}, {campaign.least:,} rials or more",
        "window": f"{rules.window} by the subscriber's clock; home: {rules.zone}",
        "calendar": rules.calendar or "none",
        "pace": f"{rules.cps:g} calls a second, {rules.simultaneous} at a time"
        + (f"; each switch: {per_switch}" if per_switch else ""),
        "caller ID": rules.caller_id,
        "rings": f"{rules.ring_s} s",
        "retries": f"{rules.retry or 'none'}; {rules.cap} calls at most",
        "answering machine": rules.machine,
        "not reached": ", ".join(
            word
            for word, wanted in (
                ("SMS", rules.sms_not_reached),
                ("e-mail", rules.email_not_reached),
            )
            if wanted
        )
        or "nothing more",
        "do-not-call lists": ", ".join(rules.heeded),
    }
    table = Table(box=None, show_header=False)
    table.add_column()
    # A rule that is too long for the line goes on in the next one: cut off, nobody can check it.
    table.add_column(overflow="fold")
    for title, value in facts.items():
        table.add_row(f"[bold]{title}[/bold]", value)
    console = Console()
    console.print(table)
    console.print(_view(parts, campaign))


@command.command("watch")
@click.argument("name")
@click.option(
    "--interval", type=click.FloatRange(0.2, 60), default=1.0, show_default=True, help="Seconds."
)
def watch(name: str, interval: float) -> None:
    """Watch a campaign live, until it is done or Ctrl-C."""
    parts = Parts(settings_of())
    campaign = campaigns.find(parts.database, name)
    console = Console()
    try:
        with Live(_view(parts, campaign), console=console, auto_refresh=False) as live:
            while campaign.status not in ("stopped", "finished"):
                time.sleep(interval)
                campaign = campaigns.find(parts.database, name)
                live.update(_view(parts, campaign), refresh=True)
    except KeyboardInterrupt:
        pass


def _view(parts: Parts, campaign: Campaign) -> RenderableType:
    now = parts.clock.now()
    progress = campaigns.progress(parts.database, campaign.id, now)
    status = campaign.status + (f": {campaign.reason}" if campaign.reason else "")
    lines = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    lines.add_column(justify="left")
    lines.add_column(justify="right")
    lines.add_column()
    done = progress.total - progress.left

    def row(title: str, count: int, bar: bool = False) -> None:
        width = ProgressBar(total=max(1, progress.total), completed=count, width=40) if bar else ""
        lines.add_row(title, f"{count:,}", width)

    lines.add_row("lines", f"{progress.total:,}", "")
    row("done", done, bar=True)
    row("dialled", progress.dialled, bar=True)
    row("reached", progress.targets.get("reached", 0), bar=True)
    row("paid", progress.paid, bar=True)
    row("not reached", progress.targets.get("not_reached", 0))
    row("not to be called", progress.targets.get("do_not_call", 0))
    row("calls", progress.calls)
    row("  going on", progress.live)
    row("  answered", progress.answered)
    for result in RESULTS:
        if result in progress.results:
            row(f"  {result.replace('_', ' ')}", progress.results[result])
    for method in METHODS:
        if method in progress.chose:
            row(f"  chose {method}", progress.chose[method])
    return Group(
        f"[bold]{campaign.name}[/bold]  {status}  {_eta(parts, campaign, progress)}", lines
    )


def _eta(parts: Parts, campaign: Campaign, progress: Progress) -> str:
    """When the campaign will be done, at the speed of the last minutes, in open hours only."""
    if campaign.status != "running" or not progress.left:
        return ""
    now = parts.clock.now()
    rules = campaign.rules
    zone = ZoneInfo(rules.zone)
    try:
        hours = rules.hours(None if rules.calendar is None else parts.calendars.get(rules.calendar))
        opens = hours.home_next_open(now)
        if opens > now:
            return f"calls again {opens.astimezone(zone):%Y-%m-%d %H:%M}"
        if not progress.settled_recently:
            return "ETA unknown yet"
        speed = progress.settled_recently / progress.recent_s
        at = hours.after(now, progress.left / speed)
        if progress.next_due is not None:
            at = max(at, progress.next_due)
    except (BillingError, NeverOpen) as error:
        return str(error)
    return f"ETA {at.astimezone(zone):%Y-%m-%d %H:%M}"


@command.group("dnc")
def dnc() -> None:
    """Do-not-call lists: add, remove and list numbers.

    The list `opt-out` is the one that subscribers put themselves on; every campaign heeds it.
    """


@dnc.command("add")
@click.argument("name")
@click.argument("numbers", nargs=-1)
@click.option("--file", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def add(name: str, numbers: tuple[str, ...], path: Path | None) -> None:
    """Add NUMBERS, or those of a file (one a line), to the list NAME.

    \b
    Examples:
      callflows campaign dnc add opt-out 02188776655
      callflows campaign dnc add regulator --file regulator.txt
    """
    if bool(numbers) == (path is not None):
        raise click.UsageError("give numbers, or --file")
    settings = settings_of()
    parts = Parts(settings)
    now = parts.clock.now()
    if path is not None:
        _load(parts, name, path, now)
        return
    loaded = do_not_call.add(parts.database, name, numbers, now, settings.region)
    click.echo(f"list {name}: {loaded.added} added, {loaded.unchanged} there before")
    if loaded.rejected:
        wrong = "\n".join(f"{numbers[place - 1]}: {why}" for place, why in loaded.rejected)
        raise click.ClickException(wrong)


@dnc.command("remove")
@click.argument("name")
@click.argument("number")
def remove(name: str, number: str) -> None:
    """Take NUMBER off the list NAME."""
    settings = settings_of()
    parts = Parts(settings)
    e164 = parse_number(number, region=settings.region)
    if not do_not_call.remove(parts.database, name, e164):
        raise click.ClickException(f"{number} is not on list {name}")
    click.echo(f"{number} may be called again, as far as list {name} goes")


@dnc.command("list")
@click.argument("name", required=False)
@click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True)
def list_numbers(name: str | None, limit: int) -> None:
    """List the numbers of NAME, or all lists with their sizes."""
    parts = Parts(settings_of())
    if name is not None:
        for number in do_not_call.numbers_of(parts.database, name, limit):
            click.echo(number)
        return
    sizes = do_not_call.sizes(parts.database)
    for size in sizes:
        click.echo(f"{size.numbers:>10,}  {size.name}")
    if not sizes:
        click.echo("there is no do-not-call list")
