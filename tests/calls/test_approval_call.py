"""The automatic call to an owner: who answers proves to be the owner, then a key decides (D9)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from billing.premium.approval_calls import ApprovalCalls
from callflows.call import Call, CallerGone
from callflows.flow import restore
from callflows.journal import Journal
from callflows.premium.approval_call import ApprovalCallFlow
from callflows.runner import run
from callflows.scripted import Event, HangsUp, Hears, IsHungUp, hears, presses
from esl_worker.approval_calls import ApprovalCaller
from esl_worker.originator import NotPlaced, Outgoing
from tests.calls.owner_scenarios import PIN, OwnerCall, OwnerLine, OwnerWorld
from tests.calls.premium_world import TEHRAN
from tests.owner_house import everything

OWNER = "+989121112233"
QUESTION = hears("owner_pending", "owner_call_keys")
NUMBER: list[Event] = [hears("owner_call_greeting", "owner_call_number"), presses("{number}#")]
BY_PIN: list[Event] = [hears("owner_call_greeting", "owner_ask_pin"), presses(f"{PIN}#")]
ALLOWED: list[Event] = [hears("owner_approved", "announce_goodbye"), IsHungUp()]

SCRIPTS: dict[str, tuple[list[Event], str, bool]] = {
    "allows it, known by the number in the SMS": (
        [*NUMBER, QUESTION, presses("1"), *ALLOWED], "approved", False,
    ),
    "allows it, known by PIN": ([*BY_PIN, QUESTION, presses("1"), *ALLOWED], "approved", True),
    "refuses it, after hearing it again": (
        [*NUMBER, QUESTION, presses("9"), QUESTION, presses("2"),
         hears("owner_refused", "announce_goodbye"), IsHungUp()],
        "refused", False,
    ),
    "does not know the number": (
        [hears("owner_call_greeting", "owner_call_number"), presses("0000#"),
         hears("owner_call_number_wrong", "owner_call_number"), presses("0001#"),
         hears("owner_call_number_wrong", "owner_call_number"), presses("12345678901234567890#"),
         hears("owner_call_unanswered"), IsHungUp()],
        "open", False,
    ),
    "does not know the PIN; the number does not help": (
        [hears("owner_call_greeting", "owner_ask_pin"), presses("1111#"),
         hears("owner_pin_wrong", "owner_ask_pin"), presses("*"),
         hears("owner_call_unanswered"), IsHungUp()],
        "open", True,
    ),
    "an answering machine decides nothing": (
        [hears("owner_call_greeting", "owner_call_number"), presses(""),
         hears("no_input", "owner_call_number"), presses(""),
         hears("no_input", "owner_call_number"), presses(""),
         hears("owner_call_unanswered"), IsHungUp()],
        "open", False,
    ),
}  # fmt: skip


class Switch:
    """An originator that remembers what it was to place."""

    def __init__(self, ready: bool = True, refuses: bool = False) -> None:
        self.name = "switch"
        self.ready = ready
        self.refuses = refuses
        self.placed: list[Outgoing] = []

    def place(self, call, on_answer, on_fate):
        if self.refuses:
            raise NotPlaced("not connected")
        self.placed.append(call)

    def exists(self, call_ids):
        return set()

    def hang_up(self, call_id):
        pass


class Asked:
    """A world with a request that its owner is called about."""

    def __init__(self, folder: Path, *, pin: bool = False) -> None:
        self.world = OwnerWorld(folder, OwnerCall("call", []))
        if pin:
            self.world.pin()
        self.request = self.world.ask()
        self.switch = Switch()
        self.world.clock.advance(60)
        assert self.caller(self.switch).look() == 1
        (self.call,) = self.switch.placed

    def caller(self, *switches: Switch) -> ApprovalCaller:
        calls = ApprovalCalls(self.world.database, self.world.clock, TEHRAN)
        return ApprovalCaller(calls, switches, self.world.clock, caller_id="2021")

    def channel(self, script: list[Event], kind: type[OwnerLine] = OwnerLine) -> OwnerLine:
        return kind(self.world, script, caller="2021", dialled="2022", call_id=self.call.call_id)

    def converse(self, channel: OwnerLine) -> Call:
        call = Call(channel, Journal())
        run(ApprovalCallFlow(self.world.services), call)
        return call

    def standing(self) -> str:
        return self.world.premium.approvals.standing(self.request)


@pytest.mark.parametrize("title", SCRIPTS)
def test_the_conversation(title: str, tmp_path: Path) -> None:
    """It goes as written, the request stands as decided, and no PIN is left anywhere."""
    script, standing, pin = SCRIPTS[title]
    asked = Asked(tmp_path, pin=pin)
    assert asked.call.number == OWNER
    channel = asked.channel(script)
    call = asked.converse(channel)
    channel.done()
    assert asked.standing() == standing
    approvals = asked.world.premium.approvals.of_line(asked.world.line.id)
    assert [each.via for each in approvals] == (["call"] if standing == "approved" else [])
    left = "\n".join(str(step.data) for step in call.journal.steps)
    assert f"'{PIN}'" not in left + str(channel.variables) + everything(asked.world.database)


@pytest.mark.parametrize("title", SCRIPTS)
def test_hanging_up_at_every_step(title: str, tmp_path: Path) -> None:
    """Whoever puts the receiver down before a key has decided nothing."""
    script, _, pin = SCRIPTS[title]
    for place, step in enumerate(script):
        if not isinstance(step, Hears):
            continue
        folder = tmp_path / str(place)
        folder.mkdir()
        asked = Asked(folder, pin=pin)
        channel = asked.channel([*script[: place + 1], HangsUp()])
        asked.converse(channel)
        channel.done()
        decided = step.keys[0] in ("owner_approved", "owner_refused")
        assert (asked.standing() == "open") == (not decided)


class Dies(OwnerLine):
    """A channel whose worker dies while the n-th prompt plays."""

    left = 0

    def _hear(self, prompt):
        super()._hear(prompt)
        self.left -= 1
        if self.left == 0:
            raise CallerGone("the worker has died")


class Resumed(OwnerLine):
    """The rest of a script; its first prompt may lack what the dead worker had said before."""

    def _hear(self, prompt):
        if self.position == 0:
            first = self.script[0]
            assert isinstance(first, Hears)
            assert first.keys[-len(prompt.keys) :] == prompt.keys
            self.script[0] = replace(first, keys=prompt.keys)
        super()._hear(prompt)


@pytest.mark.parametrize("title", list(SCRIPTS)[:3])
def test_another_worker_goes_on_at_every_step(title: str, tmp_path: Path) -> None:
    """Whichever prompt a worker dies at, another goes on there; it is decided once."""
    script, standing, pin = SCRIPTS[title]
    prompts = [place for place, step in enumerate(script) if isinstance(step, Hears)]
    for count, place in enumerate(prompts, start=1):
        folder = tmp_path / str(count)
        folder.mkdir()
        asked = Asked(folder, pin=pin)
        first = asked.channel(script, Dies)
        first.left = count  # type: ignore[attr-defined]
        asked.converse(first)
        second = asked.channel(script[place:], Resumed)
        second.variables = first.variables
        call = Call(second, Journal(), language_set=True)
        flow = ApprovalCallFlow(asked.world.services)
        run(flow, call, restore(flow, call, first.variables))
        second.done()
        assert asked.standing() == standing


def test_answered_while_it_rang(tmp_path):
    """By SMS, say: the call says so, and decides nothing."""
    asked = Asked(tmp_path)
    approvals = asked.world.premium.approvals
    approvals.answer_by_phone(asked.world.line.id, asked.request, False, "phone")
    channel = asked.channel([hears("owner_request_over", "announce_goodbye"), IsHungUp()])
    asked.converse(channel)
    channel.done()
    assert asked.standing() == "refused"


def test_answered_during_the_call(tmp_path):
    """The first answer counts; the key that comes later hears so."""
    asked = Asked(tmp_path)
    script = [*NUMBER, QUESTION, presses("1"), hears("owner_request_over", "announce_goodbye"),
              IsHungUp()]  # fmt: skip
    channel = asked.channel(script)
    world, approvals = asked.world, asked.world.premium.approvals
    world._during["owner_call_keys"] = lambda _: approvals.answer_by_phone(
        world.line.id, asked.request, False, "phone"
    )
    asked.converse(channel)
    channel.done()
    assert asked.standing() == "refused"


def test_somebody_who_dials_the_extension(tmp_path):
    """A call that nobody placed is about no request."""
    asked = Asked(tmp_path)
    channel = OwnerLine(
        asked.world,
        [hears("owner_request_over", "announce_goodbye"), IsHungUp()],
        dialled="2022",
        call_id="11111111-0000-4000-8000-000000000009",
    )
    asked.converse(channel)
    channel.done()
    assert asked.standing() == "open"


def test_switches_that_cannot_place_it(tmp_path):
    """The next one is tried; where none can, the request is called about later, and not lost."""
    world = OwnerWorld(tmp_path, OwnerCall("call", []))
    world.ask()
    world.clock.advance(60)
    calls = ApprovalCalls(world.database, world.clock, TEHRAN)

    def look(*switches: Switch) -> int:
        return ApprovalCaller(calls, switches, world.clock, caller_id="2021").look()

    assert look() == look(Switch(ready=False)) == 0
    assert look(Switch(refuses=True)) == 0
    world.clock.advance(20)
    good = Switch()
    assert look(Switch(refuses=True), good) == 1
    assert [each.number for each in good.placed] == [OWNER]
    assert look(good) == 0


def test_the_caller_runs_until_it_is_stopped(tmp_path):
    """Whatever goes wrong in a look, the next one comes."""
    looks = []

    class Flaky(ApprovalCaller):
        def look(self) -> int:
            looks.append(1)
            if len(looks) == 3:
                self.stop()
            raise RuntimeError("a switch misbehaves")

    world = OwnerWorld(tmp_path, OwnerCall("call", []))
    calls = ApprovalCalls(world.database, world.clock, TEHRAN)
    Flaky(calls, [], world.clock, caller_id="2021", look_s=0.001).run()
    assert len(looks) == 3
