"""A request to stop that a signal handler may make."""

from __future__ import annotations

import time

_SLICE_S = 0.05


class Stop:
    """Like threading.Event, without its lock: a handler that runs while the same thread is inside
    `Event.wait` could wait for itself for ever.
    """

    def __init__(self) -> None:
        self._asked = False

    def ask(self) -> None:
        self._asked = True

    @property
    def asked(self) -> bool:
        return self._asked

    def wait(self, seconds: float) -> None:
        """Sleep for some seconds, or until somebody asks to stop."""
        until = time.monotonic() + seconds
        while not self._asked and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_S))
