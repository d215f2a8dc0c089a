"""What messages to owners say of requests and approvals, read when they are sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from billing.database import Database
from billing.premium import approvals, service_names
from billing.premium.approval_requests import Standing
from billing.premium.approvals import Approval
from billing.premium.schema import approval_requests, owner_approvals, premium_services
from billing.premium.service_names import Named
from billing.schema import lines


@dataclass(frozen=True, slots=True)
class Notice:
    """A request or approval: of which line (E.164), about which service or category.

    ``request`` is the number that an answer names; ``standing`` that of the request as recorded.
    """

    line_number: str
    service: Named
    category: str | None = None
    request: str = ""
    standing: Standing = "open"
    approval: int | None = None
    ceiling: int = 0
    valid_until: datetime | None = None

    def about(self, language: str) -> str:
        """The service's name in this language; for a category, what it is called."""
        return self.category or self.service.name(language)


_REQUEST = (
    select(
        lines.c.number.label("line_number"),
        approval_requests.c.service,
        approval_requests.c.number,
        approval_requests.c.status,
        approval_requests.c.approval,
        owner_approvals.c.category,
        owner_approvals.c.ceiling,
        owner_approvals.c.valid_until,
    )
    .select_from(
        approval_requests.join(lines, lines.c.id == approval_requests.c.line).outerjoin(
            owner_approvals, owner_approvals.c.id == approval_requests.c.approval
        )
    )
    .where(approval_requests.c.id == bindparam("request"))
)

_APPROVAL = (
    select(
        lines.c.number.label("line_number"),
        owner_approvals.c.service,
        owner_approvals.c.category,
        owner_approvals.c.ceiling,
        owner_approvals.c.valid_until,
    )
    .select_from(owner_approvals.join(lines, lines.c.id == owner_approvals.c.line))
    .where(owner_approvals.c.id == bindparam("approval"))
)

_SERVICE_ID = select(premium_services.c.id).where(premium_services.c.number == bindparam("number"))


class OwnerNotices:
    """Reads what messages need. Methods raise LookupError for what is not there, Unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def request(self, request: int) -> Notice:
        """A request, with its approval if it came to one."""

        def work(conn: Connection) -> Notice:
            row = conn.execute(_REQUEST, {"request": request}).one_or_none()
            if row is None:
                raise LookupError("no such request")
            return Notice(
                row.line_number,
                service_names.named(conn, row.service),
                row.category,
                row.number,
                row.status,
                row.approval,
                row.ceiling or 0,
                row.valid_until,
            )

        return self._database.query(work)

    def approval(self, approval: int) -> Notice:
        """An approval, revoked or not."""

        def work(conn: Connection) -> Notice:
            row = conn.execute(_APPROVAL, {"approval": approval}).one_or_none()
            if row is None:
                raise LookupError("no such approval")
            service = Named("", row.category or "")
            if row.service is not None:
                service = service_names.named(conn, row.service)
            return Notice(
                row.line_number,
                service,
                row.category,
                approval=approval,
                ceiling=row.ceiling,
                valid_until=row.valid_until,
            )

        return self._database.query(work)

    def approvals(self, line: int, now: datetime) -> list[tuple[Approval, str, Named]]:
        """A line's current approvals, newest first, with the line's number and the service."""

        def work(conn: Connection) -> list[tuple[Approval, str, Named]]:
            number = conn.execute(select(lines.c.number).where(lines.c.id == line)).scalar_one()
            found = []
            for each in approvals.current(conn, line, now):
                service = Named(each.category or "", each.category or "")
                if each.service is not None:
                    known = conn.execute(_SERVICE_ID, {"number": each.service}).scalar_one()
                    service = service_names.named(conn, known)
                found.append((each, number, service))
            return found

        return self._database.query(work)

    def line_number(self, line: int) -> str:
        """A line's number (E.164)."""
        statement = select(lines.c.number).where(lines.c.id == line)
        return self._database.query(lambda conn: str(conn.execute(statement).scalar_one()))
