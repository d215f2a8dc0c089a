"""The human at the other end of a call: what one hears, and the keys one presses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from esl_worker.switch.channel import Channel

# A collecting application with a shorter first-digit timeout only plays: it asks nothing.
QUESTION_MS = 50

# The answer that is whichever digit was named.
NAMED = "named"
_DIGIT = re.compile(r"/number/([0-9])\.wav$")

# How fast a person is, in virtual seconds.
REACTION_S = 0.3
BETWEEN_KEYS_S = 0.15


@dataclass(frozen=True, slots=True)
class Collect:
    """What a digit-collecting application waits for while (and after) its prompt plays.

    Attributes:
        min_digits, max_digits: how many keys.
        tries_left: including this one.
        timeout_ms: for the first key, as the application asked for it.
        digit_timeout_ms: between keys.
        terminators: keys that end the answer.
        variable: where the answer goes.
        pattern: the regular expression an answer must match, or "".
    """

    min_digits: int
    max_digits: int
    tries_left: int
    timeout_ms: int
    digit_timeout_ms: int
    terminators: str
    variable: str
    pattern: str

    @property
    def question(self) -> bool:
        """Whether a person would take this for a question."""
        return self.timeout_ms >= QUESTION_MS


class Caller(Protocol):
    """What the switch tells the human. No method may block; act through the channel."""

    def attached(self, channel: Channel) -> None:
        """The call begins; `channel` has ``press`` and ``hang_up``."""

    def heard(self, files: tuple[str, ...], duration: float, collecting: Collect | None) -> None:
        """A prompt starts.

        Args:
            files: names relative to the sounds directory, and stream URLs, in order.
            duration: virtual seconds if nothing interrupts it.
            collecting: set when keys pressed now are an answer.
        """

    def prompt_ended(
        self, files: tuple[str, ...], seconds: float, collecting: Collect | None
    ) -> None:
        """The prompt ended, or was interrupted, after `seconds`."""

    def event(self, name: str, data: Mapping[str, str]) -> None:
        """Something else a caller notices: "answered", "transfer", "bridge", "hangup"…"""


class SilentCaller:
    """A caller who listens and does nothing."""

    def attached(self, channel: Channel) -> None:
        """See `Caller`."""

    def heard(self, files: tuple[str, ...], duration: float, collecting: Collect | None) -> None:
        """See `Caller`."""

    def prompt_ended(
        self, files: tuple[str, ...], seconds: float, collecting: Collect | None
    ) -> None:
        """See `Caller`."""

    def event(self, name: str, data: Mapping[str, str]) -> None:
        """See `Caller`."""


@dataclass(slots=True)
class Step:
    """One line of a transcript.

    Attributes:
        at: virtual seconds since the call began.
        kind: "heard", "pressed" or "event".
        state: the flow's state when it happened (variable `callflows_state`).
        phrases: the phrases that a prompt stands for (variable `callflows_phrases`).
        recordings: the files of a prompt.
        seconds: how long the prompt was heard.
        keys: what was pressed; a dot for each key that must not be shown.
        name, data: of an event.
    """

    at: float
    kind: Literal["heard", "pressed", "event"]
    state: str = ""
    phrases: str = ""
    recordings: tuple[str, ...] = ()
    seconds: float = 0.0
    keys: str = ""
    name: str = ""
    data: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: without what is empty."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields["at"] = round(self.at, 3)
        fields["seconds"] = round(self.seconds, 3)
        fields["recordings"] = list(self.recordings)
        return {name: value for name, value in fields.items() if value or name == "at"}


class ScriptedCaller:
    """A caller who answers questions from a list, and remembers everything.

    A question is a prompt played by a digit-collecting application whose first-digit timeout
    is at least `QUESTION_MS`; when the application tries again that is another question.

    Args:
        keys: the n-th answers the n-th question. "" lets it pass unanswered, "hangup" hangs
            up there, "named" presses the digit that the prompt named last. When they are used up
            the caller only listens.
        barge: answer when the prompt starts instead of when it ends.
    """

    def __init__(self, keys: Sequence[str], *, barge: bool = False) -> None:
        self.transcript: list[Step] = []
        self._keys = list(keys)
        self._barge = barge
        self._asked = 0
        self._answer_at_end: str | None = None
        self._channel: Channel | None = None
        self._prompt: Step | None = None

    @property
    def questions(self) -> int:
        """How many questions were asked so far."""
        return self._asked

    @property
    def unused(self) -> list[str]:
        """The answers whose questions have not come."""
        return self._keys[self._asked :]

    def attached(self, channel: Channel) -> None:
        """See `Caller`."""
        self._channel = channel

    def heard(self, files: tuple[str, ...], duration: float, collecting: Collect | None) -> None:
        """See `Caller`."""
        channel = self._here()
        self._prompt = self._step(
            "heard", phrases=channel.get("callflows_phrases") or "", recordings=files
        )
        if collecting is None or not collecting.question:
            return
        answer = self._keys[self._asked] if self._asked < len(self._keys) else ""
        self._asked += 1
        if self._barge:
            self._give(answer)
        else:
            self._answer_at_end = answer

    def prompt_ended(
        self, files: tuple[str, ...], seconds: float, collecting: Collect | None
    ) -> None:
        """See `Caller`."""
        if self._prompt is not None:
            self._prompt.seconds = seconds
        answer, self._answer_at_end = self._answer_at_end, None
        if answer:
            self._give(answer)

    def event(self, name: str, data: Mapping[str, str]) -> None:
        """See `Caller`."""
        self._step("event", name=name, data=dict(data))

    def _here(self) -> Channel:
        if self._channel is None:
            raise RuntimeError("the caller was not attached to a channel")
        return self._channel

    def _step(self, kind: Literal["heard", "pressed", "event"], **fields: Any) -> Step:
        channel = self._here()
        step = Step(channel.elapsed(), kind, state=channel.get("callflows_state") or "", **fields)
        self.transcript.append(step)
        return step

    def _give(self, answer: str) -> None:
        if answer == "hangup":
            self._here().clock.later(REACTION_S, self._here().hang_up)
            return
        if answer == NAMED:
            answer = self._named()
        if answer:
            # Due from now on, before the question's timer: keys are in time however busy we are.
            self._here().clock.later(REACTION_S, self._type, answer)

    def _named(self) -> str:
        recordings = self._prompt.recordings if self._prompt is not None else ()
        digits = [match[1] for name in recordings if (match := _DIGIT.search(name))]
        return digits[-1] if digits else ""

    def _type(self, answer: str) -> None:
        channel = self._here()
        pressed: Step | None = None
        for index, key in enumerate(answer):
            if index:
                channel.clock.sleep(BETWEEN_KEYS_S)
            if channel.down:
                return
            if pressed is None:
                pressed = self._step("pressed")
            pressed.keys += "•" if channel.sensitive else key
            channel.press(key)
