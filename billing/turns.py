"""Turns at writing to a SQLite file, between the greenlets of a process and between processes.

SQLite lets whoever finds the file locked try again and again, which costs a busy machine more than
the writing itself. Here the greenlets of one process queue, and the first of each process watches a
lock file, at the price of a system call. It only keeps order: SQLite's own lock decides, so a
process that takes no turns, or a turn that is not given in time, does no harm.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_LOOK_S = 0.0005
_SLOWEST_S = 0.004


class Turns:
    """Gives turns at the file that the lock file `path` stands for.

    Whoever has not got one after `limit_s` seconds goes on without. A killed process gives its
    turn back.
    """

    def __init__(self, path: str, limit_s: float) -> None:
        self._path = path
        self._limit_s = limit_s
        self._here = threading.Lock()
        self._file = -1
        self._owner = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Within this it is the caller's turn."""
        if not self._here.acquire(timeout=self._limit_s):
            yield
            return
        try:
            self._wait_for_others()
            yield
        finally:
            with suppress(OSError, ValueError):  # there is none where it could not be opened
                fcntl.flock(self._file, fcntl.LOCK_UN)
            self._here.release()

    def _wait_for_others(self) -> None:
        until = time.monotonic() + self._limit_s
        pause = _LOOK_S
        try:
            file = self._opened()
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except BlockingIOError:
                    if time.monotonic() > until:
                        return
                time.sleep(pause)
                pause = min(pause * 1.5, _SLOWEST_S)
        except OSError:
            return  # no file, no order; the database will say what is the matter

    def _opened(self) -> int:
        # A lock belongs to whoever opened the file: a forked process opens its own.
        if self._owner != os.getpid():
            self._file = -1
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o600)
            self._owner = os.getpid()
        return self._file
