"""What can go wrong at a gateway: try again later, or never.

A reason is shown to operations and stored with the failed row, so it names the fault and
never a person: no phone number, no address, no text of a message (requirement A9). Answers
of remote servers are therefore cut down to their codes before they become a reason.
"""

from __future__ import annotations


class GatewayError(Exception):
    """A message was not (surely) handed over. `.reason` is safe to show and to log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Temporary(GatewayError):
    """It may work later: the caller tries again with the same key.

    `retry_after_s`: seconds the other side asked us to wait, or None.
    `maybe_sent`: True if the message may have been taken although we were not told so (the
    answer was lost). Such a message must go to the same gateway with the same key again, and
    never to another gateway, which could not recognise the repetition.
    """

    def __init__(
        self, reason: str, *, retry_after_s: float | None = None, maybe_sent: bool = False
    ) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.maybe_sent = maybe_sent


class Permanent(GatewayError):
    """It will not work however often it is tried: a person has to look at it."""
