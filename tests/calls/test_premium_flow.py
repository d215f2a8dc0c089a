"""Height 1: the premium-rate call on the flow alone; hanging up and taken over at every step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from billing.errors import Unavailable
from callflows.call import Call, CallerGone
from callflows.flow import Flow, restore
from callflows.journal import Journal
from callflows.premium.acceptance import Acceptance
from callflows.premium.authentication import OwnerAuthentication
from callflows.premium.consulting import ConsultantStates
from callflows.premium.premium_flow import PremiumFlow
from callflows.premium.proof import OwnerProof
from callflows.runner import run
from callflows.scripted import HangsUp, Hears, IsHungUp, TalksTo, hears, presses
from callflows.trees.runner import TreeStates
from tests.calls.premium_scenarios import (
    ACCEPT,
    ACCEPTED,
    CONNECTING,
    KEY,
    PIN,
    SCENARIOS,
    TERMS,
    busy_line,
)
from tests.calls.premium_world import NUMBER, Line, Premiere, PremiumWorld

CALL_ID = "00000000-0000-4000-8000-000000000001"


def talk(world: PremiumWorld, channel: Line) -> tuple[str, Flow, Call]:
    language = world.premiere.language
    call = Call(channel, Journal(), language=language or "fa", language_set=language is not None)
    flow = PremiumFlow(world.services)
    return run(flow, call), flow, call


def events(call: Call, name: str) -> list[dict]:
    return [
        step.data
        for step in call.journal.steps
        if step.kind == "event" and step.data["event"] == name
    ]


def check_money(world: PremiumWorld, costs: int) -> None:
    """What was charged, and nothing is left behind."""
    assert world.charges_without_consent() == 0
    assert world.charged() == costs
    assert world.used() == costs


def is_content(step: object) -> bool:
    """Whether this is something that costs."""
    return isinstance(step, TalksTo) or (isinstance(step, Hears) and step.keys == ("said",))


each = pytest.mark.parametrize("premiere", SCENARIOS, ids=lambda premiere: premiere.title)


@each
def test_scenario(premiere: Premiere, tmp_path):
    """The conversation goes as written; exactly what was used is charged, and no rial is held."""
    world = PremiumWorld(tmp_path, premiere)
    held = world.held()
    channel = Line(world, premiere.script)
    outcome, _, call = talk(world, channel)
    channel.done()
    assert outcome == premiere.outcome
    check_money(world, premiere.costs)
    assert world.held() == held
    assert (world.consent(CALL_ID) is not None) == premiere.accepted
    refused = [event["reason"] for event in events(call, "refused")]
    assert refused == ([premiere.refused] if premiere.refused else [])
    assert len(channel.variables["callflows_context"]) < 600
    world.close()


@each
def test_hanging_up_at_every_step(premiere: Premiere, tmp_path):
    """A caller may leave at any prompt: what was used till then is charged, if it was accepted."""
    for place, step in enumerate(premiere.script):
        if not isinstance(step, Hears):
            continue
        folder = tmp_path / str(place)
        folder.mkdir()
        world = PremiumWorld(folder, premiere)
        held = world.held()
        channel = Line(world, [*premiere.script[: place + 1], HangsUp()])
        outcome, _, _ = talk(world, channel)
        channel.done()
        assert outcome == "caller_gone"
        used = any(is_content(each) for each in premiere.script[:place])
        if not used and step.keys != ("said",):
            assert world.charged() == 0
        assert world.charged() <= max(premiere.costs, 20_000)
        assert world.charges_without_consent() == 0
        assert world.used() == world.charged()
        assert world.held() == held
        world.close()


class WorkerDied(CallerGone):
    """Our end of the call is lost; the call is not."""

    certain = False


class Dies(Line):
    """A channel whose worker dies while the n-th prompt plays."""

    def __init__(self, world, prompts, script):
        super().__init__(world, script)
        self.left = prompts

    def _hear(self, prompt):
        super()._hear(prompt)
        self.left -= 1
        if self.left == 0:
            raise WorkerDied


class Resumed(Line):
    """The rest of a script; its first prompt may lack what the dead worker had said before."""

    def _hear(self, prompt):
        if self.position == 0:
            first = self.script[0]
            assert isinstance(first, Hears)
            assert first.keys[-len(prompt.keys) :] == prompt.keys
            self.script[0] = replace(first, keys=prompt.keys)
        super()._hear(prompt)


TAKEN_OVER = [premiere for premiere in SCENARIOS if not premiere.counts_tries]


@pytest.mark.parametrize("premiere", TAKEN_OVER, ids=lambda premiere: premiere.title)
def test_another_worker_goes_on_at_every_step(premiere: Premiere, tmp_path):
    """Whichever prompt a worker dies at, another goes on there; nothing is charged twice."""
    prompts = [place for place, step in enumerate(premiere.script) if isinstance(step, Hears)]
    for count, place in enumerate(prompts, start=1):
        folder = tmp_path / str(count)
        folder.mkdir()
        # Terms that are played anew have a digit of their own; here, the same.
        world = PremiumWorld(folder, replace(premiere, draws="7777"))
        held = world.held()
        first = Dies(world, count, premiere.script)
        outcome, _, _ = talk(world, first)
        assert outcome == "caller_gone"
        rest = list(premiere.script[place:])
        step = premiere.script[place]
        assert isinstance(step, Hears)
        if step.keys == (KEY,):
            # The question is put whole: what it is about, then the digit, which is the same.
            rest.insert(0, replace(step, keys=(ACCEPT,)))
        second = Resumed(world, rest)
        second.variables = first.variables
        call = Call(second, Journal(), language="fa", language_set=True)
        call.language = first.variables["callflows_language"]
        flow = PremiumFlow(world.services)
        run(flow, call, restore(flow, call, first.variables))
        second.done()
        # A prompt of the content that two workers have begun takes its time twice.
        content = step.keys == ("said",)
        assert premiere.costs <= world.charged() <= premiere.costs + (12_000 if content else 0)
        assert world.charges_without_consent() == 0
        assert world.used() == world.charged()
        assert world.held() == held
        assert world.accepted() == premiere.accepted + bool(held) * 2
        world.close()


def test_what_was_heard_is_in_the_consent(tmp_path):
    """The evidence is what was played: every phrase with its values, the digit, in the language."""
    premiere = SCENARIOS[0]
    world = PremiumWorld(tmp_path, premiere)
    channel = Line(world, premiere.script)
    _, _, call = talk(world, channel)
    consent = world.consent(CALL_ID)
    assert consent is not None
    played = [
        phrase
        for step in call.journal.steps
        if step.kind == "heard"
        for phrase in step.data["phrases"]
    ]
    count = len(TERMS) + 2
    assert [list(each) for each in consent.heard] == played[:count]
    assert consent.digit == "7"
    assert consent.language == "fa"
    assert [tariff.price for tariff in consent.tariffs] == [6000]
    world.close()


def test_a_service_that_changes_meanwhile_changes_nothing_in_the_call(tmp_path):
    """The version that is being heard is the one that a worker which takes over goes on with."""
    premiere = SCENARIOS[0]
    world = PremiumWorld(tmp_path, premiere)
    first = Dies(world, 3, premiere.script)
    talk(world, first)
    assert first.variables["callflows_state"] == "accept"
    assert '"version":1' in first.variables["callflows_context"]
    assert world.premium.book.get(NUMBER, 1).version == 1
    world.close()


def test_calls_that_are_dialled_together_do_not_all_begin(tmp_path):
    """Two others of the line begin while this one hears the price: it is refused, and is free."""
    script = [*ACCEPTED, hears("premium_guarded"), IsHungUp()]
    premiere = Premiere("one too many", script, during={TERMS[0]: busy_line})
    world = PremiumWorld(tmp_path, premiere)
    _, _, call = talk(world, Line(world, script))
    assert events(call, "refused") == [{"event": "refused", "reason": "guarded"}]
    assert world.charges_without_consent() == 0
    assert world.used() == 0


def test_unavailable_database_lets_nobody_in(tmp_path):
    """A consent that cannot be written down is no consent: said so, and nothing is charged."""
    premiere = SCENARIOS[0]
    world = PremiumWorld(tmp_path, premiere)

    class Away:
        def accept(self, *_):
            raise Unavailable("away")

        def of(self, _):
            return None

    world.services = replace(
        world.services,
        premium=replace(world.premium, consents=Away()),  # type: ignore[arg-type]
    )
    script = [
        hears(*TERMS),
        hears(ACCEPT),
        hears(KEY),
        presses("7"),
        hears("premium_accepted"),
        hears("one_moment"),
        hears("premium_not_recorded"),
        IsHungUp(),
    ]
    channel = Line(world, script)
    talk(world, channel)
    channel.done()
    check_money(world, 0)
    world.close()


def test_trouble_in_the_content_is_worded_and_charged_to_that_moment(tmp_path):
    """A fault of ours after the connection: an apology, and what it has cost so far."""
    premiere = SCENARIOS[0]
    world = PremiumWorld(tmp_path, premiere)
    script = [
        *premiere.script[:5],
        hears(CONNECTING),
        hears("said"),
        presses("1"),
        hears("premium_trouble_connected", "premium_cost_minutes", "premium_goodbye"),
        IsHungUp(),
    ]

    class Breaks(Line):
        def collect(self, prompt, digits):
            pressed = super().collect(prompt, digits)
            if pressed == "1" and prompt.keys == ("said",):
                raise RuntimeError("broken")
            return pressed

    channel = Breaks(world, script)
    outcome, _, _ = talk(world, channel)
    channel.done()
    assert outcome == "trouble"
    check_money(world, 6000)
    assert world.held() == 0
    world.close()


def test_the_caller_is_warned_before_the_credit_ends(tmp_path):
    """Half a minute before the end of the talk, over what is being said; once."""
    (premiere,) = [each for each in SCENARIOS if each.title.startswith("the credit ends the talk")]
    world = PremiumWorld(tmp_path, premiere)
    channel = Line(world, premiere.script)
    talk(world, channel)
    assert channel.inserted == [(90, ("premium_credit_warning",))]
    world.close()


def test_no_state_or_step_of_one_part_hides_another_s():
    """The flow is mixed of parts: a name that two of them define would be lost in one."""
    parts = [ConsultantStates, TreeStates, OwnerAuthentication, OwnerProof, Acceptance]
    # What one part asks for and another, or the flow, gives.
    asked = {"premium", "service", "services", "line", "consult", "proved", "not_proved"}
    for place, part in enumerate(parts):
        for other in parts[place + 1 :]:
            both = {name for name in vars(part) if name in vars(other) and name[:2] != "__"}
            assert both <= asked, (part.__name__, other.__name__, both)


def test_a_pin_is_nowhere(tmp_path):
    """Neither context, journal nor any table holds the PIN as it was keyed in."""
    (premiere,) = [each for each in SCENARIOS if each.title == "by the owner's PIN"]
    world = PremiumWorld(tmp_path, premiere)
    channel = Line(world, premiere.script)
    _, _, call = talk(world, channel)
    told = repr([step.data for step in call.journal.steps]) + repr(channel.variables)
    assert PIN not in told
    world.close()
    assert PIN.encode() not in (tmp_path / "calls.db").read_bytes()
