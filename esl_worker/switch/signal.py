"""What a greenlet of the switch sleeps on: a wake-up, a readable socket, or a time."""

from __future__ import annotations

from typing import Any

from gevent.hub import Waiter, get_hub


class Signal:
    """A wake-up for one greenlet; a wake-up that comes early is kept for the next wait.

    gevent's ``Event`` can do the same, but it wakes any number of waiters and cannot watch
    a socket at the same time; a call sleeps some twenty times, so this is worth its lines.
    """

    __slots__ = ("_raised", "_waiter")

    def __init__(self) -> None:
        self._raised = False
        self._waiter: Waiter[Any] | None = None

    def set(self) -> None:
        """Wake the sleeper, or let the next sleep end at once."""
        if self._raised:
            return
        self._raised = True
        if self._waiter is not None:
            get_hub().loop.run_callback(self._waiter.switch, None)

    def wait(self, real_seconds: float | None = None, readable: int | None = None) -> None:
        """Sleep until woken, until the file `readable` has input, or for `real_seconds`.

        Returns without saying which of them it was: the caller looks for itself.
        """
        if self._raised:
            self._raised = False
            return
        hub = get_hub()
        waiter: Waiter[Any] = Waiter(hub)
        watchers: list[Any] = []
        try:
            if real_seconds is not None:
                timer = hub.loop.timer(real_seconds)
                watchers.append(timer)
                timer.start(waiter.switch, None)
            if readable is not None:
                watcher = hub.loop.io(readable, 1)
                watchers.append(watcher)
                watcher.start(waiter.switch, None)
            self._waiter = waiter
            waiter.get()
        finally:
            self._waiter = None
            self._raised = False
            for each in watchers:
                each.stop()
                each.close()
