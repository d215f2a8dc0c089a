"""One call as the switch sees it: its state, its variables, its keys, its applications."""

from __future__ import annotations

import uuid as uuids
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from gevent import Greenlet

from esl_worker.switch import profile as profiles
from esl_worker.switch.caller import Caller
from esl_worker.switch.causes import cause as cause_named
from esl_worker.switch.causes import q850
from esl_worker.switch.expansion import Expansion, expand
from esl_worker.switch.inbox import Inbox
from esl_worker.switch.player import FRAME_S
from esl_worker.switch.profile import Profile, Times
from esl_worker.switch.signal import Signal
from esl_worker.switch.values import integer, true

if TYPE_CHECKING:
    from esl_worker.switch.clock import Clock
    from esl_worker.switch.events import Headers
    from esl_worker.switch.switch import Switch

KEYS = frozenset("0123456789*#ABCD")
MAX_KEYS = 100  # waiting keys; the oldest go first, as in switch_channel_queue_dtmf
MAX_DEPTH = 15  # applications within applications (SWITCH_MAX_STACKS)
MAX_TRANSFERS = 70  # FreeSWITCH's max_forwards

_NUMBERS = {
    "CS_ROUTING": 2,
    "CS_EXECUTE": 4,
    "CS_CONSUME_MEDIA": 7,
    "CS_RESET": 9,
    "CS_HANGUP": 10,
    "CS_REPORTING": 11,
}


class Destination(NamedTuple):
    """Where a call was transferred to."""

    extension: str
    context: str


class Channel:
    """A call. Made by `Switch.call`, or by `Switch.originate` with an `opening`: what comes before
    the dialplan (ringing, the answer, an application of its own).

    Attributes:
        uuid: the channel's identity.
        variables: by name; never holds unset ones. Use `set` to change them.
        caller: the human.
        hangup_cause: e.g. "NORMAL_CLEARING"; None while the call lives.
        hung_up_by: "caller", "application" or "outside"; None while the call lives.
        transferred_to: the last transfer, None if there was none.
        expansions: every ``${…}`` that an argument asked for; API commands were not run.
        digits: keys pressed and not yet taken.
        inbox: what others want of the call while it runs.
        machine: an answering machine is at the other end.
    """

    def __init__(
        self,
        switch: Switch,
        profile: Profile,
        caller: Caller,
        opening: Callable[[Channel], None] | None = None,
    ) -> None:
        self.switch = switch
        self.clock: Clock = switch.clock
        self.uuid = profile.uuid
        self.profile = profile
        self.caller = caller
        self.began = switch.clock.now()
        created = int(switch.clock.epoch() * 1e6)
        self.times = Times(created, created)
        self.variables: dict[str, str] = {}
        self.state = "CS_EXECUTE"
        self.running_state = "CS_EXECUTE"
        self.call_state = "RINGING"
        self.answer_state = "ringing"
        self.hangup_cause: str | None = None
        self.hung_up_by: str | None = None
        self.transferred_to: Destination | None = None
        self.partner: Channel | None = None
        self.other_leg: Headers = []
        self.expansions: list[Expansion] = []
        self.digits: deque[tuple[str, bool]] = deque()
        self.signal = Signal()
        self.inbox = Inbox(self)
        self.watchers: list[Callable[[], None]] = []
        self._dialled_keys: list[str] = []
        self._transfer_asked = False
        self._depth = 0
        self._last_app: tuple[str, str | None] = ("", None)
        self._timers: list[Greenlet[..., Any]] = []
        self.machine = False
        # How long the caller speaks into the next recording, seconds.
        self.speaks_s = 0.0
        self._opening = opening
        self._greenlet: Greenlet[[], None] | None = None

    # -- what callers and tests use ---------------------------------------------------------

    def press(self, keys: str) -> None:
        """Press keys, one after the other.

        Raises:
            ValueError: a character that no telephone has.
        """
        wrong = set(keys) - KEYS
        if wrong:
            raise ValueError(f"no such key: {sorted(wrong)!r}")
        if self.down:
            return
        if self.partner is not None and not self.partner.down:
            self.partner.press(keys)
            return
        for key in keys:
            if len(self.digits) >= MAX_KEYS:
                self.digits.popleft()
            self.digits.append((key, self.sensitive))
        self.signal.set()

    def hang_up(self) -> None:
        """The caller hangs up."""
        if self.down:
            return
        self.set("sip_reason", 'Q.850;cause=16;text="NORMAL_CLEARING"')
        self.set("sip_term_status", "200")
        self.set("proto_specific_hangup_cause", "sip:200")
        self.set("sip_term_cause", "16")
        answered = self.answer_state == "answered"
        self.hangup("NORMAL_CLEARING" if answered else "ORIGINATOR_CANCEL", by="caller")
        self.set("sip_hangup_disposition", "recv_bye" if answered else "recv_cancel")

    def hangup(self, cause: str = "NORMAL_CLEARING", *, by: str = "outside") -> None:
        """End the call; the first cause counts.

        Args:
            cause: a Q.850 or FreeSWITCH cause by name.
            by: "caller", "application", or "outside" (a schedule, an API command).
        """
        if self.down:
            return
        self.state = "CS_HANGUP"
        self.answer_state = "hangup"
        self.hangup_cause = cause_named(cause)
        self.hung_up_by = by
        # The session first, then those who watch it: what the session still has to say is
        # written before the socket says good-bye (captures 01 to 08).
        self.signal.set()
        self.switch.bus.fire("CHANNEL_HANGUP", self)
        for watcher in self.watchers:
            watcher()
        if self.partner is not None:
            if self.profile.direction == "inbound":
                self.partner.hangup(self.hangup_cause, by="outside")
            else:
                self.partner.signal.set()  # the caller's leg goes on after the bridge

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the call is over.

        Args:
            timeout: real seconds; None waits for ever.

        Returns:
            Whether it is over.

        Raises:
            Exception: what the caller's own code raised in the middle of the call.
        """
        if self._greenlet is None:
            return self.running_state == "CS_REPORTING"
        self._greenlet.join(timeout)
        if self._greenlet.exception is not None:
            raise self._greenlet.exception
        return self._greenlet.ready()

    def elapsed(self) -> float:
        """Virtual seconds since the call began."""
        return self.clock.now() - self.began

    def get(self, name: str) -> str | None:
        """A variable of the channel, a field of its profile, a global one; None when unset."""
        value = self.variables.get(name)
        if value is None:
            value = self.profile.field(name)
        return value if value is not None else self.switch.globals.get(name)

    def set(self, name: str, value: str | None) -> None:
        """Set a variable; None or "" unsets it. A name that is set again moves to the end."""
        self.variables.pop(name, None)
        if value:
            self.variables[name] = value

    # -- state ------------------------------------------------------------------------------

    @property
    def down(self) -> bool:
        """Whether the call was hung up."""
        return self.hangup_cause is not None

    @property
    def ready(self) -> bool:
        """Whether applications may go on: neither hung up nor being transferred."""
        return self.state == "CS_EXECUTE"

    @property
    def media(self) -> bool:
        """Whether the caller can hear anything."""
        return self.answer_state in ("answered", "early")

    @property
    def sensitive(self) -> bool:
        """Whether keys must not show up in events (variable `sensitive_dtmf`)."""
        return true(self.variables.get("sensitive_dtmf"))

    @property
    def too_deep(self) -> bool:
        """Whether too many applications run inside each other to begin another one."""
        return self._depth > MAX_DEPTH

    def wait(self, seconds: float | None = None) -> None:
        """Sleep until something happens to the channel, at most `seconds` (virtual)."""
        was_down = self.down
        self.signal.wait(None if seconds is None else self.clock.real(seconds))
        if self.down and not was_down and self.hung_up_by == "outside":
            # Whoever hangs up from outside does it in the middle of a frame (capture 13).
            self.clock.sleep(FRAME_S)

    def headers(self, *, variables: bool = True) -> Headers:
        """The channel's headers in an event, in FreeSWITCH's order."""
        uuid, name = self.uuid, self.profile.channel_name
        out = [
            ("Channel-State", self.running_state),
            ("Channel-Call-State", self.call_state),
            ("Channel-State-Number", str(_NUMBERS[self.state])),
            ("Channel-Name", name),
            ("Unique-ID", uuid),
            ("Call-Direction", self.profile.direction),
            ("Presence-Call-Direction", self.profile.direction),
            ("Channel-HIT-Dialplan", "true"),
            ("Channel-Call-UUID", uuid),
            ("Answer-State", self.answer_state),
        ]
        if self.hangup_cause is not None:
            out.append(("Hangup-Cause", self.hangup_cause))
        out += _CODEC
        out += self.profile.headers("Caller", self.times)
        out += self.other_leg
        if variables:
            out += [(f"variable_{key}", value) for key, value in self.variables.items()]
        return out

    # -- keys -------------------------------------------------------------------------------

    def take_digit(self) -> str:
        """The oldest key waiting; tells the event listeners unless it is sensitive.

        Raises:
            IndexError: there is none.
        """
        digit, sensitive = self.digits.popleft()
        if not sensitive:
            self._dialled_keys.append(digit)
            self.switch.bus.fire(
                "DTMF",
                self,
                ("DTMF-Digit", digit),
                ("DTMF-Duration", "2080"),
                ("DTMF-Source", "RTP"),
            )
        return digit

    def terminators(self) -> str:
        """The keys that end a plain playback."""
        text = self.variables.get("playback_terminators", "*")
        return {"any": "1234567890*#", "none": ""}.get(text.lower(), text)

    # -- answering --------------------------------------------------------------------------

    def answer(self) -> None:
        """Answer the call, if it is not answered yet."""
        if self.answer_state == "answered" or self.down:
            return
        if not self.media:
            self._open_media()
        self.times.answered = int(self.clock.epoch() * 1e6)
        self.answer_state = "answered"
        self.switch.bus.fire("CHANNEL_ANSWER", self)
        self.call_state = "ACTIVE"
        self.set("endpoint_disposition", "ANSWER")
        for name, value in profiles.acknowledged(self.variables).items():
            self.set(name, value)
        self.caller.event("answered", {})

    def pre_answer(self) -> None:
        """Open early media, if nothing is open yet."""
        if self.media or self.down:
            return
        self._open_media()
        self.times.progress_media = int(self.clock.epoch() * 1e6)
        self.answer_state = "early"
        self.set("endpoint_disposition", "EARLY MEDIA")
        self.switch.bus.fire("CHANNEL_PROGRESS_MEDIA", self)
        self.call_state = "EARLY"

    def _open_media(self) -> None:
        if self.profile.source == "mod_sofia":
            port = 16385 + int(self.uuid[:4], 16) % 16000
            for name, value in profiles.media_variables(port).items():
                self.set(name, value)
            for name in ("remote_media_ip", "remote_media_port"):
                self.set(name, self.variables.get(name))

    # -- applications -----------------------------------------------------------------------

    def expand(self, text: str) -> str:
        """The text with ``${…}`` replaced; records what was asked for."""
        return expand(text, self.get, self.expansions.append, self._run_api)

    def _run_api(self, name: str) -> str:
        """What an API command within an argument gives: of all, only the time of day."""
        return str(int(self.clock.epoch() * 1e6)) if name == "strmicroepoch" else ""

    def execute(self, name: str, argument: str | None = None) -> bool:
        """Run an application to its end.

        Returns:
            False when there is no such application (the call is then hung up) or the call
            is over and the application cannot work on a dead one.
        """
        application = self.switch.applications.get(name)
        if self.down:
            if application is None or not application.after_hangup:
                return False
        elif application is None:
            self.hangup("DESTINATION_OUT_OF_ORDER", by="application")
            return False
        elif application.needs_media:
            self.pre_answer()
        if self.too_deep:
            return False
        bus = self.switch.bus
        uuid = self.variables.pop("app_uuid", None)
        if uuid is None and (bus.wants("CHANNEL_EXECUTE") or bus.wants("CHANNEL_EXECUTE_COMPLETE")):
            uuid = str(uuids.uuid4())
        uuid = uuid or ""
        argument = self.expand(argument) if argument else None
        self._last_app = (name, argument)
        self.set("current_application", name)
        self.set("current_application_data", argument)
        self.set("current_application_response", None)
        data = [] if argument is None else [("Application-Data", argument)]
        bus.fire("CHANNEL_EXECUTE", self, ("Application", name), *data, ("Application-UUID", uuid))
        self.inbox.take_break()
        self.set("current_application", name)  # once more, as switch_core_session_exec does
        self._depth += 1
        try:
            application.run(self, argument or "")
        finally:
            self._depth -= 1
        if bus.wants("CHANNEL_EXECUTE_COMPLETE"):
            response = self.variables.get("current_application_response", "_none_")
            bus.fire(
                "CHANNEL_EXECUTE_COMPLETE",
                self,
                ("Application", name),
                *data,
                ("Application-Response", response),
                ("Application-UUID", uuid),
            )
        return True

    def transfer(self, extension: str = "service", dialplan: str = "", context: str = "") -> None:
        """Leave this extension for another one (blind transfer)."""
        if self.down:
            return
        context = context or self.profile.context
        dialplan = dialplan or "XML"
        source = (
            f"{int(self.clock.epoch())}:{uuids.uuid4()}:bl_xfer:{extension}/{context}/{dialplan}"
        )
        forwards = forwards_left(self)
        if forwards <= 0:
            self.hangup("EXCHANGE_ROUTING_ERROR", by="application")
            return
        self.set("max_forwards", str(forwards))
        self.profile = self.profile.transferred(extension, context, source)
        self.times.profile_created = int(self.clock.epoch() * 1e6)
        past = self.variables.get("transfer_history")
        if past:
            source_list = f"{past}|:{source}" if past.startswith("ARRAY::") else ""
            self.set("transfer_history", source_list or f"ARRAY::{past}|:{source}")
        else:
            self.set("transfer_history", source)
        self.set("transfer_source", source)
        self.state = "CS_ROUTING"
        self.transferred_to = Destination(extension, context)
        self.signal.set()
        self.caller.event("transfer", {"extension": extension, "context": context})

    def hangup_later(self, seconds: float, cause: str) -> None:
        """Schedule a hangup; several may be scheduled, the first one counts."""
        self._timers.append(self.clock.later(seconds, self.hangup, cause))

    def unschedule(self) -> int:
        """Take all scheduled hangups back; how many there were."""
        waiting = [timer for timer in self._timers if not timer.ready()]
        for timer in waiting:
            timer.kill(block=False)
        self._timers.clear()
        return len(waiting)

    # -- the call's life --------------------------------------------------------------------

    def start(self) -> None:
        """Begin the call in a greenlet of its own."""
        self._greenlet = Greenlet(self._run)
        self._greenlet.start()

    def _run(self) -> None:
        try:
            self.caller.attached(self)
            if self._opening is not None:
                self._opening(self)
            while not self.down:
                self._route()
        except Exception:
            self.hangup("NORMAL_TEMPORARY_FAILURE", by="application")
            raise
        finally:
            self._finish()

    def _route(self) -> None:
        """Run the actions of the extension that the number dialled now leads to."""
        number, context = self.profile.destination, self.profile.context
        found = self.switch.dialplan.find(context, number)
        if found is None:
            self.hangup("NO_ROUTE_DESTINATION", by="application")
            return
        extension, match = found
        groups = (match[0], *match.groups(default=""))
        if self.state == "CS_ROUTING":
            self.call_state, was = "RINGING", self.call_state
            self.running_state = "CS_ROUTING"
            self.switch.bus.fire("CHANNEL_STATE", self)
            self.call_state = was
            self.running_state = self.state = "CS_EXECUTE"
            self.switch.bus.fire("CHANNEL_STATE", self)
        for application, argument in extension.actions:
            for index, group in enumerate(groups):
                argument = argument.replace(f"${index}", group)
            self.execute(application, argument)
            if not self.ready:
                return
        self.hangup("NORMAL_CLEARING", by="application")

    def _finish(self) -> None:
        for timer in self._timers:
            timer.kill(block=False)
        bus = self.switch.bus
        self.running_state = "CS_HANGUP"
        bus.fire("CHANNEL_STATE", self)
        self.times.hangup = int(self.clock.epoch() * 1e6)
        self.call_state = "HANGUP"
        self.state = self.running_state = "CS_REPORTING"
        bus.fire("CHANNEL_STATE", self)
        cause = self.hangup_cause or "NORMAL_CLEARING"
        self.set("hangup_cause", cause)
        self.set("hangup_cause_q850", str(q850(cause)))
        if self.hung_up_by != "caller":
            disposition = "send_bye" if self.times.answered else "send_refuse"
            self.set("sip_hangup_disposition", disposition)
        if bus.wants("CHANNEL_HANGUP_COMPLETE"):
            closing = profiles.closing_variables(
                self.times, self.profile, "".join(self._dialled_keys), *self._last_app
            )
            for name, value in closing.items():
                self.set(name, value)
            bus.fire("CHANNEL_HANGUP_COMPLETE", self, first=[("Hangup-Cause", cause)])
        self.switch.channels.pop(self.uuid, None)
        for watcher in self.watchers:
            watcher()
        self.caller.event("hangup", {"cause": cause, "by": self.hung_up_by or "outside"})


_CODEC = [
    ("Channel-Read-Codec-Name", "PCMU"),
    ("Channel-Read-Codec-Rate", "8000"),
    ("Channel-Read-Codec-Bit-Rate", "64000"),
    ("Channel-Write-Codec-Name", "PCMU"),
    ("Channel-Write-Codec-Rate", "8000"),
    ("Channel-Write-Codec-Bit-Rate", "64000"),
]


def forwards_left(channel: Channel) -> int:
    """How often the call may still be transferred or bridged on, after this time."""
    return integer(channel.variables.get("max_forwards", str(MAX_TRANSFERS))) - 1
