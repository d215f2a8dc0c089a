"""The control connection: kept up, watched, and what is lost with it. The switch is scripted; the
clock of every pause is compressed."""

import random
import time
from contextlib import contextmanager

import gevent
import pytest
from inbound_peer import NOTICE, REJECTION, Listener, event, reply, response
from prometheus_client import CollectorRegistry

from esl_worker.control import Control, Timing
from esl_worker.inbound import ControlLost, NoReply, NotConnected
from esl_worker.live_calls import LiveCalls
from esl_worker.metrics import SWITCH_ERRORS, SwitchMetrics
from esl_worker.origination import CallEnd, OriginateResult, Origination

# 5 s are 50 ms.
QUICK = Timing().faster(100)
# Keep-alives and reconciliation so late that they never come in between.
CALM = Timing(keepalive_s=60, reconcile_s=60, settle_s=60, retry_s=0.01, retry_most_s=0.05)


@pytest.fixture
def listener():
    with Listener() as made:
        yield made


@contextmanager
def control(listener, timing=CALM, **options):
    made = Control(("127.0.0.1", listener.port), "ClueCon", timing=timing, **options)
    made.start()
    try:
        yield made
    finally:
        made.stop()


@contextmanager
def connected(listener, timing=CALM, core="core-1", **options):
    """A control, and the switch's end of its connection."""
    with control(listener, timing, **options) as made, listener.accept().subscribed(core) as line:
        assert made.wait_connected(5)
        yield made, line


def eventually(condition, seconds=5.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "not in time"
        gevent.sleep(0.002)


class FakeSession:
    """A conversation, as far as its ending goes."""

    def __init__(self, uuid):
        self.uuid, self.ended = uuid, False

    def close(self):
        self.ended = True


def call(uuid="call-0001", **fields):
    return Origination(endpoint="sofia/gateway/t/1", then="&park()", uuid=uuid, **fields)


def job_event(command, body):
    return event(body.encode(), Event__Name="BACKGROUND_JOB", Job__UUID=command.headers["job-uuid"])


def accepted(command):
    job = command.headers["job-uuid"]
    return f"Content-Type: command/reply\nReply-Text: +OK Job-UUID: {job}\nJob-UUID: {job}\n\n"


class Counted:
    """What the metrics of one switch say."""

    def __init__(self):
        self.registry = CollectorRegistry()
        self.metrics = SwitchMetrics(self.registry)

    def errors(self, switch):
        values = {
            kind: self.registry.get_sample_value(
                "callflows_switch_errors_total", {"switch": switch, "kind": kind}
            )
            for kind in SWITCH_ERRORS
        }
        return {kind: value for kind, value in values.items() if value != 0}

    def connected(self, switch):
        return self.registry.get_sample_value("callflows_switch_connected", {"switch": switch})


# Connecting.


def test_a_connection_and_what_becomes_of_it_are_metrics(listener):
    """Connected or not at each scrape; what was lost, and a restart, are counted by kind."""
    counted, switch = Counted(), f"127.0.0.1:{listener.port}"
    with connected(listener, metrics=counted.metrics) as (made, line):
        assert counted.connected(switch) == 1
        assert counted.errors(switch) == {}
        line.sock.close()
        eventually(lambda: counted.connected(switch) == 0)
        assert counted.errors(switch) == {"lost": 1}
        listener.accept().subscribed("core-2")
        assert made.wait_connected(5)
        assert counted.errors(switch) == {"lost": 1, "restarted": 1}
    assert counted.connected(switch) == 0
    # Stopped by us: that is no error.
    assert counted.errors(switch) == {"lost": 1, "restarted": 1}


def test_tries_that_fail_are_counted(listener):
    """Nobody there, and refused, are two things."""
    counted = Counted()
    listener.sock.close()
    with control(listener, QUICK, metrics=counted.metrics):
        switch = f"127.0.0.1:{listener.port}"
        eventually(lambda: counted.errors(switch).get("unreachable", 0) >= 2)
        assert counted.connected(switch) == 0
    with Listener() as other, control(other, metrics=counted.metrics):
        other.accept().send(REJECTION)
        switch = f"127.0.0.1:{other.port}"
        eventually(lambda: counted.errors(switch) == {"refused": 1})


def test_nothing_is_sent_while_there_is_no_connection(listener):
    """Before the first connection and after its loss: NotConnected at once, no waiting."""
    with control(listener) as made:
        with pytest.raises(NotConnected):
            made.api("status")
        with pytest.raises(NotConnected):
            made.originate(call())
        assert made.originating == 0
        assert (made.state, made.connected, made.core_uuid) == ("connecting", False, None)
        listener.accept().subscribed("core-1")
        assert made.wait_connected(5)
        assert (made.state, made.core_uuid, made.fault) == ("connected", "core-1", "")
    assert made.state == "stopped"


def test_a_refused_subscription_is_no_connection(listener):
    """Without its filters every call's events would come: rather none."""
    with control(listener) as made:
        line = listener.accept().welcomed()
        line.heard(4)
        line.send(reply("-ERR x") + reply() + reply() + response("core"))
        eventually(lambda: "refuses the subscription" in made.fault)
        assert not made.connected


def test_a_switch_without_a_name_is_no_connection(listener):
    """The Core-UUID is what a restart is noticed by."""
    with control(listener) as made:
        line = listener.accept().welcomed()
        line.heard(4)
        line.send(reply() * 3 + response("-ERR no reply\n"))
        eventually(lambda: "core_uuid" in made.fault)


def test_it_comes_back_after_a_loss(listener):
    """Whatever ended the connection; the first new try is soon."""
    with connected(listener) as (made, line):
        line.send(NOTICE)
        started = time.monotonic()
        listener.accept().subscribed("core-1")
        eventually(lambda: made.connections == 2)
        assert time.monotonic() - started < 0.5
        assert made.connected


def test_pauses_grow_and_are_spread(listener):
    """A switch that is away: each pause is at most twice the one before, up to the longest, and
    no two processes keep step."""
    made = Control(("127.0.0.1", 1), "x", timing=Timing(), jitter=random.Random(1))
    pauses = [made._pause(failures) for failures in range(1, 12)]
    for number, pause in enumerate(pauses):
        most = min(5.0, 0.1 * 2**number)
        assert most / 2 <= pause <= most
    assert len(set(pauses)) == len(pauses)


def test_a_wrong_password_is_an_error_and_no_loop(listener, caplog):
    """One clear line; then a long pause: with a pause of a minute there is no second try here."""
    with control(listener) as made:
        line = listener.accept()
        line.send(b"Content-Type: auth/request\n\n")
        line.heard()
        line.send(reply("-ERR invalid") + NOTICE)
        eventually(lambda: made.state == "refused")
        listener.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            listener.accept()
    assert "refuses the password" in made.fault
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "ClueCon" not in caplog.text


def test_a_mended_password_is_noticed(listener, caplog):
    """After the long pause it is tried again; the error is not repeated meanwhile."""
    with control(listener, QUICK) as made:
        for _ in range(2):
            listener.accept().send(REJECTION)
        listener.accept().subscribed()
        assert made.wait_connected(5)
        assert made.state == "connected"
    assert sum(record.levelname == "ERROR" for record in caplog.records) == 1


def test_stopping_ends_everything(listener):
    """The greenlets end, who waits is told, the switch sees the connection close."""
    with connected(listener) as (made, line):
        asking = gevent.spawn(made.api, "x")
        line.until("api x")
        results = []
        made.bgapi("status", results.append)
        made.originate_later(call(), results.append)
        eventually(lambda: made.originating == 1)
        made.stop()
        assert isinstance(asking.exception, ControlLost)
        eventually(lambda: len(results) == 2)
        assert None in results
        while line.command() is not None:
            pass


def test_stopping_does_not_wait_for_a_connection(listener):
    """A peer that accepts and says nothing would hold a login for 5 s."""
    with control(listener, Timing()) as made:
        line = listener.accept()
        started = time.monotonic()
        made.stop()
        assert time.monotonic() - started < 1.0
        assert line.command() is None
        assert made.state == "stopped"


# Watching.


def test_a_dead_peer_is_noticed_in_the_stated_time(listener):
    """The switch's machine vanishes: no answer, no end of the connection. At the latest after
    keepalive_s + reply_s (10 s, here 200 ms) the connection counts as lost."""
    timing = Timing(keepalive_s=0.1, reply_s=0.1, settle_s=0.01, retry_s=0.01)
    with connected(listener, timing) as (made, line):
        line.until("api uptime")
        line.send(response("1\n"))
        died = time.monotonic()
        eventually(lambda: not made.connected)
        # The scheduler of a busy machine has its share, too.
        assert 0.05 < time.monotonic() - died < 0.2 + 0.15
        assert "keep-alive" in made.fault
        listener.accept().subscribed("core-1")
        eventually(lambda: made.connected)


def test_a_living_peer_is_left_alone(listener):
    """Twenty keep-alives long nothing happens to a connection that answers."""
    timing = Timing(keepalive_s=0.01, reply_s=1.0, settle_s=0.01)
    with connected(listener, timing) as (made, line):
        for _ in range(20):
            assert line.until("api uptime")
            line.send(response("1\n"))
        assert made.connections == 1


# Restart.


def test_a_restarted_switch_is_told_with_its_calls(listener):
    """Another Core-UUID at the same address: conversations end, placed calls are lost or have
    ended, on_restart names them all. A conversation on another switch is untouched."""
    live, restarts, results = LiveCalls(), [], []
    ours, theirs = FakeSession("conversation"), FakeSession("elsewhere")
    with (
        live.during("core-1", ours),
        live.during("core-x", theirs),
        connected(listener, live=live, on_restart=restarts.append) as (made, line),
    ):
        for uuid in ("answered-1", "ringing-1"):
            made.originate_later(call(uuid), results.append, results.append)
            line.send(accepted(line.until("bgapi")).encode())
        line.send(event(Event__Name="CHANNEL_ANSWER", Unique__ID="answered-1"))
        eventually(lambda: len(results) == 1)
        line.send(NOTICE)
        listener.accept().subscribed("core-2")
        eventually(lambda: restarts)
        (restart,) = restarts
        assert (restart.before, restart.now) == ("core-1", "core-2")
        assert restart.gone == {"conversation", "answered-1", "ringing-1"}
        assert ours.ended
        assert not theirs.ended
        eventually(lambda: len(results) == 3)
        assert CallEnd("answered-1", None, None, cut=True) in results
        assert OriginateResult("ringing-1", "lost", "the switch was restarted") in results
        assert made.originating == 0


def test_the_same_switch_again_is_no_restart(listener):
    """Only the connection was lost: calls live on, nothing is told."""
    live, restarts = LiveCalls(), []
    session = FakeSession("conversation")
    with (
        live.during("core-1", session),
        connected(listener, live=live, on_restart=restarts.append) as (made, line),
    ):
        line.sock.close()
        listener.accept().subscribed("core-1")
        eventually(lambda: made.connections == 2)
        gevent.sleep(0.01)
        assert not session.ended
        assert restarts == []


# Reconciliation.


@pytest.mark.parametrize(
    ("said", "ended"),
    [("false", True), ("true", False), ("-ERR uuid_exists Command not found!\n", False)],
)
def test_a_conversation_without_a_call_is_ended(listener, said, ended):
    """A half-open socket says nothing; the switch is asked. Only a plain "false" ends it."""
    live = LiveCalls()
    session = FakeSession("conversation")
    timing = Timing(keepalive_s=0.01, settle_s=0.0, reconcile_s=0.01)
    with live.during("core-1", session), connected(listener, timing, live=live) as (_, line):
        for _ in range(2):
            assert line.until("api uuid_exists").command == "api uuid_exists conversation"
            line.send(response(said))
            if ended:
                break
        eventually(lambda: session.ended is ended)


def test_a_lost_connection_ends_no_conversation(listener):
    """Without an answer nothing is known."""
    live = LiveCalls()
    session = FakeSession("conversation")
    timing = Timing(keepalive_s=0.01, settle_s=0.0, reconcile_s=0.01, retry_s=0.01)
    with live.during("core-1", session), connected(listener, timing, live=live) as (made, line):
        line.until("api uuid_exists")
        line.sock.close()
        eventually(lambda: not made.connected)
        gevent.sleep(0.05)
        assert not session.ended


def test_many_calls_are_asked_for_in_batches(listener):
    """450 calls are three questions of at most 200 commands each."""
    with connected(listener) as (made, line):
        asking = gevent.spawn(made.calls, [f"call-{number}" for number in range(450)])
        for number in range(450):
            assert line.until("api uuid_exists").command == f"api uuid_exists call-{number}"
            line.send(response("false" if number % 3 else "true"))
        assert asking.get() == {f"call-{number}" for number in range(0, 450, 3)}


# Commands.


@pytest.mark.parametrize(
    ("act", "command"),
    [
        (lambda c: c.uuid_break("u-1"), "api uuid_break u-1"),
        (lambda c: c.uuid_break("u-1", everything=True), "api uuid_break u-1 all"),
        (lambda c: c.uuid_kill("u-1"), "api uuid_kill u-1 NORMAL_CLEARING"),
        (lambda c: c.uuid_kill("u-1", "USER_BUSY"), "api uuid_kill u-1 USER_BUSY"),
        (lambda c: c.sched_hangup("u-1", 60), "api sched_hangup +60 u-1 ALLOTTED_TIMEOUT"),
    ],
)
def test_commands_about_a_call(listener, act, command):
    """True where the switch has the call, False for its -ERR."""
    with connected(listener) as (made, line):
        for said, expected in (("+OK\n", True), ("-ERR No such channel!\n", False)):
            asking = gevent.spawn(act, made)
            assert line.until("api u" if "uuid" in command else "api s").command == command
            line.send(response(said))
            assert asking.get() is expected


@pytest.mark.parametrize(
    "act",
    [
        lambda c: c.uuid_break("a b"),
        lambda c: c.uuid_kill(""),
        lambda c: c.uuid_kill("u", "no cause\n"),
        lambda c: c.sched_hangup("u", -1),
        lambda c: c.sched_hangup("u", 1.5),
        lambda c: c.exists("u\n\napi hupall"),
        lambda c: c.api("a\n\nb"),
    ],
)
def test_arguments_are_checked(listener, act):
    """Nothing of them is sent."""
    with connected(listener) as (made, _), pytest.raises(ValueError, match=r"uuid|cause|sec|comm"):
        act(made)


@pytest.mark.parametrize(
    ("dump", "state"),
    [
        ("-ERR No such channel!\n", "none"),
        ("Event-Name: CHANNEL_DATA\nAnswer-State: answered\nx: y\n\n", "answered"),
        ("Event-Name: CHANNEL_DATA\nAnswer-State: ringing\nx: y\n\n", "ringing"),
        ("Caller-Caller-ID-Name: Eve%0AAnswer-State: answered\nAnswer-State: early\n", "ringing"),
    ],
)
def test_looking_at_a_call(listener, dump, state):
    """What a restarted dialer asks about the calls of its predecessor."""
    with connected(listener) as (made, line):
        asking = gevent.spawn(made.look, "u-1")
        assert line.until("api uuid").command == "api uuid_dump u-1"
        line.send(response(dump))
        assert asking.get() == state


def test_no_reply_is_an_exception_of_its_own(listener):
    """A slow command raises NoReply after its limit and nothing else happens."""
    with connected(listener) as (made, _):
        with pytest.raises(NoReply):
            made.api("slow", 0.01)
        assert made.connected


# Background jobs.


def test_a_background_job_is_told_once(listener):
    """Its result comes with the event; a second event, or one of another job, means nothing."""
    results = []
    with connected(listener) as (made, line):
        job = made.bgapi("status", results.append)
        command = line.until("bgapi")
        assert command.headers["job-uuid"] == job
        line.send(accepted(command).encode())
        line.send(event(b"other", Event__Name="BACKGROUND_JOB", Job__UUID="other"))
        line.send(job_event(command, "UP") * 2)
        eventually(lambda: results)
        gevent.sleep(0.01)
        assert results == ["UP"]


def test_a_job_outlives_its_connection(listener):
    """Measured: the switch runs it on, and its event reaches the next connection."""
    results = []
    with connected(listener) as (made, line):
        made.bgapi("status", results.append)
        command = line.until("bgapi")
        line.sock.close()
        second = listener.accept().subscribed("core-1")
        eventually(lambda: made.connections == 2)
        second.send(job_event(command, "UP"))
        eventually(lambda: results == ["UP"])


def test_a_job_that_is_lost_is_told_as_lost(listener):
    """Its time is over: None. Refused by the switch: what it said."""
    results = []
    timing = Timing(keepalive_s=0.01, settle_s=0.0)
    with connected(listener, timing) as (made, line):
        line.alive()
        made.bgapi("status", results.append, timeout_s=0.01)
        eventually(lambda: results == [None])
    with connected(listener) as (made, line):
        made.bgapi("status", results.append)
        line.until("bgapi")
        line.send(reply("-ERR permission denied"))
        eventually(lambda: results[1:] == ["-ERR permission denied"])


# Originations.


def test_an_origination_from_command_to_end(listener):
    """Placed once, answered, ended."""
    results = []
    with connected(listener) as (made, line):
        placing = gevent.spawn(made.originate, call(), results.append)
        command = line.until("bgapi originate")
        assert "origination_uuid=call-0001" in command.command
        line.send(accepted(command).encode())
        line.send(event(Event__Name="CHANNEL_ANSWER", Unique__ID="call-0001"))
        line.send(job_event(command, "+OK call-0001\n"))
        assert placing.get() == OriginateResult("call-0001", "answered")
        assert placing.get().answered
        line.send(
            event(
                Event__Name="CHANNEL_HANGUP_COMPLETE",
                Unique__ID="call-0001",
                Hangup__Cause="NORMAL_CLEARING",
                variable_answer_epoch="1795296064",
                variable_billsec="7",
            )
        )
        eventually(lambda: results == [CallEnd("call-0001", "NORMAL_CLEARING", 7)])
        assert made.originating == 0


def test_a_second_call_of_the_switch_is_ended(listener, caplog):
    """The id was in use there, so it has dialled again: that call is killed, the first is not."""
    with connected(listener) as (made, line):
        placing = gevent.spawn(made.originate, call())
        command = line.until("bgapi originate")
        line.send(accepted(command).encode() + job_event(command, "+OK another-0001\n"))
        assert line.until("api uuid_kill").command == ("api uuid_kill another-0001 NORMAL_CLEARING")
        line.send(response("+OK\n"))
        assert placing.get().outcome == "lost"
        assert "was in use" in caplog.text


@pytest.mark.parametrize(
    ("dump", "outcome"),
    [
        ("Answer-State: answered\n\n", "answered"),
        ("-ERR No such channel!\n", "lost"),
    ],
)
def test_a_lost_answer_is_asked_for_and_nothing_dialled_twice(listener, dump, outcome):
    """The connection is lost after the command: the switch is asked for the call by our id when it
    is back, and `originate` never appears again."""
    timing = Timing(keepalive_s=0.02, settle_s=0.0, retry_s=0.01)
    with connected(listener, timing) as (made, line):
        placing = gevent.spawn(made.originate, call())
        line.until("bgapi originate")
        line.sock.close()
        second = listener.accept().subscribed("core-1")
        for _ in range(2 if outcome == "lost" else 1):
            assert second.until("api uuid_dump").command == "api uuid_dump call-0001"
            second.send(response(dump))
        assert placing.get(timeout=5).outcome == outcome


def test_an_answer_that_came_while_nobody_listened(listener):
    """Ringing when asked; then the event comes on the new connection."""
    timing = Timing(keepalive_s=0.02, settle_s=0.0, retry_s=0.01)
    with connected(listener, timing) as (made, line):
        placing = gevent.spawn(made.originate, call())
        command = line.until("bgapi originate")
        line.sock.close()
        second = listener.accept().subscribed("core-1")
        second.until("api uuid_dump")
        second.send(response("Answer-State: ringing\n\n"))
        second.until("api uptime")
        second.send(response("1\n") + job_event(command, "-ERR USER_BUSY\n"))
        assert placing.get(timeout=5) == OriginateResult("call-0001", "failed", "USER_BUSY")


def test_a_switch_that_stays_away_does_not_hold_an_origination_for_ever(listener):
    """It may ring 1 s and be late by 0.05 s, twice: then it is lost."""
    timing = Timing(late_s=0.05, retry_s=0.01, retry_most_s=0.05, settle_s=60)
    with connected(listener, timing) as (made, line):
        placing = gevent.spawn(made.originate, call(ring_s=1))
        line.until("bgapi originate")
        line.sock.close()
        listener.sock.close()
        assert placing.get(timeout=5).outcome == "lost"


def test_an_event_that_was_lost_is_made_up_for(listener):
    """Nothing comes although the connection is fine: after the ringing time the switch is asked;
    and an answered call without an end event ends when the switch no longer has it."""
    timing = Timing(late_s=0.01, keepalive_s=0.02, settle_s=0.0, reconcile_s=0.02)
    ends = []
    with connected(listener, timing) as (made, line):
        placing = gevent.spawn(made.originate, call(ring_s=1), ends.append)
        line.send(accepted(line.until("bgapi")).encode())
        line.until("api uuid_dump")
        line.send(response("Answer-State: answered\n\n"))
        assert placing.get(timeout=5).answered
        assert line.until("api uuid_exists").command == "api uuid_exists call-0001"
        line.send(response("false"))
        eventually(lambda: ends == [CallEnd("call-0001", None, None)])


def test_the_same_id_is_refused_while_under_way(listener):
    """Nothing is sent the second time."""
    with connected(listener) as (made, line):
        made.originate_later(call(), lambda result: None)
        line.until("bgapi")
        with pytest.raises(ValueError, match="uuid"):
            made.originate_later(call(), lambda result: None)


def test_events_are_handed_on(listener):
    """on_event gets the events of our originations, not the results of jobs."""
    events = []
    with connected(listener, on_event=events.append) as (made, line):
        made.bgapi("status", lambda text: None)
        line.send(job_event(line.until("bgapi"), "UP"))
        line.send(event(Event__Name="CHANNEL_ANSWER", Unique__ID="x"))
        eventually(lambda: events)
        assert [each.get("Event-Name") for each in events] == ["CHANNEL_ANSWER"]
