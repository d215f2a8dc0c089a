"""The metrics end point of a process: which port, and how it is served.

`metrics_listen` names the first of a few ports. Each part has a block of them, and a process takes
the first one of its part's block that is free; a scrape configuration lists the blocks whole (see
conf/prometheus/scrape.yml). Metrics are never a reason not to start: without a port a process says
so and works on.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Info,
    ProcessCollector,
    disable_created_metrics,
    make_wsgi_app,
    start_wsgi_server,
)

from callflows.config import METRICS_PORTS, Settings

log = logging.getLogger(__name__)

BLOCKS = {
    "worker": range(16),
    "jobs": range(16, 32),
    "relay": range(32, 36),
    "web": range(36, 44),
    "dialer": range(44, METRICS_PORTS),
}
"""Ports of each part, counted from that of `metrics_listen`."""


def serve_in_greenlet(settings: Settings, part: str, registry: CollectorRegistry) -> int | None:
    """Serve the metrics of a process that gevent patched; gives the port, None for none."""

    def start(host: str, port: int) -> None:
        from web.server import make_server

        make_server(make_wsgi_app(registry), (host, port)).start()

    return _serve(settings, part, registry, start)


def serve_in_thread(settings: Settings, part: str, registry: CollectorRegistry) -> int | None:
    """Serve the metrics of any other process, beside its work; gives the port, None for none."""

    def start(host: str, port: int) -> None:
        start_wsgi_server(port, host, registry)

    return _serve(settings, part, registry, start)


def _serve(
    settings: Settings,
    part: str,
    registry: CollectorRegistry,
    start: Callable[[str, int], None],
) -> int | None:
    if settings.metrics_listen is None:
        return None
    disable_created_metrics()  # type: ignore[no-untyped-call]
    ProcessCollector(registry=registry)
    build = Info("callflows_build", "The release and the part of this process.", registry=registry)
    build.info({"version": version("callflows"), "part": part})
    host, _, first = settings.metrics_listen.rpartition(":")
    for offset in BLOCKS[part]:
        port = int(first) + offset
        try:
            start(host.strip("[]"), port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            log.error("no metrics: %s port %d: %s", host, port, error.strerror)
            return None
        log.info("metrics of %s at %s port %d", part, host, port)
        return port
    log.error("no metrics: all %d ports of %s are taken", len(BLOCKS[part]), part)
    return None
