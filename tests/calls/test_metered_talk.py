"""A metered talk with a consultant, on the embedded switch and on a real FreeSWITCH.

Money, meter and channel together: the credit is extended while the two talk, the end moves at the
switch, the caller is warned, and what is charged is what the switch has seen.
"""

from __future__ import annotations

import itertools

import gevent
import pytest

from billing.clock import SystemClock
from billing.database import Database
from billing.premium.slices import Grant
from callflows.call import Call, CallerGone, CallerLeft, Prompt
from callflows.connection import Leg, Terms
from callflows.journal import Journal
from callflows.premium.meter import Meter, Rules
from sounds import Phrase
from tests.calls.consultation_house import ANNA, FARA, Embedded
from tests.calls.test_connecting import BOTH, WAIT_S, house, switch
from tests.charging_house import House, per_minute

__all__ = ["BOTH", "house", "switch"]

TERMS = Terms(None, ring_s=5, music="music/waiting/1.wav")
RULES = Rules(warning_s=3, ahead_s=5, farewell_s=4)
SECOND = 100  # rials
_calls = itertools.count(1)

pytestmark = pytest.mark.timeout(90)


class VirtualClock:
    """The switch's own time, which runs faster."""

    def __init__(self, switch):
        self._clock = switch.clock

    def now(self):
        """As every clock says it."""
        return self._clock.utc()


class Office:
    """A line with some seconds' worth of credit, and its begun call."""

    def __init__(self, folder, house, seconds):
        database = Database(f"sqlite:///{folder}/money.db")
        database.migrate()
        clock = VirtualClock(house.switch) if isinstance(house, Embedded) else SystemClock()
        self.clock = clock
        self.books = House(database, clock, slice_s=8)
        service = self.books.service(per_minute(60 * SECOND, increment_s=1))
        self.line = self.books.line(seconds * SECOND)
        self.call_id = f"metered-{next(_calls)}"
        granted = self.books.begin(self.call_id, self.line, service)
        assert isinstance(granted, Grant)
        self.granted = granted

    def talk(self, *legs, resumed=False):
        """A conversation: a talk with the first of the legs to answer, and a word afterwards."""

        def converse(channel):
            call = _Named(channel, self.call_id)
            meter = Meter(call, self.books.charging, self.clock, warning, RULES)
            channel.keep({"callflows_visits": "3"})
            if resumed:
                meter.resume()
            else:
                meter.prepare(self.granted)
            bridged = meter.bridge(legs, TERMS)
            call.say(Phrase("hello"))
            call.flush()
            return bridged

        return converse

    @property
    def charged(self):
        """Seconds and rials, when all is resolved."""
        standing = self.books.standing(self.call_id)
        view = self.books.view(self.line)
        assert view.held == 0
        assert view.used == standing.amount
        return standing.seconds, standing.amount


class _Named(Call):
    """The call under the name that the books have of it."""

    def __init__(self, channel, name):
        super().__init__(channel, Journal())
        self._name = name

    @property
    def id(self):
        """As it was begun."""
        return self._name


def warning(_left):
    return Phrase("warning")


@pytest.fixture
def office(house, tmp_path):
    """Makes an office with so many seconds of credit."""
    return lambda seconds: Office(tmp_path, house, seconds)


def leg(number, code):
    return Leg(number, code)


def test_the_credit_is_used_to_its_end_and_never_over(house, office):
    """Fourteen seconds of credit in slices of eight: the end moves once, the caller is warned."""
    books = office(14)
    (result,) = house.call(books.talk(leg(ANNA, "anna")))
    bridged = result.get(timeout=WAIT_S)
    assert bridged.time_over
    assert 12.5 <= bridged.seconds <= 14.8
    seconds, amount = books.charged
    assert 12 <= seconds <= 14
    assert amount == seconds * SECOND
    house.until(house.over)
    assert house.heard("caller", "warning")
    assert not house.heard("anna", "warning")
    assert house.heard("caller", "hello")


def test_content_that_is_too_long_is_broken_off_at_the_end(house, office):
    """A prompt of 25 s, credit for 10: it ends with the credit, and the last words are heard."""
    books = office(10)

    def story(channel):
        call = _Named(channel, books.call_id)
        meter = Meter(call, books.books.charging, books.clock, warning, RULES)
        channel.keep({"callflows_visits": "3"})
        channel.play(Prompt((Phrase("hello"),), "fa"))
        meter.prepare(books.granted)
        meter.connect()
        channel.play(Prompt((Phrase("story"),), "fa"))
        charged = meter.end()
        meter.unlimit()
        channel.play(Prompt((Phrase("whisper"),), "fa"))
        return charged

    (result,) = house.call(story)
    charged = result.get(timeout=WAIT_S)
    assert charged.seconds == 10
    assert books.charged == (10, 10 * SECOND)
    house.until(house.over)
    assert house.heard("caller", "warning")
    assert house.heard("caller", "whisper")


def test_content_ends_at_the_switch_if_nobody_looks(house, office):
    """The worker is gone, and no other takes the call: the caller's leg ends by itself."""
    books = office(6)

    def story(channel):
        call = _Named(channel, books.call_id)
        meter = Meter(call, books.books.charging, books.clock, warning, RULES)
        channel.keep({"callflows_visits": "3"})
        channel.play(Prompt((Phrase("hello"),), "fa"))
        meter.prepare(books.granted)
        meter.connect()
        channel.play(Prompt((Phrase("story"),), "fa"))

    def stays_silent(_):
        gevent.sleep(40 / house.speed)

    first, _ = house.call(story, stays_silent)
    house.sleep(4)
    house.kill_worker()
    assert isinstance(first.get(timeout=WAIT_S), CallerGone)
    # Before the prompt would have ended.
    house.until(house.over, 16.0 / house.speed)
    assert books.books.view(books.line).used == 0  # `sweep` charges it, when its time is over


def test_who_hangs_up_early_pays_what_was_talked(house, office):
    """And nothing is held any more."""
    books = office(60)
    (result,) = house.call(books.talk(leg(FARA, "fara")))
    house.sleep(5)
    house.hang_up()
    left = result.get(timeout=WAIT_S)
    assert isinstance(left, CallerLeft)
    seconds, amount = books.charged
    assert seconds == int(left.bridged.seconds)
    assert amount == seconds * SECOND


def test_a_worker_that_is_killed_cannot_give_more(house, office):
    """What was reserved is the end; the next worker charges exactly the talk."""
    books = office(60)
    first, second = house.call(
        books.talk(leg(ANNA, "anna")), books.talk(leg(ANNA, "anna"), resumed=True)
    )
    house.sleep(2.5)
    house.kill_worker()
    assert isinstance(first.get(timeout=WAIT_S), CallerGone)
    bridged = second.get(timeout=WAIT_S)
    assert bridged.time_over
    assert bridged.seconds <= 8.8
    seconds, amount = books.charged
    assert seconds == min(8, int(bridged.seconds))
    assert amount == seconds * SECOND
