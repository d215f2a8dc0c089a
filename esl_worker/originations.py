"""The originations under way on one switch: which event and which answer belongs to which.

No sockets here. ``Control`` hands in answers, events and what it found out by asking; each
origination comes to exactly one result, and each answered call to exactly one end, whatever is
lost in between. Order of events (measured): an unanswered call's CHANNEL_HANGUP_COMPLETE comes
before its BACKGROUND_JOB; an answered one's may, too, if it ends within milliseconds.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import gevent

from esl_worker.frames import Frame
from esl_worker.origination import CallEnd, OriginateResult, Origination, Outcome

log = logging.getLogger(__name__)

OnResult = Callable[[OriginateResult], None]
OnEnd = Callable[[CallEnd], None]

_CAUSE = re.compile(r"-ERR ([A-Z][A-Z0-9_]*)\n?")


@dataclass(slots=True)
class _Call:
    """One origination.

    Attributes:
        due: when (monotonic) the switch must have said something.
        asked: how often the switch has said that it has no such call.
        telling: runs `on_result`; the end is told after it.
    """

    uuid: str
    due: float
    on_result: OnResult | None
    on_end: OnEnd | None
    asked: int = 0
    telling: gevent.Greenlet[..., None] | None = None


class Originations:
    """By call id. Callbacks run in greenlets of their own, so they may wait."""

    def __init__(self) -> None:
        self._calls: dict[str, _Call] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, uuid: str) -> bool:
        return uuid in self._calls

    def begin(
        self, origination: Origination, due: float, on_result: OnResult, on_end: OnEnd | None
    ) -> None:
        """An origination is about to be sent. Raises ValueError for an id that is in use."""
        if origination.uuid in self._calls:
            raise ValueError("an origination with this uuid is under way")
        self._calls[origination.uuid] = _Call(origination.uuid, due, on_result, on_end)

    def forget(self, uuid: str) -> None:
        """It was not sent after all: no result."""
        self._calls.pop(uuid, None)

    def said(self, uuid: str, text: str) -> str | None:
        """The switch's answer to the command; None when there will be none.

        Returns the id of a call that must be ended: one that the switch placed under another id.
        """
        if text.startswith("+OK "):
            other = text[4:].strip()
            if other != uuid:
                # The id was in use on the switch, and it has dialled all the same.
                self._result(uuid, "lost", "the call id was in use on the switch")
                return other
            self.answered(uuid)
            return None
        cause = _CAUSE.fullmatch(text)
        if cause is None:
            log.error("the switch does not understand an origination: %.120r", text)
        self._result(uuid, "failed", cause[1] if cause else "INVALID_MSG_UNSPECIFIED")
        return None

    def event(self, name: str, event: Frame) -> None:
        """CHANNEL_ANSWER or CHANNEL_HANGUP_COMPLETE. Other legs carry our variable, too."""
        uuid = event.get("Unique-ID") or ""
        call = self._calls.get(uuid)
        if call is None:
            return
        if name == "CHANNEL_ANSWER":
            self.answered(uuid)
        elif name == "CHANNEL_HANGUP_COMPLETE":
            cause = event.get("Hangup-Cause") or "NORMAL_UNSPECIFIED"
            if call.on_result is not None and event.get("variable_answer_epoch") in (None, "0"):
                self._result(uuid, "failed", cause)
            else:
                self.answered(uuid)
                seconds = event.get("variable_billsec") or ""
                self._ended(uuid, cause, int(seconds) if seconds.isdecimal() else None)

    def answered(self, uuid: str) -> None:
        """The call was answered."""
        self._result(uuid, "answered", "")

    def ringing(self, uuid: str, due: float) -> None:
        """The switch has the call and it rings: wait on, until ``due``."""
        call = self._calls.get(uuid)
        if call is not None:
            call.due, call.asked = due, 0

    def gone(self, uuid: str) -> None:
        """The switch says that it has no such call. Twice, for one whose result is not known: the
        first time it may not have got to it yet."""
        call = self._calls.get(uuid)
        if call is None:
            return
        call.asked += 1
        call.due = 0.0  # asked again at the next opportunity
        if call.on_result is None:
            self._ended(uuid, None, None)
        elif call.asked > 1:
            self._result(uuid, "lost", "the switch has no such call and did not say what became")

    def overdue(self, now: float) -> list[str]:
        """Those whose result should have come."""
        return [c.uuid for c in self._calls.values() if c.on_result is not None and c.due <= now]

    def unanswered(self) -> list[str]:
        """Those whose result is not known yet."""
        return [c.uuid for c in self._calls.values() if c.on_result is not None]

    def talking(self) -> list[str]:
        """Those that were answered and have not ended."""
        return [c.uuid for c in self._calls.values() if c.on_result is None]

    def lose(self, uuids: Iterable[str], reason: str) -> None:
        """The switch has gone, and these with it."""
        for uuid in list(uuids):
            self._result(uuid, "lost", reason)
            self._ended(uuid, None, None, cut=True)

    def look(self, states: Mapping[str, str], due: float) -> None:
        """What the switch says about some: "answered", "ringing" or "none"."""
        for uuid, state in states.items():
            if state == "answered":
                self.answered(uuid)
            elif state == "ringing":
                self.ringing(uuid, due)
            else:
                self.gone(uuid)

    def _result(self, uuid: str, outcome: Outcome, cause: str) -> None:
        call = self._calls.get(uuid)
        if call is None or call.on_result is None:
            return
        on_result, call.on_result = call.on_result, None
        if outcome != "answered" or call.on_end is None:
            del self._calls[uuid]
        call.telling = gevent.spawn(on_result, OriginateResult(uuid, outcome, cause))

    def _ended(
        self, uuid: str, cause: str | None, talked_s: int | None, *, cut: bool = False
    ) -> None:
        call = self._calls.pop(uuid, None)
        if call is not None and call.on_end is not None:
            gevent.spawn(_tell_end, call.telling, call.on_end, CallEnd(uuid, cause, talked_s, cut))


def _tell_end(telling: gevent.Greenlet[..., None] | None, on_end: OnEnd, end: CallEnd) -> None:
    if telling is not None:
        telling.join()
    on_end(end)
