"""API commands to one FreeSWITCH, for a command that asks a few questions and ends.

A process that stays needs `esl_worker.control`, which reconnects and hears events; this connects
once, asks, and is done.
"""

from __future__ import annotations

import socket
from typing import Protocol

from esl_worker.frames import Frame, FrameReader, ProtocolError


class SwitchAway(Exception):
    """The switch cannot be asked; the text says why, ``remedy`` what to do."""

    def __init__(self, text: str, remedy: str) -> None:
        super().__init__(text)
        self.remedy = remedy


class SwitchApi(Protocol):
    """Whoever answers API commands."""

    def api(self, command: str) -> str:
        """The answer to an API command such as ``version``, without surrounding blanks.

        Raises SwitchAway where the connection is lost or no answer comes.
        """


class EventSocket:
    """A logged-in event-socket connection; a context manager. Times are seconds."""

    def __init__(self, host: str, port: int, password: str, timeout_s: float = 5.0) -> None:
        """Connect and log in. Raises SwitchAway; ValueError for a password with a line break."""
        if "\n" in password or "\r" in password:
            raise ValueError("control_password: must not hold a line break")
        self._reader = FrameReader()
        self._frames: list[Frame] = []
        try:
            self._socket = socket.create_connection((host, port), timeout_s)
        except OSError as error:
            raise SwitchAway(
                f"no connection to {host}:{port}: {error.strerror or error}",
                "Is FreeSWITCH running, and does its event socket listen there "
                "(callflows_control_ip, callflows_control_port)?",
            ) from error
        try:
            self._log_in(password)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> EventSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def api(self, command: str) -> str:
        """The answer to an API command. Raises SwitchAway; ValueError for a line break in it."""
        if "\n" in command or "\r" in command:
            raise ValueError("an API command is one line")
        self._send(f"api {command}")
        while (frame := self._next()).content_type != "api/response":
            if frame.content_type == "text/disconnect-notice":
                raise SwitchAway("the switch closed the connection", "Look at the switch's log.")
        return frame.body.decode("utf-8", "replace").strip()

    def _log_in(self, password: str) -> None:
        greeting = self._next().content_type
        if greeting == "text/rude-rejection":
            raise SwitchAway(
                "the switch refuses this address",
                "Allow it in callflows_control_acl and restart FreeSWITCH.",
            )
        if greeting != "auth/request":
            raise SwitchAway(
                "not an event socket", "Give its address and port in control_addresses."
            )
        self._send(f"auth {password}")
        if not (self._next().get("Reply-Text") or "").startswith("+OK"):
            raise SwitchAway(
                "the switch refuses the password",
                "Set control_password to callflows_control_password of vars.xml.",
            )

    def _send(self, line: str) -> None:
        try:
            self._socket.sendall(f"{line}\n\n".encode())
        except OSError as error:
            raise _lost(error) from error

    def _next(self) -> Frame:
        try:
            while not self._frames:
                data = self._socket.recv(65536)
                if not data:
                    raise SwitchAway("the switch closed the connection", "Look at its log.")
                self._frames += self._reader.feed(data)
        except OSError as error:
            raise _lost(error) from error
        except ProtocolError as error:
            raise SwitchAway(
                f"not an event socket: {error}", "Give its address in control_addresses."
            ) from error
        return self._frames.pop(0)


def _lost(error: OSError) -> SwitchAway:
    what = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
    return SwitchAway(f"the switch does not answer: {what}", "Look at the switch's log.")
