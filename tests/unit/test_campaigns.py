"""Campaigns: whom they are for, what they may do, and how far they have come."""

from __future__ import annotations

import time
import tracemalloc
from datetime import date, timedelta

import pytest
from sqlalchemy import text

from billing import campaigns, do_not_call
from billing.campaigns import InvalidCampaign, Rules, Selection, WrongStatus
from billing.clock import FixedClock
from billing.database import Database
from billing.errors import BillingError
from tests.campaign_house import RULES, House, number


@pytest.fixture
def house(database: Database, clock: FixedClock) -> House:
    """Five lines that owe."""
    return House(database, clock)


def test_only_overdue_bills_are_announced(house: House) -> None:
    """A bill that is fewer days overdue, too small, or paid is nobody's reason to call."""
    house.add(
        [
            "02166000001,fixed,,,fa,,,,",
            "02166000002,fixed,,,fa,,,,",
            "02166000003,fixed,,,fa,,,,",
            "09121234567,mobile,,,en,,,,",
        ],
        [
            "02166000001,8,1405,100000,,,2026-11-12",  # nine days ago
            "02166000002,8,1405,100000,,,2026-11-11",  # ten days ago
            "02166000003,8,1405,4000,,,2026-11-01",
            "09121234567,8,1405,100000,,,2026-11-01",
        ],
    )
    house.pay(number(0))
    made = campaigns.create(
        house.database, "a", Selection(10, least=5000), RULES, house.clock.now()
    )
    assert made.due_until == date(2026, 11, 11)
    called = set(house.targets())
    assert called == {number(place) for place in (1, 2, 3, 4)} | {"+982166000002", "+989121234567"}


def test_kind_and_language_select(house: House) -> None:
    """A campaign may be for mobile lines, or for those of one language, only."""
    house.add(["09121234567,mobile,,,en,,,,"], ["09121234567,8,1405,100000,,,2026-11-01"])
    now = house.clock.now()
    campaigns.create(house.database, "a", Selection(10, kind="mobile"), RULES, now)
    assert set(house.targets()) == {"+989121234567"}
    campaigns.create(house.database, "b", Selection(10, language="fa"), RULES, now)
    assert len(house.targets()) == 6


def test_a_line_with_two_overdue_bills_is_called_once(house: House) -> None:
    """The list is one of lines: nobody is called for each bill."""
    house.add([], [f"{number(0)},7,1405,50000,,,2026-10-01"])
    made = campaigns.create(house.database, "a", Selection(10), RULES, house.clock.now())
    assert campaigns.progress(house.database, made.id, house.clock.now()).total == 5


def test_lines_on_any_do_not_call_list_are_counted_and_not_called(house: House) -> None:
    """Several lists hold together, and the opt-out list always does."""
    now = house.clock.now()
    do_not_call.add(house.database, do_not_call.OPT_OUT, [number(0)], now)
    do_not_call.add(house.database, "regulator", [number(1)], now)
    do_not_call.add(house.database, "staff", [number(2)], now)
    do_not_call.add(house.database, "other", [number(3)], now)
    house.campaign(lists=("regulator", "staff"))
    assert house.statuses() == {"do_not_call": 3, "waiting": 2}


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a/b", "a\n"])
def test_a_wrong_name_is_refused(house: House, name: str) -> None:
    """Names stand in commands and file names."""
    with pytest.raises(InvalidCampaign):
        campaigns.create(house.database, name, Selection(1), RULES, house.clock.now())


def test_a_name_is_used_once(house: House) -> None:
    """The second campaign of a name is refused, and leaves nothing behind."""
    house.campaign("a")
    with pytest.raises(InvalidCampaign, match="there is one"):
        campaigns.create(house.database, "a", Selection(10), RULES, house.clock.now())
    assert len(campaigns.listed(house.database)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"caller_id": "2000,absolute_codec_string=x"},
        {"caller_id": ""},
        {"cps": 0.0},
        {"cps": float("nan")},
        {"cps": 1e9},
        {"switch_cps": -1.0},
        {"simultaneous": 0},
        {"switch_simultaneous": 0},
        {"ring_s": 1},
        {"ring_s": 1000},
        {"machine": "shout"},
        {"zone": "Mars/Base"},
        {"window": "20:00-09:00"},
        {"retries": "busy=often"},
        {"cap": 0},
        {"lists": ("a b",)},
    ],
)
def test_wrong_rules_are_refused(changes: dict) -> None:
    """Each wrong rule is found when the campaign is made, not while it calls."""
    fields = {"window": "09:00-20:00", "zone": "Asia/Tehran", "caller_id": "2000"}
    with pytest.raises(BillingError):
        Rules(**{**fields, **changes})


def test_the_life_of_a_campaign(house: House) -> None:
    """Planned, running, paused, running, stopped; said twice is fine, anything else is refused."""
    now = house.clock.now()
    campaigns.create(house.database, "a", Selection(10), RULES, now)
    for action, status in (
        ("start", "running"),
        ("start", "running"),
        ("pause", "paused"),
        ("resume", "running"),
        ("stop", "stopped"),
        ("stop", "stopped"),
    ):
        assert campaigns.move(house.database, "a", action, now).status == status
    for action in ("start", "pause", "resume"):
        with pytest.raises(WrongStatus, match="is stopped"):
            campaigns.move(house.database, "a", action, now)
    with pytest.raises(InvalidCampaign, match="none of that name"):
        campaigns.move(house.database, "b", "start", now)


def test_rules_are_kept_as_they_were_given(house: House) -> None:
    """What a campaign was told comes back from the database unchanged."""
    made = house.campaign(lists=("a", "b"), switch_cps=2.5, sms_not_reached=True)
    found = campaigns.find(house.database, made.name)
    assert found.rules == made.rules
    assert found.rules.lists == ("a", "b")


def test_a_paid_bill_leaves_the_campaign_at_once(house: House) -> None:
    """The payment's own posting takes the line out; one of two overdue bills does not."""
    house.add([], [f"{number(0)},7,1405,50000,,,2026-10-01"])
    made = house.campaign()
    first = house.desk.opening(number(0)).open_bills[0]
    receipt = house.desk.receive_payment(
        "r", first.bill_id, first.payment_id, first.payable, "cash", house.clock.now()
    )
    house.desk.post_payment(receipt.payment)
    assert house.targets()[number(0)] == "waiting"
    house.pay(number(0))
    house.pay(number(1))
    assert house.statuses() == {"paid": 2, "waiting": 3}
    assert campaigns.progress(house.database, made.id, house.clock.now()).paid == 2


def fill(database: Database, start: int, end: int) -> None:
    """Lines from one place up to another, each with an overdue bill, made in the database."""
    places = (
        f"WITH RECURSIVE n(i) AS (SELECT {start} UNION ALL SELECT i + 1 FROM n WHERE i < {end})"
    )
    with database.begin() as conn:
        for statement in (
            "INSERT INTO lines (id, number, kind, language, first_name, last_name)"
            " SELECT i, '+9821' || (22000000 + i), 'fixed', 'fa', '', '' FROM n",
            "INSERT INTO bill_ids (bill_id, line_id) SELECT CAST(i AS TEXT), i FROM n",
            "INSERT INTO bills"
            " (line_id, year, period, amount, bill_id, payment_id, due_date, status)"
            " SELECT i, 1405, 1, 5000, CAST(i AS TEXT), '1', '2026-10-01', 'open' FROM n",
        ):
            head, _, rest = statement.partition(" SELECT ")
            conn.execute(text(f"{head} {places} SELECT {rest}"))


def test_a_long_list_is_planned_in_seconds_and_takes_no_memory(
    database: Database, clock: FixedClock
) -> None:
    """100,000 lines in less than ten seconds, in no more memory of this process than 1,000."""

    def planned(name: str) -> tuple[int, float]:
        began = time.monotonic()
        tracemalloc.start()
        campaigns.create(database, name, Selection(10), RULES, clock.now())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak, time.monotonic() - began

    fill(database, 1, 1000)
    planned("warm")
    small, _ = planned("small")
    fill(database, 1001, 100_000)
    large, seconds = planned("large")
    assert seconds < 10
    assert large < small + 50_000
    found = campaigns.find(database, "large")
    assert campaigns.progress(database, found.id, clock.now()).total == 100_000


def test_progress_counts_what_happened(house: House) -> None:
    """Dialled, answered, results and paid are those of the campaign's own calls."""
    made = house.campaign(retries="")
    dialling = house.dialling(burst_s=1)
    house.clock.advance(1)
    dials = dialling.claim(made, "s", house.clock.now()).dials
    house.announcements.answered(dials[0].call_id)
    house.announcements.heard(dials[0].call_id)
    house.announcements.answered(dials[1].call_id)
    for dial, result in zip(dials, ("failed", "failed", "busy", "no_answer"), strict=False):
        dialling.finish(dial.call_id, result, house.clock.now(), answered=result == "failed")
    house.pay(dials[0].number)
    house.clock.advance(60)
    progress = campaigns.progress(house.database, made.id, house.clock.now())
    assert (progress.total, progress.dialled, progress.calls) == (5, 5, 5)
    assert (progress.live, progress.answered, progress.paid, progress.left) == (1, 2, 1, 1)
    assert progress.results == {"heard": 1, "hung_up": 1, "busy": 1, "no_answer": 1}
    assert (progress.settled_recently, progress.recent_s) == (4, 60)
    assert progress.next_due is None


def test_a_campaign_that_cannot_go_on_says_why(house: House) -> None:
    """It is paused with the reason, which a person's resuming clears."""
    made = house.campaign()
    campaigns.hold(house.database, made.id, "calendar iran covers 2026")
    assert campaigns.find(house.database, "october").reason == "calendar iran covers 2026"
    resumed = campaigns.move(house.database, "october", "resume", house.clock.now())
    assert (resumed.status, resumed.reason) == ("running", None)
    assert made.created_at + timedelta(0) == house.clock.now()
