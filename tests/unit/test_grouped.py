"""Group commit: writes that come together are on the disk together, and fail alone."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from billing.errors import BillPaid, Unavailable
from billing.grouped import GroupedDatabase

Threads = Callable[[list[Callable[[], object]]], list[object]]


@pytest.fixture
def database(database_url: str) -> Iterator[GroupedDatabase]:
    """A fresh database with a table to write into."""
    opened = GroupedDatabase(database_url, deadline=10.0, pool_size=20)
    with opened.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE notes (note INTEGER PRIMARY KEY)")
    yield opened
    opened.close()


class Slowly:
    """Makes each commit of a database take a while, and counts them."""

    def __init__(self, database: GroupedDatabase, seconds: float = 0.05) -> None:
        self.commits = 0
        self.begun = threading.Event()
        original = database.engine.dialect.do_commit

        def commit(connection: Any) -> None:
            self.commits += 1
            self.begun.set()
            time.sleep(seconds)
            original(connection)

        database.engine.dialect.do_commit = commit  # type: ignore[method-assign]


def note(number: int) -> Callable[[Connection], int]:
    """Writes a number down."""

    def work(conn: Connection) -> int:
        conn.execute(text("INSERT INTO notes VALUES (:note)"), {"note": number})
        return number

    return work


def notes(database: GroupedDatabase) -> list[int]:
    return database.query(
        lambda conn: list(conn.scalars(text("SELECT note FROM notes ORDER BY note")))
    )


def only_sqlite(database: GroupedDatabase) -> None:
    if not database.is_sqlite:
        pytest.skip("PostgreSQL groups commits by itself")


def test_everybody_gets_their_own_answer(database: GroupedDatabase, in_threads: Threads) -> None:
    """On either database each write is there once, and each writer gets what its work returned."""
    answers = in_threads([lambda n=n: database.write(note(n)) for n in range(60)])
    assert answers == list(range(60))
    assert notes(database) == list(range(60))


def test_writes_that_wait_share_a_commit(database: GroupedDatabase, in_threads: Threads) -> None:
    """Forty writers while the disk is slow need a few commits, not forty."""
    only_sqlite(database)
    slowly = Slowly(database)
    in_threads([lambda n=n: database.write(note(n)) for n in range(40)])
    assert slowly.commits <= 5
    assert len(notes(database)) == 40


def test_nobody_is_answered_before_the_disk_has_it(
    database: GroupedDatabase, in_threads: Threads, tmp_path: Path
) -> None:
    """What a writer was told is written, another process finds at that moment."""
    only_sqlite(database)
    Slowly(database, 0.02)
    path = str(database.engine.url.database)

    def one(number: int) -> bool:
        database.write(note(number))
        with sqlite3.connect(path) as other:
            return bool(other.execute("SELECT 1 FROM notes WHERE note = ?", (number,)).fetchone())

    assert set(in_threads([lambda n=n: one(n) for n in range(20)])) == {True}


def test_one_that_fails_takes_nothing_with_it(
    database: GroupedDatabase, in_threads: Threads
) -> None:
    """An error is its own writer's, half of its work is undone, the others' stays."""
    Slowly(database)

    def refused(number: int) -> Callable[[], object]:
        def work(conn: Connection) -> None:
            note(number)(conn)
            raise BillPaid(str(number))

        return lambda: database.write(work)

    good = [lambda n=n: database.write(note(n)) for n in range(10)]
    answers = in_threads(good + [refused(n) for n in range(100, 110)])
    assert answers[:10] == list(range(10))
    assert [str(each) for each in answers[10:]] == [str(n) for n in range(100, 110)]
    assert notes(database) == list(range(10))


def test_a_locked_database_is_unavailable_to_all(
    database_url: str, database: GroupedDatabase, in_threads: Threads
) -> None:
    """Whoever waits behind a leader that waits in vain gets the same answer, in time."""
    only_sqlite(database)
    impatient = GroupedDatabase(database_url, deadline=0.3)
    with database.begin():
        begun = time.monotonic()
        answers = in_threads([lambda n=n: impatient.write(note(n)) for n in range(8)])
        assert time.monotonic() - begun < 5
    assert {type(each) for each in answers} == {Unavailable}
    assert notes(database) == []
    assert impatient.write(note(1)) == 1
    impatient.close()


def test_a_leader_that_is_told_to_stop_leaves_the_others_their_turn(
    database: GroupedDatabase, in_threads: Threads
) -> None:
    """A greenlet killed in its commit: who waited with it writes all the same."""
    only_sqlite(database)
    killed = []

    class Killed(BaseException):
        pass

    original = database.engine.dialect.do_commit

    def commit(connection: Any) -> None:
        time.sleep(0.05)
        if len(killed) == 1:
            killed.append(True)
            raise Killed
        original(connection)

    database.engine.dialect.do_commit = commit  # type: ignore[method-assign]

    def one(number: int) -> object:
        try:
            return database.write(note(number))
        except Killed:
            return "killed"

    def first() -> object:
        killed.append(True)
        return one(100)

    answers = in_threads([first] + [lambda n=n: one(n) for n in range(10)])
    assert answers.count("killed") == 1
    kept = [each for each in answers if each != "killed"]
    assert notes(database) == sorted(kept)  # type: ignore[type-var]


def test_one_killed_while_it_waits_does_not_hold_up_the_others(database: GroupedDatabase) -> None:
    """Greenlets killed at any moment of waiting: the next one still gets through."""
    only_sqlite(database)
    gevent = pytest.importorskip("gevent")
    from gevent.lock import Semaphore

    class Lock(Semaphore):  # what a patched process has for a lock
        def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
            return bool(super().acquire(blocking, timeout))

    real = threading.Lock
    try:
        threading.Lock = Lock  # type: ignore[assignment, misc]
        database._order = Lock()  # type: ignore[assignment]
        database.engine.dialect.do_commit = lambda connection: (  # type: ignore[method-assign]
            gevent.sleep(0.01),
            connection.commit(),
        )
        writers = [gevent.spawn(database.write, note(n)) for n in range(30)]
        gevent.sleep(0.005)
        for place in (1, 2, 3, 10, 29):
            writers[place].kill(block=False)
        gevent.sleep(0.011)
        writers[0].kill(block=False)
        gevent.joinall(writers, timeout=10)
        assert all(each.dead for each in writers)
        late = gevent.spawn(database.write, note(99))
        late.join(timeout=5)
        assert late.value == 99
    finally:
        threading.Lock = real  # type: ignore[misc]
    left = [n for n in range(30) if n not in (0, 1, 2, 3, 10, 29)]
    assert set(left) <= set(notes(database))
