"""Flows: states, transitions, the place on the channel, resuming, trouble."""

from __future__ import annotations

import pytest

from billing.errors import Unavailable
from callflows.call import Call
from callflows.flow import Flow, UnknownPlace, place_of, restore, state
from callflows.journal import Journal
from callflows.runner import run
from callflows.scripted import HangsUp, IsHungUp, IsTransferred, ScriptedChannel, hears, presses
from sounds import Phrase


class Small(Flow):
    """Two states, one side effect, one fault on demand."""

    name = "small"

    def __init__(self, fault=None):
        super().__init__()
        self.fault = fault
        self.keys = []

    @state(initial=True)
    def ask(self, call):
        self.context["asked"] = True
        return call.choose(Phrase("payment_menu"), {"1": self.act, "0": self.leave})

    @state
    def act(self, call):
        if self.fault:
            raise self.fault
        self.keys.append(self.key(call, "effect"))
        call.say(Phrase("one_moment"))
        return self.end

    @state
    def leave(self, call):
        return self.hand_over(call, "2020", "care", self.failed)

    @state
    def failed(self, call):
        call.say(Phrase("transfer_failed"))
        return self.end

    @state
    def end(self, call):
        call.say(Phrase("goodbye"))

    def trouble(self, call):
        call.say(Phrase("technical_trouble"))


def start(*script, flow=None, place=None):
    channel = ScriptedChannel(script)
    call = Call(channel, Journal())
    flow = flow or Small()
    first = restore(flow, call, place) if place else None
    outcome = run(flow, call, first)
    channel.done()
    return outcome, flow, channel, call


def test_a_flow_runs_from_its_initial_state_to_its_end():
    """States follow each other; the last one returns nothing and the call is hung up."""
    outcome, flow, *_ = start(
        hears("payment_menu"), presses("1"), hears("one_moment", "goodbye"), IsHungUp()
    )
    assert outcome == "completed"
    assert flow.visits == 2


def test_the_place_is_on_the_channel_before_each_state():
    """Flow, state, count and context are written at each transition, as plain text."""
    *_, channel, _ = start(hears("payment_menu"), HangsUp())
    assert channel.variables == {
        "callflows_flow": "small",
        "callflows_state": "ask",
        "callflows_visits": "0",
        "callflows_language": "fa",
        "callflows_context": "{}",
    }


def test_a_resumed_call_goes_on_in_its_state_with_the_same_key():
    """The second worker runs the state again; its side effect has the first worker's key."""
    _, first, channel, _ = start(
        hears("payment_menu"), presses("1"), hears("one_moment", "goodbye"), IsHungUp()
    )
    place = dict(channel.variables, callflows_state="act", callflows_visits="1")
    _, second, *_ = start(hears("one_moment", "goodbye"), IsHungUp(), place=place)
    assert first.keys == second.keys
    assert second.context == {"asked": True}


@pytest.mark.parametrize(
    "change",
    [
        {"callflows_state": "nowhere"},
        {"callflows_state": "run"},
        {"callflows_state": "__init__"},
        {"callflows_visits": "many"},
        {"callflows_context": "[]"},
        {"callflows_context": "{"},
        {"callflows_context": None},
    ],
)
def test_a_place_that_makes_no_sense_is_refused(change):
    """Only states can be resumed, only a whole context is taken; the error names the flow."""
    *_, channel, call = start(hears("payment_menu"), HangsUp())
    place = {**channel.variables, **change}
    place = {name: value for name, value in place.items() if value is not None}
    with pytest.raises(UnknownPlace, match="small"):
        restore(Small(), call, place)


@pytest.mark.parametrize("fault", [Unavailable("locked"), RuntimeError("bug")])
def test_the_caller_hears_a_sentence_whatever_breaks(fault):
    """An error of ours ends in the flow's own words, not in silence."""
    outcome, *_, call = start(
        hears("payment_menu"),
        presses("1"),
        hears("technical_trouble"),
        IsHungUp(),
        flow=Small(fault),
    )
    assert outcome == "trouble"
    assert [s.data for s in call.journal.steps if s.data.get("event") == "trouble"] == [
        {"event": "trouble", "error": type(fault).__name__}
    ]


def test_hanging_up_is_no_error():
    """A caller who leaves ends the run quietly."""
    outcome, *_ = start(hears("payment_menu"), HangsUp())
    assert outcome == "caller_gone"


def test_a_transfer_leaves_the_place_of_its_failure():
    """A call that comes back from a failed transfer goes on after it, not in it again."""
    outcome, _, channel, _ = start(
        hears("payment_menu"), presses("0"), IsTransferred("2020", "care")
    )
    assert outcome == "transferred"
    assert channel.variables["callflows_state"] == "failed"
    outcome, *_ = start(
        hears("transfer_failed", "goodbye"), IsHungUp(), place=dict(channel.variables)
    )
    assert outcome == "completed"


def test_a_flow_needs_exactly_one_initial_state():
    """A class that cannot begin is refused when it is written, not when somebody calls."""
    with pytest.raises(TypeError, match="exactly one initial state"):

        class Broken(Flow):
            name = "broken"

            @state
            def somewhere(self, call):
                return None


def test_a_context_holds_whatever_a_flow_puts_into_it():
    """Quotes, backslashes and other alphabets come back from a channel variable as they were."""
    flow = Small()
    flow.context = {"pending": '["a\\b","$x|~\'%41"]', "text": "فالِ حافظ"}
    kept = flow.encoded_context()
    assert kept.isascii()
    assert not set(kept) & set("\\'|$~")
    again = Small()
    restore(again, Call(ScriptedChannel([]), Journal()), place_of(flow, "ask", "fa"))
    assert again.context == flow.context
