"""Owners asked whether a service may be used from their line: functions on a connection (D9).

A request is answered once, whichever way comes first: SMS, link, automatic call, owner's menu.
Its number, which the owner's SMS has to name, is drawn at random, and never one that was used with
the same mobile before: an old message that comes again approves nothing. Five messages that name no
open request close those that are open, so that nobody tries numbers out.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, bindparam, literal, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing.entities import Language
from billing.links import Links, fingerprint
from billing.premium import service_names
from billing.premium.schema import approval_requests, owner_approvals, premium_services
from billing.schema import lines

Standing = Literal["open", "approved", "refused", "expired"]
Via = Literal["sms", "link", "call", "phone"]
Decision = Literal["approved", "refused", "already", "expired", "unknown"]
"""What an answer came to; "already": it was answered before, "unknown": no such request."""

NUMBERS = range(1000, 10_000)
WRONG_NUMBERS = 5

# Numbers of so many earlier requests to the same mobile are not drawn again.
_REMEMBERED = 5_000


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the conversation that made it knows it.

    ``number`` is what the owner's SMS names, ``mobile`` where the request went (E.164).
    """

    id: int
    number: str
    mobile: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Pending:
    """A request that waits for its owner: about which ``service`` (its number), of which line.

    ``number`` is the one that the owner's SMS has to name.
    """

    id: int
    line: int
    line_number: str
    language: Language
    service: str
    names: Mapping[str, str]
    number: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApprovalPage:
    """What the page behind a link may show: no name of the owner, no mobile."""

    standing: Standing
    language: Language
    line_number: str
    service: str
    category: str
    names: Mapping[str, str]


_C = approval_requests.c
_AT = _C.expires_at.type
_OPEN = (_C.status == "open") & (_C.expires_at > bindparam("now", type_=_AT))
_REQUEST = (_C.id, _C.number, _C.mobile, _C.expires_at)

_BY_KEY = select(*_REQUEST).where(_C.key == bindparam("made_by"))

_SAME = (
    select(*_REQUEST)
    .where(_C.line == bindparam("of"), _C.service == bindparam("about"), _OPEN)
    .order_by(_C.id.desc())
    .limit(1)
)

_USED_NUMBERS = (
    select(_C.number).where(_C.mobile == bindparam("to")).order_by(_C.id.desc()).limit(_REMEMBERED)
)

# Frees the numbers of those that are over: only open ones are unique.
_EXPIRE = (
    update(approval_requests)
    .where(
        _C.mobile == bindparam("to"),
        _C.status == "open",
        _C.expires_at <= bindparam("now", type_=_AT),
    )
    .values(status="expired", decided_at=_C.expires_at)
)

_CREATE = (
    # On whichever conflict: the number, too, may have been drawn by somebody else just now.
    insert(approval_requests).on_conflict_do_nothing().returning(*_REQUEST)
)

_DECIDE = (
    update(approval_requests)
    .where(_C.id == bindparam("request"), _OPEN)
    .values(
        status=bindparam("outcome"),
        decided_at=bindparam("at", type_=_C.decided_at.type),
        via=bindparam("by"),
        approval=bindparam("granted"),
    )
)

_STANDING = select(_C.status, _C.expires_at).where(_C.id == bindparam("request"))

_ASKED = (
    select(
        _C.id,
        _C.line,
        lines.c.number.label("line_number"),
        lines.c.language,
        _C.service,
        _C.number,
        _C.created_at,
    )
    .select_from(approval_requests.join(lines, lines.c.id == _C.line))
    .where(_OPEN)
)
_PENDING = _ASKED.where(_C.line == bindparam("of")).order_by(_C.id)
_OF_CALL = _ASKED.where(_C.owner_call_id == bindparam("during"))
_BY_NUMBER = select(_C.id).where(
    _C.mobile == bindparam("sender"), _C.number == bindparam("named"), _OPEN
)

_WAS_ASKED = select(_C.id).where(_C.mobile == bindparam("sender"), _C.number == bindparam("named"))

_WRONG = (
    update(approval_requests)
    .where(_C.mobile == bindparam("sender"), _OPEN, _C.tries < WRONG_NUMBERS)
    .values(tries=_C.tries + 1)
)
_TOO_MANY = (
    update(approval_requests)
    .where(_C.mobile == bindparam("sender"), _C.status == "open", _C.tries >= WRONG_NUMBERS)
    .values(status="expired", decided_at=bindparam("at", type_=_C.decided_at.type))
)

_BY_TOKEN = select(_C.id).where(
    _C.reference == bindparam("reference"), _C.token_hash == bindparam("token_hash")
)

_SHOWN = (
    select(_C.status, _C.expires_at, _C.service, lines.c.number, lines.c.language)
    .select_from(approval_requests.join(lines, lines.c.id == _C.line))
    .where(_C.id == bindparam("request"))
)

_SCOPE = (
    select(_C.line, _C.service, premium_services.c.category)
    .select_from(approval_requests.join(premium_services, premium_services.c.id == _C.service))
    .where(_C.id == bindparam("request"))
)


def asked(conn: Connection, key: str, line: int, service: int, now: datetime) -> Request | None:
    """Return the request that ``key`` made, or an open one for the same line and service."""
    row = (
        conn.execute(_BY_KEY, {"made_by": key}).one_or_none()
        or conn.execute(_SAME, {"of": line, "about": service, "now": now}).one_or_none()
    )
    return None if row is None else Request(*row)


def create(
    conn: Connection,
    links: Links,
    reference: str,
    key: str,
    line: int,
    service: int,
    call_id: str,
    mobile: str,
    now: datetime,
    call_at: datetime | None,
) -> Request:
    """Open a request under the reference of its link."""
    conn.execute(_EXPIRE, {"to": mobile, "now": now})
    expires_at = links.expiry(now)
    values = {
        "key": key,
        "line": line,
        "service": service,
        "call_id": call_id,
        "mobile": mobile,
        "reference": reference,
        "token_hash": fingerprint(links.token(reference, expires_at)),
        "created_at": now,
        "expires_at": expires_at,
        "call_at": call_at,
    }
    while True:
        number = _draw(set(conn.scalars(_USED_NUMBERS, {"to": mobile})))
        row = conn.execute(_CREATE, {**values, "number": number}).one_or_none()
        if row is None:
            # The same conversation, with another worker, at this very moment?
            row = conn.execute(_BY_KEY, {"made_by": key}).one_or_none()
        if row is not None:
            return Request(*row)


def _draw(used: set[str]) -> str:
    free = [number for number in NUMBERS if str(number) not in used]
    return str(secrets.choice(free))


def standing(conn: Connection, request: int, now: datetime) -> Standing:
    """Return how a request stands. Raises LookupError where there is none."""
    row = conn.execute(_STANDING, {"request": request}).one_or_none()
    if row is None:
        raise LookupError("no such request")
    return _standing(row, now)


def _standing(row: Row[*tuple[Any, ...]], now: datetime) -> Standing:
    if row.status == "open" and row.expires_at <= now:
        return "expired"
    status: Standing = row.status
    return status


def pending(conn: Connection, line: int, now: datetime) -> list[Pending]:
    """Return the requests that wait for the owner of a line, oldest first."""
    return [_pending(conn, row) for row in conn.execute(_PENDING, {"of": line, "now": now}).all()]


def of_call(conn: Connection, call_id: str, now: datetime) -> Pending | None:
    """Return the open request that an automatic call is about."""
    row = conn.execute(_OF_CALL, {"during": call_id, "now": now}).one_or_none()
    return None if row is None else _pending(conn, row)


def _pending(conn: Connection, row: Row[*tuple[Any, ...]]) -> Pending:
    service = service_names.named(conn, row.service)
    return Pending(
        row.id,
        row.line,
        row.line_number,
        row.language,
        service.number,
        service.names,
        row.number,
        row.created_at,
    )


def by_number(conn: Connection, mobile: str, number: str, now: datetime) -> int | None:
    """Return the open request to ``mobile`` that bears ``number``; None: there is none."""
    values = {"sender": mobile, "named": number, "now": now}
    return conn.execute(_BY_NUMBER, values).scalar_one_or_none()


def wrong_number(conn: Connection, mobile: str, now: datetime) -> None:
    """Count a message that named no request: too many close the open ones, unanswered."""
    conn.execute(_WRONG, {"sender": mobile, "now": now})
    conn.execute(_TOO_MANY, {"sender": mobile, "at": now})


def was_asked(conn: Connection, mobile: str, number: str) -> bool:
    """Return whether there ever was a request to ``mobile`` that bore ``number``."""
    return conn.execute(_WAS_ASKED, {"sender": mobile, "named": number}).first() is not None


def by_token(conn: Connection, links: Links, token: str) -> int | None:
    """Return the request behind a genuine link, whatever became of it."""
    opened = links.open(token)
    if opened is None:
        return None
    values = {"reference": opened.reference, "token_hash": fingerprint(token)}
    return conn.execute(_BY_TOKEN, values).scalar_one_or_none()


def page(conn: Connection, links: Links, token: str, now: datetime) -> ApprovalPage | None:
    """Return what the page behind a link shows; None for one that is not genuine."""
    request = by_token(conn, links, token)
    if request is None:
        return None
    row = conn.execute(_SHOWN, {"request": request}).one()
    service = service_names.named(conn, row.service)
    return ApprovalPage(
        _standing(row, now),
        row.language,
        row.number,
        service.number,
        service.category,
        service.names,
    )


def decide(
    conn: Connection,
    request: int,
    approved: bool,
    via: Via,
    ceiling: int,
    until: datetime,
    now: datetime,
    *,
    line: int | None = None,
    whole_category: bool = False,
) -> Decision:
    """Answer a request; the first answer counts.

    Args:
        conn: a write transaction.
        request: its row id.
        approved: whether the owner allows it.
        via: how the owner has answered.
        ceiling: rials that may be used under the approval.
        until: when it ends.
        now: the moment.
        line: whose owner answers, where that is known otherwise than by the request.
        whole_category: approve all services of the category, not only this one.
    """
    scope = conn.execute(_SCOPE, {"request": request}).one_or_none()
    if scope is None or line not in (None, scope.line):
        return "unknown"
    granted = None
    if approved:
        statement = (
            insert(owner_approvals)
            .values(
                line=scope.line,
                service=None if whole_category else scope.service,
                category=scope.category if whole_category else None,
                ceiling=ceiling,
                granted_at=literal(now, owner_approvals.c.granted_at.type),
                valid_until=literal(until, owner_approvals.c.valid_until.type),
                via=via,
            )
            .returning(owner_approvals.c.id)
        )
        # Undone below, should somebody else have been quicker.
        savepoint = conn.begin_nested()
        granted = conn.execute(statement).scalar_one()
    decided = conn.execute(
        _DECIDE,
        {
            "request": request,
            "outcome": "approved" if approved else "refused",
            "at": now,
            "now": now,
            "by": via,
            "granted": granted,
        },
    ).rowcount
    if approved:
        savepoint.commit() if decided else savepoint.rollback()
    if decided:
        return "approved" if approved else "refused"
    return "expired" if standing(conn, request, now) == "expired" else "already"
