"""Fraud guards: what is unusual is told once with a reason, and partly stopped before it costs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from billing.clock import FixedClock
from billing.database import Database
from billing.journal import CallHeader, Journal, Step
from billing.premium.guard_limits import Limits
from billing.premium.guards import Block, Guards
from billing.premium.schema import premium_services, providers
from tests.charging_house import House, per_call

OFF = dict.fromkeys(Limits.__dataclass_fields__, 0)


@dataclass(frozen=True)
class Ref:
    """What the guards need of a line or a service."""

    id: int


class Watch:
    """A house with one service, and guards that know only the limits that a test is about."""

    def __init__(self, database: Database, clock: FixedClock) -> None:
        self.house = House(database, clock)
        self.clock = clock
        self.service = self.house.service(per_call(1000))
        self.line = self.house.line(10**9)
        self.count = 0

    def guards(self, **limits: int) -> Guards:
        values: dict[str, Any] = {**OFF, "block_s": 3600, **limits}
        return Guards(self.house.database, self.clock, Limits(**values))

    def call(self, seconds: int | None = 60, line: int | None = None) -> str:
        """A charged call of so many seconds; None: it goes on."""
        self.count += 1
        name = f"call-{self.count}"
        self.house.connect(name, line or self.line, self.service)
        if seconds is not None:
            self.clock.advance(seconds)
            self.house.charging.ended(name, self.clock.now())
        return name

    def admit(self, guards: Guards, line: int | None = None) -> Block | None:
        return guards.admit(Ref(line or self.line), Ref(self.service[0]), self.clock.now())

    @property
    def number(self) -> str:
        statement = select(premium_services.c.number)
        return self.house.database.query(lambda conn: conn.execute(statement).scalar_one())

    @property
    def provider(self) -> str:
        statement = select(providers.c.code)
        return self.house.database.query(lambda conn: conn.execute(statement).scalar_one())


@pytest.fixture
def watch(database: Database, clock: FixedClock) -> Watch:
    """A watch over a fresh database."""
    return Watch(database, clock)


def test_usual_use_is_let_through(watch: Watch) -> None:
    """The limits that are set without any configuration do not meet an ordinary caller."""
    guards = Guards(watch.house.database, watch.clock)
    for _ in range(5):
        assert watch.admit(guards) is None
        watch.call(120)
    assert guards.look() == []
    assert guards.listed() == []


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"line_calls": 3}, "3 calls in an hour; 3 are still usual"),
        ({"line_minutes": 9}, "9 minutes in a day; 9 are still usual"),
        ({"line_amount": 3000}, "3000 rials in a day; 3000 are still usual"),
    ],
)
def test_a_line_over_its_velocity_is_stopped(
    watch: Watch, limits: dict[str, int], reason: str
) -> None:
    """Calls, minutes and rials: at the limit no more begins, with one alert; other lines go on."""
    guards = watch.guards(**limits)
    for _ in range(3):
        assert watch.admit(guards) is None
        watch.call(180)
    until = watch.clock.now() + timedelta(hours=1)
    if "line_calls" not in limits:
        until = watch.clock.now().replace(hour=0, minute=0) + timedelta(days=1)
    assert watch.admit(guards) == Block(reason, until)
    assert watch.admit(guards) == Block(reason, until)
    assert [(alert.subject, alert.reason) for alert in guards.listed()] == [
        (f"line:{watch.line}", reason)
    ]
    assert watch.admit(guards, watch.house.line(10**6)) is None
    watch.clock.advance(2 * 86400)
    assert watch.admit(guards) is None


def test_running_minutes_count(watch: Watch) -> None:
    """A call that is still connected counts with what has passed of it."""
    guards = watch.guards(line_minutes=10)
    watch.call(None)
    watch.clock.advance(599)
    assert watch.admit(guards) is None
    watch.clock.advance(1)
    assert watch.admit(guards) is not None


def test_simultaneous_calls_are_refused_only_while_they_last(watch: Watch) -> None:
    """A second telephone may call; a tenth call at the same time is no household's."""
    guards = watch.guards(simultaneous=2)
    first = watch.call(None)
    assert watch.admit(guards) is None
    watch.call(None)
    assert watch.admit(guards) == Block("2 calls at the same time from one line", None)
    watch.clock.advance(30)
    watch.house.charging.ended(first, watch.clock.now())
    assert watch.admit(guards) is None
    assert len(guards.listed()) == 1


def test_calls_that_are_dialled_together_do_not_all_begin(watch: Watch) -> None:
    """All are let in while none has begun: whoever would be one too many is refused then."""
    guards = watch.guards(simultaneous=2)
    assert [watch.admit(guards) for _ in range(3)] == [None] * 3
    line, now = Ref(watch.line), watch.clock.now()
    for _ in range(2):
        assert guards.crowded(line, "the next", now) is None
        last = watch.call(None)
    assert guards.crowded(line, "one too many", now) == Block(
        "2 calls at the same time from one line", None
    )
    # A worker that takes over asks again for a call that has begun.
    assert guards.crowded(line, last, now) is None
    assert guards.crowded(Ref(watch.house.line(10**6)), "another line's", now) is None
    assert watch.guards().crowded(line, "no limit", now) is None
    assert [alert.rule for alert in guards.listed()] == ["simultaneous"]


@pytest.mark.parametrize("rule", ["calls", "minutes", "amount"])
@pytest.mark.parametrize("kind", ["service", "provider"])
def test_a_service_or_provider_over_its_velocity_is_an_alert(
    watch: Watch, kind: str, rule: str
) -> None:
    """Many lines together: a person is told, once an hour; callers are not stopped."""
    most = {"calls": 4, "minutes": 12, "amount": 4000}[rule]
    guards = watch.guards(**{f"{kind}_{rule}": most})
    for _ in range(3):
        watch.call(180, watch.house.line(10**6))
    assert guards.look() == []
    watch.call(180, watch.house.line(10**6))
    subject = f"service:{watch.number}" if kind == "service" else f"provider:{watch.provider}"
    assert len(guards.look()) == 1
    assert guards.look() == []
    (alert,) = guards.listed()
    assert (alert.subject, alert.rule, alert.blocked_until) == (subject, rule, None)
    assert watch.admit(guards) is None


def test_short_calls_from_one_line_are_stopped(watch: Watch) -> None:
    """Who calls again and again just until it has cost something pumps."""
    guards = watch.guards(short_s=15, line_short=5)
    for seconds in (15, 3, 16, 15, 15):
        assert watch.admit(guards) is None
        watch.call(seconds)
    assert watch.admit(guards) is None
    watch.call(1)
    block = watch.admit(guards)
    assert block is not None
    assert block.reason == f"5 calls of at most 15 s to {watch.number} in an hour"


def test_a_service_of_short_calls_is_an_alert(watch: Watch) -> None:
    """Half of a hundred calls in an hour being short, from whatever lines, is no accident."""
    guards = watch.guards(short_s=5, service_short_percent=50)
    for place in range(99):
        watch.call(5 if place % 2 == 0 else 6)
    assert guards.look() == []
    watch.call(5)
    assert guards.look() != []
    (alert,) = guards.listed()
    assert (alert.rule, alert.subject) == ("short_calls", f"service:{watch.number}")


@pytest.mark.parametrize(
    ("steps", "silent"),
    [
        ([], True),
        ([(1000, "heard", {})], True),
        ([(1000, "pressed", {"keys": "1"})], True),
        ([(500_000, "pressed", {"keys": "1"})], False),
        ([(1000, "event", {"event": "calling"})], False),
        ([(1000, "event", {"event": "calling"}), (2000, "event", {"event": "bridged"})], True),
        ([(1000, "event", {"event": "calling"}), (500_000, "event", {"event": "bridged"})], False),
    ],
)
def test_a_call_that_is_held_open_is_an_alert(
    watch: Watch, steps: list[tuple[int, Any, dict[str, Any]]], silent: bool
) -> None:
    """Nobody presses a key or speaks with a consultant for long: told once for the call."""
    guards = watch.guards(silent_s=600)
    started = watch.clock.now()
    name = watch.call(None)
    header = CallHeader(name, started, None, None, None, watch.line, None, None)
    told = [Step(seq, ms, "content", kind, data) for seq, (ms, kind, data) in enumerate(steps)]
    Journal(watch.house.database).write(header, told)
    watch.clock.advance(599)
    assert guards.look() == []
    watch.clock.advance(4)
    assert (guards.look() == [f"silent:line:{watch.line}:{name}"]) is silent
    assert guards.look() == []


def test_a_person_lets_a_line_go_on(watch: Watch) -> None:
    """Unblocked, the same hour's calls do not stop it again; the next hour's may."""
    guards = watch.guards(line_calls=3)
    watch.clock.advance(3600 - watch.clock.now().minute * 60)
    for _ in range(3):
        watch.call(10)
    assert watch.admit(guards) is not None
    assert guards.unblock(f"line:{watch.line}", "Sara") == 1
    assert guards.unblock(f"line:{watch.line}", "Sara") == 0
    assert watch.admit(guards) is None
    (alert,) = guards.listed()
    assert alert.seen_by == "Sara"
    assert guards.listed(unseen=True) == []
    watch.clock.advance(3450)
    for _ in range(3):
        watch.call(60)
    assert watch.admit(guards) is not None


def test_alerts_are_seen_once(watch: Watch) -> None:
    """The first who looks at an alert stands beside it."""
    guards = watch.guards(line_calls=1)
    watch.call(10)
    watch.admit(guards)
    (alert,) = guards.listed(unseen=True)
    assert guards.seen([alert.id], "Sara") == 1
    assert guards.seen([alert.id], "Ali") == 0
    assert guards.listed()[0].seen_by == "Sara"


def test_the_command_lists_and_unblocks(
    watch: Watch, database_kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """`callflows guards`: operations see who is stopped and why, and let them go on."""
    from cli import guards as command

    # The command's clock is the machine's.
    guards = watch.guards(line_calls=1, block_s=10**9)
    monkeypatch.setenv("CALLFLOWS_DATABASE_URL", _url(watch.house.database))
    monkeypatch.setenv("CALLFLOWS_STATE_DIR", str(tmp_path))
    run = CliRunner().invoke
    assert "nothing unusual" in run(command.command, ["list"]).output
    watch.call(10)
    watch.admit(guards)
    listed = run(command.command, ["list", "--unseen"]).output
    assert f"line:{watch.line}" in listed
    assert "1 calls in an hour; 1 are still usual" in listed
    assert "stopped until" in listed
    assert run(command.command, ["unblock", f"line:{watch.line}", "--by", "Sara"]).exit_code in (
        0,
        1,
    )
    assert run(command.command, ["unblock", "line:0"]).exit_code == 1
    alert = guards.listed()[0].id
    assert run(command.command, ["seen", str(alert), "--by", "Sara"]).exit_code == 0
    assert "new alerts" in run(command.command, ["look"]).output


def _url(database: Database) -> str:
    return database.engine.url.set(
        drivername=database.engine.url.get_backend_name()
    ).render_as_string(hide_password=False)
