"""A bare application on the event socket, and a switch to call it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gevent import socket
from gevent.pool import Pool
from gevent.server import StreamServer

from esl_worker.switch import (
    Channel,
    Clock,
    Dialplan,
    ScriptedCaller,
    Switch,
    service_dialplan,
)

SPEED = 100.0


class Client:
    """Sends a command, reads the answer; `EOFError` when the switch has closed."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._file = sock.makefile("rb")

    def send(self, text: str) -> None:
        """Send a command without waiting for the answer."""
        self.sock.sendall(text.encode() + b"\n\n")

    def read(self) -> tuple[dict[str, str], bytes]:
        """The next frame: headers and body."""
        headers: dict[str, str] = {}
        while (line := self._file.readline()) != b"\n":
            if not line:
                raise EOFError
            name, _, value = line.decode().rstrip("\n").partition(": ")
            headers[name] = value
        return headers, self._file.read(int(headers.get("Content-Length", 0)))

    def command(self, text: str) -> str:
        """Send a command; the reply text or the body of the answer."""
        self.send(text)
        headers, body = self.read()
        return headers.get("Reply-Text") or body.decode()

    def execute(self, application: str, argument: str = "", more: str = "") -> str:
        """Run an application; returns when it has ended (in sync mode)."""
        return self.command(
            f"sendmsg\ncall-command: execute\nexecute-app-name: {application}\n"
            f"execute-app-arg: {argument}{more}"
        )

    def getvar(self, name: str) -> str:
        """A channel variable."""
        return self.command(f"getvar {name}")


class House:
    """Workers, and a switch whose public numbers lead to them.

    Args:
        sounds: the sounds directory.
        workers: what each worker does with a call, in the order of the host list.
        mode: the flags of the socket action.
        dialplan: made from the workers' addresses, if not the service's own.
    """

    def __init__(
        self,
        sounds: Path,
        *workers: Callable[[Client], None],
        mode: str = "full",
        dialplan: Callable[[list[str]], Dialplan] | None = None,
    ) -> None:
        self.failures: list[BaseException] = []
        self._working = Pool()
        self._servers = [
            StreamServer(("127.0.0.1", 0), self._serving(work), spawn=self._working)
            for work in workers
        ]
        for server in self._servers:
            server.start()
        addresses = [f"127.0.0.1:{server.server_port}" for server in self._servers]
        plan = dialplan(addresses) if dialplan else service_dialplan(addresses, mode=mode)
        self.switch = Switch(plan, sounds, Clock(SPEED))

    def _serving(self, work: Callable[[Client], None]) -> Callable[..., None]:
        def serve(sock: socket.socket, _: object) -> None:
            try:
                work(Client(sock))
            except (EOFError, OSError):
                pass  # the switch ended the call
            except BaseException as why:
                self.failures.append(why)
            finally:
                sock.close()

        return serve

    def call(
        self, keys: list[str] | None = None, *, barge: bool = False, **options: str
    ) -> tuple[Channel, ScriptedCaller]:
        """Place a call and wait for its end; raises what a worker's assertion raised."""
        caller = ScriptedCaller(keys or [], barge=barge)
        channel = self.switch.call("2000", "02188776655", caller=caller, **options)
        self.ended(channel)
        return channel, caller

    def ended(self, channel: Channel) -> None:
        """Wait for a call's end; raises what a worker's assertion raised."""
        over = channel.join(10)
        self._working.join(5)
        if self.failures:
            raise self.failures[0]
        assert over, "the call did not end"

    def close(self) -> None:
        """Stop the workers' servers."""
        for server in self._servers:
            server.stop()
