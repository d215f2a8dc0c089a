"""What a premium call costs: pure functions of the accepted tariffs, the beginning and the length.

Seconds are whole and rounded down: a second that was not reached is not charged, and a connection
of less than one costs nothing. A call is counted by the model of the version in force when it was
connected. Per call, the price of that moment is due once. Per minute, time is charged in
increments from the connection on, each at the price (version and band) in force when it begins; at
least the first version's minimum is charged. A version of the other model does not touch a running
call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from billing.premium.tariffs import DAY_MINUTES, Tariff

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a call at one price: ``seconds`` charged from ``begin`` on cost ``amount`` rials.

    ``tariff`` is the version's id, ``price`` its rials for a minute or a call then.
    """

    tariff: int
    begin: datetime
    price: int
    seconds: int
    amount: int

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it (the table ``charges`` keeps these)."""
        return {
            "tariff": self.tariff,
            "from": self.begin.astimezone(UTC).isoformat(),
            "price": self.price,
            "seconds": self.seconds,
            "amount": self.amount,
        }


@dataclass(frozen=True, slots=True)
class Rated:
    """What a call costs: ``amount`` rials for ``seconds_billed``, and how that came about."""

    amount: int
    seconds_billed: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class _Span:
    """Increments at one price, from ``offset`` seconds after the connection on."""

    tariff: Tariff
    offset: int
    begin: datetime
    price: int
    # None: they never end.
    increments: int | None

    @property
    def unit(self) -> int:
        """What an increment costs."""
        return self.price * self.tariff.increment_s // 60


def rate(tariffs: Sequence[Tariff], connected_at: datetime, seconds: int, zone: ZoneInfo) -> Rated:
    """Return what ``seconds`` from ``connected_at`` on cost.

    Args:
        tariffs: the accepted versions, at least one.
        connected_at: the moment from which it costs.
        seconds: whole seconds of connection.
        zone: whose hours the bands mean.
    """
    if seconds < 1:
        return Rated(0, 0, ())
    first = version_at(tariffs, connected_at)
    if first.model == "per_call":
        price = first.price_at(connected_at, zone)
        return Rated(price, seconds, (Segment(first.id, connected_at, price, seconds, price),))
    billed = max(seconds, first.minimum_s)
    segments: list[Segment] = []
    for span in _spans(tariffs, first, connected_at, zone):
        if span.offset >= billed:
            break
        increment = span.tariff.increment_s
        count = -((span.offset - billed) // increment)
        if span.increments is not None:
            count = min(count, span.increments)
        segment = Segment(
            span.tariff.id, span.begin, span.price, count * increment, count * span.unit
        )
        if segments and (segments[-1].tariff, segments[-1].price) == (segment.tariff, span.price):
            last = segments[-1]
            segments[-1] = replace(
                last,
                seconds=last.seconds + segment.seconds,
                amount=last.amount + segment.amount,
            )
        else:
            segments.append(segment)
        if span.increments is None:
            break
    return Rated(
        sum(segment.amount for segment in segments),
        sum(segment.seconds for segment in segments),
        tuple(segments),
    )


def affordable_s(
    tariffs: Sequence[Tariff], connected_at: datetime, amount: int, zone: ZoneInfo, most_s: int
) -> int:
    """Return the most whole seconds, up to ``most_s``, that `rate` prices at ``amount`` or less.

    A price exactly equal to ``amount`` is affordable; 0 says that not even a beginning is.
    """
    first = version_at(tariffs, connected_at)
    if first.model == "per_call":
        return most_s if first.price_at(connected_at, zone) <= amount else 0
    left = amount
    covered = 0
    most = max(most_s, first.minimum_s)
    for span in _spans(tariffs, first, connected_at, zone):
        count = left // span.unit
        if span.increments is not None:
            count = min(count, span.increments)
        covered = span.offset + count * span.tariff.increment_s
        left -= count * span.unit
        if span.increments is None or count < span.increments or covered >= most:
            break
    return min(covered, most_s) if covered >= first.minimum_s else 0


def least_use(tariffs: Sequence[Tariff], connected_at: datetime, zone: ZoneInfo) -> int:
    """Return the price of the shortest use that is charged, rials."""
    return rate(tariffs, connected_at, 1, zone).amount


def version_at(tariffs: Sequence[Tariff], moment: datetime) -> Tariff:
    """Return the version in force at ``moment``; before all of them, the first."""
    ordered = sorted(tariffs, key=lambda tariff: tariff.valid_from)
    if not ordered:
        raise ValueError("no tariff was accepted")
    found = ordered[0]
    for tariff in ordered:
        if tariff.valid_from <= moment:
            found = tariff
    return found


def _spans(
    tariffs: Sequence[Tariff], first: Tariff, connected_at: datetime, zone: ZoneInfo
) -> Iterator[_Span]:
    versions = [each for each in tariffs if each.model == first.model]
    offset = 0
    while True:
        begin = connected_at + timedelta(seconds=offset)
        tariff = version_at(versions, begin)
        change = _next_change(versions, tariff, begin, zone)
        increments = None
        if change is not None:
            increments = -((begin - change) // (tariff.increment_s * _SECOND))
        yield _Span(tariff, offset, begin, tariff.price_at(begin, zone), increments)
        if increments is None:
            return
        offset += increments * tariff.increment_s


def _next_change(
    versions: Sequence[Tariff], tariff: Tariff, moment: datetime, zone: ZoneInfo
) -> datetime | None:
    """When the price may change next after ``moment``; None: never."""
    changes = [each.valid_from for each in versions if each.valid_from > moment]
    if tariff.bands:
        changes.append(_next_edge(tariff, moment, zone))
    return min(changes, default=None)


def _next_edge(tariff: Tariff, moment: datetime, zone: ZoneInfo) -> datetime:
    local = moment.astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    minutes = {DAY_MINUTES}
    for begin, end, _ in tariff.by_day[local.weekday()]:
        minutes |= {begin, end}
    # Counted on the wall clock: a clock that is put forward or back does not move a band.
    walls = (midnight + timedelta(minutes=minute) for minute in sorted(minutes))
    edges = (wall.replace(fold=fold).astimezone(UTC) for wall in walls for fold in (0, 1))
    edge = min(edge for edge in edges if edge > moment)
    if edge.astimezone(zone).utcoffset() != local.utcoffset():
        return min(edge, _clock_change(moment, edge, zone))
    return edge


def _clock_change(after: datetime, until: datetime, zone: ZoneInfo) -> datetime:
    """The first second at which the clock is put forward or back, by halving."""
    before = after.astimezone(zone).utcoffset()
    low, high = int(after.timestamp()), int(until.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)
