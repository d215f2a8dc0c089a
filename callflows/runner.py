"""Takes a flow from state to state until the caller is gone or the conversation is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from billing.errors import Unavailable
from callflows.call import Call, CallerGone, GaveUp, HandedOver
from callflows.flow import Flow, State, place_of

log = logging.getLogger(__name__)

Watch = Callable[[str, str, float], object]
"""Is told flow, state and seconds each time that a call leaves a state."""


def _unwatched(_flow: str, _state: str, _seconds: float) -> None:
    """Where nobody measures."""


def run(flow: Flow, call: Call, start: State | None = None, *, watch: Watch = _unwatched) -> str:
    """Run a flow from `start` (its initial state by default) to its end; returns how it ended.

    The answer is one of "completed" (we ended the call), "transferred", "caller_gone" or
    "trouble". An error of ours is logged and goes to the flow's own words for it: the caller hears
    a sentence, whatever broke. A second error in a row ends the call.
    """
    try:
        outcome = _converse(flow, call, start, watch)
    except HandedOver:
        return "transferred"
    except CallerGone as end:
        if not end.certain:
            return "caller_gone"
        outcome = "caller_gone"
    try:
        flow.over(call)
    except Exception as error:
        log.error("flow %s: not settled", flow.name, exc_info=not isinstance(error, Unavailable))
        call.journal.event("not_settled", error=type(error).__name__)
    return outcome


def _converse(flow: Flow, call: Call, start: State | None, watch: Watch) -> str:
    current = start or flow.at(flow.initial)
    failed = False
    while True:
        call.journal.enter(current.__name__)
        call.channel.keep(place_of(flow, current.__name__, call.language))
        entered = time.monotonic()
        try:
            following = current(call)
        except GaveUp as why:
            call.journal.event("gave_up", reason=why.reason, question=why.phrase)
            following = flow.gave_up(call, why)
        except Exception as error:
            known = isinstance(error, Unavailable)
            log.error("state %s.%s failed", flow.name, current.__name__, exc_info=not known)
            call.journal.event("trouble", error=type(error).__name__)
            following = None if failed else flow.trouble(call)
            failed = True
        finally:
            watch(flow.name, current.__name__, time.monotonic() - entered)
        if following is None:
            call.hangup()
            return "trouble" if failed else "completed"
        flow.visits += 1
        current = following
