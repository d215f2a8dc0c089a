"""What happened in a call, step by step: the answer to "why?" afterwards.

A journal holds phrase keys with their slots rather than sentences: cheap while the call runs, and
the sentence is made from the catalogue when somebody reads it. Secret digits are masked here, at
the only door, so that no PIN can reach a database, a log or a page.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callflows.call import Prompt

MASK = "•"


@dataclass(slots=True)
class Step:
    """One thing heard, pressed or done: `at_ms` milliseconds after the call's first step."""

    at_ms: int
    state: str
    kind: str
    data: dict[str, Any]


@dataclass(slots=True)
class Journal:
    """The steps of one call, in order; `clock` gives seconds (monotonic)."""

    clock: Callable[[], float] = time.monotonic
    state: str = ""
    steps: list[Step] = field(default_factory=list)
    _start: float | None = None

    def enter(self, state: str) -> None:
        """The conversation enters a state: what follows belongs to it."""
        self.state = state

    def heard(self, prompt: Prompt) -> None:
        """A prompt begins to play."""
        phrases = [
            [phrase.key, phrase.language or prompt.language, _plain(phrase.slots)]
            for phrase in prompt.phrases
        ]
        self._add("heard", {"phrases": phrases})

    def pressed(self, digits: str, *, secret: bool = False) -> None:
        """Digits came; secret ones leave only their count."""
        self._add("pressed", {"keys": MASK * len(digits) if secret else digits})

    def no_input(self) -> None:
        """A question passed without any key."""
        self._add("event", {"event": "no_input"})

    def event(self, name: str, **facts: Any) -> None:
        """Something else worth knowing: a promise made, a transfer, a hangup."""
        self._add("event", {"event": name, **facts})

    def _add(self, kind: str, data: dict[str, Any]) -> None:
        now = self.clock()
        if self._start is None:
            self._start = now
        self.steps.append(Step(round((now - self._start) * 1000), self.state, kind, data))


def _plain(slots: Any) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, date) else value
        for name, value in slots.items()
    }
