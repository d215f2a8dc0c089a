"""The book of premium services: what callers get under which number (D1, D5, D10).

How a version gets into it is in `billing.premium.supervision`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, bindparam, select

from billing.calendars import Calendar, Calendars, InvalidCalendar
from billing.clock import Clock
from billing.database import Database
from billing.entities import Line
from billing.errors import BillingError
from billing.numbers import national
from billing.premium.definitions import MOBILE, Authentication
from billing.premium.hours import Hours, is_open, next_open, parse_hours
from billing.premium.schema import premium_services, providers, service_versions

Status = Literal["draft", "published", "suspended", "withdrawn"]

FOLDER = "services"
"""Where the recordings of services are, below the sounds folder."""

# Dialled numbers that are kept in memory, known or not.
_MOST_KEPT = 10_000


class UnknownService(BillingError, LookupError):
    """There is no such service or version."""


@dataclass(frozen=True, slots=True)
class Service:
    """A version of a service, as a call needs it.

    ``provider`` is the id, ``provider_code`` the short name. ``names`` and ``conditions`` are by
    language; ``regions`` are area codes, or "mobile" (none: everywhere). ``calendar`` names the
    holidays on which it is closed, if any. ``content`` holds ``tree``, ``consultants`` or both, as
    `billing.premium.definitions` describes them.
    """

    id: int
    number: str
    version: int
    provider: int
    provider_code: str
    category: str
    languages: tuple[str, ...]
    names: Mapping[str, str]
    conditions: Mapping[str, str]
    regions: tuple[str, ...]
    hours: tuple[Hours, ...]
    calendar: str | None
    authentication: Authentication
    content: Mapping[str, Any]
    status: Status
    digest: str

    def language(self, wanted: str) -> str:
        """Return the language to speak to somebody who wants ``wanted``."""
        return wanted if wanted in self.languages else self.languages[0]

    @property
    def folder(self) -> str:
        """Return where its recordings are, below the sounds folder."""
        return folder_of(self.number, self.version)

    def recording(self, part: Literal["name", "conditions"], language: str) -> str:
        """Return the file that says its name or conditions, below the sounds folder."""
        return f"{self.folder}/{language}/{part}.wav"

    @property
    def tree(self) -> Mapping[str, Any] | None:
        """Return the menu tree as written; None for a service of consultants only."""
        return self.content.get("tree")

    @property
    def order(self) -> str | None:
        """Return how a consultant is looked for; None for a service without consultants."""
        there = self.content.get("consultants")
        return None if there is None else str(there["order"])


def folder_of(number: str, version: int) -> str:
    """Return the folder of a version's recordings, below the sounds folder."""
    return f"{FOLDER}/{number}/{version}"


def allowed(service: Service, line: Line) -> bool:
    """Return whether the service may be used from a line: D10, by its area code."""
    if not service.regions:
        return True
    if line.kind == "mobile":
        return MOBILE in service.regions
    return national(line.number).startswith(
        tuple(region for region in service.regions if region != MOBILE)
    )


class ServiceBook:
    """All services, over one database.

    What is dialled is looked up in memory for some seconds: so long a decision may take to reach
    all workers.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        zone: ZoneInfo,
        *,
        kept_s: float = 5.0,
    ) -> None:
        """``zone`` is the operator's; what was dialled is known for ``kept_s`` seconds."""
        self._database = database
        self._clock = clock
        self._zone = zone
        self._kept_s = kept_s
        self._kept: dict[str, tuple[datetime, Service | None]] = {}

    # -- what callers get -----------------------------------------------------------------------

    def at(self, number: str, now: datetime | None = None) -> Service | None:
        """Return what callers of ``number`` get: published or suspended; None if there is nothing.

        A service counts as suspended while its provider is.

        Raises:
            Unavailable: the database is locked or away.
        """
        now = now or self._clock.now()
        kept = self._kept.get(number)
        if kept is not None and 0 <= (now - kept[0]).total_seconds() < self._kept_s:
            return kept[1]
        found = self._database.query(lambda conn: _published(conn, number))
        if len(self._kept) >= _MOST_KEPT:
            # Whoever dials numbers at random cannot fill the memory.
            self._kept.clear()
        self._kept[number] = (now, found)
        return found

    def get(self, number: str, version: int) -> Service:
        """Return a version, whatever was decided about it: a running call stays with its own.

        Raises:
            UnknownService: there is none.
            Unavailable: the database is locked or away.
        """
        found = self._database.query(lambda conn: _version(conn, number, version))
        if found is None:
            raise UnknownService(f"there is no version {version} of a service {number}")
        return found

    def open_at(self, service: Service, now: datetime, calendars: Calendars | None = None) -> bool:
        """Return whether the service is open: hours by the operator's clock, and holidays."""
        return is_open(service.hours, _closed(service, calendars), now, self._zone)

    def next_open(
        self, service: Service, now: datetime, calendars: Calendars | None = None
    ) -> datetime | None:
        """Return when it is open next (UTC), ``now`` if it is; None: not within two weeks."""
        return next_open(service.hours, _closed(service, calendars), now, self._zone)


def _closed(service: Service, calendars: Calendars | None) -> Calendar | None:
    if service.calendar is None or calendars is None:
        return None
    try:
        return calendars.get(service.calendar)
    except InvalidCalendar:
        # Checked at approval; a file that is gone since then closes no service.
        return None


_COLUMNS = (
    premium_services.c.id,
    premium_services.c.number,
    premium_services.c.status,
    premium_services.c.provider,
    providers.c.code,
    providers.c.status.label("provider_status"),
    service_versions.c.version,
    service_versions.c.definition,
    service_versions.c.digest,
)
_JOINED = premium_services.join(providers, providers.c.id == premium_services.c.provider).join(
    service_versions, service_versions.c.service == premium_services.c.id
)
_PUBLISHED = (
    select(*_COLUMNS)
    .select_from(_JOINED)
    .where(
        premium_services.c.number == bindparam("number"),
        premium_services.c.status.in_(("published", "suspended")),
        service_versions.c.version == premium_services.c.published,
    )
)
_VERSION = (
    select(*_COLUMNS)
    .select_from(_JOINED)
    .where(
        premium_services.c.number == bindparam("number"),
        service_versions.c.version == bindparam("version"),
    )
)


def _published(conn: Connection, number: str) -> Service | None:
    row = conn.execute(_PUBLISHED, {"number": number}).one_or_none()
    return None if row is None else _service(row)


def _version(conn: Connection, number: str, version: int) -> Service | None:
    row = conn.execute(_VERSION, {"number": number, "version": version}).one_or_none()
    return None if row is None else _service(row)


def _service(row: Any) -> Service:
    content = json.loads(row.definition)
    holidays = content["holidays"]
    return Service(
        id=row.id,
        number=row.number,
        version=row.version,
        provider=row.provider,
        provider_code=row.code,
        category=content["category"],
        languages=tuple(content["languages"]),
        names=content["names"],
        conditions=content["conditions"],
        regions=tuple(content["regions"]),
        hours=parse_hours(content["hours"]),
        calendar=None if holidays is None or holidays["open"] else holidays["calendar"],
        authentication=content["authentication"],
        content=content["content"],
        status="suspended" if row.provider_status == "suspended" else row.status,
        digest=row.digest,
    )
