"""A worker process that serves the worlds of many premium scenarios (see `many_worlds`)."""

from tests.calls import many_worlds  # noqa: I001 - it patches the standard library first

from pathlib import Path
from typing import Any

from billing.journal import Journal as Store
from callflows.premium.premium_flow import PremiumFlow
from esl_worker.connecting import Means
from esl_worker.worker import Worker
from sounds import load_catalogue
from tests.calls.many_worlds import TIMERS, Journals, calls_of
from tests.calls.premium_exchange import PREMIERES
from tests.calls.premium_world import PremiumWorld, Running


class Place:
    """One world with its worker."""

    def __init__(self, folder: Path, sounds: str, world: dict[str, Any]) -> None:
        folder.mkdir()
        self.world = PremiumWorld(folder, PREMIERES[world["title"]], Running())
        self.before = self._money()
        self.store = Store(self.world.database)
        self.journals = Journals(self.store, self.world)
        self.journals.start()
        self.worker = Worker(
            self.world.services,
            {PremiumFlow.name: PremiumFlow},
            {},
            load_catalogue(),
            Path(sounds),
            self.journals,
            prefixes={"909": "premium"},
            timers=TIMERS,
            means=Means(recordings_dir=folder),
        )

    def left(self) -> dict[str, Any]:
        """What is there after the call; JSON."""
        calls = calls_of(self.store)
        reasons = [
            step.data["reason"]
            for each in calls
            for call in [self.store.read(each["id"])]
            if call is not None
            for step in call.steps
            if step.kind == "event" and step.data.get("event") == "refused"
        ]
        money = {
            **{name: value - self.before[name] for name, value in self._money().items()},
            "refused": reasons,
        }
        return {"sent": [], "calls": calls, "money": money}

    def _money(self) -> dict[str, int]:
        world = self.world
        return {
            "charged": world.charged(),
            "used": world.used(),
            "held": world.held(),
            "accepted": world.accepted(),
        }


if __name__ == "__main__":
    many_worlds.main(Place)
