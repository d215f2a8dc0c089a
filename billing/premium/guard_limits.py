"""What is still usual for a line, a service and a provider: the limits of the fraud guards."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What is still usual; 0 for a limit that does not hold.

    Of one line: ``line_calls`` accepted in an hour, ``line_minutes`` and ``line_amount`` (rials)
    in a day, ``simultaneous`` calls at a time. Of a service and of a provider, in an hour: calls,
    minutes, rials. A call of at most ``short_s`` charged seconds is short: ``line_short`` of them
    from one line to one service in an hour, or ``service_short_percent`` of a service's calls once
    there are a hundred in an hour, are no accident. A connected call without a key for
    ``silent_s`` seconds, and without a consultant, is silent. ``block_s`` is how long a line is
    stopped, at least: never shorter than to the end of the clock's hour, or day for a day's limit.
    """

    line_calls: int = 30
    line_minutes: int = 300
    line_amount: int = 10_000_000
    simultaneous: int = 2
    service_calls: int = 3000
    service_minutes: int = 30_000
    service_amount: int = 500_000_000
    provider_calls: int = 10_000
    provider_minutes: int = 100_000
    provider_amount: int = 2_000_000_000
    short_s: int = 15
    line_short: int = 10
    service_short_percent: int = 50
    silent_s: int = 1800
    block_s: int = 3600
