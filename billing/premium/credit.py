"""Credit control for premium calls: reserve, extend, commit, release, expire (D8; RFC 8506).

A line has a credit for each month. What running calls hold and what ended calls have used never
exceed it together, nor what an owner's approval allows: every change is one conditional UPDATE that
adds, so that simultaneous calls on one line need no lock of ours, and the tables' CHECKs refuse a
rial over it whatever is wrong here. A reservation is held under its call's id and resolved once.

Which words of RFC 8506 stand behind which method: INITIAL_REQUEST is `Credit.reserve`,
UPDATE_REQUEST is `Credit.extend`, TERMINATION_REQUEST with used units is `Credit.commit` and
without any `Credit.release`; the server's Tcc timer is `Credit.expire`. DIAMETER_CREDIT_LIMIT_
REACHED is False; a request in a state that does not know it is `KeyConflict`.

The methods that take a connection write in the caller's transaction, to be composed with the fact
they belong to. Locks are always taken in the order reservation, credit, approval. All amounts are
integer rials.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from sqlalchemy import (
    Connection,
    case,
    select,
    update,
)

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing.clock import Clock
from billing.database import Database
from billing.errors import BillingError, KeyConflict
from billing.premium import credit_statements as sql
from billing.premium.months import CalendarName, month_of
from billing.premium.schema import credit_limits, owner_approvals, premium_credits

Status = Literal["open", "committed", "released", "expired"]
Shortage = Literal["no_credit", "approval_used_up"]

_CREDIT, _PURSE = premium_credits.c, owner_approvals.c


class NoReservation(BillingError, LookupError):
    """Nothing was ever reserved under this key."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a call holds or has held. ``month`` is the month whose credit it counts against."""

    key: str
    line: int
    month: int
    approval: int | None
    held: int
    committed: int
    status: Status
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class CreditView:
    """A line's credit in a month (year times 100 plus month)."""

    month: int
    ceiling: int
    used: int
    held: int

    @property
    def available(self) -> int:
        """What the next call may still reserve."""
        return self.ceiling - self.used - self.held


class Credit:
    """The credits of lines, over one database.

    ``default`` is the monthly credit of a line whose owner has not asked for any. ``calendar`` says
    what a month is, ``zone`` where it begins.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        zone: ZoneInfo,
        calendar: CalendarName = "persian",
        default: int = 0,
    ) -> None:
        """Raises ValueError for a negative ``default``."""
        if default < 0:
            raise ValueError("a credit is not negative")
        self._database = database
        self._clock = clock
        self._zone = zone
        self._calendar = calendar
        self._default = default

    def month(self, moment: datetime) -> int:
        """Return the month that a call begun at ``moment`` counts against."""
        return month_of(moment, self._zone, self._calendar)

    # -- in the caller's transaction --------------------------------------------------------------

    def reserve(
        self,
        conn: Connection,
        key: str,
        line: int,
        approval_id: int | None,
        amount: int,
        expires_at: datetime,
        now: datetime,
    ) -> bool:
        """Hold ``amount`` (positive) of the line's credit, and of the owner's approval if given.

        Both or neither. Said again with what is open under the key it changes nothing and is True.
        The credit is that of the month of ``now``, also for all that is added to it later.

        Returns:
            Whether it is held; False: the credit or the approval does not reach, which `shortage`
            tells apart; nothing was written.

        Raises:
            KeyConflict: the key stands for another line or approval, or is resolved already.
            ValueError: the amount is not positive.
        """
        _check_positive(amount)
        month = self.month(now)
        if approval_id is None and conn.dialect.name == "postgresql":
            values = {"by_line": line, "by_month": month, "by_key": key, "amount": amount}
            whole = conn.execute(sql.HOLD_AND_RESERVE, values | {"now": now, "until": expires_at})
            held, made = whole.one()
            if made:
                return True
            if held:
                self._give_back(conn, line, month, None, amount)
                return self._replayed(conn, key, line, None)
        if not self._hold(conn, line, month, approval_id, amount, now):
            return self._replayed(conn, key, line, approval_id)
        made = conn.execute(
            sql.RESERVE,
            {
                "key": key,
                "line": line,
                "month": month,
                "approval": approval_id,
                "held": amount,
                "created_at": now,
                "expires_at": expires_at,
            },
        ).first()
        if made is not None:
            return True
        self._give_back(conn, line, month, approval_id, amount)
        return self._replayed(conn, key, line, approval_id)

    def extend(
        self, conn: Connection, key: str, more: int, expires_at: datetime, now: datetime
    ) -> bool:
        """Hold ``more`` (positive) for a call that goes on, until ``expires_at``.

        Not keyed by itself: whoever may say it twice uses `extend_to`.

        Returns:
            Whether it is held; False: the credit or the approval does not reach (any more), or the
            reservation is resolved; nothing was written.

        Raises:
            NoReservation: nothing was reserved under the key.
            ValueError: ``more`` is not positive.
        """
        _check_positive(more)
        found = self._locked(conn, key)
        return self._grow(conn, found, more, expires_at, now)

    def extend_to(
        self, conn: Connection, key: str, total: int, expires_at: datetime, now: datetime
    ) -> bool:
        """Hold ``total`` for a call in all, if it does not hold as much already; else as `extend`.

        Said again it changes nothing.

        Raises:
            NoReservation: nothing was reserved under the key.
            ValueError: ``total`` is not positive.
        """
        _check_positive(total)
        found = self._locked(conn, key)
        return self._grow(conn, found, max(0, total - found.held), expires_at, now)

    def commit(self, conn: Connection, key: str, amount: int, now: datetime) -> None:
        """Use ``amount`` (0 or more) of what is held and give back the rest; once.

        Raises:
            KeyConflict: more than what is held, or resolved already, and not with this amount.
            NoReservation: nothing was reserved under the key.
            ValueError: the amount is negative.
        """
        if amount < 0:
            raise ValueError("nobody commits less than nothing")
        self._resolve(conn, key, "committed", amount, now)

    def release(self, conn: Connection, key: str, now: datetime) -> None:
        """Give back all that is held; again, or for what has expired, it changes nothing.

        Raises:
            KeyConflict: it was committed.
            NoReservation: nothing was reserved under the key.
        """
        self._resolve(conn, key, "released", 0, now)

    def expire(self, conn: Connection, now: datetime, limit: int) -> list[str]:
        """Resolve at most ``limit`` open reservations whose time is over; return their keys.

        All that they held is given back.
        """
        rows = conn.execute(sql.EXPIRE, {"now": now, "most": limit}).all()
        credits_: Counter[tuple[int, int]] = Counter()
        purses: Counter[int] = Counter()
        for row in rows:
            credits_[row.line, row.month] += row.held
            if row.approval is not None:
                purses[row.approval] += row.held
        # Everybody locks in the same order, so nobody deadlocks.
        if credits_:
            conn.execute(
                sql.SETTLE_CREDIT,
                [
                    {"by_line": line, "by_month": month, "back": back, "spent": 0}
                    for (line, month), back in sorted(credits_.items())
                ],
            )
        if purses:
            conn.execute(
                sql.SETTLE_PURSE,
                [
                    {"by_approval": approval, "back": back, "spent": 0}
                    for approval, back in sorted(purses.items())
                ],
            )
        return [row.key for row in rows]

    def shortage(
        self, conn: Connection, line: int, approval_id: int | None, amount: int, now: datetime
    ) -> Shortage | None:
        """Return what does not reach for ``amount``, in words for the caller; None: it does."""
        if self.available(conn, line, now) < amount:
            return "no_credit"
        if approval_id is None:
            return None
        purse = conn.execute(
            select(_PURSE.id).where(
                _PURSE.id == approval_id,
                _PURSE.line == line,
                _PURSE.revoked_at.is_(None),
                _PURSE.valid_until > now,
                _PURSE.used + _PURSE.held + amount <= _PURSE.ceiling,
            )
        ).first()
        return None if purse is not None else "approval_used_up"

    def available(self, conn: Connection, line: int, now: datetime) -> int:
        """Return what a call begun ``now`` could reserve of the line's credit."""
        return self._view(conn, line, self.month(now)).available

    def find(self, conn: Connection, key: str) -> Reservation | None:
        """Return what is or was held under a key; None: nothing ever."""
        row = conn.execute(sql.FIND, {"by_key": key}).one_or_none()
        return None if row is None else Reservation(*row)

    def view_in(self, conn: Connection, line: int, now: datetime) -> CreditView:
        """Return the line's credit of the month of ``now``."""
        return self._view(conn, line, self.month(now))

    def set_standing(self, conn: Connection, line: int, amount: int, now: datetime) -> None:
        """Set the line's monthly credit, from this month on.

        This month's is never set below what is used and held already.

        Raises:
            ValueError: the amount is negative.
        """
        if amount < 0:
            raise ValueError("a credit is not negative")
        limit = insert(credit_limits).values(line=line, amount=amount, granted_at=now)
        conn.execute(
            limit.on_conflict_do_update(
                index_elements=[credit_limits.c.line],
                set_={"amount": limit.excluded.amount, "granted_at": limit.excluded.granted_at},
            )
        )
        # The month's row is made here, if need be: a call that makes it meanwhile may have read the
        # credit of before, and then waits for us, or we for it.
        month = self.month(now)
        self._begin_month(conn, line, month)
        counted = _CREDIT.used + _CREDIT.held
        conn.execute(
            update(premium_credits)
            # Later ones too: a clock may have been ahead.
            .where(_CREDIT.line == line, _CREDIT.month >= month)
            .values(ceiling=case((counted > amount, counted), else_=amount))
        )

    # -- by itself --------------------------------------------------------------------------------

    def view(self, line: int) -> CreditView:
        """Return the line's credit of this month.

        Raises:
            Unavailable: the database is locked or away.
        """
        now = self._clock.now()
        return self._database.query(lambda conn: self.view_in(conn, line, now))

    # ---------------------------------------------------------------------------------------------

    def _view(self, conn: Connection, line: int, month: int) -> CreditView:
        row = conn.execute(sql.VIEW, {"by_line": line, "by_month": month}).one_or_none()
        if row is not None:
            return CreditView(month, *row)
        standing = conn.execute(select(sql.STANDING), {"by_line": line}).scalar_one_or_none()
        return CreditView(month, self._default if standing is None else standing, 0, 0)

    def _begin_month(self, conn: Connection, line: int, month: int) -> bool:
        values = {"by_line": line, "by_month": month, "default": self._default}
        return conn.execute(sql.BEGIN_MONTH, values).first() is not None

    def _hold(
        self,
        conn: Connection,
        line: int,
        month: int,
        approval: int | None,
        amount: int,
        now: datetime,
    ) -> bool:
        values = {"by_line": line, "by_month": month, "amount": amount}
        held = conn.execute(sql.HOLD_CREDIT, values).rowcount == 1
        if not held and self._begin_month(conn, line, month):
            held = conn.execute(sql.HOLD_CREDIT, values).rowcount == 1
        if not held or approval is None:
            return held
        purse = {"by_approval": approval, "by_line": line, "amount": amount, "now": now}
        if conn.execute(sql.HOLD_PURSE, purse).rowcount == 1:
            return True
        self._give_back(conn, line, month, None, amount)
        return False

    def _give_back(
        self,
        conn: Connection,
        line: int,
        month: int,
        approval: int | None,
        back: int,
        spent: int = 0,
    ) -> None:
        conn.execute(
            sql.SETTLE_CREDIT, {"by_line": line, "by_month": month, "back": back, "spent": spent}
        )
        if approval is not None:
            conn.execute(sql.SETTLE_PURSE, {"by_approval": approval, "back": back, "spent": spent})

    def _replayed(self, conn: Connection, key: str, line: int, approval: int | None) -> bool:
        """Whether the key holds just this already; False when it holds nothing yet."""
        found = self.find(conn, key)
        if found is None:
            return False
        if (found.line, found.approval) != (line, approval):
            raise KeyConflict(f"reservation {key} is another line's or under another approval")
        if found.status != "open":
            raise KeyConflict(f"reservation {key} is {found.status} already")
        return True

    def _locked(self, conn: Connection, key: str) -> Reservation:
        row = conn.execute(sql.LOCK, {"by_key": key}).one_or_none()
        if row is None:
            raise NoReservation(f"nothing was reserved under {key}")
        return Reservation(*row)

    def _grow(
        self,
        conn: Connection,
        found: Reservation,
        more: int,
        expires_at: datetime,
        now: datetime,
    ) -> bool:
        if found.status != "open":
            return False
        if more and not self._hold(conn, found.line, found.month, found.approval, more, now):
            return False
        conn.execute(sql.GROW, {"by_key": found.key, "amount": more, "until": expires_at})
        return True

    def _resolve(
        self,
        conn: Connection,
        key: str,
        outcome: Literal["committed", "released"],
        spent: int,
        now: datetime,
    ) -> None:
        values = {"by_key": key, "spent": spent, "outcome": outcome, "now": now}
        if conn.dialect.name == "postgresql":
            if conn.execute(sql.RESOLVE_AND_SETTLE, values).first() is not None:
                return
        else:
            row = conn.execute(sql.RESOLVE, values).one_or_none()
            if row is not None:
                self._give_back(conn, row.line, row.month, row.approval, row.held, spent)
                return
        found = self.find(conn, key)
        if found is None:
            raise NoReservation(f"nothing was reserved under {key}")
        if found.status == "open":
            raise KeyConflict(f"reservation {key} holds {found.held} rials, less than {spent}")
        if outcome == "released" and found.status == "expired":
            return
        if (found.status, found.committed) != (outcome, spent):
            raise KeyConflict(
                f"reservation {key} is {found.status} already, with {found.committed} rials"
            )


def _check_positive(amount: int) -> None:
    if amount <= 0:
        raise ValueError("a reservation holds a positive amount")
