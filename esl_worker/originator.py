"""Placing calls on a switch: the port that the dialer uses.

Whoever implements it knows a switch; the dialer knows campaigns. `esl_worker.control_originator`
implements it on the control connection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from billing.retry_rules import Result

CAUSES: dict[str, Result] = {
    "USER_BUSY": "busy",
    "NO_ANSWER": "no_answer",
    "NO_USER_RESPONSE": "no_answer",
    "ALLOTTED_TIMEOUT": "no_answer",
    "PROGRESS_TIMEOUT": "no_answer",
    "ORIGINATOR_CANCEL": "no_answer",
    "CALL_REJECTED": "rejected",
    "USER_NOT_REGISTERED": "unreachable",
    "SUBSCRIBER_ABSENT": "unreachable",
    "DESTINATION_OUT_OF_ORDER": "unreachable",
    "NO_ROUTE_DESTINATION": "unreachable",
    "UNALLOCATED_NUMBER": "invalid",
    "INVALID_NUMBER_FORMAT": "invalid",
    "NUMBER_CHANGED": "invalid",
}
"""Hangup causes of unanswered calls (ITU-T Q.850, by FreeSWITCH's names) as results of a campaign.

Every other cause (congestion, network or gateway out of order, ...) says nothing of the subscriber:
the call has failed.
"""


def result_of(cause: str) -> Result:
    """What an unanswered call came to, by its hangup cause."""
    return CAUSES.get(cause, "failed")


class NotPlaced(Exception):
    """Nothing was sent to the switch: certainly nobody was called."""


class SwitchAway(Exception):
    """The switch cannot be asked now."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A call to place: ``number`` is E.164, ``call_id`` a UUID that was never used before.

    It rings for ``ring_s`` seconds at most and shows ``caller_id``.
    """

    call_id: str
    number: str
    caller_id: str
    ring_s: int


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a placed call; exactly one is told of each, after ``answered`` if it was.

    ``result`` is what the network said of a call that nobody answered. None: the call has been lost
    from sight (its connection was), and goes on or not; only `Originator.exists` can tell.
    ``cut``: an answered call that the subscriber did not end, because the switch died with it.
    """

    call_id: str
    answered: bool
    result: Result | None
    cut: bool = False


class Originator(Protocol):
    """One switch, for placing calls. Used from several greenlets; ``name`` never changes."""

    @property
    def name(self) -> str:
        """Which switch: host and port, the same in every process."""

    @property
    def ready(self) -> bool:
        """Whether calls can be placed now."""

    def place(
        self,
        call: Outgoing,
        on_answer: Callable[[str], None],
        on_fate: Callable[[Fate], None],
    ) -> None:
        """Place a call and return at once.

        Both callbacks run in other greenlets: ``on_answer`` with the call id when it is answered,
        ``on_fate`` once. Raises NotPlaced if, and only if, nothing was sent.
        """

    def exists(self, call_ids: list[str]) -> set[str]:
        """Those of the calls that the switch has, ringing or answered. Raises SwitchAway."""

    def up_s(self) -> float | None:
        """For how many seconds the switch has been running; None where it does not say. Raises
        SwitchAway."""

    def hang_up(self, call_id: str) -> None:
        """End a call, if the switch has it. Raises SwitchAway."""
