"""The exchange of `exchange.py` for premium calls: callers whose numbers a trunk asserts.

Real time passes in these worlds: a content that takes a minute at the other heights takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from callflows.call import Call
from callflows.journal import Journal
from callflows.premium.premium_flow import PremiumFlow
from callflows.runner import run
from callflows.scripted import TalksTo, Waits
from sounds import load_catalogue
from tests.calls import audio
from tests.calls.exchange import Exchange, Visit, Worlds
from tests.calls.premium_scenarios import SCENARIOS
from tests.calls.premium_world import CONTENT_S, Line, Premiere, PremiumWorld

CATALOGUE = load_catalogue()
PREMIERES = {premiere.title: premiere for premiere in SCENARIOS}
# Consultants and ends of credits have tests of their own; only a dialplan can make an identity up.
SPOKEN = [
    premiere
    for premiere in SCENARIOS
    if not premiere.timed
    and premiere.identity in ("asserted", None)
    and not any(isinstance(step, Waits | TalksTo) for step in premiere.script)
]
MINUTE = 6000


def in_real_time(premiere: Premiere) -> int:
    """What a premiere costs whose content takes seconds: a price per call, or the first minute."""
    return (
        premiere.costs
        if premiere.service.get("tariffs", [{}])[0].get("model") == ("per_call")
        else min(premiere.costs, MINUTE)
    )


class Brief(Line):
    """A caller whose content takes seconds, as its recordings at this height do."""

    def _pass(self, seconds: int) -> None:
        super()._pass(1 if seconds == CONTENT_S else seconds)


@dataclass(frozen=True)
class PremiumVisit(Visit):
    """One caller of a premium service."""

    scenario: Premiere  # type: ignore[assignment]

    @property
    def headers(self) -> dict[str, str]:
        """The trunk vouches for the caller's number, or does not."""
        premiere = self.scenario
        if premiere.identity is None or premiere.caller == "anonymous":
            return {}
        return {"P-Asserted-Identity": f"<sip:{premiere.caller}@127.0.0.1>"}

    @cached_property
    def prompts(self) -> list[tuple[str, ...]]:
        """The recordings of each `hears`, from the flow alone."""
        with TemporaryDirectory(prefix="callflows-") as folder:
            world = PremiumWorld(Path(folder), self.scenario)
            channel = Brief(world, self.scenario.script)
            run(PremiumFlow(world.services), Call(channel, Journal(), language="fa"))
            world.close()
        channel.done()
        return [
            tuple(
                name
                for phrase in prompt.phrases
                for name in CATALOGUE.recordings(phrase, phrase.language or prompt.language)
            )
            for prompt in channel.heard
        ]


class PremiumExchange(Exchange):
    """An exchange for premium services, whose trunk is trusted for the numbers that it asserts."""

    switch_values: ClassVar[Mapping[str, str]] = {"callflows_from_trunks": "192.0.2.1/32"}

    def _made(self, folder: Path, port: int) -> Worlds:
        for visit in self._visits:
            for name in {name for names in visit.prompts for name in names}:
                path = self.codes.folder / name
                if not path.is_file():
                    audio.write(path, audio.code(name))
        worlds = [
            {"sounds": str(self.codes.folder), "world": {"title": visit.scenario.title}}
            for visit in self._visits
        ]
        return Worlds(folder, port, worlds, "tests.calls.premium_worlds")
