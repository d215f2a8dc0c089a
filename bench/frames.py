"""The switch's side of the event socket, byte for byte as FreeSWITCH 1.10.12 sent it.

Frames are taken from a recorded call (tests/captures, 01: menu answered). Only what must differ
from call to call is put in: the call's id, caller and dialled number, the application's id, the
digits; and the Content-Length that follows from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from tests.captures import Record, records

CAPTURE = "01"
_RECORDED_CALLER = b"02188776655"
_RECORDED_DIALLED = b"2001"

OK = b"Content-Type: command/reply\nReply-Text: +OK\n\n"
API_OK = b"Content-Type: api/response\nContent-Length: 4\n\n+OK\n"
UNSET = b"Content-Type: command/reply\nReply-Text: -ERR command not found\n\n"
BYE = b"Content-Type: command/reply\nReply-Text: +OK bye\n\n"


def value_reply(value: str) -> bytes:
    """The answer to `getvar`; an unset variable is an unknown command to FreeSWITCH."""
    if not value:
        return UNSET
    return b"Content-Type: command/reply\nReply-Text: %s\n\n" % value.encode()


@dataclass(frozen=True)
class Call:
    """What differs from call to call: id (36 characters), caller and dialled number."""

    uuid: str
    caller: str
    dialled: str


class Event:
    """An event (or the channel data) as recorded, to be sent for another call."""

    def __init__(self, frame: bytes, uuid: bytes) -> None:
        head, separator, body = frame.partition(b"\n\n")
        self._has_length = head.startswith(b"Content-Length: ")
        if not self._has_length:
            body = head + separator + body
        self._body = body
        self._uuid = uuid
        self._application = _value(body, b"\nApplication-UUID: ")
        self._choice = _value(body, b"\nvariable_choice: ")
        self._digit = _value(body, b"\nDTMF-Digit: ")

    def bytes_for(self, call: Call, application: str = "", digits: str = "") -> bytes:
        """The frame for `call`; `application` is the Application-UUID, `digits` what was keyed."""
        body = self._body.replace(self._uuid, call.uuid.encode())
        if self._application:
            body = body.replace(
                b"\nApplication-UUID: " + self._application,
                b"\nApplication-UUID: " + application.encode(),
            )
        pressed = quote(digits, safe="").encode()
        if self._choice:
            body = body.replace(
                b"\nvariable_choice: " + self._choice, b"\nvariable_choice: " + pressed
            )
        if self._digit:
            body = body.replace(b"\nDTMF-Digit: " + self._digit, b"\nDTMF-Digit: " + pressed)
        if not self._has_length:
            return body
        return b"Content-Length: %d\nContent-Type: text/event-plain\n\n%s" % (len(body), body)


class Recording:
    """The frames of the recorded call, by what they are."""

    def __init__(self) -> None:
        said = [record for record in records(CAPTURE) if record.direction == "<"]
        data = said[0].data
        uuid = _value(data, b"\nUnique-ID: ")
        frames = [frame for record in said[1:] for frame in _split(record)]
        events = [
            (_value(frame, b"Event-Name: "), _value(frame, b"\nApplication: "), Event(frame, uuid))
            for frame in frames
            if b"text/event-plain" in frame[:80]
        ]

        def first(name: bytes, application: bytes = b"") -> Event:
            return next(
                event
                for event_name, event_application, event in events
                if event_name == name and event_application == application
            )

        self.parked = first(b"CHANNEL_PARK")
        self.answered = first(b"CHANNEL_ANSWER")
        self.key = first(b"DTMF")
        self.begun = {
            name: first(b"CHANNEL_EXECUTE", name.encode())
            for name in ("answer", "play_and_get_digits", "hangup")
        }
        self.ended = {
            name: first(b"CHANNEL_EXECUTE_COMPLETE", name.encode())
            for name in ("answer", "play_and_get_digits")
        }
        names = [name for name, _, _ in events]
        self.after_hangup = [event for _, _, event in events[names.index(b"CHANNEL_HANGUP") :]]
        self._data = Event(data, uuid)
        self._lingering = next(frame for frame in frames if b": linger\n" in frame)
        self._gone = next(frame for frame in frames if b": disconnect\n" in frame)
        self._uuid = uuid

    def channel_data(self, call: Call, *, asynchronous: bool) -> bytes:
        """The answer to `connect`."""
        data = self._data.bytes_for(call)
        data = data.replace(_RECORDED_CALLER, call.caller.encode())
        data = data.replace(
            b"Destination-Number: " + _RECORDED_DIALLED,
            b"Destination-Number: " + call.dialled.encode(),
        )
        if asynchronous:
            return data
        # As mod_event_socket writes it without `async`.
        return data.replace(b"Socket-Mode: async", b"Socket-Mode: static").replace(
            b"%20async%20full", b"%20full"
        )

    def lingering(self, call: Call) -> bytes:
        """The notice that the call is over but the socket stays for late events."""
        return self._lingering.replace(self._uuid, call.uuid.encode())

    def gone(self, call: Call) -> bytes:
        """The last frame of a connection."""
        return self._gone.replace(self._uuid, call.uuid.encode())


def _value(data: bytes, name: bytes) -> bytes:
    start = data.find(name)
    if start < 0:
        return b""
    start += len(name)
    return data[start : data.index(b"\n", start)]


def _split(record: Record) -> list[bytes]:
    """The frames in one piece of a recording."""
    frames, data = [], record.data
    while data:
        end = data.index(b"\n\n") + 2
        end += int(_value(data[:end], b"Content-Length: ") or b"0")
        frames.append(data[:end])
        data = data[end:]
    return frames
