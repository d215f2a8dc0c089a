"""The journal: what each call heard and pressed, when. The answer to "why was I charged?".

Whoever writes it masks secrets first; the journal keeps what it is given.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, case, func, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing.database import Database
from billing.schema import call_steps, calls, cdrs
from billing.texts import storable

_LONGEST_NUMBER = 64

Kind = Literal["heard", "pressed", "event"]

ENDED_WITHOUT_US = "ended_without_us"
"""The outcome of a call that was over while no worker had it: its record says so, and its end.

It is believed only until a worker tells more, which may be the next moment: a switch's record and
a worker's journal of the same end are on their way at the same time.
"""


@dataclass(frozen=True, slots=True)
class CallHeader:
    """A call as a whole.

    ``methods`` names the ways to pay that the caller chose, each once, without commas. ``resumed``
    (not stored) says that another worker had the call before and may have noted more of them.
    """

    call_id: str
    started_at: datetime
    ended_at: datetime | None
    caller: str | None
    dialled: str | None
    line: int | None
    language: str | None
    outcome: str | None
    methods: tuple[str, ...] = ()
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened, ``at_ms`` milliseconds into the call, in a state of the flow."""

    seq: int
    at_ms: int
    state: str
    kind: Kind
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A call and its steps in order."""

    header: CallHeader
    steps: list[Step]


# Made once: json.dumps with options makes one for each batch.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

_new_call = insert(calls)
_put = _new_call.excluded
# What is known later is added; what was known is not lost to a worker that knows less.
_PUT_CALL = _new_call.on_conflict_do_update(
    index_elements=[calls.c.call_id],
    set_={
        "ended_at": func.coalesce(_put.ended_at, calls.c.ended_at),
        "line": func.coalesce(_put.line, calls.c.line),
        "language": func.coalesce(_put.language, calls.c.language),
        "outcome": func.coalesce(_put.outcome, calls.c.outcome),
        "methods": func.coalesce(func.nullif(_put.methods, ""), calls.c.methods),
    },
)
# Of a worker that died, later than what its successor knows: only what is missing is added.
_ADD_CALL = _new_call.on_conflict_do_update(
    index_elements=[calls.c.call_id],
    set_={
        "started_at": case(
            (_put.started_at < calls.c.started_at, _put.started_at), else_=calls.c.started_at
        ),
        **{name: func.coalesce(calls.c[name], _put[name]) for name in ("line", "language")},
        # What only the record knew gives way to what the worker knew.
        **{
            name: case(
                (calls.c.outcome == ENDED_WITHOUT_US, func.coalesce(_put[name], calls.c[name])),
                else_=func.coalesce(calls.c[name], _put[name]),
            )
            for name in ("ended_at", "outcome")
        },
    },
)
_new_steps = insert(call_steps)
# The same batch again is as long. Two workers give a step the same number only if the first died
# before it had done anything with it; the second has then done the same and more.
_PUT_STEPS = _new_steps.on_conflict_do_update(
    index_elements=[call_steps.c.call_id, call_steps.c.seq],
    set_={"steps": _new_steps.excluded.steps},
    where=func.length(_new_steps.excluded.steps) > func.length(call_steps.c.steps),
)
# The end of the first leg is the call's; with the records of two switches, the later one.
_RECORDED_END = (
    select(func.max(cdrs.c.ended_at))
    .where(cdrs.c.uuid == calls.c.call_id, cdrs.c.leg == "a")
    .scalar_subquery()
)
_HEADER = select(
    calls.c.call_id,
    calls.c.started_at,
    calls.c.ended_at,
    calls.c.caller,
    calls.c.dialled,
    calls.c.line,
    calls.c.language,
    calls.c.outcome,
    calls.c.methods,
)


class Journal:
    """Writes and reads calls."""

    def __init__(self, database: Database) -> None:
        """Keep the journal in ``database``."""
        self._database = database

    def write(self, header: CallHeader, steps: Sequence[Step]) -> None:
        """Write a call and a batch of its steps; the same batch again changes nothing.

        The header of a later batch adds to that of an earlier one; start and numbers stay.

        Raises:
            Unavailable: the database is locked or away; nothing was written.
        """
        self.write_all([(header, steps)])

    def write_all(self, batches: Sequence[tuple[CallHeader, Sequence[Step]]]) -> None:
        """Write batches of several calls as `write` does, in one transaction.

        A transaction costs more than the rows in it, so whoever has several batches joins them.

        Raises:
            Unavailable: the database is locked or away; nothing was written.
        """
        headers = [_header_row(header) for header, _ in batches]
        rows = [_steps_row(header.call_id, steps) for header, steps in batches if steps]
        if not headers:
            return

        def work(conn: Connection) -> None:
            conn.execute(_PUT_CALL, headers)
            for header, _ in batches:
                if header.resumed:
                    _add_methods(conn, header)
            if rows:
                conn.execute(_PUT_STEPS, rows)

        self._database.write(work)

    def add_all(self, batches: Sequence[tuple[CallHeader, Sequence[Step]]]) -> None:
        """Add what a worker that died had not written: steps and facts that are not there yet.

        Raises:
            Unavailable: the database is locked or away; nothing was written.
        """
        headers = [_header_row(header) for header, _ in batches]
        # One by one: which of them were written in another batch is not known.
        rows = [_steps_row(header.call_id, [step]) for header, steps in batches for step in steps]
        if not headers:
            return

        def work(conn: Connection) -> None:
            conn.execute(_ADD_CALL, headers)
            for header, _ in batches:
                _add_methods(conn, header)
            if rows:
                conn.execute(_PUT_STEPS, rows)
            for header, _ in batches:
                # Its record may have come before there was a journal to close.
                close_by_record(conn, header.call_id)

        self._database.write(work)

    def read(self, call_id: str) -> Call | None:
        """Return a call with its steps in order, or None when it is not known.

        Where batches overlap (a worker that took over wrote again) the first written step stays.

        Raises:
            Unavailable: the database is locked or away.
        """
        statement = (
            select(call_steps.c.steps)
            .where(call_steps.c.call_id == call_id)
            .order_by(call_steps.c.seq)
        )
        with self._database.read() as conn:
            row = conn.execute(_HEADER.where(calls.c.call_id == call_id)).one_or_none()
            if row is None:
                return None
            batches = conn.execute(statement).scalars().all()
        steps: dict[int, Step] = {}
        for batch in batches:
            for step in json.loads(batch):
                steps.setdefault(step[0], Step(*step))
        return Call(_header(row), [steps[seq] for seq in sorted(steps)])

    def recent(self, limit: int = 50) -> list[CallHeader]:
        """Return the latest calls, latest first.

        Raises:
            Unavailable: the database is locked or away.
        """
        statement = _HEADER.order_by(calls.c.started_at.desc()).limit(limit)
        with self._database.read() as conn:
            return [_header(row) for row in conn.execute(statement)]


def close_by_record(conn: Connection, call_id: str) -> None:
    """Close a call's journal that is open though the call's record has come; any other stays."""
    conn.execute(
        update(calls)
        .where(
            calls.c.call_id == call_id,
            calls.c.ended_at.is_(None),
            calls.c.outcome.is_(None),
            _RECORDED_END.is_not(None),
        )
        .values(ended_at=_RECORDED_END, outcome=ENDED_WITHOUT_US)
    )


def _add_methods(conn: Connection, header: CallHeader) -> None:
    """Add ways to pay to those that another worker has noted."""
    if not header.methods:
        return
    mine = calls.c.call_id == header.call_id
    known = conn.execute(select(calls.c.methods).where(mine)).scalar_one()
    methods = [each for each in known.split(",") if each]
    new = [each for each in header.methods if each not in methods]
    if new:
        conn.execute(update(calls).where(mine).values(methods=",".join([*methods, *new])))


def _shown(number: str | None) -> str | None:
    # What the other side claims to be: any text of any length.
    return None if number is None else storable(number, _LONGEST_NUMBER)


def _header_row(header: CallHeader) -> dict[str, Any]:
    return {
        "call_id": header.call_id,
        "started_at": header.started_at,
        "ended_at": header.ended_at,
        "caller": _shown(header.caller),
        "dialled": _shown(header.dialled),
        "line": header.line,
        "language": header.language,
        "outcome": header.outcome,
        # Those of a resumed call are added, not put in the place of what is there.
        "methods": "" if header.resumed else ",".join(header.methods),
    }


def _steps_row(call_id: str, steps: Sequence[Step]) -> dict[str, Any]:
    told = [(step.seq, step.at_ms, step.state, step.kind, step.data) for step in steps]
    return {"call_id": call_id, "seq": steps[0].seq, "steps": storable(_ENCODER.encode(told))}


def _header(row: Any) -> CallHeader:
    return CallHeader(
        call_id=row.call_id,
        started_at=row.started_at,
        ended_at=row.ended_at,
        caller=row.caller,
        dialled=row.dialled,
        line=row.line,
        language=row.language,
        outcome=row.outcome,
        methods=tuple(filter(None, row.methods.split(","))),
    )
