"""Journals against call records: what the workers say about calls, and what the switches say.

Both are written by different programs from the same events, so where they differ something was
lost or went wrong, and a person should look. Far legs of bridges are nobody's conversation and are
not matched; a call that was transferred leaves its journal at the transfer and its record at the
end, which is how it should be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from sqlalchemy import BigInteger, Connection, and_, func, or_, select, type_coerce

from billing.database import Database
from billing.journal import ENDED_WITHOUT_US
from billing.schema import calls, cdrs, from_microseconds

Kind = Literal["no_journal", "not_served", "no_cdr", "open_journal", "times", "outcome"]

KINDS: tuple[Kind, ...] = get_args(Kind)
"""What can be wrong.

- ``no_journal``: a worker had the call, and there is no journal of it;
- ``not_served``: the dialplan offered the call to workers, the caller was answered, and no worker
  took it (see the missed calls);
- ``no_cdr``: a journal whose call has no record, the grace time after its end;
- ``open_journal``: the record says that the call is over, no worker's journal does;
- ``times``: beginning or end differ beyond the tolerance;
- ``outcome``: the two cannot both be true.
"""

GRACE = timedelta(minutes=15)
"""How long records may lag: a switch retries, then they lie on its disk until taken in."""

TOLERANCE = timedelta(seconds=5)
"""How far clocks and readings may be apart: a worker hears of a hangup a little later."""

# A number that no flow serves is refused by the worker itself, before a journal begins.
_REFUSED = "UNALLOCATED_NUMBER"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One call and what is wrong with it; ``at`` is its beginning. No personal data."""

    kind: Kind
    call_id: str
    at: datetime
    detail: str


@dataclass(frozen=True, slots=True)
class Mismatches:
    """``counts`` by kind (all kinds are there); the first of ``items``, in order of time.

    ``since`` is the beginning of the first call that any record tells of: journals before it are
    not expected to have one. None: no switch has ever sent a record, and nothing can be matched.
    """

    since: datetime | None
    counts: dict[Kind, int]
    items: list[Mismatch]


def mismatches(
    database: Database,
    begin: datetime,
    end: datetime,
    now: datetime,
    *,
    grace: timedelta = GRACE,
    tolerance: timedelta = TOLERANCE,
    limit: int = 1000,
) -> Mismatches:
    """Compare journals and records of the calls that began from ``begin`` to before ``end``.

    Raises:
        Unavailable: the database is locked or away.
    """

    def work(conn: Connection) -> Mismatches:
        since = conn.execute(select(func.min(cdrs.c.started_at))).scalar_one()
        counts: Counter[Kind] = Counter()
        items: list[Mismatch] = []
        if since is not None:
            settled = now - grace
            for found in (
                _without_journal(conn, begin, end, settled),
                _without_record(conn, max(begin, since), end, settled),
                _differing(conn, begin, end, settled, tolerance),
            ):
                kept = 0
                for mismatch in found:
                    counts[mismatch.kind] += 1
                    # Of each question as many as are shown at most: memory has a bound.
                    if kept < limit:
                        items.append(mismatch)
                        kept += 1
        items.sort(key=lambda mismatch: (mismatch.at, mismatch.call_id, mismatch.kind))
        return Mismatches(since, {kind: counts[kind] for kind in KINDS}, items[:limit])

    return database.query(work)


def _rows(conn: Connection, statement: Any) -> Iterable[Any]:
    return conn.execute(statement.execution_options(yield_per=1000))


def _without_journal(
    conn: Connection, begin: datetime, end: datetime, settled: datetime
) -> Iterator[Mismatch]:
    statement = (
        select(cdrs.c.uuid, cdrs.c.started_at, cdrs.c.flow, cdrs.c.switch)
        .select_from(cdrs.outerjoin(calls, calls.c.call_id == cdrs.c.uuid))
        .where(
            calls.c.call_id.is_(None),
            cdrs.c.started_at >= begin,
            cdrs.c.started_at < end,
            cdrs.c.received_at <= settled,
            cdrs.c.leg == "a",
            or_(
                cdrs.c.flow.is_not(None),
                and_(
                    cdrs.c.offered == 1,
                    cdrs.c.answered_at.is_not(None),
                    cdrs.c.hangup_cause != _REFUSED,
                ),
            ),
        )
        .order_by(cdrs.c.started_at)
    )
    for row in _rows(conn, statement):
        if row.flow is not None:
            detail = f"switch {row.switch}: a worker had it (flow {row.flow}); no journal"
            yield Mismatch("no_journal", row.uuid, row.started_at, detail)
        else:
            detail = f"switch {row.switch}: answered, and no worker took it"
            yield Mismatch("not_served", row.uuid, row.started_at, detail)


def _without_record(
    conn: Connection, begin: datetime, end: datetime, settled: datetime
) -> Iterator[Mismatch]:
    statement = (
        select(calls.c.call_id, calls.c.started_at)
        .select_from(calls.outerjoin(cdrs, cdrs.c.uuid == calls.c.call_id))
        .where(
            cdrs.c.uuid.is_(None),
            calls.c.started_at >= begin,
            calls.c.started_at < end,
            calls.c.ended_at <= settled,
        )
        .order_by(calls.c.started_at)
    )
    for row in _rows(conn, statement):
        yield Mismatch("no_cdr", row.call_id, row.started_at, "no switch has sent its record")


def _differing(
    conn: Connection, begin: datetime, end: datetime, settled: datetime, tolerance: timedelta
) -> Iterator[Mismatch]:
    slack = tolerance // timedelta(microseconds=1)

    def apart(one: Any, other: Any) -> Any:
        return func.abs(type_coerce(one, BigInteger) - type_coerce(other, BigInteger)) > slack

    # What could be wrong; what is decided with the handovers at hand. Nearly all calls stay out.
    statement = (
        select(
            calls.c.call_id,
            calls.c.started_at,
            calls.c.ended_at,
            calls.c.outcome,
            cdrs.c.started_at.label("cdr_started"),
            cdrs.c.answered_at,
            cdrs.c.ended_at.label("cdr_ended"),
            cdrs.c.hung_up_by,
            cdrs.c.handovers,
            cdrs.c.received_at,
        )
        .select_from(calls.join(cdrs, cdrs.c.uuid == calls.c.call_id))
        .where(
            calls.c.started_at >= begin,
            calls.c.started_at < end,
            cdrs.c.leg == "a",
            or_(
                calls.c.ended_at.is_(None),
                calls.c.outcome == ENDED_WITHOUT_US,
                apart(calls.c.ended_at, cdrs.c.ended_at),
                apart(calls.c.started_at, cdrs.c.started_at),
                and_(calls.c.outcome == "caller_gone", cdrs.c.hung_up_by == "switch"),
                and_(calls.c.outcome == "transferred", cdrs.c.handovers == ""),
                and_(calls.c.outcome == "completed", cdrs.c.answered_at.is_(None)),
            ),
        )
        .order_by(calls.c.started_at)
    )
    for row in _rows(conn, statement):
        handovers = [from_microseconds(int(each)) for each in row.handovers.split(",") if each]
        if row.ended_at is None or row.outcome == ENDED_WITHOUT_US:
            if row.received_at <= settled:
                yield Mismatch(
                    "open_journal",
                    row.call_id,
                    row.started_at,
                    "the call is over, and no worker saw its end: did one die?",
                )
            continue
        begins = [row.cdr_started, row.answered_at or row.cdr_started, *handovers]
        ends = [row.cdr_ended, *handovers]
        told = [
            f"{what} {_signed(moment - known[0])} from the record's"
            for what, moment, known in (
                ("begins", row.started_at, begins),
                ("ends", row.ended_at, ends),
            )
            if all(abs(moment - each) > tolerance for each in known)
        ]
        if told:
            detail = "the journal " + ", ".join(told)
            yield Mismatch("times", row.call_id, row.started_at, detail)
        if row.outcome == "completed" and row.answered_at is None:
            detail = "the journal tells of a whole conversation, the record of no answer"
        elif row.outcome == "transferred" and not handovers:
            detail = "the journal tells of a transfer, the record of none"
        elif (
            row.outcome == "caller_gone"
            and row.hung_up_by == "switch"
            # Somebody else may have transferred it: for its worker the caller is gone then.
            and all(abs(row.ended_at - each) > tolerance for each in handovers)
        ):
            detail = "the journal says that the caller left, the record that the switch hung up"
        else:
            continue
        yield Mismatch("outcome", row.call_id, row.started_at, detail)


def _signed(difference: timedelta) -> str:
    return f"{difference.total_seconds():+.1f} s"
