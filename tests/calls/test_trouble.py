"""What a caller hears when something of ours is away, and that nothing promised is lost."""

from __future__ import annotations

import sqlite3

import pytest

from billing.database import Database
from billing.desk import Desk
from billing.errors import Unavailable
from callflows.services import Services
from esl_worker.switch.caller import ScriptedCaller
from tests.calls.scenario import Scenario
from tests.calls.test_scenarios_worker import Place, is_pause
from tests.calls.world import World

PLAIN = Scenario("plain", [])


def heard_in(transcript):
    """What was heard, prompt by prompt."""
    return [
        tuple(step.phrases.split(","))
        for step in transcript
        if step.kind == "heard" and not is_pause(step)
    ]


class Locker(ScriptedCaller):
    """A caller during whose call another process holds the database's write lock.

    Locked when the phrase `lock_at` is heard, free again when `free_at` is.
    """

    def __init__(self, keys, path, lock_at, free_at):
        super().__init__(keys)
        self.other = sqlite3.connect(path, isolation_level=None)
        self.lock_at, self.free_at = lock_at, free_at
        self.locked = False

    def heard(self, files, duration, collecting):
        super().heard(files, duration, collecting)
        phrases = self.transcript[-1].phrases.split(",")
        if self.lock_at in phrases and not self.locked:
            self.other.execute("BEGIN IMMEDIATE")
            self.locked = True
        if self.free_at in phrases:
            self.other.execute("ROLLBACK")


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path, PLAIN)
    yield world
    world.close()


def test_database_locked_for_a_moment(world, tmp_path):
    """The caller hears "one moment", and the order is recorded when the lock is gone."""
    world.desk._database = Database(f"sqlite:///{tmp_path}/calls.db", deadline=0.2)
    place = Place(world, tmp_path)
    caller = Locker(
        ["2", "09121234567#", "1", "3"], tmp_path / "calls.db", "confirm_number", "one_moment"
    )
    place.switch.call("2000", "02188776655", caller=caller).join()
    place.close()
    assert ("one_moment",) in heard_in(caller.transcript)
    assert ("bill_sms_promised", "anything_else") in heard_in(caller.transcript)
    assert [sent.to for sent in world.sent()] == ["+989121234567"]


def test_database_locked_for_long(world, tmp_path):
    """The caller hears that nothing was sent, nothing is sent, and may try again at once."""
    world.desk._database = Database(f"sqlite:///{tmp_path}/calls.db", deadline=0.2)
    place = Place(world, tmp_path)
    caller = Locker(
        ["2", "09121234567#", "1", "2", "09121234567#", "1", "3"],
        tmp_path / "calls.db",
        "confirm_number",
        "not_recorded",
    )
    place.switch.call("2000", "02188776655", caller=caller).join()
    place.close()
    heard = heard_in(caller.transcript)
    refused = heard.index(("not_recorded", "payment_menu"))
    assert heard[refused - 1] == ("one_moment",)
    assert ("bill_sms_promised", "anything_else") in heard[refused:]
    assert len(world.sent()) == 1


class Away(Desk):
    """A desk whose database does not answer."""

    def opening(self, number):
        raise Unavailable("the database does not answer")


def test_database_away_when_the_call_comes(world, tmp_path):
    """The caller hears that there is a fault and that nothing was charged; then the call ends."""
    world.services = Services(desk=Away(world.database, world.clock), clock=world.clock)
    place = Place(world, tmp_path)
    caller = ScriptedCaller([])
    channel = place.switch.call("2000", "02188776655", caller=caller)
    channel.join()
    place.close()
    assert heard_in(caller.transcript) == [("technical_trouble",)]
    assert channel.hangup_cause == "NORMAL_CLEARING"


def test_no_flow_for_the_number(world, tmp_path):
    """A number that nobody serves is refused with its own cause, and the worker lives on."""
    place = Place(world, tmp_path)
    channel = place.switch.call("3999", "02188776655", caller=ScriptedCaller([]))
    channel.join()
    assert channel.hangup_cause == "UNALLOCATED_NUMBER"
    caller = ScriptedCaller(["hangup"])
    place.switch.call("2000", "02188776655", caller=caller).join()
    assert heard_in(caller.transcript)
    place.close()


@pytest.mark.parametrize(
    "name",
    ['"\r\nX: 1', "%0Avariable_callflows_state:%20promise", "${hangup_cause}", "سارا", "\x00"],
)
@pytest.mark.parametrize("number", ["02188776655", "%0A0912", "${api(status)}", "*" * 500, ""])
def test_hostile_caller_id_changes_nothing(world, tmp_path, name, number):
    """Display name and number are read, never obeyed: no header forged, nothing expanded."""
    place = Place(world, tmp_path)
    caller = ScriptedCaller(["", "hangup"])
    channel = place.switch.call("2000", number, caller_name=name, caller=caller)
    channel.join()
    place.close()
    first = "welcome" if number == "02188776655" else "language_option"
    assert heard_in(caller.transcript)[0][0] == first
    assert not world.sent()


def test_a_worker_that_dies_is_followed_by_another(world, tmp_path):
    """The live call goes on in its state on the next worker; what was ordered is ordered once."""
    first, second = Place(world, tmp_path), Place(world, tmp_path)
    addresses = [f"127.0.0.1:{place.server.server_port}" for place in (first, second)]
    from esl_worker.switch.dialplan import service_dialplan

    first.switch.dialplan = service_dialplan(addresses)

    class Killer(ScriptedCaller):
        def heard(self, files, duration, collecting):
            super().heard(files, duration, collecting)
            if "confirm_number" in self.transcript[-1].phrases and not first.server.closed:
                first.server.close()
                for greenlet in list(first.server._running):
                    greenlet.kill(block=False)

    caller = Killer(["2", "09121234567#", "", "1", "3"])
    channel = first.switch.call("2000", "02188776655", caller=caller)
    channel.join()
    second.close()
    heard = heard_in(caller.transcript)
    assert heard.count(("number_read_back", "confirm_number")) == 2
    assert heard[-1] == ("goodbye",)
    assert [sent.to for sent in world.sent()] == ["+989121234567"]
