"""Which owners are to be called about a request that they have not answered (D9).

Each request is called about once: a call whose fate is unknown may have been heard.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, literal_column, select, update

from billing.calling_hours import CallingHours, parse_window
from billing.clock import Clock
from billing.database import Database
from billing.premium.schema import approval_requests

# Whoever asked has long hung up then: the owner has the SMS and need not be called.
TOO_LATE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class OwnerCall:
    """A call to be placed: to ``number`` (E.164), under ``call_id``, a UUID never used before."""

    request: int
    call_id: str
    number: str


class ApprovalCalls:
    """Hands out the calls to owners. Methods raise Unavailable."""

    def __init__(
        self, database: Database, clock: Clock, zone: ZoneInfo, window: str = "08:00-22:00"
    ) -> None:
        """Owners are called within ``window`` only, by their own clock.

        Raises:
            InvalidWindow: it is none.
        """
        self._database = database
        self._clock = clock
        self._hours = CallingHours(parse_window(window), None, zone)

    def claim(self, limit: int = 10) -> list[OwnerCall]:
        """Take the calls that are due; nobody else gets them."""
        now = self._clock.now()
        table = approval_requests.c
        due = (
            select(table.id, table.mobile)
            .where(
                # Written out, not bound: a database takes a partial index only for what it reads.
                table.status == literal_column("'open'"),
                table.owner_call_id.is_(None),
                table.call_at <= now,
                table.call_at > now - TOO_LATE,
                table.expires_at > now,
            )
            .order_by(table.call_at, table.id)
            .limit(limit)
        )

        def work(conn: Connection) -> list[OwnerCall]:
            taken = []
            for row in conn.execute(due).all():
                if self._hours.next_open(row.mobile, now) > now:
                    continue
                call = OwnerCall(row.id, str(uuid.uuid4()), row.mobile)
                if self._take(conn, call):
                    taken.append(call)
            return taken

        return self._database.write(work)

    def give_back(self, call: OwnerCall, at: datetime) -> None:
        """Certainly nobody was called: try again from ``at`` on."""
        table = approval_requests.c
        statement = (
            update(approval_requests)
            .where(table.id == call.request, table.owner_call_id == call.call_id)
            .values(owner_call_id=None, call_at=at)
        )
        self._database.write(lambda conn: conn.execute(statement))

    def _take(self, conn: Connection, call: OwnerCall) -> bool:
        table = approval_requests.c
        statement = (
            update(approval_requests)
            .where(
                table.id == call.request,
                table.status == "open",
                table.owner_call_id.is_(None),
            )
            .values(owner_call_id=call.call_id)
        )
        return conn.execute(statement).rowcount == 1
