"""A prompt of more recordings than the switch plays in one go."""

from __future__ import annotations

import pytest

from esl_worker.call import PIECES
from esl_worker.switch.caller import ScriptedCaller
from tests.calls.scenario import Scenario
from tests.calls.test_scenarios_worker import Place, is_pause
from tests.calls.world import World


@pytest.fixture
def place(tmp_path):
    """A worker and a switch."""
    world = World(tmp_path, Scenario("", ()))
    place = Place(world, tmp_path)
    yield place
    place.close()
    world.close()


def test_a_long_prompt_is_cut_between_two_sentences(place):
    """The switch waits a second between two parts: never in the middle of an ID (A7).

    On a real switch the read-out of a twelve-digit bill stopped inside the payment ID.
    """
    listener = ScriptedCaller(["4", "1", "hangup"])
    place.switch.call("2000", "02133221100", caller=listener).join()
    parts = [
        step
        for step in listener.transcript
        if step.kind == "heard" and step.state == "read_ids" and not is_pause(step)
    ]
    assert [step.phrases for step in parts] == [
        "read_ids,read_ids_repeat",
        "read_ids,read_ids_end",
    ]
    assert all(len(step.recordings) <= PIECES for step in parts)
    assert sum(len(step.recordings) for step in parts) > PIECES
    assert parts[1].recordings[0] == parts[0].recordings[0]


def test_a_key_in_the_first_part_answers_the_question(place):
    """Who has heard enough in the first part need not wait for the second."""
    listener = ScriptedCaller(["4", "1"])
    channel = place.switch.call("2000", "02133221100", caller=listener)

    def heard(files, duration, collecting, tell=listener.heard):
        tell(files, duration, collecting)
        if "read_ids" in (channel.get("callflows_phrases") or "").split(","):
            channel.press("0")

    listener.heard = heard
    channel.join()
    phrases = [step.phrases for step in listener.transcript if step.kind == "heard"]
    assert phrases[2:4] == ["read_ids,read_ids_repeat", "connecting_care"]
