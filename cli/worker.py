"""A worker process: takes calls at `worker_listen` until it is told to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import gevent

from billing.journal import Journal
from callflows.bill_flow import BillFlow
from cli.parts import Parts
from esl_worker.journal import JournalWriter
from esl_worker.server import WorkerServer
from esl_worker.worker import Worker

FLOWS = {BillFlow.name: BillFlow}


def address(listen: str) -> tuple[str, int]:
    """Host and port of a `host:port` key."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


def make_server(parts: Parts) -> tuple[WorkerServer, JournalWriter]:
    """The worker's server and the writer of its journals, neither started."""
    settings = parts.settings
    journals = JournalWriter(Journal(parts.database))
    worker = Worker(
        parts.services,
        FLOWS,
        settings.services,
        parts.catalogue,
        Path(settings.sounds_dir).resolve(),
        journals,
        language=settings.language,
        timers=parts.timers,
    )
    server = WorkerServer(
        address(settings.worker_listen),
        worker,
        max_calls=settings.max_calls,
        connect_timeout_s=settings.connect_timeout_s,
    )
    return server, journals


def run_worker(parts: Parts, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; running calls are finished first. The process is patched."""
    server, journals = make_server(parts)
    journals.start()
    server.start()
    ready(f"worker takes calls at {parts.settings.worker_listen}")
    stopped = gevent.event.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stopped.set)
    stopped.wait()
    # A call that still runs then is handed to the next worker by the dialplan.
    server.drain(parts.settings.drain_s)
    journals.stop()
