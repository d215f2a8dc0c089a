"""The worker processes: take calls at `worker_listen` until they are told to stop."""

from __future__ import annotations

import gc
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click
import gevent
from gevent.socket import socket

from billing.journal import Journal
from callflows.announce_flow import AnnounceFlow
from callflows.bill_flow import BillFlow
from callflows.config import LANGUAGES, ConfigError, Settings
from callflows.premium.approval_call import ApprovalCallFlow
from callflows.premium.complaint_flow import ComplaintFlow
from callflows.premium.owner_flow import OwnerFlow
from callflows.premium.premium_flow import PremiumFlow
from cli import metrics as metrics_port
from cli.parts import Parts, address
from cli.premium_parts import PREFIXES
from cli.worker_state import WorkerState
from esl_worker import crew
from esl_worker.connecting import Means
from esl_worker.journal import JournalWriter
from esl_worker.live_calls import LiveCalls
from esl_worker.metrics import WorkerMetrics
from esl_worker.server import Siblings, WorkerServer
from esl_worker.worker import FlowMaker, Worker
from sounds import load_catalogue

log = logging.getLogger(__name__)

FLOWS: dict[str, FlowMaker] = {
    flow.name: flow
    for flow in (BillFlow, AnnounceFlow, PremiumFlow, OwnerFlow, ApprovalCallFlow, ComplaintFlow)
}
# Folder of the journals' spools, in state_dir: shared by all workers of the machine.
JOURNALS = "journals"
# Says by its exit code whether a reload would succeed.
CHECK = (sys.executable, "-P", "-m", "cli.reload_check")


def make_server(
    parts: Parts,
    live: LiveCalls | None = None,
    listener: Any = None,
    siblings: Siblings | None = None,
) -> tuple[WorkerServer, JournalWriter]:
    """The worker's server and the writer of its journals, neither started.

    `live` is told of each call while it lasts. `listener` is a listening socket, by default one of
    its own at `worker_listen`; `siblings` are the other processes that share it.
    """
    settings = parts.settings
    # A PIN takes long to check, by design: other calls must not wait for it.
    parts.in_thread = lambda work: gevent.get_hub().threadpool.spawn(work).get()
    journals = JournalWriter(Journal(parts.database), spool_dir=settings.state_dir / JOURNALS)
    metrics = WorkerMetrics(parts.registry)
    worker = Worker(
        parts.services,
        FLOWS,
        {
            settings.announce_number: AnnounceFlow.name,
            settings.premium_approval_number: ApprovalCallFlow.name,
            settings.premium_owner_number: OwnerFlow.name,
            settings.premium_complaints_number: ComplaintFlow.name,
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
        address(settings.worker_listen) if listener is None else listener,
        worker,
        max_calls=settings.max_calls,
        connect_timeout_s=settings.connect_timeout_s,
        metrics=metrics,
        siblings=siblings,
    )
    # What is there now stays for the process's life: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    return server, journals


def run_workers(settings: Settings) -> None:
    """Serve in `workers` processes until SIGTERM or SIGINT; running calls are finished first.

    This process is patched by gevent and runs no loop: see esl_worker.crew.

    Raises:
        OSError: `worker_listen` is taken.
    """
    listener = crew.listen(address(settings.worker_listen))
    _prepare(settings)
    catalogue = load_catalogue()
    state = WorkerState(settings.state_dir, settings.worker_listen)

    def serve(seat: crew.Seat) -> None:
        parts = Parts(settings, migrated=True, aside=gevent.get_hub().threadpool.apply)
        parts.catalogue = catalogue
        run_worker(parts, seat)

    workers = crew.Crew(
        listener,
        settings.workers,
        serve,
        drain_s=settings.drain_s,
        told=state.tell,
        successor=CHECK,
    )
    try:
        workers.run()
    finally:
        state.forget()


def run_worker(parts: Parts, seat: crew.Seat) -> None:
    """One worker's life, in its own process."""
    switches = parts.switches
    metrics_port.serve_in_greenlet(parts.settings, "worker", parts.registry)
    server, journals = make_server(parts, switches.live, seat.listener, seat)

    def report() -> None:
        while True:
            state: crew.State = "draining" if server.closed else "serving"
            seat.report(state, server.active, server.served, server.refused)
            gevent.sleep(crew.REPORT_S)

    journals.start()
    server.start()
    switches.start()
    gevent.spawn(report)
    log.info("worker takes calls at %s", parts.settings.worker_listen)
    seat.stop.wait()
    left = server.drain(seat.drain_s)
    if left:
        log.warning("%d calls still run; the switch hands them to another worker", left)
    switches.stop()
    journals.stop()


def _prepare(settings: Settings) -> None:
    """Migrate the database and check the recordings, in a process of its own.

    The parent of the workers must have no connections and no loop when it forks.

    Raises:
        SystemExit: it did not succeed; why has been said.
    """
    crew.no_loop()
    if crew.in_child(lambda: look_around(settings)):
        raise SystemExit(1)


def look_around(settings: Settings) -> None:
    """Migrate the database and make everything once; a fault is said, and ends the process."""
    from sounds.build import check

    parts = Parts(settings)
    try:
        # Whatever else of the configuration only shows when it is used: here it is said once, in
        # the workers it would be again and again.
        _, journals = make_server(parts, parts.switches.live, socket())
        journals.stop()
        parts.database.close()
    except (ConfigError, click.ClickException) as error:
        click.ClickException(f"worker: {error}").show()
        os._exit(1)
    for language in LANGUAGES:
        faults = check(settings.sounds_dir, language)
        if faults:
            log.error(
                "%d recordings of %s are missing or wrong; `callflows sounds check` names them",
                len(faults),
                language,
            )
