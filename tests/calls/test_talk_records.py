"""The switch's record of a call tells when it talked with whom, whatever became of the workers.

On a real FreeSWITCH: its mod_json_cdr writes the record that the charge is checked against.
"""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlalchemy import insert

from billing import cdrs
from billing.cdr_document import parse
from billing.clock import SystemClock
from billing.premium import call_records
from billing.premium.schema import service_versions
from callflows.call import CallerLeft
from tests.calls.consultation_house import ANNA, BORIS, DORA, Real
from tests.calls.freeswitch import find_binary
from tests.calls.test_connecting import WAIT_S, bridge, leg
from tests.charging_house import House, per_minute

CONSULTANTS = {"content": {"consultants": {"order": "all"}}}
CLOSE = timedelta(milliseconds=20)

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.freeswitch,
    pytest.mark.xdist_group("freeswitch"),
    pytest.mark.skipif(find_binary() is None, reason="no FreeSWITCH here"),
]


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A switch with consultants."""
    made = Real(tmp_path_factory.mktemp("records"))
    yield made
    made.close()


@pytest.fixture
def till(database):
    """The operator; a minute of a consultant costs 6,000 rials, by the second."""
    return House(database, SystemClock(), cdr_wait_s=60)


def record(house, call_id):
    """The record that the switch has written of a call's own leg, as it is sent."""

    def written():
        for path in house.switch.records.glob("*.json"):
            body = path.read_bytes()
            if body and json.loads(body)["variables"]["uuid"] == call_id:
                return body
        return None

    return house.until(written)


def begun(till, call_id):
    """A call to consultants is accepted, and begun."""
    service = till.service(per_minute(6000, increment_s=1))
    with till.database.begin() as conn:
        conn.execute(
            insert(service_versions).values(
                service=service[0],
                version=1,
                definition=json.dumps(CONSULTANTS),
                digest="",
                submitted_at=till.clock.now(),
                submitted_by="p",
            )
        )
    till.begin(call_id, till.line(100_000), service)


def stored(till, body):
    """The record comes in."""
    assert cdrs.store(till.database, parse(body), till.clock.now())


def test_every_talk_is_in_the_record(house, till):
    """Two talks and one who was busy between them, the last one ended by the caller."""
    told = []

    def talk(channel):
        told.append(channel.id)
        told.append(bridge(leg(DORA, "dora"), limit_s=20)(channel))
        told.append(bridge(leg(BORIS, "boris"), limit_s=20)(channel))
        return bridge(leg(ANNA, "anna"), limit_s=20)(channel)

    (result,) = house.call(talk)
    house.until(lambda: len(told) == 3)
    house.sleep(2.0)
    house.hang_up()
    left = result.get(timeout=WAIT_S)
    assert isinstance(left, CallerLeft)
    call_id, first, busy = told
    body = record(house, call_id)
    stored(till, body)
    with till.database.read() as conn:
        found = call_records.record(conn, call_id)
    assert not busy.answered
    talks = [(each.connected_at, each.ended_at) for each in (first, left.bridged)]
    assert len(found.talks) == 2
    for (since, until), (begin, end) in zip(found.talks, talks, strict=True):
        assert abs(since - begin) < CLOSE
        assert abs(until - end) < CLOSE
    assert found.up[0] < talks[0][0]


def test_a_charge_is_checked_against_the_talk(house, till):
    """The leg was up much longer: only the talk is confirmed, and what is more waits."""
    told = []

    def talk(channel):
        told.append(channel.id)
        begun(till, channel.id)
        return bridge(leg(DORA, "dora"), limit_s=20)(channel)

    (result,) = house.call(talk)
    bridged = result.get(timeout=WAIT_S)
    house.until(house.over)
    (call_id,) = told
    till.charging.connected(call_id, bridged.connected_at)
    house.sleep(4.0)
    till.charging.ended(call_id, till.clock.now())
    stored(till, record(house, call_id))
    standing = till.standing(call_id)
    assert standing.status == "parked"
    assert standing.reason == (
        f"{standing.seconds} s are charged, the switch's record confirms {int(bridged.seconds)} s"
    )


def test_a_talk_that_outlived_its_workers(house, till):
    """Killed in the talk, before anybody had heard of its beginning: charged is what was talked."""
    told = []

    def talk(channel):
        told.append(channel.id)
        begun(till, channel.id)
        return bridge(leg(ANNA, "anna"), limit_s=4)(channel)

    house.call(talk)
    house.until(lambda: told)
    house.sleep(1.5)
    house.kill_worker()
    house.until(house.over)
    (call_id,) = told
    stored(till, record(house, call_id))
    assert till.standing(call_id).status == "begun"
    later = till.clock.now() + timedelta(hours=1)
    assert till.charging.sweep(later) == [call_id]
    standing = till.standing(call_id)
    assert standing.status == "charged"
    # The limit counts whole seconds of the day.
    assert 2 <= standing.seconds <= 4
    assert standing.amount == standing.seconds * 100
    with till.database.read() as conn:
        ((since, until),) = call_records.record(conn, call_id).talks
    assert standing.seconds == int((until - since).total_seconds())
