"""What premium calls cost: prices, increments, minimum, hours, changes of tariff on the way."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import gcd
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from billing.premium.rating import affordable_s, least_use, rate, version_at
from billing.premium.tariffs import Band, Tariff
from tests.charging_house import TEHRAN, per_call, per_minute

NOON = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)  # a Saturday, 12:00 in Tehran
BERLIN = ZoneInfo("Europe/Berlin")
DAILY = tuple(range(7))


def at(hour: int, minute: int = 0, second: int = 0) -> datetime:
    """A moment of that Saturday in Tehran."""
    return datetime(2026, 11, 21, hour, minute, second, tzinfo=TEHRAN).astimezone(UTC)


def peak(**options: Any) -> Tariff:
    """60 rials a second, 120 from 8 to 20 o'clock, by the minute."""
    return per_minute(3600, bands=(Band(DAILY, 8 * 60, 20 * 60, 7200),), **options)


@pytest.mark.parametrize(
    ("seconds", "amount"), [(0, 0), (1, 6000), (60, 6000), (61, 12_000), (600, 60_000)]
)
def test_begun_increments_are_charged_whole(seconds: int, amount: int) -> None:
    """A minute costs its price when it has begun; less than a second costs nothing."""
    rated = rate([per_minute(6000)], NOON, seconds, TEHRAN)
    assert rated.amount == amount
    assert rated.seconds_billed == (0 if not seconds else -(-seconds // 60) * 60)


def test_the_minimum_is_charged_for_less() -> None:
    """Who uses less than the minimum pays the minimum, then by increments."""
    tariff = per_minute(6000, minimum_s=180, increment_s=30)
    assert [rate([tariff], NOON, s, TEHRAN).amount for s in (1, 180, 181)] == [
        18_000,
        18_000,
        21_000,
    ]
    assert least_use([tariff], NOON, TEHRAN) == 18_000


def test_a_call_costs_once() -> None:
    """Per call, length makes no difference."""
    assert {rate([per_call(20_000)], NOON, s, TEHRAN).amount for s in (1, 60, 7200)} == {20_000}


def test_a_call_costs_what_its_hour_costs() -> None:
    """Per call, the band at the connection decides."""
    tariff = per_call(20_000, bands=(Band(DAILY, 8 * 60, 20 * 60, 30_000),))
    assert rate([tariff], at(19, 59, 59), 600, TEHRAN).amount == 30_000
    assert rate([tariff], at(20), 600, TEHRAN).amount == 20_000


def test_an_increment_costs_what_its_beginning_costs() -> None:
    """Peak ends at 20:00: the minute that began before costs peak, the next one does not."""
    rated = rate([peak()], at(19, 58, 30), 180, TEHRAN)
    assert [(each.price, each.seconds, each.amount) for each in rated.segments] == [
        (7200, 120, 14_400),
        (3600, 60, 3600),
    ]
    assert rated.segments[1].begin == at(20, 0, 30)
    assert rated.amount == 18_000


def test_a_new_version_begins_with_its_increment() -> None:
    """A version that begins at midnight is charged from the first increment that begins in it."""
    midnight = datetime(2026, 11, 22, tzinfo=TEHRAN).astimezone(UTC)
    old = per_minute(6000)
    new = per_minute(12_000, valid_from=midnight, increment_s=30)
    rated = rate([old, new], midnight - timedelta(seconds=90), 200, TEHRAN)
    # Two minutes from 23:58:30 at the old price; then 80 seconds in steps of 30 at the new.
    assert [(each.price, each.seconds) for each in rated.segments] == [(6000, 120), (12_000, 90)]
    assert rated.amount == 12_000 + 18_000


def test_a_version_of_the_other_model_leaves_a_running_call_alone() -> None:
    """Counted by the minute, a call goes on so, whatever begins meanwhile; and once is once."""
    soon = NOON + timedelta(seconds=60)
    minute, call = per_minute(6000), per_call(50_000, valid_from=soon)
    assert rate([minute, call], NOON, 600, TEHRAN).amount == 60_000
    call, minute = per_call(50_000), per_minute(6000, valid_from=soon)
    assert rate([call, minute], NOON, 600, TEHRAN).amount == 50_000
    assert rate([call, minute], soon, 60, TEHRAN).amount == 6000


def test_bands_mean_days_of_the_week() -> None:
    """A band of Friday does not hold on Saturday."""
    tariff = per_minute(3600, bands=(Band((4,), 0, 1440, 7200),))
    assert tariff.price_at(NOON, TEHRAN) == 3600
    assert tariff.price_at(NOON - timedelta(days=1), TEHRAN) == 7200
    # Friday ends at midnight, in the middle of a call.
    rated = rate([tariff], datetime(2026, 11, 20, 23, 59, tzinfo=TEHRAN), 120, TEHRAN)
    assert [each.price for each in rated.segments] == [7200, 3600]


def test_a_balance_of_exactly_the_price_is_enough() -> None:
    """What costs just as much as there is, is affordable; a rial less is not."""
    tariff = per_minute(6000, minimum_s=60)
    assert affordable_s([tariff], NOON, 6000, TEHRAN, 7200) == 60
    assert affordable_s([tariff], NOON, 5999, TEHRAN, 7200) == 0
    assert affordable_s([per_call(20_000)], NOON, 20_000, TEHRAN, 7200) == 7200
    assert affordable_s([per_call(20_000)], NOON, 19_999, TEHRAN, 7200) == 0


def test_nothing_accepted_nothing_rated() -> None:
    """Without any accepted tariff there is no price."""
    with pytest.raises(ValueError, match="no tariff"):
        version_at([], NOON)


# -- properties -----------------------------------------------------------------------------------


@st.composite
def bands(draw: st.DrawFn, prices: st.SearchStrategy[int]) -> tuple[Band, ...]:
    """Bands that do not overlap: the same edges on each of their days."""
    edges = sorted(draw(st.sets(st.integers(0, 1440), min_size=2, max_size=6)))
    days = tuple(sorted(draw(st.sets(st.integers(0, 6), min_size=1))))
    return tuple(
        Band(days, begin, end, draw(prices))
        for begin, end in pairwise(edges)
        if draw(st.booleans())
    )


@st.composite
def tariffs(draw: st.DrawFn, zone_day: datetime) -> list[Tariff]:
    """One to three versions, by the minute, around a day."""
    versions = []
    for number in range(draw(st.integers(1, 3))):
        increment = draw(st.sampled_from([1, 6, 20, 30, 60, 90]))
        step = 60 // gcd(60, increment)
        prices = st.integers(1, 200).map(lambda count, step=step: count * step)
        begin = zone_day + timedelta(seconds=draw(st.integers(-7200, 7200)))
        versions.append(
            per_minute(
                draw(prices),
                increment_s=increment,
                minimum_s=increment * draw(st.integers(0, 4)),
                valid_from=begin if number else zone_day - timedelta(days=9),
                bands=draw(bands(prices)),
            )
        )
    return [
        replace(tariff, id=place + 1)
        for place, tariff in enumerate({each.valid_from: each for each in versions}.values())
    ]


# Days on which Berlin's clock is put forward and back, and one of peace in Tehran.
DAYS = {
    "forward": (datetime(2026, 3, 29, 0, 30, tzinfo=UTC), BERLIN),
    "back": (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), BERLIN),
    "peace": (datetime(2026, 11, 21, 20, 0, tzinfo=UTC), TEHRAN),
}


@st.composite
def calls(draw: st.DrawFn) -> tuple[list[Tariff], datetime, ZoneInfo]:
    """Tariffs, a connection, a zone."""
    day, zone = DAYS[draw(st.sampled_from(sorted(DAYS)))]
    start = day + timedelta(
        seconds=draw(st.integers(-7200, 7200)), milliseconds=draw(st.integers(0, 999))
    )
    return draw(tariffs(day)), start, zone


def by_hand(versions: list[Tariff], start: datetime, seconds: int, zone: ZoneInfo) -> int:
    """The same, one increment after the other, as the rule says it."""
    if seconds < 1:
        return 0
    billed = max(seconds, version_at(versions, start).minimum_s)
    offset = amount = 0
    while offset < billed:
        begin = start + timedelta(seconds=offset)
        tariff = version_at(versions, begin)
        cost, rest = divmod(tariff.price_at(begin, zone) * tariff.increment_s, 60)
        assert rest == 0
        amount += cost
        offset += tariff.increment_s
    return amount


@given(calls(), st.integers(0, 9000))
def test_the_amount_is_that_of_its_increments(
    call: tuple[list[Tariff], datetime, ZoneInfo], seconds: int
) -> None:
    """Spans of one price give just what counting increment by increment does; no lost rial."""
    versions, start, zone = call
    rated = rate(versions, start, seconds, zone)
    assert rated.amount == by_hand(versions, start, seconds, zone)
    assert rated.amount == sum(each.amount for each in rated.segments)
    assert rated.seconds_billed == sum(each.seconds for each in rated.segments)
    assert rated.seconds_billed >= seconds
    for each in rated.segments:
        assert each.amount * 60 == each.price * each.seconds


@given(calls(), st.integers(0, 9000), st.integers(0, 600))
def test_longer_never_costs_less(
    call: tuple[list[Tariff], datetime, ZoneInfo], seconds: int, more: int
) -> None:
    """The amount is monotone in the seconds."""
    versions, start, zone = call
    shorter = rate(versions, start, seconds, zone).amount
    assert shorter <= rate(versions, start, seconds + more, zone).amount


@given(calls(), st.integers(1, 40))
def test_increments_add_up(call: tuple[list[Tariff], datetime, ZoneInfo], count: int) -> None:
    """After the minimum, a call costs what it has cost and what the rest costs from there on."""
    versions, start, zone = call
    first = rate(versions, start, 1, zone)
    done = first.seconds_billed
    later = start + timedelta(seconds=done)
    # From there on without a minimum: that is of the beginning of a call.
    rest = [replace(tariff, minimum_s=0) for tariff in versions]
    seconds = count * 30
    whole = rate(versions, start, done + seconds, zone).amount
    assert whole == first.amount + rate(rest, later, seconds, zone).amount


@given(calls(), st.integers(0, 2_000_000), st.integers(1, 9000))
@example(([per_minute(6000)], NOON, TEHRAN), 6000, 7200)
def test_affordable_is_exact(
    call: tuple[list[Tariff], datetime, ZoneInfo], amount: int, most: int
) -> None:
    """What is affordable costs no more than there is, and a second more would (or is too long)."""
    versions, start, zone = call
    seconds = affordable_s(versions, start, amount, zone, most)
    assert 0 <= seconds <= most
    assert rate(versions, start, seconds, zone).amount <= amount
    assert seconds == most or rate(versions, start, seconds + 1, zone).amount > amount
