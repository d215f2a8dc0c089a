"""A caller with a SIP telephone: dials, listens, presses keys, records what is heard.

A call follows a list of steps, and does what a person does: it listens until it has heard the
prompt to its end, and presses then. Audio is real RTP, keys are RFC 2833 events. `CallerPool`
makes calls, several at a time. What is heard is put together by the packets' own timestamps, so
that a busy machine changes nothing about it.
"""

from __future__ import annotations

import select
import socket
import struct
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.calls import audio, sip

ANSWER_S = 15.0
HEARING_S = 40.0
# A key is pressed by a person who has heard the prompt: not within the same frame.
REACTION_S = 0.15
# A longer silence on the line is no sound that was played: nobody need hear it to its end.
LONGEST_GAP = 3 * audio.RATE_HZ


@dataclass(frozen=True)
class Step:
    """One thing a caller does. Exactly one field is set, `cut` aside.

    hear: listens until these recordings have been heard, in order, and nothing else; with `cut`
    the rest of an interrupted prompt may come before them.
    press: keys, one after the other. wait: seconds. hang_up. ends: waits for the other side's end.
    """

    hear: tuple[str, ...] = ()
    cut: bool = False
    press: str = ""
    wait: float = 0.0
    hang_up: bool = False
    ends: bool = False


@dataclass(frozen=True)
class Errand:
    """A call to make.

    Args:
        to: SIP URI with address and port.
        caller: the From header: a SIP URI with an optional display name.
        steps: what the caller does.
        library: the recordings that steps name.
        hearing: how strictly they are compared.
        wav: where the recording goes.
        headers: further headers of the INVITE.
    """

    to: str
    caller: str
    steps: Sequence[Step]
    library: audio.Library
    hearing: audio.Hearing
    wav: Path
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Report:
    """How a call went.

    `trouble` says which step failed and why; None where all were done. `code` is the final answer
    to the call, `cause` the Reason header of the switch's BYE.
    """

    code: int = 0
    ended_by: str = ""
    cause: str = ""
    trouble: str | None = None
    seconds: float = 0.0
    step_s: list[float] = field(default_factory=list)


class CallerPool:
    """Makes calls, `size` at a time; further ones wait for their turn."""

    def __init__(self, size: int) -> None:
        self._executor = ThreadPoolExecutor(size, thread_name_prefix="caller")

    def start(self, errand: Errand) -> Future[Report]:
        """Make a call when it is its turn."""
        return self._executor.submit(lambda: Caller(errand).call())

    def close(self) -> None:
        """Forget the calls that have not begun and wait for the others."""
        self._executor.shutdown(cancel_futures=True)


class Line:
    """What came in by RTP, as samples."""

    def __init__(self) -> None:
        self._samples = np.zeros(60 * audio.RATE_HZ, np.float32)
        self._end = 0
        self._source: int | None = None
        self._next = 0

    def take(self, packet: bytes) -> None:
        """Put a packet in its place; whatever is not PCMU is left out."""
        _, kind, _, timestamp, source = struct.unpack("!BBHII", packet[:12])
        if kind & 0x7F != sip.PCMU:
            return
        sound = _LINEAR[np.frombuffer(packet[12:], np.uint8)]
        gap = (timestamp - self._next) & 0xFFFFFFFF
        if source != self._source or gap > LONGEST_GAP:
            gap = 0
        self._source, self._next = source, (timestamp + len(sound)) & 0xFFFFFFFF
        start = self._end + gap
        self._end = start + len(sound)
        while self._end > len(self._samples):
            self._samples = np.concatenate([self._samples, np.zeros_like(self._samples)])
        self._samples[start : self._end] = sound

    def samples(self) -> audio.Samples:
        """All so far."""
        return self._samples[: self._end]


class Caller:
    """One call from beginning to end, in one thread."""

    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        self._sip = _bound()
        self._rtp = _bound()
        host, port = self._sip.getsockname()
        target = errand.to.partition("@")[2].split(":")
        self._far = (target[0], int(target[1]))
        self._far_media: tuple[str, int] | None = None
        self._dialogue = sip.Dialogue(errand.to, f"{host}:{port}", uuid.uuid4().hex, errand.caller)
        self._line = Line()
        self._mouth = sip.Mouth(port)
        self._ear = audio.Ear(errand.library, errand.hearing, self._line.samples)
        self._accepted: sip.Message | None = None
        self._report = Report()
        self._over = False
        self._begun = self._tick = time.monotonic()

    def call(self) -> Report:
        """Dial and follow the steps."""
        report = self._report
        headers = [f"{name}: {value}" for name, value in self._errand.headers.items()]
        self._send(self._dialogue.invite(self._rtp.getsockname()[1], headers))
        try:
            self._until(lambda: self._accepted is not None or self._over, ANSWER_S)
            for step in self._errand.steps:
                self._take(step)
                report.step_s.append(round(time.monotonic() - self._begun, 2))
        except (audio.NotHeard, TimeoutError) as error:
            report.trouble = f"step {len(report.step_s) + 1}: {error}"
        finally:
            self._hang_up()
            self._sip.close()
            self._rtp.close()
        report.seconds = round(time.monotonic() - self._begun, 2)
        audio.write(self._errand.wav, self._line.samples())
        return report

    def _take(self, step: Step) -> None:
        if step.hear:
            self._ear.expect(audio.Part(step.hear, step.cut))
            self._hear()
        elif step.press:
            self._pass(REACTION_S)
            self._mouth.press(step.press)
            self._until(lambda: self._over or not self._mouth.busy, HEARING_S)
        elif step.wait:
            self._pass(step.wait)
        elif step.hang_up:
            self._hang_up()
        elif step.ends:
            self._until(lambda: self._over, HEARING_S)

    def _hear(self) -> None:
        limit = time.monotonic() + HEARING_S
        looked = -1
        while True:
            over = self._over or time.monotonic() > limit
            heard = len(self._line.samples())
            if over or heard >= looked + 2 * audio.FRAME:
                looked = heard
                if self._ear.follow(over=over):
                    return
            self._exchange()

    def _pass(self, seconds: float) -> None:
        limit = time.monotonic() + seconds
        while not self._over and time.monotonic() < limit:
            self._exchange()

    def _until(self, done: Callable[[], bool], seconds: float) -> None:
        limit = time.monotonic() + seconds
        while not done():
            if time.monotonic() > limit:
                raise TimeoutError(f"nothing happened for {seconds:g} s")
            self._exchange()

    def _hang_up(self) -> None:
        if self._accepted is not None and not self._over:
            self._report.ended_by = "caller"
            self._send(self._dialogue.bye(self._accepted))
            self._pass(3.0)
        self._over = True

    def _exchange(self) -> None:
        """Take what has come, and send what is due; some 20 ms."""
        now = time.monotonic()
        if self._far_media is not None and now >= self._tick:
            # A packet that is late is sent late, not together with the next one.
            self._tick = max(self._tick + sip.FRAME_S, now)
            self._rtp.sendto(self._mouth.packet(), self._far_media)
        wait = max(0.001, self._tick - now) if self._far_media else sip.FRAME_S
        for ready in select.select([self._sip, self._rtp], [], [], wait)[0]:
            data = ready.recv(65536)
            if ready is self._rtp:
                self._line.take(data)
            else:
                self._message(sip.parsed(data))

    def _message(self, message: sip.Message) -> None:
        report = self._report
        if not message.code:
            if message.method == "BYE":
                self._send(message.answered("200 OK"))
                self._drain()
                report.ended_by = report.ended_by or "service"
                report.cause = message.headers.get("Reason", "")
                self._over = True
            elif message.method != "ACK":
                self._send(message.answered("488 Not Acceptable Here"))
        elif message.method == "BYE":
            self._over = True
        elif message.method == "INVITE" and message.code >= 200:
            self._send(self._dialogue.ack(message))
            report.code = message.code
            if message.code >= 300:
                self._over = True
            elif self._accepted is None:
                self._accepted = message
                self._far_media = (self._far[0], message.media_port)
                self._tick = time.monotonic()

    def _drain(self) -> None:
        """Take the sound that came before the end."""
        while select.select([self._rtp], [], [], 0)[0]:
            self._line.take(self._rtp.recv(65536))

    def _send(self, data: bytes) -> None:
        self._sip.sendto(data, self._far)


def _bound() -> socket.socket:
    """A socket with room for what comes while the machine does something else."""
    bound = socket.socket(type=socket.SOCK_DGRAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    bound.bind(("127.0.0.1", 0))
    return bound


def _linear() -> audio.Samples:
    """The 256 values of PCMU (ITU-T G.711)."""
    code = ~np.arange(256) & 0xFF
    size = (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84
    return np.where(code & 0x80, -size, size).astype(np.float32)


_LINEAR = _linear()
