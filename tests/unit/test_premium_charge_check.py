"""Charges against the switch's records: small differences reported, large ones for a person."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import insert, select, update

from billing import cdrs
from billing.cdr_document import Cdr
from billing.clock import FixedClock
from billing.database import Database
from billing.premium.charge_check import NotParked, ParkedCharges
from billing.premium.schema import (
    charges,
    guard_alerts,
    premium_calls,
    provider_contracts,
    service_versions,
)
from billing.schema import outbox
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
    of: str | None = None,
    answered: bool = True,
) -> bool:
    """The switch tells of a leg; ``of``: it is a far leg of that call."""
    variables = {} if of is None else {"originating_leg_uuid": of}
    return cdrs.store(
        house.database,
        Cdr(
            uuid=uuid,
            core_uuid="core",
            leg="a" if of is None else "b",
            switch="s1",
            direction="inbound" if of is None else "outbound",
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
    record(house, "far", start, start + 60 * SECOND, of="a")
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
    record(house, "far", start, start + 60 * SECOND, of="a")
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


def test_a_consultants_leg_is_the_truth(house: House) -> None:
    """Where only a consultant can have been connected, the time with the consultant counts."""
    start = call(house, 120)
    define(house, CONSULTANTS)
    # The far leg's record comes first, as it does.
    record(house, "far", start + 20 * SECOND, start + 110 * SECOND, of="a")
    record(house, "a", start - 40 * SECOND, start + 120 * SECOND)
    assert house.standing("a").reason == "120 s are charged, the switch's record confirms 90 s"


def test_two_consultants_one_after_the_other(house: House) -> None:
    """All far legs together confirm a charge; those at once count once, others' not at all."""
    start = call(house, 120)
    define(house, CONSULTANTS)
    record(house, "far 1", start, start + 60 * SECOND, of="a")
    record(house, "far 2", start + 50 * SECOND, start + 119 * SECOND, of="a")
    record(house, "far 3", start - 30 * SECOND, start, of="a", answered=False)
    record(house, "far 4", start, start + 130 * SECOND, of="b")
    record(house, "a", start - 40 * SECOND, start + 121 * SECOND)
    standing = house.standing("a")
    assert (standing.status, standing.seconds) == ("charged", 120)
    with house.database.read() as conn:
        assert conn.scalar(select(premium_calls.c.cdr_seconds)) == 119


def test_a_far_leg_that_comes_late_explains(house: House) -> None:
    """Parked for a first far leg alone; when the second one's record comes, it goes on."""
    start = call(house, 120)
    define(house, CONSULTANTS)
    record(house, "far 1", start, start + 60 * SECOND, of="a")
    record(house, "a", start - 40 * SECOND, start + 120 * SECOND)
    assert house.standing("a").status == "parked"
    record(house, "far 2", start + 60 * SECOND, start + 120 * SECOND, of="a")
    standing = house.standing("a")
    assert (standing.status, standing.reason) == ("charged", None)
    assert "charge:a:explained" in due(house)


def test_with_a_tree_the_callers_leg_counts(house: House) -> None:
    """In front of the consultant there was a menu, which costs too."""
    start = call(house, 120)
    define(house, BOTH)
    record(house, "far", start + 60 * SECOND, start + 120 * SECOND, of="a")
    record(house, "a", start - 40 * SECOND, start + 120 * SECOND)
    assert house.standing("a").status == "charged"


def test_a_bridge_that_outlived_everybody(house: House) -> None:
    """When no worker was left, the consultant's record says how long there was a conversation."""
    line, service = house.line(1_000_000), house.service()
    house.connect("a", line, service)
    start = house.clock.now()
    record(house, "far", start, start + 100 * SECOND, of="a")
    record(house, "a", start - 40 * SECOND, start + 105 * SECOND)
    house.clock.advance(1000)
    assert house.charging.sweep() == ["a"]
    assert house.standing("a").seconds == 100
    # Without a bridge nothing goes on when the worker is dead, whatever the leg's record says.
    house.connect("b", line, service)
    start = house.clock.now()
    record(house, "b", start - 40 * SECOND, start + 100 * SECOND)
    house.clock.advance(1000)
    assert house.charging.sweep() == ["b"]
    assert house.standing("b").status == "free"


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
