"""The embedded switch answers this service's worker in sync mode as FreeSWITCH 1.10.12 did.

Capture 19 is replayed: the worker's bytes as they were written, the caller's keys as they were
collected. Every recording lasts a fifth of a second here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import captures
import pytest
from gevent.event import Event
from gevent.server import StreamServer
from switch_replay import seen
from test_switch_captures import NAMES, VOLATILE, fixed, plain

from esl_worker.frames import CommandFrame, CommandReader, Frame, FrameReader
from esl_worker.switch import Channel, Clock, SilentCaller, Switch, service_dialplan

SPEED = 20.0
PIECE_S = 0.2
AT_ONCE_S = 4.0  # virtual: a busy machine may take its time
UNSET = "-ERR command not found"

# Another SIP telephone than that of the other captures, and a dialplan without groups and without
# a word on who vouches for the caller's number.
OTHER_TELEPHONE = {
    "variable_DP_MATCH",
    "variable_callflows_identity",
    "variable_rtp_remote_audio_rtcp_port",
    "variable_sip_Remote-Party-ID",
    "variable_sip_cid_type",
    "variable_sip_contact_params",
    "variable_sip_to_port",
}


@dataclass
class Exchange:
    """A command of the worker, what FreeSWITCH answered, and after how many seconds.

    `keys` is what the caller pressed meanwhile: what was collected, and the key that ended it.
    """

    command: CommandFrame
    answer: Frame
    seconds: float
    keys: str = ""

    @property
    def application(self) -> str:
        return self.command.headers.get("execute-app-name", self.command.command.split(" ")[0])

    @property
    def argument(self) -> str:
        return self.command.headers.get("execute-app-arg", "")


def recorded() -> list[list[Exchange]]:
    """Capture 19, one list for each piece that the worker wrote."""
    records = captures.records(captures.SYNC)
    reader = FrameReader()
    answers = iter(
        [
            (frame, record.seconds)
            for record in records
            if record.direction == "<"
            for frame in reader.feed(record.data)
        ]
    )
    pieces = []
    for record in records:
        if record.direction == "<":
            continue
        piece: list[Exchange] = []
        before = record.seconds
        for command in CommandReader().feed(record.data):
            answer, at = next(answers)
            piece.append(Exchange(command, answer, at - before))
            before = at
        for question, result in pairwise(piece):
            collected = result.answer.headers["Reply-Text"]
            if question.application == "play_and_get_digits" and collected != UNSET:
                terminator = question.argument.split(" ")[4]
                question.keys = collected + ("#" if terminator == "#" else "")
        pieces.append(piece)
    assert next(answers, None) is None
    return pieces


class Replay:
    """The call again: `theirs` as recorded, `ours` from the embedded switch, in virtual seconds."""

    def __init__(self) -> None:
        self.theirs = [each for piece in recorded() for each in piece]
        self.ours: list[Exchange] = []
        self._done = Event()
        self._failure: BaseException | None = None
        server = StreamServer(("127.0.0.1", 0), self._serve)
        server.start()
        self._clock = Clock(SPEED)
        switch = Switch(
            service_dialplan([f"127.0.0.1:{server.server_port}"]),
            Path("/srv/callflows/sounds"),
            self._clock,
            missing_s=PIECE_S,
        )
        self.channel: Channel = switch.call(
            "2000", "02188776655", caller_name="Test", caller=SilentCaller()
        )
        assert self._done.wait(20), "the replay did not end"
        assert self.channel.join(10)
        server.stop()
        if self._failure is not None:
            raise self._failure

    def _serve(self, sock: Any, _: object) -> None:
        try:
            self._play(sock)
        except BaseException as why:
            self._failure = why
        finally:
            sock.close()
            self._done.set()

    def _play(self, sock: Any) -> None:
        reader, frames = FrameReader(), []
        written = [record for record in captures.records(captures.SYNC) if record.direction == ">"]
        for record, piece in zip(written, recorded(), strict=True):
            sock.sendall(record.data)
            before = self._clock.now()
            for each in piece:
                self.channel.press(each.keys)
                while not frames:
                    data = sock.recv(65536)
                    assert data, f"the switch closed after {len(self.ours)} answers"
                    frames += reader.feed(data)
                now = self._clock.now()
                self.ours.append(Exchange(each.command, frames.pop(0), now - before))
                before = now


@pytest.fixture(scope="module")
def replay() -> Replay:
    """The call, replayed once."""
    return Replay()


def test_every_answer_is_the_recorded_one(replay: Replay) -> None:
    """+OK for what was done, the digits, the unset variable: the same text and no other header."""
    assert len(replay.ours) > 30
    for theirs, ours in zip(replay.theirs[1:], replay.ours[1:], strict=True):
        assert ours.answer == theirs.answer, theirs.command.headers


def test_answers_come_when_freeswitch_gives_them(replay: Replay) -> None:
    """At once, or when the prompt is over, or seven seconds after it: nothing else takes time."""
    for theirs, ours in zip(replay.theirs, replay.ours, strict=True):
        if theirs.application not in ("playback", "play_and_get_digits"):
            assert theirs.seconds < 0.1
        if theirs.seconds < 0.1 or theirs.keys:
            assert ours.seconds < AT_ONCE_S, theirs.command.headers
            continue
        prompt = 0.25 + PIECE_S * (theirs.argument.count("!") + 1)
        timer = 7.0 if theirs.application == "play_and_get_digits" else 0.0
        assert prompt + timer <= ours.seconds < prompt + timer + AT_ONCE_S


def test_the_answer_to_connect_tells_the_same_of_the_call(replay: Replay) -> None:
    """The same headers with the same values, but for the telephone, times and identities."""
    theirs, ours = seen(replay.theirs[0].answer), seen(replay.ours[0].answer)
    assert ours.what == theirs.what == "static"
    assert set(ours.headers) ^ set(theirs.headers) <= NAMES | OTHER_TELEPHONE
    assert fixed(ours) == fixed(theirs)
    for name in ours.headers.keys() & theirs.headers.keys():
        value = re.sub(r"127\.0\.0\.1:\d+ full", "<worker> full", ours.headers[name])
        other = re.sub(r"127\.0\.0\.1:\d+ full", "<worker> full", theirs.headers[name])
        if not VOLATILE.search(name):
            assert plain(value) == plain(other), name


def test_the_transfer_takes_effect_when_the_worker_closes(replay: Replay) -> None:
    """It was answered at once, with the socket still open; then the payment system has the call."""
    assert replay.ours[-1].application == "transfer"
    assert replay.channel.transferred_to == ("2000", "payment")
    assert replay.channel.variables["arrived"] == "2000"
    assert replay.channel.variables["callflows_state"] == "transfer_failed"
