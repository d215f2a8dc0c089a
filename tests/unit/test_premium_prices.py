"""What a caller is told of the price: now, and what changes while a call may last (D10, D11)."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest

from billing.clock import FixedClock
from billing.premium.price_list import PriceList
from billing.premium.tariffs import Band
from callflows.premium import phrases
from sounds import load_catalogue
from tests.charging_house import LONG_AGO, TEHRAN, House, per_call, per_minute

# A Sunday, 11:30 in Tehran.
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
AHEAD_S = 7200
EVERY_DAY = (0, 1, 2, 3, 4, 5, 6)


@pytest.fixture
def house(database):
    return House(database, FixedClock(NOW))


def announced(house, *tariffs, at=NOW):
    service, _ = house.service(*tariffs)
    prices = PriceList(house.database, TEHRAN, AHEAD_S)
    return prices.prices(prices.announced(service, at), at)


def said(prices):
    return [(each.key, dict(each.slots)) for each in phrases.prices(prices, TEHRAN)]


def test_a_plain_price_is_one_price(house):
    """One version without bands: its price, how it is counted, and nothing else."""
    prices = announced(house, per_minute(6000))
    assert said(prices) == [
        ("premium_price_minute", {"price": 6000}),
        ("premium_by_minute", {}),
    ]


@pytest.mark.parametrize(
    ("increment", "minimum", "keys"),
    [
        (1, 0, ["premium_by_second"]),
        (1, 30, ["premium_by_second", "premium_least_seconds"]),
        (30, 30, ["premium_by_seconds"]),
        (60, 120, ["premium_by_minute", "premium_least_minutes"]),
        (120, 0, ["premium_by_minutes"]),
        (90, 180, ["premium_by_seconds", "premium_least_minutes"]),
    ],
)
def test_how_time_is_counted_is_said(house, increment, minimum, keys):
    """Step and minimum in seconds or minutes; a minimum that the step implies is not repeated."""
    prices = announced(house, per_minute(6000, increment_s=increment, minimum_s=minimum))
    assert [key for key, _ in said(prices)[1:]] == keys


def test_a_price_that_rises_in_the_call_is_told(house):
    """A peak begins in half an hour: its price and when, by the operator's clock."""
    peak = Band(EVERY_DAY, 12 * 60, 20 * 60, 12_000)
    prices = announced(house, per_minute(6000, bands=(peak,)))
    assert said(prices)[2:] == [("premium_price_minute_from", {"at": time(12), "price": 12_000})]


def test_what_begins_after_the_longest_call_is_not_told(house):
    """The peak of the evening is nobody's business at noon."""
    peak = Band(EVERY_DAY, 14 * 60, 20 * 60, 12_000)
    assert len(announced(house, per_minute(6000, bands=(peak,)))) == 1


def test_a_new_version_is_told_with_how_it_is_counted(house):
    """At midnight another tariff begins, in other steps."""
    midnight = datetime(2026, 11, 22, 20, 30, tzinfo=UTC)
    new = per_minute(9000, valid_from=midnight, increment_s=30)
    prices = announced(house, per_minute(6000), new, at=midnight - timedelta(minutes=10))
    assert said(prices) == [
        ("premium_price_minute", {"price": 6000}),
        ("premium_by_minute", {}),
        ("premium_price_minute_from", {"at": time(0), "price": 9000}),
        ("premium_by_seconds", {"step": 30}),
    ]


def test_the_price_of_a_call_is_that_of_its_connection(house):
    """Per call, a change concerns only who is connected after it; so for a change of the model."""
    soon = NOW + timedelta(minutes=30)
    dearer = announced(house, per_call(20_000), per_call(30_000, valid_from=soon))
    assert said(dearer)[1] == ("premium_price_call_from", {"at": time(12), "price": 30_000})
    other = announced(house, per_call(20_000), per_minute(6000, valid_from=soon))
    assert said(other)[1][0] == "premium_price_minute_connected_from"


def test_a_band_that_costs_the_same_is_no_change(house):
    """Of two prices in a row that are the same, the second is not said."""
    same = Band(EVERY_DAY, 12 * 60, 13 * 60, 6000)
    assert len(announced(house, per_minute(6000, bands=(same,)))) == 1


def test_a_band_of_one_weekday_ends_at_midnight(house):
    """A price of Sundays is over when Monday begins, though no band has an edge there."""
    sunday = Band((6,), 0, 24 * 60, 12_000)
    at = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)  # 23:30
    prices = announced(house, per_minute(6000, bands=(sunday,)), at=at)
    assert [(each.amount, each.begin) for each in prices] == [
        (12_000, at),
        (6000, datetime(2026, 11, 22, 20, 30, tzinfo=UTC)),
    ]


def test_no_tariff_is_nothing_to_announce(house):
    """Before its first version a service has no price, and cannot be accepted."""
    service, _ = house.service(per_minute(valid_from=NOW))
    prices = PriceList(house.database, TEHRAN, AHEAD_S)
    assert prices.announced(service, LONG_AGO) == ()


def test_every_price_can_be_said(house):
    """Whatever is announced has words in all languages."""
    catalogue = load_catalogue()
    peak = Band(EVERY_DAY, 12 * 60, 20 * 60, 12_060)
    prices = announced(house, per_minute(6060, bands=(peak,), increment_s=1, minimum_s=45))
    for language in catalogue.languages:
        for phrase in phrases.prices(prices, TEHRAN):
            assert catalogue.text(phrase, language)
            assert catalogue.recordings(phrase, language)
