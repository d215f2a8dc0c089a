"""What stands between acceptance and connection: the owner's PIN, code, approval (D9).

On a flow that does nothing else, so that each reason can be seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from billing.errors import Unavailable
from callflows.call import Call, GaveUp
from callflows.flow import Flow, State, state
from callflows.journal import Journal
from callflows.premium.authentication import OwnerAuthentication
from callflows.runner import run
from callflows.scripted import Event, HangsUp, Hears, IsHungUp, hears, presses, waits
from tests.calls.owner_scenarios import (
    NEW_PIN,
    PIN,
    SENT,
    OwnerCall,
    OwnerLine,
    OwnerWorld,
)
from tests.owner_house import everything

CODE: list[Event] = [hears(*SENT), presses("{code}")]
ASKED: list[Event] = [hears("owner_approval_ask"), presses("1"), hears("owner_approval_wait")]


@dataclass(frozen=True)
class Asked:
    """What is asked of the service."""

    id: int
    category: str
    authentication: str


class Gate(OwnerAuthentication, Flow):
    """Authenticates, and remembers how that ended."""

    name = "gate"

    def __init__(self, world: OwnerWorld, authentication: str) -> None:
        super().__init__()
        self.services = world.services
        self._world = world
        self._asked = Asked(world.service, "poetry", authentication)
        self.result: tuple[str, object] | None = None

    @state(initial=True)
    def enter(self, call: Call) -> State | None:
        return self.authenticate

    @property
    def owner_line(self):
        return self._world.line

    @property
    def asked_service(self) -> Asked:
        return self._asked

    def authenticated(self, call: Call, approval: int | None) -> None:
        self.result = ("yes", approval)

    def not_authenticated(self, call: Call, reason: str) -> None:
        self.result = ("no", reason)

    def gave_up(self, call: Call, why: GaveUp) -> None:
        self.result = ("gave up", why.reason)


def answered(text: str) -> Callable[[OwnerWorld], object]:
    """The owner answers by SMS while the caller waits."""

    def act(world: OwnerWorld) -> None:
        from billing.premium.owner_sms import OwnerSms

        sms = OwnerSms(world.database, world.clock, world.premium.credit_requests)
        assert sms.answer("+989121112233", world.filled_in(text), "m1") is not None

    return act


def decided(world: OwnerWorld) -> None:
    world.approve()


@dataclass(frozen=True)
class Case:
    """How it goes, and how it ends."""

    script: list[Event]
    result: tuple[str, object]
    service: str = "none"
    owner: str = "none"
    arrange: Callable[[OwnerWorld], object] = lambda _: None
    during: Callable[[OwnerWorld], object] | None = None


def pin(*keys: str) -> list[Event]:
    """PINs that are asked for in a row, the first ones wrong."""
    steps: list[Event] = [hears("owner_ask_pin"), presses(f"{keys[0]}#")]
    for each in keys[1:]:
        steps += [hears("owner_pin_wrong", "owner_ask_pin"), presses(f"{each}#")]
    return steps


def lonely(world: OwnerWorld) -> None:
    """The line has no registered mobile."""
    from sqlalchemy import update

    from billing.schema import lines

    world.sql(update(lines).where(lines.c.id == world.line.id).values(mobile=None))
    line = world.owners.line_of(world.line.number)
    assert line is not None
    world.line = line


CASES: dict[str, Case] = {
    "nothing is asked for": Case([], ("yes", None)),
    "the right PIN": Case(pin(PIN), ("yes", None), "pin", arrange=OwnerWorld.pin),
    "the owner asks for the PIN, the service for nothing": Case(
        pin(PIN), ("yes", None), "none", "pin", OwnerWorld.pin
    ),
    "the right PIN at the second try": Case(
        pin("1111", PIN), ("yes", None), "pin", arrange=OwnerWorld.pin
    ),
    "three wrong PINs": Case(
        [*pin("1111", "1111", "1111"), hears("owner_pin_locked")],
        ("no", "locked"), "pin", arrange=OwnerWorld.pin,
    ),
    "the caller does not know the PIN": Case(
        pin("*"), ("no", "declined"), "pin", arrange=OwnerWorld.pin
    ),
    "no PIN is set: a code instead": Case(CODE, ("yes", None), "pin"),
    "no PIN is set, no mobile is registered": Case([], ("no", "no_mobile"), "pin", arrange=lonely),
    "the right code": Case(CODE, ("yes", None), "code"),
    "a wrong code, then the right one": Case(
        [hears(*SENT), presses("{wrong}"), hears("owner_code_wrong", *SENT[1:]),
         presses("{code}")],
        ("yes", None), "code",
    ),
    "wrong codes only": Case(
        [hears(*SENT), presses("{wrong}"),
         *[step for _ in range(4)
           for step in (hears("owner_code_wrong", *SENT[1:]), presses("{wrong}"))],
         hears("owner_code_expired", "owner_code_again"), presses("*")],
        ("no", "declined"), "code",
    ),
    "no message comes, twice": Case(
        [hears(*SENT), presses("*"), hears("owner_code_again"), presses("1"),
         hears(*SENT), presses("*")],
        ("no", "code"), "code",
    ),
    "nothing is keyed in": Case(
        [hears(*SENT), presses(""), hears("no_input", *SENT[1:]), presses(""),
         hears("no_input", *SENT[1:]), presses("")],
        ("gave up", "no_input"), "code",
    ),
    "digits that can be no code": Case(
        [hears(*SENT), presses("123"), hears("owner_code_wrong", *SENT[1:]), presses("12*4"),
         hears("owner_code_wrong", *SENT[1:]), presses("{code}")],
        ("yes", None), "code",
    ),
    "messages are used up": Case(
        [hears("owner_sms_limited")], ("no", "limited"), "code",
        arrange=OwnerWorld.messages_used_up,
    ),
    "an approval holds": Case([], ("yes", 1), "approval", arrange=decided),
    "the owner says yes while the caller waits": Case(
        [*ASKED, waits(40), hears("owner_approval_given")], ("yes", 1), "approval",
        during=answered("بله {number}"),
    ),
    "the owner says no": Case(
        [*ASKED, waits(40)], ("no", "refused"), "approval", during=answered("no {number}")
    ),
    "the owner does not answer": Case([*ASKED, waits(180)], ("no", "no_answer"), "approval"),
    "the caller does not wait": Case([*ASKED, waits(5, "*")], ("no", "no_answer"), "approval"),
    "the caller does not want the owner to be asked": Case(
        [hears("owner_approval_ask"), presses("*")], ("no", "declined"), "approval"
    ),
    "an approval is asked for, and nobody can be asked": Case(
        [hears("owner_approval_ask"), presses("1")], ("no", "no_mobile"), "approval",
        arrange=lonely,
    ),
    "approval and PIN, as service and owner ask": Case(
        pin(PIN), ("yes", 1), "approval", "pin",
        lambda world: (world.pin(), world.approve()),
    ),
    "approval and code": Case(CODE, ("yes", 1), "code", "approval", decided),
    "an approval holds, but the PIN is wrong": Case(
        pin("*"), ("no", "declined"), "approval", "pin",
        lambda world: (world.pin(), world.approve()),
    ),
}  # fmt: skip


class Waiting(OwnerLine):
    """A caller; something happens ten seconds into the waiting."""

    during: Callable[[OwnerWorld], object] | None = None

    def wait(self, music, seconds, keys, look):
        seen = 0

        def looks() -> bool:
            nonlocal seen
            seen += 1
            if seen == 10 and self.during is not None:
                self.during(self.world)
            return look()

        return super().wait(music, seconds, keys, looks)


def prepared(case: Case, folder: Path) -> OwnerWorld:
    world = OwnerWorld(folder, OwnerCall("gate", []))
    case.arrange(world)
    world.owners.set_authentication(world.line.id, case.owner)
    return world


@pytest.mark.parametrize("title", CASES)
def test_gate(title: str, tmp_path: Path) -> None:
    """Who may pass passes, under the right approval; who may not, for the right reason; and
    neither PIN nor code is left anywhere."""
    case = CASES[title]
    world = prepared(case, tmp_path)
    channel = Waiting(world, [*case.script, IsHungUp()])
    channel.during = case.during
    call = Call(channel, Journal())
    flow = Gate(world, case.service)
    assert run(flow, call) == "completed"
    channel.done()
    assert flow.result == case.result
    left = "\n".join(str(step.data) for step in call.journal.steps)
    left += str(channel.variables) + everything(world.database)
    for secret in (f"'{PIN}'", f"'{NEW_PIN}'", f'"{PIN}"', *world.secrets):
        assert secret not in left
    world.close()


@pytest.mark.parametrize("title", [title for title in CASES if CASES[title].script])
def test_hanging_up_at_every_step(title: str, tmp_path: Path) -> None:
    """Whoever leaves has not passed."""
    case = CASES[title]
    for place, step in enumerate(case.script):
        if not isinstance(step, Hears):
            continue
        folder = tmp_path / str(place)
        folder.mkdir()
        world = prepared(case, folder)
        channel = Waiting(world, [*case.script[: place + 1], HangsUp()])
        channel.during = case.during
        flow = Gate(world, case.service)
        assert run(flow, Call(channel, Journal())) == "caller_gone"
        channel.done()
        said_at_the_end = place == len(case.script) - 1
        assert flow.result is None or said_at_the_end
        world.close()


@pytest.mark.parametrize(
    ("part", "method", "script"),
    [
        ("codes", "send", []),
        ("approvals", "request", [hears("owner_approval_ask"), presses("1")]),
    ],
)
def test_a_database_that_is_away(part, method, script, tmp_path, monkeypatch):
    """What cannot be recorded is not promised: nobody passes, and nobody waits for nothing."""
    world = prepared(Case([], ("no", "unavailable")), tmp_path)

    def away(*_: object) -> None:
        raise Unavailable("locked")

    monkeypatch.setattr(getattr(world.premium, part), method, away)
    channel = Waiting(world, [*script, hears("not_recorded"), IsHungUp()])
    flow = Gate(world, "code" if part == "codes" else "approval")
    run(flow, Call(channel, Journal()))
    channel.done()
    assert flow.result == ("no", "unavailable")


def test_waiting_survives_a_database_that_is_away(tmp_path, monkeypatch):
    """Who waits for the owner goes on waiting, and hears the answer when it can be read again."""
    world = prepared(Case([], ("no", "")), tmp_path)
    standing = world.premium.approvals.standing
    asked = 0

    def sometimes(request: int):
        nonlocal asked
        asked += 1
        if asked % 2:
            raise Unavailable("locked")
        return standing(request)

    monkeypatch.setattr(world.premium.approvals, "standing", sometimes)
    channel = Waiting(world, [*ASKED, waits(40), hears("owner_approval_given"), IsHungUp()])
    channel.during = answered("yes {number}")
    flow = Gate(world, "approval")
    run(flow, Call(channel, Journal()))
    channel.done()
    assert flow.result == ("yes", 1)


def test_a_process_without_premium_says_so(tmp_path):
    """Put together wrongly, it fails at the first call, and says why."""
    from dataclasses import replace

    world = prepared(Case([], ("no", "")), tmp_path)
    flow = Gate(world, "pin")
    flow.services = replace(world.services, premium=None)
    with pytest.raises(LookupError, match="premium"):
        _ = flow.premium
