"""A campaign over the embedded switch's event sockets: dialer processes, a worker, subscribers.

The switch's clock is compressed, the dialers' is not: a telephone rings for milliseconds, retries
come after a second.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gevent
import pytest
from gevent import socket

from billing import campaigns, do_not_call
from billing.campaigns import Rules, Selection
from billing.clock import SystemClock
from billing.database import Database
from billing.do_not_call import OPT_OUT
from billing.journal import Journal as Store
from callflows.announce_flow import AnnounceFlow
from callflows.services import Services
from cli.metrics import BLOCKS
from esl_worker.journal import JournalWriter
from esl_worker.server import WorkerServer
from esl_worker.switch.caller import ScriptedCaller
from esl_worker.switch.clock import Clock
from esl_worker.switch.dialplan import Dialplan
from esl_worker.switch.inbound import InboundServer
from esl_worker.switch.subscribers import (
    Directory,
    Reaction,
    answers,
    busy,
    machine,
    no_answer,
    rejects,
)
from esl_worker.switch.switch import Switch
from esl_worker.worker import Worker
from sounds import load_catalogue
from tests.campaign_house import House, number

ROOT = Path(__file__).parents[2]
SPEED = 200.0
PASSWORD = "only-for-tests"
LEASE_S = 2.0
RETRIES = (
    "no_answer=2@1s,busy=3@1s,machine=1@1s,rejected=1@1s,failed=9@1s,unknown=9@1s,hung_up=1@1s"
)
CAP = 14


class Place:
    """A switch with simulated subscribers and a worker in this process; dialers in their own."""

    def __init__(self, url: str, folder: Path, count: int, react: Callable[[int], object]) -> None:
        self.url = url
        self.folder = folder
        self.database = Database(url, deadline=20.0, pool_size=20)
        self.house = House(self.database, SystemClock(), 0)
        due = (datetime.now(UTC) - timedelta(days=20)).date()
        self.house.add(
            [f"{number(place)},fixed,,,en,,,," for place in range(count)],
            [f"{number(place)},8,1405,100000,,,{due}" for place in range(count)],
        )
        self.directory = Directory(
            {number(place).lstrip("+"): react(place) for place in range(count)}  # type: ignore[misc]
        )
        self.journals = JournalWriter(Store(self.database), interval_s=0.2)
        worker = Worker(
            Services(
                desk=self.house.desk,
                clock=self.house.clock,
                announcements=self.house.announcements,
            ),
            {AnnounceFlow.name: AnnounceFlow},
            {"2001": AnnounceFlow.name},
            load_catalogue(),
            folder,
            self.journals,
        )
        self.worker = WorkerServer(("127.0.0.1", 0), worker)
        self.journals.start()
        self.worker.start()
        socket = ("socket", f"127.0.0.1:{self.worker.server_port} full")
        served = [("amd", ""), socket, socket, ("hangup", "NORMAL_TEMPORARY_FAILURE")]
        arrived = [("answer", ""), ("hangup", "NORMAL_CLEARING")]
        self.switch = Switch(
            Dialplan({"callflows_announce": [("2001", served)], "payment": [(".*", arrived)]}),
            folder,
            Clock(SPEED),
            missing_s=0.05,
            subscribers=self.directory,
        )
        self.control = InboundServer(self.switch, PASSWORD)
        self.control.start()
        self.dialers: list[subprocess.Popen[bytes]] = []

    def campaign(self, **changes: object) -> None:
        """A running campaign, by day and night."""
        rules = {
            "window": "00:00-24:00", "zone": "Asia/Tehran", "caller_id": "2000", "cps": 60.0,
            "simultaneous": 40, "ring_s": 30, "retries": RETRIES, "cap": CAP,
        }  # fmt: skip
        now = self.house.clock.now()
        campaigns.create(
            self.database,
            "all",
            Selection(10),
            Rules(**{**rules, **changes}),
            now,  # type: ignore[arg-type]
        )
        campaigns.move(self.database, "all", "start", now)

    def start_dialer(self, **more: str) -> subprocess.Popen[bytes]:
        """A dialer process of its own, as `callflows run --only dialer`."""
        clean = {key: value for key, value in os.environ.items() if "CALLFLOWS_" not in key}
        self.dialers.append(
            subprocess.Popen(
                [sys.executable, "-P", "-m", "cli.main", "run", "--only", "dialer"],
                cwd=self.folder,
                env={
                    **clean,
                    "PYTHONPATH": str(ROOT),
                    "CALLFLOWS_DATABASE_URL": self.url,
                    "CALLFLOWS_RESEND_LIMIT_S": "20",
                    "CALLFLOWS_STATE_DIR": str(self.folder),
                    "CALLFLOWS_CONTROL_ADDRESSES": f'["127.0.0.1:{self.control.server_port}"]',
                    "CALLFLOWS_CONTROL_PASSWORD": PASSWORD,
                    "CALLFLOWS_DIAL_STRING": "sofia/gateway/carrier/{e164}",
                    "CALLFLOWS_DIALER_LEASE_S": str(LEASE_S),
                    **more,
                },
                stdin=subprocess.DEVNULL,
                stderr=(self.folder / f"dialer{len(self.dialers)}.log").open("wb"),
            )
        )
        return self.dialers[-1]

    def status(self) -> str:
        """How the campaign stands."""
        return campaigns.find(self.database, "all").status

    def wait(self, done: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait for something, while the switch and the worker run."""
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, (
                self.status(),
                self.house.statuses(),
                [log.read_text()[-2000:] for log in sorted(self.folder.glob("dialer*.log"))[-2:]],
            )
            gevent.sleep(0.02)

    def progress(self) -> campaigns.Progress:
        """How far the campaign has come."""
        campaign = campaigns.find(self.database, "all")
        return campaigns.progress(self.database, campaign.id, self.house.clock.now())

    def close(self) -> None:
        """End everything that was started here."""
        for dialer in self.dialers:
            if dialer.poll() is None:
                dialer.kill()
            dialer.wait()
        self.control.shut_down()
        self.worker.drain(5.0)
        self.journals.stop()
        self.database.close()


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """Makes a place on either database."""
    places: list[Place] = []

    def make(count: int, react: Callable[[int], object]) -> Place:
        places.append(Place(database_url, tmp_path, count, react))
        return places[-1]

    yield make
    for each in places:
        each.close()


def does(*keys: str) -> Reaction:
    """Answers and presses these keys, one for each question."""
    return answers(caller=lambda: ScriptedCaller(keys))


PEOPLE: list[object] = [
    does("1"),  # to the payment system
    does("8"),  # not again
    does(""),  # listens, and lets it pass
    [busy(), does("1")],
    [no_answer(), does("1")],
    [busy(), no_answer(), busy(), does("4", "", "3")],
    machine(),
    [rejects(), rejects()],
    # 9: such a number does not exist
]


def react(place: int) -> object:
    kind = place % (len(PEOPLE) + 1)
    return PEOPLE[kind] if kind < len(PEOPLE) else Reaction("UNALLOCATED_NUMBER", 0.2)


EXPECTED = [
    (["heard"], "reached"),
    (["opted_out"], "do_not_call"),
    (["heard"], "reached"),
    (["busy", "heard"], "reached"),
    (["no_answer", "heard"], "reached"),
    (["busy", "no_answer", "busy", "heard"], "reached"),
    (["machine", "machine"], "not_reached"),
    (["rejected", "rejected"], "not_reached"),
    (["invalid"], "not_reached"),
]


def test_a_campaign_over_real_sockets(place: Callable[..., Place]) -> None:
    """Each kind of subscriber is called as the rules say; what they chose is known."""
    there = place(27, react)
    there.campaign()
    there.start_dialer()
    there.wait(lambda: there.status() == "finished")
    calls, stands = there.house.calls(), there.house.targets()
    for each in range(27):
        results, status = EXPECTED[each % 9]
        assert (calls[number(each)], stands[number(each)]) == (results, status), each
    assert len(there.directory.calls) == sum(map(len, calls.values()))
    assert len(do_not_call.numbers_of(there.database, OPT_OUT)) == 3
    there.wait(lambda: there.progress().chose == {"transfer": 9, "read": 3})
    assert there.dialers[0].poll() is None
    there.dialers[0].send_signal(signal.SIGTERM)
    assert there.dialers[0].wait(20) == 0


def test_a_campaign_in_the_metrics_of_its_dialer(place: Callable[..., Place]) -> None:
    """Who waits, who is talked with, what calls came to, and whether the switch is connected."""
    there = place(12, lambda each: Reaction(after_s=SPEED * 60))
    there.campaign(simultaneous=2, ring_s=120, retries="")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    first = port - BLOCKS["dialer"].start
    there.start_dialer(CALLFLOWS_METRICS_LISTEN=f"127.0.0.1:{first}")

    def shown(name: str) -> float | None:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as scrape:
                scrape.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                text = b"".join(iter(lambda: scrape.recv(65536), b"")).decode()
        except OSError:
            return None
        lines = (line.rpartition(" ") for line in text.splitlines())
        return next((float(value) for found, _, value in lines if found == name), None)

    there.wait(lambda: shown("callflows_campaign_calls_active") == 2)
    assert shown("callflows_campaign_numbers_pending") == 10
    switch = f'{{switch="127.0.0.1:{there.control.server_port}"}}'
    assert shown(f"callflows_switch_connected{switch}") == 1
    campaigns.move(there.database, "all", "stop", there.house.clock.now())
    there.wait(lambda: shown('callflows_campaign_calls_total{result="no_answer"}') == 2)
    assert shown("callflows_campaign_calls_active") == 0
    assert shown("callflows_campaign_numbers_pending") == 0


def test_pause_and_stop_within_a_second(place: Callable[..., Place]) -> None:
    """A second after the word no call starts any more, and after a stop none rings."""
    long = Reaction(after_s=SPEED * 30)
    there = place(120, lambda each: long)
    there.campaign(cps=20.0, simultaneous=100, ring_s=120)
    there.start_dialer()
    there.wait(lambda: len(there.directory.calls) > 10)
    campaigns.move(there.database, "all", "pause", there.house.clock.now())
    gevent.sleep(0.5)
    count = len(there.directory.calls)
    gevent.sleep(0.7)
    assert len(there.directory.calls) == count
    campaigns.move(there.database, "all", "resume", there.house.clock.now())
    there.wait(lambda: len(there.directory.calls) > count + 5)
    campaigns.move(there.database, "all", "stop", there.house.clock.now())
    there.wait(lambda: not there.switch.channels, 1.0)
    assert there.progress().live <= len(there.directory.calls)


@pytest.mark.timeout(240)
def test_killed_dialers_dial_nobody_twice_and_forget_nobody(place: Callable[..., Place]) -> None:
    """kill -9 in the middle of 270 numbers, again and again, sometimes with two dialers running:
    everybody's last call is what it would have been, and who has listened is not called again."""
    chance = random.Random(7)
    there = place(270, react)
    there.campaign()
    there.start_dialer()
    kills = 0
    while there.status() != "finished" and kills < 6:
        before = len(there.directory.calls)
        more = chance.randint(10, 60)
        there.wait(
            lambda b=before, m=more: (
                len(there.directory.calls) > b + m  # type: ignore[misc]
                or there.status() == "finished"
            )
        )
        if chance.random() < 0.3:
            there.start_dialer()
        there.dialers[-1].kill()
        kills += 1
        there.start_dialer()
    there.wait(lambda: there.status() == "finished", 120)
    assert kills >= 3
    calls, stands = there.house.calls(), there.house.targets()
    placed = Counter(there.directory.calls)
    for each in range(270):
        results, status = calls[number(each)], stands[number(each)]
        # A call that nobody knows about any more was not answered; it may never have been placed.
        assert len(results) <= CAP
        assert placed[number(each).lstrip("+")] <= len(results), (each, results)
        assert Counter(results)["heard"] <= 1
        final = {"heard": "reached", "opted_out": "do_not_call"}.get(results[-1] or "")
        assert status == (final or "not_reached"), (each, results)
        for result in results[:-1]:
            assert result not in ("heard", "opted_out", "invalid", None), (each, results)
        if each % 9 < 6:
            assert final is not None, (each, results)
