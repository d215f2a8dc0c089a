"""The text that the switch writes on an event socket: encoding, replies, notices.

Reading commands is `esl_worker.frames.CommandReader`.
"""

from __future__ import annotations

import re
from functools import lru_cache

REPLY_LENGTH = 511  # bytes; parse_command's reply buffer, so a long getvar is cut
GOODBYE = b"Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"

AUTH_REQUEST = b"Content-Type: auth/request\n\n"
REJECTION = b"Content-Type: text/rude-rejection\nContent-Length: 24\n\nAccess Denied, go away.\n"

# SWITCH_URL_UNSAFE and everything outside printable ASCII. A percent sign that already starts
# an escape stays as it is: the hole through which a caller's "%0A" passes (capture 11).
_UNSAFE = re.compile(rb'%(?![0-9A-F]{2})|[^ -~]|[ "#&+:;<=>?@\[\\\]^`{|}]')


@lru_cache(maxsize=8192)
def url_encode(value: str) -> str:
    """A header value as FreeSWITCH serializes it in a plain event."""
    raw = value.encode("utf-8", "surrogateescape")
    return _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], raw).decode("ascii")


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


def inbound_notice(text: bytes = GOODBYE) -> bytes:
    """The last thing on an inbound socket: it belongs to no call (measured)."""
    return b"Content-Type: text/disconnect-notice\nContent-Length: %d\n\n" % len(text) + text
