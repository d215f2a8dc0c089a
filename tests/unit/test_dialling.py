"""Claims: the right lines at the right pace, nobody twice, nobody forgotten."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError

from billing import campaigns, do_not_call
from billing.calendars import Calendars, YearNotCovered
from billing.campaigns import Campaign
from billing.clock import FixedClock
from billing.database import Database
from billing.dialling import Dial, Dialling
from billing.do_not_call import OPT_OUT
from billing.schema import campaign_calls
from tests.campaign_house import House, number

SWITCH = "127.0.0.1:8021"


@pytest.fixture
def house(database: Database, clock: FixedClock) -> House:
    """Five lines that owe."""
    return House(database, clock)


def claim(house: House, campaign: Campaign, most: int = 100, switch: str = SWITCH) -> list[Dial]:
    """What a dialer of the test's gets now."""
    dialling = house.dialling(burst_s=1)
    return dialling.claim(campaign, switch, house.clock.now(), most).dials


def test_each_line_is_claimed_once(house: House) -> None:
    """Every waiting line comes up, under a uuid of its own, and then no more."""
    campaign = house.campaign()
    dials = claim(house, campaign, 3) + claim(house, campaign) + claim(house, campaign)
    assert sorted(dial.number for dial in dials) == [number(place) for place in range(5)]
    assert len({dial.call_id for dial in dials}) == 5
    assert house.statuses() == {"dialling": 5}


def test_dialers_at_the_same_moment_get_different_lines(
    house: House, in_threads: Callable[..., list[object]]
) -> None:
    """Eight dialers claim one by one: each line goes to one of them."""
    campaign = house.campaign()
    got = in_threads([lambda: claim(house, campaign, 1)] * 8)
    numbers = [dial.number for dials in got for dial in dials]  # type: ignore[attr-defined]
    assert sorted(numbers) == sorted(set(numbers))
    assert len(numbers) == 5


def test_the_database_refuses_a_second_live_call(house: House) -> None:
    """Even code gone wrong cannot write two calls to one line at a time."""
    campaign = house.campaign()
    claim(house, campaign, 1)
    now = house.clock.now()
    row = {
        "call_id": "x", "campaign": campaign.id, "target": 1, "seq": 2, "switch": SWITCH,
        "dialer": "d", "lease_until": now, "started_at": now,
    }  # fmt: skip
    with pytest.raises(IntegrityError), house.database.begin() as conn:
        conn.execute(insert(campaign_calls), row)


@pytest.mark.parametrize("action", ["pause", "stop"])
def test_pause_and_stop_hold_from_the_next_claim(house: House, action: str) -> None:
    """A dialer that still holds the campaign as running gets nothing."""
    campaign = house.campaign()
    assert len(claim(house, campaign, 1)) == 1
    campaigns.move(house.database, campaign.name, action, house.clock.now())  # type: ignore[arg-type]
    got = house.dialling().claim(campaign, SWITCH, house.clock.now())
    assert (got.dials, got.running) == ([], False)


def test_a_paid_bill_is_not_dialled_however_it_was_paid(house: House) -> None:
    """The claim itself looks at the bills, whether or not anybody told the campaign."""
    campaign = house.campaign()
    with house.database.begin() as conn:
        conn.execute(
            text(
                "UPDATE bills SET paid = amount, status = 'paid', settled_at = 1 WHERE line_id = 1"
            )
        )
    assert number(0) not in {dial.number for dial in claim(house, campaign)}
    assert house.targets()[number(0)] == "paid"


def test_a_number_put_on_a_list_later_is_not_dialled(house: House) -> None:
    """Somebody who asks to be left alone today is, by every campaign that runs."""
    campaign = house.campaign(lists=("staff",))
    do_not_call.add(house.database, OPT_OUT, [number(0)], house.clock.now())
    do_not_call.add(house.database, "staff", [number(1)], house.clock.now())
    assert len(claim(house, campaign)) == 3
    assert house.statuses() == {"dialling": 3, "do_not_call": 2}


def test_calls_at_a_time_are_limited_in_total_and_per_switch(house: House) -> None:
    """Whichever dialer asks: so many on a switch, so many on all."""
    campaign = house.campaign(simultaneous=3, switch_simultaneous=2)
    first = claim(house, campaign, switch="a")
    assert len(first) == 2
    assert len(claim(house, campaign, switch="a")) == 0
    assert len(claim(house, campaign, switch="b")) == 1
    house.dialling().finish(first[0].call_id, "busy", house.clock.now())
    assert len(claim(house, campaign, switch="b")) == 1


def test_calls_a_second_are_limited_in_total_and_per_switch(house: House) -> None:
    """The pace is one for all dialers, and what was missed is not made up for in a rush."""
    campaign = house.campaign(cps=2.0, switch_cps=1.0)
    dialling = [house.dialling(name, burst_s=0.0) for name in ("one", "two")]
    assert isinstance(house.clock, FixedClock)
    started: list[tuple[float, str]] = []
    for tick in range(30):
        for place, switch in enumerate(("a", "b")):
            got = dialling[place].claim(campaign, switch, house.clock.now())
            started += [(tick / 10, switch)] * len(got.dials)
        house.clock.advance(0.1)
    assert len(started) == 5
    for switch in ("a", "b"):
        times = [at for at, where in started if where == switch]
        assert all(later - earlier >= 0.999 for earlier, later in pairwise(times))
    times = [at for at, _ in started]
    assert all(later - earlier >= 0.499 for earlier, later in pairwise(times))


def test_a_slow_pace_tells_when_to_come_back(house: House) -> None:
    """One call in ten seconds: the claim says when the next may start."""
    campaign = house.campaign(cps=0.1)
    dialling = house.dialling(burst_s=0.0)
    now = house.clock.now()
    assert len(dialling.claim(campaign, SWITCH, now).dials) == 1
    got = dialling.claim(campaign, SWITCH, now)
    assert (got.dials, got.again_at) == ([], now + timedelta(seconds=10))


def test_nobody_is_called_outside_the_hours(house: House, clock: FixedClock) -> None:
    """In the evening lines are put off to the next working morning: over Friday to Saturday."""
    campaign = house.campaign()
    clock.advance((datetime(2026, 11, 26, 17, 0, tzinfo=UTC) - clock.now()).total_seconds())
    got = house.dialling().claim(campaign, SWITCH, clock.now())
    assert got.dials == []
    morning = datetime(2026, 11, 28, 5, 30, tzinfo=UTC)
    assert house.dialling().claim(campaign, SWITCH, clock.now()).again_at == morning
    clock.advance((morning - clock.now()).total_seconds())
    assert len(claim(house, campaign)) == 5


def test_a_retry_that_falls_into_the_night_waits_for_the_morning(
    house: House, clock: FixedClock
) -> None:
    """19:45 in Tehran, busy, again in ten minutes, then in the morning."""
    campaign = house.campaign(retries="busy=3@10m")
    clock.advance((datetime(2026, 11, 21, 16, 15, tzinfo=UTC) - clock.now()).total_seconds())
    dialling = house.dialling()
    for dial in claim(house, campaign):
        dialling.finish(dial.call_id, "busy", clock.now())
    clock.advance(10 * 60)
    for dial in claim(house, campaign):
        dialling.finish(dial.call_id, "busy", clock.now())
    clock.advance(10 * 60)
    assert claim(house, campaign) == []
    clock.advance((datetime(2026, 11, 22, 5, 30, tzinfo=UTC) - clock.now()).total_seconds())
    assert len(claim(house, campaign)) == 5


def test_a_calendar_that_ends_is_an_error(house: House, tmp_path: Path) -> None:
    """Nobody is called in a year whose holidays nobody has written down."""
    (tmp_path / "iran.yaml").write_text(
        "name: Iran\nweekend: [friday]\nyears: [2025]\nholidays: {}\n"
    )
    campaign = house.campaign()
    dialling = Dialling(house.database, Calendars(tmp_path).get, "d")
    with pytest.raises(YearNotCovered, match="2025, not 2026"):
        dialling.claim(campaign, SWITCH, house.clock.now())
    assert house.statuses() == {"waiting": 5}


def run_through(house: House, campaign: Campaign, results: list[str]) -> list[float]:
    """End one line's calls so, one after the other; returns the seconds between them."""
    assert isinstance(house.clock, FixedClock)
    dialling = house.dialling(burst_s=1)
    gaps: list[float] = []
    for result in results:
        waited = 0.0
        while not (dials := claim(house, campaign, 1)):
            waited += 60
            house.clock.advance(60)
            assert waited < 86_400, "never called again"
        gaps.append(waited)
        assert dialling.finish(dials[0].call_id, result, house.clock.now()) == result  # type: ignore[arg-type]
    return gaps


def test_retries_keep_their_intervals_and_share_the_cap(
    database: Database, clock: FixedClock
) -> None:
    """Busy after ten minutes, no answer after an hour, four calls in all."""
    house = House(database, clock, 1)
    campaign = house.campaign(retries="busy=3@10m,no_answer=2@60m", cap=4)
    assert run_through(house, campaign, ["busy", "no_answer", "busy", "no_answer"]) == [
        0, 600, 3600, 600,
    ]  # fmt: skip
    assert house.statuses() == {"not_reached": 1}
    clock.advance(86_400)
    assert claim(house, campaign) == []


@pytest.mark.parametrize(
    ("results", "status"),
    [
        (["rejected"], "not_reached"),
        (["invalid"], "not_reached"),
        (["no_answer"] * 3, "not_reached"),
        (["busy"] * 4, "not_reached"),
    ],
)
def test_a_line_that_is_not_reached_ends_so(
    database: Database, clock: FixedClock, results: list[str], status: str
) -> None:
    """Without a rule there is no retry; with one, no more than it allows."""
    house = House(database, clock, 1)
    campaign = house.campaign(retries="busy=3@10m,no_answer=2@60m", cap=9)
    run_through(house, campaign, results)
    assert house.statuses() == {status: 1}


def test_what_the_conversation_says_counts(house: House) -> None:
    """Heard, machine, paid, opted out; answered without a word is a failure, with one a hangup."""
    campaign = house.campaign(retries="", sms_not_reached=True)
    dials = claim(house, campaign)
    told = house.announcements
    for dial in dials[:4]:
        assert told.answered(dial.call_id) is not None
    told.heard(dials[0].call_id)
    told.machine(dials[1].call_id)
    told.heard(dials[2].call_id)
    told.opt_out(dials[2].call_id, dials[2].number)
    dialling = house.dialling()
    results = [
        dialling.finish(dial.call_id, "unknown", house.clock.now(), answered=True) for dial in dials
    ]
    assert results == ["heard", "machine", "opted_out", "hung_up", "failed"]
    stands = house.targets()
    assert [stands[dial.number] for dial in dials] == [
        "reached", "not_reached", "do_not_call", "not_reached", "not_reached",
    ]  # fmt: skip
    assert do_not_call.numbers_of(house.database, OPT_OUT) == [dials[2].number]
    assert len(house.notices()) == 3


def test_a_switch_that_died_is_nobodys_hangup(house: House) -> None:
    """Answered, not heard yet, and cut off: a failure of ours, which is tried again. What had been
    said before counts, and so does silence."""
    campaign = house.campaign(retries="failed=1@10m")
    dials = claim(house, campaign)
    for dial in dials[:2]:
        house.announcements.answered(dial.call_id)
    house.announcements.heard(dials[1].call_id)
    dialling, now = house.dialling(), house.clock.now()
    assert dialling.finish(dials[0].call_id, "unknown", now, answered=True, cut=True) == "failed"
    assert dialling.finish(dials[1].call_id, "unknown", now, answered=True, cut=True) == "heard"
    assert dialling.finish(dials[2].call_id, "unknown", now, cut=True) == "unknown"
    stands = house.targets()
    assert [stands[dial.number] for dial in dials[:3]] == ["waiting", "reached", "not_reached"]


def test_ending_a_call_twice_changes_nothing(house: House) -> None:
    """The second word on a call, whoever says it, is not heard."""
    campaign = house.campaign(retries="busy=1@10m")
    dial = claim(house, campaign, 1)[0]
    dialling = house.dialling()
    assert dialling.finish(dial.call_id, "busy", house.clock.now()) == "busy"
    assert dialling.finish(dial.call_id, "no_answer", house.clock.now()) is None
    assert house.calls()[dial.number] == ["busy"]


def test_a_conversation_that_speaks_late_is_believed(house: House) -> None:
    """The end of a call reached the dialer before "heard" reached the database: it is reached,
    and not called again."""
    campaign = house.campaign(retries="hung_up=2@10m")
    dial = claim(house, campaign, 1)[0]
    house.announcements.answered(dial.call_id)
    assert house.dialling().finish(dial.call_id, "unknown", house.clock.now()) == "hung_up"
    assert house.targets()[dial.number] == "waiting"
    house.announcements.heard(dial.call_id)
    assert house.targets()[dial.number] == "reached"
    assert house.calls()[dial.number] == ["heard"]


def test_paid_while_the_telephone_rang(house: House) -> None:
    """Paid during a call that nobody takes: no retry and no notice; during one that is taken, the
    conversation hears of it."""
    campaign = house.campaign(retries="no_answer=2@10m", sms_not_reached=True)
    first, second, third = claim(house, campaign, 3)
    for dial in (first, second, third):
        house.pay(dial.number)
    dialling = house.dialling()
    dialling.finish(first.call_id, "no_answer", house.clock.now())
    dialling.finish(second.call_id, "rejected", house.clock.now())
    about = house.announcements.answered(third.call_id)
    assert about is not None
    assert not about.owes
    assert dialling.finish(third.call_id, "unknown", house.clock.now()) == "paid"
    assert house.statuses() == {"paid": 3, "waiting": 2}
    assert house.notices() == []


def test_those_not_reached_are_told_otherwise(house: House, clock: FixedClock) -> None:
    """A2 and A3: an SMS to the line's mobile and the bill to its address, once, without names in
    the SMS; after hours the SMS waits for the morning."""
    house.add(["02166000001,fixed,,,fa,,,,"], ["02166000001,8,1405,100000,,,2026-11-01"])
    campaign = house.campaign(retries="", sms_not_reached=True, email_not_reached=True, cap=1)
    dials = claim(house, campaign)
    clock.advance((datetime(2026, 11, 21, 17, 0, tzinfo=UTC) - clock.now()).total_seconds())
    for dial in dials:
        house.dialling().finish(dial.call_id, "no_answer", clock.now())
    notices = house.notices()
    assert len(notices) == 10  # one line has neither mobile nor address
    assert {job.kind for job in notices} == {"sms.debt_notice", "email.debt_notice"}
    for job in notices:
        if job.kind == "sms.debt_notice":
            assert job.payload["to"].startswith("+98912")
            assert set(job.payload) == {"to", "language", "bill"}
    with house.database.read() as conn:
        due = conn.execute(
            text("SELECT min(available_at) FROM outbox WHERE kind = 'sms.debt_notice'")
        ).scalar_one()
    assert datetime.fromtimestamp(due / 1e6, UTC) == datetime(2026, 11, 22, 5, 30, tzinfo=UTC)


def test_a_lease_that_is_kept_is_nobody_elses(house: House, clock: FixedClock) -> None:
    """Renewed calls are not taken over; those of a silent dialer are, by one other only."""
    campaign = house.campaign()
    one, two = house.dialling("one", lease_s=30), house.dialling("two", lease_s=30)
    calls = [dial.call_id for dial in one.claim(campaign, SWITCH, clock.now()).dials]
    clock.advance(29)
    assert two.take_over(clock.now()) == []
    assert one.renew(calls, clock.now()) == len(calls)
    clock.advance(29)
    assert two.take_over(clock.now()) == []
    clock.advance(1)
    taken = two.take_over(clock.now())
    assert {orphan.call_id for orphan in taken} == set(calls)
    assert {orphan.switch for orphan in taken} == {SWITCH}
    assert one.renew(calls, clock.now()) == 0
    assert house.dialling("three").take_over(clock.now()) == []


def test_a_dialer_that_leaves_lets_go(house: House, clock: FixedClock) -> None:
    """Nobody has to wait for the lease of a dialer that says goodbye."""
    campaign = house.campaign()
    one = house.dialling("one")
    calls = [dial.call_id for dial in one.claim(campaign, SWITCH, clock.now()).dials]
    one.let_go(calls, clock.now())
    assert len(house.dialling("two").take_over(clock.now())) == len(calls)


def test_a_campaign_is_finished_when_all_lines_are(house: House) -> None:
    """Not while one waits or a telephone rings."""
    campaign = house.campaign(retries="")
    dialling = house.dialling(burst_s=1)
    assert not dialling.close(campaign.id, house.clock.now())
    dials = claim(house, campaign)
    assert not dialling.close(campaign.id, house.clock.now())
    for dial in dials:
        dialling.finish(dial.call_id, "busy", house.clock.now())
    assert dialling.close(campaign.id, house.clock.now())
    assert campaigns.find(house.database, campaign.name).status == "finished"
    assert not dialling.close(campaign.id, house.clock.now())


def test_a_call_of_no_campaign_is_nobodys(house: House) -> None:
    """Somebody who dials the announcing extension himself is told so, and nothing is written."""
    assert house.announcements.answered("00000000-0000-4000-8000-000000000000") is None
    house.announcements.heard("00000000-0000-4000-8000-000000000000")
