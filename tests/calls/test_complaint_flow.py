"""Height 1: the complaints line on the flow alone; hung up and taken over at every step (D12)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from billing.errors import Unavailable
from billing.premium.posting import Charges
from callflows.call import Call, CallerGone
from callflows.flow import Flow, restore
from callflows.journal import Journal
from callflows.premium.complaint_flow import ComplaintFlow
from callflows.runner import run
from callflows.scripted import (
    Event,
    HangsUp,
    Hears,
    IsHungUp,
    IsTransferred,
    Says,
    hears,
    presses,
    says,
)
from tests.calls.owner_scenarios import OwnerLine, OwnerWorld
from tests.calls.premium_world import TEHRAN, Premiere
from tests.charging_house import HEARD

CALL_ID = "00000000-0000-4000-8000-000000000001"
CARE: list[Event] = [IsTransferred("2020", "care")]
END: list[Event] = [presses("*"), hears("goodbye"), IsHungUp()]
RECORDED = ("complaint_recorded", "complaint_say")
THANKS = ("complaint_thanks", "complaint_by_sms", "complaint_more")


@dataclass(frozen=True)
class ComplaintCall(Premiere):
    """A call to the complaints line after `used` calls to the service.

    `before` changes the world once those are charged; `stand` is how the charges stand afterwards,
    the oldest first.
    """

    dialled: str = "2020"
    used: int = 2
    before: Callable[[ComplaintWorld], object] = lambda _: None
    stand: tuple[str, ...] = ("posted", "posted")


class ComplaintWorld(OwnerWorld):
    """A premium world where the line has used its service before."""

    def __init__(self, folder: Path, case: ComplaintCall) -> None:
        super().__init__(folder, case)
        self.charges = [self._use(f"earlier-{place}") for place in range(case.used)]
        case.before(self)

    def _use(self, call_id: str) -> int:
        now = self.clock.now()
        tariffs = self.premium.prices.announced(self.service, now)
        consent = self.consents.accept(
            call_id, self.line.id, self.service, 1, tariffs, "fa", HEARD, "4", "4", now, now
        )
        self.charging.begin(call_id, consent, self.service, self.line.id, None, "+982188776655")
        self.charging.connected(call_id, now)
        self.clock.advance(60)
        self.charging.ended(call_id, self.clock.now())
        posted = Charges(self.database, self.clock, TEHRAN).post(call_id)
        assert posted.charge is not None
        return posted.charge

    def complain(self, place: int, decision: str | None = None) -> None:
        """A complaint about an earlier call, perhaps decided."""
        complaints = self.premium.complaints
        number = complaints.open(f"before-{place}", self.line.id, self.charges[place], "before")
        if decision is not None:
            getattr(complaints, decision)(number, "care", "for a test")

    def stand(self) -> tuple[str, ...]:
        """How the charges stand, the oldest first."""
        with self.database.read() as conn:
            rows = conn.exec_driver_sql("SELECT status FROM charges ORDER BY id")
            return tuple(row[0] for row in rows)


def scenario(title: str, *script: Event | Iterable[Event], **more: object) -> ComplaintCall:
    """One call; lists in the script are spread out."""
    steps: list[Event] = []
    for step in script:
        if isinstance(step, Iterable):
            steps.extend(step)
        else:
            steps.append(step)
    return ComplaintCall(title, steps, **more)  # type: ignore[arg-type]


def listed(*options: str) -> Hears:
    """The list, after whatever was said before it."""
    return hears(*options, "complaint_last_keys")


TWO = ("complaint_last", "complaint_option", "complaint_option")
CHOSEN = hears("complaint_chosen", "complaint_confirm")
MESSAGE = f"complaints/{CALL_ID}-3.wav"

SCENARIOS = [
    scenario(
        "the older of two charges, with a message",
        listed("complaint_welcome", *TWO), presses("2"), CHOSEN, presses("1"),
        hears(*RECORDED), says(MESSAGE, 12.0), hears(*THANKS), END,
        stand=("disputed", "posted"),
    ),
    scenario(
        "another one is chosen, and nothing is said",
        listed("complaint_welcome", *TWO), presses("9"), listed(*TWO), presses("2"),
        CHOSEN, presses("2"), listed(*TWO), presses("1"), CHOSEN, presses("1"),
        hears(*RECORDED), says(f"complaints/{CALL_ID}-6.wav", 0), hears(*THANKS), END,
        stand=("posted", "disputed"),
    ),
    scenario(
        "both charges, one after the other",
        listed("complaint_welcome", *TWO), presses("1"), CHOSEN, presses("1"),
        hears(*RECORDED), says(MESSAGE, 3.0), hears(*THANKS), presses("1"),
        listed("complaint_last", "complaint_examined", "complaint_option"), presses("1"),
        CHOSEN, presses("1"),
        hears(*RECORDED), says(f"complaints/{CALL_ID}-8.wav", 3.0), hears(*THANKS), END,
        stand=("disputed", "disputed"),
    ),
    scenario(
        "charges that were complained about have no key",
        listed("complaint_welcome", "complaint_last", "complaint_examined", "complaint_decided"),
        presses("1"),
        listed("invalid_key", "complaint_last", "complaint_examined", "complaint_decided"), END,
        before=lambda world: (world.complain(0, "reject"), world.complain(1)),
        stand=("posted", "disputed"),
        counts_tries=True,
    ),
    scenario(
        "a reversed charge is none any more",
        listed("complaint_welcome", "complaint_last", "complaint_option"), END,
        before=lambda world: world.complain(0, "accept"),
        stand=("reversed", "posted"),
    ),
    scenario(
        "a line without charges, on to care",
        hears("complaint_welcome", "complaint_none", "complaint_none_keys"), presses("0"),
        hears("connecting_care"), CARE,
        used=0, stand=(), outcome="transferred",
    ),
    scenario(
        "care from the list",
        listed("complaint_welcome", *TWO), presses("0"), hears("connecting_care"), CARE,
        outcome="transferred",
    ),
    scenario(
        "a number that the network does not vouch for is read nothing",
        hears("complaint_welcome", "complaint_withheld", "connecting_care"), CARE,
        identity=None, outcome="transferred",
    ),
    scenario(
        "a number that is no line's",
        hears("complaint_welcome", "complaint_unknown_line", "connecting_care"), CARE,
        caller="02199999999", outcome="transferred",
    ),
    scenario(
        "silence",
        listed("complaint_welcome", *TWO), presses(""),
        listed("no_input", *TWO), presses(""),
        listed("no_input", *TWO), presses(""),
        hears("giving_up_no_input"), IsHungUp(),
        counts_tries=True,
    ),
    scenario(
        "wrong keys",
        listed("complaint_welcome", *TWO), presses("7"),
        listed("invalid_key", *TWO), presses("8"),
        listed("invalid_key", *TWO), presses("3"),
        hears("giving_up_invalid", "connecting_care"), CARE,
        counts_tries=True, outcome="transferred",
    ),
]  # fmt: skip

each = pytest.mark.parametrize("case", SCENARIOS, ids=lambda case: case.title)


def talk(world: ComplaintWorld, channel: OwnerLine) -> tuple[str, Flow, Call]:
    call = Call(channel, Journal())
    flow = ComplaintFlow(world.services)
    return run(flow, call), flow, call


@each
def test_scenario(case: ComplaintCall, tmp_path):
    """The conversation goes as written; what was complained about is disputed, nothing else."""
    world = ComplaintWorld(tmp_path, case)
    channel = OwnerLine(world, case.script)
    outcome, _, _ = talk(world, channel)
    channel.done()
    assert outcome == case.outcome
    assert world.stand() == case.stand
    assert len(channel.variables["callflows_context"]) < 300
    world.close()


@each
def test_hanging_up_at_every_step(case: ComplaintCall, tmp_path):
    """A caller may leave at any prompt; once it was said that it is recorded, it is."""
    for place, step in enumerate(case.script):
        if not isinstance(step, Hears):
            continue
        folder = tmp_path / str(place)
        folder.mkdir()
        world = ComplaintWorld(folder, case)
        before = world.stand().count("disputed")
        channel = OwnerLine(world, [*case.script[: place + 1], HangsUp()])
        outcome, _, _ = talk(world, channel)
        channel.done()
        assert outcome == "caller_gone"
        told = sum(
            isinstance(step, Hears) and "complaint_recorded" in step.keys
            for step in case.script[: place + 1]
        )
        assert world.stand().count("disputed") == before + told
        world.close()


class Dies(OwnerLine):
    """A channel whose worker dies while the n-th prompt plays."""

    left = 0

    def _hear(self, prompt):
        super()._hear(prompt)
        self.left -= 1
        if self.left == 0:
            raise CallerGone("the worker has died")


class Resumed(OwnerLine):
    """The rest of a script; its first prompt may lack what the dead worker had said before."""

    def _hear(self, prompt):
        if self.position == 0:
            first = self.script[0]
            assert isinstance(first, Hears)
            assert first.keys[-len(prompt.keys) :] == prompt.keys
            self.script[0] = replace(first, keys=prompt.keys)
        super()._hear(prompt)


@pytest.mark.parametrize(
    "case", [case for case in SCENARIOS if not case.counts_tries], ids=lambda case: case.title
)
def test_another_worker_goes_on_at_every_step(case: ComplaintCall, tmp_path):
    """Whichever prompt a worker dies at, another goes on there; nothing is complained of twice."""
    prompts = [place for place, step in enumerate(case.script) if isinstance(step, Hears)]
    for count, place in enumerate(prompts, start=1):
        step = case.script[place]
        assert isinstance(step, Hears)
        if "connecting_care" in step.keys or "goodbye" in step.keys:
            continue
        folder = tmp_path / str(count)
        folder.mkdir()
        world = ComplaintWorld(folder, case)
        first = Dies(world, case.script)
        first.left = count
        assert talk(world, first)[0] == "caller_gone"
        second = Resumed(world, case.script[place:])
        second.variables = first.variables
        call = Call(second, Journal(), language="fa", language_set=True)
        flow = ComplaintFlow(world.services)
        run(flow, call, restore(flow, call, first.variables))
        second.done()
        assert world.stand() == case.stand
        world.close()


def test_what_cannot_be_recorded_is_not_promised(tmp_path, monkeypatch):
    """A database that is away just then: said so, and the caller may try again."""
    case = scenario(
        "away",
        listed("complaint_welcome", *TWO), presses("1"), CHOSEN, presses("1"),
        hears("complaint_not_saved", "complaint_more"), END,
    )  # fmt: skip
    world = ComplaintWorld(tmp_path, case)

    def away(*_: object) -> None:
        raise Unavailable("locked")

    monkeypatch.setattr(type(world.premium.complaints), "open", away)
    channel = OwnerLine(world, case.script)
    assert talk(world, channel)[0] == "completed"
    channel.done()
    assert world.stand() == case.stand
    world.close()


def test_somebody_else_was_quicker(tmp_path):
    """Two telephones of one line pick the same charge: there is one complaint, and both hear so."""
    case = scenario(
        "quicker",
        listed("complaint_welcome", *TWO), presses("1"), CHOSEN, presses("1"),
        hears("complaint_there_is_one", "complaint_more"), END,
        stand=("posted", "disputed"),
    )  # fmt: skip
    world = ComplaintWorld(tmp_path, case)
    chosen = ComplaintFlow._chosen

    class Slow(ComplaintFlow):
        """Somebody else complains between the look and the writing down."""

        name = "slow"

        def _chosen(self):
            found = chosen(self)
            if self.visits == 2:
                world.complain(1)
            return found

    channel = OwnerLine(world, case.script)
    call = Call(channel, Journal())
    assert run(Slow(world.services), call) == "completed"
    channel.done()
    assert world.stand() == case.stand
    world.close()


def test_the_complaint_knows_its_recording(tmp_path):
    """Written down before it is spoken: who hangs up in the message has complained all the same."""
    case = SCENARIOS[0]
    world = ComplaintWorld(tmp_path, case)
    place = next(place for place, step in enumerate(case.script) if isinstance(step, Says))
    channel = OwnerLine(world, [*case.script[:place], HangsUp()])
    assert talk(world, channel)[0] == "caller_gone"
    (complaint,) = world.premium.complaints.listed()
    assert (complaint.recording, complaint.charge) == (MESSAGE, world.charges[0])
    told = [payload for kind, payload in world.orders() if kind == "sms.complaint_opened"]
    assert [payload["complaint"] for payload in told] == [complaint.id]
    world.close()
