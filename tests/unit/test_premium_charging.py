"""Premium calls' money while they run: reserved ahead, charged at the end, never over, once."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from billing.clock import FixedClock
from billing.database import Database
from billing.errors import KeyConflict
from billing.premium.charging import Charged, Charging, UnknownCall
from billing.premium.credit import CreditView
from billing.premium.schema import owner_approvals
from billing.premium.slices import Grant, Refused
from billing.premium.tariffs import Band, add
from billing.schema import outbox
from tests.charging_house import TEHRAN, House, per_call, per_minute

SECOND = timedelta(seconds=1)
MONTH = 140508


@pytest.fixture
def house(database: Database, clock: FixedClock) -> House:
    """The operator."""
    return House(database, clock)


def posts(house: House) -> list[str]:
    """The calls whose charges are to be posted."""
    with house.database.read() as conn:
        rows = conn.execute(select(outbox.c.payload).where(outbox.c.kind == "post_charge"))
        return [json.loads(row.payload)["call"] for row in rows]


def test_a_call_from_begin_to_charge(house: House, clock: FixedClock) -> None:
    """A slice is held, extended, and at the end what was used is used and the rest given back."""
    line, service = house.line(100_000), house.service()
    granted = house.begin("a", line, service)
    assert granted == Grant(clock.now() + 120 * SECOND, False, 120, 12_000)
    assert house.standing("a").status == "begun"
    clock.advance(30)
    start = clock.now()
    assert house.charging.connected("a", start) == Grant(start + 120 * SECOND, False, 120, 12_000)
    clock.advance(90)
    assert house.charging.extend("a") == Grant(start + 240 * SECOND, False, 240, 24_000)
    assert house.view(line) == CreditView(MONTH, 100_000, 0, 24_000)
    clock.advance(60)
    assert house.charging.ended("a", clock.now()) == Charged(150, 18_000)
    assert house.view(line) == CreditView(MONTH, 100_000, 18_000, 0)
    standing = house.standing("a")
    assert (standing.status, standing.seconds, standing.amount) == ("charged", 150, 18_000)
    assert posts(house) == ["a"]


def test_everything_said_again_changes_nothing(house: House, clock: FixedClock) -> None:
    """Each step, repeated by another worker, gives the same and costs nothing more."""
    line, service = house.line(100_000), house.service()
    first = house.begin("a", line, service)
    assert house.begin("a", line, service) == first
    assert house.charging.waiting("a") == first
    start = clock.now()
    granted = house.charging.connected("a", start)
    clock.advance(10)
    again = house.charging.connected("a", clock.now())
    assert house.standing("a").connected_at == start, "the first word stands"
    assert isinstance(again, Grant)
    assert again.until == start + 180 * SECOND, "covered to a slice from now, in whole minutes"
    assert house.charging.extend("a") == house.charging.extend("a") == again
    assert house.begin("a", line, service) == again, "also to a worker that begins at the beginning"
    assert granted.until < again.until
    charged = house.charging.ended("a", clock.now())
    clock.advance(1000)
    assert house.charging.ended("a", clock.now()) == charged == Charged(10, 6000)
    house.charging.abandoned("a", "caller gone")
    assert house.charging.sweep() == []
    assert house.view(line) == CreditView(MONTH, 100_000, 6000, 0)
    assert posts(house) == ["a"]
    over = house.charging.extend("a")
    assert (over.seconds, over.final) == (0, True), "nothing is granted to a call that is over"
    with pytest.raises(KeyConflict):
        house.begin("a", line, service)


def test_a_balance_of_exactly_the_price_is_enough(house: House, clock: FixedClock) -> None:
    """The last rial is spent, and ends the call exactly there; one rial less is no beginning."""
    line, service = house.line(6000), house.service()
    granted = house.connect("a", line, service)
    assert granted == Grant(clock.now() + 60 * SECOND, True, 60, 6000)
    clock.advance(45)
    assert house.charging.extend("a") == granted
    clock.advance(15)
    assert house.charging.ended("a", clock.now()) == Charged(60, 6000)
    assert house.view(line) == CreditView(MONTH, 6000, 6000, 0)
    assert house.begin("b", line, service) == Refused("no_credit")
    poor = house.line(5999)
    assert house.begin("c", poor, service) == Refused("no_credit")
    assert house.view(poor) == CreditView(MONTH, 5999, 0, 0)
    assert house.charging.standing("c") is None, "a refusal writes nothing"


def test_the_end_of_the_credit_is_final(house: House, clock: FixedClock) -> None:
    """Less than a slice is reserved where the credit reaches no further, and that is final."""
    line, service = house.line(20_000), house.service()
    assert house.begin("a", line, service) == Grant(clock.now() + 120 * SECOND, False, 120, 12_000)
    start = clock.now()
    house.charging.connected("a", start)
    clock.advance(100)
    assert house.charging.extend("a") == Grant(start + 180 * SECOND, True, 180, 18_000)
    # What comes back meanwhile (another call's rest) may still be used.
    with house.database.begin() as conn:
        house.credit.set_standing(conn, line, 40_000, clock.now())
    assert house.charging.extend("a") == Grant(start + 240 * SECOND, False, 240, 24_000)


def test_a_late_end_never_costs_more_than_is_held(house: House, clock: FixedClock) -> None:
    """Whatever keeps the end from being said in time, the caller pays what was reserved at most."""
    line, service = house.line(100_000), house.service()
    house.connect("a", line, service)
    clock.advance(5000)
    assert house.charging.ended("a", clock.now()) == Charged(120, 12_000)


def test_no_call_is_longer_than_the_longest(database: Database, clock: FixedClock) -> None:
    """At the longest call everything ends, however much credit there is."""
    house = House(database, clock, slice_s=120, longest_call_s=150)
    line, service = house.line(1_000_000), house.service()
    granted = house.connect("a", line, service)
    assert not granted.final
    clock.advance(100)
    start = house.standing("a").connected_at
    assert start is not None
    assert house.charging.extend("a") == Grant(start + 150 * SECOND, True, 150, 18_000)


def test_unmetered_the_first_slice_is_all(database: Database, clock: FixedClock) -> None:
    """With a slice as long as the longest call, the first grant is the last."""
    house = House(database, clock, slice_s=7200)
    line, service = house.line(60_000), house.service()
    assert house.begin("a", line, service) == Grant(clock.now() + 600 * SECOND, True, 600, 60_000)


def test_per_call_is_held_once_and_final(house: House, clock: FixedClock) -> None:
    """A call that costs once is granted to the longest call, and charged once."""
    line, service = house.line(20_000), house.service(per_call(20_000))
    assert house.connect("a", line, service) == Grant(
        clock.now() + 7200 * SECOND, True, 7200, 20_000
    )
    clock.advance(3)
    assert house.charging.ended("a", clock.now()) == Charged(3, 20_000)


def test_the_minimum_is_held_at_the_beginning(house: House, clock: FixedClock) -> None:
    """The first reserve is at least the shortest use that is charged."""
    line = house.line(30_000)
    service = house.service(per_minute(6000, minimum_s=300))
    granted = house.begin("a", line, service)
    assert granted == Grant(clock.now() + 300 * SECOND, False, 300, 30_000)
    assert house.begin("b", line, service) == Refused("no_credit")


def test_never_connected_is_free(house: House, clock: FixedClock) -> None:
    """Who waits and leaves, or is never connected, pays nothing; all is given back."""
    line, service = house.line(100_000), house.service()
    house.begin("a", line, service)
    house.charging.abandoned("a", "left the queue")
    assert (house.standing("a").status, house.standing("a").reason) == ("free", "left the queue")
    house.begin("b", line, service)
    assert house.charging.ended("b", clock.now()) == Charged(0, 0)
    assert house.view(line) == CreditView(MONTH, 100_000, 0, 0)
    assert posts(house) == []
    house.charging.abandoned("never begun", "caller gone")


def test_connected_after_it_was_given_up_gets_nothing(house: House, clock: FixedClock) -> None:
    """A consultant who answers when the call was resolved already: no second of it costs."""
    line, service = house.line(100_000), house.service()
    house.begin("a", line, service)
    house.charging.abandoned("a", "nobody answers")
    granted = house.charging.connected("a", clock.now())
    assert (granted.seconds, granted.final) == (0, True)
    assert house.charging.ended("a", clock.now() + 60 * SECOND) == Charged(0, 0)


def test_under_a_second_is_free(house: House, clock: FixedClock) -> None:
    """A connection of less than a second is none."""
    line, service = house.line(100_000), house.service(per_call())
    house.connect("a", line, service)
    clock.advance(0.9)
    assert house.charging.ended("a", clock.now()) == Charged(0, 0)
    assert house.standing("a").reason == "under a second"


def test_unknown_calls_are_an_error(house: House, clock: FixedClock) -> None:
    """What was never begun cannot be connected, extended or ended."""
    for say in (
        lambda: house.charging.connected("x", clock.now()),
        lambda: house.charging.extend("x"),
        lambda: house.charging.waiting("x"),
        lambda: house.charging.ended("x", clock.now()),
    ):
        with pytest.raises(UnknownCall):
            say()


def test_another_calls_consent_is_no_consent(house: House, clock: FixedClock) -> None:
    """Nothing is reserved on a consent that is not this call's, service's and line's."""
    line, other, service = house.line(100_000), house.line(100_000), house.service()
    consent = house.consent("a", line, *service)
    for call, paying in (("b", line), ("a", other)):
        with pytest.raises(KeyConflict):
            house.charging.begin(call, consent, service[0], paying, None, "+98")


def test_an_approval_bounds_like_a_credit(house: House, clock: FixedClock) -> None:
    """What an owner approved is used and held together with the credit, and is not exceeded."""
    line, service = house.line(100_000), house.service()
    approval = house.approval(line, service[0], 15_000)
    granted = house.begin("a", line, service, approval=approval)
    assert granted == Grant(clock.now() + 120 * SECOND, False, 120, 12_000)
    assert house.begin("b", line, service, approval=approval) == Refused("approval_used_up")
    house.charging.connected("a", clock.now())
    clock.advance(100)
    final = house.charging.extend("a")
    assert (final.seconds, final.final) == (120, True)
    house.charging.ended("a", clock.now())
    with house.database.read() as conn:
        row = conn.execute(select(owner_approvals.c.used, owner_approvals.c.held)).one()
    assert tuple(row) == (12_000, 0)


def test_a_revoked_approval_extends_nothing(house: House, clock: FixedClock) -> None:
    """What is reserved is used up; after the revocation nothing is added."""
    line, service = house.line(100_000), house.service()
    approval = house.approval(line, service[0], 90_000)
    house.connect("a", line, service, approval=approval)
    with house.database.begin() as conn:
        conn.execute(owner_approvals.update().values(revoked_at=clock.now()))
    clock.advance(100)
    final = house.charging.extend("a")
    assert (final.seconds, final.final) == (120, True)
    assert house.begin("b", line, service, approval=approval) == Refused("approval_used_up")


def test_waiting_keeps_a_call_alive(house: House, clock: FixedClock) -> None:
    """In a queue nothing costs, and the reservation lives as long as somebody says so."""
    line, service = house.line(100_000), house.service()
    house.begin("a", line, service)
    for _ in range(5):
        clock.advance(500)
        granted = house.charging.waiting("a")
        assert isinstance(granted, Grant)
        assert granted.until == clock.now() + 120 * SECOND
        assert house.charging.sweep() == []
    clock.advance(601)
    assert house.charging.sweep() == ["a"]
    assert house.standing("a").status == "free"
    assert house.view(line) == CreditView(MONTH, 100_000, 0, 0)


def test_waiting_into_a_dearer_hour(house: House, clock: FixedClock) -> None:
    """When the price has risen in the queue, more is reserved, or it is refused: not in debt."""
    # 11:30 in Tehran; from 12:00 on it costs double.
    tariff = per_minute(6000, bands=(Band(tuple(range(7)), 12 * 60, 1440, 12_000),))
    line, poor, service = house.line(24_000), house.line(6000), house.service(tariff)
    house.begin("a", line, service)
    house.begin("b", poor, service)
    clock.advance(1790)
    assert house.charging.waiting("b") == Grant(clock.now() + 60 * SECOND, True, 60, 6000)
    clock.advance(60)
    assert house.charging.waiting("a") == Grant(clock.now() + 120 * SECOND, False, 120, 24_000)
    assert house.charging.waiting("b") == Refused("no_credit")
    # Connected all the same: not a second is granted, and none charged.
    assert house.charging.connected("b", clock.now()).seconds == 0
    clock.advance(30)
    assert house.charging.ended("b", clock.now()) == Charged(0, 0)


def test_only_announced_versions_are_charged(house: House, clock: FixedClock) -> None:
    """A version that is approved while the call runs does not touch it."""
    line, service = house.line(1_000_000), house.service()
    house.connect("a", line, service)
    dear = per_minute(60_000, valid_from=clock.now() + 30 * SECOND)
    with house.database.begin() as conn:
        add(conn, service[0], [dear], "operator", clock.now())
    clock.advance(60)
    house.charging.extend("a")
    clock.advance(60)
    assert house.charging.ended("a", clock.now()) == Charged(120, 12_000)


def test_a_call_belongs_to_the_month_of_its_beginning(house: House, clock: FixedClock) -> None:
    """Over midnight of the month's last day, the credit of the month of the beginning is used."""
    line, service = house.line(20_000), house.service()
    clock.advance((12 * 60 + 29) * 60)  # 23:59 of 1405/08/30
    house.connect("a", line, service)
    clock.advance(100)
    final = house.charging.extend("a")
    assert (final.seconds, final.final) == (180, True)
    clock.advance(80)
    assert house.charging.ended("a", clock.now()) == Charged(180, 18_000)
    assert house.view(line) == CreditView(MONTH + 1, 20_000, 0, 0)


# -- clocks and deaths ----------------------------------------------------------------------------


def test_swept_up_to_the_last_sight(house: House, clock: FixedClock) -> None:
    """When everybody died, a connected call is charged for as long as somebody saw it."""
    line, service = house.line(100_000), house.service()
    house.connect("a", line, service)
    clock.advance(100)
    house.charging.extend("a")
    clock.advance(10_000)
    assert house.charging.sweep() == ["a"]
    assert house.charging.sweep() == []
    standing = house.standing("a")
    assert (standing.status, standing.seconds, standing.amount) == ("charged", 100, 12_000)
    assert posts(house) == ["a"]
    assert house.view(line) == CreditView(MONTH, 100_000, 12_000, 0)


def test_a_call_in_its_time_is_not_swept(house: House, clock: FixedClock) -> None:
    """As long as the reserved time and its grace run, the call belongs to those who serve it."""
    line, service = house.line(100_000), house.service()
    house.connect("a", line, service)
    clock.advance(120 + 299)
    assert house.charging.sweep() == []
    house.charging.extend("a")
    clock.advance(300)
    assert house.charging.sweep() == []


def test_a_clock_that_is_put_back(house: House, clock: FixedClock) -> None:
    """Time that somebody has seen is not undone; time before the reserve is not charged."""
    line, service = house.line(100_000), house.service()
    house.connect("a", line, service)
    clock.advance(90)
    house.charging.extend("a")
    clock.advance(-3600)
    assert house.charging.extend("a").seconds == 240
    assert house.charging.ended("a", clock.now()) == Charged(90, 12_000)
    house.begin("b", line, service)
    begun = clock.now()
    house.charging.connected("b", begun - 600 * SECOND)
    assert house.standing("b").connected_at == begun


def test_a_hangup_heard_late_costs_no_second_more(house: House, clock: FixedClock) -> None:
    """The switch's moment of the end counts, though the call was seen just after it."""
    line, service = house.line(100_000), house.service()
    house.connect("a", line, service)
    start = clock.now()
    clock.advance(61)
    house.charging.extend("a")
    assert house.charging.ended("a", start + 60 * SECOND) == Charged(60, 6000)


def test_a_future_moment_is_not_believed(house: House, clock: FixedClock) -> None:
    """An end that has not come yet is now."""
    line, service = house.line(100_000), house.service()
    house.connect("a", line, service)
    clock.advance(10)
    assert house.charging.ended("a", clock.now() + 600 * SECOND) == Charged(10, 6000)


# -- at the same time -----------------------------------------------------------------------------


def test_simultaneous_calls_never_exceed_the_credit(
    house: House, in_threads: Callable[[list[Callable[[], object]]], list[object]]
) -> None:
    """Twelve calls that begin and extend at once share one credit to the last increment."""
    line, service = house.line(50_000), house.service()
    consents = {f"c{i}": house.consent(f"c{i}", line, *service) for i in range(12)}
    now = house.clock.now()

    def run(call: str) -> Callable[[], object]:
        def work() -> object:
            granted = house.charging.begin(call, consents[call], service[0], line, None, "+98")
            if isinstance(granted, Refused):
                return granted
            house.charging.connected(call, now)
            return house.charging.extend(call)

        return work

    results = in_threads([run(call) for call in consents])
    granted = [each for each in results if isinstance(each, Grant)]
    refused = [each for each in results if isinstance(each, Refused)]
    assert len(granted) + len(refused) == 12, results
    assert sum(each.held for each in granted) == house.view(line).held <= 50_000
    # 50,000 rials are eight minutes: all of them are given out.
    assert house.view(line).held == 48_000
    assert all(each.reason == "no_credit" for each in refused)


def test_the_same_call_at_once_is_one_call(
    house: House, in_threads: Callable[[list[Callable[[], object]]], list[object]]
) -> None:
    """Two workers that say the same at the same moment charge once."""
    line, service = house.line(100_000), house.service()
    consent = house.consent("a", line, *service)
    now = house.clock.now()
    begun = in_threads(
        [lambda: house.charging.begin("a", consent, service[0], line, None, "+98")] * 6
    )
    assert len({*begun}) == 1, begun
    in_threads([lambda: house.charging.connected("a", now)] * 6)
    house.clock.advance(30)
    ends = in_threads(
        [lambda: house.charging.ended("a", house.clock.now())] * 4
        + [lambda: house.charging.sweep(), lambda: house.charging.extend("a")]
    )
    assert [each for each in ends if isinstance(each, Charged)] == [Charged(30, 6000)] * 4
    assert not [each for each in ends if isinstance(each, Exception)]
    assert house.view(line) == CreditView(MONTH, 100_000, 6000, 0)
    assert posts(house) == ["a"]


def test_a_slice_is_a_sensible_one(house: House) -> None:
    """No slice, and one that is longer than any call, are refused at the start."""
    for slice_s in (0, 7201):
        with pytest.raises(ValueError, match="slice_s"):
            Charging(house.database, house.clock, TEHRAN, house.credit, slice_s)
