"""Forgetting what is no longer needed: destinations of messages that were sent long ago (A9).

Bills, payments, ledger and journals stay; what goes are finished outbox rows (they hold mobile
numbers and e-mail addresses), answered or expired e-mail requests, requests to lines' owners and
their one-time codes, orders that callers keyed in, counters of past days, missed calls, called back
or not (nobody is called back after so long), and the whole text of the switches' call records,
whose facts stay as the journals do.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, delete, select, tuple_, update

from billing.database import Database
from billing.premium.schema import approval_requests, owner_codes, tree_answers
from billing.schema import (
    cdrs,
    email_requests,
    inbound_messages,
    missed_calls,
    outbox,
    sms_counters,
)

_BATCH = 1000


def forget(database: Database, before: datetime) -> dict[str, int]:
    """Delete what was finished before a moment; returns the rows gone by table.

    In batches, each a short transaction, so that calls never wait for it. Failed outbox rows stay
    until somebody has seen to them.

    Raises:
        Unavailable: the database is locked or away; what was deleted before stays so.
    """
    day = before.date().isoformat()
    return {
        table.name: _drain(database, table, condition)
        for table, condition in (
            (outbox, (outbox.c.status == "done") & (outbox.c.done_at < before)),
            (email_requests, email_requests.c.expires_at < before),
            (inbound_messages, inbound_messages.c.at < before),
            (missed_calls, missed_calls.c.missed_at < before),
            (owner_codes, owner_codes.c.expires_at < before),
            # What came of them, the approvals, stays.
            (approval_requests, approval_requests.c.expires_at < before),
            # Orders hold numbers that callers keyed in; a vote holds nothing of the kind, and has
            # to count once for ever.
            (tree_answers, (tree_answers.c.kind == "order") & (tree_answers.c.at < before)),
            (sms_counters, sms_counters.c.span < day),
        )
    } | {cdrs.name: _strip_records(database, before)}


def _strip_records(database: Database, before: datetime) -> int:
    key = tuple_(*cdrs.primary_key.columns)
    batch = (
        select(*cdrs.primary_key.columns)
        .where(cdrs.c.raw.is_not(None), cdrs.c.received_at < before)
        .limit(_BATCH)
    )
    statement = update(cdrs).where(key.in_(batch)).values(raw=None)
    stripped = 0
    while count := database.write(lambda conn: conn.execute(statement).rowcount):
        stripped += count
    return stripped


def _drain(database: Database, table: Table, condition: ColumnElement[bool]) -> int:
    key = list(table.primary_key.columns)
    columns = key[0] if len(key) == 1 else None

    def work(conn: Connection) -> int:
        if columns is None:
            # A handful of counters a day: one statement does.
            return conn.execute(delete(table).where(condition)).rowcount
        batch = select(columns).where(condition).limit(_BATCH)
        return conn.execute(delete(table).where(columns.in_(batch))).rowcount

    gone = 0
    while count := database.write(work):
        gone += count
    return gone
