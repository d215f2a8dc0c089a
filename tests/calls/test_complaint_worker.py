"""Height 2: the complaints line through the worker and the embedded switch (D12)."""

from __future__ import annotations

import pytest

from billing.journal import Journal as Store
from callflows.call import Timers
from callflows.premium.complaint_flow import ComplaintFlow
from callflows.scripted import Hears, Presses
from esl_worker.connecting import Means
from esl_worker.journal import JournalWriter
from esl_worker.server import WorkerServer
from esl_worker.switch.caller import ScriptedCaller
from esl_worker.switch.clock import Clock
from esl_worker.switch.dialplan import Dialplan, service_dialplan
from esl_worker.switch.switch import Switch
from esl_worker.worker import Worker
from sounds import load_catalogue
from tests.calls.test_complaint_flow import SCENARIOS, ComplaintCall, ComplaintWorld

CATALOGUE = load_catalogue()
TIMERS = Timers(first_digit_s=15.0, next_digit_s=5.0)


class Place:
    """A complaints world with a worker and a switch around it."""

    def __init__(self, folder, case: ComplaintCall) -> None:
        self.case = case
        self.world = ComplaintWorld(folder, case)
        self.journals = JournalWriter(Store(self.world.database), interval_s=0.05)
        worker = Worker(
            self.world.services,
            {ComplaintFlow.name: ComplaintFlow},
            {"2020": ComplaintFlow.name},
            CATALOGUE,
            folder,
            self.journals,
            timers=TIMERS,
            means=Means(recordings_dir=folder / "recordings"),
        )
        self.server = WorkerServer(("127.0.0.1", 0), worker)
        self.journals.start()
        self.server.start()
        address = f"127.0.0.1:{self.server.server_port}"
        dialplan = service_dialplan([address])
        if case.identity is None:
            dialplan = Dialplan({"public": [(r"\d+", [("socket", f"{address} full")])]})
        self.switch = Switch(dialplan, folder, Clock(100.0), missing_s=0.05)

    def call(self, caller: ScriptedCaller) -> None:
        """Place the call; returns when it is over."""
        self.switch.call("2020", self.case.caller, caller=caller).join()
        assert self.server.drain(5.0) == 0
        self.journals.stop()

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


@pytest.mark.parametrize("place", SCENARIOS, ids=lambda case: case.title, indirect=True)
def test_scenario(place):
    """The same conversation as on the flow alone; the same charges are disputed."""
    keys = [step.keys for step in place.case.script if isinstance(step, Presses)]
    caller = ScriptedCaller(keys)
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
    assert place.world.stand() == place.case.stand
