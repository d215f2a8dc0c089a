"""One-time codes by SMS to the owner's registered mobile (D9).

A code is made from a secret and its row, when the SMS is sent and when it is checked, as the links
of `billing.links` are: so neither the outbox nor its failed list nor a backup ever holds one. The
row keeps a keyed hash, which dies with the secret when that is changed.

A code belongs to a line, a call and a purpose: one that was read out to somebody in another call
opens nothing here. It has five tries and five minutes, and a new one makes the old one worthless.
How many are sent is limited as all messages are, which also limits the guesses in a day.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Connection, bindparam, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing import outbox
from billing.clock import Clock
from billing.database import Database
from billing.entities import Language, Line
from billing.limits import Counter, Limits
from billing.premium.owners import NoMobile, registered_mobile
from billing.premium.schema import owner_codes
from billing.schema import to_microseconds

Purpose = Literal["call", "pin", "owner"]
"""What a code is for: this call may go on, a PIN may be set, the owner's menu."""

CodeResult = Literal["ok", "wrong", "expired"]
"""What became of a code; "expired": there is none to be tried any more, a new one is needed."""

CODE_DIGITS = 6
TRIES = 5
LIFETIME = timedelta(minutes=5)

_CODE = b"callflows owner code\0"
_HASH = b"callflows owner code hash\0"

_NEW = (
    insert(owner_codes)
    .on_conflict_do_nothing(index_elements=[owner_codes.c.key])
    .returning(owner_codes.c.id)
)

_REPLACE = (
    update(owner_codes)
    .where(
        owner_codes.c.line == bindparam("of"),
        owner_codes.c.call_id == bindparam("during"),
        owner_codes.c.status == "open",
        owner_codes.c.id != bindparam("but"),
    )
    .values(status="failed")
)

_OF_CALL = (
    (owner_codes.c.line == bindparam("of"))
    & (owner_codes.c.call_id == bindparam("during"))
    & (owner_codes.c.purpose == bindparam("what_for"))
    & (owner_codes.c.expires_at > bindparam("now", type_=owner_codes.c.expires_at.type))
)

_TRY = (
    update(owner_codes)
    .where(_OF_CALL, owner_codes.c.status == "open", owner_codes.c.tries < TRIES)
    .values(tries=owner_codes.c.tries + 1)
    .returning(owner_codes.c.id, owner_codes.c.key, owner_codes.c.code_hash, owner_codes.c.tries)
)

_USED = select(owner_codes.c.key, owner_codes.c.code_hash).where(
    _OF_CALL, owner_codes.c.status == "used"
)

_SETTLE = (
    update(owner_codes)
    .where(owner_codes.c.id == bindparam("code"), owner_codes.c.status == "open")
    .values(status=bindparam("outcome"))
)


@dataclass(frozen=True, slots=True)
class CodeMessage:
    """What the SMS says: the code, and for how many minutes more it holds (at least one)."""

    code: str
    minutes: int


class Codes:
    """Sends and checks one-time codes under one secret."""

    def __init__(
        self, database: Database, clock: Clock, secret: bytes, *, limits: Limits | None = None
    ) -> None:
        """Make codes under ``secret`` (at least 16 bytes); messages are counted in ``limits``.

        Raises:
            ValueError: the secret is too short, or a limit negative.
        """
        if len(secret) < 16:
            raise ValueError("the secret for codes needs at least 16 bytes")
        self._database = database
        self._clock = clock
        self._secret = secret
        self._counter = Counter(limits or Limits())

    def send(self, key: str, line: Line, purpose: Purpose, call_id: str, language: Language) -> str:
        """Promise a code by SMS; return the mobile it goes to (E.164). Once for each ``key``.

        Earlier codes of the line in this call are worthless from now on.

        Raises:
            NoMobile: none is registered for the line.
            Limited: too many messages; nothing was written, an earlier code holds still.
            Unavailable: the database is locked or away; nothing was written.
        """
        mobile = registered_mobile(line)
        if mobile is None:
            raise NoMobile("no mobile is registered for the line")
        now = self._clock.now()
        row = {
            "key": key,
            "line": line.id,
            "purpose": purpose,
            "call_id": call_id,
            "code_hash": self._hash(key, self._code(key, now)),
            "created_at": now,
            "expires_at": now + LIFETIME,
        }

        def work(conn: Connection) -> None:
            code = conn.execute(_NEW, row).scalar_one_or_none()
            if code is None:
                return
            conn.execute(_REPLACE, {"of": line.id, "during": call_id, "but": code})
            payload = {"to": mobile, "language": language, "code": code, "call": call_id}
            outbox.put(conn, f"code:{key}", "sms", "sms.owner_code", payload, now)
            self._counter.count(conn, line.number, mobile, now)

        self._database.write(work)
        return mobile

    def check(self, line: int, call_id: str, purpose: Purpose, code: str) -> CodeResult:
        """Try a code that was keyed in; right ones stay right for the rest of their time and call.

        That is for a call which another worker has taken over just then.

        Raises:
            Unavailable: the database is locked or away; nothing was written.
        """
        which = {
            "of": line,
            "during": call_id,
            "what_for": purpose,
            "now": self._clock.now(),
        }

        def work(conn: Connection) -> CodeResult:
            row = conn.execute(_TRY, which).one_or_none()
            if row is None:
                used = conn.execute(_USED, which).all()
                matching = [self._matches(each.key, code, each.code_hash) for each in used]
                return "ok" if any(matching) else "expired"
            right = self._matches(row.key, code, row.code_hash)
            if right or row.tries >= TRIES:
                conn.execute(_SETTLE, {"code": row.id, "outcome": "used" if right else "failed"})
            if right:
                return "ok"
            return "expired" if row.tries >= TRIES else "wrong"

        return self._database.write(work)

    def message(self, code: int) -> CodeMessage | None:
        """What the SMS of a code says, by its row id; None where it is of no use any more.

        Raises:
            Unavailable: the database is locked or away.
        """
        now = self._clock.now()
        statement = select(
            owner_codes.c.key, owner_codes.c.created_at, owner_codes.c.expires_at
        ).where(owner_codes.c.id == code, owner_codes.c.status == "open")
        row = self._database.query(lambda conn: conn.execute(statement).one_or_none())
        if row is None or row.expires_at <= now:
            return None
        minutes = -((now - row.expires_at) // timedelta(minutes=1))
        return CodeMessage(self._code(row.key, row.created_at), minutes)

    def _code(self, key: str, created_at: datetime) -> str:
        text = f"{key}\0{to_microseconds(created_at)}".encode()
        number = int.from_bytes(hmac.digest(self._secret, _CODE + text, "sha256"), "big")
        return f"{number % 10**CODE_DIGITS:0{CODE_DIGITS}d}"

    def _hash(self, key: str, code: str) -> str:
        text = f"{key}\0{code}".encode("utf-8", "replace")
        return hmac.new(self._secret, _HASH + text, "sha256").hexdigest()

    def _matches(self, key: str, code: str, stored: str) -> bool:
        return hmac.compare_digest(self._hash(key, code), stored)
