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
"""All callers who show no number count as one, or hiding it would lift the limit."""

_Scope = Literal["caller", "destination", "hour", "day"]

# One statement counts all limits. Its rows are locked in this order by everybody, each scope with
# one key, so two messages never wait for each other in a circle.
_ORDER: tuple[_Scope, ...] = ("caller", "destination", "hour", "day")


@dataclass(frozen=True, slots=True)
class Limits:
    """How many messages may be asked for; None is no limit. Days begin at midnight in ``timezone``.

    ``caller_per_day``: asked for by one caller. ``destination_per_day`` and
    ``destination_per_hour``: sent to one mobile, whoever asks. ``total_per_day``: all together.
    """

    caller_per_day: int | None = 10
    destination_per_day: int | None = 5
    destination_per_hour: int | None = 4
    total_per_day: int | None = None
    timezone: str = "Asia/Tehran"

    def ceilings(self) -> Iterator[tuple[_Scope, int]]:
        """Yield each limit that is set, in the order they are counted in."""
        values = (
            self.caller_per_day,
            self.destination_per_day,
            self.destination_per_hour,
            self.total_per_day,
        )
        for scope, value in zip(_ORDER, values, strict=True):
            if value is not None:
                yield scope, value


class Counter:
    """Counts messages against limits."""

    def __init__(self, limits: Limits) -> None:
        """Count against ``limits``.

        Raises:
            ValueError: a limit is negative, or the time zone is unknown.
        """
        self._ceilings = tuple(limits.ceilings())
        if any(ceiling < 0 for _, ceiling in self._ceilings):
            raise ValueError("a message limit is 0 or more")
        try:
            self._zone = ZoneInfo(limits.timezone)
        except (KeyError, OSError) as error:
            raise ValueError(f"unknown time zone: {limits.timezone}") from error
        self._statement = _counting(self._ceilings) if self._ceilings else None

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
        for scope, ceiling in self._ceilings:
            if ceiling == 0:
                raise Limited(_public(scope))
        if self._statement is None:
            return
        local = now.astimezone(self._zone)
        day = local.date().isoformat()
        keys = {
            "caller_key": caller or ANONYMOUS,
            "caller_span": day,
            "destination_key": destination,
            "destination_span": day,
            "hour_key": destination,
            "hour_span": f"{day}T{local.hour:02d}",
            "day_key": "all",
            "day_span": day,
        }
        values = {
            f"{scope}_{part}": keys[f"{scope}_{part}"]
            for scope, _ in self._ceilings
            for part in ("key", "span")
        }
        counted = {row.scope for row in conn.execute(self._statement, values)}
        for scope, _ in self._ceilings:
            if scope not in counted:
                raise Limited(_public(scope))


def _public(scope: _Scope) -> Literal["caller", "destination", "day"]:
    return "destination" if scope == "hour" else scope


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
