"""The control connections of a process: one to each switch it works for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import gevent

from esl_worker.control import Control, Restart, Timing
from esl_worker.live_calls import LiveCalls
from esl_worker.metrics import SwitchMetrics


class Switches:
    """Several controls under one roof; an empty one does nothing.

    Each ends the conversations in `live` whose calls its switch has lost.
    """

    def __init__(
        self,
        addresses: Iterable[tuple[str, int]],
        password: str,
        *,
        live: LiveCalls | None = None,
        on_restart: Callable[[Restart], None] | None = None,
        timing: Timing | None = None,
        metrics: SwitchMetrics | None = None,
    ) -> None:
        self.live = live if live is not None else LiveCalls()
        self._controls = [
            Control(
                address,
                password,
                live=self.live,
                on_restart=on_restart,
                timing=timing,
                metrics=metrics,
            )
            for address in addresses
        ]

    def __iter__(self) -> Iterator[Control]:
        return iter(self._controls)

    def __len__(self) -> int:
        return len(self._controls)

    def start(self) -> None:
        """Begin to connect to all of them, in the background."""
        for control in self._controls:
            control.start()

    def stop(self) -> None:
        """End all connections; the calls go on."""
        gevent.joinall([gevent.spawn(control.stop) for control in self._controls])

    def of(self, core_uuid: str) -> Control | None:
        """The connected control of the switch that a call is on (its Core-UUID), if any."""
        for control in self._controls:
            if control.core_uuid == core_uuid and control.connected:
                return control
        return None
