"""As much SIP (RFC 3261) and RTP (RFC 3550, 4733) as a caller needs on loopback.

No telephone library: its jitter buffer guesses what a busy machine delivers late, and a test that
proves what was played must have every packet. Nothing is retransmitted: on loopback none is lost.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PCMU, EVENTS = 0, 101
FRAME_S = 0.02
SAMPLES = 160
SILENCE = b"\xff" * SAMPLES
# A key is reported in so many packets; the last three say that it has ended (RFC 4733, 2.5.1.4).
KEY_PACKETS, END_PACKETS = 5, 3
KEYS = "0123456789*#"

_PORT = re.compile(r"^m=audio (\d+) ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Message:
    """A request or a response: its first line, the headers by name, and the whole text."""

    first: str
    headers: Mapping[str, str]
    text: str

    @property
    def code(self) -> int:
        """The status of a response; 0 for a request."""
        return int(self.first.split()[1]) if self.first.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """What a request asks for, or what a response answers."""
        return self.headers["CSeq"].split()[1]

    @property
    def media_port(self) -> int:
        """Where its session description wants RTP. Raises ValueError without one."""
        found = _PORT.search(self.text)
        if found is None:
            raise ValueError("no audio in the session description")
        return int(found[1])

    def answered(self, status: str) -> bytes:
        """The response to this request."""
        kept = [
            f"{name}: {self.headers[name]}" for name in ("Via", "From", "To", "Call-ID", "CSeq")
        ]
        return "\r\n".join([f"SIP/2.0 {status}", *kept, "Content-Length: 0", "", ""]).encode()


def parsed(data: bytes) -> Message:
    """A datagram as a message."""
    text = data.decode(errors="replace")
    first, _, rest = text.partition("\r\n")
    lines = rest.partition("\r\n\r\n")[0].split("\r\n")
    return Message(first, dict(line.split(": ", 1) for line in lines if ": " in line), text)


@dataclass(frozen=True, slots=True)
class Dialogue:
    """The caller's side of a call.

    Args:
        target: the URI that is called.
        here: our own address as host:port.
        call_id: unique among the calls.
        caller: the From header without its tag.
    """

    target: str
    here: str
    call_id: str
    caller: str

    def invite(self, media_port: int, headers: Iterable[str] = ()) -> bytes:
        """Offers PCMU and keys."""
        offer = (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=audio {media_port} RTP/AVP {PCMU} {EVENTS}\r\n"
            f"a=rtpmap:{EVENTS} telephone-event/8000\r\na=ptime:20\r\n"
        )
        contact = f"Contact: <sip:caller@{self.here}>"
        kind = "Content-Type: application/sdp"
        return self._request("INVITE", 1, f"<{self.target}>", [contact, kind, *headers], offer)

    def ack(self, response: Message) -> bytes:
        """Takes note of the final response to the invitation."""
        return self._request("ACK", 1, response.headers["To"])

    def bye(self, response: Message) -> bytes:
        """Ends the call that `response` has accepted."""
        return self._request("BYE", 2, response.headers["To"])

    def _request(
        self, method: str, number: int, to: str, headers: Iterable[str] = (), body: str = ""
    ) -> bytes:
        # The ACK of a refusal belongs to the INVITE's transaction (17.1.1.3): the same branch.
        # It is a token, which "@" cannot be in.
        branch = f"z9hG4bK{number}{self.call_id.partition('@')[0]}"
        lines = [
            f"{method} {self.target} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.here};branch={branch};rport",
            "Max-Forwards: 70",
            f"From: {self.caller};tag=caller",
            f"To: {to}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {number} {method}",
            "Allow: INVITE, ACK, BYE",
            *headers,
            f"Content-Length: {len(body)}",
            "",
            body,
        ]
        return "\r\n".join(lines).encode()


class Mouth:
    """What a caller sends: PCMU silence, and keys as events; a packet every 20 ms.

    After each key as many packets of silence follow, as fingers are not faster.
    """

    def __init__(self, source: int) -> None:
        self._source = source
        self._keys: list[str] = []
        self._part = 0
        self._sequence = 0
        self._timestamp = 0

    @property
    def busy(self) -> bool:
        """Whether keys are still to be sent."""
        return bool(self._keys)

    def press(self, keys: str) -> None:
        """Press keys, one after the other."""
        self._keys.extend(keys)

    def packet(self) -> bytes:
        """The next packet."""
        self._sequence += 1
        self._timestamp += SAMPLES
        if not self._keys:
            return self._header(PCMU, False, self._timestamp) + SILENCE
        self._part += 1
        if self._part > KEY_PACKETS:
            if self._part == 2 * KEY_PACKETS:
                self._part = 0
                self._keys.pop(0)
            return self._header(PCMU, False, self._timestamp) + SILENCE
        end = 0x80 if self._part > KEY_PACKETS - END_PACKETS else 0
        duration = SAMPLES * min(4, 2 * self._part)
        body = struct.pack("!BBH", KEYS.index(self._keys[0]), end | 10, duration)
        began = self._timestamp - SAMPLES * self._part
        return self._header(EVENTS, self._part == 1, began) + body

    def _header(self, kind: int, marker: bool, timestamp: int) -> bytes:
        return struct.pack(
            "!BBHII", 0x80, marker << 7 | kind, self._sequence & 0xFFFF, timestamp, self._source
        )
