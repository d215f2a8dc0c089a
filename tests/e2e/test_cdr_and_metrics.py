"""Call records and metrics of the running service, over real HTTP."""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack

import pytest
import requests

from cli.metrics import BLOCKS
from cli.run import CONSUMERS
from tests import cdr_forms

PASSWORD = "sesame opens this door"


def free_block() -> int:
    """The first of as many free ports in a row as metrics_listen takes.

    Below the ports that the system gives to outgoing connections, of which one might be ours next.
    """
    for _ in range(100):
        first = random.randrange(10_000, 32_000)
        with ExitStack() as stack:
            try:
                for offset in range(max(block.stop for block in BLOCKS.values())):
                    probe = stack.enter_context(socket.socket())
                    probe.bind(("127.0.0.1", first + offset))
            except OSError:
                continue
        return first
    pytest.fail("no free ports in a row")


def metrics_at(port: int) -> dict[str, float]:
    """The samples that an end point shows; {} where nobody listens."""
    try:
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    except requests.ConnectionError:
        return {}
    found = re.findall(r"^([a-z][^ ]*(?:\{.*\})?) ([^ ]+)$", text, re.M)
    return {name: float(value) for name, value in found}


def until(seen, what: str, deadline_s: float = 40.0):
    """What `seen` gives as soon as it is true."""
    end = time.monotonic() + deadline_s
    while not (value := seen()):
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.1)
    return value


def test_a_call_is_seen_in_the_metrics_and_its_record_is_matched(furnished):
    """Each process of `callflows run` has its end point; a call, its SMS, a delivered record and
    one from the spool are counted there, and what does not agree is listed.
    """
    first = free_block()
    ports = {part: first + block.start for part, block in BLOCKS.items()}
    spool = furnished.folder / "spool"
    spool.mkdir()
    furnished.environment |= {
        "CALLFLOWS_METRICS_LISTEN": f"127.0.0.1:{first}",
        "CALLFLOWS_CDR_PASSWORD": PASSWORD,
    }
    web = f"http://{furnished.environment['CALLFLOWS_WEB_LISTEN']}"
    process = furnished.start("run", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        for part in ("worker", "relay", "web", "jobs"):
            samples = until(lambda part=part: metrics_at(ports[part]), part)
            assert any(f'part="{part}"' in name for name in samples)
        # Which of the consumers was first to take a port is chance.
        consumers = [ports["jobs"] + number for number in range(len(CONSUMERS))]
        until(lambda: all(map(metrics_at, consumers)), "every consumer")

        call = furnished.run(
            "call", "2000", "--from", "09123456789", "--keys", "2,3", "--speed", "100"
        )
        assert call.returncode == 0, call.stderr
        completed = 'callflows_calls_total{outcome="completed"}'
        until(lambda: metrics_at(ports["worker"])[completed] == 1, "the end of the call")
        worker = metrics_at(ports["worker"])
        assert worker["callflows_calls_active"] == 0
        assert worker["callflows_step_latency_seconds_count"] >= 1
        assert worker['callflows_state_seconds_count{flow="bill",state="menu"}'] == 1
        assert worker["callflows_call_setup_seconds_count"] == 1
        done = 'callflows_jobs_total{kind="sms.bill",queue="sms",result="done"}'
        until(lambda: [metrics_at(port).get(done) for port in consumers].count(1) == 1, "the SMS")

        answers = [
            requests.post(
                f"{web}/cdr?uuid=x",
                data=cdr_forms.dresses(cdr_forms.body("gave-up"))["form"][1],
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                auth=auth,
                timeout=10,
            ).status_code
            for auth in (None, ("callflows", "wrong"), *[("callflows", PASSWORD)] * 2)
        ]
        assert answers == [401, 401, 201, 200]
        seen = metrics_at(ports["web"])
        assert seen['callflows_cdrs_total{result="unauthorized"}'] == 2
        assert seen['callflows_cdrs_total{result="stored"}'] == 1
        route = 'callflows_http_requests_total{method="POST",route="/cdr",status="201"}'
        assert seen[route] == 1
        queues = metrics_at(ports["relay"])
        assert queues["callflows_database_up"] == 1
        assert queues["callflows_relay_leading"] == 1
        assert queues['callflows_queue_pending{queue="sms"}'] == 0
        for port in ports.values():
            assert not any(re.search(r"\d{7}", name) for name in metrics_at(port))
    finally:
        process.terminate()
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == 0, errors

    shutil.copy(cdr_forms.FOLDER / "caller-hung-up.json", spool / "a_1.cdr.json")
    (spool / "2.cdr.json").write_text("{")
    old = time.time() - 3600
    os.utime(spool / "2.cdr.json", (old, old))
    taken = furnished.run("cdr", "take-in", str(spool))
    assert taken.returncode == 1
    assert "1 records taken, 0 were there already, 1 rejected" in taken.stdout
    assert "2.cdr.json: not JSON" in taken.stderr
    listed = furnished.run("cdr", "mismatches", "--day", "2026-11-22", "--grace", "0")
    assert listed.returncode == 1
    assert listed.stdout.count("no_journal") == 2
    agreed = furnished.run("cdr", "mismatches", "--day", "2026-01-01", "--json")
    assert agreed.returncode == 0
    assert '"no_journal": 0' in agreed.stdout
