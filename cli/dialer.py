"""A dialer process: makes the calls of campaigns until it is told to stop."""

from __future__ import annotations

import math
import os
import secrets
import signal
import socket
from collections.abc import Callable

import gevent

from billing import campaigns
from billing.dialling import Dialling
from billing.errors import Unavailable
from billing.premium.approval_calls import ApprovalCalls
from cli import metrics as metrics_port
from cli.parts import Parts
from esl_worker.approval_calls import ApprovalCaller
from esl_worker.control_originator import ControlOriginator
from esl_worker.dialer import Dialer, Timing
from esl_worker.metrics import CampaignMetrics

# Ringing telephones are waited for so long; whoever stops us waits a little longer.
DRAIN_S = 10.0


def make_dialer(parts: Parts) -> Dialer:
    """The dialer over all configured switches, not started."""
    settings = parts.settings
    then = f"{settings.announce_number} XML {settings.announce_context}"
    originators = [
        ControlOriginator(control, settings.dial_string, then) for control in parts.switches
    ]
    # A name of its own each time: what an earlier life left behind is taken over by its lease.
    name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    lease_s = settings.dialer_lease_s
    dialling = Dialling(parts.database, parts.calendars.get, name, lease_s=lease_s)
    timing = Timing(watch_s=lease_s / 6, record_s=lease_s)
    metrics = CampaignMetrics(parts.registry)
    dialer = Dialer(
        parts.database, dialling, originators, parts.clock, timing=timing, metrics=metrics
    )

    def waiting() -> float:
        try:
            return campaigns.waiting(parts.database)
        except Unavailable:
            return math.nan

    metrics.watch(lambda: dialer.live, waiting)
    return dialer


def make_approval_caller(parts: Parts) -> ApprovalCaller:
    """Calls lines' owners about requests that wait for their answer; not started."""
    settings = parts.settings
    then = f"{settings.premium_approval_number} XML {settings.announce_context}"
    originators = [
        ControlOriginator(control, settings.dial_string, then) for control in parts.switches
    ]
    calls = ApprovalCalls(parts.database, parts.clock, settings.zone)
    caller_id = settings.premium_owner_number
    return ApprovalCaller(calls, originators, parts.clock, caller_id=caller_id)


def run_dialer(parts: Parts, ready: Callable[[str], None]) -> None:
    """Dial until SIGTERM or SIGINT, then wait for ringing telephones. The process is patched."""
    dialer = make_dialer(parts)
    owners = make_approval_caller(parts)
    metrics_port.serve_in_greenlet(parts.settings, "dialer", parts.registry)
    parts.switches.start()
    calling = gevent.spawn(owners.run)
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, dialer.stop)
    ready(f"dialer calls over {', '.join(parts.settings.control_addresses)}")
    dialer.run()
    owners.stop()
    dialer.drain(DRAIN_S)
    calling.join(DRAIN_S)
    parts.switches.stop()
