"""A network that forgets to say goodbye: between switch and worker, and the far side never ends."""

from __future__ import annotations

from typing import Any

import gevent
from gevent import socket
from gevent.server import StreamServer


class HalfOpen(StreamServer):
    """Passes bytes both ways. What the switch closes (or says after `deaf` is set) stays unheard:
    for the worker the connection is alive and silent, as after a firewall has lost it."""

    def __init__(self, worker: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), self._serve)
        self.deaf = False
        self._worker = worker
        self._kept: list[Any] = []

    def _serve(self, switch: Any, _: object) -> None:
        worker = socket.create_connection(self._worker)
        self._kept += [switch, worker]
        back = gevent.spawn(self._pass, worker, switch)
        try:
            while (data := switch.recv(65536)) and not self.deaf:
                worker.sendall(data)
            back.join()  # the worker's side stays open
        except OSError:
            pass

    def _pass(self, source: Any, sink: Any) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass

    def close(self) -> None:
        """Close everything."""
        super().close()
        for each in getattr(self, "_kept", ()):
            each.close()
