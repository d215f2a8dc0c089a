"""What a caller has to be told of a service's price before anything is charged (D10, D11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from billing.database import Database
from billing.premium.rating import version_at
from billing.premium.tariffs import DAY_MINUTES, Model, Tariff, coming, in_force

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Price:
    """From ``begin`` on, ``amount`` rials for a minute or a call (``model``).

    ``increment_s`` and ``minimum_s`` say how time is counted. With ``connecting`` the price is that
    of calls which are connected from then on; without, a running call has it too.
    """

    begin: datetime
    model: Model
    amount: int
    increment_s: int
    minimum_s: int
    connecting: bool = False


class PriceList:
    """The approved tariffs as they are announced, over one database.

    ``ahead_s`` is how long after the announcement a call may last at most: prices that begin
    within that time are announced, too.
    """

    def __init__(self, database: Database, zone: ZoneInfo, ahead_s: int) -> None:
        self._database = database
        self._zone = zone
        self._ahead = timedelta(seconds=ahead_s)

    def announced(self, service: int, at: datetime) -> tuple[Tariff, ...]:
        """The versions to announce at a moment, the one in force first; empty: there is none.

        Raises:
            Unavailable: the database is locked or away.
        """

        def work(conn: Connection) -> tuple[Tariff, ...]:
            now = in_force(conn, service, at)
            return () if now is None else (now, *coming(conn, service, at, at + self._ahead))

        return self._database.query(work)

    def prices(self, tariffs: Sequence[Tariff], at: datetime) -> list[Price]:
        """The price at a moment, and those that begin within the time ahead, in order.

        Of two in a row that are the same, the second is left out.
        """
        until = at + self._ahead
        prices = [_price(tariffs, at, self._zone)]
        for moment in _edges(tariffs, at, until, self._zone):
            price = _price(tariffs, moment, self._zone)
            before = prices[-1]
            if _same(price, before):
                continue
            connecting = price.model == "per_call" or price.model != before.model
            prices.append(
                Price(
                    moment,
                    price.model,
                    price.amount,
                    price.increment_s,
                    price.minimum_s,
                    connecting,
                )
            )
        return prices


def _price(tariffs: Sequence[Tariff], at: datetime, zone: ZoneInfo) -> Price:
    tariff = version_at(tariffs, at)
    return Price(at, tariff.model, tariff.price_at(at, zone), tariff.increment_s, tariff.minimum_s)


def _same(one: Price, other: Price) -> bool:
    return (one.model, one.amount, one.increment_s, one.minimum_s) == (
        other.model,
        other.amount,
        other.increment_s,
        other.minimum_s,
    )


def _edges(
    tariffs: Sequence[Tariff], after: datetime, until: datetime, zone: ZoneInfo
) -> list[datetime]:
    """Every moment after ``after`` and before ``until`` at which a price may change."""
    found = {tariff.valid_from for tariff in tariffs}
    minutes = {
        minute for tariff in tariffs for band in tariff.bands for minute in (band.begin, band.end)
    }
    if minutes:
        # A band of certain weekdays may also begin or end at midnight.
        minutes |= {0, DAY_MINUTES}
    day = after.astimezone(zone).date()
    while day <= until.astimezone(zone).date():
        midnight = datetime.combine(day, time(), zone)
        for minute in minutes:
            found.add((midnight + timedelta(minutes=minute)).astimezone(after.tzinfo))
        day += _DAY
    return sorted(moment for moment in found if after < moment < until)
