"""Calls through a worker on PostgreSQL, which is stopped and started under them.

A process of its own, because only a patched one waits for PostgreSQL as a worker does. Arguments:
the server's folder, a folder with lines.csv and bills.csv, the database's URL, the folder of
PostgreSQL's programs. Prints what the first call heard, what a second one heard during the outage,
the number of orders, and how the calls ended.
"""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402
from datetime import timedelta  # noqa: E402
from pathlib import Path  # noqa: E402

from sqlalchemy import func, select  # noqa: E402

from billing.clock import FixedClock  # noqa: E402
from billing.database import Database  # noqa: E402
from billing.desk import Desk  # noqa: E402
from billing.importing import import_bills, import_lines  # noqa: E402
from billing.journal import Journal  # noqa: E402
from billing.links import Links  # noqa: E402
from billing.schema import outbox  # noqa: E402
from callflows.services import Services  # noqa: E402
from esl_worker.switch.caller import ScriptedCaller  # noqa: E402
from tests.calls.test_scenarios_worker import Place, is_pause  # noqa: E402
from tests.calls.world import NOW  # noqa: E402
from tests.conftest import PostgresServer, _unprivileged  # noqa: E402

folder, files, url, binaries = sys.argv[1:]
server = PostgresServer(Path(binaries), Path(folder), _unprivileged())


class House:
    """What a `Place` needs of a world."""

    database = Database(url, deadline=0.5)
    clock = FixedClock(NOW)
    services = Services(
        desk=Desk(database, clock, links=Links(b"0" * 20, lifetime=timedelta(hours=1))),
        clock=clock,
    )


class Caller(ScriptedCaller):
    """A caller during whose prompts something is done; the prompt waits for it.

    `acts` are pairs of a phrase and what to do, in their order.
    """

    def __init__(self, keys, acts=()):
        super().__init__(keys)
        self._acts = list(acts)

    def heard(self, files, duration, collecting):
        super().heard(files, duration, collecting)
        if self._acts and self._acts[0][0] in self.transcript[-1].phrases.split(","):
            self._acts.pop(0)[1]()

    def phrases(self):
        return [
            "+".join(step.phrases.split(","))
            for step in self.transcript
            if step.kind == "heard" and not is_pause(step)
        ]


def call_meanwhile():
    """Another subscriber calls while the server is down."""
    channels.append(place.switch.call("2000", "02144556677", caller=second))
    channels[-1].join()


def start():
    """The server comes back."""
    server._run("pg_ctl", "-D", f"{folder}/data", "-l", f"{folder}/log", "-w", "-t", "60", "-o",
                f"-k {folder} -c listen_addresses=''", "start")  # fmt: skip


# The tests' servers may lose what they have just committed; one that is stopped at once must not.
server.execute("ALTER DATABASE postgres SET synchronous_commit = on")
House.database.migrate()
with open(f"{files}/lines.csv", encoding="utf-8") as lines:
    import_lines(House.database, lines)
with open(f"{files}/bills.csv", encoding="utf-8") as bills:
    import_bills(House.database, bills)
place = Place(House, Path(files))
channels = []
second = Caller([])
first = Caller(
    ["2", "09121234567#", "1", "2", "09121234567#", "1", "3"],
    [("confirm_number", server.stop), ("one_moment", call_meanwhile), ("ask_mobile_number", start)],
)
channels.append(place.switch.call("2000", "02188776655", caller=first))
channels[0].join()
place.close()
print(*first.phrases())
print(*second.phrases())
kinds = select(func.count()).select_from(outbox).where(outbox.c.kind == "sms.bill")
with House.database.read() as connection:
    print("orders", connection.execute(kinds).scalar_one())
journal = Journal(House.database)
print("journals", *(journal.read(each.uuid).header.outcome for each in channels))
