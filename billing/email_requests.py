"""Bills asked for by e-mail: the request waits for an address, by SMS or on the page (A8)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing import outbox
from billing.addresses import extract_address
from billing.entities import Bill, Language
from billing.errors import InvalidAddress, Limited
from billing.limits import Counter
from billing.links import Links, fingerprint
from billing.schema import bills, email_requests, inbound_messages, lines
from billing.texts import storable

_LONGEST_MESSAGE_ID = 128


class Answer(Enum):
    """What became of an answer, or where a request stands."""

    ACCEPTED = "accepted"
    NO_REQUEST = "no_request"
    NOT_AN_ADDRESS = "not_an_address"
    REPEATED = "repeated"
    OPEN = "open"
    EXPIRED = "expired"
    USED = "used"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class EmailPage:
    """What the page behind a link may show: no name, no mobile, no address.

    ``answer`` is OPEN, EXPIRED, USED or INVALID; ``language`` and the line's ``number`` (E.164) are
    None for a link that is not genuine.
    """

    answer: Answer
    language: Language | None
    number: str | None


_ASK = (
    insert(email_requests)
    .on_conflict_do_nothing(index_elements=[email_requests.c.key])
    .returning(email_requests.c.id)
)

_NEWEST = (
    select(email_requests)
    .where(
        email_requests.c.mobile == bindparam("mobile"),
        email_requests.c.status == "open",
        email_requests.c.expires_at > bindparam("now", type_=email_requests.c.expires_at.type),
    )
    .order_by(email_requests.c.id.desc())
    .limit(1)
    .with_for_update()
)

_BY_TOKEN = (
    select(email_requests, lines.c.number)
    .select_from(
        email_requests.join(bills, bills.c.id == email_requests.c.bill).join(
            lines, lines.c.id == bills.c.line_id
        )
    )
    .where(
        email_requests.c.reference == bindparam("reference"),
        email_requests.c.token_hash == bindparam("token_hash"),
    )
)

_CLOSE = (
    update(email_requests)
    .where(email_requests.c.id == bindparam("request"), email_requests.c.status == "open")
    .values(
        status="answered",
        answered_at=bindparam("at", type_=email_requests.c.answered_at.type),
    )
)

_REMEMBER = (
    insert(inbound_messages).on_conflict_do_nothing().returning(inbound_messages.c.message_id)
)

_REPLIES = {
    Answer.ACCEPTED: "sms.email_accepted",
    Answer.NO_REQUEST: "sms.email_no_request",
    Answer.NOT_AN_ADDRESS: "sms.email_not_an_address",
}

_LANGUAGE = select(lines.c.language).where(lines.c.number == bindparam("mobile"))


def ask(
    conn: Connection,
    links: Links,
    key: str,
    bill: Bill,
    to: str,
    language: Language,
    names: bool,
    call_id: str,
    now: datetime,
) -> bool:
    """Open a request and write the SMS with its link; False when ``key`` did so before."""
    reference = links.new_reference()
    expires_at = links.expiry(now)
    created = conn.execute(
        _ASK,
        {
            "key": key,
            "reference": reference,
            "token_hash": fingerprint(links.token(reference, expires_at)),
            "bill": bill.id,
            "mobile": to,
            "language": language,
            "names": int(names),
            "created_at": now,
            "expires_at": expires_at,
        },
    ).one_or_none()
    if created is None:
        return False
    payload = {
        "to": to,
        "language": language,
        "bill": bill.id,
        "request": reference,
        "expires": int(expires_at.timestamp()),
        "call": call_id,
    }
    return outbox.put(conn, key, "sms", "sms.email_link", payload, now)


def answer_by_sms(
    conn: Connection, counter: Counter, mobile: str, text: str, message_id: str, now: datetime
) -> Answer:
    """Take the answer to the newest open request of a mobile, and write the SMS that replies.

    A message delivered twice is answered once. Replies that accept nothing are counted like any
    message to that mobile: a machine that answers every reply with another message falls silent.
    """
    identity = storable(message_id, _LONGEST_MESSAGE_ID)
    if conn.execute(_REMEMBER, {"message_id": identity, "at": now}).one_or_none() is None:
        return Answer.REPEATED
    request = conn.execute(_NEWEST, {"mobile": mobile, "now": now}).one_or_none()
    if request is None:
        answer = Answer.NO_REQUEST
        language = conn.execute(_LANGUAGE, {"mobile": mobile}).scalar() or "fa"
    else:
        answer = _accept(conn, request, text, now)
        language = request.language
    if answer is Answer.ACCEPTED or _may_reply(conn, counter, mobile, now):
        outbox.put(
            conn,
            f"email_reply:{identity}",
            "sms",
            _REPLIES[answer],
            {"to": mobile, "language": language},
            now,
        )
    return answer


def answer_by_link(
    conn: Connection, links: Links, token: str, address: str, now: datetime
) -> Answer:
    """Take the address typed on the page behind a link."""
    request = _find(conn, links, token)
    standing = _standing(request, now)
    if standing is not Answer.OPEN or request is None:
        return standing
    answer = _accept(conn, request, address, now)
    # Closed by somebody else since it was read.
    return Answer.USED if answer is Answer.NO_REQUEST else answer


def page(conn: Connection, links: Links, token: str, now: datetime) -> EmailPage:
    """Return what the page behind a link shows."""
    request = _find(conn, links, token)
    standing = _standing(request, now)
    if request is None:
        return EmailPage(standing, None, None)
    return EmailPage(standing, request.language, request.number)


def _find(conn: Connection, links: Links, token: str) -> Row[*tuple[Any, ...]] | None:
    opened = links.open(token)
    if opened is None:
        return None
    return conn.execute(
        _BY_TOKEN, {"reference": opened.reference, "token_hash": fingerprint(token)}
    ).one_or_none()


def _standing(request: Row[*tuple[Any, ...]] | None, now: datetime) -> Answer:
    if request is None:
        return Answer.INVALID
    if request.status == "answered":
        return Answer.USED
    return Answer.EXPIRED if request.expires_at <= now else Answer.OPEN


def _accept(conn: Connection, request: Row[*tuple[Any, ...]], text: str, now: datetime) -> Answer:
    try:
        address = extract_address(text)
    except InvalidAddress:
        return Answer.NOT_AN_ADDRESS
    if conn.execute(_CLOSE, {"request": request.id, "at": now}).rowcount == 0:
        return Answer.NO_REQUEST
    outbox.put(
        conn,
        f"email:{request.reference}",
        "email",
        "email.bill",
        {
            "to": address,
            "language": request.language,
            "bill": request.bill,
            "names": bool(request.names),
            "request": request.reference,
        },
        now,
    )
    return Answer.ACCEPTED


def _may_reply(conn: Connection, counter: Counter, mobile: str, now: datetime) -> bool:
    savepoint = conn.begin_nested()
    try:
        counter.count(conn, mobile, mobile, now)
    except Limited:
        savepoint.rollback()
        return False
    savepoint.commit()
    return True
