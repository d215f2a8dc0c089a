"""A caller who keeps to a scenario although the service's workers die under the call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from callflows.scripted import HangsUp, Hears, Presses
from esl_worker.switch.caller import BETWEEN_KEYS_S, Collect, ScriptedCaller
from tests.calls.scenario import Scenario

Told = Callable[[str, float], None]


class SteadfastCaller(ScriptedCaller):
    """Answers what is asked as the scenario says; a question that comes again is answered again.

    A prompt is either the scenario's next one, or the question of the last one once more: a worker
    that takes over asks it again. Anything else is kept in `astray`. `told` learns of prompts,
    pauses and keys, with seconds of virtual time that they last; `happens` of phrases, for what the
    scenario has happen meanwhile.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        barge: bool,
        told: Told,
        happens: Callable[[Sequence[str]], None],
    ) -> None:
        super().__init__([], barge=barge)
        self.expected = [step.keys for step in scenario.script if isinstance(step, Hears)]
        self.prompts: list[tuple[str, ...]] = []
        self.astray: list[str] = []
        self.repeats = 0
        self._answers = _answers_of(scenario)
        self._lenient = scenario.counts_tries
        self._told = told
        self._happens = happens
        self._at = -1
        self._visits = ""
        self._parts: list[tuple[str, ...]] = []
        self._arrived = False

    @property
    def done(self) -> bool:
        """Whether the scenario's last prompt has been heard."""
        return self._at == len(self.expected) - 1

    def heard(self, files: tuple[str, ...], duration: float, collecting: Collect | None) -> None:
        """See `Caller`."""
        super().heard(files, duration, None)
        if self._arrived or all(name.startswith("silence_stream") for name in files):
            return
        self._told("prompt", duration)
        keys = tuple(self.transcript[-1].phrases.split(","))
        self._happens(keys)
        if collecting is not None and not collecting.question:
            self._parts.append(keys)
            return
        answer = self._place(self._whole(keys))
        if self._barge:
            self._give(answer)
        else:
            self._answer_at_end = answer

    def prompt_ended(
        self, files: tuple[str, ...], seconds: float, collecting: Collect | None
    ) -> None:
        """See `Caller`."""
        super().prompt_ended(files, seconds, collecting)
        if collecting is not None and collecting.question:
            self._told("pause", 3.0)

    def event(self, name: str, data: object) -> None:
        """See `Caller`."""
        super().event(name, data)  # type: ignore[arg-type]
        self._arrived = self._arrived or name == "transfer"

    def _whole(self, last: tuple[str, ...]) -> tuple[str, ...]:
        """The prompt that ends with this part.

        Where a worker died between two parts, the next one has begun it anew, perhaps without
        what was said before the question.
        """
        parts, self._parts = [*self._parts, last], []
        wholes = [
            tuple(key for part in parts[first:] for key in part) for first in range(len(parts))
        ]
        near = self.expected[max(0, self._at) : self._at + 2]
        return next(
            (each for each in wholes if any(want[-len(each) :] == each for want in near)), wholes[0]
        )

    def _place(self, keys: tuple[str, ...]) -> str:
        """Find the prompt in the scenario; the answer to it."""
        self.prompts.append(keys)
        visits = self._here().get("callflows_visits") or ""
        here = self.expected[self._at] if self._at >= 0 else ()
        following = self.expected[self._at + 1] if not self.done else None
        again = self._at >= 0 and here[-len(keys) :] == keys
        cut = self._at < 0 and following is not None and following[-len(keys) :] == keys
        if (keys == following or cut) and not (
            again and visits == self._visits and not self._lenient
        ):
            self._at += 1
            self._visits = visits
        elif again or (self._lenient and self._at >= 0 and keys[-1] == here[-1]):
            self.repeats += 1
        else:
            self.astray.append(f"{'+'.join(keys)} after {'+'.join(here) or 'nothing'}")
            return ""
        return self._answers[self._at]

    def _type(self, answer: str) -> None:
        channel = self._here()
        for index, key in enumerate(answer):
            if index:
                channel.clock.sleep(BETWEEN_KEYS_S)
            if channel.down:
                return
            channel.press(key)
            self._told("key", 0.0)


def _answers_of(scenario: Scenario) -> list[str]:
    """What the caller does after each prompt of the scenario."""
    answers: list[str] = []
    for step in scenario.script:
        if isinstance(step, Hears):
            answers.append("")
        elif isinstance(step, Presses):
            answers[-1] = step.keys
        elif isinstance(step, HangsUp):
            answers[-1] = "hangup"
    return answers
