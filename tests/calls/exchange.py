"""A telephone exchange for tests: one FreeSWITCH, one worker with many worlds, SIP callers.

A `Visit` is a call into a world of its own. What its caller must hear is what the flow alone says
(height 1), as the catalogue compiles it to recordings.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np

from callflows.bill_flow import BillFlow
from callflows.call import Call, Prompt
from callflows.journal import Journal
from callflows.runner import run
from callflows.scripted import HangsUp, Hears, IsTransferred, Presses, ScriptedChannel
from sounds import load_catalogue
from sounds.catalogue import PAUSES_MS
from sounds.speech import silence
from tests.calls import audio
from tests.calls.freeswitch import (
    LANGUAGE_HEADER,
    ROOT,
    WORLD_HEADER,
    Freeswitch,
    free_ports,
)
from tests.calls.scenario import Scenario, Sent
from tests.calls.sip_caller import CallerPool, Errand, Report, Step
from tests.calls.world import World

CATALOGUE = load_catalogue()
# What of a scenario makes its world.
WORLD_FIELDS = ("paid", "sms_used", "meanwhile", "more_bills", "limits")
JOURNAL_S = 5.0
ARRIVALS = ("2000", "9990", "2020")


@dataclass(frozen=True)
class Visit:
    """One caller with a scenario.

    Args:
        name: for the test's name.
        scenario: what is said and pressed.
        caller: the From header; without one, the scenario's caller.
        real: hears the real recordings, which take their time; else short codes.
        heard_s: presses when this much of a prompt has been heard; None: when all has been.
        ahead: presses everything at the beginning, and listens to the last prompt only.
    """

    name: str
    scenario: Scenario
    caller: str | None = None
    real: bool = False
    heard_s: float | None = None
    ahead: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """Further headers of the INVITE."""
        language = self.scenario.variables.get("callflows_language")
        return {LANGUAGE_HEADER: language} if language else {}

    @property
    def from_header(self) -> str:
        """Who calls, as SIP says it."""
        if self.caller is not None:
            return self.caller
        number = self.scenario.caller
        if number == "anonymous":
            return '"Anonymous" <sip:anonymous@anonymous.invalid>'
        return f"<sip:{number}@127.0.0.1>" if number else "<sip:127.0.0.1>"

    @cached_property
    def prompts(self) -> list[tuple[str, ...]]:
        """The recordings of each `hears`, from the flow alone."""
        return recordings_of(self.scenario)

    def steps(self, library: audio.Library) -> list[Step]:
        """What the caller does."""
        steps: list[Step] = []
        prompts = iter(self.prompts)
        cut = False
        for event in self.scenario.script:
            if isinstance(event, Hears):
                names = next(prompts)
                enough = self._enough(names, library)
                steps.append(Step(hear=names[:enough], cut=cut))
                cut = enough < len(names)
            elif isinstance(event, Presses):
                steps += [Step(press=event.keys)] if event.keys else []
            elif isinstance(event, HangsUp):
                steps.append(Step(hang_up=True))
            elif isinstance(event, IsTransferred):
                steps += [Step(hear=(f"arrived/{event.destination}.wav",)), Step(ends=True)]
            else:
                steps.append(Step(ends=True))
        if self.ahead:
            keys = "".join(step.press for step in steps)
            last = [step for step in steps if step.hear][-1]
            steps = [Step(wait=0.3), Step(press=keys), Step(hear=last.hear, cut=True), steps[-1]]
        return steps

    def parts(self, library: audio.Library) -> list[audio.Part]:
        """What the caller must have heard."""
        return [audio.Part(step.hear, step.cut) for step in self.steps(library) if step.hear]

    def _enough(self, names: Sequence[str], library: audio.Library) -> int:
        """How many recordings of a prompt the caller listens to."""
        if self.heard_s is None:
            return len(names)
        left = self.heard_s * audio.RATE_HZ
        for count, name in enumerate(names):
            left -= len(library.get(name))
            if left <= 0:
                return count + 1
        return len(names)


class Listening(ScriptedChannel):
    """A channel in a world that notes the recordings of each prompt."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        super().__init__(scenario.script, caller=scenario.caller, dialled=scenario.dialled)
        self.world = world
        self.prompts: list[tuple[str, ...]] = []

    def _hear(self, prompt: Prompt) -> None:
        super()._hear(prompt)
        self.world.heard(prompt.keys)
        self.prompts.append(
            tuple(
                name
                for phrase in prompt.phrases
                for name in CATALOGUE.recordings(phrase, phrase.language or prompt.language)
            )
        )


def recordings_of(scenario: Scenario) -> list[tuple[str, ...]]:
    """The recordings of each `hears` of a scenario, from the flow alone."""
    language = scenario.variables.get("callflows_language")
    with TemporaryDirectory(prefix="callflows-") as folder:
        world = World(Path(folder), scenario)
        channel = Listening(world, scenario)
        call = Call(
            channel, Journal(), language=language or "fa", language_set=language is not None
        )
        run(BillFlow(world.services), call)
        world.close()
    channel.done()
    return channel.prompts


def make_codes(folder: Path) -> None:
    """A sounds folder in which every recording is a short code; pauses last a third."""
    for language in CATALOGUE.languages:
        for line in CATALOGUE.script(language):
            audio.write(folder / line.key, audio.code(line.key))
    for ms in PAUSES_MS:
        frames = max(1, ms // 60)
        audio.write(folder / silence(ms), np.zeros(frames * audio.FRAME, np.float32))
    for number in ARRIVALS:
        name = f"arrived/{number}.wav"
        audio.write(folder / name, audio.code(name))


class Worlds:
    """The worker process (tests/calls/many_worlds.py)."""

    def __init__(
        self,
        folder: Path,
        port: int,
        worlds: list[dict[str, Any]],
        program: str = "tests.calls.many_worlds",
    ) -> None:
        self._errors = (folder / "worker.log").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
        )
        self._ask(json.dumps({"port": port, "folder": str(folder), "worlds": worlds}))

    def left(self, world: int) -> dict[str, Any]:
        """What the calls of a world have left."""
        answer: dict[str, Any] = json.loads(self._ask(str(world)))
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.communicate()
        self._errors.close()

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        if not answer:
            self._errors.seek(0)
            raise RuntimeError(f"the worker has ended:\n{self._errors.read()[-3000:]}")
        return answer


@dataclass
class Visited:
    """What a visit has left."""

    report: Report
    recording: audio.Samples
    sent: list[Sent]
    calls: list[dict[str, Any]] = field(default_factory=list)
    money: dict[str, Any] = field(default_factory=dict)


class Exchange:
    """The exchange with the callers of all visits under way, several at a time.

    Args:
        binary: the freeswitch program.
        folder: an empty folder.
        real: the folder of real recordings; None where no visit wants them.
        visits: the calls to make.
    """

    def __init__(
        self, binary: Path, folder: Path, real: Path | None, visits: Sequence[Visit]
    ) -> None:
        self._folder = folder
        self._visits = list(visits)
        codes = folder / "sounds"
        make_codes(codes)
        self.codes = audio.Library(codes)
        self.real = audio.Library(real) if real else self.codes
        (port,) = free_ports(1)
        (folder / "worlds").mkdir()
        self._worlds = self._made(folder / "worlds", port)
        self.switch = Freeswitch(
            binary,
            folder / "switch",
            workers=f"127.0.0.1:{port}",
            sounds=codes,
            values=self.switch_values,
        )
        self._pool = CallerPool(max(4, 3 * (os.cpu_count() or 1)))
        self._reports: dict[int, Future[Report]] = {}

    # Values of vars.xml that differ.
    switch_values: ClassVar[Mapping[str, str]] = {}

    def _made(self, folder: Path, port: int) -> Worlds:
        """The worker with the worlds of all visits."""
        worlds = [
            {
                "sounds": str(self.library(visit).folder),
                "world": {name: fields[name] for name in WORLD_FIELDS},
            }
            for visit in self._visits
            for fields in [asdict(visit.scenario)]
        ]
        return Worlds(folder, port, worlds)

    def start(self) -> None:
        """Start the switch and send the callers."""
        self.switch.start()
        # The longest first: then none is left to wait for alone at the end.
        for visit in sorted(self._visits, key=self._length, reverse=True):
            world = self._visits.index(visit)
            self._reports[world] = self._pool.start(self._errand(world, visit))

    def stop(self) -> None:
        """End all."""
        self._pool.close()
        self.switch.stop()
        self._worlds.close()

    def library(self, visit: Visit) -> audio.Library:
        """The recordings that a visit hears."""
        return self.real if visit.real else self.codes

    def hearing(self, visit: Visit) -> audio.Hearing:
        """How strictly they are compared."""
        return audio.SPEECH if visit.real else audio.CODES

    def visited(self, visit: Visit, limit_s: float) -> Visited:
        """What a visit has left; waits until it is over. Raises TimeoutError."""
        world = self._visits.index(visit)
        report = self._reports[world].result(limit_s)
        # The journal is written beside the calls, a moment after they end.
        limit = time.monotonic() + JOURNAL_S
        left = self._worlds.left(world)
        while time.monotonic() < limit and not any(call["outcome"] for call in left["calls"]):
            time.sleep(0.05)
            left = self._worlds.left(world)
        wav = self._wav(world)
        return Visited(
            report=report,
            recording=audio.read(wav) if wav.is_file() else np.zeros(0, np.float32),
            sent=[Sent(**sent) for sent in left["sent"]],
            calls=left["calls"],
            money=left.get("money", {}),
        )

    def _length(self, visit: Visit) -> int:
        """How much there is to hear, in samples."""
        library = self.library(visit)
        return sum(len(library.get(name)) for part in visit.parts(library) for name in part.names)

    def _wav(self, world: int) -> Path:
        return self._folder / f"{world}.wav"

    def _errand(self, world: int, visit: Visit) -> Errand:
        library = self.library(visit)
        return Errand(
            to=self.switch.address(visit.scenario.dialled),
            caller=visit.from_header,
            steps=visit.steps(library),
            library=library,
            hearing=self.hearing(visit),
            wav=self._wav(world),
            headers={WORLD_HEADER: str(world), **visit.headers},
        )
