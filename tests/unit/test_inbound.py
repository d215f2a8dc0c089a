"""One control connection: logging in, answers in their order, every way it ends."""

import time

import gevent
import pytest
from greenswitch.esl import ESLProtocol, InboundESL
from inbound_peer import NOTICE, REJECTION, Listener, event, reply, response

from esl_worker.inbound import (
    ControlLost,
    InboundConnection,
    NoReply,
    NotConnected,
    Refused,
    api_command,
    bgapi_command,
)
from esl_worker.session import ClosedOff


@pytest.fixture
def listener():
    with Listener() as made:
        yield made


def dial(listener, password="ClueCon", **options):
    """A connection, and the greenlet that connects it."""
    options = {"timeout": 2.0, "reply_timeout_s": 2.0, **options}
    connection = InboundConnection("127.0.0.1", listener.port, password, **options)
    return connection, gevent.spawn(connection.connect)


@pytest.fixture
def pair(listener):
    """A connection that is logged in, and the switch's end of it."""
    ended, events = [], []
    connection, dialling = dial(listener, on_end=ended.append, on_event=events.append)
    line = listener.accept().welcomed()
    dialling.get()
    connection.ended, connection.events = ended, events
    yield connection, line
    connection.close()
    line.sock.close()


def failure(greenlet):
    """What a greenlet raised."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the tests look at the type
        greenlet.get(timeout=5)
    return caught.value


# Logging in.


def test_it_is_an_inbound_connection_of_greenswitch(pair):
    """Code that has an InboundESL finds its methods; those that read are closed off."""
    connection, line = pair
    assert isinstance(connection, InboundESL)
    assert connection.connected
    sending = gevent.spawn(connection.send, "api status")
    assert line.heard() == ["api status"]
    line.send(response("UP"))
    assert sending.get().data == "UP"
    for name in vars(ESLProtocol).keys() | {"authenticate"}:
        if name.startswith("__") or name in ("send", "stop"):
            continue
        with pytest.raises(ClosedOff):
            getattr(connection, name)()
    connection.stop()
    assert not connection.connected
    assert line.command() is None


def test_a_wrong_password_is_refused_clearly(listener):
    """`-ERR invalid` is Refused, and the socket is closed."""
    _, dialling = dial(listener, password="wrong")
    with listener.accept() as line:
        line.send(b"Content-Type: auth/request\n\n")
        assert line.heard() == ["auth wrong"]
        line.send(reply("-ERR invalid") + NOTICE)
        error = failure(dialling)
        assert isinstance(error, Refused)
        assert "password" in str(error)
        assert "wrong" not in str(error).replace("wrong password", "")
        assert line.command() is None


def test_an_acl_is_refused_clearly(listener):
    """A rude rejection (measured bytes) is Refused and names the ACL."""
    _, dialling = dial(listener)
    with listener.accept() as line:
        line.send(REJECTION + NOTICE)
        error = failure(dialling)
    assert isinstance(error, Refused)
    assert "apply-inbound-acl" in str(error)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"Content-Type: auth/",
        NOTICE,
        b"HTTP/1.1 400 Bad Request\n\n",
        b"Content-Type: command/reply\nContent-Length: x\n\n",
        b"\xff" * 70_000,
    ],
)
def test_a_peer_that_is_no_switch_is_no_connection(listener, said):
    """Whatever somebody says instead of auth/request ends in NotConnected, at once."""
    started = time.monotonic()
    _, dialling = dial(listener)
    with listener.accept() as line:
        line.send(said)
    assert isinstance(failure(dialling), NotConnected)
    assert time.monotonic() - started < 1.0


@pytest.mark.parametrize("greeted", [False, True])
def test_a_silent_peer_is_left_after_the_time_limit(listener, greeted):
    """No auth/request, or no answer to auth: NotConnected after `timeout`, never for ever."""
    connection, dialling = dial(listener, timeout=0.1)
    with listener.accept() as line:
        if greeted:
            line.send(b"Content-Type: auth/request\n\n")
        assert "within 0.1 s" in str(failure(dialling))
        assert not connection.connected


def test_nobody_listens():
    """A refused TCP connection is NotConnected."""
    with Listener() as gone:
        port = gone.port
    with pytest.raises(NotConnected, match="refused"):
        InboundConnection("127.0.0.1", port, "ClueCon").connect()


@pytest.mark.parametrize("password", [None, "", "a\nb", "a\r", "\0", "\ud800", 5])
def test_a_password_is_one_line_of_text(password):
    """None is not sent as the word "None", a line break begins no second command."""
    with pytest.raises(ValueError, match="password"):
        InboundConnection("127.0.0.1", 1, password)


# Commands.


def test_answers_belong_to_commands_by_their_order(pair):
    """Three greenlets speak at once; each gets its own answer, an api's body or a reply's text."""
    connection, line = pair
    asking = [gevent.spawn(connection.api, f"echo {number}") for number in range(3)]
    asked = line.heard(3)
    line.send(b"".join(response(each.removeprefix("api echo ")) for each in asked))
    assert [each.get() for each in asking] == ["0", "1", "2"]


def test_several_commands_are_one_write(pair):
    """An exchange returns when all its answers have come."""
    connection, line = pair
    asking = gevent.spawn(connection.exchange, [api_command("a"), api_command("b")])
    assert line.heard(2) == ["api a", "api b"]
    line.send(response("1"))
    gevent.sleep(0.01)
    assert not asking.ready()
    line.send(response("2"))
    assert [each.text for each in asking.get()] == ["1", "2"]
    assert connection.exchange([]) == []


def test_a_late_answer_is_not_taken_for_the_next_ones(pair):
    """NoReply leaves the place in the row: the answer that comes after all is dropped."""
    connection, line = pair
    with pytest.raises(NoReply) as caught:
        connection.api("slow", 0.02)
    assert caught.value.seconds == 0.02
    asking = gevent.spawn(connection.api, "quick")
    assert line.heard(2) == ["api slow", "api quick"]
    line.send(response("late") + response("in time"))
    assert asking.get() == "in time"


def test_a_killed_waiter_leaves_its_place(pair):
    """As with a time-out: greenlets are killed without harm to the others."""
    connection, line = pair
    asking = gevent.spawn(connection.api, "first")
    assert line.heard() == ["api first"]
    asking.kill()
    other = gevent.spawn(connection.api, "second")
    line.heard()
    line.send(response("1") + response("2"))
    assert other.get() == "2"


def test_bgapi_carries_our_job_id():
    """The job's id is a header of the command; it is refused where it could be cut."""
    assert bgapi_command("status", "j-1") == b"bgapi status\nJob-UUID: j-1\n\n"
    with pytest.raises(ValueError, match="job"):
        bgapi_command("status", "j" * 51)


@pytest.mark.parametrize("text", ["a\n\nexit", "a\rb", "a\0b", "", None, "\udcff"])
def test_a_command_is_one_line(text):
    """A line break would be a second command or a header."""
    for make in (api_command, lambda text: bgapi_command(text, "j")):
        with pytest.raises(ValueError, match="command"):
            make(text)
    with pytest.raises(ValueError, match="job"):
        bgapi_command("status", text)


def test_send_takes_the_lines_of_one_command(pair):
    """An empty line inside would be a second command."""
    connection, _ = pair
    for text in ("a\n\nb", "a\n", "a\r\n", "a\0"):
        with pytest.raises(ValueError, match="one command"):
            connection.send(text)


def test_posting_does_not_wait(pair):
    """`post` returns at once; the answer comes to the callback."""
    connection, line = pair
    told = []
    connection.post(bgapi_command("status", "j"), told.append)
    command = line.command()
    assert (command.command, command.headers["job-uuid"]) == ("bgapi status", "j")
    assert told == []
    line.send(b"Content-Type: command/reply\nReply-Text: +OK Job-UUID: j\nJob-UUID: j\n\n")
    gevent.sleep(0.02)
    assert [each.text for each in told] == ["+OK Job-UUID: j"]


# Events.


def test_events_are_split_before_they_are_decoded(pair):
    """A value with %0A makes no header; the body's headers are not those of the frame."""
    connection, line = pair
    line.send(
        event(
            Event__Name="CHANNEL_ANSWER",
            Content__Type="text/disconnect-notice",
            Caller__Caller__ID__Name="Eve%0AUnique-ID: forged",
        )
    )
    line.send(event(b"+OK\n", Event__Name="BACKGROUND_JOB", Job__UUID="j"))
    asking = gevent.spawn(connection.api, "x")
    line.heard()
    line.send(response("alive"))
    assert asking.get() == "alive"
    first, second = connection.events
    assert first.get("Unique-ID") is None
    assert first.get("Caller-Caller-ID-Name") == "Eve\nUnique-ID: forged"
    assert second.body == b"+OK\n"


def test_a_failing_callback_harms_nobody(pair, caplog):
    """What on_event raises is logged; the connection reads on."""
    connection, line = pair
    connection.on_event = lambda event: 1 / 0
    line.send(event(Event__Name="X"))
    asking = gevent.spawn(connection.api, "x")
    line.heard()
    line.send(response("alive"))
    assert asking.get() == "alive"
    assert "a callback failed" in caplog.text


def test_a_callback_must_not_wait_for_the_switch(pair):
    """It runs in the greenlet that reads: waiting there would never end, so it is an error."""
    connection, line = pair
    seen = []

    def waits(event):
        with pytest.raises(RuntimeError, match="spawn"):
            connection.api("x")
        seen.append(event)

    connection.on_event = waits
    line.send(event(Event__Name="X"))
    gevent.sleep(0.05)
    assert len(seen) == 1


@pytest.mark.parametrize(
    "said",
    [
        b"\n\n\n",
        b"Content-Type: command/reply\nReply-Text: \xff\n\n",
        b"Content-Type: log/data\nContent-Length: 2\nLog-Level: 7\n\nhi",
    ],
)
def test_stray_lines_bad_utf8_and_logs_are_survived(pair, said):
    """None of them ends the connection or shifts the answers."""
    connection, line = pair
    if b"reply" in said:
        asking = gevent.spawn(connection.send, "noop")
        line.heard()
        line.send(said)
        assert asking.get().text == "\ufffd"
    else:
        line.send(said)
    asking = gevent.spawn(connection.api, "x")
    line.heard()
    line.send(response("alive"))
    assert asking.get() == "alive"


# Endings.


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "without a notice"),
        (b"Content-Type: api/response\nContent-Length: 100\n\nhalf", "inside a body"),
        (b"Content-Type: api/resp", "inside a header block"),
        (NOTICE, "Disconnected, goodbye."),
        (response("1") + response("an answer without a command"), "without a command"),
        (b"Content-Type: nonsense\n\n", "unknown content type"),
        (b"Content-Type: api/response\nContent-Length: -1\n\n", "no number"),
        (b"Content-Type: text/event-json\nContent-Length: 1\n\n{", "no JSON"),
    ],
)
def test_every_ending_wakes_who_waits(pair, said, reason):
    """Two greenlets wait; the connection ends: both get ControlLost (unconfirmed), or the answer
    that came before it; on_end is told once; nothing can be sent any more."""
    connection, line = pair
    asking = [gevent.spawn(connection.api, "x") for _ in range(2)]
    line.heard(2)
    if reason == "without a command":
        line.send(response("1"))
    line.send(said)
    line.sock.close()
    for each in asking if reason != "without a command" else []:
        error = failure(each)
        assert isinstance(error, ControlLost)
        assert error.stage == "unconfirmed"
        assert reason in error.reason
    gevent.sleep(0.01)
    assert len(connection.ended) == 1
    assert reason in connection.end
    with pytest.raises(ControlLost) as caught:
        connection.api("y")
    assert caught.value.stage == "not_sent"


def test_closing_from_another_greenlet_wakes_who_waits(pair):
    """`close` with a reason; the reader ends, too."""
    connection, line = pair
    asking = gevent.spawn(connection.api, "x")
    line.heard()
    connection.close("because")
    assert failure(asking).reason == "because"
    connection._reading.join(1)
    assert connection._reading.ready()
    assert connection.ended == ["because"]


def test_a_peer_that_does_not_read_is_left(listener):
    """A command longer than all buffers to a switch that hangs: the connection ends when nothing
    could be sent for `reply_timeout_s`, and who waits is told."""
    connection, dialling = dial(listener, reply_timeout_s=0.3)
    line = listener.accept().welcomed()
    dialling.get()
    asking = gevent.spawn(connection.api, "x" * 20_000_000, 5.0)
    assert isinstance(failure(asking), ControlLost)
    assert "sending failed" in connection.end
    line.sock.close()


def test_a_long_command_is_sent_whole(pair):
    """Five MB, more than one send takes; a command of another greenlet waits its turn."""
    connection, line = pair
    long = gevent.spawn(connection.api, "x" * 5_000_000)
    other = gevent.spawn(connection.api, "short")
    line.reader = type(line.reader)(max_header=6_000_000)
    assert [len(each) for each in line.heard(2)] == [5_000_004, 9]
    line.send(response("1") + response("2"))
    assert (long.get(), other.get()) == ("1", "2")


def test_a_command_broken_off_ends_the_connection(listener):
    """A kill in the middle of sending: half a command must not be glued to the next one."""
    connection, dialling = dial(listener)
    line = listener.accept().welcomed()
    dialling.get()
    asking = gevent.spawn(connection.api, "x" * 20_000_000)
    gevent.sleep(0.05)
    asking.kill()
    assert connection.end == "a command was broken off"
    line.sock.close()


def test_a_connection_is_made_once(pair):
    """Who is lost stays lost; a new connection is a new object."""
    connection, _ = pair
    with pytest.raises(NotConnected):
        connection.connect()
    with pytest.raises(NotConnected, match="not connected yet"):
        InboundConnection("127.0.0.1", 1, "x").api("status")


def test_it_is_a_context_manager(listener):
    """As greenswitch's is."""

    def use():
        with InboundConnection("127.0.0.1", listener.port, "ClueCon") as connection:
            return connection.connected

    using = gevent.spawn(use)
    with listener.accept().welcomed() as line:
        assert using.get() is True
        assert line.command() is None
