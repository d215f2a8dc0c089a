"""Consultants' telephones and a caller's, on the embedded switch or on a real FreeSWITCH.

The numbers of `CONSULTANTS` behave alike on both. Conversations are functions of the worker's
channel; the caller presses keys, speaks and hangs up from outside.
"""

from __future__ import annotations

import contextlib
import math
import struct
import time
import uuid
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from gevent.event import AsyncResult

from callflows.call import CallerGone
from esl_worker.connecting import ConnectingChannel, Means
from esl_worker.control import Control, Timing
from esl_worker.server import WorkerServer
from esl_worker.session import Session
from esl_worker.switch import Clock, Dialplan, Directory, InboundServer, Switch
from esl_worker.switch import subscribers as sub
from esl_worker.switch.caller import SilentCaller
from tests.calls.freeswitch import PASSWORD, Freeswitch, find_binary, free_ports

ANNA, BORIS, CARLA, DORA, ELLA, FARA = (f"+9821000000{n}" for n in range(10, 16))
# Answers at once; is busy; never answers; hangs up after 3 s of talk; answers after 2 s and
# takes the call by pressing 1 a second later; answers after 1 s.
TONES = {"hello": 500, "whisper": 1000, "warning": 1600}
TRIES_S = 20.0

_LEGS = """
    <extension name="anna"><condition field="destination_number" expression="^982100000010$">
      <action application="answer"/>
      <action application="record" data="{folder}/anna.wav 600"/></condition></extension>
    <extension name="boris"><condition field="destination_number" expression="^982100000011$">
      <action application="hangup" data="USER_BUSY"/></condition></extension>
    <extension name="carla"><condition field="destination_number" expression="^982100000012$">
      <action application="ring_ready"/><action application="sleep" data="60000"/>
      </condition></extension>
    <extension name="dora"><condition field="destination_number" expression="^982100000013$">
      <action application="answer"/><action application="sleep" data="3000"/>
      <action application="hangup"/></condition></extension>
    <extension name="ella"><condition field="destination_number" expression="^982100000014$">
      <action application="ring_ready"/><action application="sleep" data="2000"/>
      <action application="answer"/><action application="sleep" data="3000"/>
      <action application="send_dtmf" data="1"/>
      <action application="record" data="{folder}/ella.wav 600"/></condition></extension>
    <extension name="fara"><condition field="destination_number" expression="^982100000015$">
      <action application="ring_ready"/><action application="sleep" data="1000"/>
      <action application="answer"/>
      <action application="record" data="{folder}/fara.wav 600"/></condition></extension>
"""


class Phrases:
    """Each phrase is one recording of its name."""

    def recordings(self, phrase: Any, _: str) -> tuple[str, ...]:
        """See `Catalogue.recordings`."""
        return (f"{phrase.key}.wav",)


class House:
    """Runs conversations, one after the other; the n-th worker's is the n-th of `talks`."""

    speed = 1.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sounds = folder / "sounds"
        self.recordings = folder / "recordings"
        for name, hz in TONES.items():
            write_tone(self.sounds / f"{name}.wav", hz, 1.0)
        write_tone(self.sounds / "story.wav", 700, 25.0)
        for piece in (1, 2):
            write_tone(self.sounds / f"music/waiting/{piece}.wav", 440, 2.0)
        self.control: Control | None = None
        self.server = WorkerServer(("127.0.0.1", free_ports(1)[0]), self._serve)
        self.server.start()
        self._talks: list[Callable[[ConnectingChannel], object]] = []
        self._results: list[AsyncResult[Any]] = []
        self.session: Session | None = None

    @property
    def workers(self) -> str:
        """Two sockets of the dialplan lead here."""
        return f"127.0.0.1:{self.server.server_port}"

    def call(self, *talks: Callable[[ConnectingChannel], object]) -> list[AsyncResult[Any]]:
        """Place a call; what the workers that get it come to, one after the other."""
        self._talks = list(talks)
        self._results = [AsyncResult() for _ in talks]
        self.dial()
        return self._results

    def kill_worker(self) -> None:
        """As the kernel does for a process that is killed: the socket closes, nothing is said."""
        assert self.session is not None
        self.session.sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER 0: a reset
        self.session.close()

    def until(self, condition: Callable[[], Any], seconds: float = TRIES_S) -> Any:
        """Wait for something to be true; what it is then."""
        limit = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < limit, "it did not come"
            gevent.sleep(0.01)
        return found

    def sleep(self, seconds: float) -> None:
        """Let the switch's time pass."""
        gevent.sleep(seconds / self.speed)

    def close(self) -> None:
        """End it."""
        if self.control is not None:
            self.control.stop()
        self.server.stop()

    def connect(self, port: int, password: str) -> None:
        """Make the control connection."""
        self.control = Control(("127.0.0.1", port), password, timing=Timing(retry_s=0.05))
        self.control.start()
        assert self.control.wait_connected(TRIES_S)

    def dial(self) -> None:
        raise NotImplementedError

    def means(self) -> Means:
        return Means(
            recordings_dir=self.recordings,
            dial_string=self.dial_string,
            control_of=lambda _: self.control,
            look_s=0.5 / self.speed,
        )

    dial_string = ""

    def _serve(self, session: Session) -> None:
        data = session.connect()
        self.session = session
        if not self._talks:
            return
        talk, result = self._talks.pop(0), self._results[-1 - len(self._talks)]
        channel = ConnectingChannel(session, data, Phrases(), self.sounds, means=self.means())  # type: ignore[arg-type]
        try:
            result.set(talk(channel))
        except CallerGone as gone:
            result.set(gone)
        except Exception as error:
            result.set_exception(error)


class Embedded(House):
    """On the embedded switch, ten times as fast."""

    speed = 10.0
    dial_string = "sofia/gateway/trunk/{e164}"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.ears: dict[str, Ear] = {}
        ear = self._ear
        self.switch = Switch(
            Dialplan({
                "public": [
                    ("2000", [
                        ("set", "hangup_after_bridge=true"),
                        ("socket", f"{self.workers} full"),
                        ("socket", f"{self.workers} full"),
                    ])
                ]
            }),
            self.sounds,
            Clock(self.speed),
            recordings_dir=self.recordings,
            subscribers=Directory({
                ANNA[1:]: sub.answers(0.0, ear("anna")),
                BORIS[1:]: sub.busy(0.0),
                CARLA[1:]: sub.no_answer(),
                DORA[1:]: sub.answers(0.0, ear("dora", hangs_up_s=3.0)),
                ELLA[1:]: sub.answers(2.0, ear("ella", presses=(3.0, "1"))),
                FARA[1:]: sub.answers(1.0, ear("fara")),
            }),
        )  # fmt: skip
        self.inbound = InboundServer(self.switch)
        self.inbound.start()
        self.connect(self.inbound.server_port, "ClueCon")

    def _ear(self, name: str, **does: Any) -> Callable[[], SilentCaller]:
        def make() -> SilentCaller:
            self.ears[name] = Ear(**does)
            return self.ears[name]

        return make

    def dial(self) -> None:
        ear = self.ears["caller"] = Ear()
        self.leg = self.switch.call("2000", "02188776655", caller=ear)

    def press(self, keys: str) -> None:
        """The caller presses keys."""
        self.leg.press(keys)

    def speak(self, seconds: float) -> None:
        """The caller speaks into the next recording."""
        self.leg.speaks_s = seconds

    def hang_up(self) -> None:
        """The caller hangs up."""
        self.leg.hang_up()

    def heard(self, who: str, name: str) -> bool:
        """Whether somebody (caller, or a consultant's name) has heard a recording."""
        return f"{name}.wav" in self.ears[who].files

    def over(self) -> bool:
        """Whether no leg is left."""
        return not self.switch.channels

    def close(self) -> None:
        """End it."""
        for channel in list(self.switch.channels.values()):
            channel.hangup()
        super().close()
        self.inbound.stop()


class Ear(SilentCaller):
    """Remembers what was heard; may press a key or hang up a while after answering."""

    def __init__(
        self, *, hangs_up_s: float | None = None, presses: tuple[float, str] | None = None
    ) -> None:
        self.files: list[str] = []
        self._hangs_up_s = hangs_up_s
        self._presses = presses
        self._channel: Any = None

    def attached(self, channel: Any) -> None:
        """See `Caller`."""
        self._channel = channel

    def heard(self, files: tuple[str, ...], duration: float, collecting: Any) -> None:
        """See `Caller`."""
        self.files += files

    def event(self, name: str, data: Any) -> None:
        """See `Caller`."""
        if name == "displace":
            self.files += data["files"].split(",")
        elif name == "answered" and self._hangs_up_s is not None:
            self._channel.clock.later(self._hangs_up_s, self._channel.hang_up)
        elif name == "answered" and self._presses is not None:
            after_s, keys = self._presses
            self._channel.clock.later(after_s, self._channel.press, keys)


class Real(House):
    """On a FreeSWITCH of its own; the caller is a leg of another profile of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        binary = find_binary()
        assert binary is not None
        (folder / "switch").mkdir()
        self.switch = Freeswitch(
            binary,
            folder / "switch",
            workers=self.workers,
            sounds=self.sounds,
            arrivals=_LEGS.format(folder=folder),
        )
        self.switch.start()
        self.dial_string = f"sofia/callflows/{{e164}}@127.0.0.1:{self.switch.far_port}"
        self.connect(self.switch.control_port, PASSWORD)

    def dial(self) -> None:
        self.leg = str(uuid.uuid4())
        with contextlib.suppress(OSError):
            (self.folder / "caller.wav").unlink()
        where = f"sofia/far_end/2000@127.0.0.1:{self.switch.sip_port}"
        self._bg(
            f"originate {{origination_uuid={self.leg},origination_caller_id_number=02188776655,"
            f"ignore_early_media=true}}{where} '&record({self.folder}/caller.wav 600)'"
        )

    def _bg(self, command: str) -> None:
        assert self.control is not None
        self.control.bgapi(command, lambda _: None)

    def press(self, keys: str) -> None:
        """The caller presses keys."""
        assert self.control is not None
        self.control.api(f"uuid_send_dtmf {self.leg} {keys}")

    def speak(self, seconds: float) -> None:
        """The caller speaks, from now on."""
        assert self.control is not None
        tone = f"tone_stream://%({round(seconds * 1000)},0,700)"
        self.control.api(f"uuid_broadcast {self.leg} {tone} aleg")

    def hang_up(self) -> None:
        """The caller hangs up."""
        assert self.control is not None
        self.control.uuid_kill(self.leg)

    def heard(self, who: str, name: str) -> bool:
        """Whether a recording's tone is in what somebody has recorded."""
        return tone_in(self.folder / f"{who}.wav", TONES[name])

    def over(self) -> bool:
        """Whether no leg is left."""
        assert self.control is not None
        return "\n0 total" in self.control.api("show channels")

    def close(self) -> None:
        """End it."""
        super().close()
        self.switch.stop()


def write_tone(path: Path, hz: int, seconds: float) -> None:
    """A WAV file of one tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = [
        round(8000 * math.sin(2 * math.pi * hz * each / 8000))
        for each in range(round(8000 * seconds))
    ]
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(struct.pack(f"<{len(samples)}h", *samples))


def tone_in(path: Path, hz: int) -> bool:
    """Whether there are 0.4 s in a row of the file in which a tone stands out (Goertzel)."""
    with wave.open(str(path), "rb") as sound:
        rate = sound.getframerate()
        samples = struct.unpack(f"<{sound.getnframes()}h", sound.readframes(sound.getnframes()))
    step, run = rate // 20, 0
    for start in range(0, len(samples) - step, step):
        part = samples[start : start + step]
        coefficient = 2 * math.cos(2 * math.pi * hz / rate)
        before = last = 0.0
        for sample in part:
            before, last = last, sample + coefficient * last - before
        power = before * before + last * last - coefficient * before * last
        run = run + 1 if power > (1000 * step / 2) ** 2 / 2 else 0
        if run >= 8:
            return True
    return False
