"""Frames of the event socket: what FreeSWITCH sends, and what an application sends it.

The stream from the switch is a row of frames. A frame is a block of ``Name: value`` lines ended by
an empty line and, where the block has a ``Content-Length``, that many bytes of body. Two kinds of
block must not be confused:

* A *plain* block (``command/reply``, ``text/disconnect-notice``, the two lines around an event)
  holds its values as they are. ``Reply-Text: 100%25`` means ``100%25``.
* An *event* block (the body of ``text/event-plain``, and the answer to ``connect``) holds its
  values percent-encoded. It is split into lines first and each value is decoded afterwards, never
  the other way round: FreeSWITCH lets the text ``%0A`` of a caller's display name through as it
  is, and who decodes first lets that caller write headers of his own (capture 11).

Nothing here touches a socket. Source: mod_event_socket.c of FreeSWITCH 1.10 and the captures.
"""

import json
import re
from collections.abc import Mapping
from urllib.parse import unquote

MAX_HEADER_BYTES = 64 * 1024
"""Longest header block a reader takes, in bytes. FreeSWITCH's own are about 6.5 KB."""

MAX_BODY_BYTES = 16 * 1024 * 1024
"""Longest body a reader takes, in bytes."""


_DIGITS = re.compile(rb"[0-9]+")
# Longer rows of digits are too large anyway, and int() takes long over them and then raises.
_MOST_DIGITS = 18


class ProtocolError(Exception):
    """The peer's bytes are no event-socket frames. Says what is wrong, and at which byte.

    The text quotes no content, so it may be logged.
    """

    def __init__(self, reason: str, at: int) -> None:
        super().__init__(f"{reason} (frame at byte {at} of the stream)")
        self.reason = reason
        self.at = at


class Frame:
    """One frame from the switch: ``headers`` and ``body``.

    Headers are parsed when first asked for. ``get`` on a frame that was never parsed looks for the
    one line, because a session wants five of the 150 lines of a ``connect`` answer.

    A name that comes twice keeps its first value, as ``switch_event_get_header`` does. Bytes that
    are not UTF-8 become U+FFFD: such a value can be stored and logged, and equals nothing expected.
    """

    __slots__ = ("_block", "_encoded", "_headers", "body")

    def __init__(self, headers: Mapping[str, str], body: bytes = b"") -> None:
        self._headers: dict[str, str] | None = dict(headers)
        self._block = b""
        self._encoded = False
        self.body = body

    @classmethod
    def from_block(cls, block: bytes, body: bytes = b"", *, encoded: bool | None = None) -> "Frame":
        """Make a frame of a raw header block (lines without the closing empty line).

        ``encoded`` says whether values are percent-encoded; left out, a block that begins with
        ``Event-Name`` is (the answer to ``connect``), any other is not.
        """
        frame = cls.__new__(cls)
        frame._headers = None
        frame._block = block
        frame._encoded = block.startswith(b"Event-Name:") if encoded is None else encoded
        frame.body = body
        return frame

    @property
    def headers(self) -> dict[str, str]:
        """All headers, decoded. Lines without a colon are passed over, as libesl does."""
        if self._headers is None:
            self._headers = parse_block(self._block, encoded=self._encoded)
            self._block = b""
        return self._headers

    @property
    def block(self) -> bytes:
        """The header block as received; empty once ``headers`` has been read."""
        return self._block

    @property
    def content_type(self) -> str:
        """Value of ``Content-Type``, or an empty string."""
        return self.get("Content-Type") or ""

    def get(self, name: str) -> str | None:
        """Value of one header (exact spelling, as FreeSWITCH writes it), or None."""
        if self._headers is not None:
            return self._headers.get(name)
        raw = find_value(self._block, name.encode())
        return None if raw is None else _text(raw, self._encoded)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frame):
            return NotImplemented
        return self.headers == other.headers and self.body == other.body

    def __hash__(self) -> int:
        return hash((tuple(self.headers.items()), self.body))

    def __repr__(self) -> str:
        # Names only: values hold phone numbers and names.
        return f"<Frame {', '.join(self.headers)}; {len(self.body)} bytes of body>"


class CommandFrame:
    """One command to the switch: ``command`` (its first line), ``headers`` and ``body``.

    Header names are in lower case, because FreeSWITCH compares them without regard to case.
    """

    __slots__ = ("body", "command", "headers")

    def __init__(self, command: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        self.command = command
        self.headers = dict(headers)
        self.body = body

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CommandFrame):
            return NotImplemented
        return (self.command, self.headers, self.body) == (
            other.command,
            other.headers,
            other.body,
        )

    def __hash__(self) -> int:
        return hash((self.command, tuple(self.headers.items()), self.body))

    def __repr__(self) -> str:
        return f"<CommandFrame {self.command.split(' ', 1)[0]}; {len(self.headers)} headers>"


def find_value(block: bytes, name: bytes) -> bytes | None:
    """Raw value of the first header ``name``, without parsing the rest; None if absent."""
    if block.startswith(name + b":"):
        start = len(name) + 1
    else:
        at = block.find(b"\n" + name + b":")
        if at < 0:
            return None
        start = at + len(name) + 2
    end = block.find(b"\n", start)
    return (block[start:] if end < 0 else block[start:end]).lstrip(b" ")


def _text(raw: bytes, encoded: bool) -> str:
    value = raw.decode("utf-8", "replace")
    return unquote(value, errors="replace") if encoded and "%" in value else value


def parse_block(block: bytes, *, encoded: bool) -> dict[str, str]:
    """Split a header block into names and values, then decode the values if ``encoded``.

    Names are never decoded. A value may hold any text after decoding, newlines included.
    """
    headers: dict[str, str] = {}
    for line in block.split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon and name:
            headers.setdefault(name.decode("utf-8", "replace"), _text(value.lstrip(b" "), encoded))
    return headers


def event_of(frame: Frame) -> Frame:
    """The event that a ``text/event-plain`` or ``text/event-json`` frame carries in its body.

    The answer has the event's own headers and body; those of the outer frame are not mixed in.
    A list in a JSON event becomes ``ARRAY::a|:b``, its form in a plain event.

    Raises ProtocolError when the body is no event, ValueError for a frame of another content type.
    """
    kind = frame.content_type
    if kind == "text/event-plain":
        block, _, rest = frame.body.partition(b"\n\n")
        length = find_value(block, b"Content-Length")
        if length is None:
            return Frame.from_block(block, encoded=True)
        if not _DIGITS.fullmatch(length) or len(length) > _MOST_DIGITS or int(length) > len(rest):
            raise ProtocolError("Content-Length inside an event is wrong", 0)
        return Frame.from_block(block, rest[: int(length)], encoded=True)
    if kind == "text/event-json":
        return _json_event(frame.body)
    raise ValueError(f"a frame of type {kind!r} carries no event")


def _json_event(data: bytes) -> Frame:
    try:
        parsed = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError("body of a JSON event is no JSON", 0) from error
    if not isinstance(parsed, dict):
        raise ProtocolError("body of a JSON event is no object", 0)
    headers = {}
    for name, value in parsed.items():
        if isinstance(value, list):
            value = "ARRAY::" + "|:".join(str(item) for item in value)
        # A lone surrogate (\ud800 in JSON) could be written to no file and no database.
        headers[_storable(name)] = _storable(str(value))
    return Frame(headers, headers.pop("_body", "").encode())


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


class _Reader:
    """Cuts a byte stream into (header block, body) pairs. Holds at most one unfinished frame.

    Chunking makes no difference: the frames, and the error after them, depend on the bytes alone.
    For that, ``feed`` returns the frames that precede an error and the next ``feed`` or ``eof``
    raises it; ``error`` tells at once.
    """

    __slots__ = (
        "_body_at",
        "_buffer",
        "_need",
        "_scan",
        "_taken",
        "error",
        "max_body",
        "max_header",
    )

    def __init__(self, max_header: int = MAX_HEADER_BYTES, max_body: int = MAX_BODY_BYTES) -> None:
        self.max_header = max_header
        self.max_body = max_body
        self.error: ProtocolError | None = None
        self._buffer: bytearray | None = None  # an unfinished frame, None between frames
        self._scan = 0  # where in the buffer the search for the empty line goes on
        self._body_at = 0  # where the body begins, 0 while the header block is unfinished
        self._need = 0  # bytes the buffer must hold before it is worth looking again
        self._taken = 0  # bytes of the stream before the buffer

    def _end_of_block(self, data: bytes | bytearray, start: int) -> tuple[int, int]:
        """Where the block ends (-1: not yet) and where what follows its empty line begins."""
        end = data.find(b"\n\n", start)
        return end, end + 2

    def _length_of_body(self, block: bytes) -> bytes | None:
        return find_value(block, b"Content-Length")

    def _cut(self, chunk: bytes) -> list[tuple[bytes, bytes]]:
        """Take bytes in, give the finished frames."""
        if self.error is not None:
            raise self.error
        pieces: list[tuple[bytes, bytes]] = []
        data: bytes | bytearray = chunk
        if self._buffer is not None:
            self._buffer += chunk
            if len(self._buffer) < self._need:
                return pieces
            data = self._buffer
        position = need = 0
        scan, body_at = self._scan, self._body_at
        size = len(data)
        try:
            while True:
                if not body_at:
                    # FreeSWITCH, too, passes over empty lines before a block.
                    if scan == position:
                        while position < size and data[position] in b"\r\n":
                            position += 1
                        scan = position
                    end, body_at = self._end_of_block(data, scan)
                    if end < 0:
                        body_at = 0
                        # The empty line may have begun in the last two bytes held now.
                        if size - 2 - position > self.max_header:
                            raise ProtocolError("header block is too long", self._taken + position)
                        scan = max(position, size - 2)
                        break
                    if end - position > self.max_header:
                        raise ProtocolError("header block is too long", self._taken + position)
                else:
                    end = scan
                block = bytes(data[position:end])
                length = self._length_of_body(block)
                if length is None:
                    pieces.append((block, b""))
                    position = scan = body_at
                else:
                    need = body_at + self._checked(length, self._taken + position)
                    if size < need:
                        scan = end
                        break
                    pieces.append((block, bytes(data[body_at:need])))
                    position = scan = need
                body_at = 0
        except ProtocolError as error:
            self.error = error
            self._buffer = None
            if pieces:
                return pieces
            raise
        self._taken += position
        self._keep(data, position)
        self._scan = scan - position
        self._body_at = body_at - position if body_at else 0
        self._need = need - position if body_at else 0
        return pieces

    def _keep(self, data: bytes | bytearray, position: int) -> None:
        if position == len(data):
            self._buffer = None
        elif self._buffer is None:
            self._buffer = bytearray(data[position:])
        elif position:
            del self._buffer[:position]

    def _checked(self, length: bytes, at: int) -> int:
        if not _DIGITS.fullmatch(length):
            raise ProtocolError("Content-Length is no number", at)
        if len(length) > _MOST_DIGITS or int(length) > self.max_body:
            raise ProtocolError("Content-Length is too large", at)
        return int(length)

    def eof(self) -> None:
        """Say that the stream has ended. Raises ProtocolError when it ended inside a frame."""
        if self.error is None and self._buffer is not None:
            where = "body" if self._body_at else "header block"
            self.error = ProtocolError(f"stream ended inside a {where}", self._taken)
            self._buffer = None
        if self.error is not None:
            raise self.error


class FrameReader(_Reader):
    """Reads the frames that a switch sends."""

    __slots__ = ()

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes of the stream (any number) and return the frames they finish.

        Raises ProtocolError for a header block over ``max_header`` bytes and for a Content-Length
        that is no number or over ``max_body``; see ``_Reader`` for when.
        """
        return [Frame.from_block(block, body) for block, body in self._cut(data)]


_BLANK_LINE = re.compile(rb"\n\r?\n")
_COMMAND_LENGTH = re.compile(rb"\ncontent-length:[ ]*([^\r\n]*)", re.IGNORECASE)


class CommandReader(_Reader):
    """Reads the commands that an application sends, as mod_event_socket's read_packet does."""

    __slots__ = ()

    def _end_of_block(self, data: bytes | bytearray, start: int) -> tuple[int, int]:
        found = _BLANK_LINE.search(data, start)
        return found.span() if found else (-1, -1)

    def _length_of_body(self, block: bytes) -> bytes | None:
        found = _COMMAND_LENGTH.search(block)
        return found.group(1) if found else None

    def feed(self, data: bytes) -> list[CommandFrame]:
        """Take the next bytes and return the commands they finish; raises as FrameReader does."""
        return [_command(block, body) for block, body in self._cut(data)]


def _command(block: bytes, body: bytes) -> CommandFrame:
    first, *rest = block.replace(b"\r", b"").split(b"\n")
    headers: dict[str, str] = {}
    for line in rest:
        name, colon, value = line.partition(b":")
        if colon and name:
            text = value.lstrip(b" ").decode("utf-8", "replace")
            headers.setdefault(name.decode("utf-8", "replace").lower(), text)
    return CommandFrame(first.decode("utf-8", "replace"), headers, body)
