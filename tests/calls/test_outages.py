"""What happens to live calls when Redis, the database or the switch goes away (docs/operations)."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import gevent
import pytest

from billing.database import Database
from billing.desk import Desk
from billing.journal import Journal as Store
from billing.links import Links
from callflows.services import Services
from esl_worker.switch.caller import ScriptedCaller
from jobs.nudge import Nudger
from jobs.redis_server import EmbeddedRedis
from tests.calls.scenario import BILLS, LINES, Scenario
from tests.calls.test_scenarios_worker import Place
from tests.calls.test_trouble import heard_in
from tests.calls.world import World
from tests.conftest import PostgresServer, _postgres_binaries, _unprivileged

ROOT = Path(__file__).parents[2]
PLAIN = Scenario("plain", [])


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path, PLAIN)
    yield world
    world.close()


def until(true, limit_s=20.0):
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, "did not come true in time"
        gevent.sleep(0.01)


class Acts(ScriptedCaller):
    """A caller during whose call something happens: `acts` says what, by phrase, once each."""

    def __init__(self, keys, acts):
        super().__init__(keys)
        self._acts = dict(acts)

    def heard(self, files, duration, collecting):
        super().heard(files, duration, collecting)
        for phrase in self.transcript[-1].phrases.split(","):
            act = self._acts.pop(phrase, None)
            if act is not None:
                act()


def test_redis_is_lost_under_a_live_call(world, tmp_path):
    """The caller notices nothing, hears the promise without delay, and the order is in the outbox;
    the relay finds it there by itself when Redis is back (tests of jobs)."""
    redis = EmbeddedRedis(tmp_path / "redis")
    nudger = Nudger(redis.start())
    world.services = Services(desk=world.desk, clock=world.clock, nudge=nudger.nudge)
    place = Place(world, tmp_path)
    caller = Acts(["2", "09121234567#", "1", "2", "02188776655#"], {"confirm_number": redis.stop})
    begun = time.monotonic()
    place.switch.call("2000", "02188776655", caller=caller).join()
    assert time.monotonic() - begun < 10
    place.close()
    nudger.close()
    assert ("bill_sms_promised", "anything_else") in heard_in(caller.transcript)
    assert [sent.to for sent in world.sent()] == ["+989121234567"]


def test_a_locked_database_keeps_no_call_from_going_on(world, tmp_path):
    """SQLite locked for as long as the caller tries: menu, reading and transfer go on; orders are
    refused in words; the journal is stored when the lock is gone."""
    world.desk._database = Database(f"sqlite:///{tmp_path}/calls.db", deadline=0.2)
    place = Place(world, tmp_path)
    other = sqlite3.connect(tmp_path / "calls.db", isolation_level=None)
    caller = Acts(
        ["2", "09121234567#", "1", "4", "1", "*", "1"],
        {"confirm_number": lambda: other.execute("BEGIN IMMEDIATE")},
    )
    channel = place.switch.call("2000", "02188776655", caller=caller)
    channel.join()
    heard = [phrase for prompt in heard_in(caller.transcript) for phrase in prompt]
    assert "not_recorded" in heard
    assert "read_ids" in heard
    assert channel.variables["arrived"] == "2000"
    other.execute("ROLLBACK")
    other.close()
    place.close()
    call = Store(world.database).read(channel.uuid)
    assert call is not None
    assert call.header.outcome == "transferred"
    assert not world.sent()


def test_a_call_is_taken_over_while_the_database_is_locked(world, tmp_path):
    """The next worker asks the caller for a moment, and goes on in the state when it can."""
    database = Database(f"sqlite:///{tmp_path}/calls.db", deadline=0.2)
    place = Place(world, tmp_path)
    away = Unreliable(database, world.clock, failures=1)
    place.server._handler._services = Services(desk=away, clock=world.clock)
    place_of_another = {
        "callflows_flow": "bill",
        "callflows_state": "menu",
        "callflows_visits": "3",
        "callflows_language": "fa",
        "callflows_context": '{"line":"+982188776655","own":true,"bill":1}',
    }
    caller = ScriptedCaller(["3", "09121234567#", "1", "3"])
    channel = place.switch.call("2000", "02188776655", variables=place_of_another, caller=caller)
    channel.join()
    place.close()
    heard = heard_in(caller.transcript)
    assert heard[0] == ("one_moment",)
    assert heard[1] == ("payment_menu",)
    assert heard[-1] == ("goodbye",)
    assert [sent.kind for sent in world.sent()] == ["sms.app_links"]


def test_a_call_that_cannot_be_taken_over_without_the_database_is_tried_again(world, tmp_path):
    """The dialplan's next actions try again; the call goes on once the database answers."""
    database = Database(f"sqlite:///{tmp_path}/calls.db", deadline=0.2)
    place = Place(world, tmp_path)
    away = Unreliable(database, world.clock, failures=5)
    place.server._handler._services = Services(desk=away, clock=world.clock)
    variables = {
        "callflows_flow": "bill",
        "callflows_state": "menu",
        "callflows_visits": "3",
        "callflows_language": "fa",
        "callflows_context": '{"line":"+982188776655","own":true,"bill":1}',
    }
    caller = ScriptedCaller(["hangup"])
    channel = place.switch.call("2000", "02188776655", variables=variables, caller=caller)
    channel.join()
    place.close()
    heard = heard_in(caller.transcript)
    assert heard[-1] == ("payment_menu",)
    assert set(heard[:-1]) == {("one_moment",)}
    assert channel.hung_up_by == "caller"


class Unreliable(Desk):
    """A desk whose database does not answer the first so many questions."""

    def __init__(self, database, clock, *, failures):
        super().__init__(database, clock, links=Links(b"0" * 20, lifetime=timedelta(hours=1)))
        self._failures = failures

    def opening(self, number):
        from billing.errors import Unavailable

        if self._failures:
            self._failures -= 1
            raise Unavailable("away")
        return super().opening(number)


@pytest.fixture
def own_postgres():
    """A PostgreSQL server of this test's own, which it may stop and start."""
    import shutil

    binaries = _postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's initdb and pg_ctl are not installed: nothing ran on PostgreSQL")
    folder = Path(tempfile.mkdtemp(prefix="callflows-pg-"))
    server = PostgresServer(binaries, folder, _unprivileged())
    server.start()
    try:
        yield server, folder
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.postgres
def test_postgresql_is_stopped_and_started_under_live_calls(own_postgres, tmp_path):
    """A call goes on; its order is refused in words while the server is down and taken when it is
    back; a new call is told that there is a fault; every journal is stored in the end."""
    server, folder = own_postgres
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    (tmp_path / "lines.csv").write_text(LINES, encoding="utf-8")
    (tmp_path / "bills.csv").write_text(BILLS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("outage_process.py")), str(folder),
         str(tmp_path), server.url("postgres"), str(server._binaries)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout.splitlines()
    assert told[0].split() == [
        "welcome+bill_summary+payment_menu", "ask_mobile_number", "number_read_back+confirm_number",
        "one_moment", "not_recorded+payment_menu", "ask_mobile_number",
        "number_read_back+confirm_number", "bill_sms_promised+anything_else", "goodbye",
    ]  # fmt: skip
    assert told[1:] == ["technical_trouble", "orders 1", "journals completed trouble"]


def test_the_switch_is_killed_and_started_again(world, tmp_path):
    """Its calls end for the worker at once: nothing is left of them but their journals; the calls
    of the switch that comes back are served."""
    place = Place(world, tmp_path)
    switch = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("switch_process.py")),
         str(place.server.server_port), str(tmp_path), "5"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    until(lambda: place.server.active == 5)
    assert switch.stdout is not None
    assert gevent.get_hub().threadpool.apply(switch.stdout.readline) == "waiting\n"
    switch.kill()
    switch.wait()
    until(lambda: place.server.active == 0)
    caller = ScriptedCaller(["hangup"])
    place.switch.call("2000", "02188776655", caller=caller).join()
    assert heard_in(caller.transcript)
    place.close()
    ended = [call.outcome for call in Store(world.database).recent()]
    assert ended == ["caller_gone"] * 6
