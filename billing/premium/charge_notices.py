"""What messages to owners say of charges, read when they are sent (D8)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from billing.database import Database
from billing.premium.schema import charges
from billing.premium.service_names import Named, named
from billing.schema import lines


@dataclass(frozen=True, slots=True)
class ChargeNotice:
    """A charge of ``amount`` rials: from which line (E.164), for which service, when."""

    line: str
    service: Named
    connected_at: datetime
    amount: int


_CHARGE = (
    select(lines.c.number, charges.c.service, charges.c.connected_at, charges.c.amount)
    .select_from(charges.join(lines, lines.c.id == charges.c.line))
    .where(charges.c.id == bindparam("charge"))
)


def charge_notice(database: Database, charge: int) -> ChargeNotice:
    """Return what there is to say of a charge, by its row id.

    Raises:
        LookupError: there is no such charge.
        Unavailable: the database is locked or away.
    """

    def work(conn: Connection) -> ChargeNotice:
        row = conn.execute(_CHARGE, {"charge": charge}).one_or_none()
        if row is None:
            raise LookupError(f"no charge {charge}")
        return ChargeNotice(row.number, named(conn, row.service), row.connected_at, row.amount)

    return database.query(work)
