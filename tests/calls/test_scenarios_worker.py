"""Height 2: every scenario through the worker, over a real socket, with the embedded switch."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from billing.journal import Journal as Store
from callflows.bill_flow import BillFlow
from callflows.call import Timers
from callflows.scripted import HangsUp, Hears, IsHungUp, IsTransferred, Presses
from esl_worker.journal import JournalWriter
from esl_worker.server import WorkerServer
from esl_worker.switch.caller import ScriptedCaller, Step
from esl_worker.switch.clock import Clock
from esl_worker.switch.dialplan import service_dialplan
from esl_worker.switch.switch import Switch
from esl_worker.worker import Worker
from sounds import load_catalogue
from tests.calls.scenario import Scenario
from tests.calls.scenarios import SCENARIOS
from tests.calls.test_scenarios_flow import matches
from tests.calls.world import World

CATALOGUE = load_catalogue()
SPEED = 200.0
# So that silence is long beside the worker's own time for a step, also on a busy machine: 150 ms.
TIMERS = Timers(first_digit_s=30.0, next_digit_s=10.0)
SCRIPTED = {line.key for language in CATALOGUE.languages for line in CATALOGUE.script(language)}


class Place:
    """A worker and a switch for one world."""

    def __init__(self, world: World, folder, *, journal_s: float = 0.05) -> None:
        self.journals = JournalWriter(Store(world.database), interval_s=journal_s)
        worker = Worker(
            world.services,
            {BillFlow.name: BillFlow},
            {"2000": "bill"},
            CATALOGUE,
            folder,
            self.journals,
            timers=TIMERS,
        )
        self.server = WorkerServer(("127.0.0.1", 0), worker)
        self.journals.start()
        self.server.start()
        self.switch = Switch(
            service_dialplan([f"127.0.0.1:{self.server.server_port}"]),
            folder,
            Clock(SPEED),
            missing_s=0.05,
        )

    def close(self) -> None:
        assert self.server.drain(5.0) == 0
        self.journals.stop()


@pytest.fixture
def place(tmp_path, request):
    """A scenario's world with a worker and a switch around it."""
    scenario = request.param
    world = World(tmp_path, scenario)
    place = Place(world, tmp_path)
    yield scenario, world, place
    place.close()
    world.close()


class Listener(ScriptedCaller):
    """A caller in a world: what happens there while a prompt plays, happens."""

    def __init__(self, world: World, answers: list[str]) -> None:
        super().__init__(answers)
        self.world = world

    def heard(self, files, duration, collecting):
        super().heard(files, duration, collecting)
        self.world.heard((self.transcript[-1].phrases or "").split(","))


def answers_of(scenario: Scenario) -> list[str]:
    return [
        step.keys if isinstance(step, Presses) else "hangup"
        for step in scenario.script
        if isinstance(step, Presses | HangsUp)
    ]


def heard_in(transcript: list[Step], expected: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """What was heard, prompt by prompt; the parts of a long prompt are one."""
    heard: list[tuple[str, ...]] = []
    for step in transcript:
        if step.name == "transfer":
            break
        if step.kind != "heard" or is_pause(step):
            continue
        keys = tuple(step.phrases.split(","))
        if heard and (*heard[-1], *keys) == expected[len(heard) - 1][: len(heard[-1]) + len(keys)]:
            heard[-1] = (*heard[-1], *keys)
        else:
            heard.append(keys)
    return heard


def is_pause(step: Step) -> bool:
    return all(name.startswith("silence_stream") for name in step.recordings)


@pytest.mark.parametrize("place", SCENARIOS, ids=lambda scenario: scenario.title, indirect=True)
def test_scenario(place):
    """The same conversation as on the flow alone, with real commands, digits and hangups."""
    scenario, world, there = place
    caller = Listener(world, answers_of(scenario))
    channel = there.switch.call(
        scenario.dialled, scenario.caller, variables=scenario.variables, caller=caller
    )
    channel.join()
    expected = [step.keys for step in scenario.script if isinstance(step, Hears)]
    assert heard_in(caller.transcript, expected) == expected
    assert not caller.unused
    assert matches(world.sent(), list(scenario.sent))
    for step in scenario.script:
        if isinstance(step, IsTransferred):
            assert channel.variables["arrived"] == step.destination
    last = scenario.script[-1]
    assert channel.hangup_cause == (
        "NORMAL_CLEARING" if isinstance(last, IsHungUp | IsTransferred | HangsUp) else None
    )


@pytest.mark.parametrize("place", SCENARIOS, ids=lambda scenario: scenario.title, indirect=True)
def test_every_recording_is_in_the_script(place):
    """Whatever a caller can hear stands in the studio's recording script."""
    scenario, world, there = place
    caller = Listener(world, answers_of(scenario))
    there.switch.call(
        scenario.dialled, scenario.caller, variables=scenario.variables, caller=caller
    ).join()
    played = {
        name
        for step in caller.transcript
        for name in step.recordings
        if not name.startswith(("silence", "tone"))
    }
    assert played
    assert played <= SCRIPTED


@pytest.mark.parametrize("place", SCENARIOS[:3], ids=lambda scenario: scenario.title, indirect=True)
def test_the_journal_is_in_the_database(place):
    """After the call its journal holds header, ways to pay, every prompt and key."""
    scenario, world, there = place
    caller = Listener(world, answers_of(scenario))
    channel = there.switch.call(scenario.dialled, scenario.caller, caller=caller)
    channel.join()
    there.close()
    call = Store(world.database).read(channel.uuid)
    assert call is not None
    assert call.header.caller == scenario.caller
    assert call.header.outcome == scenario.outcome
    assert call.header.methods in (("transfer",), ("bill",))
    pressed = [step.data["keys"] for step in call.steps if step.kind == "pressed"]
    assert pressed == [keys.rstrip("#") for keys in answers_of(scenario)]
