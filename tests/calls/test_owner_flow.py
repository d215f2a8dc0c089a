"""Height 1: the owner's number on the flow alone; hanging up and taken over at every step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from billing.errors import Unavailable
from callflows.call import Call, CallerGone
from callflows.flow import Flow, restore
from callflows.journal import Journal
from callflows.premium.owner_flow import OwnerFlow
from callflows.runner import run
from callflows.scripted import HangsUp, Hears, IsHungUp, hears, presses
from tests.calls.owner_scenarios import (
    END,
    MENU,
    NEW_PIN,
    PIN,
    SCENARIOS,
    OwnerCall,
    OwnerLine,
    OwnerWorld,
    ceiling,
    entering,
    owner,
    scenario,
)
from tests.owner_house import everything


def talk(world: OwnerWorld, channel: OwnerLine) -> tuple[str, Flow, Call]:
    call = Call(channel, Journal())
    flow = OwnerFlow(world.services)
    return run(flow, call), flow, call


def written_down(world: OwnerWorld, channel: OwnerLine, call: Call) -> str:
    """All that the call has left anywhere: journal, channel, database."""
    steps = "\n".join(str(step.data) for step in call.journal.steps)
    return "\n".join([steps, str(channel.variables), everything(world.database)])


def check_secrets(world: OwnerWorld, channel: OwnerLine, call: Call) -> None:
    """No PIN and no code stands anywhere, save in the SMS itself."""
    left = written_down(world, channel, call)
    for secret in (f"'{PIN}'", f"'{NEW_PIN}'", f'"{PIN}"', "1" * 32, *world.secrets):
        assert secret not in left


each = pytest.mark.parametrize("case", SCENARIOS, ids=lambda case: case.title)


@each
def test_scenario(case: OwnerCall, tmp_path):
    """The conversation goes as written, what was set is set, and no secret is left anywhere."""
    world = OwnerWorld(tmp_path, case)
    channel = OwnerLine(world, case.script)
    outcome, _, call = talk(world, channel)
    channel.done()
    assert outcome == case.outcome
    assert case.after(world)
    check_secrets(world, channel, call)
    assert len(channel.variables["callflows_context"]) < 400
    world.close()


@each
def test_hanging_up_at_every_step(case: OwnerCall, tmp_path):
    """An owner may leave at any prompt: nothing breaks, and nothing secret is left."""
    for place, step in enumerate(case.script):
        if not isinstance(step, Hears):
            continue
        folder = tmp_path / str(place)
        folder.mkdir()
        world = OwnerWorld(folder, case)
        before = owner(world), ceiling(world)
        channel = OwnerLine(world, [*case.script[: place + 1], HangsUp()])
        outcome, _, call = talk(world, channel)
        channel.done()
        assert outcome == "caller_gone"
        if not any(isinstance(each, Hears) and "owner_menu" in each.keys
                   for each in case.script[:place]):  # fmt: skip
            # Not yet in the menu: nothing can have been changed but the count of wrong PINs.
            after = replace(owner(world), pin_locked_until=None), ceiling(world)
            assert after == before
        check_secrets(world, channel, call)
        world.close()


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


@pytest.mark.parametrize(
    "case", [case for case in SCENARIOS if not case.counts_tries], ids=lambda case: case.title
)
def test_another_worker_goes_on_at_every_step(case: OwnerCall, tmp_path):
    """Whichever prompt a worker dies at, another goes on there; what was set is set once."""
    prompts = [place for place, step in enumerate(case.script) if isinstance(step, Hears)]
    for count, place in enumerate(prompts, start=1):
        folder = tmp_path / str(count)
        folder.mkdir()
        world = OwnerWorld(folder, case)
        first = Dies(world, case.script)
        first.left = count
        outcome, _, _ = talk(world, first)
        assert outcome == "caller_gone"
        step = case.script[place]
        assert isinstance(step, Hears)
        # A PIN is kept nowhere between its two questions: the first one comes again.
        back = 2 if "owner_new_pin_again" in step.keys else 0
        second = Resumed(world, case.script[place - back :])
        second.variables = first.variables
        call = Call(second, Journal(), language="fa", language_set=True)
        flow = OwnerFlow(world.services)
        run(flow, call, restore(flow, call, first.variables))
        second.done()
        assert case.after(world)
        check_secrets(world, second, call)
        world.close()


CREDIT = [
    *entering(), MENU, presses("1"), hears("owner_credit_state", "owner_ask_credit"),
    presses("400000#"), hears("owner_confirm_credit"), presses("1"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "part", "method"),
    [
        (CREDIT, "credit_requests", "ask"),
        (
            [*entering(), MENU, presses("5"), hears("owner_is_open"), presses("1")],
            "owners", "block",
        ),
        (
            [*entering(), MENU, presses("7"), hears("owner_greeting_menu"), presses("3"),
             hears("owner_ask_birthday"), presses("0715")],
            "owners", "set_birthday",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_recorded_is_not_promised(script, part, method, tmp_path, monkeypatch):
    """A database that is away just then: said so, and the menu goes on."""
    case = scenario(
        "away", script, hears("owner_not_saved", "owner_menu"), END, arrange=OwnerWorld.pin
    )
    world = OwnerWorld(tmp_path, case)

    def away(*_: object) -> None:
        raise Unavailable("locked")

    monkeypatch.setattr(getattr(world.premium, part), method, away)
    channel = OwnerLine(world, case.script)
    assert talk(world, channel)[0] == "completed"
    channel.done()
    assert (ceiling(world), owner(world).blocked_by) == (100_000, None)


def test_without_a_database_nobody_comes_in(tmp_path, monkeypatch):
    """An apology, and the end; the PIN that was keyed in is not even asked for."""
    case = scenario("away", hears("technical_trouble"), IsHungUp())
    world = OwnerWorld(tmp_path, case)

    def away(*_: object) -> None:
        raise Unavailable("locked")

    monkeypatch.setattr(world.premium.owners, "line_of", away)
    channel = OwnerLine(world, case.script)
    assert talk(world, channel)[0] == "trouble"
    channel.done()
