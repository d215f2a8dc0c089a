"""`callflows run`: all embedded parts, or one of them."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

import click

from callflows import logs
from callflows.config import ConfigError, Settings
from cli.main import settings_of

if TYPE_CHECKING:
    from jobs.redis_server import EmbeddedRedis

QUEUES = ("billing", "sms", "email", "reports")
# Each served by processes of its own: a slow SMS gateway must not hold up postings or mail.
CONSUMERS = (("billing",), ("sms",), ("email", "reports"))
PARTS = ("worker", "relay", "jobs", "web", "dashboard")
# Runs by itself, or among the others where switches are configured to dial on.
DIALER = "dialer"
STOP_S = 15.0
READY_S = 30.0
# Deaths in a row, right after the start, until a part counts as one that cannot run.
HOPELESS = 3
LISTENS = {"worker": "worker_listen", "web": "web_listen", "dashboard": "dashboard_listen"}
# A part that dies is started again, at first at once, then ever slower.
BACKOFF_S = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
# A part that lived this long has recovered.
STEADY_S = 60.0


@click.command()
@click.option(
    "--only",
    type=click.Choice((*PARTS, DIALER, "redis")),
    help="Run just this part, in this process (for systemd, containers).",
)
@click.option(
    "--queue",
    "queues",
    type=click.Choice(QUEUES),
    multiple=True,
    help="With --only jobs: serve this queue, the first one first; default: all.",
)
@click.option(
    "--consumers",
    type=click.IntRange(1, 32),
    default=1,
    show_default=True,
    help="Consumer processes for each group of queues.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Worker processes on the one port; default: the key workers.",
)
def command(only: str | None, queues: tuple[str, ...], consumers: int, workers: int | None) -> None:
    """Start all parts: Redis, workers, relay, consumers, pages, queue dashboard.

    Redis is started where no redis_url is configured, the dialer of campaigns where
    control_addresses names switches. Ctrl-C stops everything; running calls are finished first, for
    at most drain_s (Ctrl-C again: at once). SIGHUP reloads the workers: new ones start with the
    present release and configuration, the old ones finish their calls.

    \b
    Examples:
      callflows run
      callflows run --workers 4
      callflows run --only worker --workers 4
      callflows run --only dialer
      callflows run --only jobs --queue email --queue reports
      CALLFLOWS_REDIS_URL=redis://redis.example:6379/0 callflows run --only jobs
    """
    settings = settings_of(**({} if workers is None else {"workers": workers}))
    logs.configure(settings.log_format, settings.log_level)
    if queues and only != "jobs":
        raise click.UsageError("--queue goes with --only jobs")
    if workers is not None and only not in (None, "worker"):
        raise click.UsageError("--workers goes with all parts or with --only worker")
    if only is not None:
        run_part(only, settings, queues or QUEUES)
        return
    parts = (*PARTS, DIALER) if settings.control_addresses else PARTS
    with Supervisor(settings, consumers=consumers, parts=parts, workers=workers) as supervisor:
        # Until it watches: what has been started is stopped, too, and a reload has nothing to do.
        signal.signal(signal.SIGTERM, _end)
        signal.signal(signal.SIGHUP, _wait_for_parts)
        supervisor.start()
        supervisor.wait_until_ready()
        click.echo("All parts run. Try `callflows phone` in another terminal; Ctrl-C stops.")
        supervisor.watch()


def run_part(name: str, settings: Settings, queues: tuple[str, ...]) -> None:
    """Run one part in this process until it is told to stop."""
    from cli import processes

    try:
        if name == "jobs":
            processes.jobs(settings, queues)
        else:
            getattr(processes, name)(settings)
    except (ConfigError, OSError) as error:
        raise click.ClickException(f"{name}: {error}") from error


def _end(*_: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


def _wait_for_parts(*_: object) -> None:
    """Not ignored but handled: what a process ignores, its children ignore."""


def _words_of(part: str, consumers: int, workers: int | None) -> list[tuple[str, ...]]:
    """The command-line words of each process of a part.

    Without a number on the command line, workers look at the key themselves: a reload reads it
    anew.
    """
    if part == "worker" and workers is not None:
        return [("--only", part, "--workers", str(workers))]
    if part != "jobs":
        return [("--only", part)]
    groups = [
        ("--only", "jobs", *(word for queue in group for word in ("--queue", queue)))
        for group in CONSUMERS
    ]
    return groups * consumers


def answers(listen: str) -> bool:
    """Whether somebody takes connections at host:port."""
    host, _, port = listen.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), 1.0):
            return True
    except OSError:
        return False


def _must_be_free(key: str, listen: str) -> None:
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError as error:
            raise click.ClickException(
                f"{key}: {listen}: {error.strerror}\n"
                f"Is `callflows run` running already? Else configure another address for {key}."
            ) from error


def _die_with_parent() -> None:
    """In a new process: be told to stop when the supervisor dies, however that happens."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Child:
    """One part in a process of its own."""

    name: str
    words: tuple[str, ...]
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)
    deaths: int = 0


class Supervisor:
    """Starts the parts in their own processes and keeps them running.

    A context manager: leaving it stops every part, Redis last.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        consumers: int = 1,
        workers: int | None = None,
        parts: tuple[str, ...] = PARTS,
        environment: dict[str, str] | None = None,
        log_file: int | None = None,
        quiet: bool = False,
    ) -> None:
        self.settings = settings
        self._commands = [
            (part, words) for part in parts for words in _words_of(part, consumers, workers)
        ]
        self._environment = environment or {}
        self._quiet = quiet
        self._log_file = log_file
        self._children: list[Child] = []
        self._redis: EmbeddedRedis | None = None
        self._redis_again = 0.0
        self._asked = 0

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start Redis if needed, bring the database up to date, then start every part.

        Raises ClickException for an address that is taken, named by its key.
        """
        from cli.parts import Parts

        for part, _ in self._commands:
            if part in LISTENS:
                _must_be_free(LISTENS[part], getattr(self.settings, LISTENS[part]))
        Parts(self.settings).database.close()
        self._start_redis()
        for name, words in self._commands:
            self._children.append(Child(name, words, self._spawn(words)))

    def wait_until_ready(self) -> None:
        """Wait until every part that listens does. Raises ClickException if one cannot run."""
        deadline = time.monotonic() + READY_S
        waiting = {part for part, _ in self._commands if part in LISTENS}
        while waiting:
            for part in list(waiting):
                if answers(getattr(self.settings, LISTENS[part])):
                    waiting.discard(part)
            self.mend()
            hopeless = [child.name for child in self._children if child.deaths >= HOPELESS]
            if hopeless or time.monotonic() > deadline:
                names = ", ".join(hopeless or sorted(waiting))
                raise click.ClickException(f"{names}: does not start; its messages are above")
            time.sleep(0.1)

    def watch(self) -> None:
        """Start again what dies, until Ctrl-C or SIGTERM."""
        signal.signal(signal.SIGTERM, self._ask_to_stop)
        signal.signal(signal.SIGINT, self._ask_to_stop)
        signal.signal(signal.SIGHUP, self._reload)
        while not self._asked:
            self.mend()
            time.sleep(0.2)

    def mend(self) -> None:
        """Look after every part once: one that has died is started again when its time has come."""
        self._mend_redis()
        for child in self._children:
            code = child.process.poll()
            if code is None:
                if child.deaths and time.monotonic() - child.started > STEADY_S:
                    child.deaths = 0
                continue
            wait = BACKOFF_S[min(child.deaths, len(BACKOFF_S) - 1)]
            if time.monotonic() - child.started < wait:
                continue
            child.deaths += 1
            self._say(f"{child.name} ended with code {code}; starting it again")
            child.process = self._spawn(child.words)
            child.started = time.monotonic()

    def stop(self) -> None:
        """Stop every part politely, then whatever is left; Redis last.

        Workers have `drain_s` to finish their calls; Ctrl-C once more ends the wait.
        """
        for child in self._children:
            if child.process.poll() is None:
                child.process.terminate()
        begun = time.monotonic()
        for child in self._children:
            allowed = STOP_S + (self.settings.drain_s if child.name == "worker" else 0.0)
            try:
                self._wait(child.process, begun + allowed)
            except subprocess.TimeoutExpired:
                self._say(f"{child.name} does not stop; it is killed")
                child.process.kill()
                child.process.wait()
        self._children.clear()
        if self._redis is not None:
            self._redis.stop()
            self._redis = None

    def _wait(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        asked = self._asked
        while True:
            try:
                process.wait(0.2)
                return
            except subprocess.TimeoutExpired:
                # Asked a second time while waiting: now means now.
                if time.monotonic() > deadline or self._asked > max(asked, 1):
                    raise

    def _mend_redis(self) -> None:
        """Start a Redis that has died again; what depends on it waits meanwhile."""
        from jobs.redis_server import RedisServerError

        if self._redis is None or self._redis.pid is not None:
            return
        if time.monotonic() < self._redis_again:
            return
        self._say("Redis has died; starting it again")
        try:
            self._redis.start()
        except RedisServerError as error:
            self._redis_again = time.monotonic() + BACKOFF_S[-1]
            self._say(f"{error}; calls go on without it, jobs wait in the database")

    def _start_redis(self) -> None:
        from jobs.redis_server import EmbeddedRedis, RedisServerError

        if self.settings.redis_url is not None:
            return
        server = EmbeddedRedis(self.settings.redis_dir)
        try:
            server.start()
        except RedisServerError as error:
            hint = (
                "\nIs `callflows run` running already with this state_dir?" if error.in_use else ""
            )
            raise click.ClickException(f"{error}{hint}") from error
        self._redis = server

    def _spawn(self, words: tuple[str, ...]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            # -P: a folder of the user's named `web` or `sounds` must not be taken for ours.
            [sys.executable, "-P", "-m", "cli.main", "run", *words],
            env={**os.environ, **self._environment},
            stdin=subprocess.DEVNULL,
            stderr=self._log_file,
            stdout=self._log_file,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )

    def _ask_to_stop(self, *_: object) -> None:
        self._asked += 1
        if self._asked == 1:
            self._say("stopping; running calls are finished first (Ctrl-C again: at once)")

    def _reload(self, *_: object) -> None:
        for child in self._children:
            if child.name == "worker" and child.process.poll() is None:
                child.process.send_signal(signal.SIGHUP)

    def _say(self, text: str) -> None:
        if not self._quiet:
            click.echo(text, err=True)
