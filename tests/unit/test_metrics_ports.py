"""Where the end points of metrics listen."""

from __future__ import annotations

import socket

import pytest
import requests
from prometheus_client import CollectorRegistry, Counter

from callflows.config import METRICS_PORTS, ConfigError, load
from cli import metrics


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch) -> int:
    """A free port; the blocks are put beside it, two ports wide."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    monkeypatch.setattr(metrics, "BLOCKS", {"jobs": range(2)})
    return port


def _serve(first: int) -> tuple[CollectorRegistry, int | None]:
    registry = CollectorRegistry()
    Counter("callflows_test_total", "A test.", registry=registry).inc(7)
    settings = load(metrics_listen=f"127.0.0.1:{first}")
    return registry, metrics.serve_in_thread(settings, "jobs", registry)


def test_processes_of_a_part_take_one_port_after_the_other(
    first: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The first free one each; the one too many says so and works on without."""
    ports = [_serve(first)[1] for _ in range(3)]
    assert ports == [first, first + 1, None]
    assert "all 2 ports of jobs are taken" in caplog.text
    for port in ports[:2]:
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
        assert "callflows_test_total 7.0" in text
        assert 'callflows_build_info{part="jobs"' in text
        assert "process_resident_memory_bytes" in text
        assert "_created" not in text


def test_without_the_key_nothing_listens() -> None:
    """The default: no port is opened, no collector added."""
    registry = CollectorRegistry()
    assert metrics.serve_in_thread(load(), "worker", registry) is None
    assert list(registry.collect()) == []


def test_an_address_that_is_not_ours_does_not_stop_the_process(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Calls matter more than being watched."""
    settings = load(metrics_listen="192.0.2.1:9464")
    assert metrics.serve_in_thread(settings, "worker", CollectorRegistry()) is None
    assert "no metrics" in caplog.text


def test_blocks_do_not_touch() -> None:
    """Each port belongs to one part, and all are within what the configuration leaves room for."""
    ports = [port for block in metrics.BLOCKS.values() for port in block]
    assert sorted(ports) == list(range(METRICS_PORTS))


@pytest.mark.parametrize("value", ["127.0.0.1:0", "127.0.0.1:65500", "9464", "here"])
def test_a_port_needs_room_behind_it(value: str) -> None:
    """A wrong key is named before anything starts."""
    with pytest.raises(ConfigError, match="metrics_listen"):
        load(metrics_listen=value)
