"""Owners' PINs: argon2id, a lockout that grows and outlives processes, set after a code only."""

from __future__ import annotations

from datetime import timedelta

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from billing.clock import FixedClock
from billing.premium.pins import (
    Checked,
    InvalidPin,
    Lockout,
    NotProven,
    Pins,
    check_pin,
)
from billing.premium.schema import owners
from tests.owner_house import OwnerHouse, everything

PIN = "4096"


@pytest.fixture
def house(database, clock) -> OwnerHouse:
    return OwnerHouse(database, clock)


def with_pin(house: OwnerHouse, pin: str = PIN, call: str = "call-0") -> int:
    """The line's id, its PIN set in a call that had the code."""
    line = house.line()
    house.codes.send(f"{call}:1:code", line, "pin", call, "fa")
    code = house.codes.message(house.sent("sms.owner_code")[-1]["code"])
    assert code is not None
    assert house.codes.check(line.id, call, "pin", code.code) == "ok"
    house.pins.set(line.id, pin, call)
    return line.id


def test_the_right_pin(house):
    """It is taken, as often as it is given."""
    line = with_pin(house)
    assert [house.pins.check(line, PIN).result for _ in range(5)] == ["ok"] * 5
    assert house.owners.view(line).has_pin


def test_it_is_kept_as_argon2id(house):
    """With OWASP's parameters (19 MiB, two rounds), and nowhere else in the database."""
    line = with_pin(house)
    with house.database.read() as conn:
        stored = conn.execute(select(owners.c.pin_hash).where(owners.c.line == line)).scalar_one()
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    rest = everything(house.database).replace(stored, "")
    assert f"'{PIN}'" not in rest


def test_no_pin_is_told_apart_by_work_that_is_done_all_the_same(house):
    """Where no PIN is set, as much is hashed as where one is; nothing is counted."""
    hashed = []

    def counting(work):
        hashed.append(work)
        return work()

    pins = Pins(house.database, house.clock, in_thread=counting)
    assert pins.check(house.line().id, PIN) == Checked("not_set")
    assert len(hashed) == 1


def test_lockout_grows(house, clock: FixedClock):
    """Two wrong ones are forgiven; the third locks for 30 s, each further one for twice as long;
    while it is locked the right one is not taken either, and no try is counted."""
    line = with_pin(house)
    assert [house.pins.check(line, "1111").result for _ in range(2)] == ["wrong", "wrong"]
    for delay in (30, 60, 120, 240):
        locked = house.pins.check(line, "1111")
        assert locked == Checked("locked", clock.now() + timedelta(seconds=delay))
        assert house.pins.check(line, PIN) == locked
        clock.advance(delay - 1)
        assert house.pins.check(line, PIN).result == "locked"
        clock.advance(1)
    assert house.pins.check(line, PIN).ok
    assert house.pins.check(line, "1111").result == "wrong"


def test_lockout_outlives_the_process(house, database, clock):
    """It stands in the database: another process, started anew, knows it."""
    line = with_pin(house)
    for _ in range(3):
        house.pins.check(line, "1111")
    assert Pins(database, clock).check(line, PIN).result == "locked"
    assert house.owners.view(line).pin_locked_until == clock.now() + timedelta(seconds=30)


def test_many_at_once_get_no_more_tries(house, in_threads):
    """Sixteen calls that guess at the same moment get three tries, as one call does."""
    line = with_pin(house)
    verified = []

    def counting(work):
        verified.append(1)
        return work()

    pins = Pins(house.database, house.clock, in_thread=counting)
    results = in_threads([lambda: pins.check(line, "1111") for _ in range(16)])
    assert all(isinstance(each, Checked) for each in results), results
    assert len(verified) == 3
    assert sum(each.result == "wrong" for each in results) == 2


def test_a_process_that_dies_while_it_verifies_has_used_up_the_try(house):
    """Killed between counting and verifying, the try counts."""
    line = with_pin(house)

    def dies(work):
        raise SystemExit

    pins = Pins(house.database, house.clock, in_thread=dies)
    for _ in range(3):
        with pytest.raises(SystemExit):
            pins.check(line, PIN)
    assert house.pins.check(line, PIN).result == "locked"


def test_other_calls_go_on_while_a_pin_is_verified(house):
    """In a worker's thread pool: the loop of all other calls turns meanwhile."""
    line = with_pin(house)
    turns = 0
    meanwhile = []

    def others():
        nonlocal turns
        while True:
            turns += 1
            gevent.sleep(0)

    def in_thread(work):
        before = turns
        result = gevent.get_hub().threadpool.spawn(work).get()
        meanwhile.append(turns - before)
        return result

    other = gevent.spawn(others)
    pins = Pins(house.database, house.clock, in_thread=in_thread)
    assert gevent.spawn(pins.check, line, PIN).get(timeout=30).ok
    other.kill()
    assert meanwhile
    assert meanwhile[0] > 1


def test_setting_needs_a_code(house, clock):
    """No code, a code of another call, one for the menu, or an old one: nothing is set."""
    line = house.line()
    with pytest.raises(NotProven):
        house.pins.set(line.id, PIN, "call-9")
    house.codes.send("call-9:1:code", line, "owner", "call-9", "fa")
    code = house.codes.message(house.sent("sms.owner_code")[-1]["code"])
    assert house.codes.check(line.id, "call-9", "owner", code.code) == "ok"
    with pytest.raises(NotProven):
        house.pins.set(line.id, PIN, "call-9")
    with_pin(house, call="call-1")
    with pytest.raises(NotProven):
        house.pins.set(line.id, "9275", "call-2")
    clock.advance(15 * 60)
    with pytest.raises(NotProven):
        house.pins.set(line.id, "9275", "call-1")
    assert house.pins.check(line.id, PIN).ok


def test_setting_unlocks(house):
    """Who has the registered mobile begins anew."""
    line = with_pin(house)
    for _ in range(4):
        house.pins.check(line, "1111")
    with_pin(house, "9275", call="call-1")
    assert house.pins.check(line, "9275").ok


def test_clearing(house):
    """Operations forget a PIN at the owner's wish."""
    line = with_pin(house)
    assert house.pins.clear(line)
    assert not house.pins.clear(line)
    assert house.pins.check(line, PIN).result == "not_set"


@pytest.mark.parametrize(
    ("pin", "reason"),
    [
        ("123", "length"),
        ("123456789", "length"),
        ("", "length"),
        ("12a4", "length"),
        ("۴۰۹۶", "length"),
        ("0000", "simple"),
        ("1234", "simple"),
        ("9012", "simple"),
        ("4321", "simple"),
        ("87654321", "simple"),
    ],
)
def test_pins_that_are_not_taken(house, pin, reason):
    """Too short, too long, no digits, or what everybody tries first."""
    with pytest.raises(InvalidPin) as refused:
        house.pins.set(house.line().id, pin, "call-0")
    assert refused.value.reason == reason
    assert pin not in str(refused.value) or not pin


@given(st.integers(0, 200))
def test_lockout_never_shrinks_and_has_an_end(failures):
    """Each failure locks at least as long as the one before, and never for more than a day."""
    lockout = Lockout()
    now, then = lockout.delay(failures), lockout.delay(failures + 1)
    assert (now or timedelta()) <= (then or timedelta()) <= timedelta(days=1)
    assert (now is None) == (failures < 3)


@given(st.text(max_size=40))
def test_no_text_is_a_pin_but_digits(text):
    """Whatever is given, only 4 to 8 ASCII digits come back."""
    try:
        assert check_pin(text) == text
    except InvalidPin:
        return
    assert 4 <= len(text) <= 8
    assert set(text) <= set("0123456789")
