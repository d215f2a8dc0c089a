"""Real servers for the integration tests, each in a process of its own."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from billing.database import Database
from gateways.sandbox import read_index
from jobs.redis_server import EmbeddedRedis

HERE = Path(__file__).parent
TLS = HERE.parent / "data" / "tls"
CERT = TLS / "test-only-cert.pem"
KEY = TLS / "test-only-key.pem"


def poll(condition: Callable[[], Any], what: str, deadline_s: float = 10.0) -> Any:
    """The condition's value as soon as it is true; fails, naming `what`, after the deadline."""
    until = time.monotonic() + deadline_s
    while not (value := condition()):
        if time.monotonic() > until:
            pytest.fail(f"not within {deadline_s} s: {what}")
        time.sleep(0.01)
    return value


@pytest.fixture(name="poll")
def poll_fixture() -> Callable[..., Any]:
    return poll


@contextmanager
def server_process(script: str, *arguments: object) -> Iterator[int]:
    """Run a server script, give the port that it prints."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@dataclass(frozen=True)
class SmtpServer:
    port: int
    folder: Path

    def mails(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted(self.folder.glob("*.eml"))]


@pytest.fixture
def smtp_server(tmp_path: Path) -> Iterator[Callable[[str], SmtpServer]]:
    """`smtp_server(mode)` starts one; see smtp_server.py for its modes."""
    running: list[Any] = []

    def start(mode: str) -> SmtpServer:
        folder = tmp_path / f"smtp{len(running)}"
        folder.mkdir()
        process = server_process("smtp_server.py", folder, CERT, KEY, mode)
        running.append(process)
        return SmtpServer(process.__enter__(), folder)

    yield start
    for process in running:
        process.__exit__(None, None, None)


@dataclass(frozen=True)
class SmsServer:
    url: str
    folder: Path

    def requests(self) -> list[dict[str, Any]]:
        record = self.folder / "requests.jsonl"
        return [json.loads(line) for line in record.read_text().splitlines()]


@pytest.fixture
def sms_server(tmp_path: Path) -> Iterator[SmsServer]:
    """An HTTP SMS gateway; see sms_http_server.py for its paths."""
    folder = tmp_path / "sms-server"
    folder.mkdir()
    with server_process("sms_http_server.py", folder) as port:
        yield SmsServer(f"http://127.0.0.1:{port}", folder)


@pytest.fixture
def trickling_server() -> Iterator[Callable[..., int]]:
    """`trickling_server(first, then, tls=False)`: a server that sends `first` to whoever connects,
    and then `then` every 20 ms until it leaves; gives the port.
    """
    with ExitStack() as servers:

        def serve(listener: socket.socket, first: bytes, then: bytes) -> None:
            with suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(first)
                    while True:
                        connection.sendall(then)
                        time.sleep(0.02)

        def start(first: bytes, then: bytes, *, tls: bool = False) -> int:
            listener = socket.create_server(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
            if tls:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(CERT, KEY)
                listener = context.wrap_socket(listener, server_side=True)
            servers.callback(listener.close)
            threading.Thread(target=serve, args=(listener, first, then), daemon=True).start()
            return port

        yield start


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(shared_redis: EmbeddedRedis) -> str:
    """A running, empty Redis."""
    with Redis.from_url(shared_redis.url) as client:
        client.flushall()
    return shared_redis.url


@pytest.fixture
def outbox_database(database_url: str) -> Iterator[Database]:
    """A migrated database of either kind."""
    database = Database(database_url)
    yield database
    database.close()


class Consumers:
    """Starts consumer processes (consumer_process.py) and ends them with the test."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self.database_url = database_url
        self.folder = folder
        self.running: list[subprocess.Popen[str]] = []

    def start(self, redis_url: str, *queues: str, lease_s: float = 60.0) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / "consumer_process.py"), self.database_url, redis_url]
        process = subprocess.Popen(
            [*command, str(self.folder), str(lease_s), *(queues or ("sms",))],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def sent(self) -> list[str]:
        """The texts in the sandbox, in order of arrival."""
        return [line["text"] for line in read_index(self.folder)]

    def attempts(self) -> list[str]:
        """Every attempt to send, repetitions included."""
        path = self.folder / "attempts.txt"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def consumers(database_url: str, tmp_path: Path) -> Iterator[Consumers]:
    folder = tmp_path / "sandbox"
    folder.mkdir()
    starter = Consumers(database_url, folder)
    yield starter
    for process in starter.running:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        if process.stdout:
            process.stdout.close()
