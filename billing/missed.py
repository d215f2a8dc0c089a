"""Calls that found no worker: taken in from the switch's spool, listed for calling back.

Where no worker takes a call, a script inside FreeSWITCH (conf/freeswitch/scripts) apologises and
leaves one JSON file; it knows no database, so these files are the only note of the call until
`take_in` has committed them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, literal_column, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing.database import Database
from billing.entities import LANGUAGES
from billing.errors import InvalidNumber
from billing.numbers import national, parse_number
from billing.schema import calls, missed_calls
from billing.texts import storable

FORMAT = 1
"""The spool files' format that this release reads."""

_SUFFIX = ".json"
_SPOILT = ".bad"
_BATCH = 200
_LARGEST_FILE = 16 * 1024
_LONGEST_TEXT = 64
# Outcomes in the journal of calls that a worker spoke with.
_SERVED = ("completed", "caller_gone")
_CALL_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


@dataclass(slots=True)
class Intake:
    """What came of taking in a spool: counts of files, and those left with the reason.

    ``known`` files had been taken in before (a crash came between commit and removal).
    """

    taken: int = 0
    known: int = 0
    rejected: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CallBack:
    """A caller (E.164) whom the service owes a call: ``count`` missed calls, the last one's facts.

    ``id`` is that of the latest missed call; ``state`` where its conversation was interrupted, None
    where it had not begun. ``served_at``: since when the caller has been through to a worker again.
    """

    id: int
    caller: str
    count: int
    first_at: datetime
    last_at: datetime
    dialled: str | None
    language: str | None
    state: str | None
    served_at: datetime | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many callers wait for a call back, and the first of them for how long (seconds, or 0)."""

    callers: int
    oldest_age_s: float


class _Unusable(Exception):
    """A spool file that is no missed call; the text says why, without the file's content."""


def take_in(database: Database, folder: Path, region: str = "IR") -> Intake:
    """Move the missed calls of a spool folder into the database; any number of times, at once too.

    A file is removed after its call is committed, so nothing is lost whatever is killed, and a call
    counts once. A file that is no missed call is renamed to ``*.bad`` and reported.

    Args:
        folder: where the switch's script writes (``callflows_missed_spool``).
        region: country of callers' numbers without a country code (ISO 3166).

    Raises:
        OSError: the folder cannot be read.
        Unavailable: the database is locked or away; what was not committed stays in the folder.
    """
    intake = Intake()
    names = sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.name.endswith(_SUFFIX) and not entry.name.startswith(".")
    )
    for start in range(0, len(names), _BATCH):
        _take_batch(database, folder, names[start : start + _BATCH], region, intake)
    return intake


def call_backs(database: Database, limit: int) -> list[CallBack]:
    """Return at most ``limit`` callers to call back, the longest waiting first.

    Raises:
        Unavailable: the database is locked or away.
    """

    def work(conn: Connection) -> list[CallBack]:
        caller = missed_calls.c.caller
        latest_first = (missed_calls.c.missed_at.desc(), missed_calls.c.id.desc())
        waiting = (
            select(
                missed_calls,
                func.row_number().over(partition_by=caller, order_by=latest_first).label("place"),
                func.count().over(partition_by=caller).label("times"),
                func.min(missed_calls.c.missed_at).over(partition_by=caller).label("first_at"),
            )
            .where(_OPEN, caller.is_not(None))
            .subquery()
        )
        rows = conn.execute(
            select(waiting)
            .where(waiting.c.place == 1)
            .order_by(waiting.c.first_at, waiting.c.id)
            .limit(limit)
        ).all()
        served = _served(conn, {row.caller: row.missed_at for row in rows})
        return [
            CallBack(
                row.id,
                row.caller,
                row.times,
                row.first_at,
                row.missed_at,
                row.dialled,
                row.language,
                row.state,
                served.get(row.caller),
            )
            for row in rows
        ]

    return database.query(work)


def waiting(database: Database, now: datetime) -> Waiting:
    """Return how many callers are on the list of `call_backs`, and since when.

    Raises:
        Unavailable: the database is locked or away.
    """
    caller, missed_at = missed_calls.c.caller, missed_calls.c.missed_at
    statement = select(func.count(caller.distinct()), func.min(missed_at)).where(
        _OPEN, caller.is_not(None)
    )
    callers, first_at = database.query(lambda conn: conn.execute(statement).one())
    # The switch's clock may be a little ahead of ours.
    return Waiting(callers, max(0.0, (now - first_at).total_seconds()) if first_at else 0.0)


def anonymous(database: Database) -> int:
    """Return how many missed calls came without a number: nobody can call them back.

    Raises:
        Unavailable: the database is locked or away.
    """

    def work(conn: Connection) -> int:
        return conn.execute(
            select(func.count()).where(_OPEN, missed_calls.c.caller.is_(None))
        ).scalar_one()

    return database.query(work)


def done(database: Database, missed: int, now: datetime) -> int:
    """Take a caller off the list: that missed call and all earlier ones; returns how many.

    A call missed later stays. An ID that is done already answers 0.

    Raises:
        LookupError: no missed call of a known caller has that ID.
        Unavailable: the database is locked or away.
    """

    def work(conn: Connection) -> int:
        call = conn.execute(
            select(missed_calls.c.caller, missed_calls.c.missed_at).where(
                missed_calls.c.id == missed, missed_calls.c.caller.is_not(None)
            )
        ).one_or_none()
        if call is None:
            raise LookupError(f"no missed call {missed}")
        return conn.execute(
            update(missed_calls)
            .where(
                _OPEN,
                missed_calls.c.caller == call.caller,
                missed_calls.c.missed_at <= call.missed_at,
            )
            .values(done_at=now)
        ).rowcount

    return database.write(work)


# Written out, so that PostgreSQL and SQLite see that the partial index serves it.
_OPEN: ColumnElement[bool] = literal_column("missed_calls.done_at IS NULL")
_PUT = (
    insert(missed_calls)
    .on_conflict_do_nothing(index_elements=[missed_calls.c.call_id])
    .returning(missed_calls.c.id)
)


def _take_batch(
    database: Database, folder: Path, names: list[str], region: str, intake: Intake
) -> None:
    found: list[tuple[str, dict[str, Any]]] = []
    for name in names:
        try:
            found.append((name, _read(folder / name, region)))
        except FileNotFoundError:
            continue  # somebody else has taken it in
        except OSError as error:
            intake.rejected.append((name, error.strerror or type(error).__name__))
        except _Unusable as why:
            intake.rejected.append((name, str(why)))
            with contextlib.suppress(OSError):
                os.rename(folder / name, folder / (name + _SPOILT))

    def work(conn: Connection) -> int:
        return sum(conn.execute(_PUT, call).first() is not None for _, call in found)

    new = database.write(work)
    intake.taken += new
    intake.known += len(found) - new
    for name, _ in found:
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            reason = f"taken in, but cannot be removed: {error.strerror}"
            intake.rejected.append((name, reason))


def _read(file: Path, region: str) -> dict[str, Any]:
    with file.open("rb") as stream:
        raw = stream.read(_LARGEST_FILE + 1)
    try:
        note = json.loads(raw.decode("utf-8", "replace")) if len(raw) <= _LARGEST_FILE else None
    except (ValueError, RecursionError):
        note = None
    if not isinstance(note, dict):
        raise _Unusable("not a JSON object")
    if note.get("format") != FORMAT:
        raise _Unusable("written in a format that this release does not know")
    call_id = note.get("call_id")
    if not isinstance(call_id, str) or not _CALL_ID.fullmatch(call_id):
        raise _Unusable("no call_id")
    language = note.get("language")
    return {
        "call_id": call_id,
        "missed_at": _moment(note.get("at")),
        "caller": _caller(note.get("caller"), region),
        "dialled": _text(note.get("dialled")),
        "language": language if language in LANGUAGES else None,
        "state": _text(note.get("state")),
        "done_at": None,
    }


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Unusable("no time of the call") from None


def _caller(value: object, region: str) -> str | None:
    try:
        return parse_number(value if isinstance(value, str) else "", region)
    except InvalidNumber:
        return None


def _text(value: object) -> str | None:
    return storable(value, _LONGEST_TEXT) or None if isinstance(value, str) else None


def _served(conn: Connection, missed: dict[str, datetime]) -> dict[str, datetime]:
    """Return since when callers were served again, of those missed at the given moments."""
    if not missed:
        return {}
    # The journal keeps numbers as the network signals them: national or international.
    callers = {form: caller for caller in missed for form in (caller, national(caller))}
    served: dict[str, datetime] = {}
    for form, started_at in conn.execute(
        select(calls.c.caller, calls.c.started_at)
        .where(
            calls.c.started_at > min(missed.values()),
            calls.c.caller.in_(callers),
            calls.c.outcome.in_(_SERVED),
        )
        .order_by(calls.c.started_at)
    ):
        caller = callers[form]
        if started_at > missed[caller]:
            served.setdefault(caller, started_at)
    return served
