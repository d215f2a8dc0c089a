"""API commands to one FreeSWITCH, for a command that asks a few questions and ends."""

from __future__ import annotations

from typing import Protocol

from esl_worker.inbound import ControlError, InboundConnection, NotConnected, Refused


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
    """A logged-in control connection whose errors say what to do; a context manager.

    It does not reconnect: who stays needs `esl_worker.control`. Times are seconds.
    """

    def __init__(self, host: str, port: int, password: str, timeout_s: float = 5.0) -> None:
        """Connect and log in. Raises SwitchAway; ValueError for a password with a line break."""
        self._connection = InboundConnection(
            host, port, password, timeout_s, reply_timeout_s=timeout_s
        )
        try:
            self._connection.connect()
        except Refused as error:
            raise SwitchAway(
                str(error),
                "Set control_password to callflows_control_password of vars.xml, and allow this "
                "address in callflows_control_acl.",
            ) from error
        except NotConnected as error:
            raise SwitchAway(
                f"{host}:{port}: {error}",
                "Is FreeSWITCH running, and does its event socket listen there "
                "(callflows_control_ip, callflows_control_port)?",
            ) from error

    def __enter__(self) -> EventSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def api(self, command: str) -> str:
        """The answer to an API command. Raises SwitchAway; ValueError for a line break in it."""
        try:
            return self._connection.api(command).strip()
        except ControlError as error:
            raise SwitchAway(str(error), "Look at the switch's log.") from error
