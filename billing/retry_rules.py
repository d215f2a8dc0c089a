"""What a call came to, and which results are tried again: how often, and after how long.

Each result has its own number of retries and its own interval; one cap on all calls to a line is
shared by them (newfies-dialer #14, #20: an interval that does not hold, and retries of different
kinds that add up, are what called people complain about).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

from billing.errors import BillingError

Result = Literal[
    "heard",
    "hung_up",
    "machine",
    "no_answer",
    "busy",
    "rejected",
    "unreachable",
    "invalid",
    "failed",
    "unknown",
    "paid",
    "opted_out",
]
"""What one call came to.

``heard``: the first facts were heard to their end. ``hung_up``: answered, but not heard.
``machine``: an answering machine. ``no_answer``, ``busy``, ``rejected``, ``unreachable`` (switched
off, no coverage), ``invalid`` (no such number): as the network says. ``failed``: the network's or
our own fault, such as a switch that died before an answered call was heard. ``unknown``: nobody can
tell any more, because the dialer died meanwhile; nobody answered, or the call's own conversation
would have said so. ``paid``: answered, but paid meanwhile. ``opted_out``: asked not to be called
again.
"""

RESULTS: tuple[Result, ...] = get_args(Result)

FINAL: frozenset[Result] = frozenset({"heard", "invalid", "paid", "opted_out"})
"""Results that are never tried again."""

MOST_CALLS = 20
"""The highest cap: calling a line more often about one debt is no announcement any more."""

DEFAULT_RULES = "no_answer=2@60m,busy=3@10m,machine=1@4h,unreachable=2@2h,failed=3@5m,unknown=2@10m"

_RULE = re.compile(r"([a-z_]+)=([0-9]{1,2})@([0-9]{1,4})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=30)


class InvalidRules(BillingError, ValueError):
    """A text is not a set of retry rules; it names the part that is wrong."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a result is tried again, and how long after the call it ended."""

    times: int
    interval: timedelta


@dataclass(frozen=True, slots=True)
class RetryRules:
    """Retries by result, and the cap on all calls to one line; no rule is no retry."""

    by_result: Mapping[Result, Retry]
    cap: int

    def interval_after(self, result: Result, earlier: int, calls: int) -> timedelta | None:
        """Return how long to wait before the next call; None when this was the last.

        Args:
            result: what the call just ended came to.
            earlier: how many calls to this line came to the same before.
            calls: how many calls to this line there have been, this one included.
        """
        rule = self.by_result.get(result)
        if rule is None or calls >= self.cap or earlier >= rule.times:
            return None
        return rule.interval

    def __str__(self) -> str:
        """The form that `parse_rules` reads, without the cap."""
        return ",".join(
            f"{result}={retry.times}@{_written(retry.interval)}"
            for result, retry in self.by_result.items()
        )


def parse_rules(text: str, cap: int) -> RetryRules:
    """Return the rules written as ``no_answer=2@60m,busy=3@10m``; units are s, m, h and d.

    Raises:
        InvalidRules: a part is malformed, names no result that can be retried or one twice; or
            the cap is not 1 to `MOST_CALLS`.
    """
    if not 1 <= cap <= MOST_CALLS:
        raise InvalidRules(f"cap {cap}: 1 to {MOST_CALLS} calls")
    rules: dict[Result, Retry] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _RULE.fullmatch(part)
        if match is None:
            raise InvalidRules(f"retries {part!r}: write it as busy=3@10m")
        name, times, count, unit = match.groups()
        result = next((known for known in RESULTS if known == name), None)
        if result is None or result in FINAL:
            known = ", ".join(result for result in RESULTS if result not in FINAL)
            raise InvalidRules(f"retries {part!r}: the result is one of {known}")
        if result in rules:
            raise InvalidRules(f"retries {part!r}: {name} is there twice")
        interval = timedelta(**{_UNITS[unit]: int(count)})
        if not timedelta() < interval <= _LONGEST:
            raise InvalidRules(f"retries {part!r}: the interval is 1s to 30d")
        rules[result] = Retry(int(times), interval)
    return RetryRules(rules, cap)


def _written(interval: timedelta) -> str:
    seconds = int(interval.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
