"""Lines with premium credit for tests, and the credit's methods as transactions."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from billing.clock import FixedClock
from billing.database import Database
from billing.premium.credit import Credit
from billing.premium.schema import owner_approvals
from billing.schema import lines

TEHRAN = ZoneInfo("Asia/Tehran")
MONTH = 140508
"""The month of the tests' clock (1405/08/30 in Tehran)."""


class Till:
    """Lines with credit, and each of the credit's methods in a transaction of its own."""

    def __init__(self, database: Database, clock: FixedClock) -> None:
        self.database = database
        self.clock = clock
        self.credit = Credit(database, clock, TEHRAN)

    def line(self, ceiling: int | None = None) -> int:
        """A new line, with a monthly credit if one is given."""

        def work(conn: Connection) -> int:
            place = conn.execute(select(func.count()).select_from(lines)).scalar_one()
            made = conn.execute(
                lines.insert()
                .values(
                    number=f"+9821{66000000 + place}",
                    kind="fixed",
                    language="fa",
                    first_name="",
                    last_name="",
                )
                .returning(lines.c.id)
            ).scalar_one()
            if ceiling is not None:
                self.credit.set_standing(conn, made, ceiling, self.clock.now())
            return made

        return self.database.write(work)

    def approval(self, line: int, ceiling: int, days: int = 90) -> int:
        """An owner's approval with a ceiling."""
        now = self.clock.now()
        statement = (
            owner_approvals.insert()
            .values(
                line=line,
                category="stories",
                ceiling=ceiling,
                granted_at=now,
                valid_until=now + timedelta(days=days),
                via="sms",
            )
            .returning(owner_approvals.c.id)
        )
        return self.database.write(lambda conn: conn.execute(statement).scalar_one())

    def revoke(self, approval: int) -> None:
        """The owner takes an approval back."""
        statement = (
            owner_approvals.update()
            .where(owner_approvals.c.id == approval)
            .values(revoked_at=self.clock.now())
        )
        self.database.write(lambda conn: conn.execute(statement))

    def reserve(self, key: str, line: int, amount: int, approval: int | None = None) -> bool:
        now = self.clock.now()
        return self.database.write(
            lambda conn: self.credit.reserve(
                conn, key, line, approval, amount, self.later(now), now
            )
        )

    def extend(self, key: str, more: int) -> bool:
        now = self.clock.now()
        return self.database.write(
            lambda conn: self.credit.extend(conn, key, more, self.later(now), now)
        )

    def extend_to(self, key: str, total: int) -> bool:
        now = self.clock.now()
        return self.database.write(
            lambda conn: self.credit.extend_to(conn, key, total, self.later(now), now)
        )

    def commit(self, key: str, amount: int) -> None:
        now = self.clock.now()
        self.database.write(lambda conn: self.credit.commit(conn, key, amount, now))

    def release(self, key: str) -> None:
        now = self.clock.now()
        self.database.write(lambda conn: self.credit.release(conn, key, now))

    def expire(self, limit: int = 100) -> list[str]:
        now = self.clock.now()
        return self.database.write(lambda conn: self.credit.expire(conn, now, limit))

    def set_standing(self, line: int, amount: int) -> None:
        now = self.clock.now()
        self.database.write(lambda conn: self.credit.set_standing(conn, line, amount, now))

    def status(self, key: str) -> tuple[str, int, int]:
        """Status, held and committed of a reservation."""
        found = self.database.query(lambda conn: self.credit.find(conn, key))
        assert found is not None
        return found.status, found.held, found.committed

    def purse(self, approval: int) -> tuple[int, int]:
        """Used and held of an approval."""
        statement = select(owner_approvals.c.used, owner_approvals.c.held).where(
            owner_approvals.c.id == approval
        )
        return tuple(self.database.query(lambda conn: conn.execute(statement).one()))

    def shortage(self, line: int, approval: int | None, amount: int) -> str | None:
        now = self.clock.now()
        return self.database.query(
            lambda conn: self.credit.shortage(conn, line, approval, amount, now)
        )

    @staticmethod
    def later(now: datetime) -> datetime:
        """When a reservation of these tests expires."""
        return now + timedelta(seconds=120)
