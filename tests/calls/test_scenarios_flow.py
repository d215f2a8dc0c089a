"""Height 1: every scenario on the flow alone, and again hanging up at every step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from callflows.bill_flow import BillFlow
from callflows.call import Call, CallerGone
from callflows.flow import Flow, restore
from callflows.journal import Journal
from callflows.runner import run
from callflows.scripted import HangsUp, Hears, ScriptedChannel
from tests.calls.scenario import Scenario, Sent
from tests.calls.scenarios import SCENARIOS
from tests.calls.world import World


def converse(world: World, scenario: Scenario, channel: ScriptedChannel) -> tuple[str, Flow, Call]:
    language = scenario.variables.get("callflows_language")
    call = Call(channel, Journal(), language=language or "fa", language_set=language is not None)
    flow = BillFlow(world.services)
    return run(flow, call), flow, call


def matches(found: list[Sent], expected: list[Sent]) -> bool:
    return len(found) == len(expected) and all(
        (have.kind, have.to) == (want.kind, want.to)
        and (want.names is None or have.names == want.names)
        for have, want in zip(found, expected, strict=True)
    )


class Line(ScriptedChannel):
    """A channel in a world: what happens there while a prompt plays, happens."""

    def __init__(self, world: World, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.world = world

    def _hear(self, prompt):
        super()._hear(prompt)
        self.world.heard(prompt.keys)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.title)
def test_scenario(scenario, tmp_path):
    """The conversation goes as written, and exactly the promised messages are ordered."""
    world = World(tmp_path, scenario)
    channel = Line(world, scenario.script, caller=scenario.caller, dialled=scenario.dialled)
    outcome, _, call = converse(world, scenario, channel)
    channel.done()
    assert outcome == scenario.outcome
    assert matches(world.sent(), list(scenario.sent)), world.sent()
    assert len(channel.variables["callflows_context"]) < 400
    told = [step.kind for step in call.journal.steps]
    assert told.count("heard") == sum(isinstance(step, Hears) for step in scenario.script)
    world.close()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.title)
def test_hanging_up_at_every_step(scenario, tmp_path):
    """A caller may leave at any prompt: nothing breaks, and what was promised before stands."""
    world = World(tmp_path, scenario)
    ordered = 0
    for place, step in enumerate(scenario.script):
        if not isinstance(step, Hears):
            continue
        if scenario.meanwhile and place:
            # What was paid in the call before is paid: another world.
            world.close()
            folder = tmp_path / str(place)
            folder.mkdir()
            world, ordered = World(folder, scenario), 0
        channel = Line(
            world,
            [*scenario.script[: place + 1], HangsUp()],
            caller=scenario.caller,
            # Each is a call of its own.
            call_id=f"00000000-0000-4000-8000-{place:012}",
        )
        outcome, _, _ = converse(world, scenario, channel)
        channel.done()
        assert outcome == "caller_gone"
        ordered += sum(promises(each) for each in scenario.script[: place + 1])
        assert len(world.sent()) == ordered
    world.close()


def promises(step) -> bool:
    return isinstance(step, Hears) and any("_sms_promised" in key for key in step.keys)


class Dies(Line):
    """A channel whose worker dies while the n-th prompt plays."""

    def __init__(self, world: World, prompts: int, *args, **kwargs) -> None:
        super().__init__(world, *args, **kwargs)
        self.left = prompts

    def _hear(self, prompt):
        super()._hear(prompt)
        self.left -= 1
        if self.left == 0:
            raise CallerGone("the worker has died")


@pytest.mark.parametrize(
    "scenario",
    # Who takes over after a payment has read it and does not say what the first worker would have:
    # test_paid_meanwhile.py.
    [each for each in SCENARIOS if not each.counts_tries and not each.meanwhile],
    ids=lambda scenario: scenario.title,
)
def test_another_worker_goes_on_at_every_step(scenario, tmp_path):
    """Whichever prompt a worker dies at, another one goes on there; nothing is ordered twice.

    The second worker repeats the question that was being asked, without what was said before it.
    """
    prompts = [place for place, step in enumerate(scenario.script) if isinstance(step, Hears)]
    for count, place in enumerate(prompts, start=1):
        folder = tmp_path / str(count)
        folder.mkdir()
        world = World(folder, scenario)
        first = Dies(world, count, scenario.script, caller=scenario.caller)
        outcome, _, _ = converse(world, scenario, first)
        assert outcome == "caller_gone"
        second = Resumed(scenario.script[place:], caller=scenario.caller)
        second.variables = first.variables
        call = Call(second, Journal(), language="fa", language_set=True)
        call.language = first.variables["callflows_language"]
        flow = BillFlow(world.services)
        run(flow, call, restore(flow, call, first.variables))
        second.done()
        assert matches(world.sent(), list(scenario.sent)), (place, world.sent())
        world.close()


class Resumed(ScriptedChannel):
    """The rest of a script; its first prompt may lack what the dead worker had said before."""

    def _hear(self, prompt):
        if self.position == 0:
            first = self.script[0]
            assert isinstance(first, Hears)
            assert first.keys[-len(prompt.keys) :] == prompt.keys
            self.script[0] = replace(first, keys=prompt.keys)
        super()._hear(prompt)
