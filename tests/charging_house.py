"""A small premium-rate operator for tests: a provider, services with tariffs, lines with credit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Table, insert

from billing.clock import FixedClock
from billing.database import Database
from billing.premium.charging import Charging, Standing
from billing.premium.consents import Consent, Consents
from billing.premium.credit import Credit, CreditView
from billing.premium.schema import owner_approvals, premium_services, providers
from billing.premium.slices import Grant, Refused
from billing.premium.tariffs import Tariff, add
from billing.schema import lines

TEHRAN = ZoneInfo("Asia/Tehran")
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
HEARD = [["premium_price", "fa", {"amount": 6000}], ["premium_accept", "fa", {"key": "4"}]]

_count = itertools.count(1)


def per_minute(price: int = 6000, **options: Any) -> Tariff:
    """A tariff of ``price`` rials a minute, in increments of a minute."""
    values = {"valid_from": LONG_AGO, "minimum_s": 0, "increment_s": 60, **options}
    return Tariff(id=0, service=0, model="per_minute", price=price, **values)


def per_call(price: int = 20_000, **options: Any) -> Tariff:
    """A tariff of ``price`` rials for a call."""
    values = {"valid_from": LONG_AGO, "minimum_s": 0, "increment_s": 1, **options}
    return Tariff(id=0, service=0, model="per_call", price=price, **values)


class House:
    """The operator; every method writes at once."""

    def __init__(self, database: Database, clock: FixedClock, **options: Any) -> None:
        self.database = database
        self.clock = clock
        self.credit = Credit(database, clock, TEHRAN, "persian")
        self.consents = Consents(database, clock)
        self.charging = Charging(database, clock, TEHRAN, self.credit, **options)
        self.provider = self._add(providers, code=f"provider-{next(_count)}", title="Provider")

    def service(self, *tariffs: Tariff) -> tuple[int, tuple[Tariff, ...]]:
        """A service; its id, and its stored tariffs (a price of 6,000 a minute by default)."""
        service = self._add(
            premium_services,
            number=f"909{next(_count):07}",
            provider=self.provider,
            category="stories",
            status="published",
            published=1,
        )
        stored = self.database.write(
            lambda conn: add(
                conn, service, tariffs or (per_minute(),), "operator", self.clock.now()
            )
        )
        return service, tuple(stored)

    def line(self, credit: int = 0) -> int:
        """A fixed line with a monthly credit."""
        line = self._add(
            lines,
            number=f"+982188{next(_count):06}",
            kind="fixed",
            language="fa",
            first_name="Ali",
            last_name="Rezaei",
        )
        self.database.write(
            lambda conn: self.credit.set_standing(conn, line, credit, self.clock.now())
        )
        return line

    def approval(self, line: int, service: int, ceiling: int) -> int:
        """An owner's approval for a day."""
        now = self.clock.now()
        return self._add(
            owner_approvals,
            line=line,
            service=service,
            ceiling=ceiling,
            granted_at=now,
            valid_until=now + timedelta(days=1),
            via="sms",
        )

    def consent(
        self, call_id: str, line: int, service: int, tariffs: Sequence[Tariff], **changed: Any
    ) -> Consent:
        """An acceptance, a minute after the announcement began."""
        now = self.clock.now()
        values: dict[str, Any] = {
            "call_id": call_id,
            "line": line,
            "service": service,
            "version": 1,
            "tariffs": tariffs,
            "language": "fa",
            "heard": HEARD,
            "named_digit": "4",
            "pressed_digit": "4",
            "heard_at": now - timedelta(seconds=20),
            "pressed_at": now,
            **changed,
        }
        return self.consents.accept(**values)

    def begin(
        self,
        call_id: str,
        line: int,
        service: tuple[int, tuple[Tariff, ...]],
        approval: int | None = None,
    ) -> Grant | Refused:
        """Accept, and begin."""
        consent = self.consent(call_id, line, *service)
        return self.charging.begin(call_id, consent, service[0], line, approval, "+982188776655")

    def connect(
        self, call_id: str, line: int, service: tuple[int, tuple[Tariff, ...]], **options: Any
    ) -> Grant:
        """Accept, begin and connect at once."""
        granted = self.begin(call_id, line, service, **options)
        assert isinstance(granted, Grant)
        return self.charging.connected(call_id, self.clock.now())

    def standing(self, call_id: str) -> Standing:
        """How a call stands that was begun."""
        found = self.charging.standing(call_id)
        assert found is not None
        return found

    def view(self, line: int) -> CreditView:
        """A line's credit of this month."""
        return self.credit.view(line)

    def _add(self, table: Table, **values: Any) -> int:
        def work(conn: Connection) -> int:
            key = conn.execute(insert(table).values(**values)).inserted_primary_key
            assert key is not None
            return int(key[0])

        return self.database.write(work)
