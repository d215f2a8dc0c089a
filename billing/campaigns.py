"""Campaigns: who is called about an overdue bill, by which rules, and how far it has come (A1-A3).

A campaign's list is made once, in the database (`create`), and never passes through memory. Calls
are claimed from it by dialers (`billing.dialling`); what a conversation tells goes through
`billing.announcing`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    case,
    exists,
    func,
    insert,
    literal,
    null,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from billing.bill_ids import THOUSAND
from billing.calendars import Calendar
from billing.calling_hours import CallingHours, parse_window
from billing.database import Database
from billing.do_not_call import OPT_OUT, checked_name
from billing.entities import Language
from billing.errors import BillingError
from billing.numbers import Kind
from billing.retry_rules import DEFAULT_RULES, RESULTS, RetryRules, parse_rules
from billing.schema import (
    bills,
    calls,
    campaign_calls,
    campaign_targets,
    campaigns,
    do_not_call,
    lines,
)

Status = Literal["planned", "running", "paused", "stopped", "finished"]
Machine = Literal["hangup", "message", "ignore"]
"""What a campaign does when an answering machine answers."""

_NAME = re.compile(r"[\w.\-]{1,64}")
# What a switch may show as the caller: nothing that could be more than a number in a command.
_CALLER_ID = re.compile(r"\+?[0-9]{3,15}")
_MOST_A_SECOND = 1000.0
_LEAST_A_SECOND = 0.01
_LONGEST_RING_S = 120
# How far back the present speed of a campaign is measured.
_RECENTLY = timedelta(minutes=10)


class InvalidCampaign(BillingError, ValueError):
    """A campaign cannot be made so; the text names what is wrong."""


class WrongStatus(BillingError):
    """A campaign cannot do that as it stands now; the text says how it stands."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a campaign calls. Immutable once it is made, but for pausing and stopping.

    ``window`` and ``calendar`` (a name, None for none) hold by the subscriber's own clock; ``zone``
    is the operator's. ``cps`` is calls started a second, ``simultaneous`` calls at a time, both for
    all dialers and switches together; ``switch_cps`` and ``switch_simultaneous`` for each switch.
    ``ring_s`` is how long a telephone rings, seconds. ``retries`` and ``cap``: see
    `billing.retry_rules`. ``sms_not_reached`` and ``email_not_reached``: whether those whom no call
    reached get the announcement so (A2, A3). ``lists`` are do-not-call lists besides `OPT_OUT`.
    """

    window: str
    zone: str
    caller_id: str
    calendar: str | None = None
    cps: float = 1.0
    simultaneous: int = 30
    switch_cps: float | None = None
    switch_simultaneous: int | None = None
    ring_s: int = 30
    retries: str = DEFAULT_RULES
    cap: int = 4
    machine: Machine = "hangup"
    sms_not_reached: bool = False
    email_not_reached: bool = False
    lists: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check every rule.

        Raises:
            InvalidCampaign: a rule makes no sense.
            InvalidWindow, InvalidRules, InvalidList: the window, the retries, a list's name.
        """
        parse_window(self.window)
        parse_rules(self.retries, self.cap)
        for name in self.lists:
            checked_name(name)
        if not _CALLER_ID.fullmatch(self.caller_id):
            raise InvalidCampaign("caller ID: 3 to 15 digits, perhaps with a +")
        for name, cps in (("calls per second", self.cps), ("… per switch", self.switch_cps)):
            if cps is not None and not _LEAST_A_SECOND <= cps <= _MOST_A_SECOND:
                raise InvalidCampaign(f"{name}: {_LEAST_A_SECOND:g} to {_MOST_A_SECOND:g}")
        for name, most in (
            ("simultaneous calls", self.simultaneous),
            ("… per switch", self.switch_simultaneous),
        ):
            if most is not None and most < 1:
                raise InvalidCampaign(f"{name}: 1 or more")
        if not 5 <= self.ring_s <= _LONGEST_RING_S:
            raise InvalidCampaign(f"ringing time: 5 to {_LONGEST_RING_S} seconds")
        if self.machine not in get_args(Machine):
            raise InvalidCampaign(f"answering machine: one of {', '.join(get_args(Machine))}")
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError) as error:
            raise InvalidCampaign(f"unknown time zone: {self.zone}") from error

    @property
    def retry(self) -> RetryRules:
        """The retry rules, with the cap."""
        return parse_rules(self.retries, self.cap)

    @property
    def heeded(self) -> tuple[str, ...]:
        """The do-not-call lists that the campaign heeds."""
        return (OPT_OUT, *self.lists)

    def hours(self, calendar: Calendar | None) -> CallingHours:
        """The calling hours, with the calendar of that name."""
        return CallingHours(parse_window(self.window), calendar, ZoneInfo(self.zone))


@dataclass(frozen=True, slots=True)
class Selection:
    """Whom a campaign is for: lines with a bill at least ``overdue`` days past its due date.

    ``least`` is the least that has to be left to pay of such a bill, in rials; ``kind`` and
    ``language`` are the line's, None for any.
    """

    overdue: int
    least: int = THOUSAND
    kind: Kind | None = None
    language: Language | None = None


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign as it stands."""

    id: int
    name: str
    status: Status
    reason: str | None
    rules: Rules
    due_until: date
    least: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a campaign has come, in numbers of lines, but for ``results`` and ``calls``.

    ``targets`` by status; ``dialled`` were called at least once; ``calls`` were made in all, of
    which ``live`` go on, ``answered`` were picked up, and the ended ones came to ``results``.
    ``chose`` counts the ways to pay that were chosen. ``paid`` lines settled their overdue bills
    since the campaign was made, called or not. ``settled_recently`` lines were done with in the
    last ten minutes.
    """

    targets: Mapping[str, int]
    dialled: int
    calls: int
    live: int
    answered: int
    results: Mapping[str, int]
    chose: Mapping[str, int]
    paid: int
    settled_recently: int
    recent_s: float
    next_due: datetime | None = field(default=None)

    @property
    def total(self) -> int:
        """All lines of the campaign."""
        return sum(self.targets.values())

    @property
    def left(self) -> int:
        """Lines that are not done with."""
        return self.targets.get("waiting", 0) + self.targets.get("dialling", 0)


_CAMPAIGN = (
    campaigns.c.id,
    campaigns.c.name,
    campaigns.c.status,
    campaigns.c.reason,
    campaigns.c.rules,
    campaigns.c.due_until,
    campaigns.c.least,
    campaigns.c.created_at,
    campaigns.c.started_at,
    campaigns.c.ended_at,
)


def owes(line: ColumnElement[int], due_until: Any, least: Any) -> ColumnElement[bool]:
    """The condition that ``line`` has a bill that a campaign is about."""
    return exists().where(bills.c.line_id == line, owed(due_until, least))


def owed(due_until: Any, least: Any) -> ColumnElement[bool]:
    """The condition that a bill is one that a campaign is about."""
    return and_(
        bills.c.status == "open",
        bills.c.due_date <= due_until,
        bills.c.amount - bills.c.paid - bills.c.carried_out >= least,
    )


def on_list(number: ColumnElement[str], lists: tuple[str, ...]) -> ColumnElement[bool]:
    """The condition that ``number`` is on one of the do-not-call lists."""
    return exists().where(do_not_call.c.number == number, do_not_call.c.list.in_(lists))


def create(
    database: Database,
    name: str,
    selection: Selection,
    rules: Rules,
    now: datetime,
) -> Campaign:
    """Make a campaign with its whole list in one transaction; it waits to be started.

    Lines on a do-not-call list are counted, not called. The list is made inside the database, so
    neither time nor memory of this process grows with it.

    Raises:
        InvalidCampaign: the name is malformed or taken, or the selection makes no sense.
        Unavailable: the database is locked or away; nothing was written.
    """
    if not _NAME.fullmatch(name):
        raise InvalidCampaign("name: 1 to 64 letters, digits, '_', '.' and '-'")
    if selection.overdue < 0 or selection.least < THOUSAND:
        raise InvalidCampaign(f"overdue: 0 or more days; least amount: {THOUSAND} rials or more")
    today = now.astimezone(ZoneInfo(rules.zone)).date()
    row = {
        "name": name,
        "status": "planned",
        "rules": json.dumps(asdict(rules)),
        "due_until": today - timedelta(days=selection.overdue),
        "least": selection.least,
        "created_at": now,
    }

    def work(conn: Connection) -> Campaign:
        if not database.is_sqlite:
            # A list of millions takes its time.
            conn.exec_driver_sql("SET LOCAL statement_timeout = 0")
        made = conn.execute(insert(campaigns).values(row).returning(*_CAMPAIGN)).one()
        conn.execute(
            insert(campaign_targets).from_select(
                ["campaign", "line", "number", "status", "due_at", "settled_at"],
                _list(made.id, row, selection, rules, now),
            )
        )
        return _campaign(made)

    try:
        return database.write(work)
    except IntegrityError as error:
        raise InvalidCampaign(f"campaign {name}: there is one of that name") from error


def _list(
    campaign: int, row: Mapping[str, Any], selection: Selection, rules: Rules, now: datetime
) -> Select[Any]:
    moment = literal(now, campaign_targets.c.due_at.type)
    refused = on_list(lines.c.number, rules.heeded)
    chosen = [owes(lines.c.id, row["due_until"], row["least"])]
    if selection.kind is not None:
        chosen.append(lines.c.kind == selection.kind)
    if selection.language is not None:
        chosen.append(lines.c.language == selection.language)
    return select(
        literal(campaign),
        lines.c.id,
        lines.c.number,
        case((refused, "do_not_call"), else_="waiting"),
        moment,
        case((refused, moment), else_=null()),
    ).where(*chosen)


def find(database: Database, name: str) -> Campaign:
    """Return the campaign of that name.

    Raises:
        InvalidCampaign: there is none.
        Unavailable: the database is locked or away.
    """
    statement = select(*_CAMPAIGN).where(campaigns.c.name == name)
    row = database.query(lambda conn: conn.execute(statement).one_or_none())
    if row is None:
        raise InvalidCampaign(f"campaign {name}: there is none of that name")
    return _campaign(row)


def campaign_of(conn: Connection, campaign: int) -> Campaign:
    """Return a campaign by its row id."""
    return _campaign(conn.execute(select(*_CAMPAIGN).where(campaigns.c.id == campaign)).one())


def listed(database: Database, *, running: bool = False) -> list[Campaign]:
    """Return all campaigns, or only those that run; latest first.

    Raises:
        Unavailable: the database is locked or away.
    """
    statement = select(*_CAMPAIGN).order_by(campaigns.c.id.desc())
    if running:
        statement = statement.where(campaigns.c.status == "running")
    return database.query(lambda conn: [_campaign(row) for row in conn.execute(statement)])


_MOVES: Mapping[str, tuple[tuple[Status, ...], Status]] = {
    "start": (("planned",), "running"),
    "pause": (("running",), "paused"),
    "resume": (("paused",), "running"),
    "stop": (("planned", "running", "paused"), "stopped"),
}


def move(
    database: Database,
    name: str,
    action: Literal["start", "pause", "resume", "stop"],
    now: datetime,
) -> Campaign:
    """Start, pause, resume or stop a campaign; no dialer claims a call for it against that.

    Raises:
        InvalidCampaign: there is none of that name.
        WrongStatus: it cannot, as it stands.
        Unavailable: the database is locked or away.
    """
    allowed, status = _MOVES[action]
    values: dict[str, Any] = {"status": status, "reason": None}
    if action == "start":
        values["started_at"] = now
    if action == "stop":
        values["ended_at"] = now
    statement = (
        update(campaigns)
        .where(campaigns.c.name == name, campaigns.c.status.in_(allowed))
        .values(values)
        .returning(*_CAMPAIGN)
    )
    row = database.write(lambda conn: conn.execute(statement).one_or_none())
    if row is not None:
        return _campaign(row)
    found = find(database, name)
    if found.status == status:
        return found  # said twice, or its answer was lost
    raise WrongStatus(f"campaign {name} is {found.status}: it cannot {action}")


def hold(database: Database, campaign: int, reason: str) -> None:
    """Pause a running campaign because it cannot go on; ``reason`` is shown to operations.

    Raises:
        Unavailable: the database is locked or away.
    """
    statement = (
        update(campaigns)
        .where(campaigns.c.id == campaign, campaigns.c.status == "running")
        .values(status="paused", reason=reason)
    )
    database.write(lambda conn: conn.execute(statement))


def bill_settled(conn: Connection, line: int, now: datetime) -> None:
    """A bill of ``line`` has been paid: campaigns it was all about leave the line alone.

    In the payment's own transaction, so that no call starts after it; the claim of a call looks at
    the bills itself, whatever is written here.
    """
    debt = (
        select(campaigns.c.id)
        .where(
            campaigns.c.id == campaign_targets.c.campaign,
            bills.c.line_id == line,
            owed(campaigns.c.due_until, campaigns.c.least),
        )
        .correlate(campaign_targets)
    )
    waiting = campaign_targets.c.status == "waiting"
    moment = literal(now, campaign_targets.c.due_at.type)
    conn.execute(
        update(campaign_targets)
        .where(
            campaign_targets.c.line == line,
            campaign_targets.c.paid_at.is_(None),
            ~debt.exists(),
        )
        .values(
            paid_at=now,
            status=case((waiting, "paid"), else_=campaign_targets.c.status),
            settled_at=case((waiting, moment), else_=campaign_targets.c.settled_at),
        )
    )


def waiting(database: Database) -> int:
    """Return how many lines of running campaigns wait for a call, or for another one.

    Raises:
        Unavailable: the database is locked or away.
    """
    statement = (
        select(func.count())
        .select_from(campaign_targets.join(campaigns))
        .where(campaign_targets.c.status == "waiting", campaigns.c.status == "running")
    )
    return database.query(lambda conn: conn.execute(statement).scalar_one())


def progress(database: Database, campaign: int, now: datetime) -> Progress:
    """Return how far a campaign has come.

    Raises:
        Unavailable: the database is locked or away.
    """
    target, call = campaign_targets.c, campaign_calls.c
    since = now - _RECENTLY
    by_status = (
        select(
            target.status,
            func.count(),
            func.count().filter(target.calls > 0),
            func.count().filter(target.paid_at.is_not(None)),
            func.count().filter(and_(target.settled_at >= since, target.calls > 0)),
        )
        .where(target.campaign == campaign)
        .group_by(target.status)
    )
    by_result = (
        select(call.result, func.count(), func.count(call.answered_at))
        .where(call.campaign == campaign)
        .group_by(call.result)
    )
    methods = (
        select(calls.c.methods, func.count())
        .select_from(campaign_calls.join(calls, calls.c.call_id == call.call_id))
        .where(call.campaign == campaign, calls.c.methods != "")
        .group_by(calls.c.methods)
    )
    next_due = select(func.min(target.due_at)).where(
        target.campaign == campaign, target.status == "waiting"
    )
    first = select(func.min(call.started_at)).where(call.campaign == campaign)

    def work(conn: Connection) -> Progress:
        statuses = conn.execute(by_status).all()
        results = conn.execute(by_result).all()
        chose: dict[str, int] = {}
        for names, count in conn.execute(methods):
            for name in names.split(","):
                chose[name] = chose.get(name, 0) + count
        started = conn.execute(first).scalar_one()
        recent = _RECENTLY.total_seconds()
        if started is not None:
            recent = max(1.0, min(recent, (now - started).total_seconds()))
        ended = {result: count for result, count, _ in results if result is not None}
        return Progress(
            targets={row[0]: row[1] for row in statuses},
            dialled=sum(row[2] for row in statuses),
            calls=sum(row[1] for row in results),
            live=sum(count for result, count, _ in results if result is None),
            answered=sum(answered for _, _, answered in results),
            results={result: ended[result] for result in RESULTS if result in ended},
            chose=chose,
            paid=sum(row[3] for row in statuses),
            settled_recently=sum(row[4] for row in statuses),
            recent_s=recent,
            next_due=conn.execute(next_due).scalar_one(),
        )

    return database.query(work)


def _campaign(row: Row[*tuple[Any, ...]]) -> Campaign:
    told = json.loads(row.rules)
    rules = Rules(**{**told, "lists": tuple(told["lists"])})
    return Campaign(row.id, row.name, row.status, row.reason, rules, *row[5:])
