"""Consultants: who is called next, never twice at once; the queue, its places and estimates."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
from sqlalchemy import insert

from billing.premium.consultants import CLAIM_S, PLACE_S, Consultants, Standing
from billing.premium.schema import consultants
from tests.charging_house import TEHRAN, House, per_minute

OPENING = datetime.fromisoformat("2026-11-28T08:00+03:30")
MORNING = [{"days": ["saturday"], "from": "08:00", "to": "12:00"}]


class Desk:
    """Services with consultants."""

    def __init__(self, database, clock):
        self.database, self.clock = database, clock
        self.house = House(database, clock)
        self.consultants = Consultants(database, clock, TEHRAN)
        self.service, self.stored = self.house.service(per_minute())

    def add(self, code, place=1, hours=(), service=None, number=None):
        with self.database.begin() as conn:
            conn.execute(
                insert(consultants).values(
                    service=service or self.service,
                    code=code,
                    number=number or f"+98210000{sum(map(ord, code)):04}",
                    place=place,
                    hours=json.dumps(list(hours)),
                    active=1,
                )
            )

    def claim(self, call_id, order="ring_order", tried=(), service=None):
        found = self.consultants.claim(service or self.service, order, call_id, tried)
        return [each.code for each in found]

    def talked(self, seconds):
        line = self.house.line(1_000_000)
        call_id = f"talk-{line}"
        self.house.connect(call_id, line, (self.service, self.stored))
        self.clock.advance(seconds)
        self.house.charging.ended(call_id, self.clock.now())


@pytest.fixture
def desk(database, clock):
    return Desk(database, clock)


def test_ring_order(desk):
    """The first in the list who is free and was not tried."""
    desk.add("b", place=2)
    desk.add("a", place=1)
    assert desk.claim("1") == ["a"]
    assert desk.claim("2") == ["b"]
    assert desk.claim("3") == []
    assert desk.claim("1", tried=["a"]) == []
    desk.consultants.free("2")
    assert desk.claim("1", tried=["a"]) == ["b"]
    assert desk.claim("3") == ["a"]


def test_all_at_once(desk):
    """Everybody who is free is claimed, and once one talks the others are free again."""
    for code in "abc":
        desk.add(code, place=ord(code))
    assert desk.claim("1", "all") == ["a", "b", "c"]
    assert desk.claim("2", "all") == []
    desk.consultants.hold("1", desk.clock.now() + timedelta(seconds=300), talking="b")
    assert desk.claim("2", "all") == ["a", "c"]
    desk.clock.advance(CLAIM_S + 1)
    assert desk.claim("3", "all") == ["a", "c"]


def test_who_has_waited_longest(desk):
    """First who has not had any call, then whose last call is longest ago."""
    for place, code in enumerate("abc"):
        desk.add(code, place=place)
    for code in "abc":
        assert desk.claim("x", "least_recent") == [code]
        desk.clock.advance(10)
        desk.consultants.free("x", talked=code)
    assert desk.claim("y", "least_recent") == ["a"]


def test_a_claim_that_nobody_renews_ends(desk):
    """A worker that died keeps nobody."""
    desk.add("a")
    assert desk.claim("1") == ["a"]
    desk.clock.advance(CLAIM_S - 1)
    assert desk.claim("2") == []
    desk.clock.advance(2)
    assert desk.claim("2") == ["a"]
    desk.consultants.free("1")
    assert desk.claim("3") == []


def test_hours(desk):
    """Nobody is called outside of the hours: Saturday morning, by the operator's clock."""
    desk.add("a", hours=MORNING)
    desk.clock.advance((OPENING - desk.clock.now()).total_seconds())
    assert desk.consultants.on_duty(desk.service) == 1
    desk.clock.advance(4 * 3600 - 1)
    assert desk.claim("1") == ["a"]
    desk.clock.advance(1)
    desk.consultants.free("1")
    assert (desk.claim("1"), desk.consultants.on_duty(desk.service)) == ([], 0)


def test_one_telephone_in_two_services(desk):
    """Who serves two services is not called by both at once."""
    other, _ = desk.house.service(per_minute())
    desk.add("a", number="+982100000001")
    desk.add("z", number="+982100000001", service=other)
    assert desk.claim("1") == ["a"]
    assert desk.claim("2", service=other) == []
    desk.consultants.free("1")
    assert desk.claim("2", service=other) == ["z"]


def test_the_queue_is_served_in_order(desk):
    """Who waits longest is served first, also before a caller who has just come."""
    desk.add("a")
    assert desk.claim("talking") == ["a"]
    for call in ("1", "2"):
        desk.consultants.join(desk.service, call)
        desk.clock.advance(1)
    desk.consultants.free("talking")
    assert desk.claim("2") == []
    assert desk.claim("new") == []
    assert desk.claim("1") == ["a"]
    desk.consultants.leave("1", "served")
    desk.consultants.free("1")
    assert desk.claim("2") == ["a"]


def test_as_many_are_served_as_are_free(desk):
    """With two free consultants the second in the queue need not wait for the first."""
    desk.add("a")
    desk.add("b", place=2)
    for call in ("1", "2", "3"):
        desk.consultants.join(desk.service, call)
        desk.clock.advance(1)
    assert desk.claim("3") == []
    assert desk.claim("2") == ["a"]
    assert desk.claim("1") == ["b"]


def test_position_and_estimate(desk):
    """By the last talks, shared by those on duty."""
    desk.add("a")
    desk.add("b", place=2)
    desk.talked(60)
    desk.talked(120)
    for call in ("1", "2", "3"):
        desk.consultants.join(desk.service, call)
        desk.clock.advance(1)
    assert desk.consultants.standing(desk.service, "1") == Standing(1, 45)
    assert desk.consultants.standing(desk.service, "3") == Standing(3, 135)
    desk.consultants.join(desk.service, "1")
    assert desk.consultants.standing(desk.service, "1").position == 1


def test_a_place_that_nobody_renews_is_no_place(desk):
    """A caller whose worker died does not keep the others waiting."""
    desk.add("a")
    desk.consultants.join(desk.service, "dead")
    desk.clock.advance(1)
    desk.consultants.join(desk.service, "1")
    assert desk.consultants.standing(desk.service, "1").position == 2
    for _ in range(3):
        desk.clock.advance(PLACE_S / 2)
        standing = desk.consultants.standing(desk.service, "1")
    assert standing.position == 1
    assert desk.consultants.lose() == 1
    assert desk.consultants.lose() == 0


def test_back_in_the_queue(desk):
    """Who has left and comes again stands at its end."""
    desk.consultants.join(desk.service, "1")
    desk.consultants.leave("1", "left")
    desk.clock.advance(1)
    desk.consultants.join(desk.service, "2")
    desk.clock.advance(1)
    desk.consultants.join(desk.service, "1")
    assert desk.consultants.standing(desk.service, "1").position == 2


def test_callers_at_once_never_get_the_same_consultant(desk, in_threads):
    """Twenty callers in the same moment, five consultants: five are served, each by another."""
    for place in range(5):
        desk.add(f"c{place}", place=place)
    found = in_threads([lambda n=n: desk.claim(f"call-{n}") for n in range(20)])
    served = [codes for codes in found if codes]
    assert sorted(served) == [[f"c{place}"] for place in range(5)], found


def test_one_telephone_in_two_services_at_once(desk, in_threads):
    """Twenty callers of two services in the same moment: the telephone rings for one of them."""
    other, _ = desk.house.service(per_minute())
    desk.add("a", number="+982100000001")
    desk.add("z", number="+982100000001", service=other)
    found = in_threads(
        [lambda n=n: desk.claim(f"call-{n}", service=other if n % 2 else None) for n in range(20)]
    )
    assert len([codes for codes in found if codes]) == 1, found
