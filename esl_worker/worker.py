"""The worker: takes calls from the switch and runs the flow that serves the dialled number."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from billing.entities import LANGUAGES, Language
from billing.errors import Unavailable
from callflows import logs, phrases
from callflows.call import Call, CallerGone, Timers
from callflows.flow import PREFIX, Flow, State, UnknownPlace, restore
from callflows.journal import Journal
from callflows.runner import run
from callflows.services import Services
from esl_worker.call import PHRASES, RESULT, nothing_ahead
from esl_worker.connecting import ConnectingChannel, Means
from esl_worker.journal import JournalWriter
from esl_worker.live_calls import LiveCalls
from esl_worker.metrics import WorkerMetrics
from esl_worker.session import ChannelData, Session
from sounds import Catalogue

log = logging.getLogger(__name__)

# Hangup cause for a number that no flow serves (ITU-T Q.850 cause 1).
UNKNOWN_NUMBER = "UNALLOCATED_NUMBER"

FlowMaker = Callable[[Services], Flow]
PLACE = ("flow", "state", "visits", "context")
# How many workers have had the call before: numbers the journal's steps.
LEG = f"{PREFIX}leg"
_SMALL = re.compile(r"[0-9]{1,3}")


class Worker:
    """What happens in a call's greenlet, from `connect` to the last word.

    `flows` maps flow names to their classes, `numbers` dialled numbers to flow names, `prefixes`
    the beginnings of all other numbers that are served. A call whose channel already names a place
    was another worker's: it goes on there. `live` knows each call while it lasts, so that it can be
    ended when its switch has lost it.
    """

    def __init__(
        self,
        services: Services,
        flows: Mapping[str, FlowMaker],
        numbers: Mapping[str, str],
        catalogue: Catalogue,
        sounds_dir: Path,
        journals: JournalWriter,
        *,
        prefixes: Mapping[str, str] | None = None,
        language: Language = "fa",
        timers: Timers | None = None,
        live: LiveCalls | None = None,
        metrics: WorkerMetrics | None = None,
        means: Means | None = None,
    ) -> None:
        self._means = means or Means()
        self._live = live if live is not None else LiveCalls()
        self._services = services
        self._flows = flows
        self._numbers = numbers
        self._prefixes = prefixes or {}
        self._catalogue = catalogue
        self._sounds_dir = sounds_dir
        self._journals = journals
        self._language = language
        self._timers = timers or Timers()
        self._metrics = metrics or WorkerMetrics()

    def __call__(self, session: Session) -> None:
        """Serve one call; returns when it is over. Raises nothing that a caller can cause."""
        try:
            data = session.connect()
            with self._live.during(data.get("Core-UUID") or "", session):
                self._serve(session, data)
        except CallerGone:
            self._metrics.ended("abandoned")
            log.info("the caller was gone before the conversation began")

    def _serve(self, session: Session, data: ChannelData) -> None:
        logs.call_id.set(data.uuid)
        channel = ConnectingChannel(
            session, data, self._catalogue, self._sounds_dir, self._metrics, means=self._means
        )
        place = {
            f"{PREFIX}{name}": value
            for name in PLACE
            if (value := data.variable(f"{PREFIX}{name}")) is not None
        }
        language = data.variable(f"{PREFIX}language")
        leg = leg_of(data) if place else 0
        elapsed_s = elapsed_of(data) if place else 0.0
        typed = (data.variable(RESULT) or "") if place else ""
        asked = data.variable(PHRASES) or ""
        data.release()
        name = place.get(f"{PREFIX}flow") or self._flow_of(channel.dialled)
        maker = self._flows.get(name or "")
        if maker is None:
            log.warning("no flow serves the number %s", channel.dialled)
            channel.hangup(UNKNOWN_NUMBER)
            self._metrics.ended("unknown_number")
            return
        known = next((each for each in LANGUAGES if each == language), None)
        call = Call(
            channel,
            Journal(leg=leg, elapsed_s=elapsed_s),
            language=known or self._language,
            language_set=known is not None,
            timers=self._timers,
        )
        if leg:
            channel.keep({LEG: str(leg)})
        flow = maker(self._services)
        clock = self._services.clock
        self._journals.begin(call, clock.now())
        channel.ahead = partial(self._journals.keep, call)
        outcome = "trouble"
        try:
            start = self._resumed(flow, call, place) if place else None
            if start is not None:
                channel.typed, channel.typed_for = typed, asked.rpartition(",")[2]
            self._metrics.setup(time.monotonic() - session.opened_at)
            outcome = run(flow, call, start, watch=self._metrics.state)
        except CallerGone:
            outcome = "caller_gone"
        except Unavailable as error:
            # Of `_resumed` only. The socket closes, and the dialplan tries again.
            log.error("the call cannot go on without the database: %s", error)
        finally:
            self._journals.end(call, clock.now(), outcome, flow.line_id)
            self._metrics.ended(outcome)
            channel.ahead = nothing_ahead
            log.info("call ended, %s", outcome)

    def _flow_of(self, dialled: str) -> str | None:
        """The flow that serves a number: the number itself counts before its beginning."""
        found = self._numbers.get(dialled)
        if found is not None or not dialled.isdecimal():
            return found
        beginning = next((each for each in self._prefixes if dialled.startswith(each)), None)
        return self._prefixes[beginning] if beginning else None

    def _resumed(self, flow: Flow, call: Call, place: Mapping[str, str]) -> State | None:
        """The state that another worker was in; the beginning where that cannot be read.

        Raises Unavailable where the database stays away.
        """
        try:
            try:
                start = restore(flow, call, place)
            except Unavailable:
                call.say(phrases.ONE_MOMENT)
                call.flush()
                start = restore(flow, call, place)
        except UnknownPlace as error:
            log.error("%s; the call starts again", error)
            flow.restart()
            return None
        call.journal.event("resumed")
        return start


def leg_of(data: ChannelData) -> int:
    """How many workers have had a call that comes with a place."""
    had = data.variable(LEG) or ""
    return (int(had) if _SMALL.fullmatch(had) else 0) + 1


def elapsed_of(data: ChannelData) -> float:
    """Seconds since the call was answered, by the switch's own clock; 0 where it does not say."""
    now, answered = data.get("Event-Date-Timestamp"), data.get("Caller-Channel-Answered-Time")
    if not (now and answered and now.isdecimal() and answered.isdecimal() and int(answered)):
        return 0.0
    return max(0.0, (int(now) - int(answered)) / 1e6)
