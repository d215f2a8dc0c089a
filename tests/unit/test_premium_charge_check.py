"""Charges against the switch's records: small differences reported, large ones for a person."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

import pytest
from sqlalchemy import insert, select, update

from billing import cdrs
from billing.cdr_document import Cdr, parse
from billing.clock import FixedClock
from billing.database import Database
from billing.premium import call_records
from billing.premium.charge_check import NotParked, ParkedCharges
from billing.premium.schema import (
    charges,
    guard_alerts,
    premium_calls,
    provider_contracts,
    service_versions,
)
from billing.schema import outbox, to_microseconds
from esl_worker import connecting
from tests import cdr_forms
from tests.charging_house import LONG_AGO, House

SECOND = timedelta(seconds=1)


@pytest.fixture
def house(database: Database, clock: FixedClock) -> House:
    """The operator; charges wait a minute for their records."""
    return House(database, clock, cdr_wait_s=60)


@pytest.fixture
def parked(house: House) -> ParkedCharges:
    """The person's list."""
    return ParkedCharges(house.database, house.clock)


def record(
    house: House,
    uuid: str,
    begin: datetime,
    end: datetime,
    *,
    leg: Literal["a", "b"] = "a",
    answered: bool = True,
    **variables: str,
) -> bool:
    """The switch tells of a leg, with these variables."""
    return cdrs.store(
        house.database,
        Cdr(
            uuid=uuid,
            core_uuid="core",
            leg=leg,
            switch="s1",
            direction="inbound",
            caller=None,
            dialled=None,
            started_at=begin,
            answered_at=begin if answered else None,
            ended_at=end,
            billsec=0,
            hangup_cause="NORMAL_CLEARING",
            hung_up_by=None,
            flow="premium",
            offered=True,
            handovers=(),
            raw=json.dumps({"variables": variables}, separators=(",", ":")),
            digest=f"digest of {uuid}",
        ),
        house.clock.now(),
    )


def call(house: House, seconds: int, name: str = "a") -> datetime:
    """A call charged for so many seconds; returns when it was connected."""
    line, service = house.line(1_000_000), house.service()
    house.connect(name, line, service)
    start = house.clock.now()
    house.charging.extend(name)
    for _ in range(0, seconds, 60):
        house.clock.advance(min(60, seconds))
        house.charging.extend(name)
    house.charging.ended(name, start + seconds * SECOND)
    return start


def due(house: House) -> list[str]:
    """Keys of the postings that wait for nothing."""
    with house.database.read() as conn:
        return list(
            conn.scalars(
                select(outbox.c.key)
                .where(outbox.c.kind == "post_charge", outbox.c.available_at <= house.clock.now())
                .order_by(outbox.c.id)
            )
        )


def test_a_record_that_agrees_lets_the_charge_go(house: House, parked: ParkedCharges) -> None:
    """The charge waits for its record, and no longer."""
    start = call(house, 120)
    assert due(house) == []
    assert record(house, "a", start - 40 * SECOND, start + 120 * SECOND)
    assert due(house) == ["charge:a"]
    assert house.standing("a").status == "charged"
    assert parked.differences(start, start + SECOND) == []


def test_without_a_record_the_charge_goes_after_the_wait(house: House) -> None:
    """Records may be late or lost; charges are posted all the same."""
    call(house, 60)
    house.clock.advance(61)
    assert due(house) == ["charge:a"]


def test_a_record_that_was_quicker(house: House) -> None:
    """The switch may tell of the end before the worker does: the charge is checked then."""
    line, service = house.line(100_000), house.service()
    house.connect("a", line, service)
    start = house.clock.now()
    house.clock.advance(60)
    record(house, "a", start - 40 * SECOND, start + 60 * SECOND)
    house.charging.ended("a", house.clock.now())
    assert due(house) == ["charge:a"]
    line = house.line(100_000)
    house.connect("b", line, service)
    start = house.clock.now()
    house.clock.advance(60)
    record(house, "b", start - 40 * SECOND, start + 50 * SECOND)
    house.charging.ended("b", house.clock.now())
    assert house.standing("b").status == "parked"


@pytest.mark.parametrize(("short_s", "status"), [(2, "charged"), (2.5, "parked"), (100, "parked")])
def test_up_to_the_tolerance_it_is_only_reported(
    house: House, parked: ParkedCharges, short_s: float, status: str
) -> None:
    """Two seconds are reported and posted; more waits for a person."""
    start = call(house, 120)
    record(house, "a", start - 40 * SECOND, start + (120 - short_s) * SECOND)
    assert house.standing("a").status == status
    (difference,) = parked.differences(start, start + SECOND)
    assert (difference.seconds, difference.recorded) == (120, int(120 - short_s))
    assert (difference.call_id, difference.amount, difference.status) == ("a", 12_000, status)
    assert [each.call_id for each in parked.parked()] == (["a"] if status == "parked" else [])


def test_charged_before_the_answer_is_not_confirmed(house: House) -> None:
    """Seconds before the leg was answered, or without any answer, are for a person."""
    start = call(house, 120)
    record(house, "a", start + 30 * SECOND, start + 120 * SECOND)
    standing = house.standing("a")
    assert standing.status == "parked"
    assert standing.reason == "120 s are charged, the switch's record confirms 90 s"
    start = call(house, 60, "b")
    record(house, "b", start - SECOND, start + 60 * SECOND, answered=False)
    assert house.standing("b").reason == "60 s are charged, the switch's record confirms 0 s"


def test_a_leg_that_went_on_confirms_all(house: House, parked: ParkedCharges) -> None:
    """After the content there are words of farewell: no difference."""
    start = call(house, 60)
    record(house, "a", start - 40 * SECOND, start + 75 * SECOND)
    assert parked.differences(start, start + SECOND) == []


def test_a_person_releases(house: House, parked: ParkedCharges) -> None:
    """Released, it is posted under a key of its own, once, and never parked again."""
    start = call(house, 120)
    record(house, "a", start - 40 * SECOND, start + 60 * SECOND)
    assert parked.release("a", "sara") == 12_000
    assert house.standing("a").reason == "released by sara"
    assert due(house) == ["charge:a:released"]
    with pytest.raises(NotParked):
        parked.release("a", "sara")
    assert house.standing("a").status == "charged"


def test_a_person_waives(house: House, parked: ParkedCharges) -> None:
    """Waived, it is free, with who and why."""
    start = call(house, 120)
    record(house, "a", start - 40 * SECOND, start + 60 * SECOND)
    assert parked.waive("a", "sara", "worker stuck") == 12_000
    standing = house.standing("a")
    assert (standing.status, standing.reason) == ("free", "waived by sara: worker stuck")
    for decide in (lambda: parked.waive("a", "x", "y"), lambda: parked.release("b", "x")):
        with pytest.raises(NotParked):
            decide()


def test_posted_before_the_record_came(house: House) -> None:
    """What stands in the ledger is not touched: an alert, once, and a person sees to it."""
    start = call(house, 120)
    post(house, "a")
    record(house, "a", start - 40 * SECOND, start + 60 * SECOND)
    assert house.standing("a").status == "charged"
    with house.database.read() as conn:
        (alert,) = conn.execute(select(guard_alerts)).all()
    assert (alert.key, alert.rule) == ("cdr_difference:a", "cdr_difference")
    assert "120 s are charged, the switch's record confirms 60 s" in alert.reason


def post(house: House, name: str) -> None:
    """As the posting job does."""
    standing = house.standing(name)
    contract = house._add(
        provider_contracts,
        provider=house.provider,
        valid_from=LONG_AGO,
        kind="b",
        share_bp=8000,
    )
    house._add(
        charges,
        call_id=name,
        line=standing.line,
        service=standing.service,
        provider=house.provider,
        contract=contract,
        consent=standing.consent,
        connected_at=standing.connected_at,
        seconds=standing.seconds,
        segments="[]",
        amount=standing.amount,
        provider_part=standing.amount,
        operator_part=0,
        levies_part=0,
        posted_at=house.clock.now(),
    )


def define(house: House, content: str) -> None:
    """Say what the services of all calls are made of."""
    with house.database.begin() as conn:
        for service in conn.scalars(select(premium_calls.c.service).distinct()).all():
            conn.execute(
                insert(service_versions).values(
                    service=service,
                    version=1,
                    definition=json.dumps({"content": json.loads(content)}),
                    digest="",
                    submitted_at=house.clock.now(),
                    submitted_by="p",
                )
            )


CONSULTANTS = '{"consultants": {"order": "all"}}'
BOTH = '{"consultants": {"order": "all"}, "tree": {"start": "x"}}'


def micro(moment: datetime) -> str:
    """As the switch writes a moment."""
    return str(to_microseconds(moment))


def talks(*intervals: tuple[datetime, datetime]) -> dict[str, str]:
    """What the switch's hooks leave on the leg after these talks."""
    begin, end = intervals[-1]
    return {
        "callflows_connected": micro(begin),
        "callflows_ended": micro(end),
        "callflows_talks": "".join(f"{micro(a)}-{micro(b)}," for a, b in intervals),
    }


def test_the_talk_is_the_truth(house: House) -> None:
    """Where only a consultant can have been connected, the time with the consultant counts."""
    start = call(house, 120)
    define(house, CONSULTANTS)
    told = talks((start + 20 * SECOND, start + 110 * SECOND))
    record(house, "a", start - 40 * SECOND, start + 120 * SECOND, **told)
    assert house.standing("a").reason == "120 s are charged, the switch's record confirms 90 s"


def test_two_talks_one_after_the_other(house: House) -> None:
    """All talks together confirm a charge, none of their seconds twice."""
    start = call(house, 120)
    define(house, CONSULTANTS)
    told = talks(
        (start - 20 * SECOND, start - 10 * SECOND),
        (start, start + 60 * SECOND),
        (start + 50 * SECOND, start + 119 * SECOND),
    )
    record(house, "a", start - 40 * SECOND, start + 121 * SECOND, **told)
    standing = house.standing("a")
    assert (standing.status, standing.seconds) == ("charged", 120)
    with house.database.read() as conn:
        assert conn.scalar(select(premium_calls.c.cdr_seconds)) == 119


def test_the_leg_ended_together_with_the_talk(house: House) -> None:
    """Nobody has written the end of the talk then: it is the leg's."""
    start = call(house, 120)
    define(house, CONSULTANTS)
    told = {"callflows_connected": micro(start)}
    record(house, "a", start - 40 * SECOND, start + 120 * SECOND, **told)
    assert house.standing("a").status == "charged"


def test_an_end_from_before_is_not_the_talks(house: House) -> None:
    """The end of the first talk may still stand there when the second one breaks off."""
    start = call(house, 120)
    define(house, CONSULTANTS)
    first = talks((start, start + 30 * SECOND))
    told = {**first, "callflows_connected": micro(start + 31 * SECOND)}
    record(house, "a", start - 40 * SECOND, start + 120 * SECOND, **told)
    assert house.standing("a").status == "charged"


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"callflows_connected": "", "callflows_ended": ""},
        {"callflows_connected": "0", "callflows_ended": "0", "callflows_talks": "0-0,"},
        {"callflows_connected": "9" * 15, "callflows_ended": "9" * 16},
        {"callflows_talks": "9999999999999999-1,-,--,1-,x" + "," * 100_000},
        {"callflows_connected": "${api(status)}", "callflows_talks": "\u0661-\u0662,"},
        {"callflows_connected": "-1", "callflows_ended": "1e99", "callflows_talks": "1e3-1e30"},
        {"callflows_talks": "1000000-2000000,"},
    ],
)
def test_no_talk_confirms_nothing(house: House, told: dict[str, str]) -> None:
    """Missing, malformed and impossible times: nothing is confirmed, and a person looks."""
    start = call(house, 120)
    define(house, CONSULTANTS)
    record(house, "a", start - 40 * SECOND, start + 120 * SECOND, **told)
    assert house.standing("a").reason == "120 s are charged, the switch's record confirms 0 s"


def test_a_talk_is_no_longer_than_its_leg(house: House) -> None:
    """Whatever stands there."""
    start = call(house, 120)
    define(house, CONSULTANTS)
    told = {"callflows_talks": f"{micro(start + 30 * SECOND)}-{4_000_000_000_000_000},"}
    record(house, "a", start, start + 90 * SECOND, **told)
    assert house.standing("a").reason == "120 s are charged, the switch's record confirms 60 s"


def test_with_a_tree_the_callers_leg_counts(house: House) -> None:
    """Before and after the consultant there was a menu, which costs too."""
    start = call(house, 120)
    define(house, BOTH)
    told = talks((start + 60 * SECOND, start + 80 * SECOND))
    record(house, "a", start - 40 * SECOND, start + 120 * SECOND, **told)
    assert house.standing("a").status == "charged"


def test_far_legs_are_no_calls(house: House) -> None:
    """A switch may send their records too: another call's they are not, whatever they are named."""
    start = call(house, 120)
    record(house, "a", start - 40 * SECOND, start + 60 * SECOND, leg="b")
    assert house.standing("a").status == "charged"


def test_a_talk_that_outlived_everybody(house: House) -> None:
    """When no worker was left, the record says how long there was a conversation."""
    line, service = house.line(1_000_000), house.service()
    house.connect("a", line, service)
    start = house.clock.now()
    told = talks((start, start + 100 * SECOND))
    record(house, "a", start - 40 * SECOND, start + 105 * SECOND, **told)
    house.clock.advance(1000)
    assert house.charging.sweep() == ["a"]
    assert house.standing("a").seconds == 100
    # Without a talk nothing goes on when the worker is dead, whatever the leg's record says.
    house.connect("b", line, service)
    start = house.clock.now()
    record(house, "b", start - 40 * SECOND, start + 100 * SECOND)
    house.clock.advance(1000)
    assert house.charging.sweep() == ["b"]
    assert house.standing("b").status == "free"


def test_a_talk_that_nobody_saw_begin(house: House) -> None:
    """The worker died before it heard that the consultant had answered; the talk is charged."""
    house.begin("a", house.line(1_000_000), house.service())
    start = house.clock.now() + 10 * SECOND
    told = talks((start, start + 70 * SECOND))
    record(house, "a", start - 40 * SECOND, start + 75 * SECOND, **told)
    house.clock.advance(1000)
    assert house.charging.sweep() == ["a"]
    standing = house.standing("a")
    assert (standing.connected_at, standing.seconds) == (start, 70)
    assert standing.amount == 12_000


def test_tree_talk_and_tree_when_everybody_died(house: House) -> None:
    """What a worker saw after the talk counts as well as the talk."""
    line, service = house.line(1_000_000), house.service()
    house.connect("a", line, service)
    start = house.clock.now()
    house.clock.advance(90)
    house.charging.extend("a")
    told = talks((start + 20 * SECOND, start + 60 * SECOND))
    record(house, "a", start - 40 * SECOND, start + 200 * SECOND, **told)
    house.clock.advance(1000)
    assert house.charging.sweep() == ["a"]
    assert house.standing("a").seconds == 90


def test_a_record_of_a_real_switch(house: House) -> None:
    """Two talks, and one who was busy between them, as FreeSWITCH 1.10.12 told it."""
    cdr = parse(cdr_forms.body("two-talks"))
    assert cdrs.store(house.database, cdr, house.clock.now())
    with house.database.read() as conn:
        found = call_records.record(conn, cdr.uuid)
    assert found is not None
    assert found.up == (cdr.answered_at, cdr.ended_at)
    lengths = [(until - since).total_seconds() for since, until in found.talks]
    assert lengths == pytest.approx([3.0, 2.0], abs=0.5)


def test_worker_and_check_mean_the_same_variables() -> None:
    """What the one has the switch write the other reads."""
    assert (connecting.CONNECTED, connecting.ENDED, connecting.TALKS) == (
        call_records.CONNECTED,
        call_records.ENDED,
        call_records.TALKS,
    )


def test_records_of_other_calls_change_nothing(house: House) -> None:
    """A call that never was a premium one, and one that still runs."""
    now = house.clock.now()
    assert record(house, "bill", now, now + SECOND)
    assert not record(house, "bill", now, now + SECOND), "the same again is known"
    line, service = house.line(100_000), house.service()
    house.connect("a", line, service)
    record(house, "a", now, now + SECOND)
    assert house.standing("a").status == "connected"


def test_the_end_and_its_record_at_once(
    house: House, in_threads: Callable[[list[Callable[[], object]]], list[object]]
) -> None:
    """Worker and switch tell of the end at the same moment: the charge is checked nevertheless."""
    line, service = house.line(1_000_000), house.service()
    starts = {}
    for place in range(8):
        house.connect(f"c{place}", line, service)
        starts[f"c{place}"] = house.clock.now()
    house.clock.advance(100)
    now = house.clock.now()
    done = in_threads(
        [lambda c=c: house.charging.ended(c, now) for c in starts]  # type: ignore[misc]
        + [
            lambda c=c: record(house, c, starts[c] - SECOND, now - 50 * SECOND)  # type: ignore[misc]
            for c in starts
        ]
    )
    assert not [each for each in done if isinstance(each, Exception)], done
    assert {house.standing(name).status for name in starts} == {"parked"}


def test_a_charge_is_parked_with_a_reason_or_not_at_all(house: House) -> None:
    """The table itself refuses a parked charge without a reason."""
    from sqlalchemy.exc import IntegrityError

    call(house, 60)
    with pytest.raises(IntegrityError), house.database.begin() as conn:
        conn.execute(update(premium_calls).values(status="parked", reason=None))
