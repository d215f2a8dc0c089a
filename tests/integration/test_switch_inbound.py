"""The event socket that control connections come to: the embedded switch and a real FreeSWITCH.

Every expectation here is a fact measured on FreeSWITCH 1.10.12, and is held against one again where
a binary is present (CALLFLOWS_TEST_FREESWITCH or PATH).
"""

from __future__ import annotations

import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from freeswitch_instance import FreeSwitch, binary
from gevent import socket

from esl_worker.control import Control, Restart, Timing
from esl_worker.origination import CallEnd, Origination
from esl_worker.switch import Clock, Dialplan, Directory, InboundServer, Reaction, Switch
from esl_worker.switch import subscribers as sub

GOODBYE = b"Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"
NOTICE = b"Content-Type: text/disconnect-notice\nContent-Length: 67\n\n" + GOODBYE
REFUSAL = b"Content-Type: text/rude-rejection\nContent-Length: 24\n\nAccess Denied, go away.\n"
QUICK = Timing(keepalive_s=0.2, reconcile_s=0.2, settle_s=0.1, retry_s=0.05, retry_most_s=0.2)

NUMBERS = {
    "answers": Reaction(after_s=0.0),
    "late": Reaction(after_s=0.7),
    "never": sub.no_answer(),
    "busy": sub.busy(0.0),
    "rejects": sub.rejects(0.0),
    "unallocated": sub.unallocated(),
}


class Embedded:
    """The embedded switch, with its numbers."""

    endpoint = "sofia/gateway/trunk/{}"

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.directory = Directory(NUMBERS)
        self._folder = folder
        self.port = port
        self.start()

    def start(self) -> None:
        self.switch = Switch(
            Dialplan({"subscribers": [("2000", [("answer", ""), ("park", "")])]}),
            self._folder,
            Clock(1.0),
            subscribers=self.directory,
        )
        self.server = InboundServer(self.switch, listener=("127.0.0.1", self.port))
        self.server.start()
        self.port = self.server.server_port

    def stop(self) -> None:
        self.server.shut_down()

    def kill(self) -> None:
        self.server.stop()
        self.server.cut()


class Real(FreeSwitch):
    """A real one."""

    endpoint = "loopback/{}/subscribers"


def make(kind: str, folder: Path) -> Any:
    if kind == "embedded":
        return Embedded(folder)
    if binary() is None:
        pytest.skip("no FreeSWITCH: set CALLFLOWS_TEST_FREESWITCH to its binary")
    return Real(folder).start()


BOTH = ["embedded", pytest.param("freeswitch", marks=pytest.mark.xdist_group("freeswitch"))]


@pytest.fixture(scope="module", params=BOTH)
def house(request, tmp_path_factory) -> Iterator[Any]:
    """One switch for all tests that leave it as it was."""
    made = make(request.param, tmp_path_factory.mktemp("switch"))
    yield made
    made.kill()


@pytest.fixture(params=BOTH)
def restartable(request, tmp_path) -> Iterator[Any]:
    """A switch of the test's own."""
    made = make(request.param, tmp_path)
    yield made
    made.kill()


class Wire:
    """A raw connection: what goes over it, byte by byte."""

    def __init__(self, port: int, *, password: str | None = "ClueCon") -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 5)
        if password is not None:
            assert self.read(27) == b"Content-Type: auth/request\n\n"[:27]
            self.read(1)
            assert self.say(f"auth {password}") == reply("+OK accepted")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                break
            data += more
        return data

    def rest(self) -> bytes:
        """Everything until the end."""
        data = b""
        while more := self.sock.recv(65536):
            data += more
        return data

    def frame(self) -> bytes:
        """One frame as it came."""
        head = b""
        while not head.endswith(b"\n\n"):
            more = self.sock.recv(1)
            if not more:
                return head
            head += more
        length = re.search(rb"Content-Length: (\d+)", head)
        return head + (self.read(int(length[1])) if length else b"")

    def say(self, command: str) -> bytes:
        self.sock.sendall(command.encode() + b"\n\n")
        return self.frame()


def reply(text: str) -> bytes:
    return f"Content-Type: command/reply\nReply-Text: {text}\n\n".encode()


def response(text: str) -> bytes:
    return f"Content-Type: api/response\nContent-Length: {len(text)}\n\n{text}".encode()


def test_logging_in(house):
    """The greeting; a wrong password ends the connection; before it nothing is obeyed."""
    with Wire(house.port, password=None) as wire:
        assert wire.frame() == b"Content-Type: auth/request\n\n"
        assert wire.say("api status") == reply("-ERR command not found")
    with Wire(house.port, password=None) as wire:
        wire.frame()
        assert wire.say("auth wrong") == reply("-ERR invalid")
        assert wire.rest() == NOTICE


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("api uuid_exists nope", response("false")),
        ("api uuid_break nope", response("-ERR No such channel!\n")),
        ("api uuid_break", response("-USAGE: <uuid> [all]\n")),
        ("api uuid_kill nope", response("-ERR No such channel!\n")),
        ("api uuid_kill", response("-USAGE: <uuid> [cause]\n")),
        ("api sched_hangup +5 nope", response("-ERR No such channel!\n")),
        ("api sched_hangup", response("-USAGE: [+]<time> <uuid> [<cause>]\n")),
        ("api uuid_dump nope", response("-ERR No such channel!\n")),
        ("api uuid_dump", response("-USAGE: <uuid> [format]\n")),
        ("api uuid_setvar_multi", response("-USAGE: <uuid> <var>=<value>;<var>=<value>...\n")),
        ("api uuid_setvar_multi nope", response("-ERR no reply\n")),
        (
            "api uuid_setvar_multi nope a=1",
            response("-ERR No such channel!\n-USAGE: <uuid> <var>=<value>;<var>=<value>...\n"),
        ),
        ("api uuid_getvar nope x", response("-ERR No such channel!\n")),
        ("api nosuch", response("-ERR nosuch Command not found!\n")),
        ("api hupall", response("+OK hangup all channels with cause MANAGER_REQUEST\n")),
        ("api", reply("-ERR command not found")),
        ("noop", reply("-ERR command not found")),
        ("auth ClueCon", reply("-ERR command not found")),
        ("connect", reply("-ERR command not found")),
        ("getvar x", reply("-ERR command not found")),
        ("resume", reply("-ERR command not found")),
        ("myevents", reply("-ERR command not found")),
        ("divert_events on", reply("-ERR not controlling a session.")),
        ("linger", reply("-ERR not controlling a session")),
        ("nolinger", reply("-ERR not controlling a session")),
        ("sendmsg", reply("-ERR invalid session id []")),
        ("sendmsg nope\ncall-command: hangup", reply("-ERR invalid session id [nope]")),
        ("log info", reply("+OK log level info [6]")),
        ("log nosuch", reply("-ERR invalid log level")),
        ("nolog", reply("-ERR not loging")),
        ("event plain NOSUCH", reply("-ERR no keywords supplied")),
        ("event json BACKGROUND_JOB", reply("+OK event listener enabled json")),
        ("nixevent", reply("-ERR no keywords supplied")),
        ("nixevent CHANNEL_ANSWER", reply("+OK events nixed")),
        ("noevents", reply("-ERR not listening for events")),
        ("filter Job-UUID /^cf-/", reply("+OK filter added. [Job-UUID]=[/^cf-/]")),
        ("filter delete all", reply("+OK filter deleted. [all][]")),
        ("filter x", reply("-ERR invalid syntax")),
    ],
)
def test_answers(house, command, answer):
    """Command by command, to the byte."""
    with Wire(house.port) as wire:
        assert wire.say(command) == answer


def test_who_the_switch_is(house):
    """core_uuid without a line break, uptime with one; both on a control connection only."""
    with Wire(house.port) as wire:
        head, _, core = wire.say("api global_getvar core_uuid").partition(b"\n\n")
        assert head == b"Content-Type: api/response\nContent-Length: 36"
        assert re.fullmatch(rb"[0-9a-f-]{36}", core)
        assert re.search(rb"\n\n\d+\n$", wire.say("api uptime"))


def test_leaving(house):
    """`exit` is answered, then comes the notice, which names no call."""
    with Wire(house.port) as wire:
        assert wire.say("exit") == reply("+OK bye")
        assert wire.rest() == NOTICE


def test_a_background_job(house):
    """The reply with the job's id as a header, then the event with the result as its body; a
    filter with a pattern in slashes lets only matching jobs through."""
    with Wire(house.port) as wire:
        wire.say("filter Job-UUID /^cf-/")
        wire.say("event plain BACKGROUND_JOB")
        wire.say("bgapi uuid_exists other\nJob-UUID: other")
        answer = wire.say("bgapi uuid_exists nope\nJob-UUID: cf-1")
        assert answer == (
            b"Content-Type: command/reply\nReply-Text: +OK Job-UUID: cf-1\nJob-UUID: cf-1\n\n"
        )
        event = wire.frame()
        assert re.match(rb"Content-Length: \d+\nContent-Type: text/event-plain\n\n", event)
        assert event.endswith(
            b"\nJob-UUID: cf-1\nJob-Command: uuid_exists\nJob-Command-Arg: nope\n"
            b"Content-Length: 5\n\nfalse"
        )
        wire.say("noevents")
        assert re.match(
            rb"Content-Type: command/reply\nReply-Text: \+OK Job-UUID: ([0-9a-f-]{36})\n"
            rb"Job-UUID: \1\n\n$",
            wire.say("bgapi uptime"),
        )


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("{busy} &park()", "-ERR USER_BUSY\n"),
        ("{rejects} &park()", "-ERR CALL_REJECTED\n"),
        ("{unallocated} &park()", "-ERR UNALLOCATED_NUMBER\n"),
        ("{{originate_timeout=1}}{never} &park()", "-ERR NO_ANSWER\n"),
        ("error/USER_BUSY &park()", "-ERR USER_BUSY\n"),
        ("nosuch/x &park()", "-ERR CHAN_NOT_IMPLEMENTED\n"),
        ("", "-USAGE: <call url> <exten>|&<application_name>(<app_args>)"),
        ("{answers}", "-USAGE: <call url> <exten>|&<application_name>(<app_args>)"),
    ],
)
def test_what_a_failed_origination_says(house, command, answer):
    """The cause by name, or the usage."""
    names = {number: house.endpoint.format(number) for number in NUMBERS}
    with Wire(house.port) as wire:
        said = wire.say(f"api originate {command.format(**names)}").partition(b"\n\n")[2].decode()
    assert said.startswith(answer)


def test_an_origination_with_variables(house):
    """Quotes keep blanks, a backslash keeps a comma; an unquoted comma begins the next one. The
    answer names the id that was asked for, and the call can be asked about by it."""
    wanted = str(uuid.uuid4())
    with Wire(house.port) as wire:
        said = wire.say(
            f"api originate {{origination_uuid={wanted},a='x y',b='p\\,q r',c=1\\,2,d='m,n'}}"
            f"{house.endpoint.format('answers')} &park()"
        )
        assert said == response(f"+OK {wanted}\n")
        values = [wire.say(f"api uuid_getvar {wanted} {name}") for name in "abcd"]
        assert [each.partition(b"\n\n")[2] for each in values] == [b"x y", b"p,q r", b"1,2", b"m"]
        assert wire.say(f"api uuid_getvar {wanted} nosuch") == response("_undef_")
        dump = wire.say(f"api uuid_dump {wanted}")
        assert b"\nAnswer-State: answered\n" in dump
        assert b"Event-Name: CHANNEL_DATA\n" in dump
        assert wire.say(f"api uuid_break {wanted}") == response("+OK\n")
        assert wire.say(f"api uuid_exists {wanted}") == response("true")
        assert wire.say(f"api uuid_kill {wanted}") == response("+OK\n")


SETVARS_USAGE = "-USAGE: <uuid> <var>=<value>;<var>=<value>...\n"


@pytest.fixture(scope="module")
def live(house) -> Iterator[str]:
    """The id of a call that lasts."""
    wanted = str(uuid.uuid4())
    with Wire(house.port) as wire:
        number = house.endpoint.format("answers")
        wire.say(f"api originate {{origination_uuid={wanted}}}{number} &park()")
        yield wanted
        wire.say(f"api uuid_kill {wanted}")


@pytest.mark.parametrize(
    ("argument", "said", "values"),
    [
        ("a=1;b=2;c=", "+OK\n", {"a": "1", "b": "2", "c": None}),
        ("^^|a=1;2|b=x,y=z|c=^^;q", "+OK\n", {"a": "1;2", "b": "x,y=z", "c": "^^;q"}),
        ("^^|a=  lead|b=trail  |c=", "+OK\n", {"a": "  lead", "b": "trail", "c": None}),
        ("^^|a='|b=it's|c=1", "+OK\n", {"a": "|b=its", "b": None, "c": "1"}),
        ("^^|a=a\\b|b=\\n|c=1\\|2", "+OK\n", {"a": "a\\b", "b": "\n", "c": "1|2"}),
        ("^^|a=${uuid}|b=$${x}|c=$\\\\{x}", "+OK\n", {"a": None, "b": None, "c": None}),
        ('^^|a=5$|b={"k":[1,2]}|c=~x', "+OK\n", {"a": "5$", "b": '{"k":[1,2]}', "c": "~x"}),
        ("^^|a=%0Ab|b=سلام|c=#", "+OK\n", {"a": "%0Ab", "b": "سلام", "c": "#"}),
        ("^^|a|b=1", "+OK\n", {"a": None, "b": "1"}),
        ("^^|a=1||b=2", "-ERR No variable specified\n+OK\n", {"a": "1", "b": "2"}),
        ("^^|=x", "-ERR No variable specified\n" + SETVARS_USAGE, {"a": None}),
        ("^^ a=5 b='6 7'", "+OK\n", {"a": "5", "b": "6 7"}),
        ("^^|", "+OK\n", {}),
        ("  a=7  ", "+OK\n", {"a": "7"}),
        ("", "-ERR no reply\n", {}),
    ],
)
def test_several_variables_at_once(house, live, argument, said, values):
    """Split as `multiset` does, and nothing is expanded: a value that holds a variable is refused.
    After ^^ the delimiter is the sender's, so that a value may hold a semicolon."""
    with Wire(house.port) as wire:
        for name in "abc":
            wire.say(f"api uuid_setvar {live} {name}")
        assert wire.say(f"api uuid_setvar_multi {live} {argument}") == response(said)
        for name, value in values.items():
            got = wire.say(f"api uuid_getvar {live} {name}").partition(b"\n\n")[2].decode()
            assert (name, got) == (name, "_undef_" if value is None else value)


def test_sixty_four_variables_at_once(house, live):
    """The last one's value holds all that come after it."""
    pairs = "|".join(f"v{number}={number}" for number in range(70))
    with Wire(house.port) as wire:
        assert wire.say(f"api uuid_setvar_multi {live} ^^|{pairs}") == response("+OK\n")
        assert wire.say(f"api uuid_getvar {live} v62") == response("62")
        assert wire.say(f"api uuid_getvar {live} v63").endswith(
            b"\n63|v64=64|v65=65|v66=66|v67=67|v68=68|v69=69"
        )
        assert wire.say(f"api uuid_getvar {live} v64") == response("_undef_")


def test_an_id_in_use_is_dialled_all_the_same(house):
    """The reason why an origination is never sent twice: the second call gets another id."""
    wanted = str(uuid.uuid4())
    command = (
        f"api originate {{origination_uuid={wanted}}}{house.endpoint.format('answers')} &park()"
    )
    with Wire(house.port) as wire:
        assert wire.say(command) == response(f"+OK {wanted}\n")
        second = wire.say(command).partition(b"\n\n+OK ")[2].decode().strip()
        assert second
        assert second != wanted
        wire.say(f"api uuid_kill {wanted}")
        wire.say(f"api uuid_kill {second}")


@pytest.fixture
def control(house) -> Iterator[Control]:
    """Our side, connected."""
    made = Control(("127.0.0.1", house.port), "ClueCon", timing=QUICK)
    made.start()
    assert made.wait_connected(5)
    yield made
    made.stop()


def eventually(condition: Any, seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "not in time"
        gevent.sleep(0.005)


def place(house: Any, number: str, **fields: Any) -> Origination:
    return Origination(endpoint=house.endpoint.format(number), then="&park()", **fields)


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        ("busy", "USER_BUSY"),
        ("rejects", "CALL_REJECTED"),
        ("unallocated", "UNALLOCATED_NUMBER"),
        ("never", "NO_ANSWER"),
    ],
)
def test_placing_calls_in_vain(house, control, number, cause):
    """Each ends with its cause, and nothing is left behind."""
    result = control.originate(place(house, number, ring_s=1))
    assert (result.outcome, result.cause) == ("failed", cause)
    assert control.originating == 0


def test_a_placed_call_and_its_end(house, control):
    """Answered; looked at; interrupted; limited; its end is told with cause and length."""
    ends: list[CallEnd] = []
    call = place(house, "late", caller_number="02112345678", caller_name="The operator")
    placing = gevent.spawn(control.originate, call, ends.append)
    eventually(lambda: control.exists(call.uuid))
    assert control.look(call.uuid) == "ringing"
    assert placing.get().answered
    assert control.look(call.uuid) == "answered"
    assert control.uuid_break(call.uuid)
    assert control.sched_hangup(call.uuid, 1, "ALLOTTED_TIMEOUT")
    eventually(lambda: ends)
    assert ends[0].uuid == call.uuid
    assert ends[0].cause == "ALLOTTED_TIMEOUT"
    assert control.look(call.uuid) == "none"
    assert not control.uuid_kill(call.uuid)


def test_the_switch_itself_limits_a_call(house, control):
    """limit_s is set with the call, so it holds without us."""
    ends: list[CallEnd] = []
    assert control.originate(place(house, "answers", limit_s=1), ends.append).answered
    eventually(lambda: ends)
    assert ends[0].cause == "ALLOTTED_TIMEOUT"


def test_a_ringing_call_is_killed(house, control):
    """It fails with the cause of the killing."""
    call = place(house, "never")
    placing = gevent.spawn(control.originate, call)
    eventually(lambda: control.exists(call.uuid))
    assert control.uuid_kill(call.uuid, "ORIGINATOR_CANCEL")
    assert placing.get().outcome == "failed"


def test_events_of_others_do_not_come(house):
    """Two processes at one switch: each gets the events of its own originations only."""
    heard: dict[str, list[str]] = {"a": [], "b": []}
    controls = {
        name: Control(
            ("127.0.0.1", house.port),
            "ClueCon",
            timing=QUICK,
            on_event=lambda event, name=name: heard[name].append(event.get("Unique-ID") or ""),
        )
        for name in heard
    }
    for each in controls.values():
        each.start()
        assert each.wait_connected(5)
    calls = {name: place(house, "busy") for name in heard}
    for name, call in calls.items():
        controls[name].originate(call)
    for each in controls.values():
        each.stop()
    assert calls["a"].uuid in heard["a"]
    assert calls["a"].uuid not in heard["b"]
    assert calls["b"].uuid not in heard["a"]


@pytest.mark.parametrize(
    ("then", "caller"), [("&park()", "02188776655"), ("2000 XML subscribers", "0211")]
)
def test_the_caller_id_is_turned_round_for_an_application(tmp_path, then, caller):
    """Measured with a SIP leg: an application finds the subscriber as the caller, an extension
    finds us."""
    here = Embedded(tmp_path)
    here.directory = Directory({"02188776655": Reaction()})
    here.switch.subscribers = here.directory
    made = Control(("127.0.0.1", here.port), "ClueCon", timing=QUICK)
    made.start()
    made.wait_connected(5)
    call = Origination(endpoint="sofia/gateway/t/02188776655", then=then, caller_number="0211")
    assert made.originate(call).answered
    assert f"\nCaller-Caller-ID-Number: {caller}\n" in made.api(f"uuid_dump {call.uuid}")
    made.stop()
    here.kill()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_restarted_switch(restartable, how):
    """The connection is lost at once, comes back by itself, and the other Core-UUID is noticed:
    the ringing call is over, the answered one has ended, both are named if nobody told before."""
    restarts: list[Restart] = []
    told: list[Any] = []
    made = Control(
        ("127.0.0.1", restartable.port), "ClueCon", timing=QUICK, on_restart=restarts.append
    )
    made.start()
    assert made.wait_connected(5)
    before = made.core_uuid
    talking, ringing = place(restartable, "answers"), place(restartable, "never")
    assert made.originate(talking, told.append).answered
    made.originate_later(ringing, told.append)
    eventually(lambda: made.exists(ringing.uuid))
    getattr(restartable, how)()
    eventually(lambda: not made.connected)
    restartable.start()
    eventually(lambda: restarts, 30)
    assert restarts[0].before == before
    assert restarts[0].now == made.core_uuid != before
    eventually(lambda: len(told) == 2)
    assert {each.uuid for each in told} == {talking.uuid, ringing.uuid}
    if how == "kill":
        assert restarts[0].gone == {talking.uuid, ringing.uuid}
    assert made.originating == 0
    made.stop()


def test_an_acl_rejects_rudely(tmp_path):
    """Two frames, then the end; a control says what is wrong and does not hammer."""
    server = InboundServer(Switch(Dialplan({}), tmp_path, Clock(1.0)), allowed=["192.0.2.0/24"])
    server.start()
    assert Wire(server.server_port, password=None).rest() == REFUSAL + NOTICE
    server.stop()


@pytest.mark.skipif(binary() is None, reason="no FreeSWITCH: set CALLFLOWS_TEST_FREESWITCH")
@pytest.mark.xdist_group("freeswitch")
def test_an_acl_rejects_rudely_on_freeswitch(tmp_path):
    """The same bytes."""
    real = FreeSwitch(tmp_path, deny=True).start()
    try:
        assert Wire(real.port, password=None).rest() == REFUSAL + NOTICE
    finally:
        real.kill()
        shutil.rmtree(tmp_path, ignore_errors=True)
