"""What can go wrong at a write: the process dies before it, within it, or before its answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, event

from billing.database import Database

T = TypeVar("T")

PHASES = ("before", "within", "after")


class Killed(BaseException):
    """The process is dead; nothing in it may go on, not even what handles exceptions."""


class FragileDatabase(Database):
    """A database at whose writes the writing process can die; it itself never forgets a commit.

    ``point`` is set by whoever writes: what is being done. ``deaths`` counts by point and phase.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, deadline=20.0)
        self.point = "?"
        self.deaths: Counter[tuple[str, str]] = Counter()
        self.writes: Counter[str] = Counter()
        self._armed: str | None = None
        if self.is_sqlite:
            # What is simulated is the death of processes, not of the machine.
            event.listen(self.engine, "connect", _without_waiting_for_the_disk)

    def arm(self, phase: str | None) -> None:
        """Let the next write be the process's last, in that phase; None: no more."""
        self._armed = phase

    def write(self, work: Callable[[Connection], T]) -> T:
        """As `Database.write`, unless the process dies."""
        self.writes[self.point] += 1
        phase, self._armed = self._armed, None
        if phase is None:
            return super().write(work)
        self.deaths[self.point, phase] += 1
        if phase == "before":
            raise Killed
        if phase == "after":
            super().write(work)
            raise Killed

        def dying(conn: Connection) -> T:
            work(conn)
            raise Killed

        return super().write(dying)


def _without_waiting_for_the_disk(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")
