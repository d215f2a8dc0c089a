"""Recording, connecting, waiting and limits: on the embedded switch and on a real FreeSWITCH.

Every expectation was measured on FreeSWITCH 1.10.12 (docs/event-socket.md), and is held against one
again where a binary is present (CALLFLOWS_TEST_FREESWITCH or PATH).
"""

from __future__ import annotations

import wave

import gevent
import pytest

from callflows.call import CallerGone, CallerLeft, Prompt
from callflows.connection import (
    TIME_OVER,
    Bridged,
    Leg,
    Recorded,
    Recording,
    Terms,
    recording_name,
)
from esl_worker.call import FreeSwitchChannel
from esl_worker.switch.subscribers import Everybody
from sounds import Phrase
from tests.calls.consultation_house import (
    ANNA,
    BORIS,
    CARLA,
    DORA,
    ELLA,
    FARA,
    Embedded,
    Real,
)
from tests.calls.freeswitch import find_binary

MUSIC = ("music/waiting/1.wav", "music/waiting/2.wav")
HELLO = Prompt((Phrase("hello"),), "fa")
WAIT_S = 40.0

pytestmark = pytest.mark.timeout(90)
BOTH = [
    "embedded",
    pytest.param(
        "freeswitch",
        marks=[
            pytest.mark.freeswitch,
            pytest.mark.xdist_group("freeswitch"),
            pytest.mark.skipif(find_binary() is None, reason="no FreeSWITCH here"),
        ],
    ),
]


@pytest.fixture(scope="module", params=BOTH)
def switch(request, tmp_path_factory):
    """One switch for all tests."""
    made = {"embedded": Embedded, "freeswitch": Real}[request.param](
        tmp_path_factory.mktemp("consultation")
    )
    yield made
    made.close()


@pytest.fixture
def house(switch):
    """The switch, without any call."""
    yield switch
    if not switch.over():
        switch.hang_up()
    switch.until(switch.over)


def leg(number, code, whisper=None):
    return Leg(number, code, (Phrase(whisper),) if whisper else ())


def bridge(*legs, limit_s=None, **terms):
    def talk(channel):
        channel.keep({"callflows_visits": "7"})
        bridged = channel.bridge(legs, Terms(limit_s, music=MUSIC[0], **terms))
        channel.play(HELLO)
        return bridged

    return talk


def test_the_limit_ends_the_talk_and_the_caller_comes_back(house):
    """`sched_hangup` on the other leg, set when the two are connected: in the last second."""
    (result,) = house.call(bridge(leg(ANNA, "anna"), limit_s=5))
    bridged = result.get(timeout=WAIT_S)
    assert bridged.code == "anna"
    assert bridged.time_over
    assert 4.0 <= bridged.seconds <= 5.7
    house.until(house.over)


@pytest.mark.parametrize(
    ("number", "cause"), [(BORIS, "USER_BUSY"), (CARLA, "NO_ANSWER")], ids=["busy", "no answer"]
)
def test_nobody_takes_the_call(house, number, cause):
    """Busy, or not there within the time: the caller comes back, nothing was connected."""
    (result,) = house.call(bridge(leg(number, "x"), limit_s=60, ring_s=3))
    assert result.get(timeout=WAIT_S) == Bridged(cause)


def test_who_answers_hangs_up(house):
    """The caller comes back with the times of the talk."""
    (result,) = house.call(bridge(leg(DORA, "dora"), limit_s=60))
    bridged = result.get(timeout=WAIT_S)
    assert bridged.cause == "NORMAL_CLEARING"
    assert 2.5 <= bridged.seconds <= 3.5


def test_the_first_of_several_to_answer_is_connected(house):
    """All are called at once; the busy one and the one who does not answer do not matter."""
    legs = [leg(CARLA, "carla"), leg(BORIS, "boris"), leg(FARA, "fara")]
    (result,) = house.call(bridge(*legs, limit_s=3))
    bridged = result.get(timeout=WAIT_S)
    assert (bridged.code, bridged.cause) == ("fara", TIME_OVER)


def test_whispered_before_the_connection(house):
    """What is whispered is heard by who answers, not by the caller, and costs no time."""
    (result,) = house.call(bridge(leg(FARA, "fara", "whisper"), limit_s=4))
    bridged = result.get(timeout=WAIT_S)
    assert bridged.time_over
    assert 3.0 <= bridged.seconds <= 4.7
    house.until(house.over)
    assert house.heard("fara", "whisper")
    assert not house.heard("caller", "whisper")
    assert house.heard("caller", "hello")


def test_the_call_is_taken_with_a_key(house):
    """Where a key is asked for, who presses it is connected; a machine is not."""
    (result,) = house.call(bridge(leg(ELLA, "ella", "whisper"), limit_s=3, accept="1"))
    assert result.get(timeout=WAIT_S).code == "ella"
    house.until(house.over)
    (result,) = house.call(bridge(leg(ANNA, "anna", "whisper"), limit_s=3, accept="1", ring_s=1))
    assert result.get(timeout=WAIT_S) == Bridged("NO_ANSWER")


def test_who_answers_hangs_up_in_the_whisper(house):
    """Instead of taking the call: nothing was connected, the caller comes back."""
    (result,) = house.call(bridge(leg(DORA, "dora", "whisper"), limit_s=60, accept="1"))
    bridged = result.get(timeout=WAIT_S)
    assert not bridged.answered
    assert bridged.code is None


def test_a_worker_that_dies_in_the_whisper(house):
    """The call is taken all the same, and the next worker knows how the talk went."""
    first, second = house.call(
        *[bridge(leg(ELLA, "ella", "whisper"), limit_s=4, accept="1") for _ in range(2)]
    )
    house.sleep(3.5)
    house.kill_worker()
    assert isinstance(first.get(timeout=WAIT_S), CallerGone)
    bridged = second.get(timeout=WAIT_S)
    assert (bridged.code, bridged.time_over) == ("ella", True)


def watched(house, looks, *legs, limit_s, **terms):
    def talk(channel):
        channel.watch(lambda: looks(channel))
        return bridge(*legs, limit_s=limit_s, **terms)(channel)

    return talk


def test_a_running_talk_can_be_asked_for(house):
    """Who watches learns who talks since when, by the switch's clock."""
    seen = []
    (result,) = house.call(
        watched(
            house,
            lambda channel: seen.append(channel.connected()),
            leg(FARA, "fara"),
            limit_s=4,
        )
    )
    bridged = result.get(timeout=WAIT_S)
    first = next(each for each in seen if each is not None)
    assert seen[0] is None
    assert (first.code, first.connected_at) == ("fara", bridged.connected_at)


def test_the_limit_moves(house):
    """A later end takes the place of the one that the switch had."""
    moved = []

    def look(channel):
        if channel.connected() is not None and not moved:
            moved.append(channel.limit(6, 10))

    (result,) = house.call(watched(house, look, leg(ANNA, "anna"), limit_s=3))
    bridged = result.get(timeout=WAIT_S)
    assert moved == [True]
    assert bridged.time_over
    assert 5.0 <= bridged.seconds <= 8.0


def test_a_warning_is_heard_by_the_caller_alone(house):
    """It is mixed into what the caller hears."""
    warned = []

    def look(channel):
        if channel.connected() is not None and not warned:
            warned.append(channel.insert(Prompt((Phrase("warning"),), "fa")))

    (result,) = house.call(watched(house, look, leg(ANNA, "anna"), limit_s=4))
    assert result.get(timeout=WAIT_S).time_over
    house.until(house.over)
    assert warned == [True]
    assert house.heard("caller", "warning")
    assert not house.heard("anna", "warning")


def test_the_caller_hangs_up_in_the_talk(house):
    """How long it was is known all the same; nobody's leg is left."""
    (result,) = house.call(bridge(leg(ANNA, "anna"), limit_s=60))
    house.sleep(3)
    house.hang_up()
    left = result.get(timeout=WAIT_S)
    assert isinstance(left, CallerLeft)
    assert left.bridged.code == "anna"
    assert 1.0 <= left.bridged.seconds <= 4.0
    house.until(house.over)


@pytest.mark.parametrize(
    ("number", "whisper"), [(CARLA, None), (ELLA, "whisper")], ids=["ringing", "whisper"]
)
def test_the_caller_hangs_up_before_the_talk(house, number, whisper):
    """While it rings, or while something is whispered: nothing was connected."""
    (result,) = house.call(bridge(leg(number, "x", whisper), limit_s=60, accept="1"))
    house.sleep(2.5)
    house.hang_up()
    gone = result.get(timeout=WAIT_S)
    assert isinstance(gone, CallerGone)
    assert not isinstance(gone, CallerLeft) or not gone.bridged.answered
    house.until(house.over)


def test_a_worker_that_dies_in_the_talk(house):
    """The switch ends the talk in time; the next worker has the caller, and knows how it went."""
    first, second = house.call(
        bridge(leg(ANNA, "anna"), limit_s=5), bridge(leg(ANNA, "anna"), limit_s=5)
    )
    house.sleep(2)
    house.kill_worker()
    assert isinstance(first.get(timeout=WAIT_S), CallerGone)
    bridged = second.get(timeout=WAIT_S)
    assert bridged.code == "anna"
    assert bridged.time_over
    assert 4.0 <= bridged.seconds <= 5.7
    house.until(house.over)


def test_a_worker_that_dies_while_it_rings(house):
    """The next worker does not call again where nobody has answered: it is told so."""
    first, second = house.call(
        bridge(leg(CARLA, "carla"), limit_s=5, ring_s=4),
        bridge(leg(CARLA, "carla"), limit_s=5, ring_s=4),
    )
    house.sleep(2)
    house.kill_worker()
    assert isinstance(first.get(timeout=WAIT_S), CallerGone)
    assert second.get(timeout=WAIT_S) == Bridged("NO_ANSWER")


def test_nobody_looks_after_the_caller(house):
    """Without any worker the caller's own leg ends a while after the talk."""

    def stays_silent(channel):
        gevent.sleep(30 / house.speed)

    house.call(bridge(leg(ANNA, "anna"), limit_s=3, farewell_s=3), stays_silent)
    house.sleep(2)
    house.kill_worker()
    house.until(house.over)


def record(name, **terms):
    def talk(channel):
        return channel.record(HELLO, name, Recording(**terms))

    return talk


def seconds_of(path):
    with wave.open(str(path)) as sound:
        return sound.getnframes() / sound.getframerate()


def test_silence_ends_a_recording(house):
    """After so many seconds without a word; they do not count."""
    (result,) = house.call(record("test/a.wav", silence_s=2))
    house.sleep(1.0)
    house.speak(3.0)
    recorded = result.get(timeout=WAIT_S)
    assert isinstance(recorded, Recorded)
    assert 1.5 <= recorded.seconds <= 3.6
    assert seconds_of(house.recordings / "test/a.wav") == pytest.approx(
        recorded.seconds + 2, abs=0.5
    )


def test_nothing_said_is_no_recording(house):
    """Silence from the beginning."""
    (result,) = house.call(record("test/b.wav", silence_s=2))
    assert result.get(timeout=WAIT_S) is None


def test_any_key_ends_a_recording(house):
    """And is no part of an answer."""
    (result,) = house.call(record("test/c.wav", silence_s=20))
    house.sleep(4.0)
    house.press("5")
    recorded = result.get(timeout=WAIT_S)
    assert recorded.name == "test/c.wav"
    assert 1.0 <= recorded.seconds <= 4.0


def test_a_caller_who_hangs_up_leaves_the_message(house):
    """The usual end of a message: the file is there."""
    (result,) = house.call(record("deep/er/d.wav", silence_s=20))
    house.sleep(4.0)
    house.hang_up()
    assert isinstance(result.get(timeout=WAIT_S), CallerGone)
    house.until(house.over)
    assert 1.0 <= seconds_of(house.recordings / "deep/er/d.wav") <= 4.0


def wait(seconds, keys="", look=lambda: False):
    def talk(channel):
        key = channel.wait(MUSIC, seconds, keys, look)
        channel.play(HELLO)
        return key

    return talk


def test_waiting_ends_with_a_key(house):
    """A key that is asked for; others do nothing."""
    (result,) = house.call(wait(30, "*"))
    house.sleep(1.5)
    house.press("4")
    house.sleep(1.0)
    assert not result.ready()
    house.press("*")
    assert result.get(timeout=WAIT_S) == "*"


def test_waiting_ends_with_what_was_waited_for(house):
    """The music stops within a second of it."""
    come = []
    (result,) = house.call(wait(30, look=lambda: bool(come)))
    house.sleep(2.5)
    come.append(True)
    assert result.get(timeout=3.0) == ""


def test_waiting_has_an_end(house):
    """After the time that was given."""
    (result,) = house.call(wait(3))
    assert result.get(timeout=WAIT_S) == ""


def test_an_error_in_what_is_waited_for_is_the_states(house):
    """It ends the music and is raised in the conversation."""
    asked = []

    def look():
        asked.append(1)
        if len(asked) > 1:
            raise LookupError("gone")
        return False

    (result,) = house.call(wait(30, look=look))
    with pytest.raises(LookupError):
        result.get(timeout=WAIT_S)


def test_everybody_takes_a_call(tmp_path):
    """The telephones of the demo: whoever is called answers, listens and presses the key."""
    made = Embedded(tmp_path)
    made.switch.subscribers = Everybody()
    (result,) = made.call(bridge(leg(ANNA, "anna", "whisper"), limit_s=3, accept="1"))
    assert result.get(timeout=WAIT_S).code == "anna"
    made.close()


def test_waiting_without_a_control_connection(tmp_path):
    """Then it is looked between two pieces of music; nothing can be moved or said over a talk."""
    made = Embedded(tmp_path)
    control, made.control = made.control, None
    come = []
    (result,) = made.call(wait(30, look=lambda: bool(come)))
    made.sleep(1.0)
    come.append(True)
    assert result.get(timeout=2.0) == ""
    made.hang_up()
    told = []

    def look(channel):
        told.append((channel.connected(), channel.limit(60, 5), channel.insert(HELLO)))

    (result,) = made.call(watched(made, look, leg(ANNA, "anna"), limit_s=4))
    assert result.get(timeout=WAIT_S).time_over
    assert set(told) == {(None, False, False)}
    made.control = control
    made.close()


def test_waiting_without_any_music(tmp_path):
    """Where the recordings are missing callers wait in silence, as long, and keys are heard."""
    made = Embedded(tmp_path)
    for piece in MUSIC:
        (made.sounds / piece).unlink()
    (result,) = made.call(wait(3))
    began = made.switch.clock.now()
    assert result.get(timeout=WAIT_S) == ""
    assert 2.5 <= made.switch.clock.now() - began <= 6.0
    made.close()


@pytest.mark.parametrize(
    "name", ["../a.wav", "/a.wav", "a.mp3", "a b.wav", "a/.b.wav", "", "A.wav"]
)
def test_recordings_stay_in_their_folder(name):
    """A name that leads elsewhere is refused."""
    with pytest.raises(ValueError, match="not the name of a recording"):
        recording_name(name)


@pytest.mark.parametrize(
    ("number", "code"),
    [("+98912;x", "a"), ("0912", "a"), ("+989121234567", "a,b"), ("+98912]sofia", "a")],
)
def test_only_numbers_are_called(tmp_path, number, code):
    """Nothing else comes into a dial string."""
    made = Embedded(tmp_path)
    (result,) = made.call(bridge(leg(number, code), limit_s=4))
    with pytest.raises(ValueError, match=r"not an E.164 number|not a code"):
        result.get(timeout=WAIT_S)
    made.close()


def test_a_talk_is_waited_for_to_its_end(tmp_path, monkeypatch):
    """Its end may move by hours: the answer to `bridge` is not missed after the first one."""
    waited = []
    exchange = FreeSwitchChannel._exchange

    def noted(channel, commands, timeout_s=0.0):
        waited.append(timeout_s)
        return exchange(channel, commands, timeout_s)

    monkeypatch.setattr(FreeSwitchChannel, "_exchange", noted)
    made = Embedded(tmp_path)
    (result,) = made.call(bridge(leg(ANNA, "anna"), limit_s=2))
    assert result.get(timeout=WAIT_S).time_over
    assert max(waited) >= 24 * 3600
    made.close()
