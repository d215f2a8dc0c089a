"""The `Channel` port on FreeSWITCH: prompts and digits as event-socket commands, in sync mode.

Each prompt is one write: where the conversation stands (`uuid_setvar_multi`), what to play, and,
for a question, the variable with the digits. Sync mode answers when the application has ended, so a
question costs three short answers and no events.

Every prompt that leads to a question is played by the collecting application itself, because
digits pressed during a plain playback are swallowed (measured; see docs/event-socket.md).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from callflows.call import CallerGone, Digits, HandedOver, Prompt
from callflows.flow import PREFIX
from esl_worker.metrics import WorkerMetrics
from esl_worker.session import (
    ChannelData,
    Command,
    Reply,
    ReplyTimeout,
    Session,
    execute_command,
    getvar_command,
    setvars_command,
    variable_of,
)
from sounds import Catalogue
from sounds.catalogue import MAX_RECORDINGS

RESULT = f"{PREFIX}digits"
PHRASES = f"{PREFIX}phrases"
# Keeps the keys out of the switch's events while it is true.
SENSITIVE = "sensitive_dtmf"
# file_string:// takes 128 files. Longer prompts are played in parts, each of whole phrases,
# because the collecting application waits at least a second after each (measured, whatever it is
# told): as a pause between two sentences that sounds right, between two digits it would not.
PIECES = MAX_RECORDINGS
_NO_WAIT_MS = 1
_TERMINATORS = "playback_terminators"
# FreeSWITCH ends its own timers; this only guards against a switch that has vanished without a
# word. Longer than any prompt and its waiting times together.
REPLY_TIMEOUT_S = 900.0
# A hangup is answered at once.
HANGUP_S = 5.0

_EXTENSION = re.compile(r"[0-9A-Za-z_*#+.\-]{1,64}\Z")


def nothing_ahead() -> None:
    """Nothing is written ahead."""


class _Part(NamedTuple):
    """What is played in one go: phrase keys and their recordings."""

    keys: list[str]
    names: list[str]


class FreeSwitchChannel:
    """One live call on FreeSWITCH; owned by the greenlet that runs its conversation."""

    __slots__ = (
        "_answered",
        "_catalogue",
        "_kept",
        "_metrics",
        "_place",
        "_prefix",
        "_session",
        "_told_at",
        "ahead",
        "caller",
        "dialled",
        "id",
        "look_s",
        "typed",
        "typed_for",
        "watcher",
    )

    def __init__(
        self,
        session: Session,
        data: ChannelData,
        catalogue: Catalogue,
        sounds_dir: Path,
        metrics: WorkerMetrics | None = None,
    ) -> None:
        self._session = session
        self._metrics = metrics or WorkerMetrics()
        # When the switch last answered (monotonic); what follows until our next commands is the
        # caller waiting for us. None before the first answer.
        self._told_at: float | None = None
        self._catalogue = catalogue
        self._prefix = f"{sounds_dir}/"
        self._answered = data.answered
        self._place: dict[str, str] = {}
        self._kept: dict[str, str] = {}
        self.id = data.uuid
        self.caller = data.caller_number
        self.dialled = data.destination
        # Called before each command that the caller can notice: what led to it is written first.
        self.ahead: Callable[[], None] = nothing_ahead
        # What was collected for a worker that died, and the phrase that asked for it: the answer
        # to that question, if the worker that takes over comes to it first.
        self.typed = ""
        # Is called each so many seconds while the switch is at work.
        self.watcher: Callable[[], object] | None = None
        self.look_s = 1.0
        self.typed_for = ""

    def keep(self, place: Mapping[str, str]) -> None:
        """Write the place with the next command; values that did not change are not sent."""
        self._place.update(place)

    def play(self, prompt: Prompt) -> None:
        """Play a prompt to its end."""
        commands: list[Command] = []
        for part in self._parts(prompt):
            commands += self._lead(part.keys)
            commands.append(execute_command("playback", self._files(part)))
        self._exchange(commands)

    def hear(self, prompt: Prompt, stop: bool) -> str:
        """See `Channel.hear`. The switch's own habit is that a star ends a playback."""
        key = ""
        for part in self._parts(prompt):
            *_, used, _ = self._exchange(
                [
                    *self._lead(part.keys),
                    execute_command("set", f"{_TERMINATORS}={'any' if stop else 'none'}"),
                    execute_command("playback", self._files(part)),
                    getvar_command("playback_terminator_used"),
                    execute_command("unset", _TERMINATORS),
                ]
            )
            key = variable_of(used) or ""
            if key:
                break
        return key

    def collect(self, prompt: Prompt, digits: Digits) -> str:
        """Play a prompt and collect digits once; "" where none came."""
        typed, self.typed = self.typed, ""
        # Something may have happened meanwhile, so that another question comes: its answer is not
        # what was pressed at the old one.
        if typed and self.typed_for in prompt.keys:
            if digits.secret:
                self._exchange([self._forget()])
            return typed
        first = [execute_command("flush_dtmf", "")] if digits.fresh else []
        *leading, last = self._parts(prompt)
        for part in leading:
            pressed = self._ask(first, part, digits, _NO_WAIT_MS)
            if pressed:
                return pressed
            first = []
        return self._ask(first, last, digits, round(digits.first_s * 1000))

    def variable(self, name: str) -> str | None:
        """A variable of the call, up to 512 bytes of it; None when it is not set."""
        return self._session.getvar(name)

    def transfer(self, destination: str, context: str) -> None:
        """Hand the call over; ends in HandedOver where the switch has accepted it.

        In sync mode a transfer is answered at once and takes effect when this socket closes
        (measured), so it is closed here. Returns only if the switch refused.
        """
        for part in (destination, context):
            if not _EXTENSION.match(part):
                raise ValueError(f"not an extension or context: {part!r}")
        commands = self._lead()
        commands.append(execute_command("transfer", f"{destination} XML {context}"))
        if self._exchange(commands)[-1].failed:
            return
        self._session.close()
        raise HandedOver

    def hangup(self, cause: str = "NORMAL_CLEARING") -> None:
        """End the call; a caller who is gone already is no error."""
        self.ahead()
        try:
            self._exchange([execute_command("hangup", cause)], HANGUP_S)
        except CallerGone:
            return

    def _lead(self, keys: Sequence[str] = ()) -> list[Command]:
        """What goes before the playing: answer, and the place with what is about to be heard."""
        self.ahead()
        commands: list[Command] = []
        if not self._answered:
            commands.append(execute_command("answer", ""))
            self._answered = True
        if keys:
            self._place[PHRASES] = ",".join(keys)
        changed = {
            name: value for name, value in self._place.items() if self._kept.get(name) != value
        }
        self._place.clear()
        self._kept.update(changed)
        # The result of an earlier question must never be taken for this one's: empty unsets it.
        changed[RESULT] = ""
        commands.append(setvars_command(self.id, changed))
        return commands

    def _parts(self, prompt: Prompt) -> list[_Part]:
        parts = [_Part([], [])]
        for phrase in prompt.phrases:
            names = self._catalogue.recordings(phrase, phrase.language or prompt.language)
            if parts[-1].names and len(parts[-1].names) + len(names) > PIECES:
                parts.append(_Part([], []))
            parts[-1].keys.append(phrase.key)
            parts[-1].names.extend(names)
        return parts

    def _files(self, part: _Part) -> str:
        prefix = self._prefix
        return f"file_string://{prefix}" + f"!{prefix}".join(part.names)

    def _ask(self, first: list[Command], part: _Part, digits: Digits, first_ms: int) -> str:
        """Play a part and collect digits once, after the commands `first`.

        A secret is taken off the channel by the same write: neither a caller who hangs up next nor
        a worker that dies leaves it there, and no later event has it. The event that the asking
        application ends with still does (measured); it goes to control connections only, whose
        password is as good as the switch's own.
        """
        commands = [
            *self._lead(part.keys),
            *first,
            execute_command(
                "play_and_get_digits",
                f"{digits.least} {digits.most} 1 {first_ms} {digits.terminator or 'none'}"
                f" {self._files(part)} silence_stream://1 {RESULT} [0-9*#]+"
                f" {round(digits.next_s * 1000)}",
            ),
            getvar_command(RESULT),
        ]
        if not digits.secret:
            return variable_of(self._exchange(commands)[-1]) or ""
        sensitive = setvars_command(self.id, {SENSITIVE: "true"})
        replies = self._exchange([sensitive, *commands, self._forget()])
        return variable_of(replies[-2]) or ""

    def _forget(self) -> Command:
        """Takes what was keyed in off the channel; keys show in events again."""
        # What holds a key that is no digit, * or # (A to D) is another variable's.
        return setvars_command(self.id, {RESULT: "", f"{RESULT}_invalid": "", SENSITIVE: "false"})

    def _exchange(self, commands: list[Command], timeout_s: float = REPLY_TIMEOUT_S) -> list[Reply]:
        """Send commands and wait for their answers; what a step took us is measured."""
        if self._told_at is not None:
            self._metrics.step(time.monotonic() - self._told_at)
        try:
            replies = self._session.exchange(
                commands, timeout_s=timeout_s, look=self.watcher, look_s=self.look_s
            )
        except CallerGone as end:
            self._metrics.broken(end)
            raise
        except ReplyTimeout:
            self._metrics.error("reply_timeout")
            raise
        self._told_at = time.monotonic()
        return replies
