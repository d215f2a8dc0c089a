"""The embedded switch in sync mode, spoken to over a real socket by a bare client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gevent import socket
from gevent.server import StreamServer

from esl_worker.switch import Channel, Clock, ScriptedCaller, Switch, service_dialplan


class Client:
    """An application on the event socket: sends a command, reads the answer."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._file = sock.makefile("rb")

    def send(self, text: str) -> None:
        self.sock.sendall(text.encode() + b"\n\n")

    def read(self) -> tuple[dict[str, str], bytes]:
        headers: dict[str, str] = {}
        while (line := self._file.readline()) != b"\n":
            if not line:
                raise EOFError
            name, _, value = line.decode().rstrip("\n").partition(": ")
            headers[name] = value
        return headers, self._file.read(int(headers.get("Content-Length", 0)))

    def command(self, text: str) -> str:
        self.send(text)
        headers, body = self.read()
        return headers.get("Reply-Text") or body.decode()

    def execute(self, application: str, argument: str = "", more: str = "") -> str:
        return self.command(
            f"sendmsg\ncall-command: execute\nexecute-app-name: {application}\n"
            f"execute-app-arg: {argument}{more}"
        )

    def getvar(self, name: str) -> str:
        return self.command(f"getvar {name}")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[..., tuple[Channel, Switch]]]:
    """place(worker, keys) → a finished call: the worker function had it on a sync socket."""
    servers = []

    def start(
        worker: Callable[[Client], None],
        keys: list[str] | None = None,
        *,
        barge: bool = False,
        caller: ScriptedCaller | None = None,
        **options: str,
    ) -> tuple[Channel, Switch]:
        failures: list[BaseException] = []

        def serve(sock: socket.socket, _: object) -> None:
            try:
                worker(Client(sock))
            except EOFError:
                pass
            except BaseException as why:
                failures.append(why)

        server = StreamServer(("127.0.0.1", 0), serve)
        server.start()
        servers.append(server)
        switch = Switch(
            service_dialplan([f"127.0.0.1:{server.server_port}"]), tmp_path, Clock(200.0)
        )
        channel = switch.call(
            "2000",
            "02188776655",
            caller=caller or ScriptedCaller(keys or [], barge=barge),
            **options,
        )
        assert channel.join(10), "the call did not end"
        if failures:
            raise failures[0]
        return channel, switch

    yield start
    for server in servers:
        server.stop()


def test_a_question_is_answered(place: Callable[..., tuple[Channel, Switch]]) -> None:
    """Connect, answer, ask, getvar, transfer: the call of the service in short."""
    got = []

    def worker(client: Client) -> None:
        assert client.command("connect") == "%2BOK%0A"
        assert client.execute("answer") == "+OK"
        client.execute(
            "play_and_get_digits",
            "1 4 1 3000 # silence_stream://500 silence_stream://1 choice \\d+ 2000",
        )
        got.append(client.getvar("choice"))
        got.append(client.getvar("no_such"))
        client.execute("transfer", "9990 XML payment")

    channel, _ = place(worker, ["1234"])
    assert got == ["1234", "-ERR command not found"]
    assert channel.transferred_to == ("9990", "payment")
    assert channel.variables["arrived"] == "9990"
    assert channel.hangup_cause == "NORMAL_CLEARING"
