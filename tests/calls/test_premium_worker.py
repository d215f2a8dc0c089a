"""Height 2: the premium-rate call through the worker, over a real socket, with the embedded switch.

Time is the switch's: what the content takes there is what is charged.
"""

from __future__ import annotations

from array import array
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from billing.clock import FixedClock
from billing.journal import Journal as Store
from callflows.call import Timers
from callflows.premium.premium_flow import PremiumFlow
from callflows.scripted import HangsUp, Hears, Presses, TalksTo, Waits
from esl_worker.journal import JournalWriter
from esl_worker.live_calls import LiveCalls
from esl_worker.server import WorkerServer
from esl_worker.switch.caller import ScriptedCaller
from esl_worker.switch.clock import Clock
from esl_worker.switch.dialplan import Dialplan, service_dialplan
from esl_worker.switch.switch import Switch
from esl_worker.worker import Worker
from sounds import load_catalogue, wav
from tests.calls.premium_scenarios import ACCEPT, KEY, SCENARIOS, TERMS
from tests.calls.premium_world import CONTENT_S, TREE, Premiere, PremiumWorld
from tests.calls.world import NOW

SPEED = 100.0
TIMERS = Timers(first_digit_s=15.0, next_digit_s=5.0)
CATALOGUE = load_catalogue()
SCRIPTED = {line.key for language in CATALOGUE.languages for line in CATALOGUE.script(language)}
SECOND_HEIGHT = [
    premiere
    for premiere in SCENARIOS
    if not premiere.timed
    and not any(isinstance(step, Waits | HangsUp | TalksTo) for step in premiere.script)
]


class SwitchTime(FixedClock):
    """Goes with the clock of a switch."""

    def __init__(self, start: datetime, switch: Clock) -> None:
        super().__init__(start)
        self._switch = switch

    def now(self) -> datetime:
        """So much later than the start as the switch is old."""
        return super().now() + timedelta(seconds=self._switch.now())


class Place:
    """A premium world with a worker and a switch around it."""

    def __init__(self, folder, premiere: Premiere) -> None:
        self.premiere = premiere
        time = Clock(SPEED)
        self.world = PremiumWorld(folder, premiere, SwitchTime(NOW, time))
        self.live = LiveCalls()
        self.journals = JournalWriter(Store(self.world.database), interval_s=0.05)
        worker = Worker(
            self.world.services,
            {PremiumFlow.name: PremiumFlow},
            {},
            CATALOGUE,
            folder,
            self.journals,
            prefixes={"909": "premium", "7070": "premium"},
            live=self.live,
            timers=TIMERS,
        )
        self.server = WorkerServer(("127.0.0.1", 0), worker)
        self.journals.start()
        self.server.start()
        for language in CATALOGUE.languages:
            for node in TREE["nodes"]:
                name = f"services/9091234567/1/{language}/tree/{node}.wav"
                wav.write(folder / name, array("h", [0]) * (CONTENT_S * wav.RATE_HZ))
        dialplan = service_dialplan([f"127.0.0.1:{self.server.server_port}"])
        if premiere.identity != "asserted":
            dialplan = self._dialplan(premiere.identity)
        self.switch = Switch(dialplan, folder, time, missing_s=0.05)

    def _dialplan(self, identity: str | None) -> Dialplan:
        socket = ("socket", f"127.0.0.1:{self.server.server_port} full")
        before = [("set", f"callflows_identity={identity}")] if identity else []
        return Dialplan({"public": [(r"\d+", [*before, socket])]})

    def call(self, caller: ScriptedCaller):
        """Place the call; returns its channel when it is over."""
        channel = self.switch.call(self.premiere.dialled, self.premiere.caller, caller=caller)
        channel.join()
        assert self.server.drain(5.0) == 0
        self.journals.stop()
        return channel

    def close(self) -> None:
        """End all."""
        self.server.drain(5.0)
        self.world.close()


class Listener(ScriptedCaller):
    """A caller in a world: what happens there while a prompt plays, happens."""

    def __init__(self, world: PremiumWorld, answers: list[str]) -> None:
        super().__init__(answers)
        self.world = world

    def heard(self, files, duration, collecting):
        super().heard(files, duration, collecting)
        self.world.happens((self.transcript[-1].phrases or "").split(","))


@pytest.fixture
def place(tmp_path, request):
    """A scenario's world with a worker and a switch around it."""
    place = Place(tmp_path, request.param)
    yield place
    place.close()


def answers_of(premiere: Premiere) -> list[str]:
    """What is pressed at each question; after a prompt that only plays, nothing is."""
    script = premiere.script
    answers = []
    for before, step in pairwise(script):
        if isinstance(step, Presses) and not (before.keys == ("said",) and not step.keys):
            answers.append(step.keys)
    return answers


def heard_by(caller: ScriptedCaller) -> list[tuple[str, ...]]:
    return [
        tuple(step.phrases.split(","))
        for step in caller.transcript
        if step.kind == "heard" and not all("://" in name for name in step.recordings)
    ]


each = pytest.mark.parametrize(
    "place", SECOND_HEIGHT, ids=lambda premiere: premiere.title, indirect=True
)


@each
def test_scenario(place):
    """The same conversation as on the flow alone, and the same money."""
    premiere, world = place.premiere, place.world
    held = world.held()
    caller = Listener(world, answers_of(premiere))
    channel = place.call(caller)
    expected = [step.keys for step in premiere.script if isinstance(step, Hears)]
    assert heard_by(caller) == expected
    assert channel.hangup_cause == "NORMAL_CLEARING"
    assert world.charged() == premiere.costs
    assert world.charges_without_consent() == 0
    assert world.used() == premiere.costs
    assert world.held() == held
    played = {
        name
        for step in caller.transcript
        for name in step.recordings
        if not name.startswith(("silence", "services/", "recordings/"))
    }
    assert played <= SCRIPTED


ANYBODY = Premiere("", SCENARIOS[0].script, costs=12_000, accepted=True)


class Keen(Listener):
    """A caller who presses a digit again and again from the first word on."""

    def __init__(self, world, digits):
        super().__init__(world, [])
        self.digits = digits

    def heard(self, files, duration, collecting):
        super().heard(files, duration, collecting)
        if "said" in self.transcript[-1].phrases.split(","):
            return
        for place in range(5):
            for digit in self.digits:
                self._channel.clock.later(duration * place / 5, self._channel.press, digit)


@pytest.mark.parametrize("place", [ANYBODY], indirect=True, ids=["keen"])
def test_a_flood_of_digits_accepts_nothing(place):
    """Every digit over and over, from the first word on: nothing is accepted or charged."""
    caller = Keen(place.world, "123456789")
    place.call(caller)
    heard = heard_by(caller)
    assert heard[0] == TERMS
    assert heard[-1] == ("premium_not_accepted",)
    assert place.world.accepted() == 0
    assert place.world.charged() == 0


class Early(Listener):
    """A caller who presses the right digit before it is named, and nothing afterwards."""

    def heard(self, files, duration, collecting):
        super().heard(files, duration, collecting)
        if self.transcript[-1].phrases in (",".join(TERMS), ACCEPT, f"no_input,{ACCEPT}"):
            self._channel.clock.later(duration / 2, self._channel.press, "7")


@pytest.mark.parametrize("place", [ANYBODY], indirect=True, ids=["early"])
def test_a_digit_pressed_before_it_is_named_is_no_answer(place):
    """Type-ahead accepts nothing, even if it guesses right."""
    caller = Early(place.world, ["", "", ""])
    place.call(caller)
    assert heard_by(caller)[-1] == ("premium_not_accepted",)
    assert caller.questions == 3
    assert place.world.accepted() == 0


class LeavesIn(Listener):
    """A caller who hangs up in the middle of the n-th prompt."""

    def __init__(self, world, answers, prompt):
        super().__init__(world, answers)
        self.left = prompt

    def heard(self, files, duration, collecting):
        super().heard(files, duration, collecting)
        self.left -= not files[0].startswith("silence_stream")
        if self.left == 0:
            self.left = -1
            self._channel.clock.later(duration / 2, self._channel.hang_up)


PROMPTS = sum(isinstance(step, Hears) for step in ANYBODY.script)


@pytest.mark.parametrize("place", [ANYBODY], indirect=True, ids=["leaves"])
@pytest.mark.parametrize("prompt", range(1, PROMPTS + 1))
def test_hanging_up_in_any_prompt(place, prompt):
    """The switch says so at once, and what was used till then is charged, if it was accepted."""
    world = place.world
    caller = LeavesIn(world, answers_of(ANYBODY), prompt)
    place.call(caller)
    connected = [keys for keys in heard_by(caller) if keys == ("said",)]
    assert world.charged() == (0 if not connected else 12_000 if prompt > 8 else 6000)
    assert world.used() == world.charged()
    assert world.held() == 0


@pytest.mark.parametrize("place", [ANYBODY], indirect=True, ids=["journal"])
def test_the_journal_tells_what_was_heard_pressed_and_charged(place):
    """Afterwards: the price, the digit, when it was connected, what it cost."""
    caller = Listener(place.world, answers_of(ANYBODY))
    channel = place.call(caller)
    call = Store(place.world.database).read(channel.uuid)
    assert call is not None
    heard = [
        phrase[0] for step in call.steps if step.kind == "heard" for phrase in step.data["phrases"]
    ]
    assert heard[: len(TERMS) + 2] == [*TERMS, ACCEPT, KEY]
    events = [step.data["event"] for step in call.steps if step.kind == "event"]
    assert events[:2] == ["accepted", "connected"]
    assert "charged" in events


class LosesWorker(Listener):
    """A caller whose call loses its worker in the middle of the n-th prompt."""

    def __init__(self, place, answers, prompt):
        super().__init__(place.world, answers)
        self.place = place
        self.left = prompt

    def heard(self, files, duration, collecting):
        super().heard(files, duration, collecting)
        self.left -= not files[0].startswith("silence_stream")
        if self.left == 0:
            self.left = -1
            self._channel.clock.later(duration / 2, self._lose)

    def _lose(self):
        place, uuid = self.place, self._channel.uuid
        assert place.live.end(place.switch.bus.core_uuid, uuid)


@pytest.mark.parametrize("place", [ANYBODY], indirect=True, ids=["loses"])
@pytest.mark.parametrize("prompt", range(1, PROMPTS + 1))
def test_another_worker_goes_on_from_any_prompt(place, prompt):
    """The live call goes on with another worker: one consent, one charge, nothing held."""
    world = place.world
    caller = LosesWorker(place, ["named", "1", "2"], prompt)
    channel = place.call(caller)
    assert channel.hangup_cause == "NORMAL_CLEARING"
    heard = heard_by(caller)
    assert heard[-1] == ("premium_cost_minutes", "premium_goodbye")
    assert world.accepted() == 1
    # A prompt of the content that is played once more takes its time once more.
    assert 12_000 <= world.charged() <= 18_000
    assert world.used() == world.charged()
    assert world.held() == 0
    journal = Store(world.database).read(channel.uuid)
    assert journal is not None
    assert sum(step.data.get("event") == "resumed" for step in journal.steps) == 1
