"""A bill that is paid while its caller is on the line: no stale ID, no empty promise, no fault."""

from __future__ import annotations

import json

import pytest

from billing.errors import Unavailable
from callflows.bill_flow import BillFlow
from callflows.call import Call, CallerGone, Digits, Prompt
from callflows.flow import restore
from callflows.journal import Journal
from callflows.runner import run
from callflows.scripted import ScriptedChannel
from esl_worker.switch.dialplan import Dialplan, service_dialplan
from tests.calls.scenario import Meanwhile, Scenario
from tests.calls.scenarios import PAID_MEANWHILE
from tests.calls.test_scenarios_worker import Listener, Place
from tests.calls.test_trouble import heard_in
from tests.calls.world import World

FIXED, MOBILE, TWO = "02188776655", "09123456789", "02144556677"


@pytest.fixture
def world(tmp_path):
    """Lines and bills, nothing paid yet."""
    world = World(tmp_path, Scenario("", ()))
    yield world
    world.close()


class Answers(ScriptedChannel):
    """A channel that presses what it is told to, keeps the prompts, and leaves after the last."""

    def __init__(self, *keys: str, caller: str = FIXED) -> None:
        super().__init__((), caller=caller)
        self.answers = list(keys)
        self.prompts: list[Prompt] = []
        self.then = {}

    @property
    def heard(self) -> list[tuple[str, ...]]:
        return [prompt.keys for prompt in self.prompts]

    def play(self, prompt: Prompt) -> None:
        self.prompts.append(prompt)
        for act in [self.then.pop(key) for key in prompt.keys if key in self.then]:
            act()

    def collect(self, prompt: Prompt, digits: Digits) -> str:
        self.play(prompt)
        if not self.answers:
            raise CallerGone
        return self.answers.pop(0).rstrip("#")

    def transfer(self, destination: str, context: str) -> None:
        raise CallerGone

    def hangup(self, cause: str = "NORMAL_CLEARING") -> None:
        self.gone = True


def resume(world: World, state: str, channel: Answers, **context: object) -> BillFlow:
    """A worker takes the call over in that state, and goes on until the caller is gone."""
    line = world.desk.opening(channel.caller)
    number = line.line.number
    place = {"line": number, "own": True, "bill": first_bill(world, number), **context}
    flow = BillFlow(world.services)
    call = Call(channel, Journal(), language="fa", language_set=True)
    variables = {
        "callflows_flow": "bill",
        "callflows_state": state,
        "callflows_visits": "7",
        "callflows_context": json.dumps(place),
    }
    run(flow, call, restore(flow, call, variables))
    return flow


def first_bill(world: World, number: str) -> int:
    """The row id of the line's oldest bill, paid or not."""
    opening = world.desk.opening(number)
    paid = [opening.last_paid] if opening.last_paid else []
    return min(bill.id for bill in [*opening.open_bills, *paid])


ABOUT_THE_BILL = [
    "announce",
    "announce_again",
    "already_paid",
    "menu",
    "payment_system",
    "pen_and_paper",
    "read_ids",
    "promise",
    "nothing_owed",
    "choose_bill",
    "choose_again",
]


@pytest.mark.parametrize("state", ABOUT_THE_BILL)
@pytest.mark.parametrize("purpose", ["bill", "email"])
def test_whoever_takes_over_finds_it_paid(world, state, purpose):
    """Wherever the first worker died: the caller hears that the bill has been paid."""
    world.pay(MOBILE)
    channel = Answers(caller=MOBILE)
    resume(world, state, channel, purpose=purpose, to="+989123456789")
    assert channel.heard == [PAID_MEANWHILE]
    assert world.sent() == []


@pytest.mark.parametrize("state", sorted(BillFlow.states - {"welcome", "language_menu"}))
@pytest.mark.parametrize("paid", [False, True])
def test_no_state_breaks_when_the_bill_has_been_paid(world, state, paid):
    """Taken over in any state at all, one bill paid and one open: no technical fault."""
    if paid:
        world.pay(TWO)
    channel = Answers("", "1", "2", "4", "1", "9", "*", "1", caller=TWO)
    asked = {"purpose": "bill", "to": "+989121234567", "asked": "+982144556677"}
    resume(world, state, channel, **asked)
    assert channel.prompts
    assert not any("technical_trouble" in keys for keys in channel.heard)


def test_with_another_bill_open_that_one_is_announced(world):
    """Paid is said first, then what is still open."""
    world.pay(TWO)
    channel = Answers(caller=TWO)
    resume(world, "menu", channel)
    assert channel.heard == [("bill_paid_meanwhile", "bill_summary", "payment_menu")]


def test_what_was_ordered_before_the_payment_stays_ordered(world):
    """The first worker ordered and died; the second finds the bill paid, and orders nothing."""
    channel = Answers(caller=MOBILE)
    resume(world, "promise", channel, purpose="bill", to="+989123456789")
    assert channel.heard == [("bill_sms_promised", "anything_else")]
    world.pay(MOBILE)
    again = Answers(caller=MOBILE)
    resume(world, "promise", again, purpose="bill", to="+989123456789")
    assert again.heard == [PAID_MEANWHILE]
    assert len(world.sent()) == 1


def read_out(channel: Answers) -> list[dict[str, object]]:
    """What was read for writing down: amount and IDs."""
    return [
        dict(phrase.slots)
        for prompt in channel.prompts
        for phrase in prompt.phrases
        if phrase.key == "read_ids"
    ]


def test_the_ids_read_are_those_of_what_is_left(world):
    """Part-paid in the menu: the new payment ID and its amount, both times and when repeated."""
    channel = Answers("4", "1", "9")
    channel.then["payment_menu"] = lambda: world.pay(FIXED, 29_000)
    run(BillFlow(world.services), Call(channel, Journal()))
    (bill,) = world.desk.opening(FIXED).open_bills
    assert bill.paid == 29_000
    slots = {"amount": 100_000, "bill_id": bill.bill_id, "payment_id": bill.payment_id}
    assert read_out(channel) == [slots] * 4


def test_the_amount_of_the_bill_is_the_same_before_and_after_a_part_was_paid(world):
    """One rial of 129,000 paid: still a bill of 129,000; 128,000 to pay, 999 to carry."""
    channel = Answers("9")
    channel.then["payment_menu"] = lambda: world.pay(FIXED, 1)
    run(BillFlow(world.services), Call(channel, Journal()))
    first, second = channel.prompts
    assert first.phrases[1].slots["amount"] == second.phrases[0].slots["amount"] == 129_000
    paid, carried = second.phrases[1:3]
    assert dict(paid.slots) == {"paid": 1, "amount": 128_000}
    assert dict(carried.slots) == {"amount": 999}


def test_what_the_next_bill_adds_is_said_to_the_rial(tmp_path):
    """Remainders of several paid bills together, whichever was paid last."""
    rows = [f"02166554433,{n},1405,{n}0450,,,2027-01-0{n}" for n in (2, 1)]
    world = World(tmp_path, Scenario("", (), more_bills=rows))
    for _ in rows:
        world.pay("02166554433")
    channel = Answers(caller="02166554433")
    run(BillFlow(world.services), Call(channel, Journal()))
    ((_, paid, carried, _),) = [prompt.phrases for prompt in channel.prompts]
    assert paid.key == "bill_already_paid"
    assert (carried.key, dict(carried.slots)) == ("remainder_carried", {"amount": 900})
    world.close()


@pytest.mark.parametrize(("key", "then"), [("4", "read_ids_prepare"), ("1", "connecting_payment")])
def test_a_database_that_is_away_keeps_nobody_from_paying(world, monkeypatch, key, then):
    """What was read at the start still holds: nothing is posted in a database that is away."""

    def away(*_):
        raise Unavailable("away")

    (known,) = world.desk.opening(FIXED).open_bills
    monkeypatch.setattr(world.desk, "as_it_stands", away)
    channel = Answers(key, "1")
    call = Call(channel, Journal())
    run(BillFlow(world.services), call)
    assert channel.heard[1] == (then,)
    assert "not_read_again" in [step.data.get("event") for step in call.journal.steps]
    if key == "4":
        assert {slots["payment_id"] for slots in read_out(channel)} == {known.payment_id}


def test_the_bill_is_read_again_only_where_it_matters(world, monkeypatch):
    """A call that orders an SMS reads the bill once, at its start: the order itself looks again."""
    reads = []
    bill = world.desk.as_it_stands
    monkeypatch.setattr(
        world.desk, "as_it_stands", lambda which: reads.append(which) or bill(which)
    )
    channel = Answers("2", "3", caller=MOBILE)
    run(BillFlow(world.services), Call(channel, Journal()))
    assert len(world.sent()) == 1
    assert reads == []
    run(BillFlow(world.services), Call(Answers("4", "1", caller=MOBILE), Journal()))
    assert len(reads) == 2


# -- on the switch ------------------------------------------------------------------------------


def test_a_transfer_that_comes_back_after_the_payment(tmp_path):
    """The payment system took the money, then let the call go: paid, and nothing is asked for."""
    world = World(tmp_path, Scenario("", (), meanwhile=[Meanwhile("connecting_payment", FIXED)]))
    there = Place(world, tmp_path)
    worker = f"127.0.0.1:{there.server.server_port} full"
    there.switch.dialplan = Dialplan(
        {
            "public": [("2000", [("socket", worker)])],
            "payment": [
                (
                    "2000",
                    [
                        ("set", "continue_on_fail=true"),
                        ("bridge", "error/user_busy"),
                        ("socket", worker),
                    ],
                )
            ],
        }
    )
    caller = Listener(world, ["1", "3"])
    there.switch.call("2000", FIXED, caller=caller).join()
    there.close()
    assert heard_in(caller.transcript)[2:] == [
        ("transfer_failed", *PAID_MEANWHILE),
        ("goodbye",),
    ]
    world.close()


def test_a_worker_that_dies_after_the_payment(tmp_path):
    """The live call comes to the next worker in the menu of a bill that has been paid since."""
    world = World(tmp_path, Scenario("", (), meanwhile=[Meanwhile("payment_menu", FIXED)]))
    first, second = Place(world, tmp_path), Place(world, tmp_path)
    first.switch.dialplan = service_dialplan(
        [f"127.0.0.1:{place.server.server_port}" for place in (first, second)]
    )

    class Killer(Listener):
        def heard(self, files, duration, collecting):
            super().heard(files, duration, collecting)
            if "payment_menu" in self.transcript[-1].phrases and not first.server.closed:
                first.server.close()
                for greenlet in list(first.server._running):
                    greenlet.kill(block=False)

    caller = Killer(world, ["", "3"])
    first.switch.call("2000", FIXED, caller=caller).join()
    second.close()
    assert heard_in(caller.transcript)[-2:] == [PAID_MEANWHILE, ("goodbye",)]
    world.close()
