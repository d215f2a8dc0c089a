"""Calls that reserve credit and commit what they used: prints pairs a second. A worker's process.

A pair is two transactions, as it is in a call: the first holds the line's credit and writes the
reservation, the second resolves it, counts what was used and gives back the rest. Each is on the
disk before its caller gets the answer, and only then the caller goes on. Callers are greenlets, as
in a worker; each has its own line, as callers mostly have.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402
import time  # noqa: E402
from datetime import timedelta  # noqa: E402
from zoneinfo import ZoneInfo  # noqa: E402

import gevent  # noqa: E402
from sqlalchemy import Connection  # noqa: E402

from billing.clock import SystemClock  # noqa: E402
from billing.grouped import GroupedDatabase  # noqa: E402
from billing.premium.credit import Credit  # noqa: E402
from billing.schema import lines  # noqa: E402

LINES = 1000
_HELD, _USED = 5000, 4000


def open_database(url: str) -> GroupedDatabase:
    """The database as a worker opens it: SQLite commits in a thread, so that the loop goes on."""
    aside = gevent.get_hub().threadpool.apply
    return GroupedDatabase(url, deadline=30.0, pool_size=16, aside=aside)


def build(url: str) -> None:
    """A fresh database whose lines have all the credit that is needed."""
    database, clock = open_database(url), SystemClock()
    credit = Credit(database, clock, ZoneInfo("Asia/Tehran"))
    database.migrate()

    def work(conn: Connection) -> None:
        rows = [
            {
                "id": line,
                "number": f"+9821{66000000 + line}",
                "kind": "fixed",
                "language": "fa",
                "first_name": "",
                "last_name": "",
            }
            for line in range(1, LINES + 1)
        ]
        conn.execute(lines.insert(), rows)
        for line in range(1, LINES + 1):
            credit.set_standing(conn, line, 10**12, clock.now())

    database.write(work)
    database.close()


def pairs_a_second(url: str, name: str, callers: int, pairs: int) -> float:
    """So many pairs of so many callers at a time, by the wall clock."""
    database, clock = open_database(url), SystemClock()
    credit = Credit(database, clock, ZoneInfo("Asia/Tehran"))

    def pair(serial: int) -> None:
        key, line, now = f"{name}-{serial}", serial % LINES + 1, clock.now()
        until = now + timedelta(seconds=120)
        assert database.write(lambda conn: credit.reserve(conn, key, line, None, _HELD, until, now))
        database.write(lambda conn: credit.commit(conn, key, _USED, clock.now()))

    def caller(place: int) -> None:
        for serial in range(place, pairs, callers):
            pair(serial)

    database.write(lambda conn: conn.execute(lines.select().limit(1)))
    begun = time.perf_counter()
    gevent.joinall([gevent.spawn(caller, place) for place in range(callers)], raise_error=True)
    return pairs / (time.perf_counter() - begun)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        build(sys.argv[1])
        print("built", flush=True)
    else:
        print("ready", flush=True)
        sys.stdin.readline()
        rate = pairs_a_second(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        print(rate, flush=True)
