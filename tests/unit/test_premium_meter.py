"""The meter of a running premium call: slices, the end at the switch, the warning, the charge."""

from __future__ import annotations

from datetime import timedelta

import pytest

from billing.errors import Unavailable
from callflows.call import Call, CallerGone, CallerLeft
from callflows.connection import TIME_OVER, Leg, Terms
from callflows.journal import Journal
from callflows.premium.meter import Meter, Rules
from callflows.scripted import HangsUp, ScriptedChannel, talks_to
from sounds import Phrase
from tests.charging_house import House, per_call, per_minute

CALL = "00000000-0000-4000-8000-000000000001"
ANNA = Leg("+982112345678", "anna")
TERMS = Terms(None)


def warning(seconds: int) -> Phrase:
    return Phrase("premium_warning", count=seconds)


class Talk:
    """A begun call with so much credit, and what happens in it."""

    def __init__(self, database, clock, credit, script, *tariffs, control=True, **options):
        self.clock = clock
        self.house = House(database, clock, **options)
        service, stored = self.house.service(*tariffs)
        self.line = self.house.line(credit)
        consent = self.house.consent(CALL, self.line, service, stored)
        grant = self.house.charging.begin(CALL, consent, service, self.line, None, "+982188000001")
        self.channel = ScriptedChannel(script, call_id=CALL, clock=clock, control=control)
        self.call = Call(self.channel, Journal())
        self.meter = Meter(
            self.call, self.house.charging, clock, warning, Rules(warning_s=30, ahead_s=45)
        )
        self.meter.prepare(grant)

    @property
    def charged(self):
        found = self.house.charging.standing(CALL)
        return found.status, found.seconds, found.amount


def test_a_talk_is_charged_from_its_connection_to_its_end(database, clock):
    """Ringing costs nothing: 5 s of ringing and 61 s of talk are two minutes."""
    talk = Talk(database, clock, 60_000, [talks_to("anna", by="anna", seconds=61)])
    bridged = talk.meter.bridge([ANNA], TERMS)
    assert (bridged.code, bridged.seconds) == ("anna", 61.0)
    assert talk.charged == ("charged", 61, 12_000)
    assert not talk.meter.running


def test_credit_is_extended_ahead_and_the_end_moves(database, clock):
    """Of a credit for ten minutes a talk of seven uses seven, over the first slice's end."""
    talk = Talk(database, clock, 60_000, [talks_to("anna", by="anna", seconds=420)])
    assert talk.meter.remaining_s() == 120
    bridged = talk.meter.bridge([ANNA], TERMS)
    assert not bridged.time_over
    assert talk.charged == ("charged", 420, 42_000)
    assert talk.channel.inserted == []


def test_the_last_second_that_was_paid_for_ends_the_talk(database, clock):
    """A credit for exactly five minutes gives exactly five, and the caller is told before."""
    talk = Talk(database, clock, 30_000, [talks_to("anna", by="anna", seconds=900)])
    bridged = talk.meter.bridge([ANNA], TERMS)
    assert bridged.time_over
    assert bridged.seconds == 300
    assert talk.charged == ("charged", 300, 30_000)
    assert talk.channel.inserted == [(270, ("premium_warning",))]
    assert talk.house.credit.view(talk.line).available == 0


def test_a_short_last_slice_is_told_of_at_once(database, clock):
    """Where the whole credit is shorter than the warning, the caller hears so right away."""
    talk = Talk(
        database,
        clock,
        2_000,
        [talks_to("anna", by="anna", seconds=900)],
        per_minute(6000, increment_s=10),
    )
    bridged = talk.meter.bridge([ANNA], TERMS)
    assert bridged.time_over
    assert bridged.seconds == 20
    assert talk.channel.inserted == [(1, ("premium_warning",))]


def test_slices_shorter_than_the_time_ahead(database, clock):
    """Then more is asked for now and then, and not each second."""
    talk = Talk(
        database,
        clock,
        60_000,
        [talks_to("anna", by="anna", seconds=120)],
        per_minute(6000, increment_s=1),
        slice_s=30,
    )
    asked = []
    extend = talk.house.charging.extend
    talk.house.charging.extend = lambda *call: (asked.append(clock.now()), extend(*call))[1]
    assert not talk.meter.bridge([ANNA], TERMS).time_over
    assert 4 <= len(asked) <= 20


def test_nobody_answers(database, clock):
    """A consultant who does not answer costs nothing, and the call may go on."""
    talk = Talk(database, clock, 30_000, [talks_to("anna", cause="USER_BUSY")])
    assert talk.meter.bridge([ANNA], TERMS).cause == "USER_BUSY"
    assert talk.charged[0] == "begun"
    talk.house.charging.abandoned(CALL, "nobody was free")
    assert talk.charged[0] == "free"


def test_the_caller_hangs_up_on_the_consultant(database, clock):
    """What was talked is charged, to the second at which the switch saw the end."""
    talk = Talk(
        database, clock, 30_000, [talks_to("anna", by="anna", seconds=10, caller_ends=True)]
    )
    with pytest.raises(CallerLeft) as left:
        talk.meter.bridge([ANNA], TERMS)
    assert left.value.bridged.seconds == 10
    assert talk.charged == ("charged", 10, 6_000)


def test_the_caller_hangs_up_while_it_rings(database, clock):
    """Then nothing was connected."""
    talk = Talk(database, clock, 30_000, [talks_to("anna", by="anna"), HangsUp()])
    with pytest.raises(CallerGone):
        talk.meter.bridge([ANNA], TERMS)
    assert talk.charged[0] == "begun"


def test_without_a_control_connection_the_first_grant_is_the_limit(database, clock):
    """Where no end can be moved, all of the credit is reserved and the switch ends the talk."""
    talk = Talk(
        database,
        clock,
        30_000,
        [talks_to("anna", by="anna", seconds=900)],
        control=False,
        slice_s=7200,
    )
    bridged = talk.meter.bridge([ANNA], TERMS)
    assert bridged.cause == TIME_OVER
    assert bridged.seconds == 300
    assert talk.charged == ("charged", 300, 30_000)


def test_a_per_call_price_ends_at_the_longest_call(database, clock):
    """Paid once, a talk ends when no call may be longer."""
    talk = Talk(
        database,
        clock,
        20_000,
        [talks_to("anna", by="anna", seconds=2000)],
        per_call(20_000),
        longest_call_s=600,
    )
    bridged = talk.meter.bridge([ANNA], TERMS)
    assert bridged.time_over
    assert bridged.seconds == 600
    assert talk.charged == ("charged", 600, 20_000)


def test_content_is_limited_and_charged_without_a_bridge(database, clock):
    """A menu tree costs from `connect` to `end`; the switch holds the end of the slice."""
    talk = Talk(database, clock, 30_000, [])
    talk.meter.connect()
    assert talk.meter.running
    clock.advance(100)
    talk.meter.look()
    clock.advance(120)
    talk.meter.look()
    charged = talk.meter.end()
    assert (charged.seconds, charged.amount) == (220, 24_000)


def test_a_worker_that_takes_over_goes_on_metering(database, clock):
    """The next worker knows that the call costs, and until when."""
    talk = Talk(database, clock, 30_000, [])
    talk.meter.connect()
    clock.advance(30)
    other = Meter(talk.call, talk.house.charging, clock, warning)
    assert other.resume()
    assert other.running
    clock.advance(200)
    other.look()
    assert other.end(clock.now() - timedelta(seconds=10)).seconds == 220


def test_a_talk_that_a_dead_worker_metered_ends_when_it_ended(database, clock):
    """The worker that takes over charges to the end of the talk, not to its own beginning."""
    talk = Talk(database, clock, 30_000, [talks_to("anna", by="anna", seconds=70, rings_s=0)])
    talk.house.charging.connected(CALL, clock.now())
    other = Meter(talk.call, talk.house.charging, clock, warning)
    assert other.resume()
    bridged = other.bridge([ANNA], TERMS)
    clock.advance(100)
    assert bridged.seconds == 70
    assert talk.charged == ("charged", 70, 12_000)
    assert other.end().seconds == 70


def test_a_bridge_in_a_content_that_costs_already(database, clock):
    """The consultant in the midst of a menu tree: one connection, one charge."""
    talk = Talk(database, clock, 60_000, [talks_to("anna", by="anna", seconds=50)])
    talk.meter.connect()
    clock.advance(20)
    talk.meter.bridge([ANNA], TERMS, within=True)
    assert talk.meter.running
    # The content's end is at the switch again: 75 of the 240 s that are reserved are over.
    assert talk.channel.limits[-1] == 165
    clock.advance(10)
    assert talk.meter.end().seconds == 85  # the ringing is within the content


def test_a_long_prompt_is_reserved_for_before_it_begins(database, clock):
    """What takes longer than is reserved ahead gets all its time, if there is the credit."""
    talk = Talk(database, clock, 60_000, [])
    talk.meter.connect()
    clock.advance(60)
    assert talk.meter.remaining_s() == 60
    assert talk.meter.remaining_s(60) == 60
    assert talk.channel.limits[-1] == 120
    assert talk.meter.remaining_s(300) == 300
    # The end at the switch has moved with it.
    assert talk.channel.limits[-1] == 300
    assert not talk.meter.final


def test_no_prompt_begins_that_the_last_slice_would_cut(database, clock):
    """Whether the next slice is the last is found out before, and not in the midst of it."""
    talk = Talk(database, clock, 15_000, [], per_minute(6000, increment_s=1))
    talk.meter.connect()
    clock.advance(60)
    assert not talk.meter.final
    assert talk.meter.remaining_s(100) == 90
    assert talk.meter.final
    assert talk.channel.limits[-1] == 90
    clock.advance(100)
    assert talk.meter.remaining_s(1) == 0


def test_nothing_more_is_promised_while_the_database_is_away(database, clock, monkeypatch):
    """What is reserved stays; a longer prompt has to wait for another call."""
    talk = Talk(database, clock, 60_000, [])
    talk.meter.connect()

    def away(*_):
        raise Unavailable("away")

    monkeypatch.setattr(talk.house.charging, "extend", away)
    assert talk.meter.remaining_s(300) == 120
