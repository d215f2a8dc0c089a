"""What happened in a call, step by step: the answer to "why?" afterwards.

A journal holds phrase keys with their slots rather than sentences: cheap while the call runs, and
the sentence is made from the catalogue when somebody reads it. Secret digits are masked here, at
the only door, so that no PIN can reach a database, a log or a page.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from datetime import time as time_of_day
from typing import TYPE_CHECKING, Any, Literal

from billing.journal import Step
from sounds import Phrase, Recording

if TYPE_CHECKING:
    from callflows.call import Prompt

MASK = "•"
# Steps of one worker's share of a call; far more than a caller can make.
STEPS_A_LEG = 100_000
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"\d\d:\d\d")


@dataclass(slots=True)
class Journal:
    """The steps of one call, in order; `clock` gives seconds (monotonic).

    A call that another worker had before goes on in the same journal: `leg` counts the workers
    before this one, so that no step takes the place of one of theirs, and `elapsed_s` is how old
    the call was when it came here.
    """

    clock: Callable[[], float] = time.monotonic
    leg: int = 0
    elapsed_s: float = 0.0
    state: str = ""
    steps: list[Step] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    _start: float | None = None

    def enter(self, state: str) -> None:
        """The conversation enters a state: what follows belongs to it."""
        self.state = state

    def heard(self, prompt: Prompt) -> None:
        """A prompt begins to play."""
        self._add("heard", {"phrases": told(prompt)})

    def pressed(self, digits: str, *, secret: bool = False) -> None:
        """Digits came; secret ones leave only their count."""
        self._add("pressed", {"keys": MASK * len(digits) if secret else digits})

    def no_input(self) -> None:
        """A question passed without any key."""
        self._add("event", {"event": "no_input"})

    def chose(self, method: str) -> None:
        """The caller chose a way to pay; kept apart because operations count them."""
        if method not in self.methods:
            self.methods.append(method)
        self.event("chose", method=method)

    def event(self, name: str, /, **facts: Any) -> None:
        """Something else worth knowing: a promise made, a transfer, a hangup."""
        self._add("event", {"event": name, **facts})

    def _add(self, kind: Literal["heard", "pressed", "event"], data: dict[str, Any]) -> None:
        now = self.clock()
        if self._start is None:
            self._start = now
        at_ms = round((self.elapsed_s + now - self._start) * 1000)
        seq = self.leg * STEPS_A_LEG + len(self.steps)
        self.steps.append(Step(seq, at_ms, self.state, kind, data))


def told(prompt: Prompt) -> list[list[Any]]:
    """What a prompt says, as a "heard" step has it: [phrase key, language, slots] each."""
    return [
        [phrase.key, phrase.language or prompt.language, _plain(phrase.slots)]
        for phrase in prompt.phrases
    ]


def phrase_of(key: str, language: str, slots: dict[str, Any]) -> Phrase:
    """The phrase that a "heard" step tells of, to make its sentence from the catalogue again."""
    return Phrase(key, **{name: _restored(value) for name, value in slots.items()}).spoken_in(
        language
    )


def _restored(value: Any) -> Any:
    if isinstance(value, dict):
        return Recording.restored(value)
    if not isinstance(value, str):
        return value
    if _DATE.fullmatch(value):
        return date.fromisoformat(value)
    return time_of_day.fromisoformat(value) if _TIME.fullmatch(value) else value


def _plain(slots: Any) -> dict[str, Any]:
    return {name: _plain_value(value) for name, value in slots.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, time_of_day):
        return value.isoformat(timespec="minutes")
    return value.plain() if isinstance(value, Recording) else value
