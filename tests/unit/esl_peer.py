"""The switch's side of the event socket for tests: what it answers, and a peer that plays it."""

import socket
import time
from collections.abc import Callable
from typing import Any

import captures

from esl_worker.frames import CommandFrame, CommandReader

_RECORDED = next(r.data for r in captures.records("01") if r.direction == "<")
NOTICE = captures.records("01")[-1].data[-218:]
LINGER = b"Content-Type: text/disconnect-notice\n" + (
    b"Content-Disposition: linger\nLinger-Time: 5\nContent-Length: 0\n\n"
)
UUID = "cf43ed9d-f95a-4daa-93d2-14de65edab91"


# The answer to an api command that succeeded.
API_OK = b"Content-Type: api/response\nContent-Length: 4\n\n+OK\n"


def static(block: bytes) -> bytes:
    """A recorded answer to connect, as the switch gives it in sync mode."""
    changed = block.replace(b"Socket-Mode: async", b"Socket-Mode: static")
    assert changed != block
    return changed


ASYNC_ANSWER = _RECORDED
CONNECT_ANSWER = static(_RECORDED)


def reply(text: str = "+OK") -> bytes:
    """A command/reply frame."""
    return f"Content-Type: command/reply\nReply-Text: {text}\n\n".encode()


def event(**headers: str) -> bytes:
    """A text/event-plain frame; "__" in a name stands for "-"; values are encoded already."""
    block = "".join(f"{name.replace('__', '-')}: {value}\n" for name, value in headers.items())
    body = block.encode() + b"\n"
    return b"Content-Length: %d\nContent-Type: text/event-plain\n\n%b" % (len(body), body)


class Peer:
    """A switch that connects to a worker and is told by the test what to say.

    Blocking; with ``make_socket=gevent.socket.socket`` it waits beside a server in this process.
    """

    def __init__(
        self,
        port: int,
        *,
        receive_buffer: int = 0,
        max_header: int = 32_000_000,
        make_socket: Callable[[], Any] = socket.socket,
    ) -> None:
        self.sock = make_socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(10)
        self.sock.connect(("127.0.0.1", port))
        self.reader = CommandReader(max_header=max_header, max_body=max_header)
        self.commands: list[CommandFrame] = []
        self.ended = False

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()

    def command(self, timeout_s: float = 10.0) -> CommandFrame | None:
        """The next command; None when none comes in time or the worker has closed."""
        deadline = time.monotonic() + timeout_s
        while not self.commands and not self.ended:
            self.sock.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.sock.recv(1 << 16)
            except TimeoutError:
                return None
            except ConnectionResetError:
                data = b""
            self.ended = not data
            self.commands += self.reader.feed(data)
        return self.commands.pop(0) if self.commands else None

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def connected(self, answer: bytes = CONNECT_ANSWER) -> "Peer":
        """Take ``connect`` and answer it."""
        first = self.command()
        assert first is not None
        assert first.command == "connect"
        self.send(answer)
        return self

    def closed_by_worker(self, timeout_s: float = 10.0) -> bool:
        """Whether the worker closes the connection, without a further command."""
        return self.command(timeout_s) is None and self.ended
