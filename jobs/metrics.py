"""What consumers and the relay measure (see docs/metrics.md)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from billing import missed, outbox
from billing.cdr_matching import Kind, mismatches
from billing.clock import Clock
from billing.database import Database
from billing.errors import Unavailable

T = TypeVar("T")

RESULTS = ("done", "put_off", "given_up")
"""What became of one try of a job: done, to be tried again, failed for good."""

WINDOW = timedelta(hours=24)
"""Calls that began so long ago at most are matched with their records."""

# Counting what is in the queues costs about a millisecond, matching a day's calls seconds (1.4 s
# for 200,000 on SQLite): several scrapers, or one in a hurry, must not make the database pay each
# time, and none may wait for the matching.
_DEPTHS_S = 2.0
_MISMATCHES_S = 300.0
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class JobMetrics:
    """Tries of jobs. Without a registry everything is recorded and shown to nobody."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._jobs = Counter(
            "callflows_jobs_total",
            "Tries of jobs, by what became of them.",
            ("queue", "kind", "result"),
            registry=registry,
        )
        self._seconds = Histogram(
            "callflows_job_seconds",
            "Time that one try of a job took.",
            ("queue", "kind"),
            buckets=_BUCKETS,
            registry=registry,
        )

    def tried(self, queue: str, kind: str, result: str, seconds: float) -> None:
        """One try; `kind` must be one that a handler is for, `result` one of RESULTS."""
        self._jobs.labels(queue, kind, result).inc()
        self._seconds.labels(queue, kind).observe(seconds)


class QueueCollector(Collector):
    """Outbox and missed calls as the database has them, asked at each scrape; `leads`: are we the
    relay that works? Where the database is away that is said, and nothing else."""

    def __init__(self, database: Database, clock: Clock, leads: Callable[[], bool]) -> None:
        self._database = database
        self._clock = clock
        self._leads = leads
        self._depths = Remembered(
            lambda: outbox.depths(database, clock.now()), _DEPTHS_S, time.monotonic
        )
        self._missed = Remembered(
            lambda: missed.waiting(database, clock.now()), _DEPTHS_S, time.monotonic
        )
        self._mismatches = Background(self._match, _MISMATCHES_S, time.monotonic)

    def describe(self) -> Collection[Metric]:
        """No metric before the first scrape: registering asks no database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics of this moment; the mismatches are missing until they are first known."""
        yield GaugeMetricFamily(
            "callflows_relay_leading",
            "1 in the relay that hands over jobs, 0 in those that stand by.",
            value=int(self._leads()),
        )
        up = GaugeMetricFamily(
            "callflows_database_up", "Whether the database answered this scrape (1) or not (0)."
        )
        try:
            depths = self._depths()
            waiting = self._missed()
        except Unavailable:
            up.add_metric((), 0)
            yield up
            return
        up.add_metric((), 1)
        yield up
        pending = GaugeMetricFamily(
            "callflows_queue_pending", "Outbox rows that wait to be done.", labels=("queue",)
        )
        oldest = GaugeMetricFamily(
            "callflows_queue_oldest_seconds",
            "Age of the oldest outbox row that waits; 0 where none does.",
            labels=("queue",),
        )
        failed = GaugeMetricFamily(
            "callflows_outbox_failed", "Outbox rows that failed for good.", labels=("queue",)
        )
        for queue, depth in depths.items():
            pending.add_metric((queue,), depth.pending)
            oldest.add_metric((queue,), depth.oldest_age_s or 0.0)
            failed.add_metric((queue,), depth.failed)
        yield from (pending, oldest, failed)
        yield GaugeMetricFamily(
            "callflows_missed_callers",
            "Callers who found no worker and wait for a call back.",
            value=waiting.callers,
        )
        yield GaugeMetricFamily(
            "callflows_missed_oldest_seconds",
            "For how long the first of them has waited; 0 where none does.",
            value=waiting.oldest_age_s,
        )
        found = self._mismatches()
        if found is None:
            return
        differing = GaugeMetricFamily(
            "callflows_cdr_mismatches",
            "Calls of the last 24 hours whose journal and call record differ, by kind.",
            labels=("kind",),
        )
        for kind, count in found.items():
            differing.add_metric((kind,), count)
        yield differing

    def _match(self) -> dict[Kind, int]:
        now = self._clock.now()
        return mismatches(self._database, now - WINDOW, now, now, limit=0).counts


class Remembered(Generic[T]):
    """What a function gave, for `seconds` by `clock`; an error is not remembered."""

    def __init__(self, ask: Callable[[], T], seconds: float, clock: Callable[[], float]) -> None:
        self._ask = ask
        self._seconds = seconds
        self._clock = clock
        self._given: tuple[float, T] | None = None

    def __call__(self) -> T:
        """The value: asked for now, or not long ago."""
        now = self._clock()
        if self._given is None or now - self._given[0] >= self._seconds:
            self._given = (now, self._ask())
        return self._given[1]


class Background(Generic[T]):
    """What a function gave lately: older than `seconds`, it is asked again in a thread of its own.

    None before the first answer, and after the database was away.
    """

    def __init__(self, ask: Callable[[], T], seconds: float, clock: Callable[[], float]) -> None:
        self._ask = ask
        self._seconds = seconds
        self._clock = clock
        self._given: T | None = None
        self._again_at = 0.0
        self._asking = threading.Lock()

    def __call__(self) -> T | None:
        """The last answer; never waits."""
        if self._clock() >= self._again_at and self._asking.acquire(blocking=False):
            threading.Thread(target=self._ask_now, name="metrics", daemon=True).start()
        return self._given

    def _ask_now(self) -> None:
        try:
            self._given = self._ask()
        except Unavailable:
            self._given = None
        finally:
            self._again_at = self._clock() + self._seconds
            self._asking.release()
