"""The killing: counts events over all processes of a run, and kills when a moment has come."""

from __future__ import annotations

import mmap
import os
import signal
import struct
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection

from bench.survival.plan import KINDS, Moment
from billing.database import Database
from esl_worker.session import Command, Reply, Session

T = TypeVar("T")
_CARRIER, _KILLED, _CARRIED = 0, 1, 2
_FIRST = 3


class Doom:
    """Counters in memory that all processes of a run share; made before they fork."""

    def __init__(self, moments: Sequence[Moment]) -> None:
        self._moments = list(moments)
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)

    def carry(self) -> None:
        """This process has the call now."""
        self._put(_CARRIER, os.getpid())
        self._put(_CARRIED, 1)

    @property
    def killed(self) -> int:
        """How many workers have been killed."""
        return self._get(_KILLED)

    @property
    def carried(self) -> bool:
        """Whether a worker has had the call since the last one was killed."""
        return bool(self._get(_CARRIED))

    def count(self, kind: str) -> list[Moment]:
        """An event of that kind happens; returns the moments that have come with it."""
        place = _FIRST + KINDS.index(kind)
        count = self._get(place) + 1
        self._put(place, count)
        return [each for each in self._moments if (each.kind, each.count) == (kind, count)]

    def tick(self, kind: str) -> None:
        """An event in a worker: it dies here if its moment has come."""
        if self.count(kind):
            self._put(_KILLED, self.killed + 1)
            self._put(_CARRIER, 0)
            self._put(_CARRIED, 0)
            os.kill(os.getpid(), signal.SIGKILL)

    def strike(self) -> bool:
        """Kill the worker that carries the call, from outside; False if none lives that does."""
        pid = self._get(_CARRIER)
        if not pid:
            return False
        self._put(_CARRIER, 0)
        self._put(_CARRIED, 0)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self._put(_KILLED, self.killed + 1)
        return True

    def _get(self, place: int) -> int:
        return int(struct.unpack_from("q", self._memory, 8 * place)[0])

    def _put(self, place: int, value: int) -> None:
        struct.pack_into("q", self._memory, 8 * place, value)


class DoomedDatabase(Database):
    """A database in whose transactions a worker may die."""

    def __init__(self, url: str, doom: Doom) -> None:
        super().__init__(url)
        self._doom = doom

    def write(self, work: Callable[[Connection], T]) -> T:
        """See `Database.write`."""

        def doomed(connection: Connection) -> T:
            self._doom.tick("writing")
            result = work(connection)
            self._doom.tick("commit")
            return result

        result = super().write(doomed)
        self._doom.tick("committed")
        return result

    def query(self, work: Callable[[Connection], T]) -> T:
        """See `Database.query`."""
        self._doom.tick("looking")
        return super().query(work)


def doom_sessions(doom: Doom) -> None:
    """Let this process die in the midst of speaking with the switch."""
    exchange, wait_readable = Session.exchange, Session._wait_readable

    def doomed_exchange(
        self: Session,
        commands: Sequence[Command],
        timeout_s: float | None = None,
        **watching: Any,
    ) -> list[Reply]:
        speaking = self.session_data is not None
        if speaking:
            doom.tick("sending")
        replies = exchange(self, commands, timeout_s, **watching)
        if speaking:
            doom.tick("answered")
        return replies

    def doomed_wait(self: Session, seconds: float) -> bool:
        if self.session_data is not None:
            doom.tick("waiting")
        return wait_readable(self, seconds)

    Session.exchange = doomed_exchange  # type: ignore[method-assign]
    Session._wait_readable = doomed_wait  # type: ignore[method-assign]
