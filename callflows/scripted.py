"""A scripted call: the conversation held against a playbook of "hears" and "presses".

For tests of flows without any switch. The playbook fails at the first difference, naming its step,
and `done()` fails if the conversation ended before the script did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from billing.clock import FixedClock
from callflows.call import CallerGone, CallerLeft, Digits, HandedOver, Prompt
from callflows.connection import TIME_OVER, Bridged, Leg, Recorded, Recording, Terms

# When calls happen where the test has no clock.
NO_TIME = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Hears:
    """The caller hears exactly these phrases (catalogue keys) in one go."""

    keys: tuple[str, ...]
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Presses:
    """The caller answers the question just heard; "" lets it pass."""

    keys: str


@dataclass(frozen=True, slots=True)
class HangsUp:
    """The caller hangs up here."""


@dataclass(frozen=True, slots=True)
class IsTransferred:
    """The service hands the call over."""

    destination: str
    context: str


@dataclass(frozen=True, slots=True)
class IsHungUp:
    """The service ends the call."""


@dataclass(frozen=True, slots=True)
class Says:
    """The caller speaks for so long into the recording `name`; 0: says nothing."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class TalksTo:
    """These are called; `by` answers after `rings_s` (None: nobody, for `cause`), and the two talk.

    They talk for `seconds`, or to the limit. With `caller_ends` it is the caller who hangs up.
    """

    called: tuple[str, ...]
    by: str | None
    seconds: int
    cause: str
    rings_s: int
    caller_ends: bool


@dataclass(frozen=True, slots=True)
class Waits:
    """Music plays for so many seconds, at most to what is waited for; then `key` is pressed."""

    seconds: int
    key: str


Event = Hears | Presses | HangsUp | IsTransferred | IsHungUp | Says | TalksTo | Waits


def hears(*keys: str, language: str | None = None) -> Hears:
    """The caller hears these phrases, in one go."""
    return Hears(keys, language)


def presses(keys: str) -> Presses:
    """The caller presses these keys ("" for none) at the question just heard."""
    return Presses(keys)


def says(name: str, seconds: float = 3.0) -> Says:
    """The caller speaks into the recording `name`."""
    return Says(name, seconds)


def talks_to(
    *called: str,
    by: str | None = None,
    seconds: int = 60,
    cause: str = "NORMAL_CLEARING",
    rings_s: int = 5,
    caller_ends: bool = False,
) -> TalksTo:
    """These (codes) are called; `by` answers and talks with the caller for `seconds`.

    Without `by` nobody answers, for `cause`.
    """
    return TalksTo(called, by, seconds, cause, rings_s, caller_ends)


def waits(seconds: int, key: str = "") -> Waits:
    """The caller waits with music for `seconds` (less if it comes sooner), then presses `key`."""
    return Waits(seconds, key)


class Unscripted(BaseException):
    """The conversation did something that its script does not say.

    A BaseException, so that a flow's own handling of errors cannot hide it from the test.
    """


class ScriptedChannel:
    """The `Channel` port played by a script.

    With a `clock` time passes where callers talk and wait, second by second, and whoever watches
    the call is called each second. `inserted` is what was said over a talk, as (second, keys).
    Without a control connection (`control`) no limit can be moved and nothing be inserted.
    """

    def __init__(
        self,
        script: Iterable[Event],
        *,
        caller: str = "",
        dialled: str = "2000",
        call_id: str = "00000000-0000-4000-8000-000000000001",
        clock: FixedClock | None = None,
        control: bool = True,
    ) -> None:
        self.clock = clock
        self.control = control
        self.inserted: list[tuple[int, tuple[str, ...]]] = []
        self.limits: list[int | None] = []
        # Seconds from now to the end of the talk, and since when it has lasted.
        self.left_s: int | None = None
        self._connected: datetime | None = None
        self._with: str | None = None
        self._talked_s = 0
        self._watcher: Callable[[], object] | None = None
        self.script = list(script)
        self.position = 0
        self.caller = caller
        self.dialled = dialled
        self.id = call_id
        self.variables: dict[str, str] = {}
        self.gone = False
        self._since = timedelta()

    def keep(self, place: Mapping[str, str]) -> None:
        """Keep the place as a channel would."""
        self.variables.update(place)

    def play(self, prompt: Prompt) -> None:
        """Check that the script says so."""
        self._hear(prompt)
        self._maybe_hang_up()

    def hear(self, prompt: Prompt, stop: bool) -> str:
        """Check the prompt against the script; with `stop` the script may press a key in it."""
        self._hear(prompt)
        self._maybe_hang_up()
        following = self.script[self.position : self.position + 1]
        if stop and following and isinstance(following[0], Presses):
            self.position += 1
            return following[0].keys[:1]
        return ""

    def collect(self, prompt: Prompt, digits: Digits) -> str:
        """Check the prompt against the script and press what it says."""
        self._hear(prompt)
        self._maybe_hang_up()
        answer = self._next("asks for keys")
        if not isinstance(answer, Presses):
            raise self._wrong(f"asks for keys after {prompt.keys}", answer)
        return answer.keys.rstrip(digits.terminator) if digits.terminator else answer.keys

    def variable(self, name: str) -> str | None:
        """A variable that the test or the conversation has set."""
        return self.variables.get(name)

    def transfer(self, destination: str, context: str) -> None:
        """Check the transfer; the conversation is then over."""
        expected = self._next(f"transfers to {destination} {context}")
        if expected != IsTransferred(destination, context):
            raise self._wrong(f"transfers to {destination} {context}", expected)
        self.gone = True
        raise HandedOver

    def hangup(self, cause: str = "NORMAL_CLEARING") -> None:
        """Check that the script ends here."""
        expected = self._next("hangs up")
        if not isinstance(expected, IsHungUp):
            raise self._wrong("hangs up", expected)
        self.gone = True

    def record(self, prompt: Prompt, name: str, terms: Recording) -> Recorded | None:
        """Check prompt and name against the script; hanging up in the message may follow."""
        self._hear(prompt)
        self._maybe_hang_up()
        expected = self._next(f"records {name}")
        if not isinstance(expected, Says) or expected.name != name:
            raise self._wrong(f"records {name}", expected)
        self._pass(round(expected.seconds))
        self._maybe_hang_up()
        if expected.seconds < terms.least_s:
            return None
        return Recorded(name, min(float(expected.seconds), float(terms.most_s)))

    def bridged_before(self) -> bool:
        """No worker died here."""
        return False

    def bridge(self, legs: Sequence[Leg], terms: Terms) -> Bridged:
        """Check who is called; let the two talk, watched, to their end or to the limit."""
        codes = tuple(leg.code for leg in legs)
        expected = self._next(f"calls {codes}")
        if not isinstance(expected, TalksTo) or expected.called != codes:
            raise self._wrong(f"calls {codes}", expected)
        self._pass(expected.rings_s)
        self._maybe_hang_up()
        if expected.by is None:
            return Bridged(expected.cause if expected.cause != "NORMAL_CLEARING" else "NO_ANSWER")
        began = self._connected = self._now()
        self._with = expected.by
        self.left_s, self._talked_s = terms.limit_s, 0
        while self._talked_s < expected.seconds and self.left_s != 0:
            self._pass(1)
        cause = TIME_OVER if self.left_s == 0 else expected.cause
        ended, self._connected, self.left_s = self._now(), None, None
        if expected.caller_ends and cause != TIME_OVER:
            self.gone = True
            raise CallerLeft(Bridged(cause, expected.by, began, ended))
        return Bridged(cause, expected.by, began, ended)

    def wait(
        self, music: Sequence[str], seconds: float, keys: str, look: Callable[[], bool]
    ) -> str:
        """Let the time of the script pass, asking `look` each second."""
        expected = self._next(f"waits {seconds} s")
        if not isinstance(expected, Waits):
            raise self._wrong(f"waits {seconds} s", expected)
        for _ in range(min(expected.seconds, round(seconds))):
            self._pass(1)
            if look():
                break
        self._maybe_hang_up()
        if expected.key and expected.key not in keys:
            raise self._wrong(f"waits for one of {keys!r}", expected)
        return expected.key

    def watch(self, look: Callable[[], object] | None) -> None:
        """Call `look` for each second that passes."""
        self._watcher = look

    def limit(self, seconds: int | None, farewell_s: int) -> bool:
        """Move the end of the talk, or of the call."""
        self.limits.append(seconds)
        if self.control and self._connected is not None:
            self.left_s = seconds
        return self.control

    def connected(self) -> Bridged | None:
        """The talk so far, where a control connection can tell."""
        if not self.control or self._connected is None:
            return None
        return Bridged("", self._with, self._connected)

    def insert(self, prompt: Prompt) -> bool:
        """Remember what was said, and in which second of the talk."""
        if self.control:
            self.inserted.append((self._talked_s, prompt.keys))
        return self.control

    def interrupt(self) -> bool:
        """Nothing plays on here."""
        return self.control

    def _now(self) -> datetime:
        return self.clock.now() if self.clock is not None else NO_TIME + self._since

    def _pass(self, seconds: int) -> None:
        for _ in range(seconds):
            self._since += timedelta(seconds=1)
            if self.clock is not None:
                self.clock.advance(1)
            if self._connected is not None:
                self._talked_s += 1
                if self.left_s is not None:
                    self.left_s -= 1
            if self._watcher is not None and self.left_s != 0:
                self._watcher()

    def done(self) -> None:
        """Fail if the script is unfinished."""
        if self.position < len(self.script):
            raise Unscripted(
                f"the conversation ended before step {self.position + 1}: "
                f"{self.script[self.position]}"
            )

    def _hear(self, prompt: Prompt) -> None:
        expected = self._next(f"says {prompt.keys}")
        if not isinstance(expected, Hears) or expected.keys != prompt.keys:
            raise self._wrong(f"says {prompt.keys}", expected)
        if expected.language not in (None, prompt.language):
            raise self._wrong(f"says {prompt.keys} in {prompt.language}", expected)

    def _maybe_hang_up(self) -> None:
        if self.position < len(self.script) and isinstance(self.script[self.position], HangsUp):
            self.position += 1
            self.gone = True
            raise CallerGone

    def _next(self, doing: str) -> Event:
        if self.gone:
            raise Unscripted(f"the conversation {doing} although the call is over")
        if self.position >= len(self.script):
            raise Unscripted(f"the conversation {doing} after the end of its script")
        self.position += 1
        return self.script[self.position - 1]

    def _wrong(self, doing: str, expected: Event) -> Unscripted:
        return Unscripted(f"step {self.position}: the conversation {doing}, script: {expected}")
