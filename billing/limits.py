"""Limits on messages that a menu sends, so that nobody floods somebody else's mobile.

Counted in the transaction that writes the message: over a limit the whole is rolled back, so a
refused message is not counted either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Text, bindparam, literal, select, true, union_all

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.dml import ReturningInsert

from billing.errors import Limited
from billing.schema import sms_counters

ANONYMOUS = "anonymous"
"""The key of all callers who show no number: hiding it must not lift the limit."""

_Scope = Literal["caller", "anonymous", "destination", "hour", "day"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How many messages may be asked for; None is no limit.

    ``caller_per_day``: asked for by one caller. ``anonymous_per_day``: asked for by all callers
    together who show no usable number; larger, because they are many, and each mobile is still
    guarded by ``destination_per_day`` and ``destination_per_hour``: sent to it, whoever asks.
    ``total_per_day``: all together.

    Days and hours are those of the clock in ``timezone``, not the last 24 hours or 60 minutes: a
    count is one row, and three messages at 10:59 and three at 11:00 are within three an hour.
    """

    caller_per_day: int | None = 10
    destination_per_day: int | None = 5
    destination_per_hour: int | None = 4
    total_per_day: int | None = None
    timezone: str = "Asia/Tehran"
    anonymous_per_day: int | None = 200

    def ceilings(self, anonymous: bool) -> Iterator[tuple[_Scope, int]]:
        """Yield each limit that is set for a caller without or with a number.

        In the order they are counted in: everybody locks the rows so, each scope with one key, and
        two messages never wait for each other in a circle.
        """
        values: tuple[tuple[_Scope, int | None], ...] = (
            ("anonymous", self.anonymous_per_day) if anonymous else ("caller", self.caller_per_day),
            ("destination", self.destination_per_day),
            ("hour", self.destination_per_hour),
            ("day", self.total_per_day),
        )
        for scope, value in values:
            if value is not None:
                yield scope, value


class Counter:
    """Counts messages against limits."""

    def __init__(self, limits: Limits) -> None:
        """Count against ``limits``.

        Raises:
            ValueError: a limit is negative, or the time zone is unknown.
        """
        self._known, self._anonymous = (
            _Count(tuple(limits.ceilings(anonymous))) for anonymous in (False, True)
        )
        for _, ceiling in (*self._known.ceilings, *self._anonymous.ceilings):
            if ceiling < 0:
                raise ValueError("a message limit is 0 or more")
        try:
            self._zone = ZoneInfo(limits.timezone)
        except (KeyError, OSError) as error:
            raise ValueError(f"unknown time zone: {limits.timezone}") from error

    def count(self, conn: Connection, caller: str | None, destination: str, now: datetime) -> None:
        """Count one message in the caller's transaction.

        Args:
            conn: a write transaction, rolled back by the caller when this raises.
            caller: who asks, E.164; None for a caller without a number.
            destination: the mobile, E.164.
            now: the moment.

        Raises:
            Limited: a limit is used up; ``scope`` says which.
        """
        count = self._anonymous if caller is None else self._known
        for scope, ceiling in count.ceilings:
            if ceiling == 0:
                raise Limited(_public(scope))
        if count.statement is None:
            return
        local = now.astimezone(self._zone)
        day = local.date().isoformat()
        keys = {
            "caller_key": caller,
            "caller_span": day,
            "anonymous_key": ANONYMOUS,
            "anonymous_span": day,
            "destination_key": destination,
            "destination_span": day,
            "hour_key": destination,
            "hour_span": f"{day}T{local.hour:02d}",
            "day_key": "all",
            "day_span": day,
        }
        values = {
            f"{scope}_{part}": keys[f"{scope}_{part}"]
            for scope, _ in count.ceilings
            for part in ("key", "span")
        }
        counted = {row.scope for row in conn.execute(count.statement, values)}
        for scope, _ in count.ceilings:
            if scope not in counted:
                raise Limited(_public(scope))


class _Count:
    """The limits that hold for a caller, and the statement that counts them all."""

    def __init__(self, ceilings: tuple[tuple[_Scope, int], ...]) -> None:
        self.ceilings = ceilings
        self.statement = _counting(ceilings) if ceilings else None


def _public(scope: _Scope) -> Literal["caller", "destination", "hour", "day"]:
    return "caller" if scope == "anonymous" else scope


def _counting(ceilings: tuple[tuple[_Scope, int], ...]) -> ReturningInsert[tuple[str]]:
    # One round trip for all. A SELECT and not VALUES: SQLAlchemy compiles an insert of several
    # VALUES anew each time, which would cost more than the whole message may.
    rows = union_all(
        *(
            select(
                literal(scope),
                bindparam(f"{scope}_key", type_=Text),
                bindparam(f"{scope}_span", type_=Text),
                literal(1),
                literal(ceiling),
            ).where(true())  # without it SQLite takes ON CONFLICT for a join's ON
            for scope, ceiling in ceilings
        )
    )
    statement = insert(sms_counters).from_select(["scope", "key", "span", "count", "ceiling"], rows)
    return statement.on_conflict_do_update(
        index_elements=list(sms_counters.primary_key),
        set_={"count": sms_counters.c.count + 1, "ceiling": statement.excluded.ceiling},
        where=sms_counters.c.count < statement.excluded.ceiling,
    ).returning(sms_counters.c.scope)
