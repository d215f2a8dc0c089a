"""A call as a conversation sees it: say, ask, choose, transfer, hang up.

Two halves meet here. `Channel` is the port to whatever carries the call (FreeSWITCH through the
event socket, or a script in a test): it plays one prompt or collects digits once. `Call` is built
on it and holds what every conversation needs on top: three tries, *no input* and *invalid input*
as two different things, giving up as a third, and type-ahead.

Type-ahead: digits pressed while a plain playback runs are swallowed by the switch, digits pressed
while a collecting application plays are kept. So `say` plays nothing at once: what is said leads
the prompt of the next question, and is played on its own only where no question follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from billing.entities import Language
from callflows.connection import (
    MUSIC,
    Bridged,
    Leg,
    Recorded,
    Recording,
    Terms,
    recording_name,
)
from callflows.journal import Journal
from sounds import Phrase

T = TypeVar("T")

TERMINATOR = "#"
BACK = "*"
# A prompt that waits for no key: the shortest time that a switch takes for a timer.
AT_ONCE_S = 0.001
_KEYS = re.compile(r"[0-9*#]+\Z")


class CallerGone(BaseException):
    """The caller has hung up, or the switch has ended the call: the conversation is over.

    A BaseException, as `GeneratorExit` and `KeyboardInterrupt` are, because it is no error of the
    conversation: an `except Exception` around a database call or a gateway must never swallow it
    and go on talking to nobody. Only the one place that ends calls catches it.
    """

    # False where only our connection to the call was lost: the call itself may go on with
    # another worker, so what is open in it is not settled.
    certain = True


class CallerLeft(CallerGone):
    """The caller has hung up on somebody to whom the call was bridged; how that went is known."""

    def __init__(self, bridged: Bridged) -> None:
        super().__init__()
        self.bridged = bridged


class HandedOver(CallerGone):
    """The call was transferred: the conversation is over, the call is not."""

    certain = False


class GaveUp(Exception):
    """The caller did not answer a question within the allowed tries.

    `reason` is "no_input" (nothing was pressed) or "invalid" (wrong keys were pressed): a flow
    treats the two differently, since the first caller may have put the receiver down and the
    second one needs a person.
    """

    def __init__(self, reason: str, phrase: str) -> None:
        super().__init__(f"gave up at {phrase}: {reason}")
        self.reason = reason
        self.phrase = phrase


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is to be played in one go: phrases, in the language the call speaks.

    A phrase that carries a language of its own (the language menu) keeps it.
    """

    phrases: tuple[Phrase, ...]
    language: str

    @property
    def keys(self) -> tuple[str, ...]:
        """The phrases' catalogue keys, in order."""
        return tuple(phrase.key for phrase in self.phrases)


@dataclass(frozen=True, slots=True)
class Digits:
    """How many digits a question wants, and how long it waits for them (seconds).

    `first_s` runs from the end of the prompt to the first digit, `next_s` from digit to digit:
    two timers, so that the first digit stops the no-input timer. With `fresh`, digits pressed
    before the prompt begins are thrown away: they cannot be an answer to what was not asked yet.
    """

    least: int = 1
    most: int = 1
    terminator: str = ""
    first_s: float = 7.0
    next_s: float = 4.0
    secret: bool = False
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Timers:
    """The waiting times of questions, seconds, and the tries a caller has for each."""

    first_digit_s: float = 7.0
    next_digit_s: float = 4.0
    tries: int = 3


class Channel(Protocol):
    """The port to the switch: one leg of a call, driven from one greenlet.

    Every method may raise `CallerGone`.
    """

    @property
    def id(self) -> str:
        """The switch's unique id of the call."""

    @property
    def caller(self) -> str:
        """The caller's number as the network gave it: unchecked text, perhaps empty."""

    @property
    def dialled(self) -> str:
        """The number that was dialled: unchecked text."""

    def keep(self, place: Mapping[str, str]) -> None:
        """Write where the conversation stands to the channel, with the next command."""

    def play(self, prompt: Prompt) -> None:
        """Play a prompt to its end."""

    def hear(self, prompt: Prompt, stop: bool) -> str:
        """Play a prompt to its end, whatever is pressed; with `stop`, to the first key.

        Returns that key; "" where there was none.
        """

    def collect(self, prompt: Prompt, digits: Digits) -> str:
        """Play a prompt and return the digits pressed, without the terminator; "" for none."""

    def variable(self, name: str) -> str | None:
        """A variable that the switch has set on the call; None when it is not set."""

    def transfer(self, destination: str, context: str) -> None:
        """Hand the call over to another extension; ends with HandedOver, returns if refused."""

    def hangup(self, cause: str = "NORMAL_CLEARING") -> None:
        """End the call; returns when the switch has agreed."""

    def record(self, prompt: Prompt, name: str, terms: Recording) -> Recorded | None:
        """Play a prompt, then record what the caller says; None for (almost) nothing.

        The recording is kept even if the caller hangs up in it.
        """

    def bridge(self, legs: Sequence[Leg], terms: Terms) -> Bridged:
        """Call all legs at once and connect the caller with the first that answers, to its end.

        A connection that was made for a worker which died is not made again: how it went is told
        to the worker that comes to the same place.
        """

    def bridged_before(self) -> bool:
        """Whether `bridge` would only tell, here and now, how a dead worker's connection went."""

    def wait(
        self, music: Sequence[str], seconds: float, keys: str, look: Callable[[], bool]
    ) -> str:
        """Play music until `look` says yes, a key of `keys` comes, or the time is over.

        `look` is asked again and again, at least between two pieces. Returns the key, or "".
        """

    def watch(self, look: Callable[[], object] | None) -> None:
        """Have `look` called about each second while the switch is at work; None: no more.

        `look` may use `limit`, `connected`, `insert` and `interrupt`, nothing else of the channel.
        """

    def limit(self, seconds: int | None, farewell_s: int) -> bool:
        """Move the end: who is bridged to the caller is hung up in so many whole seconds, and the
        caller's own leg `farewell_s` later. The switch sees to it, whatever becomes of us.

        None takes the end away. False where the switch could not be told.
        """

    def connected(self) -> Bridged | None:
        """How the running `bridge` stands: with whom, since when; None: nobody is connected (yet),
        or the switch could not be asked.
        """

    def insert(self, prompt: Prompt) -> bool:
        """Play a prompt to the caller over whatever is heard now; False where that cannot be."""

    def interrupt(self) -> bool:
        """End what is played or asked now; False where that cannot be."""


class Call:
    """A conversation's hold on a call: speaks phrases, asks questions, writes the journal."""

    __slots__ = ("_ahead", "_said", "channel", "journal", "language", "language_set", "timers")

    def __init__(
        self,
        channel: Channel,
        journal: Journal,
        *,
        language: Language = "fa",
        language_set: bool = False,
        timers: Timers | None = None,
    ) -> None:
        self.channel = channel
        self.journal = journal
        self.language = language
        # True where the caller or the dialplan has chosen the language; a line's own language
        # then does not override it.
        self.language_set = language_set
        self.timers = timers or Timers()
        self._said: list[Phrase] = []
        # A key that was pressed while `listen` played: it answers the next question.
        self._ahead = ""

    @property
    def id(self) -> str:
        """The switch's unique id of the call."""
        return self.channel.id

    def say(self, *phrases: Phrase) -> None:
        """Say phrases: heard before the next question, or on their own where none follows."""
        self._said.extend(phrases)

    @property
    def unheard(self) -> tuple[Phrase, ...]:
        """What has been said and not been heard yet: it will lead the next prompt."""
        return tuple(self._said)

    def flush(self) -> None:
        """Play what has been said and not been heard yet."""
        if self._said:
            prompt = self._prompt(())
            self.journal.heard(prompt)
            self.channel.play(prompt)

    def listen(self, *phrases: Phrase) -> None:
        """Play phrases to their end, now; a key ends them and answers the next question at once.

        Where it matters that something was heard before the question after it: when this returns,
        it has been, or the caller knew enough to press a key.
        """
        played = self._prompt(phrases)
        self.journal.heard(played)
        self._ahead = self.channel.collect(played, Digits(first_s=AT_ONCE_S, next_s=AT_ONCE_S))

    def hear_out(self, *phrases: Phrase) -> None:
        """Play what has been said and these phrases to the end, whatever is pressed meanwhile."""
        played = self._prompt(phrases)
        self.journal.heard(played)
        self.channel.hear(played, stop=False)

    def interrupted(self, *phrases: Phrase) -> bool:
        """Play phrases, now; a key ends them, answers nothing, and makes this true."""
        played = self._prompt(phrases)
        self.journal.heard(played)
        key = self.channel.hear(played, stop=True)
        if key:
            self.journal.pressed(key)
        return bool(key)

    def ask(
        self,
        prompt: Phrase | Sequence[Phrase],
        accept: Callable[[str], T],
        *,
        digits: Digits,
        invalid: Phrase,
        otherwise: T | None = None,
    ) -> T:
        """Ask until `accept` takes the digits; return what it makes of them.

        `accept` raises ValueError for digits that it cannot take; the caller then hears `invalid`
        and the question again. Raises GaveUp after the allowed tries, counted apart for no input
        and for invalid input.
        """
        question = (prompt,) if isinstance(prompt, Phrase) else tuple(prompt)
        silent = wrong = 0
        while True:
            pressed, self._ahead = self._ahead, ""
            if not pressed:
                played = self._prompt(question)
                self.journal.heard(played)
                pressed = self.channel.collect(played, digits)
            if not pressed:
                self.journal.no_input()
                if otherwise is not None:
                    return otherwise
                silent += 1
                if silent >= self.timers.tries:
                    raise GaveUp("no_input", question[-1].key)
                self.say(Phrase("no_input"))
                continue
            self.journal.pressed(pressed, secret=digits.secret)
            try:
                if not _KEYS.match(pressed):
                    raise ValueError("not keys of a telephone")
                return accept(pressed)
            except ValueError:
                wrong += 1
                if wrong >= self.timers.tries:
                    raise GaveUp("invalid", question[-1].key) from None
                self.say(invalid)

    def choose(
        self,
        prompt: Phrase | Sequence[Phrase],
        options: Mapping[str, T],
        *,
        otherwise: T | None = None,
    ) -> T:
        """Play a menu and return the option of the key that was pressed; one key, at once.

        `otherwise` is what silence means, where it has a meaning of its own (the caller has heard
        enough). Raises GaveUp as `ask` does.
        """

        def option(key: str) -> T:
            if key not in options:
                raise ValueError(key)
            return options[key]

        return self.ask(
            prompt,
            option,
            digits=self.digits(1),
            invalid=Phrase("invalid_key"),
            otherwise=otherwise,
        )

    def digits(self, most: int, *, terminator: str = "", secret: bool = False) -> Digits:
        """What a question of up to `most` digits wants, with this call's timers."""
        return Digits(
            most=most,
            terminator=terminator,
            first_s=self.timers.first_digit_s,
            next_s=self.timers.next_digit_s,
            secret=secret,
        )

    def wait_for_key(self, prompt: Phrase, seconds: float) -> None:
        """Play a prompt, then wait until any key is pressed or the time has passed.

        Both are fine: the caller fetches pen and paper.
        """
        played = self._prompt((prompt,))
        self.journal.heard(played)
        pressed = self.channel.collect(played, Digits(first_s=seconds, next_s=1.0))
        if pressed:
            self.journal.pressed(pressed)

    def record(
        self,
        prompt: Phrase | Sequence[Phrase],
        name: str,
        *,
        most_s: int = 120,
        silence_s: int = 5,
    ) -> Recorded | None:
        """Ask for a message and record it as `name`, below the recordings folder.

        None where (almost) nothing was said. Callers hang up when they have said their message:
        the recording is then kept, and this ends in CallerGone. So what it belongs to is written
        before, with its name.
        """
        recording_name(name)
        played = self._prompt((prompt,) if isinstance(prompt, Phrase) else tuple(prompt))
        self.journal.heard(played)
        recorded = self.channel.record(played, name, Recording(most_s, silence_s))
        seconds = round(recorded.seconds, 1) if recorded is not None else 0.0
        self.journal.event("recorded", file=name, seconds=seconds)
        return recorded

    def bridge(self, legs: Sequence[Leg], terms: Terms) -> Bridged:
        """Play what has been said, then connect the caller with the first leg that answers.

        Returns when the two have parted, or nobody has answered. Ends in CallerLeft, a CallerGone
        that knows how it went, where the caller has hung up. One visit of a state makes at most
        one bridge: so a worker that takes over knows which one it was.
        """
        self.flush()
        codes = [leg.code for leg in legs]
        self.journal.event("calling", whom=codes, limit_s=terms.limit_s)
        try:
            bridged = self.channel.bridge(legs, terms)
        except CallerLeft as left:
            self._parted(left.bridged)
            raise
        self._parted(bridged)
        return bridged

    def _parted(self, bridged: Bridged) -> None:
        self.journal.event(
            "bridged", whom=bridged.code, cause=bridged.cause, seconds=round(bridged.seconds, 1)
        )

    def wait_for(
        self,
        until: Callable[[], T | None],
        *,
        most_s: float,
        music: Sequence[str] = MUSIC,
        keys: str = "",
    ) -> T | str | None:
        """Play what has been said, then music until `until` gives something, and return that.

        A key of `keys` ends it too, and is returned. None when `most_s` seconds have passed.
        `until` is asked each second where the switch can be told to stop the music, else after
        each piece of it, and once more at the end. It raises nothing that the flow does not mean:
        an error in it is one of the state.
        """
        self.flush()
        found = until()
        if found is not None or most_s <= 0:
            return found

        def look() -> bool:
            nonlocal found
            found = until()
            return found is not None

        key = self.channel.wait(music, most_s, keys, look)
        if key:
            self.journal.pressed(key)
            return key
        return found if found is not None else until()

    def transfer(self, destination: str, context: str) -> None:
        """Play what has been said, then hand the call over.

        Where the switch takes the call away this ends in HandedOver.
        """
        self.flush()
        try:
            self.channel.transfer(destination, context)
        except HandedOver:
            # Not before: who hangs up in the last prompt is found to be gone by the transfer only.
            self.journal.event("transfer", destination=destination, context=context)
            raise

    def hangup(self) -> None:
        """Play what has been said, then hang up."""
        self.flush()
        self.journal.event("hangup", by="service")
        self.channel.hangup()

    def _prompt(self, question: tuple[Phrase, ...]) -> Prompt:
        phrases = (*self._said, *question)
        self._said.clear()
        return Prompt(phrases, self.language)
