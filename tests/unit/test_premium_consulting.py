"""Callers and consultants: ring order, nobody there, queues, hanging up, taken over."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from sqlalchemy import insert, select

from billing.premium.consultants import Consultants
from billing.premium.schema import consultants, queue_places
from callflows.call import Call
from callflows.flow import Flow, place_of, restore, state
from callflows.journal import Journal
from callflows.premium.consulting import ConsultantStates
from callflows.premium.meter import Meter
from callflows.runner import run
from callflows.scripted import HangsUp, IsHungUp, ScriptedChannel, hears, talks_to, waits
from esl_worker.session import ConnectionLost
from sounds import Phrase
from tests.charging_house import TEHRAN, House, per_minute

CALL = "00000000-0000-4000-8000-000000000001"
END = [hears("anything_else"), IsHungUp()]


@dataclass
class Service:
    """As the flow sees it."""

    id: int
    order: str = "ring_order"

    @property
    def names(self):
        return {"fa": "مشاوره"}

    def language(self, _):
        return "fa"

    def recording(self, part, language):
        return f"services/9091/1/{language}/{part}.wav"


class Consultation(ConsultantStates, Flow):
    """Connects, and says one word afterwards."""

    name = "consultation"

    def __init__(self, room):
        super().__init__()
        self.room = room
        self.how = None

    @state(initial=True)
    def begin(self, call):
        if self.room.costs_already:
            self.meter.connect()
        return self.consult

    @state
    def after(self, call):
        call.say(Phrase("anything_else"))
        return

    @property
    def service(self):
        return self.room.service

    @property
    def meter(self):
        return self.room.meter

    @property
    def consultants(self):
        return self.room.consultants

    @property
    def charging(self):
        return self.room.house.charging

    def earlier_calls(self, call):
        return 3

    def consulted(self, call, how):
        self.how = how
        return self.after


class Room:
    """A service with consultants, and a call that was begun."""

    def __init__(self, database, clock, script, codes="a", *, credit=600_000, costs_already=False):
        self.clock, self.database = clock, database
        self.house = House(database, clock)
        self.consultants = Consultants(database, clock, TEHRAN)
        service, self.stored = self.house.service(per_minute())
        self.service = Service(service)
        self.costs_already = costs_already
        for place, code in enumerate(codes):
            self.add(code, place)
        self.line = self.house.line(credit)
        granted = self.house.begin(CALL, self.line, (service, self.stored))
        self.channel = ScriptedChannel(script, call_id=CALL, clock=clock)
        self.call = Call(self.channel, Journal())
        self.meter = self.new_meter()
        self.meter.prepare(granted)
        self.flow = Consultation(self)

    def new_meter(self):
        def warning(left):
            return Phrase("premium_credit_warning", left=left)

        return Meter(self.call, self.house.charging, self.clock, warning)

    def add(self, code, place, hours=()):
        with self.database.begin() as conn:
            conn.execute(
                insert(consultants).values(
                    service=self.service.id,
                    code=code,
                    number=f"+9821000000{ord(code):02}",
                    place=place,
                    hours=json.dumps(list(hours)),
                    active=1,
                )
            )

    def run(self):
        outcome = run(self.flow, self.call)
        self.channel.done()
        return outcome, self.flow.how

    @property
    def charged(self):
        found = self.house.charging.standing(CALL)
        return found.status, found.seconds

    @property
    def claims(self):
        with self.database.read() as conn:
            query = select(consultants.c.code).where(consultants.c.call_id.is_not(None))
            return list(conn.scalars(query))

    @property
    def place(self):
        with self.database.read() as conn:
            return conn.scalar(select(queue_places.c.outcome))


@pytest.fixture
def room(database, clock):
    return lambda script, codes="a", **options: Room(database, clock, script, codes, **options)


def test_the_first_consultant_takes_the_call(room):
    """Nothing costs before the two talk; afterwards the consultant is free again."""
    found = room([hears("consulting_connecting"), talks_to("a", by="a", seconds=90), *END], "ab")
    assert found.run() == ("completed", "talked")
    assert found.charged == ("charged", 90)
    assert found.claims == []


def test_the_next_one_is_called_where_one_does_not_answer(room):
    """In the order of the list; a busy telephone and one that rings out are alike."""
    found = room(
        [
            hears("consulting_connecting"),
            talks_to("a", cause="USER_BUSY"),
            talks_to("b", cause="NO_ANSWER", rings_s=25),
            talks_to("c", by="c", seconds=10),
            *END,
        ],
        "abc",
    )
    assert found.run() == ("completed", "talked")
    assert found.charged == ("charged", 10)


def test_all_are_called_at_once(room):
    """The others are free for other callers as soon as one talks."""
    found = room([hears("consulting_connecting"), talks_to("a", "b", by="b"), *END], "ab")
    found.service.order = "all"
    seen = []
    hold = found.consultants.hold
    found.consultants.hold = lambda *args: (hold(*args), seen.append(found.claims))
    assert found.run() == ("completed", "talked")
    assert seen[0] == ["b"]


def test_nobody_answers(room):
    """Everybody is called twice; then the caller is told, and nothing was charged."""
    found = room(
        [
            hears("consulting_connecting"),
            *(talks_to(code, cause="NO_ANSWER") for code in "abab"),
            hears("consulting_busy", "anything_else"),
            IsHungUp(),
        ],
        "ab",
    )
    assert found.run() == ("completed", "busy")
    assert found.charged[0] == "begun"
    assert found.claims == []


def test_nobody_works_at_this_hour(room):
    """The caller is told at once."""
    found = room([hears("consulting_closed", "anything_else"), IsHungUp()], "")
    assert found.run() == ("completed", "closed")


def test_the_end_of_the_credit_ends_the_talk(room):
    """To the second that is paid for."""
    found = room(
        [hears("consulting_connecting"), talks_to("a", by="a", seconds=900), *END], credit=12_000
    )
    assert found.run() == ("completed", "time_over")
    assert found.charged == ("charged", 120)


def test_a_queue_with_its_place(room):
    """Position and time are said each half minute, music between; waiting is not charged."""
    found = room(
        [
            hears("consulting_busy", "consulting_queue"),
            waits(30),
            hears("consulting_queue"),
            waits(30),
            hears("consulting_connecting"),
            talks_to("a", by="a", seconds=30),
            *END,
        ]
    )
    found.consultants.claim(found.service.id, "ring_order", "other")
    done = found.clock.advance

    def free_later(seconds):
        moment = done(seconds)
        if found.channel.position == 4:
            found.consultants.free("other")
        return moment

    found.clock.advance = free_later
    assert found.run() == ("completed", "talked")
    assert found.charged == ("charged", 30)
    assert found.place == "served"


def test_the_caller_leaves_the_queue(room):
    """With the star key; the call goes on elsewhere."""
    found = room([hears("consulting_busy", "consulting_queue"), waits(7, "*"), *END])
    found.consultants.claim(found.service.id, "ring_order", "other")
    assert found.run() == ("completed", "left")
    assert (found.place, found.claims) == ("left", ["a"])


def test_the_caller_hangs_up_in_the_queue(room):
    """The place is free at once."""
    found = room([hears("consulting_busy", "consulting_queue"), waits(7), HangsUp()])
    found.consultants.claim(found.service.id, "ring_order", "other")
    assert found.run()[0] == "caller_gone"
    assert found.place == "left"


def test_nobody_waits_for_ever(room):
    """After the longest time the caller is told."""
    rounds = [step for _ in range(29) for step in (hears("consulting_queue"), waits(30))]
    found = room(
        [
            hears("consulting_busy", "consulting_queue"),
            waits(30),
            *rounds,
            hears("consulting_waited", "anything_else"),
            IsHungUp(),
        ]
    )
    found.consultants.claim(found.service.id, "ring_order", "other")
    found.consultants.hold("other", found.clock.now().replace(year=2030))
    assert found.run() == ("completed", "waited")


def test_in_a_content_that_costs_nobody_waits(room):
    """There the caller is told and goes on; the talk is within the content's time."""
    found = room(
        [hears("consulting_busy", "anything_else"), IsHungUp()],
        costs_already=True,
    )
    found.consultants.claim(found.service.id, "ring_order", "other")
    assert found.run() == ("completed", "busy")
    assert found.charged[0] == "connected"


def test_a_talk_within_a_content(room):
    """The content goes on to cost afterwards."""
    found = room(
        [hears("consulting_connecting_charged"), talks_to("a", by="a", seconds=20), *END],
        costs_already=True,
    )
    assert found.run() == ("completed", "talked")
    assert found.charged[0] == "connected"


@pytest.mark.parametrize(
    "script",
    [
        [hears("consulting_connecting"), HangsUp()],
        [hears("consulting_connecting"), talks_to("a", by="a"), HangsUp()],
        [hears("consulting_connecting"), talks_to("a", by="a", seconds=9, caller_ends=True)],
    ],
    ids=["in the sentence", "while it rings", "in the talk"],
)
def test_the_caller_hangs_up(room, script):
    """At every moment: the consultant is free again, and only a talk is charged."""
    found = room(script)
    assert found.run()[0] == "caller_gone"
    assert found.claims == []
    talked = getattr(script[1], "caller_ends", False)
    assert found.charged == (("charged", 9) if talked else ("begun", None))


@pytest.mark.parametrize("where", ["bridge", "wait"])
def test_a_lost_connection_gives_nothing_back(room, where):
    """The call may go on, and the talk with it: who takes over gives back."""
    waiting = where == "wait"
    said = ("consulting_busy", "consulting_queue") if waiting else ("consulting_connecting",)
    found = room([hears(*said)])
    if waiting:
        found.consultants.claim(found.service.id, "ring_order", "other")

    def lost(*_):
        raise ConnectionLost("reset by peer", "unconfirmed")

    setattr(found.channel, where, lost)
    assert found.run()[0] == "caller_gone"
    assert found.claims == ["a"]
    assert found.place is None


@pytest.mark.parametrize("name", ["consult", "ring", "queue"])
def test_taken_over(room, name):
    """Another worker goes on in the same state, with what was claimed."""
    script = {
        "consult": [hears("consulting_connecting"), talks_to("a", by="a", seconds=5), *END],
        "ring": [hears("consulting_connecting"), talks_to("a", by="a", seconds=5), *END],
        "queue": [
            hears("consulting_queue"),
            hears("consulting_connecting"),
            talks_to("a", by="a", seconds=5),
            *END,
        ],
    }[name]
    found = room(script)
    if name == "ring":
        (anna,) = found.consultants.claim(found.service.id, "ring_order", CALL)
        found.flow.context = {"claimed": [[anna.id, anna.code, anna.number]], "within": False}
    place = place_of(found.flow, name, "fa")
    again = found.flow = Consultation(found)
    found.meter = found.new_meter()
    found.meter.resume()
    assert run(again, found.call, restore(again, found.call, place)) == "completed"
    found.channel.done()
    assert found.charged == ("charged", 5)


def test_the_whisper_knows_the_caller(room):
    """How often the line has called, and the key that takes the call; no number, no name."""
    found = room([])
    claimed = found.consultants.claim(found.service.id, "ring_order", CALL)
    (leg,) = found.flow._consultant_legs(SimpleNamespace(), claimed)
    assert [phrase.key for phrase in leg.whisper] == ["whisper_returning", "whisper_accept"]
    assert leg.whisper[0].slots["calls"] == 3
