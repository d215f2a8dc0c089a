"""A worker process: takes calls at `worker_listen` until it is told to stop."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable
from pathlib import Path

import gevent

from billing.journal import Journal
from callflows.announce_flow import AnnounceFlow
from callflows.bill_flow import BillFlow
from callflows.premium.approval_call import ApprovalCallFlow
from callflows.premium.owner_flow import OwnerFlow
from callflows.premium.premium_flow import PremiumFlow
from cli.parts import Parts, address
from cli.premium_parts import PREFIXES
from esl_worker.connecting import Means
from esl_worker.journal import JournalWriter
from esl_worker.live_calls import LiveCalls
from esl_worker.metrics import WorkerMetrics
from esl_worker.server import WorkerServer
from esl_worker.worker import FlowMaker, Worker

FLOWS: dict[str, FlowMaker] = {
    flow.name: flow for flow in (BillFlow, AnnounceFlow, PremiumFlow, OwnerFlow, ApprovalCallFlow)
}


def make_server(parts: Parts, live: LiveCalls | None = None) -> tuple[WorkerServer, JournalWriter]:
    """The worker's server and the writer of its journals, neither started.

    `live` is told of each call while it lasts.
    """
    settings = parts.settings
    # A PIN takes long to check, by design: other calls must not wait for it.
    parts.in_thread = lambda work: gevent.get_hub().threadpool.spawn(work).get()
    journals = JournalWriter(Journal(parts.database))
    metrics = WorkerMetrics(parts.registry)
    worker = Worker(
        parts.services,
        FLOWS,
        {
            settings.announce_number: AnnounceFlow.name,
            settings.premium_approval_number: ApprovalCallFlow.name,
            settings.premium_owner_number: OwnerFlow.name,
            **settings.services,
        },
        parts.catalogue,
        Path(settings.sounds_dir).resolve(),
        journals,
        prefixes=dict.fromkeys(PREFIXES, PremiumFlow.name),
        language=settings.language,
        timers=parts.timers,
        live=live,
        metrics=metrics,
        means=Means(
            recordings_dir=Path(settings.recordings_dir).resolve(),
            dial_string=settings.premium_dial_string,
            control_of=parts.switches.of,
            caller_id=settings.premium_caller_id,
        ),
    )
    server = WorkerServer(
        address(settings.worker_listen),
        worker,
        max_calls=settings.max_calls,
        connect_timeout_s=settings.connect_timeout_s,
        metrics=metrics,
    )
    # What is there now stays for the process's life: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    return server, journals


def run_worker(parts: Parts, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; running calls are finished first. The process is patched."""
    switches = parts.switches
    server, journals = make_server(parts, switches.live)
    journals.start()
    server.start()
    switches.start()
    ready(f"worker takes calls at {parts.settings.worker_listen}")
    stopped = gevent.event.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stopped.set)
    stopped.wait()
    # A call that still runs then is handed to the next worker by the dialplan.
    server.drain(parts.settings.drain_s)
    switches.stop()
    journals.stop()
