"""The database: connections, transactions, and waiting for one that is locked or away.

SQLite (embedded) and PostgreSQL (production) behind the same two calls. Times are seconds.

SQLite is opened in WAL mode with ``synchronous=FULL``: a commit is on the disk before the caller
hears "you get the SMS". NORMAL would save about 15 us of CPU and one fsync a commit, and could lose
the last promises when the power fails, which "nothing promised is lost" does not allow.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from billing.errors import Unavailable
from billing.turns import Turns

T = TypeVar("T")

_MIGRATIONS = str(Path(__file__).parent / "migrations")

# In C, so the gevent loop stands still meanwhile: next to nothing. Waiting is done in _pause.
_BUSY_TIMEOUT_S = 0.005

# PostgreSQL: lock wait ended, deadlock, serialization, server starting, stopping, full, demoted.
_TRANSIENT_STATES = frozenset(
    {"55P03", "40P01", "40001", "57P01", "57P02", "57P03", "53300", "25006"}
)

# A migration and a run of bills take as long as they take; a caller's transaction does not.
_STATEMENT_TIMEOUT_S = 30


class Database:
    """A database with a pool of connections, for threads and for gevent greenlets alike.

    Nothing blocks a gevent loop longer than one statement: psycopg waits through the loop, and on
    SQLite waiting for a lock is ``time.sleep``, which is cooperative in a patched process.
    """

    def __init__(
        self,
        url: str,
        *,
        deadline: float = 3.0,
        pool_size: int = 10,
        aside: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        """Prepare for ``url`` (``sqlite:///path`` or ``postgresql://...``); connects later.

        Args:
            url: which database; ``postgresql://`` is taken with psycopg 3.
            deadline: seconds that a transaction waits in all for a database locked or away.
            pool_size: connections kept at most; more callers than that wait for one.
            aside: runs a function in a thread and waits for it, letting others go on. SQLite's
                commits then go there: a commit waits for the disk, milliseconds on a busy one, and
                in a gevent process every call would wait with it.

        Raises:
            ValueError: the URL is malformed, or names another kind of database.
        """
        try:
            parsed = make_url(url)
        except sqlalchemy.exc.ArgumentError as error:
            # Without the URL: it may hold a password.
            raise ValueError("not a database URL") from error
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
            raise ValueError(f"not a database that is supported: {parsed.drivername}")
        self.deadline = deadline
        self.is_sqlite = parsed.drivername == "sqlite"
        options: dict[str, Any] = {
            "pool_size": pool_size,
            "max_overflow": 0,
            "pool_timeout": deadline,
        }
        if self.is_sqlite:
            if parsed.database in (None, "", ":memory:"):
                raise ValueError("a SQLite database needs a file: workers and jobs share it")
            Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
            options["poolclass"] = sqlalchemy.QueuePool
            options["connect_args"] = {
                # Where commits go aside, one of our own is the usual reason for a lock: no waiting
                # in C then, at all.
                "timeout": _BUSY_TIMEOUT_S if aside is None else 0.0,
                "isolation_level": None,  # BEGIN is said here, never by the driver
                "check_same_thread": False,  # the pool lends a connection to one at a time
            }
        else:
            milliseconds = int(deadline * 1000)
            options["connect_args"] = {
                "connect_timeout": max(2, int(deadline)),
                # A server that is gone without a word is noticed within the deadline.
                "tcp_user_timeout": milliseconds,
                "keepalives_idle": 10,
                "options": f"-c lock_timeout={milliseconds}"
                f" -c statement_timeout={_STATEMENT_TIMEOUT_S * 1000}"
                f" -c idle_in_transaction_session_timeout={_STATEMENT_TIMEOUT_S * 1000}",
            }
        self.engine = sqlalchemy.create_engine(parsed, **options)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _open_sqlite)
        self._turn: Callable[[], AbstractContextManager[None]] = nullcontext
        if self.is_sqlite and aside is not None:
            # One writer at a time is all that SQLite has; a commit that has gone aside holds it.
            self._turn = Turns(f"{parsed.database}-turn", deadline).turn
            # The call into the driver alone: SQLAlchemy's part stays with whoever commits.
            self.engine.dialect.do_commit = lambda connection: aside(connection.commit)  # type: ignore[method-assign, assignment]
        _DATABASES.add(self)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Give a connection in a write transaction; commit at the end, roll back on an error.

        Waits for a database that is locked or away until the deadline, at the start only: whoever
        can run the whole again uses `write`.

        Raises:
            Unavailable: locked or away until the deadline, or lost on the way.
        """
        connection = self._persist(lambda: self._connect_once(True))
        with _translated(), connection:
            yield connection
            connection.commit()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection for reading; each statement sees what is committed by then.

        Raises:
            Unavailable: locked or away until the deadline, or lost on the way.
        """
        connection = self._persist(lambda: self._connect_once(False))
        with _translated(), connection:
            yield connection

    def write(self, work: Callable[[Connection], T]) -> T:
        """Return ``work(connection)``, run and committed in one write transaction.

        When the database is locked, away or breaks a deadlock, the whole is run again until the
        deadline. A commit whose answer was lost may have happened, so ``work`` must be keyed:
        run twice, it must write once.

        Raises:
            Unavailable: the deadline passed; nothing is known to be written.
        """
        return self._persist(lambda: self._write_once(work))

    def query(self, work: Callable[[Connection], T]) -> T:
        """Return ``work(connection)``, which only reads, run again like `write`.

        Raises:
            Unavailable: the deadline passed.
        """
        return self._persist(lambda: self._query_once(work))

    def migrate(self) -> None:
        """Bring the schema to the newest version; safe when several processes do it at once.

        Raises:
            Unavailable: the database is away.
        """
        config = _alembic()
        current, newest = self.revisions()
        if current == newest:
            # Usually there is nothing to do, and then no lock is wanted: who only looks at the
            # queues must not wait for a writer.
            return
        with self.begin() as connection:
            if not self.is_sqlite:
                # One at a time: whoever comes second finds the work done.
                connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7267100)")
            config.attributes["connection"] = connection
            with _MIGRATION:
                command.upgrade(config, "head")

    def revisions(self) -> tuple[str | None, str | None]:
        """Return the schema's revision (None: nothing is there), and the one of this release.

        Raises:
            Unavailable: the database is away.
        """
        with self.read() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
        return current, ScriptDirectory.from_config(_alembic()).get_current_head()

    def close(self) -> None:
        """Close the pooled connections; the next use opens new ones."""
        self.engine.dispose()

    def _connect_once(self, writing: bool) -> Connection:
        connection = self.engine.connect()
        try:
            if not self.is_sqlite:
                # Finds a pooled connection dead here, where it is replaced, and not half-way.
                connection.exec_driver_sql("SELECT 1")
            elif writing:
                # IMMEDIATE takes the write lock now; a lock wanted half-way could only fail.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
        except BaseException:
            connection.close()
            raise
        return connection

    def _write_once(self, work: Callable[[Connection], T]) -> T:
        with self._turn(), self.engine.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            result = work(connection)
            connection.commit()
            return result

    def _query_once(self, work: Callable[[Connection], T]) -> T:
        with self.engine.connect() as connection:
            return work(connection)

    def _persist(self, attempt: Callable[[], T]) -> T:
        tries = 0
        started = time.monotonic()
        while True:
            try:
                return attempt()
            except PoolTimeout:
                raise Unavailable("no free database connection") from None
            except DBAPIError as error:
                left = started + self.deadline - time.monotonic()
                if left <= 0 or not is_transient(error):
                    _raise_translated(error)
            tries += 1
            _pause(tries, left)


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", _MIGRATIONS.replace("%", "%%"))
    return config


# Alembic keeps its context in module globals: one migration at a time in a process.
_MIGRATION = threading.Lock()


# Queue workers fork for each job. A connection that two processes speak on is worse than none: the
# child opens its own, and keeps the inherited ones from being closed under the parent.
_DATABASES: weakref.WeakSet[Database] = weakref.WeakSet()
_INHERITED: list[object] = []


def _leave_connections_to_parent() -> None:
    for database in list(_DATABASES):
        _INHERITED.append(database.engine.pool)
        database.engine.dispose(close=False)


os.register_at_fork(after_in_child=_leave_connections_to_parent)


def is_transient(error: DBAPIError) -> bool:
    """Return whether trying again may help: locked, away, a deadlock broken."""
    if error.connection_invalidated:
        return True
    if not _is_outage(error):
        return False
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        # BUSY (5) and LOCKED (6) with their extended codes, and CANTOPEN (14): a file being made.
        return (cause.sqlite_errorcode & 0xFF) in (5, 6, 14)
    state = getattr(cause, "sqlstate", None)
    # Without a state psycopg never reached the server, or lost it.
    return state is None or state in _TRANSIENT_STATES or state.startswith("08")


def _is_outage(error: DBAPIError) -> bool:
    """Return whether the database's state is to blame (also a full disk), not a statement."""
    if isinstance(error.orig, sqlite3.OperationalError):
        return (error.orig.sqlite_errorcode & 0xFF) != 1  # 1: a statement that cannot be right
    return isinstance(error, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InternalError)


def _raise_translated(error: DBAPIError) -> NoReturn:
    if error.connection_invalidated or _is_outage(error):
        reason = str(error.orig).strip().partition("\n")[0]
        raise Unavailable(f"the database is locked or away: {reason}") from error
    raise error


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        _raise_translated(error)


def _pause(tries: int, left: float) -> None:
    # From 0.5 ms, doubling to 50 ms, spread so that waiters do not come back together.
    delay = min(0.0005 * 2 ** min(tries, 7), 0.05) * (0.5 + random.random())
    time.sleep(min(delay, left))


def _open_sqlite(connection: sqlite3.Connection, record: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
