"""Turns at writing to SQLite: order between greenlets and between processes, and no dependence."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from billing.database import Database
from billing.errors import Unavailable
from billing.turns import Turns

ROOT = Path(__file__).parents[2]

# Greenlets of two processes write at once; a commit takes 5 ms in a thread of its own.
WRITERS = """
from gevent import monkey; monkey.patch_all()
import sys, time, gevent
from sqlalchemy import text
from billing.database import Database
def aside(commit):
    def slowly():
        monkey.get_original("time", "sleep")(0.005)
        commit()
    return gevent.get_hub().threadpool.apply(slowly)
database = Database(sys.argv[1], aside=aside, deadline=20.0)
late = [0.0]
def watch():
    while True:
        before = time.monotonic(); gevent.sleep(0.001)
        late[0] = max(late[0], time.monotonic() - before)
watcher = gevent.spawn(watch)
def add():
    for _ in range(5):
        database.write(lambda c: c.execute(text("UPDATE counter SET value = value + 1")))
gevent.joinall([gevent.spawn(add) for _ in range(8)], raise_error=True)
watcher.kill()
print(late[0])
"""


def test_many_greenlets_of_many_processes_write_and_none_is_lost(tmp_path):
    """Two processes of eight greenlets count to 80; while commits wait, the loops run."""
    url = f"sqlite:///{tmp_path}/turns.db"
    with Database(url).begin() as connection:
        connection.execute(text("CREATE TABLE counter (value INTEGER)"))
        connection.execute(text("INSERT INTO counter VALUES (0)"))
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITERS, url],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    told = [float(writer.communicate(timeout=60)[0]) for writer in writers]
    assert all(writer.returncode == 0 for writer in writers)
    # Forty commits of 5 ms each: had they been the loop's, it would have stood still for them all.
    assert min(told) < 0.2
    with Database(url).read() as connection:
        assert connection.execute(text("SELECT value FROM counter")).scalar_one() == 80


def test_a_turn_that_is_not_given_back_is_not_waited_for_in_vain(tmp_path):
    """Whoever holds the lock file for ever holds nobody up for longer than the limit."""
    others = Turns(str(tmp_path / "turn"), 0.1)
    mine = Turns(str(tmp_path / "turn"), 0.1)
    with others.turn():
        begun = time.monotonic()
        with mine.turn():
            pass
        assert 0.1 <= time.monotonic() - begun < 2


def test_turns_are_one_after_the_other(tmp_path):
    """Threads of one process and another opener of the file never have it at once."""
    one, two = (Turns(str(tmp_path / "turn"), 30.0) for _ in range(2))
    inside: list[int] = []
    most = []

    def work(turns: Turns) -> None:
        for _ in range(20):
            with turns.turn():
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0002)
                inside.pop()

    threads = [threading.Thread(target=work, args=(turns,)) for turns in (one, one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 60
    assert max(most) == 1


def test_without_a_lock_file_the_database_decides(tmp_path):
    """A folder that cannot be written takes nothing away but the order; once it can be, there is
    order again."""
    turns = Turns(str(tmp_path / "later" / "turn"), 0.1)
    for _ in range(2):
        with turns.turn():
            pass
    (tmp_path / "later").mkdir()
    with turns.turn():
        assert (tmp_path / "later" / "turn").exists()


def test_a_database_locked_by_a_stranger_is_unavailable_in_time(tmp_path):
    """Who takes no turns may hold SQLite's lock: writers give up at their deadline, all of them."""
    url = f"sqlite:///{tmp_path}/turns.db"
    with Database(url).begin() as connection:
        connection.execute(text("CREATE TABLE counter (value INTEGER)"))
    database = Database(url, aside=lambda commit: commit(), deadline=0.3)
    ended = []

    def write() -> None:
        with pytest.raises(Unavailable):
            database.write(lambda c: c.execute(text("INSERT INTO counter VALUES (1)")))
        ended.append(time.monotonic())

    with Database(url).begin():
        begun = time.monotonic()
        threads = [threading.Thread(target=write) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(ended) == 5
    assert max(ended) - begun < 3
