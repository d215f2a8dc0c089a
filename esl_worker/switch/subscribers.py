"""Simulated subscribers: what happens when the switch calls a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from esl_worker.switch.caller import REACTION_S, Caller, Collect, SilentCaller

if TYPE_CHECKING:
    from esl_worker.switch.channel import Channel

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a called number does.

    Attributes:
        cause: the hangup cause of the refusal; "" answers.
        after_s: virtual seconds of ringing before that; `NEVER` lets it ring.
        machine: an answering machine takes the call: nobody presses keys, and `amd` says so.
        caller: makes the human who has answered (or not).
    """

    cause: str = ""
    after_s: float = 0.0
    machine: bool = False
    caller: Callable[[], Caller] = SilentCaller


class Subscribers(Protocol):
    """Who can be called."""

    def called(self, number: str) -> Reaction:
        """The switch calls `number`; asked once for each call."""


class Directory:
    """Subscribers by number; other numbers do not exist.

    Args:
        reactions: for each number what it does, or what it does the first time, the second
            time and so on (the last one again and again).
    """

    def __init__(self, reactions: Mapping[str, Reaction | list[Reaction]]) -> None:
        self._reactions = dict(reactions)
        self.calls: list[str] = []
        """The numbers called, in order."""

    def called(self, number: str) -> Reaction:
        """See `Subscribers`."""
        times = self.calls.count(number)
        self.calls.append(number)
        found = self._reactions.get(number)
        if found is None:
            return unallocated()
        if isinstance(found, Reaction):
            return found
        return found[min(times, len(found) - 1)]


class Obliging(SilentCaller):
    """Somebody who answers, listens to what is whispered, and takes the call with a key."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._channel: Channel | None = None

    def attached(self, channel: Channel) -> None:
        """See `Caller`."""
        self._channel = channel

    def prompt_ended(
        self, files: tuple[str, ...], seconds: float, collecting: Collect | None
    ) -> None:
        """See `Caller`."""
        if self._channel is not None and self._channel.partner is None:
            self._channel.clock.later(REACTION_S, self._channel.press, self._key)


class Everybody:
    """Subscribers of any number: each answers soon and takes the call with `key`."""

    def __init__(self, key: str = "1") -> None:
        self._key = key

    def called(self, number: str) -> Reaction:
        """See `Subscribers`."""
        return answers(caller=lambda: Obliging(self._key))


def answers(after_s: float = 3.0, caller: Callable[[], Caller] = SilentCaller) -> Reaction:
    """A human takes the call after so many seconds."""
    return Reaction(after_s=after_s, caller=caller)


def machine(after_s: float = 12.0) -> Reaction:
    """An answering machine takes the call."""
    return Reaction(after_s=after_s, machine=True)


def busy(after_s: float = 0.5) -> Reaction:
    """The line is busy."""
    return Reaction("USER_BUSY", after_s)


def rejects(after_s: float = 2.0) -> Reaction:
    """The subscriber looks who it is, and refuses."""
    return Reaction("CALL_REJECTED", after_s)


def no_answer() -> Reaction:
    """It rings until the switch gives up."""
    return Reaction(after_s=NEVER)


def unallocated() -> Reaction:
    """There is no such number."""
    return Reaction("UNALLOCATED_NUMBER", 0.2)
