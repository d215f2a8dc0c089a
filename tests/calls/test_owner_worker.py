"""Height 2: the owner's number through the worker and the embedded switch; no secret in any event.

Every event of the switch, with all variables, is listened to from beginning to end. One has what is
keyed in, and no more than one: the end of the application that has asked.
"""

from __future__ import annotations

import time

import pytest

from billing.clock import FixedClock
from billing.journal import Journal as Store
from callflows.call import Timers
from callflows.premium.owner_flow import OwnerFlow
from callflows.scripted import Hears, Presses, Says
from esl_worker.journal import JournalWriter
from esl_worker.server import WorkerServer
from esl_worker.switch.caller import ScriptedCaller
from esl_worker.switch.clock import Clock
from esl_worker.switch.dialplan import Dialplan, service_dialplan
from esl_worker.switch.switch import Switch
from esl_worker.worker import Worker
from sounds import load_catalogue
from tests.calls.owner_scenarios import NEW_PIN, PIN, SCENARIOS, OwnerCall, OwnerWorld
from tests.calls.world import NOW
from tests.owner_house import everything

CATALOGUE = load_catalogue()
TIMERS = Timers(first_digit_s=15.0, next_digit_s=5.0)
SECOND_HEIGHT = [
    case
    for case in SCENARIOS
    if not any(isinstance(step, Says) for step in case.script)
    # Digits that are no question's come to the next one here, as on a real switch.
    and "flood" not in case.title
]


class Reader(ScriptedCaller):
    """A caller who reads the code out of the SMS that has come meanwhile."""

    def __init__(self, world: OwnerWorld, keys: list[str]) -> None:
        super().__init__(keys)
        self._world = world

    def _give(self, answer: str) -> None:
        super()._give(self._world.filled_in(answer))


class Place:
    """An owner's world with a worker and a switch around it, whose every event is kept."""

    def __init__(self, folder, case: OwnerCall) -> None:
        self.case = case
        self.world = OwnerWorld(folder, case, FixedClock(NOW))
        self.journals = JournalWriter(Store(self.world.database), interval_s=0.05)
        worker = Worker(
            self.world.services,
            {OwnerFlow.name: OwnerFlow},
            {"2021": OwnerFlow.name},
            CATALOGUE,
            folder,
            self.journals,
            timers=TIMERS,
        )
        self.server = WorkerServer(("127.0.0.1", 0), worker)
        self.journals.start()
        self.server.start()
        address = f"127.0.0.1:{self.server.server_port}"
        dialplan = service_dialplan([address])
        if case.identity != "asserted":
            before = [("set", f"callflows_identity={case.identity}")] if case.identity else []
            dialplan = Dialplan({"public": [(r"\d+", [*before, ("socket", f"{address} full")])]})
        self.switch = Switch(dialplan, folder, Clock(100.0), missing_s=0.05)
        self.events: list[dict[str, str]] = []
        self.switch.bus.subscribe(["ALL"], lambda event: self.events.append(dict(event.headers)))

    def call(self, caller: ScriptedCaller):
        """Place the call; returns its channel when it is over."""
        channel = self.switch.call("2021", self.case.caller, caller=caller)
        channel.join()
        assert self.server.drain(5.0) == 0
        self.journals.stop()
        return channel

    def told(self) -> str:
        """What anybody can know afterwards: events but the ends of questions, and the database."""
        told = [
            str(event)
            for event in self.events
            if (event["Event-Name"], event.get("Application"))
            != ("CHANNEL_EXECUTE_COMPLETE", "play_and_get_digits")
        ]
        return "\n".join([*told, everything(self.world.database)])

    def close(self) -> None:
        """End all."""
        self.server.drain(5.0)
        self.world.close()


@pytest.fixture
def place(tmp_path, request):
    """A scenario's world with a worker and a switch around it."""
    place = Place(tmp_path, request.param)
    yield place
    place.close()


def check_secrets(place: Place, *more: str) -> None:
    told = place.told()
    assert place.events
    for secret in (PIN, NEW_PIN, *place.world.secrets, *more):
        # A channel's variable or a collected value; not four digits inside of a number or time.
        for form in (f"'{secret}'", f'"{secret}"', f"'{secret}#'", f"={secret},", f" {secret} "):
            assert form not in told


@pytest.mark.parametrize("place", SECOND_HEIGHT, ids=lambda case: case.title, indirect=True)
def test_scenario(place):
    """The same conversation as on the flow alone; neither PIN nor code in any event."""
    keys = [step.keys for step in place.case.script if isinstance(step, Presses)]
    caller = Reader(place.world, keys)
    place.call(caller)
    heard = [
        tuple(step.phrases.split(","))
        for step in caller.transcript
        if step.kind == "heard"
        and step.phrases
        and not all("://" in name for name in step.recordings)
    ]
    expected = [step.keys for step in place.case.script if isinstance(step, Hears)]
    assert heard[: len(expected)] == expected
    assert place.case.after(place.world)
    check_secrets(place)


BY_PIN = next(case for case in SCENARIOS if case.title.startswith("comes in by PIN"))


class LeavesWhileKeying(ScriptedCaller):
    """A caller who hangs up in the middle of the PIN."""

    def __init__(self, digits: str) -> None:
        super().__init__([])
        self.digits = digits

    def heard(self, files, duration, collecting):
        super().heard(files, duration, collecting)
        if "owner_ask_pin" in self.transcript[-1].phrases:
            clock = self._here().clock
            for place, digit in enumerate(self.digits, start=1):
                clock.later(duration + place * 0.2, self._here().press, digit)
            clock.later(duration + 0.2 * len(self.digits) + 1, self._here().hang_up)


@pytest.mark.parametrize("place", [BY_PIN], indirect=True, ids=["leaves"])
def test_hanging_up_while_keying_in_the_pin(place):
    """No key of it shows in an event of its own, and nothing of it is in journal and database."""
    place.call(LeavesWhileKeying("409"))
    assert not [event for event in place.events if event["Event-Name"] == "DTMF"]
    kept = everything(place.world.database)
    assert "409" not in kept.replace(place.world.line.number, "")


class Flooding(ScriptedCaller):
    """A caller who holds a key down from the first word on."""

    def heard(self, files, duration, collecting):
        super().heard(files, duration, collecting)
        for place in range(40):
            self._here().clock.later(duration * place / 40, self._here().press, "7")


@pytest.mark.parametrize("place", [BY_PIN], indirect=True, ids=["floods"])
def test_a_flood_of_digits_opens_nothing(place):
    """Whoever floods the question is not let in, and ends somewhere; the PIN stays the owner's."""
    began = time.monotonic()
    caller = Flooding([])
    place.call(caller)
    assert time.monotonic() - began < 60
    assert not any("owner_menu" in step.phrases for step in caller.transcript)
    assert place.world.premium.pins.check(place.world.line.id, PIN).result in ("ok", "locked")
