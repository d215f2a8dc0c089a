"""Writes the journals of live calls to the database, beside the calls rather than in their way.

One greenlet for all calls of a worker: each second it stores the steps of the calls that have
ended, every so often those of the others. A call never waits for it, and a database that is away
only makes it try again. What is not stored yet is kept in a spool (see journal_spool), which
another worker takes in should this one be killed.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import gevent
from gevent.event import Event

from billing.errors import BillingError
from billing.journal import CallHeader
from billing.journal import Journal as Store
from callflows.call import Call
from esl_worker.journal_spool import Spool, take_in

log = logging.getLogger(__name__)

INTERVAL_S = 1.0
# Of calls that live, where a spool keeps their steps: each second would be most of a busy worker's
# work (2,000 live calls have 2,000 new steps a second), and nobody looks that soon.
LIVE_S = 15.0
# Ended calls whose journal could not be written yet; beyond this the oldest are given up, loudly.
BACKLOG = 50_000
# Calls in one transaction: it takes a few milliseconds, in which no call goes on.
TOGETHER = 50


@dataclass(slots=True)
class _Open:
    call: Call
    started_at: datetime
    caller: str
    dialled: str
    ended_at: datetime | None = None
    outcome: str | None = None
    line: int | None = None
    saved: int = 0
    spooled: int = 0


class JournalWriter:
    """Stores the steps of the calls it is told of; `interval_s` seconds between two rounds.

    `spool_dir` is the folder that the workers of this machine share; without one every round
    stores the live calls, too, and a kill -9 loses what was heard in the last interval.
    """

    def __init__(
        self, store: Store, *, interval_s: float = INTERVAL_S, spool_dir: Path | None = None
    ) -> None:
        self._store = store
        self._spool_dir = spool_dir
        self._spool = Spool(spool_dir) if spool_dir is not None else None
        self._interval_s = interval_s
        self._live_s = LIVE_S if spool_dir is not None else 0.0
        self._all_due = 0.0
        # By conversation, not by call id: a call that comes back from a transfer is a second
        # conversation, and the first may not be stored yet.
        self._open: dict[Call, _Open] = {}
        self._stopping = Event()
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def start(self) -> None:
        """Begin to write in the background."""
        self._greenlet = gevent.spawn(self._run)

    def begin(self, call: Call, at: datetime) -> None:
        """A call has begun: its steps are stored from now on."""
        self._open[call] = _Open(call, at, call.channel.caller[:64], call.channel.dialled[:64])

    def end(self, call: Call, at: datetime, outcome: str, line: int | None) -> None:
        """A call has ended: the rest of its steps is stored with the outcome."""
        entry = self._open.get(call)
        if entry is not None:
            entry.ended_at, entry.outcome, entry.line = at, outcome, line
            self._keep(entry)

    def keep(self, call: Call) -> None:
        """A command is about to go to the switch: what led to it outlives this process."""
        entry = self._open.get(call)
        if entry is not None and len(call.journal.steps) > max(entry.spooled, entry.saved):
            self._keep(entry)

    def stop(self) -> None:
        """Store what is left and end; called when the last call is over."""
        self._stopping.set()
        if self._greenlet is not None:
            self._greenlet.join()
        self._all_due = 0.0
        self._round()
        if self._spool is None:
            return
        if self._open:
            self._spool.leave()
        else:
            self._spool.close()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            try:
                self._round()
            except Exception:
                # Or no journal would be stored any more, of no call, and nobody would notice.
                log.exception("journals could not be stored")

    def _keep(self, entry: _Open) -> None:
        if self._spool is None:
            return
        steps = entry.call.journal.steps
        try:
            self._spool.keep(self._header(entry), steps[max(entry.spooled, entry.saved) :])
        except OSError as error:
            # A full disk must not end a call; the database may still take what the spool cannot.
            log.error("journal of call %s is not spooled: %s", entry.call.id, error)
        entry.spooled = len(steps)

    def _round(self) -> None:
        """Store what is new, many calls to a transaction; live calls go on between two of them.

        Calls that have ended are stored each time, those that live when their time has come.
        """
        now = time.monotonic()
        everything = now >= self._all_due
        if everything and self._spool is not None:
            self._spool.storing()
        fresh = [
            entry
            for entry in self._open.values()
            if entry.outcome is not None
            or (everything and len(entry.call.journal.steps) > entry.saved)
        ]
        for start in range(0, len(fresh), TOGETHER):
            if start:
                gevent.sleep(0)
            if not self._stored(fresh[start : start + TOGETHER]):
                self._give_up_oldest()
                return
        if everything:
            self._all_due = now + self._live_s
            if self._spool is not None:
                self._spool.stored()
        self._take_in()

    def _take_in(self) -> None:
        """Store what workers that died have left."""
        if self._spool_dir is None:
            return
        try:
            take_in(self._spool_dir, self._store)
        except BillingError as error:
            log.warning("journals of a worker that died wait for the database: %s", error)

    def _stored(self, entries: list[_Open]) -> bool:
        batches = [
            (self._header(entry), entry.call.journal.steps[entry.saved :]) for entry in entries
        ]
        try:
            self._store.write_all(batches)
        except BillingError as error:
            log.warning("journals wait for the database: %s", error)
            return False
        for entry, (header, steps) in zip(entries, batches, strict=True):
            entry.saved += len(steps)
            # As it was written: the call may have ended meanwhile.
            if header.outcome is not None:
                self._open.pop(entry.call, None)
        return True

    def _header(self, entry: _Open) -> CallHeader:
        return CallHeader(
            call_id=entry.call.id,
            started_at=entry.started_at,
            ended_at=entry.ended_at,
            caller=entry.caller or None,
            dialled=entry.dialled or None,
            line=entry.line,
            language=entry.call.language,
            outcome=entry.outcome,
            methods=tuple(entry.call.journal.methods),
            resumed=entry.call.journal.leg > 0,
        )

    def _give_up_oldest(self) -> None:
        ended = [call for call, entry in self._open.items() if entry.outcome is not None]
        for call in ended[: max(0, len(ended) - BACKLOG)]:
            del self._open[call]
            log.error("journal of call %s is lost: the database has been away too long", call.id)
