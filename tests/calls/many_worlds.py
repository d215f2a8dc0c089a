"""A worker process that serves the worlds of many scenarios on one port.

A scenario has lines, bills and limits of its own; a switch has one list of workers. So the caller
says in a SIP header which world a call belongs to. Everything else is the worker as it is.

Standard input: first {"port", "folder", "worlds": [{"sounds", "world": a scenario's fields}, ...]},
then the number of a world a line; the answer to each is what its call has left:
{"sent": [...], "calls": [...]}.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from dataclasses import asdict, replace  # noqa: E402
from datetime import datetime  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from gevent.fileobject import FileObjectThread  # noqa: E402

from billing.journal import Journal as Store  # noqa: E402
from callflows.bill_flow import BillFlow  # noqa: E402
from callflows.call import Call, Prompt, Timers  # noqa: E402
from callflows.journal import Journal  # noqa: E402
from esl_worker.journal import JournalWriter  # noqa: E402
from esl_worker.server import WorkerServer  # noqa: E402
from esl_worker.session import Session  # noqa: E402
from esl_worker.worker import Worker  # noqa: E402
from sounds import load_catalogue  # noqa: E402
from tests.calls.freeswitch import WORLD_HEADER  # noqa: E402
from tests.calls.scenario import Meanwhile, Scenario  # noqa: E402
from tests.calls.world import World  # noqa: E402

# Recordings of this suite are short, and so are its waits: real time passes.
TIMERS = Timers(first_digit_s=1.6, next_digit_s=0.9)
PEN_AND_PAPER_S = 1.2


class Telling(Journal):
    """A call's journal that tells its world what is heard: what happens meanwhile, happens."""

    def __init__(self, journal: Journal, world: World) -> None:
        super().__init__(leg=journal.leg, elapsed_s=journal.elapsed_s)
        self.world = world

    def heard(self, prompt: Prompt) -> None:
        """See `Journal`."""
        super().heard(prompt)
        self.world.heard(prompt.keys)


class Journals(JournalWriter):
    """The journals of a world's calls."""

    def __init__(self, store: Store, world: World) -> None:
        super().__init__(store, interval_s=0.1)
        self.world = world

    def begin(self, call: Call, at: datetime) -> None:
        """See `JournalWriter`."""
        call.journal = Telling(call.journal, self.world)
        super().begin(call, at)


class Place:
    """One world with its worker."""

    def __init__(self, folder: Path, sounds: str, world: dict[str, Any]) -> None:
        folder.mkdir()
        meanwhile = [Meanwhile(**payment) for payment in world.pop("meanwhile")]
        self.world = World(folder, Scenario("", [], meanwhile=meanwhile, **world))
        self.store = Store(self.world.database)
        self.journals = Journals(self.store, self.world)
        self.journals.start()
        self.worker = Worker(
            replace(self.world.services, pen_and_paper_s=PEN_AND_PAPER_S),
            {BillFlow.name: BillFlow},
            {"2000": "bill"},
            load_catalogue(),
            Path(sounds),
            self.journals,
            timers=TIMERS,
        )

    def left(self) -> dict[str, Any]:
        """What is there after the call; JSON."""
        return {
            "sent": [asdict(sent) for sent in self.world.sent()],
            "calls": calls_of(self.store),
        }


def calls_of(store: Store) -> list[dict[str, Any]]:
    """The journals, as JSON."""
    calls = []
    for header in store.recent():
        call = store.read(header.call_id)
        assert call is not None
        calls.append(
            {
                "id": header.call_id,
                "caller": header.caller,
                "dialled": header.dialled,
                "language": header.language,
                "outcome": header.outcome,
                "pressed": [s.data["keys"] for s in call.steps if s.kind == "pressed"],
                "heard": [s.data["phrases"] for s in call.steps if s.kind == "heard"],
            }
        )
    return calls


def main(place: Callable[..., Any] = Place) -> None:
    """Serve until standard input ends; `place` makes each world with its worker."""
    lines = FileObjectThread(sys.stdin.buffer)
    order = json.loads(lines.readline())
    folder = Path(order["folder"])
    places = [place(folder / str(n), **world) for n, world in enumerate(order["worlds"])]

    def handler(session: Session) -> None:
        world = session.connect().variable(f"sip_h_{WORLD_HEADER}")
        places[int(world or "")].worker(session)

    server = WorkerServer(("127.0.0.1", order["port"]), handler)
    server.start()
    print("ready", flush=True)
    for line in iter(lines.readline, b""):
        print(json.dumps(places[int(line)].left()), flush=True)


if __name__ == "__main__":
    main()
