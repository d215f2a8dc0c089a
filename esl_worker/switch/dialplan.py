"""What the switch does with a dialled number: contexts, number patterns, lists of actions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Action(NamedTuple):
    """One step of an extension: an application and its argument (before ``${}`` expansion)."""

    application: str
    argument: str = ""


@dataclass(frozen=True, slots=True)
class Extension:
    """A number pattern and the actions for it.

    Args:
        pattern: a regular expression for the whole dialled number.
        actions: run in order until the call is hung up or transferred.
    """

    pattern: str
    actions: tuple[Action, ...]

    def match(self, number: str) -> re.Match[str] | None:
        """The match of the whole dialled number, or None."""
        return re.fullmatch(self.pattern, number)


class Dialplan:
    """Extensions by context, tried in order.

    Args:
        contexts: for each context name a list of (number pattern, actions), an action being
            (application, argument).

    Raises:
        ValueError: a number pattern is not a regular expression; names context and pattern.
    """

    def __init__(
        self, contexts: Mapping[str, Iterable[tuple[str, Iterable[Sequence[str]]]]]
    ) -> None:
        self._contexts: dict[str, tuple[Extension, ...]] = {}
        for context, extensions in contexts.items():
            built = []
            for pattern, actions in extensions:
                try:
                    re.compile(pattern)
                except re.error as why:
                    raise ValueError(
                        f"dialplan context {context}: bad number pattern {pattern!r}: {why}"
                    ) from why
                built.append(Extension(pattern, tuple(Action(*action) for action in actions)))
            self._contexts[context] = tuple(built)

    def find(self, context: str, number: str) -> tuple[Extension, re.Match[str]] | None:
        """The first extension of `context` whose pattern matches the whole `number`."""
        for extension in self._contexts.get(context, ()):
            match = extension.match(number)
            if match is not None:
                return extension, match
        return None


def service_dialplan(
    worker_addresses: Sequence[str],
    *,
    mode: str = "full",
    apology: str = "silence_stream://1000",
    payment: str = "payment",
    payment_numbers: Sequence[str] = ("2000", "9990"),
    care: str = "care",
) -> Dialplan:
    """The dialplan of the service, as an operator's FreeSWITCH has it.

    Context `public`: any number goes to the workers; should the worker go away in the middle
    of the call, the next `socket` action hands the live call to another one, after a moment where
    there is none; if none is left the caller hears an apology. Four workers may die under a call:
    a call that is the cause of their death must not take all the others with it. Context `payment`
    stands for the payment system and `care` for customer care: both answer, say something and
    hang up, and leave the variable ``arrived`` on the channel.

    Args:
        worker_addresses: "host:port" of each worker, in the order of trying.
        mode: the flags of the socket action: "full" (sync) or "async full".
        apology: what is played when no worker is left (a playback's argument).
        payment, payment_numbers: context and numbers of the payment system.
        care: context of customer care.

    Raises:
        ValueError: no address, or one that is not host:port.
    """
    for address in worker_addresses:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit() or "|" in address or " " in address:
            raise ValueError(f"worker address must be host:port, not {address!r}")
    if not worker_addresses:
        raise ValueError("at least one worker address is needed")
    socket = ("socket", f"{'|'.join(worker_addresses)} {mode}")
    arrival = [("answer", ""), ("set", "arrived=${destination_number}")]
    goodbye = [("playback", "silence_stream://500"), ("hangup", "NORMAL_CLEARING")]
    return Dialplan(
        {
            "public": [
                (
                    r"\+?\d{3,15}",
                    [
                        # Callers of this switch are whom they say they are.
                        ("set", "callflows_identity=from"),
                        socket,
                        socket,
                        ("sleep", "1000"),
                        socket,
                        ("sleep", "2000"),
                        socket,
                        ("answer", ""),
                        ("playback", apology),
                        ("hangup", "NORMAL_TEMPORARY_FAILURE"),
                    ],
                )
            ],
            payment: [("|".join(map(re.escape, payment_numbers)), [*arrival, *goodbye])],
            care: [(r".*", [*arrival, *goodbye])],
        }
    )
