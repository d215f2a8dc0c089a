"""Tariffs of premium services: what is announced, accepted and charged (D2, D10, D11, D15).

A service has versions of its tariff, each in force from its ``valid_from`` until the next one's. An
approved version is never changed. Prices are rials for a call or for a minute, and a minute's price
is such that each increment costs whole rials, so that no rial is ever rounded.

Written in a service's file::

    tariffs:
      - from: 1405/09/01            # or 2026-11-22, also with a time: 2026-11-22 08:00
        model: per_minute           # or per_call
        price: 6000                 # rials
        minimum_s: 60               # the least that is charged; a multiple of the increment
        increment_s: 30
        bands:                      # per_minute or per_call: another price at these times
          - {days: [saturday, sunday], from: "08:00", to: "20:00", price: 9000}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from functools import cached_property
from typing import Any, Literal, NoReturn
from zoneinfo import ZoneInfo

import jdatetime  # type: ignore[import-untyped]
from sqlalchemy import Connection, Row, bindparam, select

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing.calendars import WEEKDAYS
from billing.digits import ascii_digits
from billing.errors import BillingError
from billing.premium.schema import tariffs as table

Model = Literal["per_minute", "per_call"]

HIGHEST_PRICE = 100_000_000
"""Rials; more for a minute or a call is a slip of the pen."""

LONGEST_INCREMENT_S = 3600
LONGEST_MINIMUM_S = 24 * 3600
DAY_MINUTES = 24 * 60

# Years before are Solar Hijri: nobody writes a tariff for the Middle Ages.
_FIRST_GREGORIAN = 1700
_DATE = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[ T](\d{1,2}):(\d{2}))?")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")
_ENTRIES = frozenset({"from", "model", "price", "minimum_s", "increment_s", "bands"})
_BAND_ENTRIES = frozenset({"days", "from", "to", "price"})


class InvalidTariff(BillingError, ValueError):
    """A tariff cannot be used; ``index`` (from 0) says which one, ``field`` which entry of it."""

    def __init__(self, index: int, field: str, reason: str) -> None:
        """Compose the text, such as ``tariffs[1].bands[0].to: ...``."""
        place = f"tariffs[{index}]" + (f".{field}" if field else "")
        super().__init__(f"{place}: {reason}")
        self.index = index
        self.field = field


@dataclass(frozen=True, slots=True)
class Band:
    """Another ``price`` on some ``days`` (Monday is 0), minutes ``begin`` to before ``end``."""

    days: tuple[int, ...]
    begin: int
    end: int
    price: int

    def as_dict(self) -> dict[str, Any]:
        """Return it as it is kept."""
        return {
            "days": list(self.days),
            "from": _clock(self.begin),
            "to": _clock(self.end),
            "price": self.price,
        }


@dataclass(frozen=True)
class Tariff:
    """A version of a service's tariff.

    ``id`` and ``service`` are 0 for one that is not stored. ``price`` is rials for a call or for a
    minute outside of all ``bands``. ``minimum_s`` and ``increment_s`` are 0 and 1 for calls that
    cost once.
    """

    id: int
    service: int
    valid_from: datetime
    model: Model
    price: int
    minimum_s: int
    increment_s: int
    bands: tuple[Band, ...] = ()

    def price_at(self, moment: datetime, zone: ZoneInfo) -> int:
        """Return the rials for a minute (or the call) at ``moment``."""
        if not self.bands:
            return self.price
        local = moment.astimezone(zone)
        minute = local.hour * 60 + local.minute
        for begin, end, price in self.by_day[local.weekday()]:
            if begin <= minute < end:
                return price
        return self.price

    @cached_property
    def by_day(self) -> tuple[tuple[tuple[int, int, int], ...], ...]:
        """The bands of each weekday in order: (begin, end, price)."""
        return tuple(
            tuple(sorted((b.begin, b.end, b.price) for b in self.bands if day in b.days))
            for day in range(7)
        )

    @property
    def prices(self) -> tuple[int, ...]:
        """All prices, the one outside of all bands first."""
        return self.price, *(band.price for band in self.bands)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it; `Tariff.of` makes it again."""
        return {
            "id": self.id,
            "service": self.service,
            "valid_from": self.valid_from.astimezone(UTC).isoformat(),
            "model": self.model,
            "price": self.price,
            "minimum_s": self.minimum_s,
            "increment_s": self.increment_s,
            "bands": [band.as_dict() for band in self.bands],
        }

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Tariff:
        """Return the tariff that `as_dict` gave."""
        return cls(
            id=content["id"],
            service=content["service"],
            valid_from=datetime.fromisoformat(content["valid_from"]),
            model=content["model"],
            price=content["price"],
            minimum_s=content["minimum_s"],
            increment_s=content["increment_s"],
            bands=_stored_bands(content["bands"]),
        )


def parse_tariffs(entries: Sequence[Mapping[str, Any]], zone: ZoneInfo) -> list[Tariff]:
    """Read the tariffs of a service's file, in order of their beginning.

    Raises:
        InvalidTariff: an entry is wrong; the text names it.
    """
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        raise InvalidTariff(0, "", "at least one tariff is needed, as a list")
    parsed = [_Entry(index, entry, zone).tariff() for index, entry in enumerate(entries)]
    begins: dict[datetime, int] = {}
    for index, tariff in enumerate(parsed):
        earlier = begins.setdefault(tariff.valid_from, index)
        if earlier != index:
            raise InvalidTariff(index, "from", f"the same as that of tariffs[{earlier}]")
    return sorted(parsed, key=lambda tariff: tariff.valid_from)


_NEWEST = (
    select(table)
    .where(table.c.service == bindparam("service"), table.c.valid_from <= bindparam("at"))
    .order_by(table.c.valid_from.desc())
    .limit(1)
)

_COMING = (
    select(table)
    .where(
        table.c.service == bindparam("service"),
        table.c.valid_from > bindparam("after"),
        table.c.valid_from <= bindparam("until"),
    )
    .order_by(table.c.valid_from)
)


def in_force(conn: Connection, service: int, at: datetime) -> Tariff | None:
    """Return the version in force at ``at``; None before the first one."""
    row = conn.execute(_NEWEST, {"service": service, "at": at}).one_or_none()
    return None if row is None else _tariff(row)


def coming(conn: Connection, service: int, after: datetime, until: datetime) -> list[Tariff]:
    """Return the versions that begin after ``after``, at latest at ``until``, in order."""
    rows = conn.execute(_COMING, {"service": service, "after": after, "until": until})
    return [_tariff(row) for row in rows]


def add(
    conn: Connection,
    service: int,
    tariffs: Sequence[Tariff],
    approved_by: str,
    now: datetime,
) -> list[Tariff]:
    """Store approved versions; return them all with their ids, in order of their beginning.

    One that is there already with the same content is left as it is. A new one begins in the
    future, or is the first of its service: what has been announced is never changed afterwards.

    Raises:
        InvalidTariff: a version begins in the past, or another one begins at the same moment.
    """
    rows = conn.execute(
        select(table).where(table.c.service == service).order_by(table.c.valid_from)
    )
    known = {tariff.valid_from: tariff for tariff in map(_tariff, rows)}
    stored = []
    is_first = not known
    for index, tariff in enumerate(sorted(tariffs, key=lambda each: each.valid_from)):
        kept = known.get(tariff.valid_from)
        if kept is None:
            if tariff.valid_from <= now and not (is_first and index == 0):
                raise InvalidTariff(index, "from", "a further version must begin in the future")
            kept = _insert(conn, service, tariff, approved_by, now)
        if kept is None or replace(kept, id=0, service=0) != replace(tariff, id=0, service=0):
            raise InvalidTariff(index, "from", "another approved version begins at this moment")
        stored.append(kept)
    return stored


def _insert(
    conn: Connection, service: int, tariff: Tariff, approved_by: str, now: datetime
) -> Tariff | None:
    row = conn.execute(
        insert(table)
        .values(
            service=service,
            valid_from=tariff.valid_from,
            model=tariff.model,
            price=tariff.price,
            minimum_s=tariff.minimum_s,
            increment_s=tariff.increment_s,
            bands=json.dumps([band.as_dict() for band in tariff.bands], separators=(",", ":")),
            approved_at=now,
            approved_by=approved_by,
        )
        .on_conflict_do_nothing(index_elements=[table.c.service, table.c.valid_from])
        .returning(table.c.id)
    ).one_or_none()
    return None if row is None else replace(tariff, id=row.id, service=service)


def _tariff(row: Row[Any]) -> Tariff:
    return Tariff(
        id=row.id,
        service=row.service,
        valid_from=row.valid_from,
        model=row.model,
        price=row.price,
        minimum_s=row.minimum_s,
        increment_s=row.increment_s,
        bands=_stored_bands(json.loads(row.bands)),
    )


def _stored_bands(content: Sequence[Mapping[str, Any]]) -> tuple[Band, ...]:
    return tuple(
        Band(tuple(band["days"]), _minutes(band["from"]), _minutes(band["to"]), band["price"])
        for band in content
    )


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _minutes(text: str) -> int:
    """Return the minutes since midnight of 08:00; 24:00 is the end of the day.

    Raises:
        ValueError: it is no time of the day.
    """
    match = _CLOCK.fullmatch(ascii_digits(text))
    if match is None or int(match[2]) > 59:
        raise ValueError("a time such as 08:00 in quotes")
    minutes = int(match[1]) * 60 + int(match[2])
    if minutes > DAY_MINUTES:
        raise ValueError("a day has 24 hours")
    return minutes


class _Entry:
    """One tariff of a service's file, being read."""

    def __init__(self, index: int, content: Any, zone: ZoneInfo) -> None:
        self._index = index
        self._zone = zone
        if not isinstance(content, Mapping):
            self._refuse("", "entries such as model and price are needed")
        self._content: Mapping[str, Any] = content

    def tariff(self) -> Tariff:
        """Return what is written, checked."""
        content = self._content
        for name in content:
            if name not in _ENTRIES:
                self._refuse(str(name), f"no such entry; there are {', '.join(sorted(_ENTRIES))}")
        model = content.get("model")
        if model not in ("per_minute", "per_call"):
            self._refuse("model", "per_minute or per_call")
        minimum_s, increment_s = 0, 1
        if model == "per_minute":
            increment_s = self._whole(
                "increment_s", content.get("increment_s", 60), 1, LONGEST_INCREMENT_S
            )
            minimum_s = self._whole("minimum_s", content.get("minimum_s", 0), 0, LONGEST_MINIMUM_S)
            if minimum_s % increment_s:
                self._refuse("minimum_s", f"a multiple of the increment, {increment_s} s")
        else:
            for name in ("minimum_s", "increment_s"):
                if name in content:
                    self._refuse(name, "a call that costs once has none")
        price = self._price("price", content.get("price"), model, increment_s)
        return Tariff(
            id=0,
            service=0,
            valid_from=self._begin(content.get("from")),
            model=model,
            price=price,
            minimum_s=minimum_s,
            increment_s=increment_s,
            bands=self._bands(content.get("bands", ()), model, increment_s),
        )

    def _begin(self, value: Any) -> datetime:
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC)
        if isinstance(value, date):
            # YAML has read a date by itself.
            value = value.isoformat(*((" ", "minutes") if isinstance(value, datetime) else ()))
        match = _DATE.fullmatch(ascii_digits(value.strip())) if isinstance(value, str) else None
        if match is None:
            self._refuse("from", "a day such as 1405/09/01 or 2026-11-22, with a time or without")
        year, month, day, hour, minute = (int(part or 0) for part in match.groups())
        try:
            if year < _FIRST_GREGORIAN:
                begin = jdatetime.date(year, month, day).togregorian()
            else:
                begin = date(year, month, day)
            local = datetime.combine(begin, time(hour, minute), self._zone)
        except ValueError as error:
            self._refuse("from", str(error))
        return local.astimezone(UTC)

    def _bands(self, value: Any, model: Model, increment_s: int) -> tuple[Band, ...]:
        if not isinstance(value, Sequence) or isinstance(value, str):
            self._refuse("bands", "a list")
        bands = [self._band(place, each, model, increment_s) for place, each in enumerate(value)]
        for place, band in enumerate(bands):
            for earlier, other in enumerate(bands[:place]):
                if (
                    set(band.days) & set(other.days)
                    and band.begin < other.end
                    and other.begin < band.end
                ):
                    self._refuse(f"bands[{place}]", f"overlaps bands[{earlier}]")
        return tuple(bands)

    def _band(self, place: int, value: Any, model: Model, increment_s: int) -> Band:
        field = f"bands[{place}]"
        if not isinstance(value, Mapping):
            self._refuse(field, "entries days, from, to and price are needed")
        for name in value:
            if name not in _BAND_ENTRIES:
                self._refuse(f"{field}.{name}", "no such entry; there are days, from, to, price")
        ends = []
        for name in ("from", "to"):
            try:
                ends.append(_minutes(value[name]))
            except (KeyError, AttributeError, ValueError):
                self._refuse(f"{field}.{name}", 'a time from "00:00" to "24:00", in quotes')
        if ends[0] >= ends[1]:
            self._refuse(f"{field}.to", "must be after from; over midnight, write two bands")
        price = self._price(f"{field}.price", value.get("price"), model, increment_s)
        return Band(self._days(field, value.get("days", WEEKDAYS)), ends[0], ends[1], price)

    def _days(self, field: str, value: Any) -> tuple[int, ...]:
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            self._refuse(f"{field}.days", f"a list of {', '.join(WEEKDAYS)}")
        days = set()
        for day in value:
            if type(day) is int and 0 <= day <= 6:
                days.add(day)
            elif day in WEEKDAYS:
                days.add(WEEKDAYS.index(day))
            else:
                self._refuse(f"{field}.days", f"{day!r} is no day of the week")
        return tuple(sorted(days))

    def _price(self, field: str, value: Any, model: Model, increment_s: int) -> int:
        price = self._whole(field, value, 1, HIGHEST_PRICE)
        if model == "per_minute" and price * increment_s % 60:
            self._refuse(field, f"an increment of {increment_s} s would not cost whole rials")
        return price

    def _whole(self, field: str, value: Any, least: int, most: int) -> int:
        if type(value) is not int or not least <= value <= most:
            self._refuse(field, f"a whole number from {least} to {most}")
        return value

    def _refuse(self, field: str, reason: str) -> NoReturn:
        raise InvalidTariff(self._index, field, reason)
