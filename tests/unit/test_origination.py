"""A call that we place: the command, and the one result it comes to."""

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_worker.frames import Frame
from esl_worker.origination import CallEnd, OriginateResult, Origination
from esl_worker.originations import Originations

UUID = "17f59524-dab8-44ac-826b-f7d561c1528b"


def origination(**fields):
    return Origination(
        **{"endpoint": "sofia/gateway/trunk/02188776655", "then": "&park()", "uuid": UUID, **fields}
    )


# The command.


def test_the_command_says_everything_that_was_asked_for():
    """Id, owner, ringing time, caller ID, limit, variables; quoted as the switch wants it."""
    made = origination(
        then="&socket(127.0.0.1:8084|127.0.0.1:8085 full)",
        ring_s=30,
        limit_s=600,
        caller_number="02112345678",
        caller_name="Ali, the operator",
        variables={"callflows_flow": "announce", "callflows_campaign": "7"},
    )
    assert made.command("me") == (
        f"originate {{origination_uuid={UUID},callflows_control=me,ignore_early_media=true,"
        "originate_timeout=30,origination_caller_id_number=02112345678,"
        "origination_caller_id_name='Ali\\, the operator',"
        "execute_on_answer='sched_hangup +600 allotted_timeout',"
        "callflows_flow=announce,callflows_campaign=7}sofia/gateway/trunk/02188776655 "
        "'&socket(127.0.0.1:8084|127.0.0.1:8085 full)'"
    )


def test_an_extension_is_not_quoted():
    """Extension, dialplan and context are three arguments."""
    assert origination(then="2000 XML public").command("me").endswith("02188776655 2000 XML public")


def test_every_origination_has_an_id_of_its_own():
    """Made by us before the command is sent; two never share one."""
    first, second = (Origination(endpoint="a/b", then="&park()") for _ in range(2))
    assert first.uuid != second.uuid


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("endpoint", "sofia/gateway/trunk/1,sofia/gateway/trunk/2"),
        ("endpoint", "sofia/gateway/trunk/1|2"),
        ("endpoint", "sofia/gateway/trunk/1 &hangup"),
        ("endpoint", "[a=b]sofia/1"),
        ("endpoint", "sofia/${x}"),
        ("endpoint", "sofia/1\n\napi"),
        ("endpoint", "nothing"),
        ("then", "&park()\n"),
        ("then", "&system(rm) x"),
        ("then", "&bridge({a=b}user/1)"),
        ("then", "&a('b')"),
        ("then", "2000 XML public extra"),
        ("then", ""),
        ("uuid", "a b"),
        ("uuid", "x" * 37),
        ("ring_s", 0),
        ("ring_s", 1.5),
        ("limit_s", -1),
        ("caller_number", "1}2"),
        ("caller_number", "1\n2"),
        ("caller_name", "a${b}"),
        ("caller_name", "it's"),
        ("variables", {"a b": "c"}),
        ("variables", {"a": "${b}"}),
        ("variables", {"a": ""}),
        ("variables", {"origination_uuid": "x"}),
        ("variables", {"execute_on_answer": "x"}),
    ],
)
def test_what_the_switch_would_read_otherwise_is_refused(field, value):
    """The error names the field; nothing is sent."""
    names = rf"{field}|origination_{field.replace('caller', 'caller_id')}|variable|a "
    with pytest.raises(ValueError, match=names):
        origination(**{field: value}).command("me")


@given(value=st.text(min_size=1))
def test_a_value_never_leaves_its_place(value):
    """Whatever a caller name holds, it is refused, or the command has one line, one closing brace
    and the endpoint behind it."""
    try:
        command = origination(caller_name=value).command("me")
    except ValueError:
        return
    assert "\n" not in command
    assert command.count("}") == 1
    assert command.endswith("}sofia/gateway/trunk/02188776655 '&park()'")


# The result.


class Told:
    """Who waits for results and ends."""

    def __init__(self):
        self.heard = []
        self.calls = Originations()

    def begin(self, due=100.0, *, end=True, uuid=UUID):
        self.calls.begin(
            origination(uuid=uuid), due, self.heard.append, self.heard.append if end else None
        )
        return self

    def event(self, name, uuid=UUID, **headers):
        fields = {key.replace("__", "-"): value for key, value in headers.items()}
        self.calls.event(name, Frame({"Unique-ID": uuid, **fields}))
        return self

    def all(self):
        gevent.sleep(0.001)
        return self.heard


def hangup(told, cause, answered="0", billsec="0"):
    return told.event(
        "CHANNEL_HANGUP_COMPLETE",
        Hangup__Cause=cause,
        variable_answer_epoch=answered,
        variable_billsec=billsec,
    )


def test_answered_then_ended():
    """Answer event, the switch's +OK, the end: one result, one end, then nothing is kept."""
    told = Told().begin().event("CHANNEL_ANSWER")
    assert told.calls.said(UUID, f"+OK {UUID}\n") is None
    assert len(told.calls) == 1
    hangup(told, "NORMAL_CLEARING", "1795296064", "42")
    assert told.all() == [
        OriginateResult(UUID, "answered"),
        CallEnd(UUID, "NORMAL_CLEARING", 42),
    ]
    assert len(told.calls) == 0


def test_an_end_before_the_switchs_answer_is_an_answered_call():
    """Measured: a call that ends at once has its hangup event before the +OK."""
    told = hangup(Told().begin(), "NO_ROUTE_DESTINATION", "1795296064", "0")
    told.calls.said(UUID, f"+OK {UUID}\n")
    assert told.all() == [
        OriginateResult(UUID, "answered"),
        CallEnd(UUID, "NO_ROUTE_DESTINATION", 0),
    ]


def test_a_refusal_is_told_once():
    """Measured: the hangup event comes before the -ERR, both with the cause."""
    told = hangup(Told().begin(), "USER_BUSY")
    told.calls.said(UUID, "-ERR USER_BUSY\n")
    assert told.all() == [OriginateResult(UUID, "failed", "USER_BUSY")]
    assert len(told.calls) == 0


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("-ERR INVALID_GATEWAY\n", "INVALID_GATEWAY"),
        ("-ERR NO_ANSWER\n", "NO_ANSWER"),
        ("-USAGE: <call url> <exten>\n", "INVALID_MSG_UNSPECIFIED"),
        ("-ERR originate Command not found!\n", "INVALID_MSG_UNSPECIFIED"),
        ("", "INVALID_MSG_UNSPECIFIED"),
    ],
)
def test_a_failure_without_a_call(said, cause):
    """Where no channel came to be there is only the switch's answer."""
    told = Told().begin()
    told.calls.said(UUID, said)
    assert told.all() == [OriginateResult(UUID, "failed", cause)]


def test_a_call_under_another_id_is_given_back_to_be_ended():
    """Measured: an id in use makes the switch dial once more under a new one."""
    told = Told().begin()
    assert told.calls.said(UUID, "+OK 40f997b4-e7b0-4eff-85e9-fc06b05b5267\n") == (
        "40f997b4-e7b0-4eff-85e9-fc06b05b5267"
    )
    assert [each.outcome for each in told.all()] == ["lost"]


def test_other_legs_are_not_ours():
    """A loopback's far leg carries our variable, too (measured)."""
    told = Told().begin().event("CHANNEL_ANSWER", uuid="7fbae257-b19f-452a-b64b-7290ad8194fa")
    assert told.all() == []


def test_an_id_is_used_once():
    """While it is under way; nothing is sent for the second one."""
    with pytest.raises(ValueError, match="uuid"):
        Told().begin().begin()


def test_gone_twice_is_lost():
    """The switch may not have got to it when it is asked the first time."""
    told = Told().begin(due=5.0)
    assert told.calls.overdue(4.0) == []
    assert told.calls.overdue(5.0) == [UUID]
    told.calls.look({UUID: "none"}, 50.0)
    assert told.all() == []
    assert told.calls.overdue(0.0) == [UUID]
    told.calls.look({UUID: "none"}, 50.0)
    assert [each.outcome for each in told.all()] == ["lost"]
    assert len(told.calls) == 0


def test_ringing_is_waited_for():
    """Gone, then ringing, then gone: begins to count again."""
    told = Told().begin(due=5.0)
    for state in ("none", "ringing", "none"):
        told.calls.look({UUID: state}, 50.0)
    assert told.all() == []
    told.calls.look({UUID: "answered"}, 50.0)
    assert told.all() == [OriginateResult(UUID, "answered")]


def test_an_answered_call_that_the_switch_no_longer_has_has_ended():
    """Its event was lost: an end without cause and time."""
    told = Told().begin()
    told.calls.answered(UUID)
    assert told.calls.talking() == [UUID]
    told.calls.gone(UUID)
    assert told.all() == [OriginateResult(UUID, "answered"), CallEnd(UUID, None, None)]


def test_a_lost_switch_ends_everything():
    """Ringing ones are lost, answered ones end."""
    told = Told().begin().begin(uuid="second-one")
    told.calls.answered("second-one")
    told.calls.lose([*told.calls.unanswered(), *told.calls.talking()], "restarted")
    assert CallEnd("second-one", None, None, cut=True) in told.all()
    assert OriginateResult(UUID, "lost", "restarted") in told.all()
    assert len(told.calls) == 0


def test_nobody_waits_for_the_end():
    """Without on_end an answered call is forgotten."""
    told = Told().begin(end=False)
    told.calls.answered(UUID)
    assert len(told.calls) == 0
    assert told.all() == [OriginateResult(UUID, "answered")]


def test_the_end_is_told_after_the_result():
    """Also when the result's callback takes its time (a database)."""
    heard = []
    calls = Originations()

    def slowly(result):
        gevent.sleep(0.02)
        heard.append(result)

    calls.begin(origination(), 9.0, slowly, heard.append)
    calls.answered(UUID)
    calls.gone(UUID)
    gevent.sleep(0.05)
    assert [type(each) for each in heard] == [OriginateResult, CallEnd]
