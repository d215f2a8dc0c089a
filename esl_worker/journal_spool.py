"""What a worker has not stored yet of its calls' journals, in a file that outlives it.

Journals of live calls go to the database now and then (see `esl_worker.journal`). Before each
command to the switch a worker appends the new steps here: a few microseconds, no fsync. A kill -9
does not take them, for they are in the system's hands; any other worker on the machine takes them
in. (A power failure may take what was heard since they were stored last; facts, such as orders, are
never kept here only.)

A file belongs to the process that holds its lock, so one that can be locked has lost its owner.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from billing.journal import CallHeader, Journal, Step
from billing.texts import storable

log = logging.getLogger(__name__)

SUFFIX = ".steps"
# Entries taken in with one transaction.
TOGETHER = 50
# Made once: json.dumps with options makes one at each step.
_ENCODER = json.JSONEncoder(separators=(",", ":"))


class Spool:
    """The files of one worker in `folder`; opened in the worker's own process.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._old: _File | None = None
        self._current = _File(folder)

    def keep(self, header: CallHeader, steps: Sequence[Step]) -> None:
        """Append steps of a call, and what is known of the call by now."""
        told = [(step.seq, step.at_ms, step.state, step.kind, step.data) for step in steps]
        facts = [
            header.call_id,
            header.started_at.isoformat(),
            header.ended_at.isoformat() if header.ended_at else None,
            header.caller,
            header.dialled,
            header.line,
            header.language,
            header.outcome,
            header.methods,
        ]
        self._current.append(f"{_ENCODER.encode([facts, told])}\n".encode())

    def storing(self) -> None:
        """All that was kept is about to be stored: what is kept from now on goes elsewhere."""
        if self._old is None and self._current.size:
            try:
                fresh = _File(self._folder)
            except OSError as error:
                # The file only grows; what is in it is stored all the same.
                log.error("no new spool for journals: %s", error)
                return
            self._old, self._current = self._current, fresh

    def stored(self) -> None:
        """What was kept before `storing` is in the database."""
        if self._old is not None:
            self._old.remove()
            self._old = None

    def close(self) -> None:
        """Everything is stored: leave nothing behind."""
        self.stored()
        self._current.remove()

    def leave(self) -> None:
        """Not everything could be stored: leave it to the next worker."""
        for file in (self._old, self._current):
            if file is not None:
                file.release()


class _File:
    """One file, locked as long as it is open."""

    def __init__(self, folder: Path) -> None:
        name = f"{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        draft = folder / f".{name}"
        self._path = folder / name
        self._descriptor = os.open(
            draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Seen by others only now that it is locked.
        draft.rename(self._path)
        self.size = 0

    def append(self, data: bytes) -> None:
        self.size += os.write(self._descriptor, data)

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def release(self) -> None:
        if self.size:
            os.close(self._descriptor)
        else:
            self.remove()


def take_in(folder: Path, store: Journal) -> int:
    """Store what dead workers have left in `folder`; returns how many files that were.

    Raises:
        BillingError: the database is locked or away; what is left stays for the next time.
    """
    taken = 0
    with suppress(FileNotFoundError):
        for path in sorted(folder.glob(f"*{SUFFIX}"), key=_age):
            with suppress(OSError):
                taken += _take_in_file(path, store)
    return taken


def _take_in_file(path: Path, store: Journal) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False  # its owner lives, or another worker is at it
        if not os.fstat(file.fileno()).st_nlink:
            return False
        taken = 0
        # Adding an entry twice does no harm: what is left of a file is begun anew the next time.
        while batches := _batches(file, path.name):
            store.add_all(batches)
            taken += len(batches)
            time.sleep(0)  # let live calls go on
        path.unlink()
    if taken:
        log.info("the journals of a worker that died are taken in (%d entries)", taken)
    return True


def _batches(file: IO[bytes], name: str) -> list[tuple[CallHeader, list[Step]]]:
    """The next entries of a file, not more than a live worker has the time for in one go."""
    found: list[tuple[CallHeader, list[Step]]] = []
    for line in file:
        try:
            found.append(_batch(json.loads(line)))
        except (ValueError, TypeError, IndexError):
            # The last one, where its worker was killed within the write.
            log.warning("%s: an unfinished entry of a journal is left out", name)
        if len(found) == TOGETHER:
            break
    return found


def _batch(entry: Any) -> tuple[CallHeader, list[Step]]:
    facts, told = entry
    call_id, started_at, ended_at, caller, dialled, line, language, outcome, methods = facts
    header = CallHeader(
        call_id=storable(call_id, 128),
        started_at=datetime.fromisoformat(started_at),
        ended_at=datetime.fromisoformat(ended_at) if ended_at else None,
        caller=caller,
        dialled=dialled,
        line=line,
        language=language,
        outcome=outcome,
        methods=tuple(methods),
    )
    return header, [Step(*step) for step in told]


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
