"""The announcing call on the flow alone: who calls, what is owed, the menu, being left alone (A1).

Again hanging up at every step, and with another worker going on at every step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from billing import do_not_call, outbox
from billing.clock import FixedClock
from billing.database import Database
from billing.do_not_call import OPT_OUT
from billing.errors import Unavailable
from billing.schema import campaign_calls
from callflows.announce_flow import AnnounceFlow
from callflows.call import Call, CallerGone
from callflows.flow import restore
from callflows.journal import Journal
from callflows.runner import run
from callflows.scripted import (
    Event,
    HangsUp,
    Hears,
    IsHungUp,
    IsTransferred,
    ScriptedChannel,
    hears,
    presses,
)
from callflows.services import Services
from tests.calls.world import NOW
from tests.campaign_house import House, number
from tests.migrated import migrated

OPENING = (hears("announce_greeting", "bill_summary_overdue"), presses(""))
MENU = hears("payment_menu", "announce_opt_out")
BYE = (hears("anything_else"), presses("3"), hears("announce_goodbye"), IsHungUp())
REGISTERED = "+989121000000"
MOBILE = "+989351234567"


class Told:
    """A house with one line (fixed, or with ``mobile`` a mobile one), and a call to it."""

    def __init__(self, folder: Path, *, mobile: bool = False, **rules: object) -> None:
        self.clock = FixedClock(NOW)
        folder.mkdir(exist_ok=True)
        path = folder / "announce.db"
        path.write_bytes(migrated())
        database = Database(f"sqlite:///{path}")
        self.house = House(database, self.clock, 0 if mobile else 1)
        self.number = number(0)
        if mobile:
            self.number = MOBILE
            self.house.add(
                [f"{MOBILE},mobile,Sara,Karimi,en,,,,"], [f"{MOBILE},8,1405,90000,,,2026-11-01"]
            )
        self.campaign = self.house.campaign(retries="", **rules)
        dialling = self.house.dialling(burst_s=1)
        (self.dial,) = dialling.claim(self.campaign, "s", self.clock.now()).dials
        self.services = Services(
            desk=self.house.desk, clock=self.clock, announcements=self.house.announcements
        )

    def channel(self, script: Iterable[Event]) -> ScriptedChannel:
        """The call, as the switch makes it: from the operator's number to its own extension."""
        return ScriptedChannel(script, caller="2000", dialled="2001", call_id=self.dial.call_id)

    def converse(self, channel: ScriptedChannel) -> str:
        """Hold the conversation; the script must be spoken to its end."""
        flow = AnnounceFlow(self.services)
        outcome = run(flow, Call(channel, Journal()))
        channel.done()
        return outcome

    def result(self) -> str | None:
        """What the call came to, once the dialer ends it."""
        self.house.dialling().finish(self.dial.call_id, "unknown", self.clock.now(), answered=True)
        statement = select(campaign_calls.c.result)
        with self.house.database.read() as conn:
            return conn.execute(statement).scalar_one()

    def sent(self) -> list[tuple[str, str, bool | None]]:
        """Kind, destination and names of the messages that were ordered."""
        jobs = outbox.claim(self.house.database, "test", self.clock.now(), 0.001, limit=100)
        return [(job.kind, job.payload["to"], job.payload.get("names")) for job in jobs]


def keyed(mobile: str) -> tuple[Event, ...]:
    return (
        hears("ask_mobile_number"),
        presses(f"0{mobile[3:]}#"),
        hears("number_read_back", "confirm_number"),
        presses("1"),
    )


SCRIPTS: dict[str, tuple[list[Event], str]] = {
    "listens, and is transferred to the payment system (A4)": (
        [*OPENING, MENU, presses("1"), hears("connecting_payment"),
         IsTransferred("2000", "payment")],
        "heard",
    ),
    "listens, and lets the menu pass": (
        [*OPENING, MENU, presses(""), hears("no_input", "payment_menu", "announce_opt_out"),
         presses(""), hears("no_input", "payment_menu", "announce_opt_out"), presses(""),
         hears("announce_no_input"), IsHungUp()],
        "heard",
    ),
    "a key during the facts answers the menu at once": (
        [hears("announce_greeting", "bill_summary_overdue"), presses("2"), *keyed(REGISTERED),
         hears("bill_sms_promised", "anything_else"), *BYE[1:]],
        "heard",
    ),
    "a wrong key during the facts brings the menu": (
        [hears("announce_greeting", "bill_summary_overdue"), presses("7"),
         hears("invalid_key", "payment_menu", "announce_opt_out"), presses("2"),
         *keyed(REGISTERED), hears("bill_sms_promised", "anything_else"), *BYE[1:]],
        "heard",
    ),
    "hears the facts again": (
        [*OPENING, MENU, presses("9"), hears("bill_summary_overdue"), presses(""), MENU,
         presses("2"), *keyed(REGISTERED), hears("bill_sms_promised", "anything_else"), *BYE[1:]],
        "heard",
    ),
    "does not want to be called again": (
        [*OPENING, MENU, presses("8"), hears("announce_opted_out"), IsHungUp()],
        "opted_out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("title", SCRIPTS)
def test_the_conversation(title: str, tmp_path: Path) -> None:
    """It goes as written, and the campaign learns what came of it."""
    script, result = SCRIPTS[title]
    told = Told(tmp_path)
    told.converse(told.channel(script))
    assert told.result() == result


@pytest.mark.parametrize("title", SCRIPTS)
def test_hanging_up_at_every_step(title: str, tmp_path: Path) -> None:
    """Whoever hangs up during the facts was not told; later, was."""
    script, _ = SCRIPTS[title]
    for place, step in enumerate(script):
        if not isinstance(step, Hears):
            continue
        folder = tmp_path / str(place)
        folder.mkdir()
        told = Told(folder)
        assert told.converse(told.channel([*script[: place + 1], HangsUp()])) == "caller_gone"
        opted_out = "announce_opted_out" in step.keys
        expected = "hung_up" if place == 0 else "opted_out" if opted_out else "heard"
        assert told.result() == expected, place


class Dies(ScriptedChannel):
    """A channel whose worker dies while the n-th prompt plays."""

    left = 0

    def _hear(self, prompt):  # type: ignore[no-untyped-def]
        super()._hear(prompt)
        self.left -= 1
        if self.left == 0:
            raise CallerGone("the worker has died")


class Resumed(ScriptedChannel):
    """The rest of a script; its first prompt may lack what the dead worker had said before."""

    def _hear(self, prompt):  # type: ignore[no-untyped-def]
        if self.position == 0:
            first = self.script[0]
            assert isinstance(first, Hears)
            assert first.keys[-len(prompt.keys) :] == prompt.keys
            self.script[0] = replace(first, keys=prompt.keys)
        super()._hear(prompt)


@pytest.mark.parametrize(
    "title", [title for title in SCRIPTS if "menu pass" not in title and "wrong key" not in title]
)
def test_another_worker_goes_on_at_every_step(title: str, tmp_path: Path) -> None:
    """Whichever prompt the worker dies at, another goes on there; the result is the same."""
    script, result = SCRIPTS[title]
    prompts = [place for place, step in enumerate(script) if isinstance(step, Hears)]
    for count, place in enumerate(prompts, start=1):
        folder = tmp_path / str(count)
        folder.mkdir()
        told = Told(folder)
        first = Dies(script, caller="2000", dialled="2001", call_id=told.dial.call_id)
        first.left = count
        assert run(AnnounceFlow(told.services), Call(first, Journal())) == "caller_gone"
        second = Resumed(script[place:], caller="2000", call_id=told.dial.call_id)
        second.variables = first.variables
        call = Call(second, Journal(), language_set=True)
        flow = AnnounceFlow(told.services)
        run(flow, call, restore(flow, call, first.variables))
        second.done()
        assert told.result() == result, place


def test_names_go_to_the_lines_own_mobile_only(tmp_path: Path) -> None:
    """Whoever answers a ringing telephone need not live there: at a mobile that the subscriber
    registered the SMS holds the names, at any other it does not (A9)."""
    again = (hears("anything_else"), presses("1"))
    told = Told(tmp_path)
    told.converse(
        told.channel(
            [*OPENING, MENU, presses("2"), *keyed(REGISTERED),
             hears("bill_sms_promised", *again[0].keys), again[1],
             MENU, presses("2"), *keyed(MOBILE),
             hears("bill_sms_promised", *BYE[0].keys), *BYE[1:]]
        )
    )  # fmt: skip
    assert told.sent() == [("sms.bill", REGISTERED, True), ("sms.bill", MOBILE, False)]


def test_a_mobile_line_gets_its_sms_at_once(tmp_path: Path) -> None:
    """The line that was called is the line: with names, in its language, and nothing is asked."""
    told = Told(tmp_path, mobile=True)
    told.converse(
        told.channel(
            [hears("announce_greeting", "bill_summary_overdue", language="en"), presses(""), MENU,
             presses("2"), hears("bill_sms_promised", *BYE[0].keys), *BYE[1:]]
        )
    )  # fmt: skip
    assert told.sent() == [("sms.bill", MOBILE, True)]


def test_several_bills_are_offered(tmp_path: Path) -> None:
    """Who owes two bills chooses one first."""
    told = Told(tmp_path)
    told.house.add([], [f"{told.number},7,1405,50000,,,2026-10-01"])
    told.converse(
        told.channel(
            [hears("announce_greeting", "open_bills"), presses(""),
             hears("bill_option", "bill_option", "open_bills_keys", "announce_opt_out"),
             presses("2"),
             hears("bill_summary_overdue"), presses(""), MENU, presses("8"),
             hears("announce_opted_out"), IsHungUp()]
        )
    )  # fmt: skip


def test_who_owes_several_bills_need_not_choose_one(tmp_path: Path) -> None:
    """The sum is what the call is about: heard. Key 8 ends the calls there, too, and there is room
    for it however many bills there are."""
    told = Told(tmp_path)
    told.house.add([], [f"{told.number},7,{1390 + place},50000,,,2026-10-01" for place in range(9)])
    options = ["bill_option"] * 7
    said = [
        hears("announce_greeting", "open_bills", "open_bills_first"), presses(""),
        hears(*options, "open_bills_keys", "announce_opt_out"),
    ]  # fmt: skip
    told.converse(told.channel([*said, HangsUp()]))
    assert told.result() == "heard"
    told = Told(tmp_path / "again")
    told.house.add([], [f"{told.number},7,{1390 + place},50000,,,2026-10-01" for place in range(9)])
    told.converse(told.channel([*said, presses("8"), hears("announce_opted_out"), IsHungUp()]))
    assert told.result() == "opted_out"


def test_paid_while_it_rang(tmp_path: Path) -> None:
    """The call says thanks and ends; the result is "paid", not another try."""
    told = Told(tmp_path)
    told.house.pay(told.number)
    told.converse(told.channel([hears("announce_settled"), IsHungUp()]))
    assert told.result() == "paid"
    assert told.house.statuses() == {"paid": 1}


@pytest.mark.parametrize(
    ("policy", "variables", "script", "result"),
    [
        ("hangup", {"amd_result": "MACHINE"}, [IsHungUp()], "machine"),
        ("hangup", {"avmd_detect": "TRUE"}, [IsHungUp()], "machine"),
        ("message", {"callflows_answered_by": "machine"},
         [hears("announce_message"), IsHungUp()], "machine"),
        ("ignore", {"amd_result": "MACHINE"}, [*OPENING, MENU, HangsUp()], "heard"),
        ("hangup", {"amd_result": "HUMAN"}, [*OPENING, MENU, HangsUp()], "heard"),
    ],
)  # fmt: skip
def test_answering_machines(
    policy: str, variables: dict, script: list[Event], result: str, tmp_path: Path
) -> None:
    """Hang up, leave a message without any amount, or talk to it, as the campaign says."""
    told = Told(tmp_path, machine=policy)
    channel = told.channel(script)
    channel.variables.update(variables)
    told.converse(channel)
    assert told.result() == result


def test_the_detector_is_pluggable(tmp_path: Path) -> None:
    """Another way to find out is another function."""
    told = Told(tmp_path)
    channel = told.channel([IsHungUp()])
    run(AnnounceFlow(told.services, detect=lambda call: True), Call(channel, Journal()))
    channel.done()
    assert told.result() == "machine"


def test_somebody_who_dials_the_extension_is_any_caller(tmp_path: Path) -> None:
    """A call of no campaign is served as an enquiry, and no campaign hears of it."""
    told = Told(tmp_path)
    channel = ScriptedChannel(
        [hears("welcome", "bill_summary_overdue", "payment_menu"), HangsUp()],
        caller=told.number,
        dialled="2001",
    )
    told.converse(channel)
    assert told.house.calls() == {told.number: [None]}


@pytest.mark.parametrize("moment", ["answered", "heard", "opt_out"])
def test_a_database_that_is_away(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it nothing is announced, and the call ends with an apology; what cannot be written
    down is not promised."""
    told = Told(tmp_path)

    def away(*_: object) -> None:
        raise Unavailable("locked")

    monkeypatch.setattr(told.services.announcements, moment, away)
    scripts: dict[str, list[Event]] = {
        "answered": [hears("announce_trouble"), IsHungUp()],
        "heard": [*OPENING, MENU, HangsUp()],
        "opt_out": [*OPENING, MENU, presses("8"),
                    hears("not_recorded", "payment_menu", "announce_opt_out"), HangsUp()],
    }  # fmt: skip
    told.converse(told.channel(scripts[moment]))
    assert do_not_call.numbers_of(told.house.database, OPT_OUT) == []
    assert told.result() == {"answered": "failed", "heard": "hung_up", "opt_out": "heard"}[moment]


def test_a_wish_that_is_not_recorded_pays_no_bill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Key 8 at the choice of a bill while the database is away: the choice again, not the word that
    the bill has been paid."""
    told = Told(tmp_path)
    told.house.add([], [f"{told.number},7,1405,50000,,,2026-10-01"])

    def away(*_: object) -> None:
        raise Unavailable("locked")

    monkeypatch.setattr(told.services.announcements, "opt_out", away)
    choice = ("bill_option", "bill_option", "open_bills_keys", "announce_opt_out")
    told.converse(
        told.channel(
            [hears("announce_greeting", "open_bills"), presses(""), hears(*choice), presses("8"),
             hears("not_recorded", "open_bills"), presses(""), hears(*choice), HangsUp()]
        )
    )  # fmt: skip
    assert told.result() == "heard"


def test_services_without_campaigns_refuse_the_flow(tmp_path: Path) -> None:
    """A worker put together wrongly fails at its first announcing call, and says why."""
    told = Told(tmp_path)
    with pytest.raises(ValueError, match="announcements"):
        AnnounceFlow(replace(told.services, announcements=None))
