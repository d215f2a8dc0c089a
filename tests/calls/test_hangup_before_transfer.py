"""A caller who hangs up while the connection to the next service is announced."""

from __future__ import annotations

import pytest

from billing.journal import Journal as Store
from esl_worker.switch.caller import ScriptedCaller
from tests.calls.scenario import Scenario
from tests.calls.test_scenarios_worker import Place
from tests.calls.world import World


class Leaves(ScriptedCaller):
    """A caller who hangs up in the middle of a prompt that holds the phrase."""

    def __init__(self, keys, phrase):
        super().__init__(keys)
        self.phrase = phrase

    def heard(self, files, duration, collecting):
        """Listen to half of it."""
        super().heard(files, duration, collecting)
        if self.phrase in self.transcript[-1].phrases.split(","):
            self._channel.clock.later(duration / 2, self._channel.hang_up)


@pytest.mark.parametrize(("key", "phrase"), [("1", "connecting_payment"), ("0", "connecting_care")])
def test_who_hangs_up_in_the_last_prompt_was_not_transferred(tmp_path, key, phrase):
    """The prompt is answered +OK all the same, as on a real switch; the journal is not misled."""
    world = World(tmp_path, Scenario("", ()))
    place = Place(world, tmp_path)
    channel = place.switch.call("2000", "02188776655", caller=Leaves([key], phrase))
    channel.join()
    place.close()
    call = Store(world.database).read(channel.uuid)
    world.close()
    assert call is not None
    assert call.header.outcome == "caller_gone"
    assert channel.transferred_to is None
    assert "transfer" not in [step.data.get("event") for step in call.steps]
    assert [phrase_key for phrase_key, *_ in call.steps[-1].data["phrases"]] == [phrase]
