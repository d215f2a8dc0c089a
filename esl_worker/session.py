"""One call on a FreeSWITCH outbound event socket, in sync mode (``socket host:port full``).

In sync mode the switch answers a command when the command is done: ``execute playback`` is answered
when the prompt has been played. So one greenlet, the call's own, writes commands and reads their
answers in order; there is no reader greenlet, no queue, no event to match. Several commands may be
written in one piece; the switch does them one after the other.

``Session`` is an ``OutboundSession`` of greenswitch, so that code written for that class finds
``uuid``, ``call_command``, ``playback`` and the rest; but none of its reading, parsing and waiting
is used. What each method does here, and which are closed off, is said where they stand.

How a call ends is told by three exceptions: ``CallerGone`` (the switch said so), ``ConnectionLost``
(it did not), ``ReplyTimeout`` (the switch does not answer). After any of them the socket is closed,
and the dialplan goes on with its next action: another worker, or the apology.
"""

import logging
import re
import socket as stdlib_socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NewType, NoReturn

from gevent.hub import Waiter, get_hub
from gevent.socket import socket as GeventSocket
from greenswitch.esl import OutboundSession

from callflows.call import CallerGone
from esl_worker.frames import Frame, FrameReader, ProtocolError, event_of

log = logging.getLogger(__name__)

Command = NewType("Command", bytes)
"""One command, framed and checked. Made by the ``*_command`` functions of this module only."""

Stage = Literal["not_sent", "unconfirmed", "accepted"]

MAX_BODY_BYTES = 1024 * 1024
"""Longest body a session takes, in bytes. In sync mode bodies are answers of ``api``: short."""

GETVAR_BYTES = 511
"""Longest value ``getvar`` can answer, in bytes: the switch's reply buffer is 512 with its end."""

_RECV_BYTES = 16 * 1024
_REPLY = b"Content-Type: command/reply\nReply-Text: "
_API_RESPONSE = b"Content-Type: api/response\nContent-Length: "
_JOB_REPLY = re.compile(rb"Content-Type: command/reply\nReply-Text: [^\n]*\nJob-UUID: [^\n]*")
_UNSET = "-ERR command not found"
_DELIMITER = "|"
# The switch reads headers byte by byte (a recv for each), a body in one go: longer arguments go as
# a body, which costs this many bytes of headers.
_BODY_COSTS = 28
_MAX_VARIABLES = 60  # uuid_setvar_multi splits into at most 64 pieces

_LINE_BREAK = re.compile(r"[\r\n\0]")
_APPLICATION = re.compile(r"[A-Za-z0-9_:.-]+")
_VARIABLE = re.compile(r"[A-Za-z0-9_.-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Values of these characters alone need none of the checks below: nearly all that flows write.
_PLAIN = re.compile(r'[A-Za-z0-9_.,:;+*#/(){}\[\]"-]*')
_CALL_ID = re.compile(r"[!-~]{1,128}")


# Names that have been checked: flows use the same few for each call.
_known_names: set[str] = set()
_MOST_NAMES = 1000


class ConnectionLost(CallerGone):
    """The connection to the switch ended without a disconnect notice, or its bytes made no sense.

    ``stage`` says what became of the commands in hand, so that the caller of ``exchange`` knows
    what it may do again: ``not_sent`` (no byte of them left this process), ``unconfirmed`` (they
    may have been done), ``accepted`` (all had been answered; the session was only waiting).
    ``answered`` is how many of them had been answered. The call itself may well live on: the
    dialplan continues.
    """

    certain = False

    def __init__(self, reason: str, stage: Stage, answered: int = 0) -> None:
        super().__init__(f"connection to the switch lost ({stage}): {reason}")
        self.reason = reason
        self.stage: Stage = stage
        self.answered = answered


class ReplyTimeout(Exception):
    """The switch did not answer within ``seconds``. The session is closed: a late answer would be
    taken for that of a later command."""

    def __init__(self, seconds: float, answered: int = 0) -> None:
        super().__init__(f"the switch did not answer within {seconds:g} s")
        self.seconds = seconds
        self.answered = answered


class TruncatedValue(ValueError):
    """A channel variable is longer than ``getvar`` can answer (511 bytes)."""


class ClosedOff(NotImplementedError):
    """A method of greenswitch's OutboundSession that a sync session does not offer; says why."""


class Reply:
    """The switch's answer to one command. ``text`` is the Reply-Text, or the body of an ``api``."""

    __slots__ = ("frame", "text")

    def __init__(self, text: str, frame: Frame | None = None) -> None:
        self.text = text
        self.frame = frame

    @property
    def failed(self) -> bool:
        """True for an ``-ERR`` answer."""
        return self.text.startswith("-ERR")

    @property
    def data(self) -> str:
        """``text``, under greenswitch's name for it."""
        return self.text

    @property
    def headers(self) -> dict[str, str]:
        """The headers, as greenswitch's events have them."""
        return {"Reply-Text": self.text} if self.frame is None else self.frame.headers

    def __repr__(self) -> str:
        return f"<Reply {'-ERR' if self.failed else len(self.text)}>"


class ChannelData:
    """What the switch told about the call when the session connected.

    Values come from the caller's side of the network and are unchecked text. Until ``release`` the
    raw answer (about 6.5 KB) is kept and each header is looked for and decoded when asked for; a
    header cannot be forged by another one's value, because values are decoded after splitting.
    """

    __slots__ = ("_frame", "_kept", "answered", "caller_number", "destination", "uuid")

    def __init__(self, frame: Frame) -> None:
        self._frame: Frame | None = frame
        self._kept: dict[str, str | None] = {}
        self.uuid = frame.get("Unique-ID") or ""
        """The switch's id of the call."""
        self.caller_number = frame.get("Caller-Caller-ID-Number") or ""
        """The caller's number as signalled: unchecked, perhaps empty."""
        self.destination = frame.get("Caller-Destination-Number") or ""
        """The number that was dialled: unchecked."""
        self.answered = frame.get("Answer-State") == "answered"
        """Whether the call had been answered already (a takeover from another worker)."""

    def get(self, name: str, default: str | None = None) -> str | None:
        """Value of a header such as ``Channel-Context``; ``default`` when the switch sent none.

        Raises LookupError for a name that was not kept, after ``release``.
        """
        if self._frame is not None:
            found = self._frame.get(name)
        elif name in self._kept:
            found = self._kept[name]
        else:
            raise LookupError(f"channel data was released without keeping {name!r}")
        return default if found is None else found

    def variable(self, name: str) -> str | None:
        """Value of a channel variable at the time of ``connect``; None when it was unset."""
        return self.get("variable_" + name)

    def release(self, *keep: str) -> None:
        """Drop the raw answer, for a call that may wait for minutes; headers ``keep`` stay."""
        if self._frame is not None:
            self._kept = {
                name: self._frame.get(name)
                for name in ("variable_uuid", "variable_call_uuid", *keep)
            }
            self._frame = None

    def __repr__(self) -> str:
        return f"<ChannelData {self.uuid}>"


def _checked(text: str, what: str) -> str:
    if not isinstance(text, str):
        raise ValueError(f"{what} must be text, not {type(text).__name__}")
    if _LINE_BREAK.search(text):
        raise ValueError(
            f"{what} holds a line break or NUL, which would be a new header or command"
        )
    return text


def _framed(text: str, what: str) -> Command:
    try:
        return Command(text.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{what} holds a lone surrogate, which is no text") from None


def execute_command(app: str, arg: str = "") -> Command:
    """The command that runs a dialplan application on this call's channel.

    ``arg`` goes out as it is: FreeSWITCH expands ``${...}`` in it, so text from outside passes
    through ``safe_variable_value`` first. Raises ValueError naming the wrong argument.
    """
    _checked(app, "app")
    if not _APPLICATION.fullmatch(app):
        raise ValueError("app is no name of an application")
    head = f"sendmsg\ncall-command: execute\nexecute-app-name: {app}\n"
    if not _checked(arg, "arg"):
        return _framed(head + "\n", "arg")
    if len(arg) <= _BODY_COSTS:
        return _framed(f"{head}execute-app-arg: {arg}\n\n", "arg")
    size = len(arg) if arg.isascii() else len(_framed(arg, "arg"))
    return Command(f"{head}content-type: text/plain\ncontent-length: {size}\n\n{arg}".encode())


def api_command(command: str) -> Command:
    """The command that runs an API command of the switch; needs a ``full`` socket.

    ``command`` goes out as it is. Raises ValueError for a line break.
    """
    return _framed(f"api {_checked(command, 'command')}\n\n", "command")


def linger_command(seconds: int) -> Command:
    """The command that keeps the socket after the hangup, so that what was asked is answered."""
    return Command(f"linger {int(seconds)}\n\n".encode())


def getvar_command(name: str) -> Command:
    """The command that asks for a channel variable. Raises ValueError for an impossible name."""
    return Command(f"getvar {_variable_name(name)}\n\n".encode())


def _variable_name(name: str) -> str:
    if isinstance(name, str) and name in _known_names:
        return name
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        raise ValueError("variable name must be letters, digits, '_', '.' and '-'")
    if len(_known_names) < _MOST_NAMES:
        _known_names.add(name)
    return name


def safe_variable_value(value: str, name: str = "value") -> str:
    """Return ``value`` if FreeSWITCH stores it in a channel variable unchanged; else ValueError.

    For whatever came from a caller, or from anywhere outside. Refused are: what would be expanded
    (``${``, and with it ``$${``), line breaks and other control characters, the delimiter of
    ``setvars_command`` (``|``), what splitting there takes away (``'``, ``\\``, blanks at either
    end), a ``~`` at the beginning (``getvar`` sends such a value as raw headers), and text that
    cannot be encoded. The error names the variable and never quotes the value.
    """
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    _checked(value, name)
    if value.startswith("~"):
        raise ValueError(f"{name} begins with ~, which getvar would send as raw headers")
    if "${" in value:
        raise ValueError(f"{name} holds '${{', which the switch would expand")
    if _CONTROL.search(value):
        raise ValueError(f"{name} holds a control character")
    for character in (_DELIMITER, "'", "\\"):
        if character in value:
            raise ValueError(f"{name} holds {character}, which splitting does not leave as it is")
    if value != value.strip():
        raise ValueError(f"{name} begins or ends with a blank, which splitting takes away")
    if value.isascii():
        return value
    _framed(value, name)
    return value


def setvars_command(call_id: str, variables: Mapping[str, str]) -> Command:
    """The command that sets several variables of a call at once; an empty value unsets one.

    An ``api`` command, because the application ``multiset`` costs the switch two events with every
    header of the call. It splits as that one does, at a delimiter of the sender's choice. Needs a
    ``full`` socket.

    Every value is checked by ``safe_variable_value``. Raises ValueError naming the variable.
    """
    if not variables or len(variables) > _MAX_VARIABLES:
        raise ValueError(f"1 to {_MAX_VARIABLES} variables at once, not {len(variables)}")
    if not _CALL_ID.fullmatch(call_id):
        raise ValueError("call_id is no id of a call")
    pairs = [
        f"{_variable_name(name)}={safe_variable_value(value, name)}"
        for name, value in variables.items()
    ]
    return _framed(
        f"api uuid_setvar_multi {call_id} ^^{_DELIMITER}{_DELIMITER.join(pairs)}\n\n", "variables"
    )


def positional(**values: object) -> str:
    """Join an application's positional arguments, in the order given.

    FreeSWITCH splits them at blanks, so an empty or missing one would shift all that follow: None,
    empty values and values with a blank are refused, by name.
    """
    words = []
    for name, value in values.items():
        word = "" if value is None else str(value)
        if not word or any(character.isspace() for character in word):
            raise ValueError(f"{name} must be one word: an empty place would shift the next ones")
        words.append(_checked(word, name))
    return " ".join(words)


class Session(OutboundSession):  # type: ignore[misc, unused-ignore]  # greenswitch is untyped
    """A call's event socket, owned by one greenlet.

    ``address`` is the switch's (for logs), ``sock`` a connected gevent socket. Times are seconds:
    ``connect_timeout_s`` until the answer to ``connect``, ``reply_timeout_s`` for an exchange that
    names none. ``on_event`` gets each event that arrives while the session reads (sync sessions
    get none unless they ask for some); without it events are dropped.
    """

    __slots__ = (
        "_busy",
        "_end",
        "_io",
        "_lingers",
        "_reader",
        "_replies",
        "address",
        "connect_timeout_s",
        "connected",
        "on_event",
        "opened_at",
        "reply_timeout_s",
        "session_data",
        "sock",
    )

    def __init__(
        self,
        address: object,
        sock: GeventSocket,
        *,
        connect_timeout_s: float = 5.0,
        reply_timeout_s: float = 30.0,
        on_event: Callable[[Frame], None] | None = None,
    ) -> None:
        # OutboundSession.__init__ is not called: it starts two greenlets that read the socket.
        self.address = address
        self.sock = sock
        self.connect_timeout_s = connect_timeout_s
        self.reply_timeout_s = reply_timeout_s
        self.on_event = on_event
        self.session_data: ChannelData | None = None
        self.connected = True
        # Seconds (monotonic): where a call's set-up begins.
        self.opened_at = time.monotonic()
        self._busy = False
        self._end = ""  # "" while the session lives, else "caller" or why the connection was lost
        self._lingers = False  # the call is over, and the switch still answers what was asked
        self._reader = FrameReader(max_body=MAX_BODY_BYTES)
        self._replies: list[Reply] = []
        self._io: Any = get_hub().loop.io(sock.fileno(), 1)
        # Only sending waits on the socket itself, for a peer that does not read.
        sock.settimeout(connect_timeout_s)
        try:
            sock.setsockopt(stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NODELAY, 1)
        except OSError:
            log.debug("no TCP_NODELAY on the connection of %s", address)

    # What a conversation uses.

    def connect(self) -> ChannelData:
        """Say ``connect`` and return what the switch tells about the call; again: the same.

        Raises CallerGone, ConnectionLost (also for a peer that is no FreeSWITCH in sync mode) or
        ReplyTimeout after ``connect_timeout_s``.
        """
        if self.session_data is not None:
            if self._end:
                self._raise_end()
            return self.session_data
        (reply,) = self.exchange([Command(b"connect\n\n")], self.connect_timeout_s)
        frame = reply.frame
        if frame is None or not frame.get("Event-Name"):
            self._refuse("answer to connect is no channel data")
        if frame.get("Socket-Mode") == "async":
            self._refuse(
                "the dialplan calls this socket with async, which a sync session cannot use"
            )
        if frame.get("Control") == "single-channel":
            # Else the call would go on without its place, and be lost with its worker.
            self._refuse("the dialplan calls this socket without full, which setvars needs")
        data = ChannelData(frame)
        if not _CALL_ID.fullmatch(data.uuid):
            self._refuse("answer to connect has no call id")
        self.session_data = data
        return data

    def exchange(
        self,
        commands: Sequence[Command],
        timeout_s: float | None = None,
        look: Callable[[], object] | None = None,
        look_s: float = 1.0,
    ) -> list[Reply]:
        """Write commands in one piece and return their answers, in order, when all have come.

        ``look`` is called each ``look_s`` seconds until then; it must not use this session, and
        what it raises is logged.

        Raises CallerGone as soon as the switch says that the call is over, ConnectionLost as soon
        as the connection ends, ReplyTimeout when ``timeout_s`` seconds have passed. An answer that
        came before the end of the call is given even if the notice came with it; the next exchange
        then raises. After ``linger_command`` answers are given that come behind the notice, too.
        Whatever is raised, by this or through it, the socket is closed.
        """
        count = len(commands)
        if not count:
            return []
        self._claim()
        stage: Stage = "not_sent"
        seconds = self.reply_timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + seconds
        replies = self._replies
        try:
            data = commands[0] if count == 1 else b"".join(commands)
            try:
                sent = self.sock.send(data)
                stage = "unconfirmed"
                if sent < len(data):
                    self.sock.sendall(memoryview(data)[sent:])
            except OSError as error:
                if isinstance(error, TimeoutError):
                    raise ReplyTimeout(self.connect_timeout_s) from None
                self._drain()
                self._lose(f"sending failed: {error.strerror or error}", stage)
            while len(replies) < count:
                if self._end:
                    self._raise_end(stage, len(replies))
                if look is None:
                    received = self._receive(deadline)
                else:
                    received = self._watched(deadline, look, look_s)
                if not received and self._lingers:
                    self._end_with("caller")
                elif not received:
                    raise ReplyTimeout(seconds, len(replies))
                if self._lingers:
                    deadline = min(deadline, time.monotonic() + self.connect_timeout_s)
            if self._lingers:
                self._end_with("caller")
            if len(replies) > count:
                self._refuse("more answers than commands")
            self._replies = []
            if self._end:
                self.close()
            return replies
        except BaseException:
            # Also for a kill or a foreign time-out that comes through here: an answer is
            # outstanding, and nothing could tell it from the next command's.
            self.close()
            raise
        finally:
            self._busy = False

    def execute(self, app: str, arg: str = "", *, timeout_s: float | None = None) -> Reply:
        """Run one application and return the answer, which comes when it has ended."""
        return self.exchange([execute_command(app, arg)], timeout_s)[0]

    def setvars(self, variables: Mapping[str, str], *, timeout_s: float | None = None) -> Reply:
        """Set variables of the call; see ``setvars_command``."""
        return self.exchange([setvars_command(self.uuid, variables)], timeout_s)[0]

    def getvar(self, name: str, *, timeout_s: float | None = None) -> str | None:
        """Value of a channel variable, None when unset. See ``variable_of`` for its limits."""
        return variable_of(self.exchange([getvar_command(name)], timeout_s)[0])

    def wait(self, seconds: float) -> None:
        """Send nothing and watch the connection; return when the time has passed.

        Raises CallerGone or ConnectionLost (``accepted``) at once when the call or the connection
        ends; events go to ``on_event``. The switch hears and plays nothing meanwhile.
        """
        self._claim()
        deadline = time.monotonic() + seconds
        try:
            while self._receive(deadline):
                if self._end:
                    self._raise_end("accepted")
                if self._replies:
                    self._refuse("an answer without a command")
        except BaseException:
            self.close()
            raise
        finally:
            self._busy = False

    def close(self) -> None:
        """Close the socket; the dialplan then goes on. A greenlet that waits on it is woken with
        ConnectionLost. May be called from any greenlet, and more than once."""
        self.connected = False
        if not self._end:
            self._end = "closed on this side"
        if self._io is not None:
            io, self._io = self._io, None
            if io.active:
                # The waiting greenlet closes its own watcher when it wakes.
                get_hub().cancel_wait(io, OSError("closed on this side"))
            else:
                io.close()
            self._reader = FrameReader(max_body=MAX_BODY_BYTES)
            self.sock.close()

    @property
    def ended(self) -> bool:
        """Whether the call or the connection is known to have ended."""
        return bool(self._end)

    # Reading. One greenlet at a time, between _claim and the end of exchange or wait.

    def _claim(self) -> None:
        if self._busy:
            raise RuntimeError("the session is in use by another greenlet")
        if self._end:
            self._raise_end()
        self._busy = True

    def _watched(self, deadline: float, look: Callable[[], object], look_s: float) -> bool:
        """As `_receive`, with `look` called whenever nothing has come for ``look_s`` seconds."""
        while not self._receive(min(deadline, time.monotonic() + look_s)):
            if time.monotonic() >= deadline:
                return False
            try:
                look()
            except Exception:
                log.exception("call %s: what watches it failed", self.uuid)
            if self._end:
                return True
        return True

    def _receive(self, deadline: float) -> bool:
        """Wait for bytes and take them in; False when the deadline has passed."""
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not self._wait_readable(remaining):
            return False
        try:
            data = self.sock.recv(_RECV_BYTES)
        except OSError as error:
            self._end_with(error.strerror or str(error))
            return True
        self._take(data)
        return True

    def _wait_readable(self, seconds: float) -> bool:
        hub = get_hub()
        waiter: Waiter[bool] = Waiter(hub)
        io = self._io
        timer = hub.loop.timer(seconds)
        io.start(waiter.switch, True)
        timer.start(waiter.switch, False)
        try:
            return waiter.get()
        except OSError:
            if self._io is None:  # close() from another greenlet
                return True
            raise
        finally:
            timer.close()
            io.stop()
            if self._io is None:
                io.close()

    def _take(self, data: bytes) -> None:
        """Sort the frames in ``data``: answers are kept, the notice and errors end the session."""
        try:
            if not data:
                self._reader.eof()
                self._end_with("closed by the switch without a disconnect notice")
                return
            for frame in self._reader.feed(data):
                block = frame.block
                if block.startswith(_REPLY) and block.find(b"\n", len(_REPLY)) < 0:
                    self._replies.append(Reply(block[len(_REPLY) :].decode("utf-8", "replace")))
                elif block.startswith(_API_RESPONSE):
                    self._replies.append(Reply(frame.body.decode("utf-8", "replace"), frame))
                elif not self._take_other(frame):
                    return
            if self._reader.error is not None:
                raise self._reader.error
        except ProtocolError as error:
            self._end_with(f"protocol error: {error}")

    def _take_other(self, frame: Frame) -> bool:
        """Take a frame that is no plain answer; False when it ended the call."""
        kind = frame.content_type
        if kind == "text/disconnect-notice":
            if frame.get("Content-Disposition") == "linger" and self._busy:
                # Commands that were written before are still answered; events are not (measured).
                self._lingers = True
                return True
            self._end = "caller"
            return False
        if kind == "command/reply":
            # Stricter than splitting needs: getvar sends a value that begins with "~" raw, so
            # such a variable could write headers, or swallow the next answer. Answers with more
            # than a Reply-Text are those to connect (once) and to bgapi.
            connecting = self.session_data is None and frame.block.startswith(b"Event-Name:")
            if not (connecting or _JOB_REPLY.fullmatch(frame.block)):
                raise ProtocolError("an answer has headers of its own", 0)
            self._replies.append(Reply(frame.get("Reply-Text") or "", frame))
        elif kind == "api/response":
            self._replies.append(Reply(frame.body.decode("utf-8", "replace"), frame))
        elif kind in ("text/event-plain", "text/event-json"):
            self._tell(event_of(frame))
        elif kind != "log/data":
            raise ProtocolError("a frame of unknown content type", 0)
        return True

    def _tell(self, event: Frame) -> None:
        if self.on_event is None:
            return
        try:
            self.on_event(event)
        except Exception:
            log.exception("call %s: on_event failed", self.uuid)

    def _drain(self) -> None:
        """After a failed send: the notice that explains it may have arrived before."""
        self.sock.settimeout(0.0)
        try:
            while not self._end:
                self._take(self.sock.recv(_RECV_BYTES))
        except OSError:
            return

    # Ending.

    def _end_with(self, reason: str) -> None:
        if not self._end:
            self._end = reason

    def _raise_end(self, stage: Stage = "not_sent", answered: int = 0) -> NoReturn:
        if self._end == "caller":
            raise CallerGone("the switch has ended the call")
        raise ConnectionLost(self._end, stage, answered)

    def _lose(self, reason: str, stage: Stage) -> NoReturn:
        self._end_with(reason)
        if self._end == "caller":
            self._raise_end()
        raise ConnectionLost(reason, stage, len(self._replies))

    def _refuse(self, reason: str) -> NoReturn:
        self._end = f"protocol error: {reason}"
        self.close()
        raise ConnectionLost(self._end, "unconfirmed")

    # The surface of greenswitch's OutboundSession, on top of the above.

    @property
    def uuid(self) -> str:
        """The switch's id of the call; empty before ``connect``."""
        return self.session_data.uuid if self.session_data else ""

    @property
    def call_uuid(self) -> str | None:
        """The id shared by both legs of a bridged call."""
        return self.session_data.variable("call_uuid") if self.session_data else None

    @property
    def caller_id_number(self) -> str:
        """The caller's number as signalled: unchecked text."""
        return self.session_data.caller_number if self.session_data else ""

    def send(self, data: str) -> Reply:
        """Send one command as text (its lines, without the closing empty line)."""
        if not isinstance(data, str) or "\r" in data or "\0" in data or "\n\n" in data + "\n":
            raise ValueError("data must be the lines of one command")
        return self.exchange([_framed(data + "\n\n", "data")])[0]

    def call_command(
        self,
        app_name: str,
        app_args: str | None = None,
        block: bool = False,
        response_timeout: float | None = None,
    ) -> Reply:
        """Run an application. In sync mode the answer comes when it has ended, ``block`` or not."""
        return self.execute(app_name, app_args or "", timeout_s=response_timeout)

    def answer(self) -> str:
        """Answer the call; returns the Reply-Text."""
        return self.execute("answer").text

    def hangup(self, cause: str = "NORMAL_CLEARING") -> None:
        """End the call. Returns when the switch has agreed; the next command raises CallerGone."""
        self.execute("hangup", positional(cause=cause))

    def playback(self, path: str, block: bool = True) -> Reply:
        """Play a file to its end."""
        return self.execute("playback", path)

    def play_and_get_digits(
        self,
        min_digits: int | None = None,
        max_digits: int | None = None,
        max_attempts: int | None = None,
        timeout: int | None = None,
        terminators: str | None = None,
        prompt_file: str | None = None,
        error_file: str | None = None,
        variable: str | None = None,
        digits_regex: str | None = None,
        digit_timeout: int | None = None,
        transfer_on_fail: str | None = None,
        block: bool = True,
        response_timeout: float = 30,
    ) -> str | None:
        """Play a prompt and collect digits (times in ms); returns them, None for none.

        Every place but the last needs a value. The variable is unset first: a result of an earlier
        question must never be taken for this one's.
        """
        arguments = positional(
            min_digits=min_digits,
            max_digits=max_digits,
            max_attempts=max_attempts,
            timeout=timeout,
            terminators=terminators,
            prompt_file=prompt_file,
            error_file=error_file,
            variable=variable,
            digits_regex=digits_regex,
            digit_timeout=digit_timeout,
        )
        if transfer_on_fail is not None:
            arguments += " " + _checked(transfer_on_fail, "transfer_on_fail")
        name = _variable_name(variable or "")
        replies = self.exchange(
            [
                execute_command("unset", name),
                execute_command("play_and_get_digits", arguments),
                getvar_command(name),
            ],
            response_timeout,
        )
        return variable_of(replies[2])

    def say(
        self,
        module_name: str = "en",
        lang: str | None = None,
        say_type: str = "NUMBER",
        say_method: str = "pronounced",
        gender: str = "FEMININE",
        text: str | None = None,
        block: bool = True,
        response_timeout: float = 30,
    ) -> Reply:
        """Have a say module speak ``text``. Numbers over nine digits fail on the switch."""
        arguments = positional(
            module_name=f"{module_name}:{lang}" if lang else module_name,
            say_type=say_type,
            say_method=say_method,
            gender=gender,
        )
        if not text:
            raise ValueError("text must not be empty")
        return self.execute("say", f"{arguments} {text}", timeout_s=response_timeout)

    def bridge(self, args: str, block: bool = True, response_timeout: float | None = None) -> Reply:
        """Connect the caller with another leg; returns when the bridge has ended."""
        if not args:
            raise ValueError("args must name a destination")
        return self.execute("bridge", args, timeout_s=response_timeout)

    def linger(self, timeout: int | None = None) -> Reply:
        """Have the switch keep the socket after the hangup, ``timeout`` seconds.

        The hangup is CallerGone here all the same, at once.
        """
        return self.send("linger" if timeout is None else f"linger {int(timeout)}")

    def stop(self) -> None:
        """``close``, under greenswitch's name. No ``exit`` is sent: closing says the same."""
        self.close()

    def raise_if_disconnected(self) -> None:
        """Raise CallerGone or ConnectionLost if the call is known to have ended."""
        if self._end:
            self._raise_end()

    def __closed_off(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ClosedOff(
            "a sync session has no reader, no event queue and no event matching; use exchange, "
            "on_event, wait, or an inbound event-socket connection"
        )

    # The two greenlets that read and dispatch, and what they call: the session's own greenlet
    # reads. With them go unquoting before splitting, merging of headers, spinning at EOF.
    start_event_handlers = __closed_off
    receive_events = __closed_off
    process_events = __closed_off
    handle_event = __closed_off
    _read_socket = __closed_off
    _safe_exec_handler = __closed_off
    # Handlers by event name, run in a second greenlet: give on_event to the constructor instead.
    register_handle = __closed_off
    unregister_handle = __closed_off
    on_hangup = __closed_off
    on_disconnect = __closed_off
    # Completion matched by application name: in sync mode the answer is the completion.
    register_expected_event = __closed_off
    # All of a call's events, 6.5 KB each: what sync mode is there to avoid.
    myevents = __closed_off
    # Would not be answered before the call ends.
    park = __closed_off
    # Cannot interrupt a sync session's own application: it waits behind it. An inbound can.
    uuid_break = __closed_off


def variable_of(reply: Reply) -> str | None:
    """Value in the answer to ``getvar``; None for an unset (or empty) variable.

    FreeSWITCH answers ``-ERR command not found`` for an unset one, and cuts values at 511 bytes:
    raises TruncatedValue for a value that long. A value that begins with ``~`` is sent raw and
    ends the session with a protocol error before it comes here.
    """
    if reply.text in (_UNSET, ""):
        return None
    if len(reply.text.encode()) >= GETVAR_BYTES:
        raise TruncatedValue(f"value may be cut at {GETVAR_BYTES} bytes")
    return reply.text
