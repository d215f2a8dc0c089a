"""The dialer over simulated switches: pace, pause, stop, switches and databases that go away, and
dying at any moment. Nobody is dialled twice, nobody is forgotten."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import gevent
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select

from billing import campaigns, cdrs
from billing.calendars import Calendars
from billing.cdr_document import Cdr
from billing.database import Database
from billing.dialling import Dialling
from billing.errors import Unavailable
from billing.retry_rules import RESULTS
from billing.schema import campaign_calls
from esl_worker.dialer import Dialer, Timing
from esl_worker.metrics import CampaignMetrics
from esl_worker.originator import Fate, Originator, Outgoing
from tests.campaign_house import House, number
from tests.fake_switch import FakeSwitch, FastClock, Subscriber

START = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
SPEED = 600.0
# Of the campaign's clock: a tick is 3 ms of real time.
TIMING = Timing(tick_s=2.0, watch_s=10.0, idle_s=5.0)
# Ten real seconds: no slow machine loses a lease by accident.
LEASE_S = 10 * SPEED
# Where dialers die, that would be long to wait.
SHORT_LEASE_S = 40.0
RETRIES = "no_answer=2@2m,busy=3@1m,machine=1@2m,failed=3@1m,unknown=9@1m,hung_up=1@2m"

ANSWERS = Subscriber()
BUSY = Subscriber("busy", ring_s=1)
SILENT = Subscriber("no_answer", ring_s=1000)
MACHINE = Subscriber(said="machine")
HANGS_UP = Subscriber(said="", talk_s=3)
LEAVES = Subscriber(said="opted_out")
# Talks on for longer than any retry waits.
TALKS = Subscriber(talk_s=200)


class Place:
    """A house, a switch or more, and dialers that come and go."""

    def __init__(
        self,
        database: Database,
        count: int,
        plan: Callable[[str, int], Subscriber],
        switches: int = 1,
    ) -> None:
        self.clock = FastClock(START, SPEED)
        self.house = House(database, self.clock, count)
        self.switches = [
            FakeSwitch(f"switch{place}:8021", SPEED, plan, self.house.announcements)
            for place in range(switches)
        ]
        self.dialers: list[tuple[Dialer, gevent.Greenlet]] = []  # type: ignore[type-arg]

    def dialer(self, **options: object) -> Dialer:
        """A dialer that is not running."""
        name = f"dialer{len(self.dialers)}:{random.random()}"
        dialling = self.house.dialling(name, lease_s=LEASE_S, burst_s=TIMING.tick_s)
        return Dialer(
            self.house.database,
            options.get("dialling", dialling),  # type: ignore[arg-type]
            options.get("switches", self.switches),  # type: ignore[arg-type]
            self.clock,
            timing=options.get("timing", TIMING),  # type: ignore[arg-type]
            speed=SPEED,
            metrics=options.get("metrics"),  # type: ignore[arg-type]
        )

    def run(self, dialer: Dialer | None = None) -> Dialer:
        """A dialer that runs."""
        made = dialer or self.dialer()
        self.dialers.append((made, gevent.spawn(made.run)))
        return made

    def close(self) -> None:
        """Stop every dialer, and let the calls end."""
        for dialer, _ in self.dialers:
            dialer.stop()
        gevent.joinall([greenlet for _, greenlet in self.dialers], timeout=10)

    def until(self, done: Callable[[], bool], real_s: float = 30.0) -> None:
        """Wait for something."""
        deadline = time.monotonic() + real_s
        while not done():
            for _, greenlet in self.dialers:
                if greenlet.ready() and greenlet.exception is not None:
                    raise greenlet.exception
            assert time.monotonic() < deadline, (self.house.statuses(), self.house.calls())
            gevent.sleep(0.01)

    def finished(self) -> bool:
        """Whether the only campaign is."""
        return campaigns.listed(self.house.database)[0].status == "finished"


@pytest.fixture
def place(database: Database) -> Iterator[Callable[..., Place]]:
    """Makes a place on either database."""
    places: list[Place] = []

    def make(count: int, plan: Callable[[str, int], Subscriber], switches: int = 1) -> Place:
        places.append(Place(database, count, plan, switches))
        return places[-1]

    yield make
    for each in places:
        each.close()


def mixed(seed: int = 1) -> Callable[[str, int], Subscriber]:
    """Every number does something, by its digits and the seed."""

    def plan(e164: str, times: int) -> Subscriber:
        chance = random.Random(f"{seed}{e164}{times}")
        return chance.choice([ANSWERS, TALKS, BUSY, SILENT, MACHINE, HANGS_UP, LEAVES])

    return plan


def test_a_campaign_from_start_to_end(place: Callable[..., Place]) -> None:
    """Everybody is called as the rules say, and the campaign finishes by itself."""
    plans = [ANSWERS, BUSY, SILENT, MACHINE, HANGS_UP, LEAVES]
    there = place(6, lambda e164, times: plans[int(e164[-1])])
    there.house.campaign(retries=RETRIES, cap=3, sms_not_reached=True)
    there.run()
    there.until(there.finished)
    assert there.house.calls() == {
        number(0): ["heard"],
        number(1): ["busy"] * 3,  # the shared cap
        number(2): ["no_answer"] * 3,
        number(3): ["machine"] * 2,
        number(4): ["hung_up"] * 2,
        number(5): ["opted_out"],
    }
    assert there.house.statuses() == {"reached": 1, "not_reached": 4, "do_not_call": 1}
    assert len(there.house.notices()) == 4


def test_limits_hold_on_two_switches_with_two_dialers(place: Callable[..., Place]) -> None:
    """At most so many calls at a time on each switch, whoever dials; both switches are used."""
    there = place(40, lambda e164, times: ANSWERS, switches=2)
    there.house.campaign(simultaneous=10, switch_simultaneous=6)
    there.run()
    there.run()
    most = 0

    def done() -> bool:
        nonlocal most
        most = max(most, sum(switch.live for switch in there.switches))
        return there.finished()

    there.until(done)
    assert most <= 10
    for switch in there.switches:
        assert 0 < switch.most_live <= 6
    assert there.house.statuses() == {"reached": 40}
    assert all(len(calls) == 1 for calls in there.house.calls().values())


def test_the_pace_holds(place: Callable[..., Place]) -> None:
    """One call in a minute is one call in a minute."""
    there = place(5, lambda e164, times: BUSY)
    there.house.campaign(cps=1 / 60, retries="")
    there.run()
    there.until(there.finished)
    # As claimed: what a busy machine adds to a compressed clock is not the pace's.
    with there.house.database.read() as conn:
        starts = sorted(conn.execute(select(campaign_calls.c.started_at)).scalars())
    assert len(starts) == 5
    assert all(
        (later - earlier).total_seconds() >= 60 - TIMING.tick_s
        for earlier, later in pairwise(starts)
    )


def test_pause_and_resume_act_at_once(place: Callable[..., Place]) -> None:
    """No call starts later than a second after the pause; all are made after resuming."""
    there = place(60, lambda e164, times: ANSWERS)
    there.house.campaign(cps=1.0)
    there.run()
    there.until(lambda: len(there.switches[0].starts) > 3)
    campaigns.move(there.house.database, "october", "pause", there.clock.now())
    gevent.sleep(1.0 / SPEED)
    count = len(there.switches[0].starts)
    gevent.sleep(20 / SPEED)
    assert len(there.switches[0].starts) == count
    campaigns.move(there.house.database, "october", "resume", there.clock.now())
    there.until(there.finished)
    assert there.house.statuses() == {"reached": 60}


def test_stop_ends_ringing_and_leaves_talks_alone(place: Callable[..., Place]) -> None:
    """Telephones that ring stop ringing; who has answered is talked with to the end."""
    talks = Subscriber(ring_s=1, talk_s=600)
    rings = Subscriber(ring_s=1000)
    there = place(10, lambda e164, times: talks if int(e164[-1]) < 5 else rings)
    there.house.campaign(ring_s=120)
    there.run()
    there.until(lambda: there.switches[0].live == 10 and len(there.switches[0].answered) == 5)
    campaigns.move(there.house.database, "october", "stop", there.clock.now())
    there.until(lambda: there.switches[0].live == 5)
    there.until(lambda: there.switches[0].live == 0)
    gevent.sleep(20 / SPEED)
    assert len(there.switches[0].cancelled) == 5
    assert there.house.statuses()["reached"] == 5
    assert all(len(calls) == 1 for calls in there.switches[0].placed.values())


def test_a_switch_that_is_away_gets_no_calls(place: Callable[..., Place]) -> None:
    """The other one gets them; when it is back it takes part again."""
    there = place(20, lambda e164, times: ANSWERS, switches=2)
    there.switches[0].ready = False
    there.house.campaign(simultaneous=4)
    there.run()
    there.until(lambda: len(there.switches[1].starts) > 5)
    assert not there.switches[0].starts
    there.switches[0].ready = True
    there.until(there.finished)
    assert there.switches[0].starts


def test_calls_lost_from_sight_are_asked_for(place: Callable[..., Place]) -> None:
    """The connection is lost while calls go on: nobody is dialled again before the switch has
    said that the call is over, and what the conversations said counts."""

    class Blind(FakeSwitch):
        def place(self, call: Outgoing, on_answer: object, on_fate: Callable[[Fate], None]) -> None:
            super().place(call, lambda call_id: None, lambda fate: None)
            self.away = True
            on_fate(Fate(call.call_id, answered=False, result=None))

    there = place(4, lambda e164, times: ANSWERS if int(e164[-1]) < 2 else SILENT)
    old = there.switches[0]
    blind = Blind(old.name, SPEED, old.plan, old.announcements)
    there.switches[0] = blind
    there.house.campaign(retries="", simultaneous=4)
    there.run()
    there.until(lambda: len(blind.starts) == 4)
    there.until(lambda: blind.live == 0)
    assert there.house.statuses() == {"dialling": 4}
    blind.away = False
    there.until(there.finished)
    assert there.house.calls() == {
        number(0): ["heard"], number(1): ["heard"], number(2): ["unknown"], number(3): ["unknown"],
    }  # fmt: skip
    assert len(blind.starts) == 4


def recorded(call_id: str, now: datetime, cause: str, *, answered: bool = False) -> Cdr:
    """The switch's record of a call that ends now."""
    return Cdr(
        uuid=call_id, core_uuid="core", leg="a", switch="switch0", direction="outbound",
        caller=None, dialled=None, started_at=now, answered_at=now if answered else None,
        ended_at=now, billsec=0, hangup_cause=cause, hung_up_by=None, flow=None, offered=answered,
        handovers=(), raw="{}", digest=call_id,
    )  # fmt: skip


def test_records_tell_what_nobody_watched(place: Callable[..., Place]) -> None:
    """The dialer died while telephones rang: the switch's call records say what the calls came
    to, also one that comes a little late; without one nothing is known. What a conversation wrote
    comes before its record."""
    there = place(5, lambda e164, times: ANSWERS if int(e164[-1]) == 4 else SILENT)
    switch, database = there.switches[0], there.house.database
    there.house.campaign(retries="", simultaneous=5)
    dead = there.house.dialling("dead", lease_s=SHORT_LEASE_S)
    (campaign,) = campaigns.listed(database)
    calls = {}
    for dial in dead.claim(campaign, switch.name, there.clock.now()).dials:
        calls[dial.number] = dial.call_id
        switch.place(
            Outgoing(dial.call_id, dial.number, "2000", 30), lambda _: None, lambda _: None
        )
    assert len(calls) == 5

    def record(place: int, cause: str, *, answered: bool = False) -> None:
        now = there.clock.now()
        cdrs.store(database, recorded(calls[number(place)], now, cause, answered=answered), now)

    there.until(lambda: switch.live == 0)
    record(0, "USER_BUSY")
    record(1, "NORMAL_CLEARING", answered=True)
    record(4, "NORMAL_CLEARING", answered=True)
    registry = CollectorRegistry()
    there.run(there.dialer(metrics=CampaignMetrics(registry)))
    there.until(lambda: there.house.calls()[number(0)] == ["busy"])
    assert there.house.calls()[number(2)] == [None]
    record(2, "CALL_REJECTED")
    there.until(there.finished)
    assert there.house.calls() == {
        number(0): ["busy"],
        number(1): ["failed"],
        number(2): ["rejected"],
        number(3): ["unknown"],
        number(4): ["heard"],
    }
    counted = {
        result: registry.get_sample_value("callflows_campaign_calls_total", {"result": result})
        for result in RESULTS
    }
    assert {result: count for result, count in counted.items() if count} == {
        "busy": 1, "failed": 1, "rejected": 1, "unknown": 1, "heard": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("running_s", "result"), [(1.0, "failed"), (10_000.0, "hung_up"), (None, "hung_up")]
)
def test_a_switch_that_was_started_after_a_call(
    place: Callable[..., Place], running_s: float | None, result: str
) -> None:
    """Nobody saw an answered call end, and there is no record: where the switch is younger than
    the call, it died with it, and the subscriber has not hung up."""
    there = place(1, lambda e164, times: HANGS_UP)
    there.house.campaign(retries="")
    dead = there.house.dialling("dead", lease_s=SHORT_LEASE_S)
    (campaign,) = campaigns.listed(there.house.database)
    (dial,) = dead.claim(campaign, there.switches[0].name, there.clock.now()).dials
    there.house.announcements.answered(dial.call_id)
    there.switches[0].running_s = running_s
    there.run()
    there.until(there.finished)
    assert there.house.calls() == {number(0): [result]}


def test_a_switch_that_dies_under_a_watched_call(place: Callable[..., Place]) -> None:
    """The control connection tells of another switch process: answered, not heard, and failed."""

    class Dies(FakeSwitch):
        def place(
            self,
            call: Outgoing,
            on_answer: Callable[[str], None],
            on_fate: Callable[[Fate], None],
        ) -> None:
            self.announcements.answered(call.call_id)
            on_answer(call.call_id)
            on_fate(Fate(call.call_id, answered=True, result=None, cut=True))

    there = place(1, lambda e164, times: ANSWERS)
    old = there.switches[0]
    there.switches[0] = Dies(old.name, SPEED, old.plan, old.announcements)
    there.house.campaign(retries="failed=1@1m")
    there.run()
    there.until(there.finished)
    assert there.house.calls() == {number(0): ["failed"] * 2}


def test_a_record_is_believed_while_its_switch_is_away(place: Callable[..., Place]) -> None:
    """A call with a record is over, whoever cannot be asked."""
    there = place(1, lambda e164, times: SILENT)
    there.house.campaign(retries="")
    dead = there.house.dialling("dead", lease_s=SHORT_LEASE_S)
    (campaign,) = campaigns.listed(there.house.database)
    (dial,) = dead.claim(campaign, there.switches[0].name, there.clock.now()).dials
    there.switches[0].away, there.switches[0].ready = True, False
    now = there.clock.now()
    cdrs.store(there.house.database, recorded(dial.call_id, now, "NO_ANSWER"), now)
    there.run()
    there.until(there.finished)
    assert there.house.calls() == {number(0): ["no_answer"]}


def test_a_calendar_that_ends_pauses_the_campaign(
    place: Callable[..., Place], tmp_path: Path
) -> None:
    """Operations see why; other campaigns go on."""
    (tmp_path / "iran.yaml").write_text(
        "name: Iran\nweekend: [friday]\nyears: [2025]\nholidays: {}\n"
    )
    there = place(3, lambda e164, times: ANSWERS)
    there.house.campaign("bad")
    there.house.campaign("good", calendar=None)
    dialling = Dialling(there.house.database, Calendars(tmp_path).get, "d", burst_s=TIMING.tick_s)
    there.run(there.dialer(dialling=dialling))
    find = campaigns.find
    there.until(lambda: find(there.house.database, "good").status == "finished")
    bad = find(there.house.database, "bad")
    assert bad.status == "paused"
    assert "covers 2025, not 2026" in (bad.reason or "")


def test_a_database_that_is_away_is_waited_for(
    place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What calls came to meanwhile is written when it is back."""
    there = place(6, lambda e164, times: BUSY)
    there.house.campaign(retries="", cps=1.0)
    away = False
    real = there.house.database.write

    def write(work: Callable[..., object]) -> object:
        if away:
            raise Unavailable("locked")
        return real(work)

    monkeypatch.setattr(there.house.database, "write", write)
    there.run()
    there.until(lambda: len(there.switches[0].starts) > 1)
    away = True
    there.until(lambda: there.switches[0].live == 0)
    gevent.sleep(100 / SPEED)
    away = False
    there.until(there.finished)
    assert there.house.calls() == {number(place): ["busy"] for place in range(6)}


def test_a_dialer_that_stops_waits_for_ringing_telephones(place: Callable[..., Place]) -> None:
    """What they come to is written; talks are handed to the next dialer at once."""
    talks = Subscriber(ring_s=1, talk_s=200)
    rings = Subscriber("no_answer", ring_s=25)
    there = place(4, lambda e164, times: talks if int(e164[-1]) < 2 else rings)
    there.house.campaign(retries="", cap=1)
    dialer = there.run()
    there.until(lambda: len(there.switches[0].answered) == 2 and there.switches[0].live == 4)
    dialer.stop()
    there.dialers[-1][1].join(timeout=5)
    assert dialer.drain(10.0) == 2
    assert [there.house.calls()[number(place)] for place in (2, 3)] == [["no_answer"]] * 2
    there.run()
    there.until(there.finished)
    assert there.house.statuses() == {"reached": 2, "not_reached": 2}
    assert len(there.switches[0].starts) == 4


# -- dying at any moment --------------------------------------------------------------------------


class Killed(BaseException):
    """The process has been killed: nothing of it runs any more."""


class Deadly:
    """Stands before what a dialer uses, and kills it at its n-th step, before or after it."""

    def __init__(self, steps: int, after: bool) -> None:
        self.left = steps
        self.after = after
        self.dead = False

    def around(self, thing: object) -> object:
        """The same thing, deadly."""
        deadly = self

        class Around:
            def __getattr__(self, name: str) -> object:
                value = getattr(thing, name)
                if not callable(value):
                    return value

                def call(*args: object, **kwargs: object) -> object:
                    deadly.step(before=True)
                    answer = value(*map(deadly.muted, args), **kwargs)
                    deadly.step(before=False)
                    return answer

                return call

        return Around()

    def muted(self, argument: object) -> object:
        """Callbacks do not reach a dead process."""
        if not callable(argument):
            return argument
        return lambda *args: None if self.dead else argument(*args)

    def step(self, *, before: bool) -> None:
        """One step more; perhaps the last."""
        if self.dead:
            raise Killed
        if before == self.after:
            return
        self.left -= 1
        if self.left <= 0:
            self.dead = True
            raise Killed


def check_nobody_twice_and_nobody_forgotten(there: Place, cap: int) -> None:
    """What must be true after a campaign, whatever died in it."""
    assert [switch.overlaps for switch in there.switches] == [[]] * len(there.switches)
    house = there.house
    calls = house.calls()
    stands = house.targets()
    assert set(stands.values()) <= {"reached", "not_reached", "do_not_call"}
    for e164, status in stands.items():
        placed = [call for switch in there.switches for call in switch.placed.get(e164, [])]
        results = calls[e164]
        assert len(placed) == len(set(placed)) <= len(results) <= cap, (e164, results)
        assert None not in results
        ended = {"heard": "reached", "opted_out": "do_not_call"}
        # Who was told is not called again; who was not told was called as often as rules allow.
        for result in results[:-1]:
            assert result not in ended, (e164, results)
        assert ended.get(results[-1] or "", "not_reached") == status, (e164, results)
        heard = [result for result in results if result in (*ended, "machine", "hung_up")]
        answered = [call for switch in there.switches for call in switch.answered.get(e164, [])]
        # No answered call is forgotten.
        assert len(answered) == len(heard), (e164, results)


@pytest.mark.parametrize("seed", range(8))
def test_killed_at_any_moment(seed: int, tmp_path: Path, migrated_sqlite: Path) -> None:
    """Dialers die before and after their database and switch steps, two at a time: every line
    ends as the rules say, no call is placed twice, nobody who was told is called again."""
    chance = random.Random(seed)
    url = f"sqlite:///{tmp_path / 'test.db'}"
    (tmp_path / "test.db").write_bytes(migrated_sqlite.read_bytes())
    database = Database(url, deadline=20.0)
    there = Place(database, 25, mixed(seed), switches=2)
    cap = 12
    there.house.campaign(retries=RETRIES, cap=cap, simultaneous=15, cps=2.0)
    lives = [0]

    def life(_: int) -> None:
        while not there.finished():
            lives[0] += 1
            deadly = Deadly(chance.randint(1, 60), chance.random() < 0.5)
            if lives[0] > 24:
                deadly.left = 10**9  # enough died: the rest is to come to an end
            name = f"dialer{lives[0]}"
            dialling = there.house.dialling(name, lease_s=SHORT_LEASE_S, burst_s=TIMING.tick_s)
            switches: list[Originator] = [
                deadly.around(switch)
                for switch in there.switches  # type: ignore[misc]
            ]
            dialer = there.dialer(dialling=deadly.around(dialling), switches=switches)
            try:
                while not there.finished():
                    dialer.step()
                    gevent.sleep(TIMING.tick_s / SPEED)
            except Killed:
                gevent.sleep(chance.random() * 60 / SPEED)

    greenlets = [gevent.spawn(life, each) for each in range(2)]
    gevent.joinall(greenlets, timeout=60, raise_error=True)
    assert all(greenlet.ready() for greenlet in greenlets), there.house.calls()
    assert lives[0] > 5
    check_nobody_twice_and_nobody_forgotten(there, cap)
    database.close()
