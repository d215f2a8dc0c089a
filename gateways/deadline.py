"""Reading what another machine sends, for so long and no longer."""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any


class _Timed(io.RawIOBase):
    """A socket's incoming bytes until a moment of the monotonic clock."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        # Keeps the socket open until we are closed, as http.client expects of its files.
        self._file = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        self._sock.settimeout(left)
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


def incoming(sock: socket.socket, deadline: float) -> io.BufferedReader:
    """What a socket receives until `deadline` (time.monotonic, s), as a file to read from.

    Reading raises TimeoutError from then on. A socket's own timeout begins anew with each byte,
    so that a server which sends one now and then holds its reader for ever. The socket is left
    with the time that remained at the last read as its timeout.
    """
    return io.BufferedReader(_Timed(sock, deadline))


class TimedAnswer(http.client.HTTPResponse):
    """An answer that must be whole, headers and body, within the socket's timeout."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        timeout_s = sock.gettimeout()
        if timeout_s is not None:
            self.fp.close()
            self.fp = incoming(sock, time.monotonic() + timeout_s)
