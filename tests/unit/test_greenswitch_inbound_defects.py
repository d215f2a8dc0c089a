"""Greenswitch 0.0.19's defects on the inbound side (docs/event-socket.md) do not reach us.

As in test_greenswitch_defects: one scripted switch, the same application on stock greenswitch,
which must show the defect, and on our connection, which must not. Of the twelve, completion by
application name (6), the accept loop (10) and memory for each call (12) have no inbound side.
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

import pytest

from esl_worker.frames import CommandReader

BOTH = pytest.mark.parametrize("kind", ["stock", "ours"])
AUTH = b"Content-Type: auth/request\n\n"


def reply(text: str = "+OK") -> bytes:
    return f"Content-Type: command/reply\nReply-Text: {text}\n\n".encode()


def event(block: str) -> bytes:
    return f"Content-Length: {len(block)}\nContent-Type: text/event-plain\n\n{block}".encode()


def response(text: str) -> bytes:
    return f"Content-Type: api/response\nContent-Length: {len(text)}\n\n{text}".encode()


class Application:
    """inbound_defect_application.py in a process, and the switch's end of its connection."""

    def __init__(self, kind: str, scenario: str) -> None:
        self.kind = kind
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(30)
        script = Path(__file__).with_name("inbound_defect_application.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), kind, scenario, str(self.server.getsockname()[1])],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": ":".join(entry for entry in sys.path if entry)},
        )
        self.lines: list[bytes] = []
        self.rest = b""
        self.reader = CommandReader(max_header=32_000_000)
        self.sock: socket.socket | None = None
        assert self.report(30) == {"ready": True}

    def accept(self) -> "Application":
        self.sock, _ = self.server.accept()
        return self

    def welcomed(self) -> "Application":
        """Accepted, and logged in."""
        self.accept().send(AUTH)
        assert self.command() == "auth ClueCon"
        self.send(reply("+OK accepted"))
        assert self.report() == {"connected": True}
        return self

    def send(self, data: bytes) -> None:
        assert self.sock is not None
        self.sock.sendall(data)

    def command(self, timeout_s: float = 10.0) -> str | None:
        """The next command's first line, None when none comes in time."""
        assert self.sock is not None
        until = time.monotonic() + timeout_s
        while True:
            self.sock.settimeout(max(0.001, until - time.monotonic()))
            try:
                data = self.sock.recv(1 << 16)
            except (TimeoutError, ConnectionResetError):
                return None
            if not data:
                return None
            if commands := self.reader.feed(data):
                return commands[0].command

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
        started.server.close()
        if started.sock is not None:
            started.sock.close()


@BOTH
def test_01_eof_inside_a_body_does_not_freeze_the_process(kind):
    """The switch dies inside an api's answer: stock spins, no other greenlet runs any more."""
    with application(kind, "send") as app:
        app.welcomed()
        assert app.command() == "api status"
        app.send(b"Content-Type: api/response\nContent-Length: 100\n\nhalf")
        app.sock.close()
        if kind == "ours":
            assert app.report() == {"ended": "ControlLost"}
            app.lines.clear()
            for _ in range(3):
                assert app.report(ticks=True) is not None
        else:
            # Ticks written before the loss may still be in the pipe; then silence.
            deadline = time.monotonic() + 10
            while app.report(1.0, ticks=True) is not None:
                assert time.monotonic() < deadline, "stock greenswitch does not freeze any more"


@BOTH
def test_02_a_display_name_forges_no_headers(kind):
    """An event whose caller name holds %0AUnique-ID: stock reads the caller's own id."""
    with application(kind, "send") as app:
        app.welcomed().command()
        app.send(
            event("Event-Name: CHANNEL_ANSWER\nUnique-ID: real\nName: Eve%0AUnique-ID: forged\n\n")
        )
        seen = app.report()["event"]["Unique-ID"]
    assert seen == ("forged" if kind == "stock" else "real")


@BOTH
def test_03_headers_of_a_body_stay_in_the_body(kind):
    """An event that carries a Content-Type: stock takes it for the end of the connection."""
    with application(kind, "send") as app:
        app.welcomed().command()
        app.send(event("Event-Name: MESSAGE\nContent-Type: text/disconnect-notice\n\n"))
        handled = app.report()["event"]
        assert handled["Event-Name"] == "MESSAGE"
        if kind == "ours":
            app.send(response("UP"))
            assert app.report() == {"ended": "returned"}


@BOTH
def test_04_a_newline_is_no_second_command(kind):
    """`api hupall` behind an empty line: stock sends it and hangs all calls up."""
    with application(kind, "inject") as app:
        app.welcomed()
        if kind == "stock":
            assert app.command() == "api status"
        else:
            assert app.report() == {"ended": "ValueError"}
            assert app.command(0.2) is None


@BOTH
def test_05_eof_wakes_who_waits(kind):
    """The connection ends without a notice: stock's waiter waits for ever."""
    with application(kind, "send") as app:
        app.welcomed().command()
        app.sock.close()
        assert app.report(1.5) == (None if kind == "stock" else {"ended": "ControlLost"})


@BOTH
def test_05_eof_before_the_greeting_is_noticed(kind):
    """A balancer that accepts and closes: stock's connect waits for ever."""
    with application(kind, "connect") as app:
        app.accept().sock.close()
        assert app.report(1.5) == (None if kind == "stock" else {"ended": "NotConnected"})


@BOTH
def test_07_a_command_and_a_login_have_limits(kind):
    """Nothing is answered (our limits here: 0.5 s and 1 s): stock waits for ever."""
    with application(kind, "send") as app:
        app.welcomed().command()
        assert app.report(1.5) == (None if kind == "stock" else {"ended": "NoReply"})
    with application(kind, "connect") as app:
        app.accept()
        assert app.report(2.0) == (None if kind == "stock" else {"ended": "NotConnected"})


@BOTH
def test_08_a_long_command_is_sent_whole(kind):
    """Twenty MB to a switch that reads slowly: stock's sock.send forgets the rest."""
    with application(kind, "long") as app:
        app.welcomed()
        long = app.command(timeout_s=3.0 if kind == "stock" else 30.0)
        assert (long is None) is (kind == "stock")


@BOTH
@pytest.mark.parametrize("said", [b"Content-Type: command/reply\nReply-Text: \xff\n\n", b"\n"])
def test_09_bad_utf8_and_stray_blank_lines_are_survived(kind, said):
    """Either ends stock's reader without a word: the command waits for ever."""
    with application(kind, "send") as app:
        app.welcomed().command()
        app.send(said if len(said) > 1 else said + response("UP"))
        assert app.report(1.0) == (None if kind == "stock" else {"ended": "returned"})


@BOTH
def test_11_no_password_is_not_the_word_none(kind):
    """A configuration without a password: stock logs in with "None"."""
    with application(kind, "none") as app:
        if kind == "stock":
            app.accept().send(AUTH)
            assert app.command() == "auth None"
        else:
            assert app.report() == {"ended": "ValueError"}


@BOTH
def test_a_refused_login_leaves_nothing_behind(kind):
    """Not among the twelve: after `-ERR invalid` stock keeps its socket (and two greenlets), so
    each try again costs one more."""
    with application(kind, "refused") as app:
        app.accept().send(AUTH)
        assert app.command() == "auth wrong"
        app.send(reply("-ERR invalid"))
        assert app.report() == {"ended": "ValueError" if kind == "stock" else "Refused"}
        assert app.report() == {"open": kind == "stock"}
