"""The rest of the `Channel` port on FreeSWITCH: recording, connecting somebody, waiting, limits.

Held by the switch itself, so that it holds whatever becomes of the worker (all measured, see
docs/event-socket.md): when a connection began and ended (variables of the caller's leg), and when
it has to end (`sched_hangup` on the other leg when the two are connected, and a later one on the
caller's).

What has to be said while the switch is at work (moving the limit, a warning over a talk, an end of
the music) goes through the control connection, from `look`, in the call's own greenlet.
"""

from __future__ import annotations

import os
import re
import stat
import uuid as uuids
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

from callflows.call import CallerLeft, Prompt
from callflows.connection import TIME_OVER, Bridged, Leg, Recorded, Recording, Terms, recording_name
from callflows.flow import PREFIX
from esl_worker.call import REPLY_TIMEOUT_S, FreeSwitchChannel
from esl_worker.control import Control
from esl_worker.dialling import endpoint_of
from esl_worker.inbound import ControlError
from esl_worker.metrics import WorkerMetrics
from esl_worker.session import (
    ChannelData,
    Command,
    Reply,
    Session,
    api_command,
    execute_command,
    getvar_command,
    linger_command,
    variable_of,
)
from sounds import Catalogue

# Which visit of a state began a bridge or a recording; what came of it is for that visit only.
BRIDGE = f"{PREFIX}bridge"
LEGS = f"{PREFIX}legs"
RECORDED = f"{PREFIX}recorded"
# Microseconds since 1970, by the switch.
CONNECTED = f"{PREFIX}connected"
ENDED = f"{PREFIX}ended"
# Both of each bridge of the call that has ended, for its record (`billing.premium.call_records`).
TALKS = f"{PREFIX}talks"
_VISITS = f"{PREFIX}visits"
_LAST_CAUSE = "last_bridge_hangup_cause"
_DISPOSITION = "originate_disposition"
_LAST_TO = "last_bridge_to"
_RESULTS = (CONNECTED, ENDED, _LAST_CAUSE, _DISPOSITION, _LAST_TO)
# `set` expands twice, and what is kept has to be expanded a third time, when it is run.
_NOW = r"\\\${strmicroepoch()}"
_TALK = rf"\\\${{{TALKS}}}\\\${{{CONNECTED}}}-{_NOW},"
_HOOKS = (
    "execute_on_pre_bridge",
    "execute_on_pre_bridge_end",
    "execute_on_post_bridge",
    "execute_on_post_bridge_talk",
)

# Longer than any talk, whose end may move: this only guards against a switch that has vanished
# without a word, where no control connection finds that out.
LONGEST_BRIDGE_S = 25 * 3600.0
# Who has to take the call by a key gets so much more time than it rings.
ACCEPT_S = 12
LINGER_S = 10
# Average loudness (of 32,767) under which nobody speaks.
SILENCE_LEVEL = 200
BEEP = "tone_stream://%(250,150,880)"
HUSH_MS = 1000

_MICROSECONDS = re.compile(r"[0-9]{1,18}\Z")
_CODE = re.compile(r"[0-9A-Za-z_\-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Means:
    """What channels of a worker have beside their sockets.

    Attributes:
        recordings_dir: where the switch writes recordings.
        dial_string: how somebody is called: an endpoint with ``{e164}`` or ``{national}``.
        control_of: the control connection to the switch of a Core-UUID; None while there is none.
        caller_id: the number shown to who is called; "" shows the caller's own.
        look_s: seconds between two looks of whoever watches a call.
    """

    recordings_dir: Path = Path("var/recordings")
    dial_string: str = "sofia/gateway/carrier/{national}"
    control_of: Callable[[str], Control | None] = lambda _: None
    caller_id: str = ""
    look_s: float = 1.0


class ConnectingChannel(FreeSwitchChannel):
    """A live call on FreeSWITCH, with all that the port offers."""

    __slots__ = ("_before", "_codes", "_core", "_exchanging", "_means", "_since")

    def __init__(
        self,
        session: Session,
        data: ChannelData,
        catalogue: Catalogue,
        sounds_dir: Path,
        metrics: WorkerMetrics | None = None,
        *,
        means: Means,
    ) -> None:
        super().__init__(session, data, catalogue, sounds_dir, metrics)
        self._means = means
        self._core = data.get("Core-UUID") or ""
        self._exchanging = False
        self.look_s = means.look_s
        # Who is being called or talks: codes by the ids of their legs.
        self._codes: dict[str, str] = {}
        self._since: Bridged | None = None
        # What a worker before us has begun. Looking costs something: a new call has nothing.
        self._before: dict[str, str] = {}
        if data.answered and (data.variable(BRIDGE) or data.variable(RECORDED)):
            names = (BRIDGE, LEGS, RECORDED, "record_ms", "silence_hits_exhausted", *_RESULTS)
            found = {name: data.variable(name) for name in names}
            self._before = {name: value for name, value in found.items() if value is not None}

    # -- recording ----------------------------------------------------------------------------

    def record(self, prompt: Prompt, name: str, terms: Recording) -> Recorded | None:
        """See `Channel.record`. Any key ends it; the file is kept if the caller hangs up."""
        path = self._means.recordings_dir / recording_name(name)
        make_folder(path.parent, self._means.recordings_dir)
        visit = self._visit()
        if self._before.pop(RECORDED, None) == visit:
            return _recorded(name, self._before, terms)
        commands: list[Command] = []
        for part in self._parts(prompt):
            commands += self._lead(part.keys)
            commands.append(execute_command("playback", self._files(part)))
        commands += [
            execute_command("playback", BEEP),
            execute_command("set", f"{RECORDED}={visit}"),
            execute_command("set", "playback_terminators=any"),
            execute_command("record", f"{path} {terms.most_s} {SILENCE_LEVEL} {terms.silence_s}"),
            execute_command("unset", "playback_terminators"),
            getvar_command("record_ms"),
            getvar_command("silence_hits_exhausted"),
        ]
        *_, length, silent = self._exchange(commands)
        found = {"record_ms": variable_of(length), "silence_hits_exhausted": variable_of(silent)}
        return _recorded(name, {key: value or "" for key, value in found.items()}, terms)

    # -- connecting ---------------------------------------------------------------------------

    def bridge(self, legs: Sequence[Leg], terms: Terms) -> Bridged:
        """See `Channel.bridge`. Raises ValueError for a leg that cannot be called."""
        visit = self._visit()
        if self._before.pop(BRIDGE, None) == visit:
            return self._bridged_before()
        called = {str(uuids.uuid4()): leg for leg in legs}
        if not called:
            raise ValueError("nobody to call")
        dial = ",".join(self._dial(uuid, leg, terms) for uuid, leg in called.items())
        self._codes = {uuid: _code(leg.code) for uuid, leg in called.items()}
        self._since = None
        self.keep({
            BRIDGE: visit,
            LEGS: ",".join(f"{code}:{uuid}" for uuid, code in self._codes.items()),
            **dict.fromkeys(_RESULTS, ""),
        })  # fmt: skip
        music = f"{self._prefix}{terms.music}"
        settings = {
            # The dialplan wants it for transfers; here the caller comes back.
            "hangup_after_bridge": "false",
            "continue_on_fail": "true",
            # All three are needed for music from the first ring to the end of the whisper.
            "ringback": music,
            "transfer_ringback": music,
            "instant_ringback": "true",
            "execute_on_pre_bridge": f"set {CONNECTED}={_NOW}",
            "execute_on_post_bridge": f"set {ENDED}={_NOW}",
            "execute_on_post_bridge_talk": f"set {TALKS}={_TALK}",
        }
        if terms.limit_s is not None:
            # Should nobody look after the caller when the two have parted.
            left_s = terms.limit_s + terms.farewell_s
            settings["execute_on_pre_bridge_end"] = f"sched_hangup +{left_s} {TIME_OVER}"
        commands = [
            *self._lead(),
            linger_command(LINGER_S),
            *(execute_command("set", f"{name}={value}") for name, value in settings.items()),
            execute_command("bridge", dial),
            *(getvar_command(name) for name in _RESULTS),
        ]
        replies = self._exchange(commands, LONGEST_BRIDGE_S)
        results = {
            name: variable_of(reply) or ""
            for name, reply in zip(_RESULTS, replies[-len(_RESULTS) :], strict=True)
        }
        bridged = _bridged(results, self._codes)
        self._codes = {}
        if self._session.ended:
            raise CallerLeft(bridged)
        self._tidy()
        return bridged

    def bridged_before(self) -> bool:
        """See `Channel.bridged_before`."""
        return self._before.get(BRIDGE) == self._visit()

    def _bridged_before(self) -> Bridged:
        """How the bridge went that a worker which died had begun in this place."""
        codes = {
            uuid: code
            for each in self._before.get(LEGS, "").split(",")
            for code, separator, uuid in [each.partition(":")]
            if separator
        }
        self._tidy()
        return _bridged(self._before, codes)

    def _tidy(self) -> None:
        """Take back what was only for the bridge: the next one may be somebody else's."""
        for name in (BRIDGE, LEGS, *_RESULTS):
            self._kept.pop(name, None)
        self._exchange(
            [
                Command(b"nolinger\n\n"),
                *(execute_command("unset", name) for name in _HOOKS),
                api_command(f"sched_del {self.id}"),
            ]
        )

    def _dial(self, uuid: str, leg: Leg, terms: Terms) -> str:
        """The dial string of a leg, with what the switch does for it by itself."""
        ring_s = terms.ring_s
        options = {"origination_uuid": uuid}
        if self._means.caller_id:
            options["origination_caller_id_number"] = self._means.caller_id
        if leg.whisper:
            files = [self._files(part) for part in self._parts(Prompt(leg.whisper, leg.language))]
            if len(files) > 1:
                raise ValueError("the whisper is too long")
            ring_s += ACCEPT_S
            options["group_confirm_key"] = terms.accept or "exec"
            options["group_confirm_file"] = files[0] if terms.accept else f"playback {files[0]}"
            # A leg that has not taken the call is no reason to stop calling the others.
            options["group_confirm_cancel_timeout"] = "true"
        options["leg_timeout"] = str(ring_s)
        if terms.limit_s is not None:
            options["execute_on_pre_bridge"] = f"sched_hangup +{terms.limit_s} {TIME_OVER}"
        pairs = ",".join(
            f"{name}='{value}'" if " " in value else f"{name}={value}"
            for name, value in options.items()
        )
        return f"[{pairs}]{endpoint_of(self._means.dial_string, leg.number)}"

    # -- waiting ------------------------------------------------------------------------------

    def wait(
        self, music: Sequence[str], seconds: float, keys: str, look: Callable[[], bool]
    ) -> str:
        """See `Channel.wait`. Time is counted by what the switch has played."""
        waiting = _Waiting(look, lambda: self._tell([f"uuid_break {self.id}"]))
        outer, passed = self.watcher, 0.0
        self.watcher = waiting if outer is None else waiting.beside(outer)
        try:
            for piece in cycle(music):
                *_, used, length, _ = self._exchange(
                    [
                        *self._lead(),
                        execute_command("set", f"playback_terminators={keys or 'none'}"),
                        execute_command("unset", "playback_ms"),
                        execute_command("playback", f"{self._prefix}{piece}"),
                        getvar_command("playback_terminator_used"),
                        getvar_command("playback_ms"),
                        execute_command("unset", "playback_terminators"),
                    ]
                )
                if key := variable_of(used):
                    return key
                if waiting.answer():
                    break
                played = variable_of(length)
                if played is None:
                    # No such recording: silence, rather than looking without any pause.
                    self._exchange([execute_command("playback", f"silence_stream://{HUSH_MS}")])
                passed += int(played) / 1000 if played else HUSH_MS / 1000
                if passed >= seconds:
                    break
        finally:
            self.watcher = outer
        return ""

    # -- while the switch is at work ----------------------------------------------------------

    def watch(self, look: Callable[[], object] | None) -> None:
        """See `Channel.watch`."""
        self.watcher = look

    def limit(self, seconds: int | None, farewell_s: int) -> bool:
        """See `Channel.limit`: old limits are taken away and new ones set in one write."""
        moved = [f"sched_del {uuid}" for uuid in (self.id, *self._codes)]
        if seconds is not None:
            moved += [
                *(f"sched_hangup +{max(0, seconds)} {uuid} {TIME_OVER}" for uuid in self._codes),
                f"sched_hangup +{max(0, seconds) + farewell_s} {self.id} {TIME_OVER}",
            ]
        if self._exchanging:
            return self._tell(moved) is not None
        self._exchange([api_command(each) for each in moved])
        return True

    def connected(self) -> Bridged | None:
        """See `Channel.connected`; exact to the microsecond, however late it is asked."""
        if self._since is None and self._codes:
            told = self._tell([f"uuid_getvar {self.id} {name}" for name in (CONNECTED, _LAST_TO)])
            since = _moment(told[0].strip()) if told else None
            if told and since is not None:
                self._since = Bridged("", self._codes.get(told[1].strip()), since)
        return self._since

    def insert(self, prompt: Prompt) -> bool:
        """See `Channel.insert`: mixed into what the caller hears, and into nothing else."""
        files = [self._files(part) for part in self._parts(prompt)]
        told = self._tell([f"uuid_displace {self.id} start {files[0]} 0 mux"])
        return told is not None and told[0].startswith("+OK")

    def interrupt(self) -> bool:
        """See `Channel.interrupt`."""
        return self._tell([f"uuid_break {self.id} all"]) is not None

    def _tell(self, commands: Sequence[str]) -> list[str] | None:
        """Have the switch run API commands through the control connection; None if it is away."""
        control = self._means.control_of(self._core)
        if control is None:
            return None
        try:
            return control.apis(commands)
        except ControlError:
            return None

    def _exchange(self, commands: list[Command], timeout_s: float = REPLY_TIMEOUT_S) -> list[Reply]:
        self._exchanging = True
        try:
            return super()._exchange(commands, timeout_s)
        finally:
            self._exchanging = False

    def _visit(self) -> str:
        """Which visit of which state this is; as a worker that takes over will count it."""
        return self._place.get(_VISITS) or self._kept.get(_VISITS) or "0"


class _Waiting:
    """What `wait` waits for: asked each second, and not again once it has come."""

    def __init__(self, look: Callable[[], bool], stop_music: Callable[[], object]) -> None:
        self._look = look
        self._stop_music = stop_music
        self._found = False
        self._error: Exception | None = None

    def __call__(self) -> None:
        """While a piece plays: a yes, or an error, ends it."""
        if not self._found and self._error is None:
            try:
                self._found = self._look()
            except Exception as error:
                self._error = error
        if self._found or self._error is not None:
            self._stop_music()

    def beside(self, other: Callable[[], object]) -> Callable[[], None]:
        """Both are called."""

        def look() -> None:
            other()
            self()

        return look

    def answer(self) -> bool:
        """Between two pieces. Raises what the look has raised."""
        if self._error is not None:
            raise self._error
        self._found = self._found or self._look()
        return self._found


def make_folder(folder: Path, root: Path) -> None:
    """Make a folder below the recordings folder, as open to the switch as that is.

    The switch makes none: it ends a call that is to be recorded where there is no folder. Raises
    OSError.
    """
    if folder.is_dir():
        return
    if folder == root:
        folder.mkdir(parents=True)
        return
    make_folder(folder.parent, root)
    # Not by chmod, which takes the group away from whoever is no member of it.
    umask = os.umask(0)
    try:
        folder.mkdir(stat.S_IMODE(root.stat().st_mode) & 0o777, exist_ok=True)
    finally:
        os.umask(umask)


def _recorded(name: str, found: Mapping[str, str], terms: Recording) -> Recorded | None:
    length = found.get("record_ms", "")
    seconds = int(length) / 1000 if _MICROSECONDS.match(length) else 0.0
    if found.get("silence_hits_exhausted") == "true":
        seconds -= terms.silence_s
    return Recorded(name, seconds) if seconds >= terms.least_s else None


def _bridged(results: Mapping[str, str], codes: Mapping[str, str]) -> Bridged:
    connected_at = _moment(results.get(CONNECTED, ""))
    if connected_at is None:
        cause = results.get(_DISPOSITION) or results.get(_LAST_CAUSE) or "NO_ANSWER"
        # Who does not answer in time is hung up with the cause of a time limit.
        return Bridged("NO_ANSWER" if cause in (TIME_OVER, "SUCCESS") else cause)
    return Bridged(
        results.get(_LAST_CAUSE) or "NORMAL_CLEARING",
        codes.get(results.get(_LAST_TO, "")),
        connected_at,
        _moment(results.get(ENDED, "")) or datetime.now(UTC),
    )


def _moment(microseconds: str) -> datetime | None:
    if not _MICROSECONDS.match(microseconds):
        return None
    return datetime.fromtimestamp(int(microseconds) / 1e6, UTC)


def _code(code: str) -> str:
    if not _CODE.match(code):
        raise ValueError(f"not a code: {code!r}")
    return code
