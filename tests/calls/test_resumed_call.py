"""A call that comes to a worker a second time: one journal, and nothing of it lost."""

from __future__ import annotations

import pytest

from billing.journal import Journal as Store
from billing.journal import Step
from callflows.journal import STEPS_A_LEG, Journal
from esl_worker.frames import Frame
from esl_worker.session import ChannelData
from esl_worker.switch.caller import ScriptedCaller
from esl_worker.switch.dialplan import Dialplan
from esl_worker.worker import elapsed_of, leg_of
from tests.calls.scenario import Scenario
from tests.calls.test_scenarios_worker import Place
from tests.calls.world import World


@pytest.fixture
def place(tmp_path):
    """A worker that stores its journals at its end, so that both halves wait together."""
    world = World(tmp_path, Scenario("", ()))
    yield Place(world, tmp_path, journal_s=3600), world
    world.close()


def told(step: Step) -> str:
    if step.kind == "heard":
        return "+".join(phrase[0] for phrase in step.data["phrases"])
    return str(step.data.get("keys") or step.data["event"])


def test_a_call_that_comes_back_goes_on_in_its_journal(place):
    """The payment system is busy and the call comes back: both halves are told, in their order.

    Seen on a real switch: steps of the second half were taken for the first's, and dropped.
    """
    there, world = place
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
    channel = there.switch.call(
        "2000", "02188776655", caller=ScriptedCaller(["1", "4", "1", "hangup"])
    )
    channel.join()
    there.close()
    call = Store(world.database).read(channel.uuid)
    assert call is not None
    reading = "read_ids+read_ids_repeat+read_ids+read_ids_end"
    assert [told(step) for step in call.steps] == [
        "welcome+bill_summary+payment_menu",
        "1",
        "chose",
        "connecting_payment",
        "transfer",
        "resumed",
        "transfer_failed+payment_menu",
        "4",
        "chose",
        "read_ids_prepare",
        "1",
        reading,
    ]
    times = [step.at_ms for step in call.steps]
    assert times == sorted(times)
    # The prompts before the transfer are minutes to the switch, whose clock counts.
    assert times[5] > 1000
    assert [step.seq // STEPS_A_LEG for step in call.steps] == [0] * 5 + [1] * 7


PLACE = {
    "callflows_flow": "bill",
    "callflows_visits": "5",
    "callflows_language": "fa",
    "callflows_context": '{"line":"+982188776655","own":true,"bill":1,"purpose":"bill"}',
    "callflows_digits": "09121234567",
    "callflows_phrases": "invalid_mobile,ask_mobile_number",
}


@pytest.mark.parametrize(
    ("state", "first"),
    [
        ("ask_mobile", "number_read_back,confirm_number"),
        # Nothing that this release knows: the call begins anew, and takes no key for an answer.
        ("no_such_state", "welcome,bill_summary,payment_menu"),
    ],
)
def test_keys_collected_for_a_dead_worker_are_not_asked_for_again(place, state, first):
    """A number keyed in while the worker died is there already, and is used once."""
    there, _ = place
    caller = ScriptedCaller(["", "hangup"])
    variables = {**PLACE, "callflows_state": state}
    there.switch.call("2000", "02188776655", variables=variables, caller=caller).join()
    there.close()
    heard = [step.phrases for step in caller.transcript if step.kind == "heard"]
    assert heard[0] == first
    # The next question, which passed without a key, was asked and was not given the old ones.
    assert heard[-1].startswith("no_input,")


def test_keys_do_not_answer_another_question(place):
    """The bill was paid while its menu was heard and the worker died: the key that was pressed
    there chooses nothing in the menu of those who owe nothing."""
    there, world = place
    world.pay("02188776655")
    variables = {
        **PLACE,
        "callflows_state": "already_paid",
        "callflows_digits": "2",
        "callflows_phrases": "bill_summary,payment_menu",
    }
    caller = ScriptedCaller(["3"])
    there.switch.call("2000", "02188776655", variables=variables, caller=caller).join()
    there.close()
    heard = [step.phrases.split(",")[-1] for step in caller.transcript if step.kind == "heard"]
    assert heard[:2] == ["nothing_owed_menu", "goodbye"]


def test_what_was_paid_in_part_meanwhile_is_told_by_the_next_worker(place):
    """A part payment and a worker's death in the same menu: what is left is said before the IDs."""
    there, world = place
    (bill,) = world.desk.opening("+982188776655").open_bills
    world.pay("02188776655", 29_000)
    context = PLACE["callflows_context"].replace('"bill":1', f'"bill":{bill.id},"paid":0')
    variables = {
        **PLACE,
        "callflows_context": context,
        "callflows_state": "menu",
        "callflows_digits": "4",
        "callflows_phrases": "bill_summary,payment_menu",
    }
    caller = ScriptedCaller(["hangup"])
    there.switch.call("2000", "02188776655", variables=variables, caller=caller).join()
    there.close()
    heard = [step.phrases.split(",") for step in caller.transcript if step.kind == "heard"]
    assert heard[0] == ["bill_part_paid", "read_ids_prepare"]


def test_each_worker_has_its_own_numbers_for_steps():
    """A third worker's first step comes after all of the second's, and later."""
    second = Journal(lambda: 50.0, leg=1, elapsed_s=10.0)
    third = Journal(lambda: 70.0, leg=2, elapsed_s=30.0)
    for journal in (second, third):
        journal.event("resumed")
        journal.event("hangup")
    steps = second.steps + third.steps
    assert [step.seq for step in steps] == sorted({step.seq for step in steps})
    assert [step.at_ms for step in steps] == [10_000, 10_000, 30_000, 30_000]


@pytest.mark.parametrize(("had", "leg"), [(None, 1), ("1", 2), ("x", 1), ("99999", 1), ("", 1)])
def test_the_worker_before_is_counted(had, leg):
    """The count goes up by one for each worker; what is no count begins anew."""
    headers = {} if had is None else {"variable_callflows_leg": had}
    assert leg_of(ChannelData(Frame(headers))) == leg


@pytest.mark.parametrize(
    ("now", "answered", "seconds"),
    [
        ("1795295317750616", "1795295310790490", 6.960126),
        ("1795295317750616", "0", 0.0),
        ("5", "9", 0.0),
        (None, "9", 0.0),
        ("x", "9", 0.0),
    ],
)
def test_the_age_of_a_call_is_the_switch_s(now, answered, seconds):
    """Both times are the switch's own (microseconds), so no two clocks are compared."""
    headers = {"Event-Date-Timestamp": now, "Caller-Channel-Answered-Time": answered}
    given = {name: value for name, value in headers.items() if value is not None}
    assert elapsed_of(ChannelData(Frame(given))) == pytest.approx(seconds)


def test_ways_to_pay_are_those_of_all_workers(place):
    """What the caller chose with the first worker is still known when the second ends the call."""
    there, world = place
    context = PLACE["callflows_context"].replace("}", ',"ways":["bill"]}')
    variables = {**PLACE, "callflows_context": context, "callflows_state": "menu"}
    del variables["callflows_digits"]
    caller = ScriptedCaller(["4", "1", "", "3"])
    channel = there.switch.call("2000", "02188776655", variables=variables, caller=caller)
    channel.join()
    there.close()
    call = Store(world.database).read(channel.uuid)
    assert call is not None
    assert call.header.methods == ("bill", "read")
