"""SIP callers for a load: so many calls a second, each presses keys until the other side ends it.

A process of its own, so that its CPU time is not taken for the switch's. Each call sends a packet
of PCMU silence every 20 ms, and its keys as RFC 4733 events; nobody listens. Standard input:
{"host", "port", "number", "calls", "rate", "keys", "gap_s"}; the answer is a line of JSON that
counts how calls ended.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tests.calls import sip

# From answer to the first key: the first prompt is playing.
FIRST_S = 0.7
LONGEST_S = 30.0


@dataclass
class Line:
    """One call."""

    number: int
    dialogue: sip.Dialogue
    media: socket.socket
    mouth: sip.Mouth
    far_media: tuple[str, int] | None = None
    next_key: float = 0.0
    pressed: int = 0


class Load:
    """All calls of an order."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.far = (order["host"], order["port"])
        self.sip = socket.socket(type=socket.SOCK_DGRAM)
        self.sip.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.sip.bind(("127.0.0.1", 0))
        self.here = f"127.0.0.1:{self.sip.getsockname()[1]}"
        self.target = f"sip:{order['number']}@{order['host']}:{order['port']}"
        self.lines: dict[int, Line] = {}
        self.ended: Counter[str] = Counter()

    def run(self) -> dict[str, int]:
        """Make the calls."""
        calls, rate = self.order["calls"], self.order["rate"]
        begun = tick = time.monotonic()
        made = 0
        while sum(self.ended.values()) < calls:
            now = time.monotonic()
            while made < calls and now >= begun + made / rate:
                made += 1
                self.dial(made)
            if now >= tick:
                tick += sip.FRAME_S
                self.speak(now)
            if now > begun + calls / rate + LONGEST_S:
                self.ended["still talking"] += calls - sum(self.ended.values())
            while select.select([self.sip], [], [], max(0.0, min(0.005, tick - now)))[0]:
                self.take(sip.parsed(self.sip.recv(65536)))
                now = time.monotonic()
        return dict(self.ended)

    def dial(self, number: int) -> None:
        """Send the INVITE."""
        media = socket.socket(type=socket.SOCK_DGRAM)
        media.bind(("127.0.0.1", 0))
        dialogue = sip.Dialogue(
            self.target, self.here, f"{number}@{self.here}", "<sip:02188776655@127.0.0.1>"
        )
        self.lines[number] = Line(number, dialogue, media, sip.Mouth(number))
        self.sip.sendto(dialogue.invite(media.getsockname()[1]), self.far)

    def speak(self, now: float) -> None:
        """Every call's next packet; who has waited long enough presses a key."""
        for line in self.lines.values():
            if line.far_media is None:
                continue
            if now >= line.next_key and line.pressed < self.order["keys"]:
                line.mouth.press("1")
                line.pressed += 1
                line.next_key = now + self.order["gap_s"]
            line.media.sendto(line.mouth.packet(), line.far_media)

    def take(self, message: sip.Message) -> None:
        """A message from the switch."""
        line = self.lines.get(int(message.headers["Call-ID"].partition("@")[0]))
        if not message.code and message.method == "BYE":
            self.sip.sendto(message.answered("200 OK"), self.far)
            if line is not None:
                good = line.pressed == self.order["keys"]
                self.over(line, "good" if good else f"ended after {line.pressed} keys")
        elif message.method == "INVITE" and message.code >= 200 and line is not None:
            self.sip.sendto(line.dialogue.ack(message), self.far)
            if message.code >= 300:
                self.over(line, f"refused with {message.code}")
            elif line.far_media is None:
                line.far_media = (self.order["host"], message.media_port)
                line.next_key = time.monotonic() + FIRST_S

    def over(self, line: Line, how: str) -> None:
        """A call has ended."""
        self.ended[how] += 1
        line.media.close()
        del self.lines[line.number]


def main() -> None:
    """Carry out the order."""
    print(json.dumps(Load(json.loads(sys.stdin.readline())).run()), flush=True)


if __name__ == "__main__":
    main()
