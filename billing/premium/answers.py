"""What callers leave in content trees: votes, orders, messages (D6, D14)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, delete, func, select

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing.clock import Clock
from billing.database import Database
from billing.premium.schema import premium_services, tree_answers

Kind = Literal["poll", "order", "recording"]

_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. ``line`` is an id: whose it is, is not the provider's business.

    ``answer`` holds a poll's ``choice``, an order's fields, or a recording's ``name``.
    """

    id: int
    version: int
    node: str
    call_id: str
    line: int | None
    kind: Kind
    answer: Mapping[str, Any]
    at: datetime


class Answers:
    """The answers to the trees of all services, over one database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def put(
        self,
        key: str,
        *,
        service: int,
        version: int,
        node: str,
        call_id: str,
        line: int | None,
        kind: Kind,
        answer: Mapping[str, Any],
    ) -> bool:
        """Keep an answer; False if one of this key is there already: the first one counts.

        Raises:
            Unavailable: the database is locked or away; nothing was written.
        """
        row = {
            "key": key,
            "service": service,
            "version": version,
            "node": node,
            "call_id": call_id,
            "line": line,
            "kind": kind,
            "answer": json.dumps(answer, ensure_ascii=False),
            "at": self._clock.now(),
        }

        def work(conn: Connection) -> bool:
            new = conn.execute(
                insert(tree_answers)
                .values(row)
                .on_conflict_do_nothing(index_elements=[tree_answers.c.key])
                .returning(tree_answers.c.id)
            ).one_or_none()
            return new is not None

        return self._database.write(work)

    def withdraw(self, key: str) -> None:
        """Forget a message in which nothing was said; other kinds stay.

        Raises:
            Unavailable: the database is locked or away; nothing was changed.
        """
        column = tree_answers.c
        statement = delete(tree_answers).where(column.key == key, column.kind == "recording")
        self._database.write(lambda conn: conn.execute(statement))

    def of(self, number: str, node: str | None = None) -> Iterator[Answer]:
        """Yield the answers that callers of a service gave, oldest first, read in portions."""
        last = 0
        while True:
            column = tree_answers.c
            wanted = (
                select(tree_answers)
                .join(premium_services, premium_services.c.id == column.service)
                .where(premium_services.c.number == number, column.id > last)
                .order_by(column.id)
                .limit(_CHUNK)
            )
            if node is not None:
                wanted = wanted.where(column.node == node)
            with self._database.read() as conn:
                rows = conn.execute(wanted).all()
            for row in rows:
                yield Answer(
                    id=row.id,
                    version=row.version,
                    node=row.node,
                    call_id=row.call_id,
                    line=row.line,
                    kind=row.kind,
                    answer=json.loads(row.answer),
                    at=row.at,
                )
            if len(rows) < _CHUNK:
                return
            last = rows[-1].id

    def counts(self, number: str) -> dict[tuple[str, str], int]:
        """Return how many answers each node of a service has, by node and kind."""
        column = tree_answers.c
        with self._database.read() as conn:
            rows = conn.execute(
                select(column.node, column.kind, func.count())
                .join(premium_services, premium_services.c.id == column.service)
                .where(premium_services.c.number == number)
                .group_by(column.node, column.kind)
            )
            return {(row.node, row.kind): row[2] for row in rows}
