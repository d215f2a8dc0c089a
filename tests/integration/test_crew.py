"""Several worker processes on one socket: replaced when they die, reloaded, drained."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("crew_process.py")


def until(true, limit_s=15.0):
    deadline = time.monotonic() + limit_s
    while not (found := true()):
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.01)
    return found


def alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]
    except FileNotFoundError:
        return False


class Crew:
    """A crew in a process of its own; `log` and `out` are files."""

    def __init__(self, folder, size, drain_s, release, environment):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.out, self.log = folder / "out", folder / "log"
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(self.port), str(size), str(drain_s), release],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=self.out.open("w"),
            stderr=self.log.open("w"),
        )
        self.pid = self.process.pid

    def told(self):
        """What the parent said last: running or stopping, and the state of each worker."""
        lines = self.out.read_text().splitlines()
        word, *pairs = lines[-1].split() if lines else [""]
        return word, {int(pid): state for pid, state in (pair.split("=") for pair in pairs)}

    def serving(self):
        return [pid for pid, state in self.told()[1].items() if state == "serving"]

    def connect(self):
        """A connection as a file of lines."""
        made = socket.create_connection(("127.0.0.1", self.port), timeout=15)
        return made.makefile("rw")


def ask(lines, word="who"):
    lines.write(f"{word}\n")
    lines.flush()
    return int(lines.readline() or 0)


@pytest.fixture
def crew(tmp_path):
    """Makes crews; whatever is left of them at the end is killed."""
    made = []

    def make(size=2, drain_s=5.0, release="good", ready=True, **environment):
        made.append(Crew(tmp_path, size, drain_s, release, environment))
        if ready:
            until(lambda: len(made[-1].serving()) == size)
        return made[-1]

    yield make
    for each in made:
        for pid in (each.pid, *each.told()[1]):
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        each.process.wait()


def test_a_killed_worker_is_replaced_and_the_port_never_refuses(crew):
    """A crew of one: who connects while it is dead waits for the next worker, and is served."""
    one = crew(size=1)
    (first,) = one.serving()
    for _ in range(3):
        lines = one.connect()
        victim = ask(lines)
        os.kill(victim, signal.SIGKILL)
        assert lines.readline() == ""
        assert ask(one.connect()) != victim
    assert first not in one.serving()
    assert "SIGKILL" in one.log.read_text()


def test_all_workers_take_connections(crew):
    """Nobody is left out: connections that come at once reach every process."""
    many = crew(size=3)
    connections = [many.connect() for _ in range(60)]
    assert {ask(lines) for lines in connections} == set(many.serving())


def test_a_worker_that_dies_of_starting_is_not_started_in_a_rush(crew):
    """Every try is followed by a longer pause; the parent goes on trying."""
    sick = crew(size=1, ready=False, CREW_TEST_DIES="1")
    until(lambda: sick.log.read_text().count("the next one starts") >= 4)
    begun = time.monotonic()
    count = sick.log.read_text().count("the next one starts")
    until(lambda: sick.log.read_text().count("the next one starts") >= count + 2)
    assert time.monotonic() - begun > 0.5
    assert sick.process.poll() is None


def test_stopping_finishes_what_runs_and_refuses_what_comes(crew):
    """SIGTERM: the port closes at once, the connection that lives is served to its end."""
    two = crew()
    lines = two.connect()
    pid = ask(lines)
    os.kill(two.pid, signal.SIGTERM)
    until(lambda: two.told()[0] == "stopping")

    def refused():
        try:
            socket.create_connection(("127.0.0.1", two.port), timeout=1).close()
        except ConnectionRefusedError:
            return True
        return False

    until(refused)
    assert ask(lines) == pid
    assert two.process.poll() is None
    lines.close()
    assert two.process.wait(10) == 0


def test_draining_has_a_limit(crew):
    """Who is still there after drain_s seconds is let go, and the crew ends."""
    two = crew(drain_s=0.3)
    lines = two.connect()
    ask(lines)
    begun = time.monotonic()
    os.kill(two.pid, signal.SIGTERM)
    assert two.process.wait(10) == 0
    assert 0.3 <= time.monotonic() - begun < 5
    assert lines.readline() == ""


def test_told_twice_it_stops_at_once(crew):
    """The second SIGTERM does not wait for anybody."""
    two = crew(drain_s=60.0)
    lines = two.connect()
    ask(lines)
    os.kill(two.pid, signal.SIGTERM)
    until(lambda: two.told()[0] == "stopping")
    os.kill(two.pid, signal.SIGTERM)
    assert two.process.wait(5) == 0


def test_a_reload_starts_new_workers_and_lets_the_old_ones_finish(crew):
    """SIGHUP: same process id, new workers; a running connection keeps its worker to its end, and
    at no moment is anybody refused."""
    two = crew()
    old = set(two.serving())
    lines = two.connect()
    pid = ask(lines)
    os.kill(two.pid, signal.SIGHUP)
    while len(set(two.serving()) - old) < 2:
        assert ask(two.connect())
    until(lambda: two.told()[1].get(pid) == "draining")
    assert ask(lines) == pid
    assert ask(two.connect()) not in old
    assert two.process.poll() is None
    lines.close()
    until(lambda: not old & set(two.told()[1]))
    assert not any(alive(each) for each in old)


def test_a_reload_that_would_not_start_changes_nothing(crew):
    """A release or configuration that fails its check is not reloaded; all goes on as before."""
    two = crew(release="bad")
    old = set(two.serving())
    os.kill(two.pid, signal.SIGHUP)
    until(lambda: "not reloaded" in two.log.read_text())
    assert ask(two.connect()) in old
    assert set(two.serving()) == old


def test_workers_end_with_their_parent(crew):
    """kill -9 of the parent: the workers finish what they have, and the port is free."""
    two = crew()
    workers = two.serving()
    lines = two.connect()
    pid = ask(lines)
    two.process.kill()
    two.process.wait()
    idle = next(each for each in workers if each != pid)
    until(lambda: not alive(idle))
    assert ask(lines) == pid
    lines.close()
    until(lambda: not alive(pid))
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", two.port))
        again.listen()


def test_an_inherited_socket_is_used(tmp_path):
    """systemd's socket activation: descriptor 3, if it is meant for this process."""
    code = (
        "import os, socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen();"
        "os.dup2(s.fileno(), 3); os.environ['LISTEN_PID'] = str(os.getpid());"
        "from esl_worker.crew import listen;"
        "print(s.getsockname() == listen(('127.0.0.1', 1)).getsockname())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "True\n", done.stderr


def test_a_taken_port_is_an_error(crew):
    """Two crews on one port are a mistake, and are told so."""
    first = crew(size=1)
    second = subprocess.run(
        [sys.executable, str(SCRIPT), str(first.port), "1", "1", "good"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode != 0
    assert re.search("in use", second.stderr)
