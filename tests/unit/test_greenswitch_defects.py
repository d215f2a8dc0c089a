"""The twelve defects of greenswitch 0.0.19 (docs/event-socket.md) do not reach us.

Each test plays one scripted switch to the same application twice: on stock greenswitch, where it
must show the defect (so that the test documents it, and tells when an update has mended it), and
on our session and server, where it must not. The application runs in a process of its own, because
some defects freeze it.
"""

import contextlib
import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import captures
import pytest
from esl_peer import ASYNC_ANSWER, CONNECT_ANSWER, Peer, event, reply, static

BOTH = pytest.mark.parametrize("kind", ["stock", "ours"])
MENU = b"1 4 2 3000 # menu.wav"


class Application:
    """defect_application.py in a process; what it reports, line by line."""

    def __init__(self, kind: str, scenario: str) -> None:
        self.kind = kind
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        script = Path(__file__).with_name("defect_application.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), kind, scenario, str(self.port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": ":".join(entry for entry in sys.path if entry)},
        )
        self.lines: list[bytes] = []
        self.rest = b""
        assert self.report(30) == {"ready": True}

    def report(self, timeout_s: float = 10.0, *, ticks: bool = False) -> dict[str, Any] | None:
        """The next report, None when none comes in time. Ticks are passed over unless wanted."""
        deadline = time.monotonic() + timeout_s
        assert self.process.stdout is not None
        while True:
            while self.lines:
                found = json.loads(self.lines.pop(0))
                if ticks == ("tick" in found):
                    return found
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                return None
            *self.lines, self.rest = (self.rest + self.process.stdout.read1()).split(b"\n")

    def peer(self, **options: Any) -> Peer:
        """A switch that connects to the application."""
        return Peer(self.port, **options)

    def called(self, **options: Any) -> Peer:
        """A switch whose call is connected, in the mode that the side under test speaks."""
        return self.peer(**options).connected(self.answer)

    @property
    def answer(self) -> bytes:
        """What the switch answers to connect."""
        return ASYNC_ANSWER if self.kind == "stock" else CONNECT_ANSWER

    @property
    def accepted(self) -> bytes:
        """What the switch says when it takes a command: async at once, sync nothing yet."""
        return reply() if self.kind == "stock" else b""


@contextlib.contextmanager
def application(kind: str, scenario: str) -> Iterator[Application]:
    started = Application(kind, scenario)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.wait()
        assert started.process.stdout is not None
        started.process.stdout.close()


@BOTH
def test_01_eof_inside_a_body_does_not_freeze_the_process(kind):
    """A socket that drops inside a body: stock spins without yielding, no other greenlet of the
    process runs any more. Ours loses that call and ticks on."""
    with application(kind, "answer") as app:
        with app.called() as peer:
            assert peer.command() is not None
            peer.send(b"Content-Length: 100\nContent-Type: text/event-plain\n\nhalf")
        if kind == "ours":
            assert app.report()["ended"] == "ConnectionLost"
        else:
            # Ticks written before the loss may still be in the pipe; then silence.
            deadline = time.monotonic() + 10
            while app.report(1.0, ticks=True) is not None:
                assert time.monotonic() < deadline, "stock greenswitch does not freeze any more"
            return
        app.lines.clear()
        for _ in range(3):
            assert app.report(ticks=True) is not None


@BOTH
def test_02_a_display_name_forges_no_headers(kind):
    """Capture 11, recorded end to end: the caller's display name holds the text %0A. Stock
    unquotes before it splits and reads the caller's own variable_owner_verified."""
    answer = next(r.data for r in captures.records("11") if r.direction == "<")
    with application(kind, "headers") as app, app.peer() as peer:
        peer.connected(answer if kind == "stock" else static(answer))
        seen = app.report()["headers"]
    assert seen["Unique-ID"] == "47ef5876-e259-45fd-810f-900927538f78"
    if kind == "stock":
        assert seen["variable_owner_verified"] == "true"
    else:
        assert seen["variable_owner_verified"] is None
        assert seen["Caller-Caller-ID-Name"].startswith("Eve\nvariable_owner_verified: true")


@BOTH
def test_03_headers_of_a_body_stay_in_the_body(kind):
    """An event whose own Content-Type is that of a disconnect notice (a caller may send such a
    SIP MESSAGE): stock merges it into the frame and ends a living call."""
    with application(kind, "answer") as app, app.called() as peer:
        assert peer.command().headers["execute-app-name"] == "answer"
        peer.send(event(Event__Name="MESSAGE", Content__Type="text/disconnect-notice"))
        if kind == "stock":
            assert app.report()["ended"] == "OutboundSessionHasGoneAway"
        else:
            assert app.report(0.2) is None
            peer.send(reply())
            assert app.report()["ended"] == "returned"


@BOTH
def test_04_a_newline_in_an_argument_is_no_second_command(kind):
    """An argument with an empty line and a hangup in it: stock sends both commands."""
    with application(kind, "inject") as app, app.called() as peer:
        first = peer.command()
        if kind == "stock":
            assert first.headers["execute-app-name"] == "playback"
            assert peer.command().headers["execute-app-name"] == "hangup"
        else:
            assert app.report()["ended"] == "ValueError"
            assert first is None
            assert peer.ended


@BOTH
def test_05_eof_without_notice_wakes_who_waits_and_frees_the_place(kind):
    """The switch vanishes during a prompt; the server takes one call at a time. Stock's waiter
    waits for ever, its place stays taken, and the next call is refused."""
    with application(kind, "playback") as app:
        with app.called() as peer:
            assert peer.command().headers["execute-app-name"] == "playback"
            peer.send(app.accepted)
        if kind == "stock":
            assert app.report(1.0) is None
        else:
            assert app.report()["ended"] == "ConnectionLost"
        with app.called() as peer:
            following = peer.command()
            if kind == "stock":
                assert following.command == "exit"
            else:
                assert following.headers["execute-app-name"] == "playback"


@BOTH
def test_06_completion_is_not_matched_by_the_applications_name(kind):
    """The completion of an earlier playback arrives while another one plays: stock takes it for
    its own and goes on talking."""
    earlier = event(
        Event__Name="CHANNEL_EXECUTE_COMPLETE",
        variable_current_application="playback",
        Application__Data="earlier.wav",
        Application__UUID="another",
    )
    with application(kind, "playback") as app, app.called() as peer:
        assert peer.command().headers["execute-app-arg"] == "one.wav"
        peer.send(app.accepted + earlier)
        if kind == "stock":
            assert app.report()["ended"] == "returned"
        else:
            assert app.report(0.2) is None
            peer.send(reply())
            assert app.report()["ended"] == "returned"


@BOTH
def test_07_a_timeout_is_an_exception_and_leaves_no_waiter(kind):
    """A command with a limit of 0.2 s that never completes: stock raises gevent.Timeout, which
    passes every `except Exception`, and leaves its waiter behind."""
    with application(kind, "limited") as app, app.called() as peer:
        assert peer.command() is not None
        peer.send(app.accepted)
        seen = app.report()
    assert seen["is_gevent_timeout"] is (kind == "stock")
    assert seen["is_exception"] is (kind == "ours")
    assert seen["waiters_left"] == (1 if kind == "stock" else 0)
    assert seen["ended"] == ("Timeout" if kind == "stock" else "ReplyTimeout")


@BOTH
def test_07_send_has_a_limit(kind):
    """A command that is never answered (our limit here: 0.5 s): stock waits for ever."""
    with application(kind, "send") as app, app.called() as peer:
        assert peer.command().command == "linger"
        seen = app.report(1.5)
    if kind == "stock":
        assert seen is None
    else:
        assert seen["ended"] == "ReplyTimeout"


@BOTH
def test_08_a_long_command_is_sent_whole(kind):
    """Twenty MB, more than the socket buffers hold, to a switch that reads slowly: stock's
    sock.send gives the kernel a part and forgets the rest."""
    with application(kind, "long") as app, app.called(receive_buffer=4096) as peer:
        if kind == "stock":
            # Who reads at once on another core may take all of it within the one send.
            time.sleep(0.5)
        long = peer.command(timeout_s=2.0 if kind == "stock" else 30.0)
        if kind == "stock":
            assert long is None
            assert not peer.ended
        else:
            assert len(long.body) == 20_000_000
            peer.send(reply())
            assert app.report()["ended"] == "returned"


@BOTH
@pytest.mark.parametrize("said", [b"Content-Type: command/reply\nReply-Text: \xff\n\n", b"\n"])
def test_09_bad_utf8_and_stray_blank_lines_are_survived(kind, said):
    """Either ends stock's reader without a word: the command waits for ever."""
    with application(kind, "answer") as app, app.called() as peer:
        assert peer.command() is not None
        peer.send(said if len(said) > 1 else said + reply())
        if kind == "stock":
            assert app.report(1.0) is None
        else:
            assert app.report()["ended"] == "returned"


@BOTH
def test_10_a_call_is_set_up_without_polling(kind):
    """From connection to `connect`: stock's accept loop sleeps 100 ms at a time, ours adds less
    than 2 ms."""
    seconds = []
    with application(kind, "park") as app:
        for _ in range(10):
            started = time.monotonic()
            with app.peer() as peer:
                assert peer.command().command == "connect"
            seconds.append(time.monotonic() - started)
    if kind == "stock":
        assert max(seconds) > 0.02
    else:
        assert min(seconds) < 0.002
        assert sorted(seconds)[5] < 0.02


@BOTH
def test_10_the_server_survives_a_lack_of_file_descriptors(kind):
    """The process may hold 40 descriptors and 60 calls come: stock's accept loop dies and no call
    is ever taken again. Ours closes what it cannot take and serves again when there is room."""
    with application(kind, "scarce") as app:
        peers = [app.peer() for _ in range(60)]
        patience_s = 2.0 if kind == "stock" else 5.0
        served = []
        for peer in peers:
            if peer.command(patience_s):
                served.append(peer)
            elif kind == "stock":
                patience_s = 0.05  # its loop has died, no later one is taken either
        assert 10 < len(served) < 40
        if kind == "ours":
            assert all(peer.ended for peer in peers if peer not in served)
        for peer in peers:
            peer.sock.close()
        deadline = time.monotonic() + (1.0 if kind == "stock" else 10.0)
        found = None
        while found is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), app.peer() as peer:
                found = peer.command(0.5)
        assert (found is None) is (kind == "stock")


@BOTH
def test_10_a_switch_that_never_answers_connect_is_let_go(kind):
    """Our limit here is 1 s; stock keeps connection and greenlets for ever."""
    with application(kind, "park") as app, app.peer() as peer:
        assert peer.command().command == "connect"
        assert peer.closed_by_worker(2.0) is (kind == "ours")


@BOTH
def test_11_none_is_not_a_word(kind):
    """A missing argument: stock sends the word None in its place, and the switch obeys."""
    with application(kind, "none") as app, app.called() as peer:
        command = peer.command()
        if kind == "stock":
            assert "menu.wav None choice None None None" in command.headers["execute-app-arg"]
        else:
            assert app.report()["ended"] == "ValueError"
            assert command is None


@BOTH
def test_12_a_waiting_call_takes_little_memory(kind):
    """300 calls that wait in a prompt: stock holds over 40 KiB for each (two greenlets, a parsed
    event, queues), ours at most 25."""
    peers: list[Peer] = []
    resident = []
    try:
        with application(kind, "park") as app:
            for _ in range(4):
                # All connect before the first is answered: stock takes 100 ms for each turn.
                hundred = [app.peer() for _ in range(100)]
                for peer in hundred:
                    peer.connected(app.answer)
                peers += hundred
                resident.append(app.report(30)["resident_kib"])
    finally:
        for peer in peers:
            peer.sock.close()
    each = (resident[-1] - resident[0]) / 300
    if kind == "stock":
        assert each > 40
    else:
        assert each <= 25
