"""The switch's end of a control connection for tests: a listener that says what the test says."""

from typing import Any

import gevent
from gevent import socket

from esl_worker.frames import CommandFrame, CommandReader

GOODBYE = b"Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"
NOTICE = b"Content-Type: text/disconnect-notice\nContent-Length: 67\n\n" + GOODBYE
REJECTION = b"Content-Type: text/rude-rejection\nContent-Length: 24\n\nAccess Denied, go away.\n"


def reply(text: str = "+OK") -> bytes:
    """A command/reply frame."""
    return f"Content-Type: command/reply\nReply-Text: {text}\n\n".encode()


def response(text: str) -> bytes:
    """An api/response frame."""
    raw = text.encode()
    return b"Content-Type: api/response\nContent-Length: %d\n\n%b" % (len(raw), raw)


def event(body: bytes = b"", **headers: str) -> bytes:
    """A text/event-plain frame; "__" in a name stands for "-"; values are encoded already."""
    block = "".join(f"{name.replace('__', '-')}: {value}\n" for name, value in headers.items())
    if body:
        block += f"Content-Length: {len(body)}\n"
    whole = block.encode() + b"\n" + body
    return b"Content-Length: %d\nContent-Type: text/event-plain\n\n%b" % (len(whole), whole)


class Line:
    """One accepted connection."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as the switch does
        self.reader = CommandReader()
        self.commands: list[CommandFrame] = []

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()

    def command(self, timeout_s: float = 5.0) -> CommandFrame | None:
        """The next command; None when the other side has closed. Fails when none comes."""
        self.sock.settimeout(timeout_s)
        while not self.commands:
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.commands += self.reader.feed(data)
        return self.commands.pop(0)

    def heard(self, count: int = 1) -> list[str]:
        """First lines of the next commands."""
        found = [self.command() for _ in range(count)]
        return [each.command for each in found if each is not None]

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def welcomed(self) -> "Line":
        """Ask for the password and accept it."""
        self.send(b"Content-Type: auth/request\n\n")
        assert self.heard() == ["auth ClueCon"]
        self.send(reply("+OK accepted"))
        return self

    def subscribed(self, core: str = "core-1") -> "Line":
        """Accept a Control's subscription and say which switch this is."""
        self.welcomed()
        first, second, third, fourth = self.heard(4)
        assert first.startswith("filter variable_callflows_control ")
        assert second.startswith("filter Job-UUID /^")
        assert third == "event plain BACKGROUND_JOB CHANNEL_ANSWER CHANNEL_HANGUP_COMPLETE"
        assert fourth == "api global_getvar core_uuid"
        self.send(reply("+OK filter added. [a]=[b]") * 2)
        self.send(reply("+OK event listener enabled plain") + response(core))
        return self

    def until(self, beginning: str) -> CommandFrame:
        """The next command that begins so; keep-alives before it are answered."""
        while True:
            found = self.command()
            assert found is not None, f"closed before {beginning}"
            if found.command.startswith(beginning):
                return found
            assert found.command == "api uptime", found.command
            self.send(response("1\n"))

    def alive(self) -> None:
        """Answer keep-alives in the background from now on."""
        gevent.spawn(self._answer_all)

    def _answer_all(self) -> None:
        try:
            while (found := self.command(60)) is not None:
                self.send(reply() if found.command.startswith("bgapi") else response("1\n"))
        except OSError:
            pass


class Listener:
    """Where control connections arrive."""

    def __init__(self, port: int = 0) -> None:
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("127.0.0.1", port))
        self.sock.listen(50)
        self.sock.settimeout(5)
        self.port = self.sock.getsockname()[1]
        self.lines: list[Line] = []

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()
        for each in self.lines:
            each.sock.close()

    def accept(self) -> Line:
        """The next connection; it lives as long as the listener."""
        self.lines.append(Line(self.sock.accept()[0]))
        return self.lines[-1]
