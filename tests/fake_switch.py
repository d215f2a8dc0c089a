"""A switch for the dialer's tests: simulated subscribers in greenlets, under a compressed clock.

It implements the `Originator` port, keeps on when dialers die, and remembers whom it has called.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import gevent

from billing.announcing import Announcements
from billing.retry_rules import Result
from esl_worker.originator import Fate, NotPlaced, Outgoing, SwitchAway


class FastClock:
    """A clock that runs ``speed`` times as fast as real time, from ``start``."""

    def __init__(self, start: datetime, speed: float) -> None:
        self._start = start.astimezone(UTC)
        self._began = time.monotonic()
        self.speed = speed

    def now(self) -> datetime:
        """The present, aware, in UTC."""
        return self._start + timedelta(seconds=(time.monotonic() - self._began) * self.speed)


@dataclass(frozen=True)
class Subscriber:
    """What one does: ``result`` "" answers and listens; ``ring_s`` and ``talk_s`` are seconds."""

    result: Result | None = None
    ring_s: float = 5.0
    talk_s: float = 30.0
    said: str = "heard"


@dataclass
class FakeSwitch:
    """One switch. ``plan`` gives what a number does at its n-th call (counted from 0)."""

    name: str
    speed: float
    plan: Callable[[str, int], Subscriber]
    announcements: Announcements
    ready: bool = True
    away: bool = False
    placed: dict[str, list[str]] = field(default_factory=dict)
    answered: dict[str, list[str]] = field(default_factory=dict)
    overlaps: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    most_live: int = 0
    running_s: float | None = None
    starts: list[float] = field(default_factory=list)
    _live: dict[str, gevent.Greenlet] = field(default_factory=dict)  # type: ignore[type-arg]

    def place(
        self,
        call: Outgoing,
        on_answer: Callable[[str], None],
        on_fate: Callable[[Fate], None],
    ) -> None:
        """See `Originator`."""
        if not self.ready:
            raise NotPlaced("not connected")
        times = len(self.placed.get(call.number, []))
        if self.talks_with(call.number):
            self.overlaps.append(call.number)
        self.placed.setdefault(call.number, []).append(call.call_id)
        self.starts.append(time.monotonic() * self.speed)
        does = self.plan(call.number, times)
        self._live[call.call_id] = gevent.spawn(self._call, call, does, on_answer, on_fate)
        self.most_live = max(self.most_live, len(self._live))

    def exists(self, call_ids: list[str]) -> set[str]:
        """See `Originator`."""
        if self.away:
            raise SwitchAway("not connected")
        return set(call_ids) & set(self._live)

    def up_s(self) -> float | None:
        """See `Originator`."""
        return self.running_s

    def hang_up(self, call_id: str) -> None:
        """See `Originator`."""
        if self.away:
            raise SwitchAway("not connected")
        call = self._live.get(call_id)
        if call is not None:
            self.cancelled.append(call_id)
            call.kill(_Cancelled(), block=False)

    @property
    def live(self) -> int:
        """How many calls there are now."""
        return len(self._live)

    def talks_with(self, number: str) -> bool:
        """Whether there is a call to this number."""
        return any(call_id in self._live for call_id in self.placed.get(number, []))

    def _call(
        self,
        call: Outgoing,
        does: Subscriber,
        on_answer: Callable[[str], None],
        on_fate: Callable[[Fate], None],
    ) -> None:
        result: Result | None = does.result
        try:
            gevent.sleep(min(does.ring_s, call.ring_s) / self.speed)
            if result is None:
                self.answered.setdefault(call.number, []).append(call.call_id)
                on_answer(call.call_id)
                self._converse(call, does)
        except _Cancelled:
            result = "no_answer"
        finally:
            del self._live[call.call_id]
        on_fate(Fate(call.call_id, answered=result is None, result=result))

    def _converse(self, call: Outgoing, does: Subscriber) -> None:
        self.announcements.answered(call.call_id)
        gevent.sleep(does.talk_s / self.speed)
        if does.said == "opted_out":
            self.announcements.opt_out(call.call_id, call.number)
        elif does.said == "machine":
            self.announcements.machine(call.call_id)
        elif does.said == "heard":
            self.announcements.heard(call.call_id)


class _Cancelled(Exception):
    """The call is ended from outside."""
