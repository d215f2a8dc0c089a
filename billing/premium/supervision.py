"""The operator's supervision of premium services (D15): submitted, approved, refused, suspended.

A provider submits versions; the operator approves or refuses each. Only an approved version is
heard by callers, and only an approval makes a tariff.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, literal, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing.clock import Clock
from billing.database import Database
from billing.errors import BillingError
from billing.premium import tariffs as tariff_versions
from billing.premium.book import Status, UnknownService
from billing.premium.definitions import canonical, checked, digest
from billing.premium.providers import contract_at
from billing.premium.schema import consultants, premium_services, providers, service_versions

Decision = Literal["pending", "approved", "refused"]


class WrongDecision(BillingError):
    """A version cannot be decided so as it stands; the text says how it stands."""


@dataclass(frozen=True, slots=True)
class Version:
    """A submitted version and what was decided about it."""

    number: str
    version: int
    digest: str
    submitted_at: datetime
    submitted_by: str
    decision: Decision
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Listed:
    """A service in a list: ``waiting`` is its newest version that nobody has decided about."""

    number: str
    provider: str
    category: str
    status: Status
    published: int | None
    waiting: int | None


class Supervision:
    """What providers hand in and what becomes of it, over one database."""

    def __init__(
        self, database: Database, clock: Clock, zone: ZoneInfo, *, region: str = "IR"
    ) -> None:
        """``zone`` and ``region`` (ISO 3166) are the operator's."""
        self._database = database
        self._clock = clock
        self._zone = zone
        self._region = region

    def submit(self, content: Mapping[str, Any], by: str) -> Version:
        """Write down a version for the operator to decide about; the same again is the same.

        The menu tree in it has to be checked before: see `callflows.trees.services`.

        Raises:
            InvalidService: something is wrong with it; all faults are named.
            UnknownService: its number is another provider's, or its provider is unknown.
        """
        definition = checked(content, self._zone, self._region)
        stored = canonical(definition)
        mark = digest(stored)
        now = self._clock.now()

        def work(conn: Connection) -> Version:
            service = _service_of(conn, definition)
            newest = conn.execute(
                select(service_versions)
                .where(service_versions.c.service == service)
                .order_by(service_versions.c.version.desc())
                .limit(1)
            ).one_or_none()
            version = newest.version if newest is not None else 0
            if newest is None or newest.digest != mark or newest.decision == "refused":
                version += 1
                conn.execute(
                    insert(service_versions).values(
                        service=service,
                        version=version,
                        definition=stored,
                        digest=mark,
                        submitted_at=now,
                        submitted_by=by,
                    )
                )
            return _versions(conn, definition["number"], version)[0]

        return self._database.write(work)

    def approve(self, number: str, version: int, by: str) -> Version:
        """Publish a version: from now on callers get it, with its tariffs and consultants.

        Approved again it stays as it is. A suspended service stays suspended.

        Raises:
            UnknownService: there is no such version.
            WrongDecision: it was refused, or is older than the published one, or its provider has
                no contract in force.
            InvalidTariff: a tariff begins in the past, or differs from an approved one.
        """
        now = self._clock.now()

        def work(conn: Connection) -> Version:
            done = self._decide(conn, number, version, "approved", by, None, now)
            if done is None:
                return _versions(conn, number, version)[0]
            service, definition = done
            content = json.loads(definition)
            column = premium_services.c
            published = conn.execute(
                update(premium_services)
                .where(
                    column.id == service,
                    column.published.is_(None) | (column.published < version),
                )
                .values(
                    published=version,
                    category=content["category"],
                    status=func.replace(column.status, "draft", "published"),
                )
                .returning(column.provider)
            ).one_or_none()
            if published is None:
                raise WrongDecision(f"a newer version of {number} is published")
            if contract_at(conn, published.provider, now) is None:
                raise WrongDecision(f"provider {content['provider']} has no contract in force")
            versions = tariff_versions.parse_tariffs(content["tariffs"], self._zone)
            tariff_versions.add(conn, service, versions, by, now)
            _set_consultants(conn, service, content["content"].get("consultants"))
            return _versions(conn, number, version)[0]

        return self._database.write(work)

    def refuse(self, number: str, version: int, by: str, reason: str) -> Version:
        """Refuse a version, with the reason for the provider.

        Raises:
            UnknownService: there is no such version.
            WrongDecision: it was approved.
        """
        now = self._clock.now()

        def work(conn: Connection) -> Version:
            self._decide(conn, number, version, "refused", by, reason, now)
            return _versions(conn, number, version)[0]

        return self._database.write(work)

    def suspend(self, number: str) -> bool:
        """Let nobody use a service for now; False if nobody could anyway."""
        return self._move(number, ("published",), "suspended")

    def resume(self, number: str) -> bool:
        """End a suspension; False if there was none."""
        return self._move(number, ("suspended",), "published")

    def withdraw(self, number: str) -> bool:
        """Take a service out of the book for good; False if it was not in it."""
        return self._move(number, ("published", "suspended", "draft"), "withdrawn")

    def listed(self, provider: str | None = None) -> list[Listed]:
        """Return all services by number, or a provider's (by code)."""
        waiting = (
            select(func.max(service_versions.c.version))
            .where(
                service_versions.c.service == premium_services.c.id,
                service_versions.c.decision == "pending",
            )
            .scalar_subquery()
        )
        column = premium_services.c
        wanted = (
            select(
                column.number,
                providers.c.code,
                column.category,
                column.status,
                column.published,
                waiting,
            )
            .join(providers, providers.c.id == column.provider)
            .order_by(column.number)
        )
        if provider is not None:
            wanted = wanted.where(providers.c.code == provider)
        return self._database.query(lambda conn: [Listed(*row) for row in conn.execute(wanted)])

    def versions(self, number: str) -> list[Version]:
        """Return all versions of a service, newest first.

        Raises:
            UnknownService: there is no such service.
        """
        return self._database.query(lambda conn: _versions(conn, number))

    def definition(self, number: str, version: int) -> dict[str, Any]:
        """Return the definition of a version.

        Raises:
            UnknownService: there is none.
        """

        def work(conn: Connection) -> str | None:
            return conn.execute(
                select(service_versions.c.definition)
                .join(premium_services, premium_services.c.id == service_versions.c.service)
                .where(premium_services.c.number == number, service_versions.c.version == version)
            ).scalar_one_or_none()

        stored = self._database.query(work)
        if stored is None:
            raise UnknownService(f"there is no version {version} of a service {number}")
        return cast(dict[str, Any], json.loads(stored))

    # -- helpers --------------------------------------------------------------------------------

    def _decide(
        self,
        conn: Connection,
        number: str,
        version: int,
        decision: Decision,
        by: str,
        reason: str | None,
        now: datetime,
    ) -> tuple[int, str] | None:
        """Decide about a version nobody has decided about; None if it was decided so already."""
        there = _versions(conn, number, version)[0]
        column = service_versions.c
        row = conn.execute(
            update(service_versions)
            .where(
                column.service
                == select(premium_services.c.id)
                .where(premium_services.c.number == number)
                .scalar_subquery(),
                column.version == version,
                column.decision == "pending",
            )
            .values(
                decision=decision,
                decided_at=literal(now, column.decided_at.type),
                decided_by=by,
                reason=reason,
            )
            .returning(column.service, column.definition)
        ).one_or_none()
        if row is not None:
            return row.service, row.definition
        if there.decision != decision:
            raise WrongDecision(f"version {version} of {number} is {there.decision} already")
        return None

    def _move(self, number: str, before: Sequence[Status], after: Status) -> bool:
        column = premium_services.c

        def work(conn: Connection) -> bool:
            done = conn.execute(
                update(premium_services)
                .where(column.number == number, column.status.in_(before))
                .values(status=after)
            )
            if done.rowcount != 1:
                _versions(conn, number)
            return done.rowcount == 1

        return self._database.write(work)


def _service_of(conn: Connection, definition: Mapping[str, Any]) -> int:
    """The id of the service of that number; it is made with its first version."""
    number = definition["number"]
    provider = conn.execute(
        select(providers.c.id).where(providers.c.code == definition["provider"])
    ).scalar_one_or_none()
    if provider is None:
        raise UnknownService(f"there is no provider {definition['provider']}")
    conn.execute(
        insert(premium_services)
        .values(number=number, provider=provider, category=definition["category"])
        .on_conflict_do_nothing(index_elements=[premium_services.c.number])
    )
    column = premium_services.c
    service, owner, status = conn.execute(
        select(column.id, column.provider, column.status)
        .where(column.number == number)
        # Its versions are numbered one after the other.
        .with_for_update()
    ).one()
    if owner != provider:
        raise UnknownService(f"number {number} is another provider's")
    if status == "withdrawn":
        raise UnknownService(f"number {number} was withdrawn")
    return int(service)


def _versions(conn: Connection, number: str, version: int | None = None) -> list[Version]:
    column = service_versions.c
    wanted = (
        select(
            premium_services.c.number,
            column.version,
            column.digest,
            column.submitted_at,
            column.submitted_by,
            column.decision,
            column.decided_at,
            column.decided_by,
            column.reason,
        )
        .join(premium_services, premium_services.c.id == column.service)
        .where(premium_services.c.number == number)
        .order_by(column.version.desc())
    )
    if version is not None:
        wanted = wanted.where(column.version == version)
    found = [Version(*row) for row in conn.execute(wanted)]
    if not found:
        what = f"version {version} of a service" if version is not None else "service"
        raise UnknownService(f"there is no {what} {number}")
    return found


def _set_consultants(conn: Connection, service: int, wanted: Mapping[str, Any] | None) -> None:
    """Have the version's consultants answer, and nobody else; who is in a call stays in it."""
    people = wanted["list"] if wanted is not None else []
    column = consultants.c
    conn.execute(update(consultants).where(column.service == service).values(active=0))
    for place, person in enumerate(people, 1):
        values = {
            "number": person["number"],
            "place": place,
            "hours": json.dumps(person["hours"]),
            "active": 1,
        }
        conn.execute(
            insert(consultants)
            .values(service=service, code=person["code"], **values)
            .on_conflict_do_update(index_elements=[column.service, column.code], set_=values)
        )
