"""Calls owners about requests that wait for their answer: beside the dialer, in its process."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from gevent.event import Event

from billing.clock import Clock
from billing.errors import Unavailable
from billing.premium.approval_calls import ApprovalCalls, OwnerCall
from esl_worker.originator import Fate, NotPlaced, Originator, Outgoing

log = logging.getLogger(__name__)

# A caller waits with music for what this call is about.
LOOK_S = 2.0
RING_S = 30
AGAIN_AFTER = timedelta(seconds=20)


class ApprovalCaller:
    """Looks for due calls and places them, over whichever switch is ready, until it is stopped."""

    def __init__(
        self,
        calls: ApprovalCalls,
        originators: Sequence[Originator],
        clock: Clock,
        *,
        caller_id: str,
        look_s: float = LOOK_S,
    ) -> None:
        self._calls = calls
        self._originators = list(originators)
        self._clock = clock
        self._caller_id = caller_id
        self._look_s = look_s
        self._stopped = Event()

    def run(self) -> None:
        """Place calls until `stop`; what goes wrong is logged, and tried again."""
        while not self._stopped.wait(self._look_s):
            try:
                self.look()
            except Unavailable:
                log.warning("the database is away; owners are called later")
            except Exception:
                log.exception("calling owners failed")

    def stop(self) -> None:
        """Place no further calls."""
        self._stopped.set()

    def look(self) -> int:
        """Place the calls that are due; returns how many. Raises Unavailable."""
        ready = [each for each in self._originators if each.ready]
        if not ready:
            return 0
        placed = 0
        for call in self._calls.claim():
            placed += self._place(call, ready)
            # Round the switches, so that one does not get all.
            ready.append(ready.pop(0))
        return placed

    def _place(self, call: OwnerCall, ready: Sequence[Originator]) -> bool:
        outgoing = Outgoing(call.call_id, call.number, self._caller_id, RING_S)
        for originator in ready:
            try:
                originator.place(outgoing, _answered, _ended)
            except NotPlaced:
                continue
            log.info("request %s: its owner is called over %s", call.request, originator.name)
            return True
        self._calls.give_back(call, self._clock.now() + AGAIN_AFTER)
        return False


def _answered(call_id: str) -> None:
    log.info("call %s to an owner is answered", call_id)


def _ended(fate: Fate) -> None:
    log.info("call %s to an owner: %s", fate.call_id, fate.result or "over")
