"""The control connection to one switch: kept up, and used by the whole process.

A worker converses with each call on that call's own socket (``session.py``). What cannot be said
there goes through here: ending a prompt from outside, limiting and ending calls, placing them; and
finding out that a call or the whole switch is gone when its socket does not say so.

The connection is made again whenever it is lost, with growing pauses and jitter. It is watched: a
switch that does not answer within ``Timing.keepalive_s + Timing.reply_s`` seconds (10 by default)
counts as lost, also if its machine vanished without a word.
"""

from __future__ import annotations

import logging
import random
import re
import time
import uuid as uuids
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import gevent
from gevent.event import AsyncResult, Event

from esl_worker.frames import Frame
from esl_worker.inbound import (
    ControlError,
    ControlLost,
    InboundConnection,
    NoReply,
    NotConnected,
    Refused,
    api_command,
    bgapi_command,
    line,
)
from esl_worker.live_calls import LiveCalls
from esl_worker.metrics import SwitchMetrics
from esl_worker.origination import CONTROL_VARIABLE, OriginateResult, Origination
from esl_worker.originations import OnEnd, OnResult, Originations
from esl_worker.session import Command, Reply

log = logging.getLogger(__name__)

State = Literal["stopped", "connecting", "connected", "refused"]
CallState = Literal["none", "ringing", "answered"]

_EVENTS = "BACKGROUND_JOB CHANNEL_ANSWER CHANNEL_HANGUP_COMPLETE"
_BATCH = 200  # questions about calls in one write: some 15 KB
_ID = re.compile(r"[0-9A-Za-z-]{1,128}")
_OnText = Callable[[str | None], object]
_CAUSE = re.compile(r"[A-Z][A-Z0-9_]{0,40}")


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things take, in seconds.

    Attributes:
        connect_s: until the TCP connection stands, and again until we are logged in.
        reply_s: until a command is answered.
        keepalive_s: between two questions whether the switch is alive.
        reconcile_s: between two comparisons of our calls with the switch's.
        settle_s: after a reconnection, until the switch is asked for originations.
        retry_s, retry_most_s: the first pause before a new connection, and the longest.
        refused_s: the pause after a wrong password or an ACL, which time alone does not mend.
        steady_s: a connection that lived this long has recovered: pauses begin short again.
        late_s: after the time it may ring, an origination's result is waited for this much
            longer; and once more, while the switch is away.
    """

    connect_s: float = 5.0
    reply_s: float = 5.0
    keepalive_s: float = 5.0
    reconcile_s: float = 15.0
    settle_s: float = 1.0
    retry_s: float = 0.1
    retry_most_s: float = 5.0
    refused_s: float = 60.0
    steady_s: float = 10.0
    late_s: float = 10.0

    def faster(self, times: float) -> Timing:
        """The same, compressed: for a switch whose clock runs ``times`` as fast."""
        return Timing(**{each.name: getattr(self, each.name) / times for each in fields(self)})


@dataclass(frozen=True, slots=True)
class Restart:
    """The switch was restarted: another Core-UUID answered at the same address.

    Attributes:
        before, now: the Core-UUIDs.
        gone: ids of the calls that we conversed with, or had placed, and that are gone with it.
    """

    before: str
    now: str
    gone: frozenset[str]


class Control:
    """The control connection to the switch at ``address`` (host and port).

    ``live`` are the conversations of this process, which are ended when the switch has lost their
    calls. ``on_event`` gets the events of our own originations, in the greenlet that reads: it
    must not block. ``on_restart`` runs in a greenlet of its own. ``metrics`` counts what fails.

    One is made at the start of a process and used by all its greenlets. Methods that speak with
    the switch raise NotConnected while it is away, and never wait for it to come back.
    """

    def __init__(
        self,
        address: tuple[str, int],
        password: str,
        *,
        live: LiveCalls | None = None,
        on_event: Callable[[Frame], None] | None = None,
        on_restart: Callable[[Restart], None] | None = None,
        timing: Timing | None = None,
        metrics: SwitchMetrics | None = None,
        jitter: random.Random | None = None,
    ) -> None:
        self.address = address
        self.timing = timing or Timing()
        self.state: State = "stopped"
        self.fault = ""
        """Why there is no connection; empty while there is one."""
        self.connections = 0
        """How often a connection was made."""
        self.core_uuid: str | None = None
        """The running switch's id, of the last connection."""
        self._password = line(password, "password")
        self._live = live if live is not None else LiveCalls()
        self._on_event = on_event
        self._on_restart = on_restart
        self._metrics = metrics or SwitchMetrics()
        self._name = f"{address[0]}:{address[1]}"
        self._metrics.watch(self._name, lambda: self.connected)
        self._jitter = jitter or random.Random()
        # Also the beginning of our job ids, by which the subscription knows them.
        self._id = uuids.uuid4().hex[:16]
        self._jobs: dict[str, tuple[float, _OnText]] = {}  # when it is overdue, whom to tell
        self._job_count = 0
        self._originations = Originations()
        self._connection: InboundConnection | None = None
        self._up = Event()
        self._lost = Event()
        self._stopping = Event()
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def __repr__(self) -> str:
        return f"<Control {self.address[0]}:{self.address[1]} {self.state}>"

    # -- its life -----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect, in the background."""
        self.state = "connecting"
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """End the connection. Calls and originations go on on the switch; those that wait for a
        result get it as lost."""
        self._stopping.set()
        self._lost.set()
        if self._connection is not None:
            self._connection.close("stopped")
        if self._greenlet is not None:
            self._greenlet.kill()  # it may be waiting for a connection
        self.state = "stopped"
        self._lose_jobs()
        self._originations.lose(self._originations.unanswered(), "this process stops")

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._up.is_set()

    def wait_connected(self, seconds: float | None = None) -> bool:
        """Wait for the connection; whether there is one."""
        return bool(self._up.wait(seconds))

    # -- commands -----------------------------------------------------------------------------

    def api(self, command: str, timeout_s: float | None = None) -> str:
        """Run an API command and return what it prints, a failure as "-ERR …" or "-USAGE: …".

        The switch does one at a time for us, keep-alive included: longer ones go by ``bgapi``.
        Raises NotConnected, ControlLost, NoReply; ValueError for a line break.
        """
        return self._exchange([api_command(command)], timeout_s)[0].text

    def apis(self, commands: Sequence[str], timeout_s: float | None = None) -> list[str]:
        """Run several quick API commands in one write; what each prints. Raises as ``api`` does."""
        replies = self._exchange([api_command(each) for each in commands], timeout_s)
        return [reply.text for reply in replies]

    def bgapi(
        self, command: str, on_result: Callable[[str | None], None], timeout_s: float = 60.0
    ) -> str:
        """Run an API command beside others; returns its job id.

        ``on_result`` gets what it prints, or None if that is lost with the connection or takes
        longer than ``timeout_s``; it runs once, in a greenlet of its own. Raises NotConnected or
        ControlLost if nothing was sent.
        """
        due = time.monotonic() + timeout_s
        return self._start_job(command, due, lambda text: gevent.spawn(on_result, text))

    def uuid_break(self, uuid: str, *, everything: bool = False) -> bool:
        """End the running prompt of a call; with ``everything``, queued ones too.

        Returns whether the switch has the call. Raises as ``api`` does.
        """
        return self._ok(f"uuid_break {_call_id(uuid)}{' all' if everything else ''}")

    def uuid_kill(self, uuid: str, cause: str = "NORMAL_CLEARING") -> bool:
        """Hang a call up, answered or ringing; whether the switch has it."""
        return self._ok(f"uuid_kill {_call_id(uuid)} {_cause(cause)}")

    def sched_hangup(self, uuid: str, seconds: int, cause: str = "ALLOTTED_TIMEOUT") -> bool:
        """Have the switch hang a call up ``seconds`` from now; whether it has the call.

        The switch keeps the time, so the limit holds whatever becomes of us.
        """
        if not isinstance(seconds, int) or seconds < 0:
            raise ValueError("seconds must be whole and not negative")
        return self._ok(f"sched_hangup +{seconds} {_call_id(uuid)} {_cause(cause)}")

    def exists(self, uuid: str) -> bool:
        """Whether the switch has the call."""
        return uuid in self.calls([uuid])

    def calls(self, asked: Iterable[str]) -> set[str]:
        """Those of the calls that the switch has."""
        wanted = list(asked)
        found = set()
        for start in range(0, len(wanted), _BATCH):
            batch = wanted[start : start + _BATCH]
            replies = self._exchange(
                [api_command(f"uuid_exists {_call_id(each)}") for each in batch]
            )
            # Only a plain "false" is a no: anything else may be a switch in trouble.
            found |= {
                uuid
                for uuid, reply in zip(batch, replies, strict=True)
                if reply.text.strip() != "false"
            }
        return found

    def look(self, uuid: str) -> CallState:
        """What the switch knows of a call: for originations of a process that has died."""
        return self._look([uuid])[uuid]

    def originate(self, origination: Origination, on_end: OnEnd | None = None) -> OriginateResult:
        """Place a call and wait until it is answered, has failed, or its fate cannot be known.

        See ``originate_later``.
        """
        told: AsyncResult[OriginateResult] = AsyncResult()
        self.originate_later(origination, told.set, on_end)
        result = told.get()
        assert result is not None
        return result

    def originate_later(
        self, origination: Origination, on_result: OnResult, on_end: OnEnd | None = None
    ) -> None:
        """Place a call. ``on_result`` is called once; ``on_end`` once after it if it was answered.

        The command is sent once and never again. If the connection is lost before the answer has
        come, the switch is asked for the call as soon as it is back.

        Raises NotConnected or ControlLost (``not_sent``) if nothing was sent: then, and only then,
        the same origination may be placed again. ValueError for a wrong or used origination.
        """
        uuid = origination.uuid
        command = origination.command(self._id)
        due = time.monotonic() + origination.ring_s + self.timing.late_s
        self._originations.begin(origination, due, on_result, on_end)
        try:
            # The job is kept longer than anything it can tell is waited for.
            self._start_job(command, due + 3600.0, lambda text: self._originated(uuid, text))
        except (NotConnected, ControlLost):
            self._originations.forget(uuid)
            raise

    @property
    def originating(self) -> int:
        """How many originations are under way, or answered with somebody waiting for their end."""
        return len(self._originations)

    # -- jobs and events ----------------------------------------------------------------------

    def _start_job(self, command: str, due: float, on_result: _OnText) -> str:
        connection = self._there()
        self._job_count += 1
        job = f"{self._id}-{self._job_count}"
        data = bgapi_command(command, job)
        self._jobs[job] = (due, on_result)

        def accepted(reply: Reply | ControlError) -> None:
            # A lost connection is not the end of a job: its event reaches the next connection.
            if isinstance(reply, Reply) and not reply.text.startswith("+OK"):
                self._job_done(job, reply.text)

        try:
            connection.post(data, accepted)
        except BaseException:
            self._jobs.pop(job, None)
            raise
        return job

    def _job_done(self, job: str, text: str | None) -> None:
        found = self._jobs.pop(job, None)
        if found is not None:
            found[1](text)

    def _originated(self, uuid: str, text: str | None) -> None:
        if text is None:
            return  # the origination itself is lost, or asked for, elsewhere
        second = self._originations.said(uuid, text)
        if second is not None:
            log.error("call %s: the id was in use; ending the second call %s", uuid, second)
            gevent.spawn(self._quietly, lambda: self.uuid_kill(second))

    def _event(self, event: Frame) -> None:
        name = event.get("Event-Name") or ""
        if name == "BACKGROUND_JOB":
            self._job_done(event.get("Job-UUID") or "", event.body.decode("utf-8", "replace"))
            return
        self._originations.event(name, event)
        if self._on_event is not None:
            self._on_event(event)

    # -- connecting ---------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                connection = self._open()
            except ControlError as error:
                failures += 1
                self._failed(error)
                late = time.monotonic() - self.timing.late_s
                self._originations.lose(self._originations.overdue(late), "the switch is away")
            else:
                self._serve(connection)
                if time.monotonic() - began >= self.timing.steady_s:
                    failures = 0
                failures += 1
            self._expire_jobs()
            self._stopping.wait(self._pause(failures))

    def _pause(self, failures: int) -> float:
        """Seconds until the next try: doubled each time, and spread, so that many processes that
        lost one switch do not come back in the same instant."""
        timing = self.timing
        if self.state == "refused":
            most = timing.refused_s
        else:
            most = min(timing.retry_most_s, timing.retry_s * 2.0 ** min(failures - 1, 30))
        return most * self._jitter.uniform(0.5, 1.0)

    def _failed(self, error: ControlError) -> None:
        if self._stopping.is_set():
            return
        refused = isinstance(error, Refused)
        self.state = "refused" if refused else "connecting"
        self._metrics.error(self._name, "refused" if refused else "unreachable")
        text = str(error)
        if text == self.fault:
            return  # said already; it lasts
        self.fault = text
        log.log(
            logging.ERROR if refused else logging.WARNING,
            "switch %s:%d: %s%s",
            *self.address,
            text,
            f"; next try in up to {self.timing.refused_s:g} s" if refused else "",
        )

    def _open(self) -> InboundConnection:
        """Connect, log in, subscribe, learn which switch it is."""
        timing = self.timing
        self._lost.clear()
        connection = InboundConnection(
            *self.address,
            self._password,
            timing.connect_s,
            reply_timeout_s=timing.reply_s,
            on_event=self._event,
            on_end=self._ended,
        )
        self._connection = connection
        connection.connect()
        try:
            # Filters first: without them every call's events would come. An event passes that
            # meets one of them.
            *replies, core = connection.exchange(
                [
                    Command(f"filter variable_{CONTROL_VARIABLE} {self._id}\n\n".encode()),
                    Command(f"filter Job-UUID /^{self._id}-/\n\n".encode()),
                    Command(f"event plain {_EVENTS}\n\n".encode()),
                    api_command("global_getvar core_uuid"),
                ]
            )
            refused = next((reply.text for reply in replies if reply.failed), None)
            if refused is not None:
                raise NotConnected(f"the switch refuses the subscription: {refused}")
            if not _ID.fullmatch(core.text.strip()):
                raise NotConnected("the switch does not say its core_uuid")
        except ControlError as error:
            connection.close(str(error))
            raise
        self._opened(connection, core.text.strip())
        return connection

    def _opened(self, connection: InboundConnection, core: str) -> None:
        if connection.end:
            raise NotConnected(connection.end)
        before, self.core_uuid = self.core_uuid, core
        self.connections += 1
        self.state, self.fault = "connected", ""
        if before is not None and before != core:
            self._restarted(before, core)
        log.info("switch %s:%d: connected, core %s", *self.address, core)
        self._up.set()

    def _restarted(self, before: str, now: str) -> None:
        ours = [*self._originations.unanswered(), *self._originations.talking()]
        conversations = self._live.of(before)
        restart = Restart(before, now, frozenset([*ours, *conversations]))
        log.warning(
            "switch %s:%d was restarted; %d of our calls are gone", *self.address, len(restart.gone)
        )
        self._metrics.error(self._name, "restarted")
        self._lose_jobs()
        self._originations.lose(ours, "the switch was restarted")
        for uuid in conversations:
            self._live.end(before, uuid)
        if self._on_restart is not None:
            gevent.spawn(self._on_restart, restart)

    def _ended(self, reason: str) -> None:
        was_up = self._up.is_set()
        self._up.clear()
        self._lost.set()
        if was_up and not self._stopping.is_set():
            self.state, self.fault = "connecting", reason
            self._metrics.error(self._name, "lost")
            log.warning("switch %s:%d: connection lost: %s", *self.address, reason)

    def _lose_jobs(self) -> None:
        for job in list(self._jobs):
            self._job_done(job, None)

    def _expire_jobs(self) -> None:
        now = time.monotonic()
        for job in [job for job, (due, _) in self._jobs.items() if due <= now]:
            self._job_done(job, None)

    # -- while connected ----------------------------------------------------------------------

    def _serve(self, connection: InboundConnection) -> None:
        """Watch over the connection until it is lost."""
        timing = self.timing
        # What these came to may have been said while nobody listened.
        doubtful: Sequence[str] = self._originations.unanswered()
        self._lost.wait(timing.settle_s)
        look_at = 0.0
        while not self._lost.is_set():
            try:
                # Asks nothing that takes time; only the answer counts.
                connection.api("uptime", timing.reply_s)
                now = time.monotonic()
                self._expire_jobs()
                self._ask({*doubtful, *self._originations.overdue(now)})
                doubtful = ()
                if now >= look_at:
                    self._reconcile()
                    look_at = now + timing.reconcile_s
            except NoReply as error:
                connection.close(f"keep-alive: {error}")
            except ControlError:
                pass  # the loop ends
            self._lost.wait(timing.keepalive_s)

    def _reconcile(self) -> None:
        """End conversations, and originations, whose calls the switch does not have any more."""
        core = self.core_uuid or ""
        ours = self._live.of(core)
        for uuid in set(ours) - self.calls(ours):
            self._live.end(core, uuid)
        talking = self._originations.talking()
        for uuid in set(talking) - self.calls(talking):
            self._originations.gone(uuid)

    def _ask(self, unknown: set[str]) -> None:
        """Ask for originations whose result should have come."""
        if unknown:
            states = self._look(list(unknown))
            self._originations.look(states, time.monotonic() + self.timing.late_s)

    def _look(self, asked: Sequence[str]) -> dict[str, CallState]:
        states: dict[str, CallState] = {}
        for start in range(0, len(asked), _BATCH):
            batch = asked[start : start + _BATCH]
            replies = self._exchange([api_command(f"uuid_dump {_call_id(each)}") for each in batch])
            for uuid, reply in zip(batch, replies, strict=True):
                states[uuid] = _state(reply.text)
        return states

    # -- helpers ------------------------------------------------------------------------------

    def _there(self) -> InboundConnection:
        connection = self._connection
        if connection is None or not self._up.is_set():
            raise NotConnected(self.fault or "not connected to the switch")
        return connection

    def _exchange(self, commands: Sequence[Command], timeout_s: float | None = None) -> list[Reply]:
        return self._there().exchange(commands, timeout_s)

    def _ok(self, command: str) -> bool:
        text = self.api(command)
        if text.startswith("-USAGE"):
            raise ValueError(f"the switch does not understand {command.split(' ', 1)[0]}")
        return not text.startswith("-ERR")

    def _quietly(self, function: Callable[[], object]) -> None:
        try:
            function()
        except ControlError as error:
            log.warning("switch %s:%d: %s", *self.address, error)


def _state(dump: str) -> CallState:
    """What `uuid_dump` says of a call. Its values are percent-encoded: no value makes a line."""
    if dump.startswith("-ERR"):
        return "none"
    return "answered" if "\nAnswer-State: answered\n" in f"\n{dump}\n" else "ringing"


def _call_id(uuid: str) -> str:
    if not isinstance(uuid, str) or not _ID.fullmatch(uuid):
        raise ValueError("uuid must be letters, digits and '-'")
    return uuid


def _cause(cause: str) -> str:
    if not isinstance(cause, str) or not _CAUSE.fullmatch(cause):
        raise ValueError("cause must be a hangup cause by name, such as NORMAL_CLEARING")
    return cause
