"""A scripted call: the conversation held against a playbook of "hears" and "presses".

For tests of flows without any switch. The playbook fails at the first difference, naming its step,
and `done()` fails if the conversation ended before the script did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from callflows.call import CallerGone, Digits, HandedOver, Prompt


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


Event = Hears | Presses | HangsUp | IsTransferred | IsHungUp


def hears(*keys: str, language: str | None = None) -> Hears:
    """The caller hears these phrases, in one go."""
    return Hears(keys, language)


def presses(keys: str) -> Presses:
    """The caller presses these keys ("" for none) at the question just heard."""
    return Presses(keys)


class Unscripted(BaseException):
    """The conversation did something that its script does not say.

    A BaseException, so that a flow's own handling of errors cannot hide it from the test.
    """


class ScriptedChannel:
    """The `Channel` port played by a script."""

    def __init__(
        self,
        script: Iterable[Event],
        *,
        caller: str = "",
        dialled: str = "2000",
        call_id: str = "00000000-0000-4000-8000-000000000001",
    ) -> None:
        self.script = list(script)
        self.position = 0
        self.caller = caller
        self.dialled = dialled
        self.id = call_id
        self.variables: dict[str, str] = {}
        self.gone = False

    def keep(self, place: Mapping[str, str]) -> None:
        """Keep the place as a channel would."""
        self.variables.update(place)

    def play(self, prompt: Prompt) -> None:
        """Check that the script says so."""
        self._hear(prompt)
        self._maybe_hang_up()

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
