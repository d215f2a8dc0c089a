"""The switch's own event socket, to which control connections come: log in, commands, events.

Byte forms are those measured on FreeSWITCH 1.10.12 (see tests/integration/test_switch_inbound.py).
"""

from __future__ import annotations

import logging
import os
import uuid as uuids
from collections import deque
from collections.abc import Sequence
from hmac import compare_digest
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import gevent
from gevent import socket
from gevent.server import StreamServer

from esl_worker.frames import CommandFrame, CommandReader, ProtocolError
from esl_worker.switch import protocol
from esl_worker.switch.api import run_api
from esl_worker.switch.inbox import Message
from esl_worker.switch.signal import Signal
from esl_worker.switch.subscription import Subscription

if TYPE_CHECKING:
    from esl_worker.switch.switch import Switch

log = logging.getLogger(__name__)

LOGIN_S = 25.0  # virtual; read_packet's timeout before a connection is authenticated
SEND_S = 30.0  # real; who does not read any more is cut off
SHUTDOWN = b"The system is being shut down.\n"

_LEVELS = ("console", "alert", "crit", "err", "warning", "notice", "info", "debug")


class InboundServer(StreamServer):
    """Listens for control connections.

    Args:
        switch: which they control.
        password: of `auth`.
        listener: host and port; port 0 takes a free one (see `server_port`).
        allowed: networks that may connect ("127.0.0.0/8"); others are rejected rudely.
    """

    def __init__(
        self,
        switch: Switch,
        password: str = "ClueCon",  # FreeSWITCH's default  # noqa: S107
        *,
        listener: tuple[str, int] = ("127.0.0.1", 0),
        allowed: Sequence[str] = ("0.0.0.0/0", "::/0"),
    ) -> None:
        super().__init__(listener, self._serve)
        self.switch = switch
        self._password = password
        self._allowed = [ip_network(each) for each in allowed]
        self._connections: set[InboundSocket] = set()

    def shut_down(self) -> None:
        """Go away as a FreeSWITCH that is told to: the calls end, connections are told."""
        self.stop()
        for channel in list(self.switch.channels.values()):
            channel.hangup("SYSTEM_SHUTDOWN")
        for each in list(self._connections):
            each.end(SHUTDOWN)

    def cut(self) -> None:
        """Close every connection without a word, as a lost network does; the calls go on."""
        for each in list(self._connections):
            each.end(None)

    def _serve(self, sock: socket.socket, address: Any) -> None:
        peer = ip_address(address[0])
        if not any(peer in network for network in self._allowed):
            with sock:
                sock.sendall(protocol.REJECTION + protocol.inbound_notice())
            return
        connection = InboundSocket(self.switch, sock, self._password)
        self._connections.add(connection)
        try:
            connection.run()
        finally:
            self._connections.discard(connection)


class InboundSocket:
    """One control connection; `run` serves it until one side ends it."""

    def __init__(self, switch: Switch, sock: socket.socket, password: str) -> None:
        self._switch = switch
        self._sock = sock
        self._password = password
        self._signal = Signal()
        self._reader = CommandReader()
        self._commands: deque[CommandFrame] = deque()
        self._subscription = Subscription(switch.bus, self._signal.set)
        self._authenticated = False
        self._logging = False
        self._running = True
        self._goodbye: bytes | None = protocol.GOODBYE

    def run(self) -> None:
        """Serve the connection."""
        try:
            self._sock.settimeout(SEND_S)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sock.sendall(protocol.AUTH_REQUEST)
            while self._running and (command := self._read()) is not None:
                answer = self._obey(command)
                if answer:
                    self._sock.sendall(answer)
        except OSError:
            pass  # the other side is gone
        finally:
            self._close()

    def end(self, goodbye: bytes | None) -> None:
        """End the connection from outside, with that notice or none."""
        self._goodbye = goodbye
        self._running = False
        self._signal.set()

    def _close(self) -> None:
        self._subscription.close()
        try:
            if self._goodbye is not None:
                self._sock.settimeout(1.0)
                self._sock.sendall(protocol.inbound_notice(self._goodbye))
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        finally:
            self._sock.close()

    def _read(self) -> CommandFrame | None:
        """The next command, None when the socket is to be closed; events are sent meanwhile."""
        clock = self._switch.clock
        until = clock.now() + LOGIN_S
        while self._running:
            while (event := self._subscription.pending()) is not None:
                self._sock.sendall(event)
            if self._commands:
                return self._commands.popleft()
            left = None if self._authenticated else until - clock.now()
            if left is not None and left <= 0:
                return None
            try:
                data = os.read(self._sock.fileno(), 65536)
            except BlockingIOError:
                real = None if left is None else clock.real(left)
                self._signal.wait(real, self._sock.fileno())
                continue
            if not data:
                return None
            try:
                self._commands += self._reader.feed(data)
            except ProtocolError as why:
                log.warning("a control connection's commands: %s", why)
                return None
        return None

    def _obey(self, command: CommandFrame) -> bytes:
        line = command.command
        word = line.lower()
        if word.startswith(("exit", "...")):
            self._running = False
            return protocol.reply("+OK bye")
        if not self._authenticated:
            return protocol.reply(self._log_in(line, word))
        if word.startswith("api "):
            return protocol.api_response(run_api(self._switch, line[4:]))
        if word.startswith("bgapi "):
            return self._background(line[6:], command.headers.get("job-uuid"))
        return protocol.reply(self._reply_to(command, line, word))

    def _log_in(self, line: str, word: str) -> str:
        if not word.startswith("auth "):
            return "-ERR command not found"
        if compare_digest(line[5:].encode(), self._password.encode()):
            self._authenticated = True
            return "+OK accepted"
        self._running = False
        return "-ERR invalid"

    def _reply_to(self, command: CommandFrame, line: str, word: str) -> str:
        """In the order in which FreeSWITCH compares the beginnings of lines."""
        if word.startswith("filter "):
            return self._subscription.filter(line[7:].lstrip(" "))
        if word.startswith("divert_events"):
            return "-ERR not controlling a session."
        if word.startswith("sendmsg"):
            return self._send_message(command)
        if word.startswith("sendevent"):
            return f"+OK {uuids.uuid4()}"
        if word.startswith("log"):
            return self._log(line[3:].strip(" "))
        if word.startswith(("linger", "nolinger")):
            return "-ERR not controlling a session"
        if word.startswith("nolog"):
            was, self._logging = self._logging, False
            return "+OK no longer logging" if was else "-ERR not loging"  # sic
        if word.startswith("event"):
            return self._subscription.on(line[5:].split())
        if word.startswith("nixevent"):
            return self._subscription.nix(line[8:].upper().split())
        if word.startswith("noevents"):
            return self._subscription.off()
        return "-ERR command not found"

    def _log(self, level: str) -> str:
        """Accepted; there is no log to send."""
        if level and level.lower() not in _LEVELS:
            return "-ERR invalid log level"
        self._logging = True
        return f"+OK log level {level} [{_LEVELS.index(level.lower() or 'debug')}]"

    def _send_message(self, command: CommandFrame) -> str:
        uuid = command.command[7:].strip(" ") or command.headers.get("session-id", "")
        channel = self._switch.channels.get(uuid)
        if channel is None:
            return f"-ERR invalid session id [{uuid}]"
        channel.inbox.queue(Message(command.headers, command.body.decode("utf-8", "replace")))
        return "+OK"

    def _background(self, text: str, job: str | None) -> bytes:
        job = job or str(uuids.uuid4())
        # Begins when this greenlet waits next, so the reply is out before the result.
        gevent.spawn(self._run_job, job, text)
        return protocol.reply(f"~Reply-Text: +OK Job-UUID: {job}\nJob-UUID: {job}\n\n")

    def _run_job(self, job: str, text: str) -> None:
        """Runs on when the connection that asked for it has gone, as in FreeSWITCH."""
        name, _, argument = text.partition(" ")
        headers = [("Job-UUID", job), ("Job-Command", name)]
        if argument:
            headers.append(("Job-Command-Arg", argument))
        result = run_api(self._switch, text)
        self._switch.bus.fire_plain("BACKGROUND_JOB", headers, result)
