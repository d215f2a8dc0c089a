"""What happens in a run, all of it chosen by its seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from callflows.scripted import Hears, Presses
from tests.calls.scenario import Scenario
from tests.calls.scenarios import SCENARIOS

# In the worker itself, so that nothing can happen between the moment and the death.
INSIDE = ("accepted", "sending", "waiting", "answered", "looking", "writing", "commit", "committed")
# From outside, while the worker does whatever it does.
OUTSIDE = ("frame", "prompt", "pause", "key", "time")
KINDS = INSIDE + OUTSIDE


@dataclass(frozen=True)
class Moment:
    """When a worker is killed: at the `count`-th event of a kind, counted over the whole call.

    Attributes:
        kind: inside the worker: "accepted" (before it says a word), "sending" a batch of commands,
            "waiting" for its answers, "answered", "looking" something up in the database,
            "writing" an order, before its "commit", when it is "committed" and not yet promised.
            From outside: at a "frame" that the switch reads, within a "prompt", in the "pause"
            after it, after a "key", at a "time" of the call.
        count: from 1.
        share: how far into a prompt (0 to 1), or into a pause or the call's time.
    """

    kind: str
    count: int
    share: float = 0.0

    def __str__(self) -> str:
        share = f" at {self.share:.2f}" if self.kind in ("prompt", "pause", "time") else ""
        return f"{self.kind} {self.count}{share}"


@dataclass(frozen=True)
class Plan:
    """A run: which call, how many workers share the port, when they are killed."""

    seed: int
    index: int
    scenario: Scenario
    workers: int
    barge: bool
    moments: tuple[Moment, ...]

    def __str__(self) -> str:
        kills = ", ".join(str(moment) for moment in self.moments)
        return (
            f"run {self.index} of seed {self.seed}: {self.scenario.title!r}, {self.workers} workers"
            f"{', barges in' if self.barge else ''}; killed at: {kills}"
        )


def plan_of(seed: int, index: int) -> Plan:
    """The plan of a run; the same seed and index give the same plan, whoever asks."""
    chance = random.Random(f"{seed}:{index}")
    scenario = chance.choice(SCENARIOS)
    kills = chance.choices((1, 2, 3), weights=(60, 30, 10))[0]
    return Plan(
        seed=seed,
        index=index,
        scenario=scenario,
        workers=chance.choice((1, 2, 2, 3)),
        barge=chance.random() < 0.25,
        moments=tuple(_moment(chance, scenario) for _ in range(kills)),
    )


def _moment(chance: random.Random, scenario: Scenario) -> Moment:
    prompts = sum(isinstance(step, Hears) for step in scenario.script)
    keys = sum(len(step.keys) for step in scenario.script if isinstance(step, Presses))
    orders = len(scenario.sent)
    most = {
        "accepted": 1,
        "sending": prompts,
        "waiting": 2 * prompts,
        "answered": prompts,
        "looking": 1,
        "writing": orders,
        "commit": orders,
        "committed": orders,
        "frame": 3 * prompts,
        "prompt": prompts,
        "pause": prompts,
        "key": keys,
        "time": 1,
    }
    kind = chance.choice([kind for kind in KINDS if most[kind]])
    return Moment(kind, chance.randint(1, most[kind]), round(chance.random(), 3))
