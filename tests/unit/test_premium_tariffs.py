"""Tariffs: what a file may say, which versions are in force, and that none is ever changed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from billing.clock import FixedClock
from billing.database import Database
from billing.premium.schema import tariffs as table
from billing.premium.tariffs import (
    Band,
    InvalidTariff,
    Tariff,
    add,
    coming,
    in_force,
    parse_tariffs,
)
from tests.charging_house import LONG_AGO, TEHRAN, House, per_minute

GOOD: dict[str, Any] = {
    "from": "1405/09/01",
    "model": "per_minute",
    "price": 6000,
    "minimum_s": 60,
    "increment_s": 30,
    "bands": [
        {"days": ["saturday", 6], "from": "08:00", "to": "12:00", "price": 9000},
        {"from": "20:00", "to": "24:00", "price": 3000},
    ],
}
AZAR_1 = datetime(2026, 11, 22, tzinfo=TEHRAN)


@pytest.fixture
def house(database: Database, clock: FixedClock) -> House:
    """The operator."""
    return House(database, clock)


def test_a_tariff_is_read_as_it_is_written() -> None:
    """Every entry arrives; a day is Solar Hijri where its year is of that kind."""
    (tariff,) = parse_tariffs([GOOD], TEHRAN)
    assert tariff == Tariff(
        id=0,
        service=0,
        valid_from=AZAR_1,
        model="per_minute",
        price=6000,
        minimum_s=60,
        increment_s=30,
        bands=(Band((5, 6), 480, 720, 9000), Band(tuple(range(7)), 1200, 1440, 3000)),
    )
    assert Tariff.of(tariff.as_dict()) == tariff


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-22",
        "2026-11-22 00:00",
        "۱۴۰۵/۰۹/۰۱",
        "1405-9-1",
        date(2026, 11, 22),
        date(1405, 9, 1),
        datetime(2026, 11, 22),
        AZAR_1,
        AZAR_1.astimezone(UTC),
    ],
)
def test_a_beginning_in_its_spellings(written: object) -> None:
    """The same moment, however the file or YAML has it."""
    assert parse_tariffs([{**GOOD, "from": written}], TEHRAN)[0].valid_from == AZAR_1


def test_defaults() -> None:
    """By the minute without a minimum, in minutes; by the call there is neither."""
    (minute,) = parse_tariffs(
        [{"from": "1405/09/01", "model": "per_minute", "price": 6000}], TEHRAN
    )
    assert (minute.minimum_s, minute.increment_s, minute.bands) == (0, 60, ())
    (call,) = parse_tariffs([{"from": "1405/09/01", "model": "per_call", "price": 6001}], TEHRAN)
    assert (call.minimum_s, call.increment_s) == (0, 1)


BAND = GOOD["bands"][0]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"price": 0}, "price"),
        ({"price": -6000}, "price"),
        ({"price": 6000.0}, "price"),
        ({"price": True}, "price"),
        ({"price": "6000"}, "price"),
        ({"price": 10**12}, "price"),
        ({"price": 6001}, "price"),
        ({"price": None}, "price"),
        ({"model": "per_hour"}, "model"),
        ({"model": None}, "model"),
        ({"model": "per_call"}, "minimum_s"),
        ({"minimum_s": -1}, "minimum_s"),
        ({"minimum_s": 45}, "minimum_s"),
        ({"increment_s": 0}, "increment_s"),
        ({"increment_s": 3601}, "increment_s"),
        ({"from": "1405/13/01"}, "from"),
        ({"from": "2026-02-30"}, "from"),
        ({"from": "2026-02-28 25:00"}, "from"),
        ({"from": "soon"}, "from"),
        ({"from": None}, "from"),
        ({"from": 20261122}, "from"),
        ({"cost": 1}, "cost"),
        ({"bands": "peak"}, "bands"),
        ({"bands": ["peak"]}, "bands[0]"),
        ({"bands": [{**BAND, "price": -1}]}, "bands[0].price"),
        ({"bands": [{**BAND, "price": 9001}]}, "bands[0].price"),
        ({"bands": [{**BAND, "to": "08:00"}]}, "bands[0].to"),
        ({"bands": [{**BAND, "from": "22:00", "to": "06:00"}]}, "bands[0].to"),
        ({"bands": [{**BAND, "to": "24:01"}]}, "bands[0].to"),
        ({"bands": [{**BAND, "from": "8 o'clock"}]}, "bands[0].from"),
        ({"bands": [{**BAND, "from": 480}]}, "bands[0].from"),
        ({"bands": [{"days": ["monday"], "price": 9000}]}, "bands[0].from"),
        ({"bands": [{**BAND, "days": []}]}, "bands[0].days"),
        ({"bands": [{**BAND, "days": "monday"}]}, "bands[0].days"),
        ({"bands": [{**BAND, "days": [7]}]}, "bands[0].days"),
        ({"bands": [{**BAND, "days": ["shanbe"]}]}, "bands[0].days"),
        ({"bands": [{**BAND, "days": [{}]}]}, "bands[0].days"),
        ({"bands": [{**BAND, "rate": 1}]}, "bands[0].rate"),
        ({"bands": [BAND, {**BAND, "from": "11:59", "to": "13:00"}]}, "bands[1]"),
    ],
)
def test_a_wrong_entry_is_named(change: dict[str, Any], field: str) -> None:
    """Negative, overlapping, fractional, misspelt: the error names which tariff and which entry."""
    with pytest.raises(InvalidTariff) as caught:
        parse_tariffs([GOOD, {**GOOD, "from": "1405/10/01", **change}], TEHRAN)
    assert (caught.value.index, caught.value.field) == (1, field)
    assert str(caught.value).startswith(f"tariffs[1].{field}: ")


@pytest.mark.parametrize("content", [[], {}, "none", ["none"], [None], None])
def test_what_is_no_list_of_tariffs(content: Any) -> None:
    """Anything else than a list of at least one tariff is refused."""
    with pytest.raises(InvalidTariff):
        parse_tariffs(content, TEHRAN)


def test_two_versions_cannot_begin_at_once() -> None:
    """The later one of the same beginning is named, however the day is written."""
    with pytest.raises(
        InvalidTariff, match=r"tariffs\[1\]\.from: the same as that of tariffs\[0\]"
    ):
        parse_tariffs([GOOD, {**GOOD, "from": "2026-11-22"}], TEHRAN)


def test_bands_that_touch_do_not_overlap() -> None:
    """One may begin where the other ends, or at the same hour of another day."""
    bands = [
        BAND,
        {**BAND, "from": "12:00", "to": "13:00"},
        {**BAND, "days": ["monday"]},
    ]
    assert len(parse_tariffs([{**GOOD, "bands": bands}], TEHRAN)[0].bands) == 3


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*GOOD, "days", "to", "x"]), inner, max_size=6)
    ),
    max_leaves=12,
)


@given(JSON | st.dictionaries(st.sampled_from(list(GOOD)), JSON).map(lambda d: [{**GOOD, **d}]))
def test_whatever_is_written_is_read_or_refused(content: Any) -> None:
    """No content of a file leads to any other error; what is read charges whole rials."""
    try:
        parsed = parse_tariffs(content, TEHRAN)
    except InvalidTariff:
        return
    for tariff in parsed:
        assert all(price > 0 for price in tariff.prices)
        if tariff.model == "per_minute":
            assert all(price * tariff.increment_s % 60 == 0 for price in tariff.prices)
        assert Tariff.of(tariff.as_dict()) == tariff


# -- versions -------------------------------------------------------------------------------------


def test_versions_in_force_and_coming(house: House, clock: FixedClock) -> None:
    """One holds until the next one begins, to the microsecond; what comes soon is known."""
    now = clock.now()
    versions = [
        per_minute(6000),
        per_minute(9000, valid_from=now + timedelta(hours=1)),
        per_minute(12_000, valid_from=now + timedelta(hours=3)),
    ]
    service, stored = house.service(*versions)
    assert [tariff.price for tariff in stored] == [6000, 9000, 12_000]
    with house.database.read() as conn:
        change = stored[1].valid_from
        assert in_force(conn, service, change - timedelta(microseconds=1)) == stored[0]
        assert in_force(conn, service, change) == stored[1]
        assert in_force(conn, service, LONG_AGO - timedelta(days=1)) is None
        assert in_force(conn, service + 1, now) is None
        assert coming(conn, service, now, now + timedelta(hours=2)) == [stored[1]]
        assert coming(conn, service, change, now + timedelta(hours=3)) == [stored[2]]


def test_the_past_is_not_tariffed(house: House, clock: FixedClock) -> None:
    """Only the first version may have begun already; what was announced stays as it was."""
    service, stored = house.service(per_minute(6000))
    with house.database.begin() as conn:
        with pytest.raises(InvalidTariff, match="future"):
            add(conn, service, [per_minute(9000, valid_from=clock.now())], "o", clock.now())
        with pytest.raises(InvalidTariff, match="another approved version"):
            add(conn, service, [per_minute(9000)], "o", clock.now())
    with house.database.begin() as conn:
        later = per_minute(9000, valid_from=clock.now() + timedelta(seconds=1))
        again = add(conn, service, [later, per_minute(6000)], "o", clock.now())
        assert again[0] == stored[0], "the same again is left as it is"
        assert [tariff.price for tariff in again] == [6000, 9000]


def test_an_approved_tariff_is_immutable(house: House) -> None:
    """The database itself refuses to change or remove one."""
    house.service()
    for statement in (table.update().values(price=1), table.delete()):
        with pytest.raises(IntegrityError), house.database.begin() as conn:
            conn.execute(statement)
