"""What owners have approved for their lines: a service or category, a sum, an end date (D9).

Money is integer rials. What is used and held of an approval moves with the credit
(`billing.premium.credit`), in the same statement group, so an approval is never exceeded either.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, bindparam, or_, select, update

from billing import outbox
from billing.clock import Clock
from billing.database import Database
from billing.entities import Line
from billing.limits import Counter, Limits
from billing.links import Links
from billing.premium import approval_requests
from billing.premium.approval_requests import (
    ApprovalPage,
    Decision,
    Pending,
    Request,
    Standing,
    Via,
)
from billing.premium.owners import NoMobile, registered_mobile
from billing.premium.schema import owner_approvals, premium_services


@dataclass(frozen=True, slots=True)
class Approval:
    """An approval; of one ``service`` (its number), or of all of a ``category``.

    ``left`` rials may still be used under it until ``valid_until``.
    """

    id: int
    service: str | None
    category: str | None
    ceiling: int
    used: int
    held: int
    granted_at: datetime
    valid_until: datetime
    via: Via

    @property
    def left(self) -> int:
        """Rials that may still be used under it."""
        return self.ceiling - self.used - self.held


@dataclass(frozen=True, slots=True)
class Terms:
    """What an owner approves who says nothing else.

    ``ceiling`` in rials, for ``days`` days. Where nobody has answered a request after
    ``call_after_s`` seconds, the owner is called (None: never). The caller who asked waits for
    ``wait_s`` seconds at most.
    """

    ceiling: int = 500_000
    days: int = 90
    wait_s: float = 180.0
    call_after_s: int | None = 60


_COLUMNS = (
    owner_approvals.c.id,
    premium_services.c.number,
    owner_approvals.c.category,
    owner_approvals.c.ceiling,
    owner_approvals.c.used,
    owner_approvals.c.held,
    owner_approvals.c.granted_at,
    owner_approvals.c.valid_until,
    owner_approvals.c.via,
)
_JOINED = owner_approvals.outerjoin(
    premium_services, premium_services.c.id == owner_approvals.c.service
)
_LEFT = owner_approvals.c.ceiling - owner_approvals.c.used - owner_approvals.c.held
_CURRENT: ColumnElement[bool] = (
    (owner_approvals.c.line == bindparam("of"))
    & owner_approvals.c.revoked_at.is_(None)
    & (owner_approvals.c.valid_until > bindparam("now", type_=owner_approvals.c.valid_until.type))
)

# One for the service itself before one for its category, then the one with the most left.
_VALID = (
    select(*_COLUMNS)
    .select_from(_JOINED)
    .where(
        _CURRENT,
        _LEFT > 0,
        or_(
            owner_approvals.c.service == bindparam("wanted"),
            owner_approvals.c.category == bindparam("kind"),
        ),
    )
    .order_by(owner_approvals.c.service.is_(None), _LEFT.desc(), owner_approvals.c.id)
    .limit(1)
)

_LIST = select(*_COLUMNS).select_from(_JOINED).where(_CURRENT).order_by(owner_approvals.c.id.desc())

_REVOKE = (
    update(owner_approvals)
    .where(
        owner_approvals.c.id == bindparam("approval"),
        owner_approvals.c.line == bindparam("of"),
        owner_approvals.c.revoked_at.is_(None),
    )
    .values(revoked_at=bindparam("now", type_=owner_approvals.c.revoked_at.type))
)


def current(conn: Connection, line: int, now: datetime) -> list[Approval]:
    """Return a line's approvals that are neither revoked nor over, newest first."""
    return [Approval(*row) for row in conn.execute(_LIST, {"of": line, "now": now})]


def revoke(conn: Connection, line: int, approval: int, now: datetime) -> bool:
    """Revoke an approval of a line; False where it has no such approval that holds."""
    return conn.execute(_REVOKE, {"approval": approval, "of": line, "now": now}).rowcount == 1


class Approvals:
    """Approvals and the requests for them. Methods raise Unavailable."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        links: Links,
        *,
        limits: Limits | None = None,
        terms: Terms = Terms(),
    ) -> None:
        """Serve over ``database``; ``links`` are those of the purpose APPROVAL_REQUEST."""
        self._database = database
        self._clock = clock
        self._links = links
        self._counter = Counter(limits or Limits())
        self._terms = terms

    @property
    def terms(self) -> Terms:
        """What an owner approves who says nothing else."""
        return self._terms

    def valid(
        self, line: int, service: int, category: str, now: datetime | None = None
    ) -> Approval | None:
        """The approval under which a line may use a service of a category; None: there is none."""
        values = {
            "of": line,
            "wanted": service,
            "kind": category,
            "now": now or self._clock.now(),
        }

        def work(conn: Connection) -> Approval | None:
            row = conn.execute(_VALID, values).one_or_none()
            return None if row is None else Approval(*row)

        return self._database.query(work)

    def of_line(self, line: int) -> list[Approval]:
        """A line's approvals that are neither revoked nor over, newest first."""
        now = self._clock.now()
        return self._database.query(lambda conn: current(conn, line, now))

    def revoke(self, line: int, approval: int) -> bool:
        """Revoke an approval; False where the line has no such approval that holds.

        A call that runs under it ends with the credit that it holds already.
        """
        now = self._clock.now()
        return self._database.write(lambda conn: revoke(conn, line, approval, now))

    def request(self, key: str, line: Line, service: int, call_id: str) -> Request:
        """Ask the line's owner by SMS whether a service (its row id) may be used from the line.

        Once for each ``key``. Where the owner has been asked the same and has not answered yet,
        that request stands, and no further message is sent.

        Raises:
            NoMobile: none is registered for the line.
            Limited: too many messages; nothing was written.
            Unavailable: the database is locked or away; nothing was written.
        """
        mobile = registered_mobile(line)
        if mobile is None:
            raise NoMobile("no mobile is registered for the line")
        now = self._clock.now()
        call_at = None
        # The owner of a mobile line that the call comes from is on this very telephone.
        if self._terms.call_after_s is not None and mobile != line.number:
            call_at = now + timedelta(seconds=self._terms.call_after_s)

        def work(conn: Connection) -> Request:
            standing = approval_requests.asked(conn, key, line.id, service, now)
            if standing is not None:
                return standing
            reference = self._links.new_reference()
            request = approval_requests.create(
                conn, self._links, reference, key, line.id, service, call_id, mobile, now, call_at
            )
            payload = {
                "to": mobile,
                "language": line.language,
                "request": request.id,
                "reference": reference,
                "expires": int(request.expires_at.timestamp()),
                "ceiling": self._terms.ceiling,
                "days": self._terms.days,
                "call": call_id,
            }
            outbox.put(conn, f"approval:{key}", "sms", "sms.approval_request", payload, now)
            self._counter.count(conn, line.number, mobile, now)
            return request

        return self._database.write(work)

    def standing(self, request: int) -> Standing:
        """How a request stands: open, approved, refused or expired.

        Raises:
            LookupError: there is no such request.
        """
        now = self._clock.now()
        return self._database.query(lambda conn: approval_requests.standing(conn, request, now))

    def pending(self, line: int) -> list[Pending]:
        """The requests that wait for the owner of a line, oldest first."""
        now = self._clock.now()
        return self._database.query(lambda conn: approval_requests.pending(conn, line, now))

    def of_call(self, call_id: str) -> Pending | None:
        """The request that an automatic call to the owner is about; None: not open, or none."""
        now = self._clock.now()
        return self._database.query(lambda conn: approval_requests.of_call(conn, call_id, now))

    def answer_by_phone(self, line: int, request: int, approved: bool, via: Via) -> Decision:
        """Take the answer of an owner who has authenticated on the telephone.

        ``via`` is "phone" where the owner called, "call" where we did.
        """
        return self._decide(request, approved, via, line=line)

    def page(self, token: str) -> ApprovalPage | None:
        """What the page behind a link shows; None for a link that is not genuine."""
        now = self._clock.now()
        return self._database.query(
            lambda conn: approval_requests.page(conn, self._links, token, now)
        )

    def answer_by_link(
        self,
        token: str,
        approved: bool,
        ceiling: int | None = None,
        days: int | None = None,
        whole_category: bool = False,
    ) -> Decision:
        """Take the owner's answer from the page: up to ``ceiling`` rials, for ``days`` days.

        Raises:
            ValueError: a ceiling or a number of days that no page offers.
        """
        now = self._clock.now()
        # As the schema has it, and no farther than anybody can mean.
        if ceiling is not None and not 0 < ceiling <= 10**12:
            raise ValueError("a ceiling is 1 to 10^12 rials")
        if days is not None and not 0 < days <= 3650:
            raise ValueError("an approval holds for 1 to 3650 days")

        def work(conn: Connection) -> Decision:
            request = approval_requests.by_token(conn, self._links, token)
            if request is None:
                return "unknown"
            return approval_requests.decide(
                conn,
                request,
                approved,
                "link",
                ceiling or self._terms.ceiling,
                now + timedelta(days=days or self._terms.days),
                now,
                whole_category=whole_category,
            )

        return self._database.write(work)

    def _decide(self, request: int, approved: bool, via: Via, *, line: int) -> Decision:
        now = self._clock.now()
        return self._database.write(
            lambda conn: approval_requests.decide(
                conn,
                request,
                approved,
                via,
                self._terms.ceiling,
                now + timedelta(days=self._terms.days),
                now,
                line=line,
            )
        )
