"""Takes in the switch's disk spool of call records now and then, as a chore of the relay."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from pathlib import Path

from billing.cdr_spool import take_in
from billing.clock import Clock
from billing.database import Database
from billing.premium.charge_check import TOLERANCE

EVERY_S = 60.0

# The relay hands over jobs between its chores: a spool of thousands is taken in over many looks.
_FILES = 100

_log = logging.getLogger(__name__)


class CdrSpool:
    """`look` is the relay's chore; without a folder it does nothing."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        folder: Path | None,
        tolerance: timedelta = TOLERANCE,
    ) -> None:
        self._database = database
        self._clock = clock
        self._folder = folder
        self._tolerance = tolerance
        self._next = 0.0

    def look(self) -> None:
        """Take in some of what is there, at most once a minute. Raises Unavailable."""
        now = time.monotonic()
        if self._folder is None or now < self._next:
            return
        self._next = now + EVERY_S
        try:
            result = take_in(
                self._database,
                self._folder,
                self._clock.now(),
                limit=_FILES,
                tolerance=self._tolerance,
            )
        except OSError as error:
            _log.error("the spool of call records cannot be taken in: %s", error.strerror)
            return
        for rejected in result.rejected:
            _log.error("call record %s: %s", rejected.file.name, rejected.reason)
        if result.stored or result.repeated:
            _log.info("call records taken in: %d, repeated: %d", result.stored, result.repeated)
            # More may lie there: the next look goes on.
            self._next = now if result.stored + result.repeated >= _FILES else self._next
