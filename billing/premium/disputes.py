"""Complaints about charges: disputed until a person decides, reversed by new entries (D12).

A disputed charge is asked for by no bill, collected by no payment and settled by no statement. What
bills have not collected of it yet is taken off them at once, so that nobody's telephone is cut off
for it; the line's next bill asks for it again when the complaint is rejected. When it is accepted,
everything about the charge is reversed: what was collected becomes the line's credit, and what
the provider had of it is taken back with the next statement.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Select, bindparam, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing import bills, outbox
from billing.clock import Clock
from billing.database import Database
from billing.errors import BillingError, KeyConflict
from billing.premium.owners import registered_mobile
from billing.premium.reversing import lock_bills, reverse, withdraw
from billing.premium.schema import charges, complaints
from billing.premium.service_names import Named, named
from billing.schema import lines

Status = Literal["open", "accepted", "rejected"]

HEARD = 5
"""How many of a line's last charges are read out."""

_LONGEST_REASON = 500


class NotDisputable(BillingError):
    """No complaint about this charge is taken; ``why`` says why.

    ``unknown``: it is none of the line's; ``open``: there is a complaint about it; ``decided``: it
    was decided about.
    """

    def __init__(self, why: Literal["unknown", "open", "decided"]) -> None:
        """Say why."""
        super().__init__(f"no complaint about this charge is taken: {why}")
        self.why = why


class NotOpen(BillingError, LookupError):
    """There is no open complaint of this number."""


@dataclass(frozen=True, slots=True)
class RecentCharge:
    """A charge as it is read out to whom may complain; ``complaint`` is how the last one stands."""

    charge: int
    service: Named
    connected_at: datetime
    seconds: int
    amount: int
    complaint: Status | None


@dataclass(frozen=True, slots=True)
class Complaint:
    """A complaint and its charge. ``line`` is the number (E.164), ``recording`` a path below the
    recordings folder; ``collected`` are the rials that bills have collected of the charge.
    """

    id: int
    status: Status
    opened_at: datetime
    charge: int
    charged_call: str
    service: Named
    line: str
    connected_at: datetime
    seconds: int
    amount: int
    collected: int
    recording: str | None
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None


class Complaints:
    """All complaints, over one database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def recent(self, line: int, limit: int = HEARD) -> list[RecentCharge]:
        """Return a line's last charges, the newest first; reversed ones are none any more.

        Raises:
            Unavailable: the database is locked or away.
        """

        def work(conn: Connection) -> list[RecentCharge]:
            rows = conn.execute(_RECENT.limit(limit), {"line": line}).all()
            return [
                RecentCharge(row.id, named(conn, row.service), *row[2:-1], complaint=row[-1])
                for row in rows
            ]

        return self._database.query(work)

    def open(
        self,
        key: str,
        line: int,
        charge: int,
        call_id: str,
        recording: str | None = None,
        *,
        again: bool = False,
    ) -> int:
        """Write down a complaint: from now on the charge is disputed. Return its number.

        Args:
            key: says which complaint this is; the same key is the same complaint.
            line: the line that complains.
            charge: the charge's row id.
            call_id: the call in which it complains.
            recording: what was said, below the recordings folder.
            again: also where one was rejected before.

        Raises:
            NotDisputable: the charge is not the line's, or there was a complaint about it.
            KeyConflict: the key stands for another charge.
            Unavailable: the database is locked or away; nothing was written.
        """

        def work(conn: Connection) -> int:
            now = self._clock.now()
            known = _by_key(conn, key, charge)
            if known is not None:
                return known
            taken = _disputed(conn, line, charge, again=again)
            if taken is None:
                # Of two at once with the same key the second one finds it here.
                known = _by_key(conn, key, charge)
                if known is None:
                    raise NotDisputable(_why_not(conn, line, charge))
                return known
            complaint = conn.execute(
                insert(complaints)
                .values(key=key, charge=charge, call_id=call_id, recording=recording, opened_at=now)
                .returning(complaints.c.id)
            ).scalar_one()
            withdraw(conn, taken, f"dispute:{complaint}", now)
            _tell(conn, complaint, "opened", line, now)
            return int(complaint)

        return self._database.write(work)

    def attach(self, complaint: int, recording: str) -> None:
        """Say where the message of a complaint is recorded; the first word stands.

        Raises:
            Unavailable: the database is locked or away; nothing was written.
        """
        self._database.write(
            lambda conn: conn.execute(
                update(complaints)
                .where(complaints.c.id == complaint, complaints.c.recording.is_(None))
                .values(recording=recording)
            )
        )

    def accept(self, complaint: int, by: str, reason: str) -> int:
        """Reverse the charge of an open complaint by new entries; return the rials of it.

        Raises:
            NotOpen: there is no such open complaint.
            Unavailable: the database is locked or away; nothing was written.
        """

        def work(conn: Connection) -> int:
            now = self._clock.now()
            charge = _decide(conn, complaint, "accepted", by, reason, now)
            reverse(conn, charge, now)
            _tell(conn, complaint, "accepted", charge.line, now)
            return int(charge.amount)

        return self._database.write(work)

    def reject(self, complaint: int, by: str, reason: str) -> int:
        """Let the charge of an open complaint stand; return its rials.

        What was taken off bills is asked for by the line's next one.

        Raises:
            NotOpen: there is no such open complaint.
            Unavailable: the database is locked or away; nothing was written.
        """

        def work(conn: Connection) -> int:
            now = self._clock.now()
            charge = _decide(conn, complaint, "rejected", by, reason, now)
            conn.execute(
                update(charges)
                .where(charges.c.id == charge.id, charges.c.status == "disputed")
                .values(status="posted")
            )
            _tell(conn, complaint, "rejected", charge.line, now)
            return int(charge.amount)

        return self._database.write(work)

    def find(self, complaint: int) -> Complaint:
        """Return a complaint by its number.

        Raises:
            LookupError: there is none.
            Unavailable: the database is locked or away.
        """
        wanted = _COMPLAINTS.where(complaints.c.id == complaint)
        for found in self._database.query(lambda conn: list(_complaints(conn, wanted))):
            return found
        raise LookupError(f"there is no complaint {complaint}")

    def listed(self, status: Status | None = "open", limit: int = 100) -> list[Complaint]:
        """Return complaints that stand so (None: all), the oldest first.

        Raises:
            Unavailable: the database is locked or away.
        """
        wanted = _COMPLAINTS.limit(limit)
        if status is not None:
            wanted = wanted.where(complaints.c.status == status)
        return self._database.query(lambda conn: list(_complaints(conn, wanted)))


_LAST_COMPLAINT = (
    select(complaints.c.status)
    .where(complaints.c.charge == charges.c.id)
    .order_by(complaints.c.id.desc())
    .limit(1)
    .scalar_subquery()
)

_RECENT = (
    select(
        charges.c.id,
        charges.c.service,
        charges.c.connected_at,
        charges.c.seconds,
        charges.c.amount,
        _LAST_COMPLAINT,
    )
    .where(charges.c.line == bindparam("line"), charges.c.status != "reversed")
    .order_by(charges.c.connected_at.desc(), charges.c.id.desc())
)

_COMPLAINTS = (
    select(
        complaints.c.id,
        complaints.c.status,
        complaints.c.opened_at,
        complaints.c.charge,
        charges.c.call_id.label("charged_call"),
        charges.c.service,
        lines.c.number.label("line"),
        charges.c.connected_at,
        charges.c.seconds,
        charges.c.amount,
        charges.c.collected,
        complaints.c.recording,
        complaints.c.decided_at,
        complaints.c.decided_by,
        complaints.c.reason,
    )
    .select_from(
        complaints.join(charges, charges.c.id == complaints.c.charge).join(
            lines, lines.c.id == charges.c.line
        )
    )
    .order_by(complaints.c.id)
)

_BY_KEY = select(complaints.c.id, complaints.c.charge).where(complaints.c.key == bindparam("key"))

_REJECTED = (
    select(complaints.c.id)
    .where(complaints.c.charge == charges.c.id, complaints.c.status == "rejected")
    .exists()
)


def _complaints(conn: Connection, statement: Select[*tuple[Any, ...]]) -> Iterator[Complaint]:
    for row in conn.execute(statement).all():
        yield Complaint(**{**row._mapping, "service": named(conn, row.service)})


def _by_key(conn: Connection, key: str, charge: int) -> int | None:
    row = conn.execute(_BY_KEY, {"key": key}).one_or_none()
    if row is None:
        return None
    if row.charge != charge:
        raise KeyConflict(f"complaint {key} is about another charge")
    return int(row.id)


def _disputed(conn: Connection, line: int, charge: int, *, again: bool) -> Any | None:
    """The charge, disputed from now on; None where it cannot be. Its bills are locked first."""
    lock_bills(conn, charge)
    statement = (
        update(charges)
        .where(charges.c.id == charge, charges.c.line == line, charges.c.status == "posted")
        .values(status="disputed")
        .returning(*charges.c)
    )
    if not again:
        statement = statement.where(~_REJECTED)
    return conn.execute(statement).one_or_none()


def _why_not(conn: Connection, line: int, charge: int) -> Literal["unknown", "open", "decided"]:
    found = conn.execute(
        select(charges.c.status).where(charges.c.id == charge, charges.c.line == line)
    ).scalar_one_or_none()
    if found is None:
        return "unknown"
    return "open" if found == "disputed" else "decided"


def _decide(
    conn: Connection, complaint: int, status: Status, by: str, reason: str, now: datetime
) -> Any:
    """Write the decision down; return the charge, locked."""
    charge = conn.execute(
        update(complaints)
        .where(complaints.c.id == complaint, complaints.c.status == "open")
        .values(status=status, decided_at=now, decided_by=by, reason=reason[:_LONGEST_REASON])
        .returning(complaints.c.charge)
    ).scalar_one_or_none()
    if charge is None:
        raise NotOpen(f"complaint {complaint} is not open, or there is none")
    return conn.execute(select(charges).where(charges.c.id == charge).with_for_update()).one()


def _tell(conn: Connection, complaint: int, what: str, line_id: int, now: datetime) -> None:
    """Ask for the SMS to the line's owner, where one can be reached."""
    line = bills.line(conn, line_id)
    to = None if line is None else registered_mobile(line)
    if line is None or to is None:
        return
    outbox.put(
        conn,
        f"complaint_{what}:{complaint}",
        "sms",
        f"sms.complaint_{what}",
        {"to": to, "language": line.language, "complaint": complaint},
        now,
    )
