"""`callflows run` from outside: it starts, serves, survives what dies, and stops as it says."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from contextlib import contextmanager

import pytest
from redis import Redis

from tests.e2e.conftest import furnish, house_in


def until(true, seconds=20.0, what="it"):
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.05)
    return found


def children_of(pid):
    """The processes that have this parent, by their `--only` part."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
            with open(f"/proc/{entry}/cmdline") as file:
                words = file.read().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid and "--only" in words:
            found.setdefault(words[words.index("--only") + 1], []).append(int(entry))
    return found


@contextmanager
def all_parts(house):
    """`callflows run` in a house, from ready to ended."""
    log = (house.folder / "log").open("w")
    process = house.start("run", stdout=subprocess.PIPE, stderr=log)
    try:
        line = process.stdout.readline()
        assert line.startswith("All parts run"), (house.folder / "log").read_text()
        yield house, process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            process.wait(20)


@pytest.fixture
def running(furnished):
    """All parts, running, for a test that breaks some."""
    with all_parts(furnished) as running:
        yield running


@pytest.fixture(scope="module")
def standing(tmp_path_factory, sounds_dir):
    """All parts, running, for tests that break nothing."""
    with all_parts(furnish(house_in(tmp_path_factory.mktemp("house"), sounds_dir))) as standing:
        yield standing


def messages(house):
    file = house.folder / "var" / "sandbox" / "sms" / "messages.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


ORDER = ("call", "2000", "--from", "02188776655", "--keys", "2,09121234567#,1,3", "--speed", "200")


def test_a_promise_made_without_redis_is_kept_when_it_is_back(running):
    """Redis is killed and its data are gone: callers notice nothing, the SMS comes all the same."""
    house, process = running
    redis = (house.folder / "var" / "redis").resolve()
    pid = int(re.search(r"process_id:(\d+)", _info(redis))[1])
    os.kill(pid, signal.SIGKILL)
    for file in redis.rglob("*.aof"):
        file.write_bytes(b"\x00rubbish")
    done = house.run(*ORDER)
    assert done.returncode == 0, done.stderr
    until(lambda: len(messages(house)) == 1, 40, "the SMS")
    assert process.poll() is None


def _info(folder):
    with Redis.from_url((folder / "url").read_text().strip()) as client:
        return "\n".join(f"{name}:{value}" for name, value in client.info("server").items())


def test_a_part_that_is_killed_is_started_again(running):
    """A worker that dies is replaced, and calls are served."""
    house, process = running
    before = children_of(process.pid)
    assert set(before) == {"worker", "relay", "jobs", "web", "dashboard"}
    assert len(before["jobs"]) == 3
    os.kill(before["worker"][0], signal.SIGKILL)
    until(lambda: children_of(process.pid).get("worker", before["worker"]) != before["worker"])
    port = int(house.environment["CALLFLOWS_WORKER_LISTEN"].rpartition(":")[2])
    until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
    assert house.run(*ORDER).returncode == 0


def test_a_second_run_in_the_same_place_says_what_is_wrong(standing):
    """The taken address is named with its key; the first run goes on."""
    house, process = standing
    second = house.run("run")
    assert second.returncode == 1
    assert "worker_listen: 127.0.0.1:" in second.stderr
    assert "running already" in second.stderr
    assert process.poll() is None


def test_parts_do_not_outlive_their_supervisor(running):
    """A supervisor that is killed leaves nothing behind that would hold the addresses."""
    house, process = running
    parts = [pid for pids in children_of(process.pid).values() for pid in pids]
    process.kill()
    process.wait()
    until(lambda: not any(_alive(pid) for pid in parts), 15, "the end of all parts")
    # Redis is meant to stay, for whoever starts next here; that is nobody.
    with Redis.from_url((house.folder / "var" / "redis" / "url").read_text().strip()) as redis:
        redis.shutdown()


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_is_written_is_for_its_owner_only(standing):
    """Database, secrets, sandbox: nobody else of the machine can read names and addresses (A9)."""
    house, _ = standing
    assert house.run(*ORDER).returncode == 0
    until(lambda: messages(house), 20, "the SMS")
    for file in (house.folder / "var").rglob("*"):
        if file.is_file():
            assert file.stat().st_mode & 0o077 == 0, file


def test_stopping_lets_running_calls_end(running):
    """SIGTERM: a call in progress is finished, then everything ends with exit code 0."""
    house, process = running
    call = house.start(
        "call", "2000", "--from", "02188776655", "--keys", "4,1,,3", "--speed", "40",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert "welcome" not in call.stdout.readline()
    process.send_signal(signal.SIGTERM)
    told, _ = call.communicate(timeout=30)
    assert "NORMAL_CLEARING" in told
    assert "goodbye" in told
    assert process.wait(20) == 0


def test_queues_are_shown_while_somebody_writes(standing):
    """Looking at the queues needs no write lock."""
    import sqlite3

    house, _ = standing
    with sqlite3.connect(house.folder / "var" / "callflows.db") as other:
        other.execute("BEGIN IMMEDIATE")
        done = house.run("queues")
        other.rollback()
    assert done.returncode == 0, done.stderr
    assert "billing" in done.stdout


def test_signals_while_it_starts(furnished):
    """A reload then has nothing to do; a stop leaves nothing behind, Redis neither."""
    with (furnished.folder / "log").open("w") as log:
        process = furnished.start("run", stdout=log, stderr=log)
    redis = (furnished.folder / "var" / "redis").resolve()
    # Redis runs before any part is started.
    until(lambda: children_of(process.pid), what="the first part")
    pid = int(re.search(r"process_id:(\d+)", _info(redis))[1])
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    assert not os.path.exists(f"/proc/{pid}")


def test_a_reload_reads_the_number_of_workers(running):
    """The key `workers`, unless the command line said a number."""
    house, process = running

    def serving():
        crews = json.loads(house.run("workers", "--json").stdout)
        return [each["state"] for crew in crews for each in crew["workers"]]

    until(lambda: serving() == ["serving"], what="the first worker")
    (house.folder / "callflows.toml").write_text("workers = 2\n")
    process.send_signal(signal.SIGHUP)
    until(lambda: serving() == ["serving"] * 2, what="the second worker")
