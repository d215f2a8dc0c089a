"""Replays a capture's application against the embedded switch, and names what differs.

The application's bytes are sent as they were recorded: each piece after as many frames as
the capture shows before it, and where the application had let time pass, not before that time.
What the caller did (keys, hanging up) is taken from the capture too.
"""

from __future__ import annotations

import re
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import captures
from gevent.event import Event
from gevent.server import StreamServer

from esl_worker.frames import Frame, FrameReader, event_of
from esl_worker.switch import Channel, Clock, Dialplan, SilentCaller, Switch

SPEED = 60.0
RECORDED = {"welcome": 17953, "menu": 17332, "thanks": 17981, "debt": 16204}  # samples
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

# The PIN of capture 16 is in no DTMF event, which is what that capture is about.
SECRET = {"16": "4321"}


@dataclass
class Seen:
    """One frame, in a form that can be compared."""

    kind: str
    what: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What a sequence is compared by."""
        wanted = ("Application", "Application-Data", "Application-Response", "Hangup-Cause",
                  "DTMF-Digit", "Channel-State", "Answer-State")  # fmt: skip
        named = " ".join(self.headers[name] for name in wanted if name in self.headers)
        text = UUID.sub("<uuid>", f"{self.kind} {self.what} {named}".strip())
        return re.sub(r"127\.0\.0\.1:\d+ async", "<worker> async", text)


def seen(frame: Frame) -> Seen:
    """A frame from either switch."""
    kind = frame.content_type
    if kind in ("text/event-plain", "text/event-json"):
        headers = event_of(frame).headers
        return Seen(kind, headers["Event-Name"], headers)
    if kind == "text/disconnect-notice":
        what = " ".join(
            frame.headers[name]
            for name in ("Content-Disposition", "Linger-Time")
            if name in frame.headers
        )
        return Seen(kind, f"{what} {frame.body.decode()!r}")
    if "Event-Name" in frame.headers:
        return Seen("connect", frame.headers["Socket-Mode"], frame.headers)
    if kind == "api/response":
        return Seen(kind, frame.body.decode())
    return Seen(kind, frame.headers["Reply-Text"])


def frames_of(data: bytes) -> list[Frame]:
    """All frames of what a switch sent."""
    return FrameReader().feed(data)


class Replay:
    """One capture, played again.

    Attributes:
        recorded, replayed: the frames of FreeSWITCH and of the embedded switch.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.records = captures.records(name)
        self.recorded = [seen(each) for each in frames_of(captures.stream(name, "<"))]
        self.replayed: list[Seen] = []
        self._data = bytearray()
        self._folder = folder
        self._done = Event()
        self._failure: BaseException | None = None

    def run(self) -> Channel:
        """Play it; the channel is over (or left to the dialplan) when this returns."""
        for sound, samples in RECORDED.items():
            with wave.open(str(self._folder / f"{sound}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes(bytes(2 * samples))
        server = StreamServer(("127.0.0.1", 0), self._serve)
        server.start()
        try:
            action = ("socket", f"127.0.0.1:{server.server_port} async full")
            dialplan = Dialplan(
                {
                    "public": [
                        (r"20(\d\d)", [action]),
                        (
                            "3002",
                            [
                                ("answer", ""),
                                ("playback", "silence_stream://200"),
                                ("hangup", ""),
                            ],
                        ),
                    ]
                }
            )
            self.clock = Clock(SPEED)
            switch = Switch(dialplan, self._folder, self.clock)
            first = self.recorded[0].headers
            self.channel = switch.call(
                f"20{self.name[:2]}",
                first["Caller-Caller-ID-Number"],
                caller_name=first["Caller-Caller-ID-Name"],
                caller=SilentCaller(),
            )
            assert self._done.wait(10), f"{self.name}: the replay did not end"
        finally:
            server.stop()
        if self._failure is not None:
            raise self._failure
        self.replayed = [seen(each) for each in frames_of(self.sent)]
        return self.channel

    @property
    def sent(self) -> bytes:
        """All bytes of the embedded switch."""
        return bytes(self._data)

    def _serve(self, sock: Any, _: object) -> None:
        try:
            self._play(sock)
        except BaseException as why:
            self._failure = why
        finally:
            sock.close()
            self._done.set()

    def _play(self, sock: Any) -> None:
        """Go through the capture in its order; act where the application or the caller did."""
        uuid = self.recorded[0].headers["Unique-ID"].encode()
        recorded, self._reader, self._got = FrameReader(), FrameReader(), 0
        expected, last = 0, 0.0
        for record in self.records:
            if record.direction == ">":
                self._wait_for(sock, expected, record.seconds - last)
                sock.sendall(record.data.replace(uuid, self.channel.uuid.encode()))
                last = record.seconds
                continue
            for frame in recorded.feed(record.data):
                each = seen(frame)
                if raced(each):
                    continue
                act = self._caller_acts(each)
                if act is not None:
                    self._wait_for(sock, expected, record.seconds - last)
                    act()
                expected += 1
                last = record.seconds
        if self.recorded[-1].what.startswith("disconnect"):
            while self._receive(sock):
                pass
        else:
            self._wait_for(sock, expected, 0.0)

    def _wait_for(self, sock: Any, frames: int, seconds: float) -> None:
        while self._got < frames:
            assert self._receive(sock), f"the switch closed after {self._got} frames"
        if seconds > 0.03:
            self.clock.sleep(seconds)

    def _caller_acts(self, upcoming: Seen) -> Callable[[], None] | None:
        """What the caller must do for this frame to come, if it is of the caller's making."""
        channel, headers = self.channel, upcoming.headers
        if upcoming.what == "DTMF":
            return lambda: channel.press(headers["DTMF-Digit"])
        if upcoming.what == "CHANNEL_HANGUP" and "variable_sip_term_status" in headers:
            return channel.hang_up
        secret = SECRET.get(self.name[:2])
        if (
            secret
            and upcoming.what == "CHANNEL_EXECUTE_COMPLETE"
            and headers["Application"] == "play_and_get_digits"
        ):
            return lambda: channel.press(secret)
        return None

    def _receive(self, sock: Any) -> bool:
        data = sock.recv(65536)
        self._data += data
        self._got += sum(not raced(seen(each)) for each in self._reader.feed(data))
        return bool(data)


def raced(each: Seen) -> bool:
    """Frames that FreeSWITCH's two threads send in no fixed order."""
    return each.what == "CHANNEL_PARK" or each.what.startswith("linger")
