"""How much monthly credit a line gets of what its owner asks for: good payers get more (D8).

Pure: what is known of the payments goes in, a sum and its reason come out, so that the reason can
be told to the owner and kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reason = Literal["granted", "history", "first", "overdue", "lowered"]
"""Why so much: all that was asked; no more with this history of payments; no more for somebody
whose payments are not known yet; nothing more while a bill is overdue; less was asked for."""

THOUSAND = 1000


@dataclass(frozen=True, slots=True)
class History:
    """A line's payments: how many bills are ``overdue`` now, how many of the last ``bills`` that
    fell due were paid ``in_time``."""

    overdue: int
    bills: int
    in_time: int


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's terms, in rials a month.

    ``first`` for somebody who has paid no bill yet, ``most`` for who has paid the last ``bills`` in
    time; in between each bill paid in time counts the same.
    """

    first: int = 500_000
    most: int = 5_000_000
    bills: int = 6

    def __post_init__(self) -> None:
        """Raises ValueError for terms that make no sense."""
        if not 0 <= self.first <= self.most:
            raise ValueError("the first credit is 0 or more, and not more than the most")
        if self.bills < 1:
            raise ValueError("at least one bill has to count")


@dataclass(frozen=True, slots=True)
class Granted:
    """How much of what was asked for, in rials, and why."""

    amount: int
    reason: Reason


def ceiling(history: History, policy: Policy) -> int:
    """Return the most that somebody with this history may have, in whole thousands of rials."""
    counted = min(history.in_time, policy.bills)
    raised = policy.first + (policy.most - policy.first) * counted // policy.bills
    return raised - raised % THOUSAND


def decide(history: History, asked: int, standing: int, policy: Policy) -> Granted:
    """Return what is granted of ``asked`` rials a month to a line that has ``standing`` now.

    Nobody loses by asking: what stands is never lowered unless less is asked for, which anybody
    gets at once.

    Raises:
        ValueError: less than nothing was asked for.
    """
    if asked < 0:
        raise ValueError("a credit is not negative")
    if asked <= standing:
        return Granted(asked, "lowered")
    if history.overdue:
        return Granted(standing, "overdue")
    most = max(ceiling(history, policy), standing)
    if asked <= most:
        return Granted(asked, "granted")
    return Granted(most, "first" if history.bills == 0 else "history")
