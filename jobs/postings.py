"""Posting reported payments: the handler of the queue billing."""

from __future__ import annotations

import logging
from collections.abc import Callable

from billing.desk import Desk
from billing.outbox import Job
from jobs.consumers import Handler

_log = logging.getLogger(__name__)


class Postings:
    """Books payments; `nudge` is called when a booking put an SMS into the outbox."""

    def __init__(self, desk: Desk, nudge: Callable[[], None]) -> None:
        self._desk = desk
        self._nudge = nudge

    def handlers(self) -> dict[str, Handler]:
        """The handler of each kind of row."""
        return {"post_payment": self.post_payment}

    def post_payment(self, job: Job) -> None:
        """Book a payment (ledger, bill, confirmation); once, however often it is called.

        A payment that fits no bill is parked with its reason, which is a result, not a failure.
        """
        posting = self._desk.post_payment(job.payload["payment"])
        if posting.status == "parked":
            _log.warning("payment %s is parked: %s", job.payload["payment"], posting.reason)
        self._nudge()
