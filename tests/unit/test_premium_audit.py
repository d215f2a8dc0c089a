"""The auditor: nothing to say about what is right, and a word about whatever is not."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from billing.clock import FixedClock
from billing.database import Database
from billing.premium.audit import audit
from tests.charging_house import TEHRAN, House, per_call, per_minute


@pytest.fixture
def house(database: Database, clock: FixedClock) -> House:
    """Calls in every state: one charged under an approval, one free, one connected, one begun."""
    house = House(database, clock)
    minutes, once = house.service(per_minute()), house.service(per_call(20_000))
    line = house.line(1_000_000)
    approval = house.approval(line, minutes[0], 100_000)
    house.connect("charged", line, minutes, approval=approval)
    clock.advance(61)
    house.charging.ended("charged", clock.now())
    house.connect("charged-2", line, once)
    clock.advance(5)
    house.charging.ended("charged-2", clock.now())
    house.begin("free", line, once)
    house.charging.abandoned("free", "nobody there")
    house.connect("connected", line, minutes, approval=approval)
    house.begin("begun", line, once)
    return house


def findings(house: House) -> list[str]:
    return [f"{each.where}: {each.what}" for each in audit(house.database, TEHRAN)]


def test_what_is_right_is_not_found(house: House) -> None:
    """Calls in every state, as charging leaves them, add up."""
    assert findings(house) == []


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE premium_credits SET used = used - 1", "used is 31999, reservations say 32000"),
        ("UPDATE premium_credits SET held = held + 1", "held is 32001, reservations say 32000"),
        ("UPDATE owner_approvals SET used = used + 1", "approval 1: used is 12001"),
        ("UPDATE reservations SET committed = 0 WHERE key = 'charged-2'", "of its credit 0 are"),
        (
            "UPDATE reservations SET status = 'expired', resolved_at = 1 WHERE key = 'connected'",
            "call connected: is connected, its reservation expired",
        ),
        ("DELETE FROM reservations WHERE key = 'begun'", "call begun: was begun without"),
        ("UPDATE reservations SET line = 77 WHERE key = 'begun'", "its reservation line 77's"),
        (
            "UPDATE premium_calls SET amount = 13000 WHERE call_id = 'charged'",
            "call charged: costs 13000, by its consent 12000",
        ),
        (
            "UPDATE premium_calls SET seconds = 62 WHERE call_id = 'charged'",
            "62 s are charged, it was not connected as long",
        ),
        ("DELETE FROM outbox", "call charged: is charged, but nothing will post it"),
        ("UPDATE consent_chains SET head = 'x'", "the head of the chain is another"),
    ],
)
def test_every_damage_is_found(house: House, damage: str, told: str) -> None:
    """Whatever is changed behind the books' back stands in the findings."""
    with house.database.begin() as conn:
        assert conn.execute(text(damage)).rowcount
    assert [each for each in findings(house) if told in each]


def test_the_command_says_whether_it_adds_up(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """`callflows premium-audit`: exit code 0 and 1, and each difference named."""
    from cli.premium_audit import command

    url = house.database.engine.url
    whole = url.set(drivername=url.get_backend_name()).render_as_string(hide_password=False)
    monkeypatch.setenv("CALLFLOWS_DATABASE_URL", whole)
    monkeypatch.setenv("CALLFLOWS_STATE_DIR", str(tmp_path))
    done = CliRunner().invoke(command, [])
    assert (done.exit_code, done.output) == (0, "everything adds up\n")
    with house.database.begin() as conn:
        conn.execute(text("UPDATE premium_credits SET used = used - 1"))
    done = CliRunner().invoke(command, [])
    assert done.exit_code == 1
    assert "1 differences" in done.output
