"""What is measured: names, labels, cost; dashboard, alerts and the page name what exists."""

from __future__ import annotations

import json
import re
import threading
import time
import timeit
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gevent.socket
import pytest
import yaml
from esl_peer import Peer, reply
from prometheus_client import CollectorRegistry, generate_latest

from billing import cdrs, missed, outbox
from billing.cdr_document import parse
from billing.clock import FixedClock
from billing.database import Database
from billing.errors import Unavailable
from billing.outbox import Job
from cli.metrics import BLOCKS
from esl_worker.call import FreeSwitchChannel
from esl_worker.metrics import (
    ERRORS,
    OUTCOMES,
    SWITCH_ERRORS,
    CampaignMetrics,
    SwitchMetrics,
    WorkerMetrics,
)
from esl_worker.server import WorkerServer
from esl_worker.session import ConnectionLost, ReplyTimeout
from gateways.errors import Permanent, Temporary
from jobs.consumers import Consumer
from jobs.metrics import Background, JobMetrics, QueueCollector, Remembered
from tests import cdr_forms
from web.metrics import WebMetrics

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"\bcallflows_[a-z_]+\b")
PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"}


class _NoDatabase:
    def query(self, work):
        raise Unavailable("away")


@pytest.fixture
def registry(database: Database, clock: FixedClock) -> CollectorRegistry:
    """Every metric of every process, in one registry."""
    registry = CollectorRegistry()
    WorkerMetrics(registry).state("bill", "menu", 1.0)
    SwitchMetrics(registry).watch("switch:8021", lambda: True)
    CampaignMetrics(registry)
    JobMetrics(registry).tried("sms", "sms.bill", "done", 0.1)
    WebMetrics(registry)
    collector = QueueCollector(database, clock, lambda: True)
    registry.register(collector)
    deadline = time.monotonic() + 10
    while collector._mismatches() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return registry


def _families(registry: CollectorRegistry) -> dict[str, str]:
    """Names as Prometheus has them (counters with _total), with their types."""
    return {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in registry.collect()
    } | {"callflows_build_info": "info"}


def _known(registry: CollectorRegistry) -> set[str]:
    return {
        name + suffix
        for name, kind in _families(registry).items()
        for suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
    }


def _expressions() -> dict[str, list[str]]:
    rules = yaml.safe_load((ROOT / "conf/prometheus/alerts.yml").read_text())
    dashboard = json.loads((ROOT / "conf/grafana/callflows.json").read_text())
    return {
        "alerts": [rule["expr"] for group in rules["groups"] for rule in group["rules"]],
        "dashboard": [
            target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())
        ],
    }


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_alerts_and_dashboard_use_metrics_that_exist(registry: CollectorRegistry) -> None:
    """A name that is misspelt or was renamed would never fire and never be seen."""
    for where, expressions in _expressions().items():
        used = {name for text in expressions for name in NAME.findall(text)}
        assert used <= _known(registry), where
        assert len(used) > 10
    other = set(re.findall(r"\bprocess_[a-z_]+", " ".join(_expressions()["dashboard"])))
    assert other == PROCESS


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_label_values_that_are_asked_for_exist(registry: CollectorRegistry) -> None:
    """Labels and values in selectors of alerts and dashboard are ones that the code sets."""
    text = generate_latest(registry).decode()
    for expressions in _expressions().values():
        for name, label, value in re.findall(
            r'(callflows_[a-z_]+)\{([a-z]+)="([^"]*)"', " ".join(expressions)
        ):
            assert re.search(rf'^{name}\{{[^}}]*{label}="', text, re.M) or name in (
                "callflows_jobs_total",
            ), (name, label)
            if name == "callflows_calls_total":
                assert value in OUTCOMES
            if name == "callflows_switch_errors_total":
                assert value in SWITCH_ERRORS


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_the_page_lists_every_metric(registry: CollectorRegistry) -> None:
    """docs/metrics.md has a row for each metric, and none for others."""
    page = (ROOT / "docs/metrics.md").read_text()
    rows = re.findall(r"^\| `([a-z_]+)", page, re.M)
    assert sorted(rows) == sorted(_families(registry))
    for part, block in BLOCKS.items():
        assert f"| {part} | {9464 + block.start}" in page


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_names_follow_the_conventions(registry: CollectorRegistry) -> None:
    """Prefix, base units, _total on counters only, help on everything."""
    for family in registry.collect():
        assert re.fullmatch(r"callflows_[a-z]+(_[a-z]+)*", family.name)
        assert family.documentation.endswith(".")
        assert not re.search(r"_(ms|milliseconds|minutes|kb|total_total)$", family.name)
        assert family.type == "counter" or not family.name.endswith("_total")
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


def test_alert_rules_are_whole() -> None:
    """Each alert has a severity, a summary, what to do, and a name of its own."""
    rules = yaml.safe_load((ROOT / "conf/prometheus/alerts.yml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in alerts}) == len(alerts)
    for rule in alerts:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "action"}


def test_the_example_scrapes_every_port_a_worker_may_take() -> None:
    """Several worker processes take the ports of their block in turn, and others in a reload; a
    port where none listens is no process that is down."""
    example = yaml.safe_load((ROOT / "conf/prometheus/prometheus.yml").read_text())
    (job,) = example["scrape_configs"]
    ports = {
        group["labels"]["part"]: [int(target.rpartition(":")[2]) for target in group["targets"]]
        for group in job["static_configs"]
    }
    assert ports["worker"] == [9464 + offset for offset in BLOCKS["worker"]]
    for part, each in ports.items():
        assert {port - 9464 for port in each} <= set(BLOCKS[part])
    rules = (ROOT / "conf/prometheus/alerts.yml").read_text()
    assert re.findall(r"\bup\{.*\}", rules) == ['up{job="callflows",part!="worker"}']


def test_the_dashboard_can_be_imported() -> None:
    """Data source as an input, ids apart, panels beside each other within the grid, rows."""
    dashboard = json.loads((ROOT / "conf/grafana/callflows.json").read_text())
    assert [each["pluginId"] for each in dashboard["__inputs"]] == ["prometheus"]
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23
    rows = [panel["title"] for panel in panels if panel["type"] == "row"]
    for title in ("Calls", "Latency", "Switches", "Queues", "Campaign", "Call records"):
        assert title in rows
    for panel in panels:
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${DS_PROMETHEUS}"
            assert panel["targets"]
            assert panel["description"]


class _Session:
    """Answers at once, or raises."""

    def __init__(self) -> None:
        self.fault: BaseException | None = None

    def exchange(self, commands, *, timeout_s, **_watching):
        if self.fault is not None:
            raise self.fault
        return [reply()]


class _Data:
    uuid, caller_number, destination, answered = "u", "1", "2000", True


def _channel(registry: CollectorRegistry) -> tuple[FreeSwitchChannel, _Session]:
    session = _Session()
    channel = FreeSwitchChannel(session, _Data(), None, Path("/"), WorkerMetrics(registry))
    return channel, session


def test_a_step_costs_less_than_twenty_microseconds() -> None:
    """Measuring a step and a state is nothing beside the millisecond that a call costs."""
    metrics = WorkerMetrics(CollectorRegistry())

    def step() -> None:
        metrics.step(time.monotonic() - 1.0)
        metrics.state("bill", "menu", time.monotonic() - 1.0)

    assert min(timeit.repeat(step, number=2_000, repeat=5)) / 2_000 < 20e-6


def test_a_step_is_from_an_answer_to_the_next_commands() -> None:
    """The time that the switch takes is not ours, nor what goes before its first answer."""
    registry = CollectorRegistry()
    channel, _ = _channel(registry)
    channel.hangup()
    assert registry.get_sample_value("callflows_step_latency_seconds_count") == 0
    time.sleep(0.02)
    channel.hangup()
    assert registry.get_sample_value("callflows_step_latency_seconds_count") == 1
    assert registry.get_sample_value("callflows_step_latency_seconds_sum") >= 0.02


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (ConnectionLost("reset", "unconfirmed"), "connection_lost"),
        (ConnectionLost("protocol error: nonsense", "unconfirmed"), "protocol"),
        (ReplyTimeout(1.0), "reply_timeout"),
    ],
)
def test_event_socket_errors_are_counted_by_kind(fault: BaseException, kind: str) -> None:
    """What breaks a call while it talks; a plain hangup breaks nothing."""
    registry = CollectorRegistry()
    channel, session = _channel(registry)
    session.fault = fault
    with pytest.raises(type(fault)):
        channel._exchange([])
    counted = {
        each: registry.get_sample_value("callflows_esl_errors_total", {"kind": each})
        for each in ERRORS
    }
    assert {each: n for each, n in counted.items() if n} == {kind: 1}


def test_the_server_counts_its_calls() -> None:
    """Active calls, the limit, refusals, connections without a call, handlers that fail."""
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)
    going = gevent.event.Event()

    def handler(session) -> None:
        going.wait(10)
        raise ValueError("ours")

    server = WorkerServer(
        ("127.0.0.1", 0), handler, max_calls=1, connect_timeout_s=0.2, metrics=metrics
    )
    server.start()

    def sample(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    def until(name: str, value: float, **labels: str) -> None:
        deadline = time.monotonic() + 5
        while sample(name, **labels) != value:
            assert time.monotonic() < deadline, (name, sample(name, **labels))
            gevent.sleep(0.005)

    try:
        assert sample("callflows_calls_limit") == 1
        silent = gevent.socket.create_connection(("127.0.0.1", server.server_port))
        until("callflows_esl_errors_total", 1, kind="connect")
        silent.close()
        with Peer(server.server_port, make_socket=gevent.socket.socket) as peer:
            peer.connected()
            until("callflows_calls_active", 1)
            gevent.socket.create_connection(("127.0.0.1", server.server_port)).close()
            until("callflows_calls_total", 1, outcome="refused")
            going.set()
            until("callflows_esl_errors_total", 1, kind="handler")
        until("callflows_calls_active", 0)
    finally:
        server.drain(5)


class _Redis:
    """Never reached: a consumer speaks to Redis only about other rows of its batch."""


def test_tries_of_jobs_are_counted(database: Database, clock: FixedClock) -> None:
    """Done, put off, given up; a kind that nobody knows is no label."""
    registry = CollectorRegistry()
    faults = {"done": None, "later": Temporary("away"), "never": Permanent("no such mobile")}

    def handler(job: Job) -> None:
        if fault := faults[job.payload["is"]]:
            raise fault

    consumer = Consumer(
        database,
        clock,
        _Redis(),
        {"sms.bill": handler},
        name="test",
        metrics=JobMetrics(registry),
    )
    with database.begin() as conn:
        for number, (kind, what) in enumerate(
            [("sms.bill", "done"), ("sms.bill", "later"), ("sms.bill", "never"), ("\n0912", "done")]
        ):
            outbox.put(conn, f"k{number}", "sms", kind, {"is": what}, clock.now())
    for job in outbox.claim(database, "test", clock.now(), 60):
        consumer._do(job)
    counted = {
        (sample.labels["kind"], sample.labels["result"]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "callflows_jobs_total"
    }
    assert counted == {
        ("sms.bill", "done"): 1,
        ("sms.bill", "put_off"): 1,
        ("sms.bill", "given_up"): 1,
        ("unknown", "given_up"): 1,
    }


def test_queues_and_mismatches_as_the_database_has_them(database: Database) -> None:
    """Depth, age and failures of each queue, and calls whose journal is missing."""
    now = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)
    clock = FixedClock(now)
    with database.begin() as conn:
        for key in ("a", "b"):
            outbox.put(conn, key, "email", "email.bill", {}, now - timedelta(seconds=90))
    (job, _) = outbox.claim(database, "w", now, 1)
    outbox.fail(database, job, "no", now)
    cdrs.store(database, parse(cdr_forms.body("gave-up")), now - timedelta(minutes=30))
    registry = CollectorRegistry()
    registry.register(QueueCollector(database, clock, lambda: False))

    def sample(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    assert sample("callflows_queue_pending", queue="email") == 1
    assert sample("callflows_queue_pending", queue="sms") == 0
    assert sample("callflows_queue_oldest_seconds", queue="email") == 90
    assert sample("callflows_outbox_failed", queue="email") == 1
    deadline = time.monotonic() + 10
    while (missing := sample("callflows_cdr_mismatches", kind="no_journal")) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert missing == 1
    assert sample("callflows_cdr_mismatches", kind="times") == 0
    assert sample("callflows_relay_leading") == 0
    assert sample("callflows_database_up") == 1


def test_callers_who_wait_for_a_call_back_are_counted(
    database: Database, tmp_path: Path, clock: FixedClock
) -> None:
    """Each once, with the time of the first; without a number nobody can be called, and who was
    called back does not wait."""
    callers = ["02188776655", "02188776655", "09121234567", "anonymous"]
    for place, caller in enumerate(callers):
        at = clock.now() - timedelta(seconds=100 - place)
        note = {"format": 1, "call_id": f"c{place}", "caller": caller, "at": at.isoformat()}
        (tmp_path / f"{place}.json").write_text(json.dumps(note))
    registry = CollectorRegistry()
    registry.register(QueueCollector(database, clock, lambda: True))

    def seen() -> tuple[float | None, float | None]:
        names = ("callflows_missed_callers", "callflows_missed_oldest_seconds")
        return registry.get_sample_value(names[0]), registry.get_sample_value(names[1])

    assert seen() == (0, 0)
    assert missed.take_in(database, tmp_path).taken == 4
    registry = CollectorRegistry()
    registry.register(QueueCollector(database, clock, lambda: True))
    assert seen() == (2, 100)
    first = missed.call_backs(database, 1)[0]
    missed.done(database, first.id, clock.now())
    registry = CollectorRegistry()
    registry.register(QueueCollector(database, clock, lambda: True))
    assert seen() == (1, 98)


def test_a_database_that_is_away_is_a_metric_too() -> None:
    """The scrape does not fail: it says so, and says nothing about queues."""
    registry = CollectorRegistry()
    registry.register(QueueCollector(_NoDatabase(), FixedClock(datetime.now(UTC)), lambda: True))
    assert registry.get_sample_value("callflows_database_up") == 0
    assert registry.get_sample_value("callflows_queue_pending", {"queue": "sms"}) is None


def test_a_scrape_does_not_wait_for_what_takes_seconds() -> None:
    """The old answer is given while a thread asks anew, one thread at a time."""
    at, going, asked = [0.0], threading.Semaphore(0), []

    def ask() -> int:
        going.acquire(timeout=10)
        asked.append(at[0])
        if len(asked) == 3:
            raise Unavailable("away")
        return len(asked)

    def until(value: int | None) -> None:
        deadline = time.monotonic() + 10
        while background() != value:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    background = Background(ask, 10, lambda: at[0])
    assert [background() for _ in range(5)] == [None] * 5
    going.release()
    until(1)
    at[0] = 10
    assert [background() for _ in range(5)] == [1] * 5
    going.release()
    until(2)
    assert asked == [0, 10]
    at[0] = 20
    going.release()
    until(None)


def test_what_is_costly_is_remembered_for_a_while() -> None:
    """Asked again within the time it costs nothing; a fault is asked again at once."""
    at, asked = [0.0], []

    def ask() -> int:
        asked.append(at[0])
        if at[0] == 20:
            raise Unavailable("away")
        return len(asked)

    remembered = Remembered(ask, 10, lambda: at[0])
    for moment, value in ((0, 1), (9.9, 1), (10, 2), (19, 2)):
        at[0] = moment
        assert remembered() == value
    at[0] = 20
    with pytest.raises(Unavailable):
        remembered()
    at[0] = 20.1
    assert remembered() == 4
