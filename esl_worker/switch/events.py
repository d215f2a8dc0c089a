"""Events: which there are, how they are written, and who wants them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from esl_worker.switch.protocol import url_encode

if TYPE_CHECKING:
    from esl_worker.switch.channel import Channel

Header = tuple[str, str]
Headers = list[Header]

# Where in FreeSWITCH's source each event is fired; the headers say so.
_ORIGIN = {
    "CHANNEL_DATA": ("mod_event_socket.c", "parse_command", 2021),
    "CHANNEL_PARK": ("switch_ivr.c", "switch_ivr_park", 1002),
    "CHANNEL_UNPARK": ("switch_ivr.c", "switch_ivr_park", 1198),
    "CHANNEL_EXECUTE": ("switch_core_session.c", "switch_core_session_exec", 2944),
    "CHANNEL_EXECUTE_COMPLETE": ("switch_core_session.c", "switch_core_session_exec", 2976),
    "CHANNEL_ANSWER": ("switch_channel.c", "switch_channel_perform_mark_answered", 3900),
    "CHANNEL_PROGRESS_MEDIA": (
        "switch_channel.c",
        "switch_channel_perform_mark_pre_answered",
        3560,
    ),
    "CHANNEL_HANGUP": ("switch_channel.c", "switch_channel_perform_hangup", 3445),
    "CHANNEL_HANGUP_COMPLETE": (
        "switch_core_state_machine.c",
        "switch_core_session_reporting_state",
        944,
    ),
    "CHANNEL_STATE": ("switch_channel.c", "switch_channel_perform_set_running_state", 2408),
    "CHANNEL_BRIDGE": ("switch_ivr_bridge.c", "switch_ivr_multi_threaded_bridge", 1689),
    "CHANNEL_UNBRIDGE": ("switch_ivr_bridge.c", "switch_ivr_multi_threaded_bridge", 1799),
    "DTMF": ("switch_channel.c", "switch_channel_dequeue_dtmf", 596),
    "PLAYBACK_START": ("switch_ivr_play_say.c", "switch_ivr_play_file", 1599),
    "PLAYBACK_STOP": ("switch_ivr_play_say.c", "switch_ivr_play_file", 2008),
    "BACKGROUND_JOB": ("mod_event_socket.c", "api_exec", 1573),
}
NAMES = frozenset(_ORIGIN) | {
    "ALL", "API", "CHANNEL_APPLICATION", "CHANNEL_CREATE", "CHANNEL_DESTROY",
    "CHANNEL_ORIGINATE", "CHANNEL_OUTGOING", "CHANNEL_PROGRESS", "CHANNEL_UUID", "CUSTOM",
    "DETECTED_SPEECH", "HEARTBEAT", "NOTALK", "PRIVATE_COMMAND", "RECORD_START",
    "RECORD_STOP", "TALK",
}  # fmt: skip

# What `myevents` subscribes to (parse_command).
MY_EVENTS = frozenset({
    "CHANNEL_ANSWER", "CHANNEL_APPLICATION", "CHANNEL_BRIDGE", "CHANNEL_CREATE", "CHANNEL_DATA",
    "CHANNEL_DESTROY", "CHANNEL_EXECUTE", "CHANNEL_EXECUTE_COMPLETE", "CHANNEL_HANGUP",
    "CHANNEL_HANGUP_COMPLETE", "CHANNEL_ORIGINATE", "CHANNEL_UUID", "CHANNEL_OUTGOING",
    "CHANNEL_PARK", "CHANNEL_PROGRESS", "CHANNEL_PROGRESS_MEDIA", "CHANNEL_STATE",
    "CHANNEL_UNBRIDGE", "CHANNEL_UNPARK", "DETECTED_SPEECH", "DTMF", "NOTALK", "TALK",
})  # fmt: skip

# Events that carry no channel variables (switch_channel_event_set_extended_data's list).
_BRIEF = frozenset({"DTMF", "CHANNEL_STATE", "BACKGROUND_JOB"})


class Event:
    """One event, serialized when (and in the form in which) somebody wants it."""

    __slots__ = ("_json", "_plain", "body", "headers", "name", "uuid")

    def __init__(self, name: str, uuid: str, headers: Headers, body: str = "") -> None:
        self.name = name
        self.uuid = uuid
        self.headers = headers
        self.body = body
        self._plain: bytes | None = None
        self._json: bytes | None = None

    def plain(self) -> bytes:
        """Name: value lines with encoded values, an empty line, and the body if any."""
        if self._plain is None:
            self._plain = serialize(self.headers, self.body)
        return self._plain

    def json(self) -> bytes:
        """One JSON object; arrays as arrays, the body as ``_body``."""
        if self._json is None:
            fields: dict[str, object] = {}
            for name, value in self.headers:
                if value.startswith("ARRAY::"):
                    fields[name] = value[7:].split("|:")
                else:
                    fields[name] = value
            if self.body:
                fields["Content-Length"] = str(len(self.body.encode("utf-8", "replace")))
                fields["_body"] = self.body
            text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
            self._json = text.encode("utf-8", "surrogateescape")
        return self._json


def serialize(headers: Headers, body: str = "") -> bytes:
    """Headers as FreeSWITCH writes a plain event."""
    encode = url_encode
    lines = [f"{name}: {encode(value)}\n" for name, value in headers]
    if not body:
        lines.append("\n")
        return "".join(lines).encode("utf-8", "surrogateescape")
    raw = body.encode("utf-8", "surrogateescape")
    lines.append(f"Content-Length: {len(raw)}\n\n")
    return "".join(lines).encode("utf-8", "surrogateescape") + raw


class EventBus:
    """Delivers events to sockets; builds none that nobody asked for.

    Args:
        core_uuid: identifies this switch in every event.
        hostname: likewise.
        epoch: the (virtual) time of day in seconds since 1970.
    """

    def __init__(self, core_uuid: str, hostname: str, epoch: Callable[[], float]) -> None:
        self.core_uuid = core_uuid
        self._hostname = hostname
        self._epoch = epoch
        self._sequence = itertools.count(1)
        self._wanted: dict[str, list[Callable[[Event], None]]] = {}
        self._second = 0
        self._dates = ("", "")

    def subscribe(self, names: Iterable[str], deliver: Callable[[Event], None]) -> None:
        """Call `deliver` for each event of these names until unsubscribed."""
        for name in names:
            wanted = self._wanted.setdefault(name, [])
            if deliver not in wanted:
                wanted.append(deliver)

    def unsubscribe(self, names: Iterable[str], deliver: Callable[[Event], None]) -> None:
        """Take a subscription back; names not subscribed to are ignored."""
        for name in names:
            wanted = self._wanted.get(name, [])
            if deliver in wanted:
                wanted.remove(deliver)
                if not wanted:
                    del self._wanted[name]

    def wants(self, name: str) -> bool:
        """Whether anybody at all has asked for events of this name."""
        return name in self._wanted or "ALL" in self._wanted

    def fire(
        self, name: str, channel: Channel, *extra: tuple[str, str], first: Sequence[Header] = ()
    ) -> None:
        """Tell the subscribers that something happened to a channel.

        Args:
            name: the event's name.
            channel: whose headers (and variables) the event carries.
            extra: headers of this event alone, after the channel's.
            first: likewise, before the channel's.
        """
        if not self.wants(name):
            return
        headers = self.base(name)
        headers += first
        headers += channel.headers(variables=name not in _BRIEF)
        headers += extra
        self._deliver(Event(name, channel.uuid, headers))

    def fire_plain(self, name: str, headers: Headers, body: str = "") -> None:
        """Tell the subscribers of something that belongs to no channel."""
        if self.wants(name):
            self._deliver(Event(name, "", self.base(name) + headers, body))

    def _deliver(self, event: Event) -> None:
        for deliver in (*self._wanted.get(event.name, ()), *self._wanted.get("ALL", ())):
            deliver(event)

    def base(self, name: str) -> Headers:
        """The headers with which every event starts."""
        now = self._epoch()
        second = int(now)
        if second != self._second:
            moment = datetime.fromtimestamp(second, UTC)
            self._dates = (
                moment.strftime("%Y-%m-%d %H:%M:%S"),
                moment.strftime("%a, %d %b %Y %H:%M:%S GMT"),
            )
            self._second = second
        file, function, line = _ORIGIN.get(name, ("switch_core.c", "switch_core", 1))
        return [
            ("Event-Name", name),
            ("Core-UUID", self.core_uuid),
            ("FreeSWITCH-Hostname", self._hostname),
            ("FreeSWITCH-Switchname", self._hostname),
            ("FreeSWITCH-IPv4", "127.0.0.1"),
            ("FreeSWITCH-IPv6", "::1"),
            ("Event-Date-Local", self._dates[0]),
            ("Event-Date-GMT", self._dates[1]),
            ("Event-Date-Timestamp", str(int(now * 1e6))),
            ("Event-Calling-File", file),
            ("Event-Calling-Function", function),
            ("Event-Calling-Line-Number", str(line)),
            ("Event-Sequence", str(next(self._sequence))),
        ]
