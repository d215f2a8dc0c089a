"""Requests for a monthly credit, by telephone, SMS or operations, and what they came to (D8)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, bindparam, func, select

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing.clock import Clock
from billing.database import Database
from billing.errors import KeyConflict
from billing.premium.credit import Credit, CreditView
from billing.premium.credit_policy import Granted, History, Policy, decide
from billing.premium.schema import credit_requests
from billing.schema import bills

CreditVia = Literal["phone", "sms", "operations"]

LARGEST_CREDIT = 10**12
"""Rials; nobody means more."""

_ASK = (
    insert(credit_requests)
    .on_conflict_do_nothing(index_elements=[credit_requests.c.key])
    .returning(credit_requests.c.id)
)

_BY_KEY = select(
    credit_requests.c.line,
    credit_requests.c.asked,
    credit_requests.c.granted,
    credit_requests.c.reason,
).where(credit_requests.c.key == bindparam("made_by"))

_OVERDUE = select(func.count()).where(
    bills.c.line_id == bindparam("of"),
    bills.c.status == "open",
    bills.c.due_date < bindparam("today"),
)

_FELL_DUE = (
    select(bills.c.due_date, bills.c.settled_at)
    .where(
        bills.c.line_id == bindparam("of"),
        (bills.c.status == "paid") | (bills.c.due_date < bindparam("today")),
    )
    .order_by(bills.c.due_date.desc(), bills.c.id.desc())
    .limit(bindparam("most"))
)


@dataclass(frozen=True, slots=True)
class CreditRequest:
    """A request of before: what was ``asked`` and ``granted`` (rials a month), why, and how."""

    id: int
    asked: int
    granted: int
    reason: str
    via: CreditVia
    at: datetime


class CreditRequests:
    """Decides on requests by a policy. Methods raise Unavailable."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        credit: Credit,
        *,
        zone: ZoneInfo,
        policy: Policy | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._credit = credit
        self._zone = zone
        self._policy = policy or Policy()

    @property
    def policy(self) -> Policy:
        """By which it is decided."""
        return self._policy

    def ask(self, key: str, line: int, asked: int, via: CreditVia) -> Granted:
        """Ask for ``asked`` rials a month; what is granted holds from this month on.

        Once for each ``key``.

        Raises:
            ValueError: more than anybody can mean, or less than nothing.
            KeyConflict: ``key`` has asked for something else.
        """
        now = self._clock.now()
        return self._database.write(lambda conn: self.ask_in(conn, key, line, asked, via, now))

    def ask_in(
        self,
        conn: Connection,
        key: str,
        line: int,
        asked: int,
        via: CreditVia,
        now: datetime,
    ) -> Granted:
        """As `ask`, in the caller's transaction."""
        if not 0 <= asked <= LARGEST_CREDIT:
            raise ValueError("a credit is 0 to 10^12 rials")
        today = now.astimezone(self._zone).date()
        history = self._history(conn, line, today)
        standing = self._credit.view_in(conn, line, now).ceiling
        granted = decide(history, asked, standing, self._policy)
        return self._write(conn, key, line, asked, granted.amount, granted.reason, via, now)

    def set(self, key: str, line: int, amount: int, reason: str) -> None:
        """Set the credit by an operator's decision, whatever the policy says.

        Raises:
            ValueError: more than anybody can mean, or less than nothing.
        """
        if not 0 <= amount <= LARGEST_CREDIT:
            raise ValueError("a credit is 0 to 10^12 rials")
        now = self._clock.now()
        self._database.write(
            lambda conn: self._write(conn, key, line, amount, amount, reason, "operations", now)
        )

    def view(self, line: int) -> CreditView:
        """The line's credit of this month."""
        return self._credit.view(line)

    def history(self, line: int) -> History:
        """What the policy sees of a line's payments."""
        today = self._clock.now().astimezone(self._zone).date()
        return self._database.query(lambda conn: self._history(conn, line, today))

    def requests(self, line: int, limit: int = 100) -> list[CreditRequest]:
        """What was asked for a line before, newest first."""
        table = credit_requests.c
        statement = (
            select(table.id, table.asked, table.granted, table.reason, table.via, table.at)
            .where(table.line == line)
            .order_by(table.id.desc())
            .limit(limit)
        )
        return self._database.query(
            lambda conn: [CreditRequest(*row) for row in conn.execute(statement)]
        )

    def _history(self, conn: Connection, line: int, today: date) -> History:
        values = {"of": line, "today": today}
        overdue = conn.execute(_OVERDUE, values).scalar_one()
        fell_due = conn.execute(_FELL_DUE, {**values, "most": self._policy.bills}).all()
        in_time = sum(
            row.settled_at is not None
            and row.settled_at.astimezone(self._zone).date() <= row.due_date
            for row in fell_due
        )
        return History(overdue, len(fell_due), in_time)

    def _write(
        self,
        conn: Connection,
        key: str,
        line: int,
        asked: int,
        granted: int,
        reason: str,
        via: CreditVia,
        now: datetime,
    ) -> Granted:
        row = {
            "key": key,
            "line": line,
            "asked": asked,
            "granted": granted,
            "reason": reason,
            "via": via,
            "at": now,
        }
        if conn.execute(_ASK, row).one_or_none() is None:
            before = conn.execute(_BY_KEY, {"made_by": key}).one()
            if (before.line, before.asked) != (line, asked):
                raise KeyConflict(f"key {key} has asked for another credit")
            return Granted(before.granted, before.reason)
        self._credit.set_standing(conn, line, granted, now)
        return Granted(granted, reason)  # type: ignore[arg-type]
