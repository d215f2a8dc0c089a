"""The event socket's text: commands read from the application, replies written to it.

Follows mod_event_socket of FreeSWITCH 1.10.12 (read_packet, parse_command) where the captures
do not show it.
"""

from __future__ import annotations

import re
from functools import lru_cache

MAX_COMMAND = 10 * 1024 * 1024  # bytes; read_packet's own limit
REPLY_LENGTH = 511  # bytes; parse_command's reply buffer, so a long getvar is cut
GOODBYE = b"Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"

# SWITCH_URL_UNSAFE and everything outside printable ASCII. A percent sign that already starts
# an escape stays as it is: the hole through which a caller's "%0A" passes (capture 11).
_UNSAFE = re.compile(rb'%(?![0-9A-F]{2})|[^ -~]|[ "#&+:;<=>?@\[\\\]^`{|}]')


@lru_cache(maxsize=8192)
def url_encode(value: str) -> str:
    """A header value as FreeSWITCH serializes it in a plain event."""
    raw = value.encode("utf-8", "surrogateescape")
    return _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], raw).decode("ascii")


class Command:
    """One command of the application.

    Attributes:
        line: the first line, e.g. "sendmsg" or "api uuid_break …".
        headers: the further lines, names in lower case.
        body: what Content-Length announced.
    """

    __slots__ = ("body", "headers", "line")

    def __init__(self, line: str, headers: dict[str, str], body: str = "") -> None:
        self.line = line
        self.headers = headers
        self.body = body


class CommandReader:
    """Splits the bytes from the application into commands.

    Never raises for what the application sends; an oversized command is cut at
    `MAX_COMMAND`, as FreeSWITCH does.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> None:
        """Add bytes as they came from the socket."""
        self._buffer += data

    @property
    def pending(self) -> bool:
        """Whether part of a command (or more) is waiting."""
        return bool(self._buffer)

    def next(self) -> Command | None:
        """The next whole command, or None until more bytes come."""
        buffer = self._buffer
        start = 0
        while start < len(buffer) and buffer[start] in b"\r\n":
            start += 1
        if start:
            del buffer[:start]
            self._searched = 0
        end = _END.search(buffer, self._searched)
        if end is None:
            if len(buffer) < MAX_COMMAND:
                # Three bytes may be the first part of the end.
                self._searched = max(0, len(buffer) - 3)
                return None
            block, used = bytes(buffer), len(buffer)
        else:
            block, used = bytes(buffer[: end.start()]), end.end()
        lines = _LINES.split(block.decode("utf-8", "surrogateescape"))
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if colon:
                # The first of several headers of one name is the one that is found.
                headers.setdefault(name.lower(), value.lstrip(" "))
        length = _length(headers.get("content-length", ""))
        if length > 0:
            if len(buffer) < used + length:
                if used + length <= MAX_COMMAND:
                    return None
                length = len(buffer) - used
            body = bytes(buffer[used : used + length]).decode("utf-8", "surrogateescape")
            used += length
        else:
            body = ""
        del buffer[:used]
        self._searched = 0
        return Command(lines[0], headers, body)


_END = re.compile(rb"\n\r*\n")
_LINES = re.compile(r"[\r\n]+")


def _length(text: str) -> int:
    match = re.match(r"\s*(\d{1,9})", text)
    return int(match[1]) if match else 0


def reply(text: str) -> bytes:
    """The answer to a command; a text that starts with ~ goes out raw (as in FreeSWITCH)."""
    raw = text.encode("utf-8", "surrogateescape")[:REPLY_LENGTH]
    if raw.startswith(b"~"):
        return b"Content-Type: command/reply\n" + raw[1:]
    return b"Content-Type: command/reply\nReply-Text: " + raw + b"\n\n"


def api_response(text: str) -> bytes:
    """The answer to an `api` command."""
    raw = (text or "-ERR no reply\n").encode("utf-8", "surrogateescape")
    return b"Content-Type: api/response\nContent-Length: %d\n\n" % len(raw) + raw


def event_frame(kind: str, body: bytes) -> bytes:
    """A serialized event; `kind` is "plain" or "json"."""
    head = f"Content-Length: {len(body)}\nContent-Type: text/event-{kind}\n\n"
    return head.encode() + body


def linger_notice(uuid: str, channel_name: str, seconds: int) -> bytes:
    """What is sent on hangup when the application asked to linger (-1: for ever)."""
    return (
        "Content-Type: text/disconnect-notice\n"
        f"Controlled-Session-UUID: {uuid}\n"
        "Content-Disposition: linger\n"
        f"Channel-Name: {channel_name}\n"
        f"Linger-Time: {seconds}\n"
        "Content-Length: 0\n\n"
    ).encode("utf-8", "surrogateescape")


def disconnect_notice(uuid: str) -> bytes:
    """The last thing that the switch sends on a socket."""
    return (
        "Content-Type: text/disconnect-notice\n"
        f"Controlled-Session-UUID: {uuid}\n"
        "Content-Disposition: disconnect\n"
        f"Content-Length: {len(GOODBYE)}\n\n"
    ).encode() + GOODBYE
