"""Consents: who accepted which tariff, having heard what, by which digit (D11).

No charge is made without one. Each is kept with all that shows that it was given, and with a hash
over that and over the line's consent before it. Whoever changes, removes or slips in one breaks the
chain from there on, which `verify` shows; whoever computes the whole chain anew changes its last
hash, and with it the seal over all chains (`seal`) that operations keep elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing.clock import Clock
from billing.database import Database
from billing.errors import KeyConflict
from billing.premium.schema import consent_chains, consents
from billing.premium.tariffs import Tariff

LANGUAGES = ("fa", "ar", "ru", "en")

GENESIS = "0" * 64
"""What stands before the first consent of a line."""

_BATCH = 1000

_OF_CALL = select(consents).where(consents.c.call_id == bindparam("call"))
_BY_ID = select(consents).where(consents.c.id == bindparam("consent"))
_CHAIN = select(consent_chains.c.length, consent_chains.c.head).where(
    consent_chains.c.line == bindparam("line")
)
_BEGIN_CHAIN = insert(consent_chains).on_conflict_do_nothing().returning(consent_chains.c.line)
_LENGTHEN = (
    update(consent_chains)
    .where(
        consent_chains.c.line == bindparam("by_line"),
        consent_chains.c.head == bindparam("by_head"),
    )
    .values(length=bindparam("to"), head=bindparam("hash"))
    .returning(consent_chains.c.line)
)
_STORE = (
    insert(consents)
    .on_conflict_do_nothing(index_elements=[consents.c.call_id])
    .returning(*consents.c)
)


@dataclass(frozen=True, slots=True)
class Consent:
    """An acceptance. ``place`` is its place in the line's chain, from 1.

    ``tariffs`` are the versions that were announced. ``heard`` is what the caller heard before the
    key, as the journal has it: [phrase key, language, slots]. ``digit`` was named and pressed.
    """

    id: int
    call_id: str
    line: int
    place: int
    service: int
    version: int
    tariffs: tuple[Tariff, ...]
    language: str
    heard: tuple[Any, ...]
    digit: str
    heard_at: datetime
    pressed_at: datetime
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Broken:
    """A place at which a line's chain does not hold, and why."""

    line: int
    place: int
    call_id: str | None
    reason: str


class _Overtaken(Exception):
    """Another transaction has lengthened the chain first: all of this one is undone."""


class Consents:
    """The book of consents, over one database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def accept(
        self,
        call_id: str,
        line: int,
        service: int,
        version: int,
        tariffs: Sequence[Tariff],
        language: str,
        heard: Sequence[Any],
        named_digit: str,
        pressed_digit: str,
        heard_at: datetime,
        pressed_at: datetime,
    ) -> Consent:
        """Write the acceptance down and return it; said again for the call, return the first one.

        Args:
            call_id: the call; it accepts once.
            line: whose owner will pay.
            service: what is accepted, with the ``version`` of its definition.
            version: see ``service``.
            tariffs: all versions that were announced, at least one; only these are charged.
            language: in which it was announced.
            heard: [phrase key, language, slots] of all that was played before the key; not empty.
            named_digit: the digit that the announcement named.
            pressed_digit: the digit that the caller pressed.
            heard_at: when the announcement began.
            pressed_at: when the key came.

        Raises:
            ValueError: the digit is not the one that was named, or the evidence is incomplete.
            KeyConflict: the call has accepted something else.
            Unavailable: the database is locked or away; nothing was written.
        """
        if named_digit != pressed_digit or len(named_digit) != 1 or named_digit not in "0123456789":
            raise ValueError("the digit that was pressed is not the one that was named")
        if not tariffs or not heard:
            raise ValueError("nobody accepts what was not announced")
        if any(tariff.id <= 0 or tariff.service != service for tariff in tariffs):
            raise ValueError("the tariffs are not the service's approved ones")
        if language not in LANGUAGES:
            raise ValueError(f"language: {language!r} is not spoken here")
        if pressed_at < heard_at:
            raise ValueError("the key came before the announcement")
        content = {
            "call_id": call_id,
            "line": line,
            "service": service,
            "version": version,
            "tariffs": _dumped([tariff.as_dict() for tariff in tariffs]),
            "language": language,
            "heard": _dumped(list(heard)),
            "named_digit": named_digit,
            "pressed_digit": pressed_digit,
            "heard_at": heard_at,
            "pressed_at": pressed_at,
        }
        while True:
            try:
                return self._database.write(lambda conn: self._accept(conn, content))
            except _Overtaken:
                # Only as often as others get on meanwhile.
                continue

    def of(self, call_id: str) -> Consent | None:
        """Return the consent of a call, None if it has accepted nothing.

        Raises:
            Unavailable: the database is locked or away.
        """
        return self._database.query(lambda conn: read(conn, call_id))

    def _accept(self, conn: Connection, content: dict[str, Any]) -> Consent:
        known = read(conn, content["call_id"])
        if known is not None:
            accepted = (known.line, known.service, known.version)
            if accepted != (content["line"], content["service"], content["version"]):
                raise KeyConflict(f"call {known.call_id} has accepted something else")
            return known
        chain = conn.execute(_CHAIN, {"line": content["line"]}).one_or_none()
        previous, place = (GENESIS, 1) if chain is None else (chain.head, chain.length + 1)
        row = {**content, "place": place, "previous": previous}
        row["hash"] = digest(row)
        if chain is None:
            first = {"line": row["line"], "length": 1, "head": row["hash"]}
            moved = conn.execute(_BEGIN_CHAIN, first).first()
        else:
            link = {"by_line": row["line"], "by_head": previous, "to": place, "hash": row["hash"]}
            moved = conn.execute(_LENGTHEN, link).first()
        if moved is None:
            raise _Overtaken
        stored = conn.execute(_STORE, row).one_or_none()
        if stored is None:
            raise _Overtaken
        return _consent(stored)


def read(conn: Connection, call_id: str) -> Consent | None:
    """Return the consent of a call, None if it has accepted nothing."""
    row = conn.execute(_OF_CALL, {"call": call_id}).one_or_none()
    return None if row is None else _consent(row)


def by_id(conn: Connection, consent: int) -> Consent:
    """Return the consent of that id.

    Raises:
        LookupError: there is none.
    """
    row = conn.execute(_BY_ID, {"consent": consent}).one_or_none()
    if row is None:
        raise LookupError(f"there is no consent {consent}")
    return _consent(row)


def digest(row: dict[str, Any]) -> str:
    """Return the hash of a consent: SHA-256 over its columns, ``previous`` among them.

    ``row`` holds the columns as stored; id and hash are left out. Moments are written in UTC with
    microseconds, the whole as JSON with sorted keys, so that anybody can compute it again.
    """
    content = {name: row[name] for name in _HASHED}
    for name in ("heard_at", "pressed_at"):
        content[name] = row[name].astimezone(UTC).isoformat(timespec="microseconds")
    return hashlib.sha256(_dumped(content).encode()).hexdigest()


def verify(conn: Connection, line: int | None) -> list[Broken]:
    """Compute the chain of a line (None: of all lines) again; return where it does not hold."""
    return list(_verified(conn, line))


def seal(conn: Connection) -> str:
    """Return one hash over the heads of all chains: written down elsewhere, it fixes them all."""
    whole = hashlib.sha256()
    statement = select(consent_chains).order_by(consent_chains.c.line)
    for row in conn.execute(statement.execution_options(yield_per=_BATCH)):
        whole.update(f"{row.line} {row.length} {row.head}\n".encode())
    return whole.hexdigest()


_HASHED = tuple(column.name for column in consents.c if column.name not in ("id", "hash"))


def _verified(conn: Connection, line: int | None) -> Iterator[Broken]:
    chains = select(consent_chains)
    links = select(consents).order_by(consents.c.line, consents.c.place)
    if line is not None:
        chains = chains.where(consent_chains.c.line == line)
        links = links.where(consents.c.line == line)
    heads = {row.line: row for row in conn.execute(chains)}
    at_line: int | None = None
    place, head = 0, GENESIS
    for row in conn.execute(links.execution_options(yield_per=_BATCH)):
        if row.line != at_line:
            if at_line is not None:
                yield from _at_end(at_line, place, head, heads.pop(at_line, None))
            at_line, place, head = row.line, 0, GENESIS
        if row.place != place + 1:
            yield Broken(row.line, place + 1, None, "a consent is missing here")
        elif row.previous != head:
            yield Broken(row.line, row.place, row.call_id, "does not follow the one before it")
        if digest(dict(row._mapping)) != row.hash:
            yield Broken(row.line, row.place, row.call_id, "its content was changed")
        place, head = row.place, row.hash
    if at_line is not None:
        yield from _at_end(at_line, place, head, heads.pop(at_line, None))
    for rest in heads.values():
        yield Broken(rest.line, 1, None, "the consents of the line are missing")


def _at_end(line: int, place: int, head: str, chain: Row[Any] | None) -> Iterator[Broken]:
    if chain is None:
        yield Broken(line, place, None, "the head of the chain is missing")
    elif chain.length > place:
        yield Broken(line, place + 1, None, "the newest consents are missing")
    elif (chain.length, chain.head) != (place, head):
        yield Broken(line, place, None, "the head of the chain is another")


def _consent(row: Row[Any]) -> Consent:
    return Consent(
        id=row.id,
        call_id=row.call_id,
        line=row.line,
        place=row.place,
        service=row.service,
        version=row.version,
        tariffs=tuple(map(Tariff.of, json.loads(row.tariffs))),
        language=row.language,
        heard=tuple(json.loads(row.heard)),
        digit=row.pressed_digit,
        heard_at=row.heard_at,
        pressed_at=row.pressed_at,
        previous=row.previous,
        hash=row.hash,
    )


def _dumped(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
