"""What the web process measures (see docs/metrics.md)."""

from __future__ import annotations

import time

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"))
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class WebMetrics:
    """Counts requests by the pattern of their route, never by their path, which holds tokens."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "callflows_http_requests_total",
            "HTTP requests answered, by route pattern and status.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "callflows_http_request_seconds",
            "Time from a request's headers to its answer.",
            ("route",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._cdrs = Counter(
            "callflows_cdrs_total",
            "Call records delivered by switches, by what became of them.",
            ("result",),
            registry=registry,
        )
        for result in ("stored", "repeated", "conflict", "invalid", "unauthorized"):
            self._cdrs.labels(result)

    def watch(self, app: Flask) -> None:
        """Measure every request of an application."""
        app.before_request(self._begin)
        app.after_request(self._end)

    def cdr(self, result: str) -> None:
        """One delivery of a call record."""
        self._cdrs.labels(result).inc()

    @staticmethod
    def _begin() -> None:
        g.begun = time.monotonic()

    def _end(self, response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "(no route)"
        # Whatever a client calls a method: labels are bounded.
        method = request.method if request.method in _METHODS else "other"
        self._requests.labels(method, route, str(response.status_code)).inc()
        self._seconds.labels(route).observe(time.monotonic() - g.begun)
        return response
