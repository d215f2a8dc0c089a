"""One connection to a switch's own event socket: log in, run API commands, hear events.

This is the other direction than ``session.py``: there the switch calls us for one call, here we
call the switch and speak about any call. The connection carries commands of many greenlets at
once: their bytes go out in order, and the switch answers in order, so the n-th answer belongs to
the n-th command. A greenlet that stops waiting leaves its place in that row; its late answer is
dropped and never taken for another's.

``InboundConnection`` is an ``InboundESL`` of greenswitch, so that code written for that class finds
``connect``, ``send``, ``stop`` and ``connected``; none of its reading, parsing and waiting is used.
Facts marked measured: FreeSWITCH 1.10.12.
"""

import logging
import socket as stdlib_socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal, NoReturn

import gevent
from gevent import socket
from gevent.event import Event
from gevent.lock import Semaphore
from greenswitch.esl import InboundESL

from esl_worker.frames import Frame, FrameReader, ProtocolError, event_of
from esl_worker.session import ClosedOff, Command, Reply

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 16 * 1024 * 1024
"""Longest body taken, in bytes: `show channels` of a busy switch is long."""

_RECV_BYTES = 64 * 1024
_MAX_JOB = 50  # bytes; so many come back whole (measured)


class ControlError(Exception):
    """Something about a control connection. The texts hold no secret."""


class NotConnected(ControlError):
    """There is no connection to the switch; nothing was sent."""


class Refused(ControlError):
    """The switch does not let us in: wrong password (``-ERR invalid``), or not in its ACL.

    Trying again at once is of no use: somebody has to change a configuration.
    """


class ControlLost(ControlError):
    """The connection ended under a command.

    ``stage`` is ``not_sent`` (no byte of the command left this process: it may be sent again) or
    ``unconfirmed`` (the switch may have done it).
    """

    def __init__(self, reason: str, stage: Literal["not_sent", "unconfirmed"]) -> None:
        super().__init__(f"control connection lost ({stage}): {reason}")
        self.reason = reason
        self.stage = stage


class NoReply(ControlError):
    """The switch did not answer a command within ``seconds``; it may have done it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the switch did not answer within {seconds:g} s")
        self.seconds = seconds


def line(text: str, what: str) -> str:
    """``text`` if it can stand in one line of a command, else ValueError naming ``what``.

    A line break would begin a new header or a new command.
    """
    if not isinstance(text, str) or not text:
        raise ValueError(f"{what} must be text and not empty")
    if "\n" in text or "\r" in text or "\0" in text:
        raise ValueError(f"{what} holds a line break or NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} holds a lone surrogate, which is no text") from None
    return text


def api_command(command: str) -> Command:
    """An API command that is answered when it is done; raises ValueError for a line break.

    The switch does one at a time for a connection, so it should be a quick one.
    """
    return Command(f"api {line(command, 'command')}\n\n".encode())


def bgapi_command(command: str, job: str) -> Command:
    """An API command that runs beside others; its result is the event BACKGROUND_JOB of ``job``.

    Raises ValueError for a line break, and for a job id of more than 50 bytes.
    """
    if len(line(job, "job").encode()) > _MAX_JOB:
        raise ValueError(f"job is longer than {_MAX_JOB} bytes, where the switch would cut it")
    return Command(f"bgapi {line(command, 'command')}\nJob-UUID: {job}\n\n".encode())


class _Answers:
    """The place of some commands in the row of answers, and who waits for them."""

    __slots__ = ("_done", "_need", "_on_reply", "error", "replies")

    def __init__(self, need: int, on_reply: Callable[[Reply | ControlError], None] | None) -> None:
        self.replies: list[Reply] = []
        self.error: ControlLost | None = None
        self._need = need
        self._on_reply = on_reply
        self._done = None if on_reply else Event()

    def take(self, reply: Reply) -> bool:
        """Take one answer; True when it was the last."""
        self.replies.append(reply)
        if len(self.replies) < self._need:
            return False
        self._tell(reply)
        return True

    def fail(self, error: ControlLost) -> None:
        """There will be no answer."""
        self.error = error
        self._tell(error)

    def wait(self, seconds: float) -> bool:
        """Wait for the last answer or the end; False when the time has passed."""
        return self._done is not None and self._done.wait(seconds)

    def _tell(self, what: Reply | ControlError) -> None:
        if self._done is not None:
            self._done.set()
        elif self._on_reply is not None:
            self._on_reply(what)


class InboundConnection(InboundESL):  # type: ignore[misc, unused-ignore]  # greenswitch is untyped
    """An authenticated event-socket connection to ``host``:``port``.

    Times are seconds: ``timeout`` for the TCP connection, and again for logging in;
    ``reply_timeout_s`` for an exchange that names none, and for a peer that does not read.
    ``on_event`` is called with each event, ``on_end`` once with the reason when the connection has
    ended. Both run in the greenlet that reads: they must not block, and what they raise is logged.
    """

    def __init__(
        self,
        host: str,
        port: int,
        password: str,
        timeout: float = 5.0,
        *,
        reply_timeout_s: float = 5.0,
        on_event: Callable[[Frame], None] | None = None,
        on_end: Callable[[str], None] | None = None,
    ) -> None:
        # InboundESL.__init__ is not called: what it makes belongs to the closed-off reading.
        self.host = host
        self.port = port
        self.password = line(password, "password")
        self.timeout = timeout
        self.reply_timeout_s = reply_timeout_s
        self.on_event = on_event
        self.on_end = on_end
        self.connected = False
        self.sock: Any = None
        self._end = ""
        self._reader = FrameReader(max_body=MAX_BODY_BYTES)
        self._answers: deque[_Answers] = deque()
        self._writing = Semaphore()
        self._reading: gevent.Greenlet[..., None] | None = None

    def __repr__(self) -> str:
        return f"<InboundConnection {self.host}:{self.port}>"

    # -- what is used -----------------------------------------------------------------------

    def connect(self) -> None:
        """Connect, log in, and begin to read.

        Raises Refused for a wrong password or an ACL, NotConnected for everything else: nobody
        listens, no answer in time, a peer that is no event socket.
        """
        if self.sock is not None or self._end:
            raise NotConnected("a connection is made once; make a new one")
        try:
            sock = socket.create_connection((self.host, self.port), self.timeout)
        except OSError as error:
            raise NotConnected(f"cannot connect: {error.strerror or error}") from None
        self.sock = sock
        try:
            if self._end:
                raise NotConnected(self._end)  # closed from another greenlet meanwhile
            sock.setsockopt(stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NODELAY, 1)
            rest = self._log_in(sock)
        except BaseException as error:
            self._finish(str(error))
            if isinstance(error, OSError):
                raise NotConnected(f"not logged in: {error.strerror or error}") from None
            raise
        sock.settimeout(self.reply_timeout_s)  # of sending; reading waits without a limit
        self.connected = True
        self._reading = gevent.spawn(self._read, rest)

    def exchange(self, commands: Sequence[Command], timeout_s: float | None = None) -> list[Reply]:
        """Write commands in one piece and return their answers, in order.

        Raises NotConnected, ControlLost, or NoReply after ``timeout_s`` seconds. NoReply leaves the
        connection as it is: the keep-alive of ``Control`` finds out whether the switch is dead.
        """
        if not commands:
            return []
        if gevent.getcurrent() is self._reading:
            raise RuntimeError("on_event and on_end must not wait for the switch: spawn a greenlet")
        seconds = self.reply_timeout_s if timeout_s is None else timeout_s
        answers = _Answers(len(commands), None)
        self._write(commands, answers)
        if not answers.wait(seconds):
            raise NoReply(seconds)
        if answers.error is not None:
            raise answers.error
        return answers.replies

    def post(self, command: Command, on_reply: Callable[[Reply | ControlError], None]) -> None:
        """Write one command and go on; ``on_reply`` gets its answer, or the error, in the greenlet
        that reads. Raises as ``exchange`` does if it could not be written; then there is no call.
        """
        self._write([command], _Answers(1, on_reply))

    def api(self, command: str, timeout_s: float | None = None) -> str:
        """Run an API command, e.g. "uuid_exists …"; returns what it prints."""
        return self.exchange([api_command(command)], timeout_s)[0].text

    def close(self, reason: str = "closed on this side") -> None:
        """End the connection; who waits is told. From any greenlet, more than once."""
        self._finish(reason)

    @property
    def end(self) -> str:
        """Why the connection has ended; empty while it lives."""
        return self._end

    # -- logging in -------------------------------------------------------------------------

    def _log_in(self, sock: Any) -> list[Frame]:
        """The frames that came behind the answer to auth (none, from a FreeSWITCH)."""
        deadline = time.monotonic() + self.timeout
        frames = self._until(sock, deadline, [])
        if frames[0].content_type != "auth/request":
            self._unwelcome(frames[0])
        sock.sendall(f"auth {self.password}\n\n".encode())
        frames = self._until(sock, deadline, frames[1:])
        reply = frames[0]
        if reply.content_type != "command/reply":
            self._unwelcome(reply)
        text = reply.get("Reply-Text") or ""
        if not text.startswith("+OK"):
            raise Refused("the switch refuses the password")
        return frames[1:]

    def _until(self, sock: Any, deadline: float, frames: list[Frame]) -> list[Frame]:
        """Read until there is a frame."""
        while not frames:
            left = deadline - time.monotonic()
            if left <= 0:
                raise NotConnected(f"not logged in within {self.timeout:g} s")
            sock.settimeout(left)
            try:
                data = sock.recv(_RECV_BYTES)
                if not data:
                    raise NotConnected("not logged in: closed by the peer")
                frames = self._reader.feed(data)
            except TimeoutError:
                raise NotConnected(f"not logged in within {self.timeout:g} s") from None
            except ProtocolError as error:
                raise NotConnected(f"the peer is no event socket: {error}") from None
        return frames

    def _unwelcome(self, frame: Frame) -> NoReturn:
        if frame.content_type == "text/rude-rejection":
            raise Refused("the switch's ACL (apply-inbound-acl) does not allow this address")
        if frame.content_type == "text/disconnect-notice":
            raise NotConnected("not logged in: closed by the switch")
        raise NotConnected("the peer is no event socket that waits for a password")

    # -- writing ----------------------------------------------------------------------------

    def _write(self, commands: Sequence[Command], answers: _Answers) -> None:
        data = commands[0] if len(commands) == 1 else b"".join(commands)
        sent = False
        with self._writing:
            if not self.connected:
                if not self._end:
                    raise NotConnected("not connected yet")
                raise ControlLost(self._end, "not_sent")
            try:
                # The place is taken before the bytes leave: an answer may be quicker than we.
                self._answers.append(answers)
                sent = True
                self.sock.sendall(data)
            except OSError as error:
                # What a failing sendall got rid of is unknown; `answers` is told with the others.
                self._finish(f"sending failed: {error.strerror or error}")
            except BaseException:
                # A kill in the middle of a command: the next one would be glued to its half.
                if sent:
                    self._finish("a command was broken off")
                raise

    # -- reading ----------------------------------------------------------------------------

    def _read(self, frames: list[Frame]) -> None:
        reason = "the reader was ended"
        try:
            for frame in frames:
                self._take(frame)
            sock = self.sock
            while self.connected:
                try:
                    data = sock.recv(_RECV_BYTES)
                except TimeoutError:
                    continue  # the limit is that of sending; silence is for the keep-alive
                if not data:
                    self._reader.eof()
                    reason = "closed by the switch without a notice"
                    return
                for frame in self._reader.feed(data):
                    self._take(frame)
                if self._reader.error is not None:
                    raise self._reader.error
        except ProtocolError as error:
            reason = f"protocol error: {error}"
        except OSError as error:
            reason = error.strerror or str(error)
        finally:
            self._finish(reason)

    def _take(self, frame: Frame) -> None:
        kind = frame.content_type
        if kind == "api/response":
            self._answer(Reply(frame.body.decode("utf-8", "replace"), frame))
        elif kind == "command/reply":
            self._answer(Reply(frame.get("Reply-Text") or "", frame))
        elif kind in ("text/event-plain", "text/event-json"):
            event = event_of(frame)
            if self.on_event is not None:
                self._tell(self.on_event, event)
        elif kind == "text/disconnect-notice":
            said = frame.body.decode("utf-8", "replace").partition("\n")[0][:80]
            self._finish(f"closed by the switch: {said}")
        elif kind != "log/data":
            raise ProtocolError("a frame of unknown content type", 0)

    def _answer(self, reply: Reply) -> None:
        if not self._answers:
            raise ProtocolError("an answer without a command", 0)
        if self._answers[0].take(reply):
            self._answers.popleft()

    def _tell(self, function: Callable[[Any], None], what: Frame | str) -> None:
        try:
            function(what)
        except Exception:
            log.exception("%r: a callback failed", self)

    # -- ending -----------------------------------------------------------------------------

    def _finish(self, reason: str) -> None:
        if self._end:
            return
        self._end = reason or "closed"
        was, self.connected = self.connected, False
        if self.sock is not None:
            self.sock.close()
        waiting, self._answers = self._answers, deque()
        for answers in waiting:
            answers.fail(ControlLost(self._end, "unconfirmed"))
        if was and self.on_end is not None:
            self._tell(self.on_end, self._end)

    # -- the surface of greenswitch's InboundESL, on top of the above -------------------------

    def send(self, data: str) -> Reply:
        """Send one command as text (its lines, without the closing empty line)."""
        if not isinstance(data, str) or "\r" in data or "\0" in data or "\n\n" in data + "\n":
            raise ValueError("data must be the lines of one command")
        return self.exchange([Command(f"{data}\n\n".encode())])[0]

    def stop(self) -> None:
        """``close``, under greenswitch's name. No ``exit`` is sent: closing says the same."""
        self.close()

    def __enter__(self) -> "InboundConnection":
        self.connect()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __closed_off(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ClosedOff("an inbound connection reads by itself; use connect, exchange and on_event")

    # Reading, parsing and dispatching of greenswitch, with its handlers by event name; `connect`
    # logs in, so there is no separate step.
    authenticate = __closed_off
    start_event_handlers = __closed_off
    receive_events = __closed_off
    process_events = __closed_off
    handle_event = __closed_off
    _read_socket = __closed_off
    _safe_exec_handler = __closed_off
    register_handle = __closed_off
    unregister_handle = __closed_off
