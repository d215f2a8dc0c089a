"""Height 3: premium calls on a real FreeSWITCH, digit by digit and second by second.

What the switch itself has to do right: digits during a playback are swallowed and do not end it,
those before a question are flushed, a key in the sentence after the right digit ends that; it holds
the ends of talks and contents, and hands the call on when a worker is killed. The scenarios are in
`test_premium_scenarios_freeswitch.py`.
"""

from __future__ import annotations

import time

import gevent
import pytest

from callflows.premium.desk import draw_digit
from tests.calls.consultation_house import tone_in
from tests.calls.freeswitch import find_binary
from tests.calls.premium_place import PATIENCE_S, TONES, Place
from tests.calls.premium_scenarios import (
    ACCEPT,
    ADVICE,
    CONNECTING,
    KEY,
    TERMS,
    staff,
)
from tests.calls.premium_world import Premiere

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.freeswitch,
    pytest.mark.xdist_group("freeswitch"),
    pytest.mark.skipif(find_binary() is None, reason="no FreeSWITCH here"),
]
BY_THE_SECOND = {
    "tariffs": [{"from": "2026-01-01", "model": "per_minute", "price": 6000, "increment_s": 1}]
}
SECOND = 100  # rials
WARNING = ("premium_credit_warning",)
CREDIT_ENDED = ("premium_credit_ended", "premium_cost", "premium_goodbye")


@pytest.fixture
def open_place(tmp_path):
    """Makes a premium world behind a FreeSWITCH."""
    made = []

    def make(*options, **more):
        made.append(Place(tmp_path, *options, **more))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def place(open_place):
    """The world of the first scenario."""
    return open_place()


def test_accepted_connected_charged(place):
    """The digit, once, after it was named; early ones were thrown away. Charged is the content."""
    place.dial()
    place.until_heard(TERMS)
    place.press("7")
    place.until_heard((ACCEPT,))
    place.press("7")
    place.until_heard((KEY,))
    gevent.sleep(0.8)
    assert ("premium_accepted",) not in place.heard
    pressed_at = time.monotonic()
    place.press("7")
    place.until_heard(("said",))
    gevent.sleep(3.0)
    place.control.uuid_kill(place.leg)
    place.until_over()
    taken = [TERMS, (ACCEPT,), (KEY,), ("premium_accepted",), (CONNECTING,), ("said",)]
    assert place.heard[:6] == taken
    assert place.world.accepted() == 1
    assert place.world.charged() == 6000
    assert place.world.held() == 0
    assert time.monotonic() - pressed_at < PATIENCE_S


def test_a_flood_of_digits_accepts_nothing(place):
    """All digits in a row, at every question: told so, and in the end nothing is accepted."""
    place.dial()
    for count in (1, 2, 3):
        place.until_heard((KEY,), count)
        gevent.sleep(0.4)
        # A switch sends them 0.44 s apart, and the first one is the right one.
        place.press(f"{'731'[count - 1]}12345")
    place.until_heard(("premium_not_accepted",))
    place.until_over()
    assert place.world.accepted() == 0
    assert place.world.charged() == 0


def test_the_digit_that_is_drawn_and_no_other(open_place):
    """Drawn by chance for this call: it can be read on its channel, and only it accepts."""
    place = open_place(draw=draw_digit)
    place.dial()
    place.until_heard((KEY,))
    gevent.sleep(0.8)
    digit = place.digit()
    place.press(str(int(digit) % 9 + 1))
    place.until_heard(("premium_wrong_key", ACCEPT))
    place.until_heard((KEY,), 2)
    gevent.sleep(0.8)
    assert place.digit() != digit
    assert place.world.accepted() == 0
    place.press(place.digit())
    place.until_heard(("premium_accepted",))
    place.until_heard(("said",))
    consent = place.world.consent(place.journals.call_id)
    assert consent.digit == place.digit()
    place.control.uuid_kill(place.leg)
    place.until_over()


def test_the_credit_ends_in_the_tree(open_place):
    """Told before, no prompt is cut, told why; paid are the seconds, never more than there are."""
    place = open_place(Premiere("", (), service=BY_THE_SECOND, credit=12 * SECOND))
    place.accept()
    # Menu, poem, menu ... of two seconds each, as long as there is money.
    limit = time.monotonic() + PATIENCE_S
    questions = 0
    while CREDIT_ENDED not in place.heard:
        assert time.monotonic() < limit, place.heard
        if place.heard.count(("said",)) > questions:
            questions = place.heard.count(("said",))
            place.press("1")
        gevent.sleep(0.05)
    place.until_over()
    assert WARNING in place.heard
    standing = place.standing()
    assert standing.status == "charged"
    assert 8 <= standing.seconds <= 12
    assert standing.amount == standing.seconds * SECOND
    assert place.world.held() == 0
    assert tone_in(place.folder / "caller.wav", TONES["premium_credit_warning"])


def advice(seconds):
    """A premiere of consultants with credit for so many seconds."""
    return Premiere(
        "", (), service={**ADVICE, **BY_THE_SECOND}, arrange=staff, credit=seconds * SECOND
    )


def test_a_consultant_until_the_credit_ends(open_place):
    """Whispered to one, warned the other; ringing and whisper cost nothing; told why it ended."""
    place = open_place(advice(10))
    place.accept()
    place.until_heard(("consulting_connecting",))
    place.until_heard(CREDIT_ENDED)
    place.until_over()
    standing = place.standing()
    assert standing.status == "charged"
    assert 8 <= standing.seconds <= 10
    assert standing.amount == standing.seconds * SECOND
    assert place.world.held() == 0
    caller, consultant = place.folder / "caller.wav", place.folder / "ahmadi.wav"
    whisper, warning = TONES.values()
    assert tone_in(consultant, whisper)
    assert not tone_in(caller, whisper)
    assert tone_in(caller, warning)
    assert not tone_in(consultant, warning)


def test_the_worker_is_killed_in_the_talk(open_place):
    """The switch ends the talk when the credit does; the next worker says so, and charges it."""
    place = open_place(advice(10))
    place.accept()
    place.until_heard(("consulting_connecting",))
    place.until(lambda: place.standing().status == "connected")
    place.kill_worker()
    place.until_heard(CREDIT_ENDED)
    place.until_over()
    assert place.heard.count(("consulting_connecting",)) == 1
    standing = place.standing()
    assert 8 <= standing.seconds <= 10
    assert standing.amount == standing.seconds * SECOND
    assert place.world.held() == 0


def test_the_worker_is_killed_in_the_tree(place):
    """The next one goes on at the node; it costs from the first connection on, once."""
    place.accept()
    place.until_heard((CONNECTING,))
    place.until_heard(("said",))
    began = place.standing().connected_at
    gevent.sleep(0.5)
    place.kill_worker()
    place.until_heard(("said",), 2)
    gevent.sleep(2.5)
    place.control.uuid_kill(place.leg)
    place.until_over()
    standing = place.standing()
    assert (standing.status, standing.connected_at) == ("charged", began)
    assert standing.seconds >= 3
    assert standing.amount == 6000
    assert place.heard.count((CONNECTING,)) == 1
    assert place.world.held() == 0
