"""The sync session: pipelined commands, every way a call ends, checked arguments."""

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import captures
import gevent
import gevent.socket
import pytest
from esl_peer import (
    API_OK,
    ASYNC_ANSWER,
    CONNECT_ANSWER,
    LINGER,
    NOTICE,
    UUID,
    event,
    reply,
    static,
)
from greenswitch.esl import ESLProtocol, OutboundSession
from hypothesis import given, settings
from hypothesis import strategies as st

from callflows.call import CallerGone
from esl_worker.frames import CommandReader
from esl_worker.session import (
    ChannelData,
    ClosedOff,
    ConnectionLost,
    ReplyTimeout,
    Session,
    TruncatedValue,
    execute_command,
    getvar_command,
    positional,
    safe_variable_value,
    setvars_command,
    variable_of,
)


class Switch:
    """The other end of a session's socket, in the same process."""

    def __init__(self, **options: Any) -> None:
        ours, self.sock = gevent.socket.socketpair()
        self.sock.settimeout(5)
        self.session = Session("switch", ours, **{"reply_timeout_s": 5.0, **options})
        self.reader = CommandReader()
        self.received: list[str] = []

    def connected(self, answer: bytes = CONNECT_ANSWER) -> "Switch":
        self.sock.sendall(answer)
        self.session.connect()
        self.heard(1)
        return self

    def heard(self, count: int) -> list[str]:
        """The next ``count`` commands: their first line, or application and argument."""
        found: list[str] = []
        while len(found) < count:
            data = self.sock.recv(1 << 16)
            assert data, "the session closed"
            for command in self.reader.feed(data):
                app = command.headers.get("execute-app-name")
                argument = command.headers.get("execute-app-arg") or command.body.decode()
                found.append(f"{app} {argument}".strip() if app else command.command)
        return found

    def answers_to(self, data: bytes, act: Callable[[Session], Any]) -> Any:
        """What ``act`` gives when the switch says ``data`` to it."""
        self.sock.sendall(data)
        return act(self.session)


@pytest.fixture
def switch():
    made = Switch().connected()
    yield made
    made.session.close()
    made.sock.close()


def outcome(act: Callable[[], Any]) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - CallerGone is a BaseException
        act()
    return caught.value


# Connecting.


def test_connect_tells_who_calls_whom():
    """The channel data gives id, numbers, answer state and any variable, decoded."""
    switch = Switch()
    data = switch.answers_to(CONNECT_ANSWER, lambda session: session.connect())
    assert (data.uuid, data.caller_number, data.destination) == (UUID, "02188776655", "2001")
    assert data.answered is False
    assert data.variable("sip_from_uri") == "02188776655@127.0.0.1"
    assert data.variable("cf_state") is None
    assert data.get("no-such", "x") == "x"
    assert switch.heard(1) == ["connect"]
    assert switch.session.connect() is data
    assert switch.session.uuid == UUID


def test_released_channel_data_keeps_what_was_asked_for():
    """After release only kept names can be read; another one is an error, not an unset one."""
    data = Switch().connected().session.connect()
    data.release("variable_sip_from_user", "variable_cf_state")
    data.release()
    assert data.variable("sip_from_user") == "02188776655"
    assert data.variable("cf_state") is None
    assert data.uuid == UUID
    with pytest.raises(LookupError):
        data.variable("sip_to_user")


def test_hostile_caller_id_is_only_the_callers_name():
    """Capture 11 through the session: no forged variable can be read in any way."""
    answer = static(next(r.data for r in captures.records("11") if r.direction == "<"))
    data = Switch().connected(answer).session.connect()
    for name in ("owner_verified", "x", "sip_h_X-Evil%0Avariable_owner_verified"):
        assert data.variable(name) is None
    assert data.caller_number == "0218\n8776655"
    data.release("variable_owner_verified")
    assert data.variable("owner_verified") is None


def test_takeover_sees_the_answered_call_and_its_variables():
    """A second worker reads what the first one wrote."""
    block = CONNECT_ANSWER.replace(b"Answer-State: ringing", b"Answer-State: answered")
    block = block.replace(b"Control: full\n", b"Control: full\nvariable_cf_state: menu%7C2\n")
    data = Switch().connected(block).session.connect()
    assert data.answered
    assert data.variable("cf_state") == "menu|2"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ASYNC_ANSWER, "async"),
        (CONNECT_ANSWER.replace(b"Control: full", b"Control: single-channel"), "without full"),
        (reply(), "no channel data"),
        (CONNECT_ANSWER.replace(b"\nUnique-ID: ", b"\nOther: "), "no call id"),
        (CONNECT_ANSWER.replace(b"\nUnique-ID: ", b"\nUnique-ID: a%0Ab"), "no call id"),
        (b"Content-Type: auth/request\n\n", "unknown content type"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\n\n", "unknown content type"),
        (b"\x16\x03\x01\x02\x00\n\n", "unknown content type"),
        (b"Content-Length: 999999999\n\n", "too large"),
        (b"A: " + b"y" * 70_000, "too long"),
        (CONNECT_ANSWER * 2, "more answers"),
    ],
)
def test_a_peer_that_is_no_sync_freeswitch_loses_the_call_at_once(answer, reason):
    """Whatever is wrong is named without quoting the peer's bytes, and the socket is closed."""
    switch = Switch()
    feeding = gevent.spawn(switch.sock.sendall, answer)
    error = outcome(switch.session.connect)
    feeding.kill()
    assert isinstance(error, ConnectionLost)
    assert reason in error.reason
    assert "yyy" not in str(error)
    assert switch.session.ended
    assert switch.session.sock.closed


def test_connect_has_a_time_limit_that_dripping_bytes_do_not_extend():
    """A peer that sends a byte now and then is not waited for longer than a silent one."""
    switch = Switch(connect_timeout_s=0.2)

    def drip() -> None:
        for byte in CONNECT_ANSWER:
            switch.sock.sendall(bytes([byte]))
            gevent.sleep(0.01)

    dripping = gevent.spawn(drip)
    started = time.monotonic()
    error = outcome(switch.session.connect)
    dripping.kill()
    assert isinstance(error, ReplyTimeout)
    assert isinstance(error, Exception)
    assert not isinstance(error, gevent.Timeout)
    assert time.monotonic() - started < 1
    assert switch.session.sock.closed


# Exchanging.


def test_commands_go_out_in_one_piece_and_answers_come_in_order(switch):
    """Pipelining: one write, answers matched by order, whatever their chunks."""
    said = API_OK + reply("+OK played") + reply("1250")
    answering = gevent.spawn(
        lambda: [gevent.sleep(0) or switch.sock.sendall(bytes([byte])) for byte in said]
    )
    replies = switch.session.exchange(
        [
            setvars_command(UUID, {"a": "1"}),
            execute_command("playback", "x.wav"),
            getvar_command("c"),
        ]
    )
    answering.join()
    assert [answer.text for answer in replies] == ["+OK\n", "+OK played", "1250"]
    assert not any(answer.failed for answer in replies)
    assert switch.heard(3) == [f"api uuid_setvar_multi {UUID} ^^|a=1", "playback x.wav", "getvar c"]


def test_sendmsg_is_framed_as_freeswitch_parses_it():
    """Name, argument and the end of the command; without an argument there is no such header."""
    assert execute_command("playback", "fa/menu/pay.wav") == (
        b"sendmsg\ncall-command: execute\nexecute-app-name: playback\n"
        b"execute-app-arg: fa/menu/pay.wav\n\n"
    )
    assert execute_command("answer") == b"sendmsg\ncall-command: execute\n" + (
        b"execute-app-name: answer\n\n"
    )


def test_a_longer_argument_is_a_body():
    """The switch reads headers byte by byte, and a body in one go. The length is that of the
    bytes."""
    argument = "1 1 1 7000 none سلام/pay.wav silence_stream://1 choice [0-9*#]+ 4000"
    head, _, body = execute_command("play_and_get_digits", argument).partition(b"\n\n")
    assert head == (
        b"sendmsg\ncall-command: execute\nexecute-app-name: play_and_get_digits\n"
        b"content-type: text/plain\ncontent-length: %d" % len(argument.encode())
    )
    assert body == argument.encode()


def test_long_arguments_pass_whole(switch):
    """Ten KB of file names are one argument."""
    files = "file_string://" + "!".join(f"fa/number/{n}.wav" for n in range(600))
    assert len(files) > 10_000
    switch.answers_to(reply(), lambda session: session.execute("playback", files))
    assert switch.heard(1) == [f"playback {files}"]


def test_a_failed_command_is_an_answer(switch):
    """-ERR is told, not raised: what it means is for the conversation to say."""
    answer = switch.answers_to(reply("-ERR no"), lambda session: session.execute("no_such_app"))
    assert answer.failed
    assert answer.data == "-ERR no"


def test_nothing_to_say_is_nothing_sent(switch):
    """An empty exchange touches no socket."""
    assert switch.session.exchange([]) == []


def test_api_and_bgapi_answers_are_read(switch):
    """Bodies of api/response and the Job-UUID of bgapi arrive under greenswitch's names."""
    api = b"Content-Type: api/response\nContent-Length: 4\n\nmenu"
    assert switch.answers_to(api, lambda session: session.send("api status")).data == "menu"
    job = next(r.data for r in captures.records("18") if b"Job-UUID" in r.data)
    job = job[job.index(b"Content-Type: command/reply") :]
    answer = switch.answers_to(job[: job.index(b"\n\n") + 2], lambda s: s.send("bgapi status"))
    assert answer.headers["Job-UUID"] == "a565e114-a264-462a-a107-a3f3e1b2bbea"


def test_events_go_to_the_callback_or_nowhere():
    """Events between answers disturb nothing; a callback that fails is logged and disturbs
    nothing either."""
    heard = []

    def on_event(found) -> None:
        heard.append(found.get("DTMF-Digit"))
        raise RuntimeError("broken callback")

    switch = Switch(on_event=on_event).connected()
    dtmf = event(Event__Name="DTMF", DTMF__Digit="%23")
    assert switch.answers_to(dtmf + reply(), lambda s: s.execute("answer")).text == "+OK"
    assert heard == ["#"]
    silent = Switch().connected()
    assert silent.answers_to(dtmf + reply(), lambda s: s.execute("answer")).text == "+OK"


# getvar.


@pytest.mark.parametrize(
    ("text", "value"),
    [("1250", "1250"), ("-ERR command not found", None), ("100%25", "100%25"), ("سلام", "سلام")],
)
def test_getvar_gives_the_value_or_none(switch, text, value):
    """Unset is None; a value is not decoded, for it was not encoded."""
    assert switch.answers_to(reply(text), lambda session: session.getvar("choice")) == value


def test_getvar_refuses_a_value_that_may_be_cut(switch):
    """FreeSWITCH cuts at 511 bytes; such a value is an error, not half a value."""
    assert len(switch.answers_to(reply("x" * 510), lambda s: s.getvar("c"))) == 510
    with pytest.raises(TruncatedValue):
        switch.answers_to(reply("x" * 511), lambda session: session.getvar("c"))
    with pytest.raises(TruncatedValue):
        switch.answers_to(reply("س" * 256), lambda session: session.getvar("c"))


@pytest.mark.parametrize(
    "raw",
    [
        b"12",
        b"Reply-Text: 1",
        b"Reply-Text: 1\nJob-UUID: 2\n",
        b"Event-Name: X\n",
        b"Event-Name: X\nReply-Text: 7\n",
        b"Reply-Text: 7\nOther: 8\n",
    ],
)
def test_a_variable_that_is_sent_raw_ends_the_session(switch, raw):
    """A value that begins with ~ goes out raw after the Content-Type line and without an end, so
    that it swallows the next answer: it must not pass for a value."""
    said = b"Content-Type: command/reply\n" + raw + reply("+OK next")
    switch.sock.sendall(said)
    error = outcome(
        lambda: switch.session.exchange([getvar_command("evil"), execute_command("answer")])
    )
    assert isinstance(error, ConnectionLost)
    assert "headers of its own" in error.reason


# Ends of calls.


def test_the_disconnect_notice_is_callergone_at_once(switch):
    """While a command waits, the notice ends it; the socket is closed; the next one raises too."""
    switch.sock.sendall(NOTICE)
    for _ in range(2):
        error = outcome(lambda: switch.session.execute("playback", "x.wav"))
        assert type(error) is CallerGone
    assert switch.session.sock.closed


def test_a_lingering_notice_is_callergone_too(switch):
    """Content-Disposition: linger means that the caller has gone; nothing follows in sync mode."""
    error = outcome(lambda: switch.answers_to(LINGER, lambda s: s.execute("answer")))
    assert type(error) is CallerGone
    assert switch.session.sock.closed


@pytest.mark.parametrize("position", [0, 1, 2])
def test_the_notice_between_pipelined_answers_ends_the_exchange(switch, position):
    """Fewer answers than commands, then the notice: CallerGone, wherever it comes."""
    said = reply() * position + NOTICE
    switch.sock.sendall(said)
    commands = [getvar_command("a")] * 3
    assert type(outcome(lambda: switch.session.exchange(commands))) is CallerGone


def test_answers_before_the_notice_count(switch):
    """What was answered before the hangup is given; the hangup is told by the next command."""
    answers = switch.answers_to(
        reply("1") + NOTICE, lambda s: s.exchange([getvar_command("choice")])
    )
    assert answers[0].text == "1"
    assert switch.session.sock.closed
    assert type(outcome(lambda: switch.session.getvar("choice"))) is CallerGone
    assert type(outcome(switch.session.raise_if_disconnected)) is CallerGone


def test_a_hangup_of_our_own_is_answered(switch):
    """hangup returns with the switch's agreement; what follows is CallerGone."""
    switch.answers_to(reply() + NOTICE, lambda session: session.hangup())
    assert switch.heard(1) == ["hangup NORMAL_CLEARING"]
    assert type(outcome(lambda: switch.session.wait(1))) is CallerGone


def test_waiting_notices_the_hangup_at_once(switch):
    """wait() ends with the notice, long before its time; without one it just returns."""
    switch.session.wait(0.01)
    gevent.spawn(switch.sock.sendall, NOTICE)
    started = time.monotonic()
    assert type(outcome(lambda: switch.session.wait(30))) is CallerGone
    assert time.monotonic() - started < 5


def test_end_of_stream_without_notice_tells_what_became_of_the_commands(switch):
    """ConnectionLost is a CallerGone; its stage is unconfirmed, not_sent afterwards."""
    switch.sock.sendall(reply())
    switch.sock.shutdown(gevent.socket.SHUT_WR)
    commands = [execute_command("answer"), execute_command("playback", "x.wav")]
    error = outcome(lambda: switch.session.exchange(commands))
    assert isinstance(error, ConnectionLost)
    assert isinstance(error, CallerGone)
    assert (error.stage, error.answered) == ("unconfirmed", 1)
    again = outcome(lambda: switch.session.exchange(commands))
    assert isinstance(again, ConnectionLost)
    assert again.stage == "not_sent"
    assert switch.session.sock.closed


def test_end_of_stream_while_waiting_is_accepted(switch):
    """Nothing was outstanding: the loss harms no command."""
    gevent.spawn(switch.sock.close)
    error = outcome(lambda: switch.session.wait(30))
    assert isinstance(error, ConnectionLost)
    assert error.stage == "accepted"


def test_a_send_that_fails_is_not_sent(switch):
    """The switch had closed before the command: no byte of it was taken."""
    switch.sock.close()
    error = outcome(lambda: switch.session.execute("answer"))
    assert isinstance(error, ConnectionLost)
    assert error.stage == "not_sent"


def test_a_send_that_fails_after_the_notice_is_callergone(switch):
    """The caller hung up while the conversation was thinking: the notice lies unread."""
    switch.sock.sendall(NOTICE)
    switch.sock.close()
    assert type(outcome(lambda: switch.session.execute("answer"))) is CallerGone


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_end_of_stream_inside_a_frame_spins_on_nothing(switch, cut):
    """A connection that ends inside headers or body is lost at once."""
    broken = b"Content-Length: 40\nContent-Type: text/event-plain\n\nhalf of it"
    switch.sock.sendall(broken[:cut])
    switch.sock.close()
    with gevent.Timeout(5):
        error = outcome(lambda: switch.session.wait(30))
    assert isinstance(error, ConnectionLost)
    assert "ended inside" in error.reason


def test_no_answer_in_time_is_our_own_exception(switch):
    """ReplyTimeout is an Exception, names the limit, closes the socket: a late answer would
    belong to nothing."""
    switch.sock.sendall(reply())
    error = outcome(lambda: switch.session.exchange([getvar_command("a")] * 2, 0.05))
    assert isinstance(error, ReplyTimeout)
    assert (error.seconds, error.answered) == (0.05, 1)
    assert switch.session.sock.closed
    assert isinstance(outcome(lambda: switch.session.execute("answer")), ConnectionLost)


def test_a_peer_that_does_not_read_is_a_timeout():
    """Sending has a limit, too: a switch that takes no bytes holds no greenlet for ever."""
    switch = Switch(connect_timeout_s=0.2).connected()
    error = outcome(lambda: switch.session.execute("playback", "x" * 8_000_000))
    assert isinstance(error, ReplyTimeout)
    assert switch.session.sock.closed


def test_closing_wakes_the_greenlet_that_waits(switch):
    """A close from outside (a stopping worker) ends the exchange at once and leaves no watcher."""
    waiting = gevent.spawn(lambda: outcome(lambda: switch.session.execute("playback", "x.wav")))
    switch.heard(1)
    switch.session.close()
    error = waiting.get(timeout=5)
    assert isinstance(error, ConnectionLost)
    assert error.stage == "unconfirmed"
    switch.session.close()


def test_a_kill_or_foreign_timeout_closes_the_session(switch):
    """Whatever breaks off an exchange leaves an answer outstanding: the session must not go on."""
    waiting = gevent.spawn(switch.session.execute, "playback", "x.wav")
    switch.heard(1)
    waiting.kill()
    assert switch.session.sock.closed
    other = Switch().connected()
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        other.session.execute("playback", "x.wav")
    assert other.session.sock.closed


def test_two_greenlets_cannot_mix_their_answers(switch):
    """A second user is refused, and the first one's answer arrives."""
    first = gevent.spawn(switch.session.getvar, "a")
    switch.heard(1)
    with pytest.raises(RuntimeError, match="another greenlet"):
        switch.session.getvar("b")
    switch.sock.sendall(reply("1"))
    assert first.get(timeout=5) == "1"


def test_an_answer_that_nobody_asked_for_loses_the_connection(switch):
    """Else every later answer would be taken for its predecessor's."""
    switch.sock.sendall(reply("1") + reply("2"))
    error = outcome(lambda: switch.session.getvar("a"))
    assert isinstance(error, ConnectionLost)
    assert "more answers" in error.reason
    other = Switch().connected()
    other.sock.sendall(reply("1"))
    assert isinstance(outcome(lambda: other.session.wait(5)), ConnectionLost)


FRAMES = st.lists(
    st.sampled_from(
        [
            reply(),
            reply("-ERR command not found"),
            NOTICE,
            LINGER,
            event(Event__Name="DTMF"),
            b"Content-Type: text/event-json\nContent-Length: 2\n\n{}",
            b"Content-Type: text/event-json\nContent-Length: 1\n\n{",
            b"Content-Type: log/data\nContent-Length: 1\n\nx",
            b"Content-Type: text/rude-rejection\nContent-Length: 1\n\nx",
            b"Content-Length: x\n\n",
            b"\n",
            b"\xff\xfe",
            CONNECT_ANSWER,
        ]
    ),
    max_size=6,
).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(st.one_of(FRAMES, st.binary(max_size=100)))
def test_any_peer_gives_answers_or_one_of_our_exceptions(data):
    """Fuzz: after any bytes an exchange gives its two answers or raises CallerGone (then the
    socket is closed); nothing else comes out, and nothing hangs."""
    switch = Switch().connected()
    switch.sock.sendall(data)
    switch.sock.shutdown(gevent.socket.SHUT_WR)
    try:
        with gevent.Timeout(5):
            replies = switch.session.exchange([getvar_command("a")] * 2)
    except CallerGone:
        assert switch.session.sock.closed
    else:
        assert len(replies) == 2
    finally:
        switch.session.close()
        switch.sock.close()


# Arguments.


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b", "a\n\nsendmsg", "\ud800"])
def test_an_argument_cannot_become_a_command(bad):
    """Line breaks, NUL and what is no text are refused, and the argument is named."""
    with pytest.raises(ValueError, match="arg "):
        execute_command("playback", bad)
    with pytest.raises(ValueError, match="app "):
        execute_command(bad)
    with pytest.raises(ValueError, match="variable name"):
        getvar_command(bad)
    with pytest.raises(ValueError, match="state"):
        setvars_command(UUID, {"state": bad})
    with pytest.raises(ValueError, match="variable name"):
        setvars_command(UUID, {bad: "1"})


@pytest.mark.parametrize("bad", [None, 5, b"x"])
def test_what_is_no_text_is_no_argument(bad):
    """None never becomes the word "None"."""
    with pytest.raises(ValueError, match="arg must be text"):
        execute_command("playback", bad)
    with pytest.raises(ValueError, match="app must be text"):
        execute_command(bad)
    with pytest.raises(ValueError, match="state must be text"):
        setvars_command(UUID, {"state": bad})


CHANGED = [
    *("${uuid}", "$${domain}", "a${system(rm)}", "a\tb", "\x1b[0m", "a\u2028b", "a\x85b"),
    *("a|b", "it's", "a\\nb", "\\${x}", " x1", "x1 ", "a\nb", "\ud800", "~x: y"),
]


@pytest.mark.parametrize("value", CHANGED)
def test_text_that_the_switch_would_change_is_no_value(value):
    """Whatever would be expanded, split, unquoted or cut is refused; the value is not quoted."""
    with pytest.raises(ValueError, match=r"^place ") as caught:
        safe_variable_value(value, "place")
    assert value not in str(caught.value)
    with pytest.raises(ValueError, match=r"^place "):
        setvars_command(UUID, {"place": value})


@pytest.mark.parametrize(
    "value", ["", "menu", '{"tries":2,"a":[1,"b"]}', "سلام", "5$", "a=b;c,d", "^^;", "%0A"]
)
def test_text_that_the_switch_keeps_passes(value):
    """JSON, Persian, signs without meaning at the delimiter: unchanged. Empty unsets."""
    assert safe_variable_value(value) == value
    command = setvars_command(UUID, {"a": value, "b": "2"}).decode()
    assert command == f"api uuid_setvar_multi {UUID} ^^|a={value}|b=2\n\n"


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.text(), min_size=1))
def test_variables_are_split_back_into_what_was_set(variables):
    """Any variables that are taken come apart at the delimiter into exactly themselves."""
    try:
        command = setvars_command(UUID, variables)
    except ValueError:
        return
    assert command.count(b"\n\n") == 1
    argument = command.decode().removesuffix("\n\n").split(f"{UUID} ^^|", 1)[1]
    assert dict(piece.split("=", 1) for piece in argument.split("|")) == variables


def test_variables_at_once_have_a_limit():
    """FreeSWITCH splits into 64 pieces at most; the last one's value would hold the rest."""
    with pytest.raises(ValueError, match="1 to 60"):
        setvars_command(UUID, {})
    with pytest.raises(ValueError, match="1 to 60"):
        setvars_command(UUID, {f"v{n}": "1" for n in range(61)})


@pytest.mark.parametrize("bad", ["", "a b", "a\nb", "x" * 129])
def test_variables_are_set_on_one_call(bad):
    """A blank in the call's id would make its rest a variable; a line break, a command."""
    with pytest.raises(ValueError, match="id of a call"):
        setvars_command(bad, {"a": "1"})


@pytest.mark.parametrize("bad", [None, "", " ", "a b", "a\u3000b", "a\n"])
def test_positional_arguments_have_no_empty_place(bad):
    """An empty place collapses on the switch and shifts the next ones: refused by its name."""
    assert positional(first=1, second="#") == "1 #"
    with pytest.raises(ValueError, match="second"):
        positional(first=1, second=bad)


# The surface of greenswitch.

KEPT = {"while_connected", "__init__"}


def test_every_method_of_greenswitch_is_decided_on():
    """No method of OutboundSession reaches the stock reader, parser or waiters by inheritance:
    each is replaced or closed off, but for those that only use replaced ones."""
    for base in (ESLProtocol, OutboundSession):
        for name, member in vars(base).items():
            if callable(member) or isinstance(member, property):
                assert name in vars(Session) or name in KEPT, name
    assert isinstance(Switch().session, OutboundSession)


@pytest.mark.parametrize(
    "name",
    [
        "start_event_handlers",
        "receive_events",
        "process_events",
        "handle_event",
        "_read_socket",
        "_safe_exec_handler",
        "register_handle",
        "unregister_handle",
        "on_hangup",
        "on_disconnect",
        "register_expected_event",
        "myevents",
        "park",
        "uuid_break",
    ],
)
def test_closed_off_methods_say_so(switch, name):
    """Calling one is an error with a reason, and sends nothing."""
    with pytest.raises(ClosedOff, match="sync session"):
        getattr(switch.session, name)("x")


def test_the_kept_surface_works_in_sync_mode(switch):
    """answer, playback, play_and_get_digits, say, bridge, linger, call_command: one exchange
    each, completion is the answer."""
    session = switch.session
    assert switch.answers_to(reply(), lambda s: s.answer()) == "+OK"
    switch.answers_to(reply(), lambda s: s.playback("a.wav"))
    digits = switch.answers_to(
        reply() * 2 + reply("12"),
        lambda s: s.play_and_get_digits(
            1, 4, 2, 3000, "#", "menu.wav", "thanks.wav", "choice", "\\d+", 2000
        ),
    )
    assert digits == "12"
    switch.answers_to(reply(), lambda s: s.say("en", text="1250"))
    switch.answers_to(reply(), lambda s: s.bridge("loopback/3002/public"))
    switch.answers_to(reply(), lambda s: s.linger(5))
    switch.answers_to(reply(), lambda s: s.call_command("sleep", "10", block=True))
    with session.while_connected():
        pass
    assert switch.heard(9) == [
        "answer",
        "playback a.wav",
        "unset choice",
        "play_and_get_digits 1 4 2 3000 # menu.wav thanks.wav choice \\d+ 2000",
        "getvar choice",
        "say en NUMBER pronounced FEMININE 1250",
        "bridge loopback/3002/public",
        "linger 5",
        "sleep 10",
    ]
    assert session.caller_id_number == "02188776655"
    assert session.call_uuid == UUID
    session.stop()
    with pytest.raises(CallerGone), session.while_connected():
        pass


@pytest.mark.parametrize("bad", ["connect\n\nexit", "a\n", "a\rb", "a\0", None])
def test_send_takes_one_command(switch, bad):
    """greenswitch's send, too, cannot be made to send two."""
    with pytest.raises(ValueError, match="one command"):
        switch.session.send(bad)


def test_before_connect_there_is_no_call(switch):
    """uuid and number are empty, not an AttributeError, before the switch has told them."""
    session = Switch().session
    assert (session.uuid, session.caller_id_number, session.call_uuid) == ("", "", None)


# Figures.


def test_logs_and_reprs_show_no_number(switch, caplog):
    """What is shown of sessions, answers and channel data holds no number and no value."""
    caplog.set_level(logging.DEBUG)
    answer = switch.answers_to(reply("02188776655"), lambda s: s.exchange([getvar_command("a")]))
    shown = f"{answer} {switch.session.connect()!r}"
    assert "8776655" not in shown + caplog.text
    assert isinstance(switch.session.connect(), ChannelData)
    assert variable_of(answer[0]) == "02188776655"


COST = """
import sys, time
import gevent
from test_session import Switch, execute_command, getvar_command, setvars_command
from esl_peer import API_OK, CONNECT_ANSWER, NOTICE, UUID, reply

ASK = "1 1 1 5000 # file_string://fa/menu/pay.wav!fa/menu/sms.wav silence_stream://10 c \\\\d 2000"
STEP = API_OK + reply() + reply("1")


def call():
    switch = Switch()
    switch.answers_to(CONNECT_ANSWER, lambda session: session.connect())
    switch.answers_to(reply(), lambda session: session.execute("answer"))
    for number in range(5):
        place = {"cf_flow": "bill", "cf_state": f"menu{number}"}
        ask = execute_command("play_and_get_digits", ASK)
        commands = [setvars_command(UUID, place), ask, getvar_command("c")]
        switch.answers_to(STEP, lambda session: session.exchange(commands))
    switch.answers_to(reply() + NOTICE, lambda session: session.hangup())
    switch.sock.close()


for _ in range(100):
    call()
best = 9.0
for _ in range(5):
    started = time.process_time()
    for _ in range(200):
        call()
    best = min(best, (time.process_time() - started) / 200 * 1000)
print(best)
"""


def test_a_five_step_call_costs_little():
    """A call of five menu steps stays under 0.35 ms of CPU, the switch's side of this test (a
    third of it) included; the exact figure is the benchmark's."""
    path = ":".join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-c", COST],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert float(done.stdout) < 0.35
