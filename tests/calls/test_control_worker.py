"""A worker with a control connection: conversations whose call is gone are ended."""

from __future__ import annotations

import time
from contextlib import contextmanager

import gevent
import pytest

from billing.journal import Journal as Store
from callflows.bill_flow import BillFlow
from esl_worker.control import Timing
from esl_worker.journal import JournalWriter
from esl_worker.live_calls import LiveCalls
from esl_worker.server import WorkerServer
from esl_worker.switch import Channel, Clock, InboundServer, SilentCaller, Switch, service_dialplan
from esl_worker.switches import Switches
from esl_worker.worker import Worker
from sounds import load_catalogue
from tests.calls.scenarios import SCENARIOS
from tests.calls.world import World
from tests.half_open import HalfOpen

QUICK = Timing(keepalive_s=0.05, reconcile_s=0.05, settle_s=0.05, retry_s=0.02, retry_most_s=0.1)


class Place:
    """A switch, a lossy network, and a worker that also controls the switch."""

    def __init__(self, world: World, folder) -> None:
        self.world = world
        self.journals = JournalWriter(Store(world.database), interval_s=0.05)
        self.folder = folder

    def start(self) -> None:
        live = self.make_switches()
        worker = Worker(
            self.world.services,
            {BillFlow.name: BillFlow},
            {"2000": "bill"},
            load_catalogue(),
            self.folder,
            self.journals,
            live=live,
        )
        self.server = WorkerServer(("127.0.0.1", 0), worker)
        self.server.start()
        self.journals.start()
        self.network = HalfOpen(("127.0.0.1", self.server.server_port))
        self.network.start()

    def make_switches(self) -> LiveCalls:
        """The switch, and the control connection to it."""
        self.switch = Switch(
            service_dialplan(["127.0.0.1:1"]), self.folder, Clock(1.0), missing_s=30
        )
        self.control_server = InboundServer(self.switch)
        self.control_server.start()
        self.port = self.control_server.server_port
        self.switches = Switches([("127.0.0.1", self.port)], "ClueCon", timing=QUICK)
        self.switches.start()
        return self.switches.live

    def call(self) -> Channel:
        """A caller in the middle of a long prompt; the worker converses with it."""
        self.switch.dialplan = service_dialplan([f"127.0.0.1:{self.network.server_port}"])
        channel = self.switch.call("2000", "02188776655", caller=SilentCaller())
        eventually(lambda: len(self.switches.live) == 1 and channel.answer_state == "answered")
        return channel

    def restart_switch(self) -> None:
        """Another switch at the same address; nobody told the worker's calls."""
        self.control_server.stop()
        self.control_server.cut()
        self.switch = Switch(service_dialplan(["127.0.0.1:1"]), self.folder, Clock(1.0))
        self.control_server = InboundServer(self.switch, listener=("127.0.0.1", self.port))
        self.control_server.start()

    def close(self) -> None:
        self.switches.stop()
        self.control_server.stop()
        self.network.close()
        assert self.server.drain(5.0) == 0
        self.journals.stop()


@pytest.fixture
def place(tmp_path):
    world = World(tmp_path, SCENARIOS[0])
    made = Place(world, tmp_path)
    made.start()
    yield made
    made.close()
    world.close()


def eventually(condition, seconds: float = 5.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "not in time"
        gevent.sleep(0.005)


@contextmanager
def outcome_of(place: Place, channel: Channel):
    """Holds that the conversation ends, and with which outcome it stands in the journal."""
    yield
    eventually(lambda: place.server.active == 0)
    assert len(place.switches.live) == 0
    place.journals._round()
    stored = Store(place.world.database).read(channel.uuid)
    assert stored is not None
    assert stored.header.outcome == "caller_gone"


def test_a_conversation_over_a_half_open_socket_ends(place):
    """The caller hangs up, the network loses the notice: without the control connection the
    worker would wait for the end of the prompt for 15 minutes."""
    channel = place.call()
    gevent.sleep(0.2)  # several reconciliations: a living call is left alone
    assert place.server.active == 1
    place.network.deaf = True
    with outcome_of(place, channel):
        channel.hang_up()


def test_conversations_with_a_restarted_switch_end(place):
    """The switch is another one; its predecessor's calls are gone, whatever their sockets say."""
    channel = place.call()
    place.network.deaf = True
    with outcome_of(place, channel):
        place.restart_switch()
    channel.hang_up()


def test_a_conversation_is_interrupted_limited_and_found(place):
    """What other parts do to a live call through its switch's control."""
    channel = place.call()
    (control,) = place.switches
    assert place.switches.of(control.core_uuid) is control
    assert place.switches.of("another switch") is None
    assert control.uuid_break(channel.uuid)
    assert control.sched_hangup(channel.uuid, 0)
    eventually(lambda: place.server.active == 0)
    assert channel.hangup_cause == "ALLOTTED_TIMEOUT"
