"""A call told as it happens: what is heard, what is pressed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from esl_worker.switch.caller import Collect, ScriptedCaller, Step
from sounds import Catalogue

if TYPE_CHECKING:
    from esl_worker.switch.channel import Channel

# Wide enough for the longest state's name.
STATE_WIDTH = 16
# What a caller does not notice, and a transcript need not tell.
UNTOLD = {"answered"}


def words_of(recordings: Sequence[str], catalogue: Catalogue) -> str:
    """The sentence that a row of recordings says; pauses and tones say nothing."""
    words = (catalogue.text_of(name) for name in recordings if "://" not in name)
    return " ".join(word for word in words if word)


def told(step: Step, catalogue: Catalogue) -> dict[str, Any]:
    """A step for JSON: its time (seconds), state, and what was heard, pressed or happened."""
    base: dict[str, Any] = {"at": round(step.at, 2), "state": step.state}
    if step.kind == "heard":
        return {
            **base,
            "heard": {
                "phrases": step.phrases.split(",") if step.phrases else [],
                "text": words_of(step.recordings, catalogue),
                "recordings": list(step.recordings),
                "seconds": round(step.seconds, 2),
            },
        }
    if step.kind == "pressed":
        return {**base, "pressed": step.keys}
    return {**base, "event": step.name, **step.data}


def line(at: float, state: str, verb: str, what: str) -> str:
    """One line of a transcript for people."""
    return f"{at:7.1f} s  {state:<{STATE_WIDTH}}  {verb:<7}  {what}"


class Narrator(ScriptedCaller):
    """A scripted caller whose call is printed as it happens, each line after `prefix`."""

    def __init__(
        self,
        keys: Sequence[str],
        catalogue: Catalogue,
        *,
        barge: bool = False,
        quiet: bool = False,
        prefix: str = "",
    ) -> None:
        super().__init__(keys, barge=barge)
        self._catalogue = catalogue
        self._quiet = quiet
        self._prefix = prefix

    def heard(self, files: tuple[str, ...], duration: float, collecting: Collect | None) -> None:
        """See `Caller`."""
        super().heard(files, duration, collecting)
        words = words_of(files, self._catalogue)
        if words:
            self._print(self.transcript[-1], "heard", words)

    def event(self, name: str, data: Mapping[str, str]) -> None:
        """See `Caller`."""
        super().event(name, data)
        if name not in UNTOLD:
            facts = " ".join(str(value) for value in data.values())
            self._print(self.transcript[-1], "event", f"{name} {facts}".strip())

    def _type(self, answer: str) -> None:
        before = len(self.transcript)
        super()._type(answer)
        for step in self.transcript[before:]:
            if step.kind == "pressed":
                self._print(step, "pressed", step.keys)

    def _print(self, step: Step, verb: str, what: str) -> None:
        if not self._quiet:
            click.echo(self._prefix + line(step.at, step.state, verb, what))


class TextPhone:
    """A caller at a terminal: prints what is heard, with a line that shows how far the prompt is.

    Args:
        catalogue: the words of the recordings.
        interactive: whether the terminal can redraw a line.
    """

    BAR = 24

    def __init__(self, catalogue: Catalogue, *, interactive: bool) -> None:
        self.over = False
        self._catalogue = catalogue
        self._interactive = interactive
        self._channel: Channel | None = None
        self._playing: tuple[float, float] | None = None
        self._asked = False
        self._shown = ""

    def attached(self, channel: Channel) -> None:
        """See `Caller`."""
        self._channel = channel

    def heard(self, files: tuple[str, ...], duration: float, collecting: Collect | None) -> None:
        """See `Caller`."""
        words = words_of(files, self._catalogue)
        if words:
            self.note(f"  {words}")
        self._playing = (self._line().elapsed(), max(duration, 0.1))
        self._asked = collecting is not None and collecting.question

    def prompt_ended(
        self, files: tuple[str, ...], seconds: float, collecting: Collect | None
    ) -> None:
        """See `Caller`."""
        self._playing = None
        self._redraw("  ... your key?" if self._asked else "")

    def event(self, name: str, data: Mapping[str, str]) -> None:
        """See `Caller`."""
        if name not in UNTOLD:
            facts = " ".join(str(value) for value in data.values())
            self.note(click.style(f"  [{name} {facts}]".replace(" ]", "]"), dim=True))
        if name == "hangup":
            self.over = True

    def press(self, key: str) -> None:
        """A key was pressed on the terminal."""
        shown = "•" if self._line().sensitive else key
        self.note(click.style(f"  > {shown}", bold=True))
        self._line().press(key)

    def hang_up(self) -> None:
        """The receiver was put down."""
        self._line().hang_up()

    def tick(self) -> None:
        """Redraw the progress line; called a few times a second."""
        if self._playing is None:
            return
        start, duration = self._playing
        share = min(1.0, (self._line().elapsed() - start) / duration)
        done = round(share * self.BAR)
        self._redraw(f"  [{'=' * done}{' ' * (self.BAR - done)}] {duration * (1 - share):3.0f} s")

    def note(self, text: str) -> None:
        """Print a line above the progress line."""
        self._redraw("")
        click.echo(text)

    def _redraw(self, text: str) -> None:
        if self._interactive and text != self._shown:
            click.echo("\r\x1b[2K" + text, nl=False)
            self._shown = text

    def _line(self) -> Channel:
        if self._channel is None:
            raise RuntimeError("the phone is on no call")
        return self._channel
