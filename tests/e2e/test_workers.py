"""`callflows run --only worker --workers N` from outside: kill, reload, stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest


@pytest.fixture
def workers(furnished):
    """Two workers on the configured port; a function that tells their state."""
    with (furnished.folder / "log").open("w") as log:
        process = furnished.start(
            "run", "--only", "worker", "--workers", "2", stdout=log, stderr=log
        )

    def state():
        done = furnished.run("workers", "--json")
        ports = json.loads(done.stdout or "[]")
        return {each["pid"]: each["state"] for port in ports for each in port["workers"]}

    def until(true, limit_s=30.0):
        deadline = time.monotonic() + limit_s
        while not true(now := state()):
            assert time.monotonic() < deadline, (furnished.folder / "log").read_text()
        return now

    until(lambda now: list(now.values()) == ["serving"] * 2)
    yield process, state, until
    process.kill()
    process.wait()


def call(house):
    return house.run(
        "call", "2000", "--from", "02188776655", "--keys", "4,,9,hangup", "--speed", "200"
    )


def test_workers_are_killed_reloaded_and_stopped(furnished, workers):
    """A killed worker is replaced, calls go on; SIGHUP brings new processes, SIGTERM the end; a
    configuration that is broken, or names a database that is away, is not loaded."""
    process, state, until = workers
    victim, other = state()
    os.kill(victim, signal.SIGKILL)
    assert call(furnished).returncode == 0
    until(lambda now: victim not in now and list(now.values()) == ["serving"] * 2)
    assert other in state()

    configuration = furnished.folder / "callflows.toml"
    log = furnished.folder / "log"
    broken = [
        "tries = 0\n",
        'database_url = "postgresql://127.0.0.1:1/away"\nresend_limit_s = 0.2\n',
    ]
    for times, text in enumerate(broken, start=1):
        configuration.write_text(text)
        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while log.read_text().count("not reloaded") < times:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert "Traceback" not in log.read_text()
    configuration.unlink()
    assert other in state()

    old = set(state())
    process.send_signal(signal.SIGHUP)
    until(lambda now: not old & set(now) and list(now.values()) == ["serving"] * 2)
    assert process.poll() is None
    assert call(furnished).returncode == 0

    shown = furnished.run("workers")
    assert shown.returncode == 0
    assert "serving" in shown.stdout
    process.terminate()
    assert process.wait(20) == 0
    gone = furnished.run("workers")
    assert gone.returncode == 1
    assert "no worker serves" in gone.stderr


def test_a_taken_port_is_told(furnished, workers):
    """A second worker on the port ends with a sentence, not with a traceback."""
    second = furnished.run("run", "--only", "worker")
    assert second.returncode == 1
    assert "Error: worker:" in second.stderr
    assert "Traceback" not in second.stderr


def test_workers_go_with_the_worker(furnished):
    """The option is refused where it would do nothing."""
    done = furnished.run("run", "--only", "web", "--workers", "2")
    assert done.returncode == 2
    assert "--workers" in done.stderr


def test_systemd_is_told(furnished, tmp_path):
    """READY, then STATUS, then STOPPING arrive at the socket that systemd names (sd_notify)."""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(30)
        furnished.environment["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        process = furnished.start(
            "run", "--only", "worker", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            text = ""
            while "READY=1" not in text:
                text += told.recv(4096).decode() + "\n"
            process.terminate()
            while "STOPPING=1" not in text:
                text += told.recv(4096).decode() + "\n"
            assert "STATUS=1 of 1 workers serve, 0 calls" in text
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()
