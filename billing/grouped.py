"""Group commit: writes that come while another is on its way to the disk go there together.

SQLite has one writer, and each commit waits for the disk: a few hundred a second on a busy one,
however small they are. Here the writes of one process that wait for each other's commits share the
next one: each within its own savepoint, so that one that fails takes nothing else with it, and
nobody is answered before the disk has everything. PostgreSQL does the like by itself, across
connections; there a write goes as it always does.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from billing.database import Database
from billing.errors import Unavailable

T = TypeVar("T")

MOST = 100
"""Writes that share a commit at most: some ten milliseconds of work."""


class _Write:
    """What somebody wants to write, and what became of it.

    Its ``woken`` is let go of when it is ``over``, or when it is its turn to lead the next ones.
    """

    def __init__(self, work: Callable[[Connection], Any]) -> None:
        self._work = work
        self._value: Any = None
        self._error: BaseException | None = None
        self.over = False
        self.woken = threading.Lock()
        self.woken.acquire()

    def run(self, connection: Connection) -> None:
        """Do it within a savepoint; an error is its own, unless the database is to blame."""
        driver = cast(Any, connection.connection.driver_connection)
        driver.execute("SAVEPOINT grouped")
        try:
            self._value, self._error = self._work(connection), None
        except OperationalError:
            raise
        except BaseException as error:  # for whoever brought the work, not for whoever runs it
            driver.execute("ROLLBACK TO grouped")
            self._error = error
        driver.execute("RELEASE grouped")

    def fail(self, error: Exception) -> None:
        self._error = error

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value


class GroupedDatabase(Database):
    """A `Database` whose simultaneous writes share commits, on SQLite.

    What `Database.write` says of ``work`` holds: it may be run again, so it must be keyed. It may
    be run in the thread or greenlet of another one who writes.
    """

    def __init__(self, url: str, **options: Any) -> None:
        """As `Database`."""
        super().__init__(url, **options)
        self._order = threading.Lock()
        self._waiting: deque[_Write] = deque()
        self._led = False

    def write(self, work: Callable[[Connection], T]) -> T:
        """Return ``work(connection)``, run and committed, perhaps together with others'.

        Raises:
            Unavailable: the deadline passed; nothing is known to be written.
        """
        if not self.is_sqlite:
            return super().write(work)
        mine = _Write(work)
        with self._order:
            self._waiting.append(mine)
            leads = not self._led
            self._led = True
        if not leads:
            self._wait(mine)
        if not mine.over:
            self._lead()
        return cast(T, mine.result())

    def _wait(self, mine: _Write) -> None:
        """Wait until it is over, or to be led by us."""
        try:
            woken = mine.woken.acquire(timeout=self.deadline)
        except BaseException:
            if self._leave(mine) and not mine.over:
                with self._order:
                    self._waiting.remove(mine)
                    self._hand_over()
            raise
        if not woken and not self._leave(mine):
            raise Unavailable("the database is locked or away: others have waited as long")

    def _leave(self, mine: _Write) -> bool:
        """Wait no more; True: we were woken at this very moment."""
        with self._order:
            if mine.woken.acquire(blocking=False):
                return True
            if mine in self._waiting:
                self._waiting.remove(mine)
            return False

    def _lead(self) -> None:
        """Write what waits, in the order of coming, and hand over to the next one."""
        with self._order:
            batch = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]

        def together(connection: Connection) -> None:
            for each in batch:
                each.run(connection)

        over = True
        try:
            super().write(together)
        except Unavailable as error:
            for each in batch:
                each.fail(Unavailable(str(error)))
        except Exception as error:
            for each in batch:
                each.fail(error)
        except BaseException:
            # Whoever leads was told to stop; the others go on without.
            over = False
            raise
        finally:
            with self._order:
                if not over:
                    self._waiting.extendleft(reversed(batch[1:]))
                self._hand_over()
            if over:
                for each in batch:
                    each.over = True
                for each in batch[1:]:
                    each.woken.release()

    def _hand_over(self) -> None:
        self._led = bool(self._waiting)
        if self._waiting:
            self._waiting[0].woken.release()
