"""The switch's end of one event socket: reads commands, answers them, sends events.

One class for both modes. In sync mode it runs in the call's own greenlet: while an
application runs nobody reads the socket, and the answer to `sendmsg … execute` goes out when
the application has ended. In async mode it runs in a greenlet of its own, and hands messages
to the call.
"""

from __future__ import annotations

import logging
import math
import os
import uuid as uuids
from collections import deque
from typing import TYPE_CHECKING

from gevent import socket

from esl_worker.frames import CommandFrame, CommandReader, ProtocolError
from esl_worker.switch import events, protocol
from esl_worker.switch.api import run_api
from esl_worker.switch.inbox import Message
from esl_worker.switch.signal import Signal
from esl_worker.switch.subscription import Subscription
from esl_worker.switch.values import true

if TYPE_CHECKING:
    from esl_worker.switch.channel import Channel

log = logging.getLogger(__name__)

FIRST_COMMAND_S = 25.0  # virtual; read_packet's timeout for the first command
SEND_S = 30.0  # real; an application that does not read any more loses its socket


class Listener:
    """An event socket that the switch opened for a channel.

    Args:
        channel: the call it controls.
        sock: connected to the application; closed when `run` returns.
        asynchronous: the flag `async` of the socket application.
        full: the flag `full`: more commands than those for the channel itself.
    """

    def __init__(
        self, channel: Channel, sock: socket.socket, *, asynchronous: bool, full: bool
    ) -> None:
        self.channel = channel
        self.connected = False
        self.finished = False
        self._sock = sock
        self._async = asynchronous
        self._full = full
        self._signal = Signal() if asynchronous else channel.signal
        self._reader = CommandReader()
        self._commands: deque[CommandFrame] = deque()
        self._subscription = Subscription(channel.switch.bus, self._signal.set)
        self._running = True
        self._linger: int | None = None
        self._linger_until: float | None = None
        self._disconnecting = False

    def run(self) -> None:
        """Serve the socket until one side closes it, or the call is over."""
        if self._async:
            self.channel.watchers.append(self._signal.set)
        try:
            self._sock.settimeout(SEND_S)
            self._serve()
        except OSError:
            pass  # the application is gone; the dialplan goes on
        finally:
            self._close()

    def _serve(self) -> None:
        command = self._read(first=True)
        if command is None:
            return
        # The answer to a first command that is not `connect` is lost, as in FreeSWITCH.
        self._obey(command)
        while self._running:
            command = self._read()
            if command is None:
                return
            answer = self._obey(command)
            if answer:
                self._answer(answer)

    def _close(self) -> None:
        self._subscription.close()
        if self._signal.set in self.channel.watchers:
            self.channel.watchers.remove(self._signal.set)
        try:
            self._sock.settimeout(1.0)
            self._sock.sendall(protocol.disconnect_notice(self.channel.uuid))
            # Unread commands would make closing alone a reset, and the notice might be lost.
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        finally:
            self._sock.close()
            self.finished = True
            self.channel.signal.set()

    # -- the socket -------------------------------------------------------------------------

    def _answer(self, data: bytes) -> None:
        """Send an answer; an application that is gone does not get it, but what it has written
        before is still done, as in FreeSWITCH (measured). Reading finds out that it is gone."""
        try:
            self._send(data)
        except TimeoutError:
            raise
        except OSError:
            log.debug("call %s: nobody reads the answer", self.channel.uuid)

    def _send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def _read(self, *, first: bool = False) -> CommandFrame | None:
        """The next command; None when the socket is to be closed."""
        clock = self.channel.clock
        began = clock.now()
        while True:
            while (event := self._subscription.pending()) is not None:
                self._send(event)
            if self._linger_until is not None and int(clock.epoch()) > self._linger_until:
                return None
            if self.channel.down and not self._disconnecting:
                self._disconnecting = True
                if self._linger is None:
                    return None
                channel = self.channel
                self._send(
                    protocol.linger_notice(channel.uuid, channel.profile.channel_name, self._linger)
                )
                if self._linger >= 0:
                    self._linger_until = int(clock.epoch()) + self._linger
            if self._commands:
                return self._commands.popleft()
            wait: float | None = None
            if first:
                wait = began + FIRST_COMMAND_S - clock.now()
                if wait <= 0:
                    return None
            if self._linger_until is not None:
                wait = math.floor(self._linger_until) + 1.0 - clock.epoch() + 0.001
            data = self._receive()
            if data is None:
                self._signal.wait(None if wait is None else clock.real(wait), self._sock.fileno())
            elif not data:
                return None
            else:
                try:
                    self._commands += self._reader.feed(data)
                except ProtocolError as why:
                    log.warning("call %s: the application's commands: %s", self.channel.uuid, why)
                    return None

    def _receive(self) -> bytes | None:
        """What has come, b"" at the end, None if nothing is there yet."""
        try:
            return os.read(self._sock.fileno(), 65536)
        except BlockingIOError:
            return None

    # -- commands ---------------------------------------------------------------------------

    def _obey(self, command: CommandFrame) -> bytes:
        """Do a command; what to answer (nothing where it has answered itself).

        FreeSWITCH compares the beginnings of lines in this order (parse_command).
        """
        line = command.command
        word = line.lower()
        if word.startswith(("exit", "...")):
            self._running = False
            return protocol.reply("+OK bye")
        if word.startswith("filter "):
            return protocol.reply(self._subscription.filter(line[7:].lstrip(" ")))
        if word.startswith("resume"):
            self.channel.set("socket_resume", "true")
            return protocol.reply("+OK")
        if word.startswith("connect"):
            self.connected = True
            self.channel.signal.set()
            self._send(self._connect_answer())
            return b""
        if word.startswith("getvar"):
            value = self.channel.get(line.partition(" ")[2]) or ""
            return protocol.reply(value or "-ERR command not found")
        if word.startswith("myevents"):
            return protocol.reply(self._subscription.mine(word, self.channel.uuid))
        if word.startswith("divert_events"):
            return protocol.reply(_diverted(line[13:].strip(" ")))
        if word.startswith("sendmsg"):
            return protocol.reply(self._send_message(command))
        if not self._full:
            return protocol.reply("-ERR command not found")
        return self._obey_full(command, line, word)

    def _obey_full(self, command: CommandFrame, line: str, word: str) -> bytes:
        """The commands that only a `full` socket has."""
        if word.startswith("sendevent"):
            return protocol.reply(f"+OK {uuids.uuid4()}")
        if word.startswith("api "):
            return protocol.api_response(run_api(self.channel.switch, line[4:]))
        if word.startswith("bgapi "):
            return self._background(line[6:], command.headers.get("job-uuid"))
        if word.startswith("log"):
            # There is no log to send; who asks for one is told what FreeSWITCH would say.
            return protocol.reply("-ERR permission denied")
        if word.startswith("linger"):
            return protocol.reply(self._set_linger(line[6:]))
        if word.startswith("nolinger"):
            self._linger = None
            return protocol.reply("+OK will not linger")
        if word.startswith("nolog"):
            return protocol.reply("-ERR not loging")  # sic
        if word.startswith("event"):
            return protocol.reply(self._subscription.on(line[5:].split()))
        if word.startswith("nixevent"):
            return protocol.reply(self._subscription.nix(line[8:].upper().split()))
        if word.startswith("noevents"):
            return protocol.reply(self._subscription.off())
        return protocol.reply("-ERR command not found")

    def _connect_answer(self) -> bytes:
        channel = self.channel
        headers = channel.switch.bus.base("CHANNEL_DATA")
        headers += channel.profile.headers("Channel", channel.times)
        headers += channel.headers()
        headers += [
            ("Content-Type", "command/reply"),
            ("Reply-Text", "+OK\n"),
            ("Socket-Mode", "async" if self._async else "static"),
            ("Control", "full" if self._full else "single-channel"),
        ]
        return events.serialize(headers)

    def _set_linger(self, text: str) -> str:
        if not text.startswith(" ") or not text[1:]:
            self._linger = -1
            return "+OK will linger"
        digits = text.strip()[:9]
        self._linger = int(digits) if digits.isdecimal() and digits.isascii() else 0
        return f"+OK will linger {self._linger} seconds"

    def _send_message(self, command: CommandFrame) -> str:
        uuid = command.command[7:].strip(" ") or command.headers.get("session-id", "")
        message = Message(command.headers, command.body.decode("utf-8", "replace"))
        if uuid and uuid != self.channel.uuid:
            other = self.channel.switch.channels.get(uuid)
            if other is None:
                return f"-ERR invalid session id [{uuid}]"
            other.inbox.queue(message)
        elif self._async or true(command.headers.get("async")):
            self.channel.inbox.queue(message)
        else:
            self.channel.inbox.obey(message)
        return "+OK"

    def _background(self, text: str, job: str | None) -> bytes:
        job = job or str(uuids.uuid4())
        switch = self.channel.switch
        name, _, argument = text.partition(" ")
        headers = [
            ("Job-UUID", job),
            ("Job-Owner-UUID", self.channel.uuid),
            ("Job-Command", name),
        ]
        if argument:
            headers.append(("Job-Command-Arg", argument))
        switch.bus.fire_plain("BACKGROUND_JOB", headers, run_api(switch, text))
        return protocol.reply(f"~Reply-Text: +OK Job-UUID: {job}\nJob-UUID: {job}\n\n")


def _diverted(text: str) -> str:
    if not text:
        return "-ERR missing value."
    return "+OK events diverted" if text.lower() == "on" else "+OK events not diverted"
