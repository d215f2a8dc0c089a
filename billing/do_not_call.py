"""Do-not-call lists: numbers that no campaign may call, in as many named lists as are needed.

`OPT_OUT` is the one that subscribers put themselves on during a call; every campaign heeds it. A
regulator's list, a list of lawsuits or of staff are further ones, which a campaign names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice

from sqlalchemy import Connection, delete, func, select

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing.database import Database
from billing.errors import BillingError, InvalidNumber
from billing.numbers import parse_number
from billing.schema import do_not_call

OPT_OUT = "opt-out"
"""The list of those who asked, in a call, not to be called again."""

_NAME = re.compile(r"[\w.\-]{1,64}")
_BATCH = 1000


class InvalidList(BillingError, ValueError):
    """A text cannot be the name of a do-not-call list."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of the lines of a file: numbers added, there before, rejected with reason."""

    added: int
    unchanged: int
    rejected: list[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class ListSize:
    """A list and how many numbers it holds."""

    name: str
    numbers: int


def checked_name(name: str) -> str:
    """Return ``name`` if a list may be called so.

    Raises:
        InvalidList: it is not 1 to 64 letters, digits, ``_``, ``.`` and ``-``.
    """
    if not _NAME.fullmatch(name):
        raise InvalidList(f"list {name!r}: 1 to 64 letters, digits, '_', '.' and '-'")
    return name


def put(conn: Connection, name: str, number: str, now: datetime) -> bool:
    """Add a number (E.164) to a list in the caller's transaction; False when it is there."""
    row = conn.execute(
        insert(do_not_call).on_conflict_do_nothing().returning(do_not_call.c.number),
        {"number": number, "list": name, "added_at": now},
    ).one_or_none()
    return row is not None


def add(
    database: Database, name: str, rows: Iterable[str], now: datetime, region: str = "IR"
) -> Loaded:
    """Add numbers to a list, one a row; empty rows and what follows a ``#`` are skipped.

    Args:
        database: where.
        name: the list; it need not exist yet.
        rows: numbers in any form, such as the lines of a file, read as they come.
        now: the moment.
        region: country of national forms.

    Raises:
        InvalidList: the name cannot be one.
        Unavailable: the database is locked or away; what is loaded so far stays.
    """
    checked_name(name)
    added = unchanged = 0
    rejected: list[tuple[int, str]] = []
    numbered = enumerate(rows, start=1)
    while batch := list(islice(numbered, _BATCH)):
        numbers: dict[str, None] = {}
        for place, row in batch:
            text = row.removeprefix("\ufeff").partition("#")[0].strip()
            if not text:
                continue
            try:
                number = parse_number(text, region=region)
            except InvalidNumber as error:
                rejected.append((place, str(error)))
                continue
            unchanged += number in numbers
            numbers[number] = None
        new = database.write(partial(_put_all, name=name, numbers=numbers, now=now))
        added += new
        unchanged += len(numbers) - new
    return Loaded(added, unchanged, rejected)


def _put_all(conn: Connection, name: str, numbers: Iterable[str], now: datetime) -> int:
    values = [{"number": number, "list": name, "added_at": now} for number in numbers]
    if not values:
        return 0
    statement = insert(do_not_call).values(values).on_conflict_do_nothing()
    return len(conn.execute(statement.returning(do_not_call.c.number)).all())


def remove(database: Database, name: str, number: str) -> bool:
    """Take a number (E.164) off a list; False when it was not there.

    Raises:
        Unavailable: the database is locked or away.
    """
    statement = delete(do_not_call).where(
        do_not_call.c.list == name, do_not_call.c.number == number
    )
    return database.write(lambda conn: conn.execute(statement).rowcount == 1)


def sizes(database: Database) -> list[ListSize]:
    """Return every list with its size, by name.

    Raises:
        Unavailable: the database is locked or away.
    """
    statement = (
        select(do_not_call.c.list, func.count())
        .group_by(do_not_call.c.list)
        .order_by(do_not_call.c.list)
    )
    return database.query(lambda conn: [ListSize(*row) for row in conn.execute(statement)])


def numbers_of(database: Database, name: str, limit: int = 1000) -> list[str]:
    """Return the numbers of a list (E.164), in order, at most ``limit``.

    Raises:
        Unavailable: the database is locked or away.
    """
    statement = (
        select(do_not_call.c.number)
        .where(do_not_call.c.list == name)
        .order_by(do_not_call.c.number)
        .limit(limit)
    )
    return database.query(lambda conn: list(conn.execute(statement).scalars()))
