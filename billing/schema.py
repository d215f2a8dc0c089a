"""The tables, and the constraints for what must never happen.

Money is integer rials (BIGINT). A moment is an integer count of microseconds since 1970-01-01 UTC
(`Instant`): the same statements, comparisons and indexes then serve SQLite and PostgreSQL, and
neither a server's nor a session's time zone can shift it. Statuses and kinds are texts held by
CHECKs. The migrations in billing/migrations build exactly this; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)
from sqlalchemy.types import TypeDecorator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_microseconds(moment: datetime) -> int:
    """Return the microseconds from 1970 to ``moment`` (aware).

    Raises:
        TypeError: it has no time zone.
    """
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(count: int) -> datetime:
    """Return the UTC moment ``count`` microseconds after 1970."""
    return _EPOCH + timedelta(microseconds=count)


class Instant(TypeDecorator[datetime]):
    """An aware datetime, kept as microseconds since 1970 UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Return the number that is stored."""
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return the moment that was stored."""
        return None if value is None else from_microseconds(value)


# SQLite counts up row ids by itself only for INTEGER, which has 64 bits there anyway.
Identity = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

lines = Table(
    "lines",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("number", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("mobile", Text),
    Column("first_name", Text, nullable=False),
    Column("last_name", Text, nullable=False),
    # Personal data that no entity carries and no public channel shows (A9).
    Column("email", Text),
    Column("address", Text),
    Column("postal_code", Text),
    CheckConstraint("kind IN ('fixed', 'mobile')", name="kind"),
    CheckConstraint("language IN ('fa', 'ar', 'ru', 'en')", name="language"),
    CheckConstraint("number LIKE '+%' AND length(number) <= 16", name="number"),
    CheckConstraint("mobile LIKE '+%' AND length(mobile) <= 16", name="mobile"),
)
"""Lines with the few facts of their subscribers that the service needs."""

bill_ids = Table(
    "bill_ids",
    metadata,
    Column("bill_id", Text, primary_key=True),
    Column("line_id", ForeignKey("lines.id"), nullable=False),
    CheckConstraint("length(bill_id) <= 13", name="bill_id"),
)
"""Which line a bill ID belongs to: one ID never names two lines."""

bills = Table(
    "bills",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("line_id", ForeignKey("lines.id"), nullable=False),
    Column("year", Integer, nullable=False),
    Column("period", Integer, nullable=False),
    # The whole bill: its charges and what earlier bills carried into it (bill_lines).
    Column("amount", BigInteger, nullable=False),
    Column("paid", BigInteger, nullable=False, server_default="0"),
    # What this bill does not ask for any more: remainders of less than a thousand rials that later
    # bills ask for instead, and what a complaint has set aside (bill_charges.withdrawn).
    Column("carried_out", BigInteger, nullable=False, server_default="0"),
    Column("bill_id", ForeignKey("bill_ids.bill_id"), nullable=False),
    # The one to pay with now; earlier ones stay known in payment_ids.
    Column("payment_id", Text, nullable=False),
    Column("due_date", Date, nullable=False),
    Column("status", Text, nullable=False),
    Column("settled_at", Instant),
    UniqueConstraint("line_id", "year", "period"),
    CheckConstraint("amount > 0", name="amount"),
    CheckConstraint("paid >= 0", name="paid"),
    CheckConstraint("carried_out >= 0", name="carried_out"),
    CheckConstraint("paid + carried_out <= amount", name="not_overpaid"),
    CheckConstraint("period BETWEEN 1 AND 99", name="period"),
    CheckConstraint("length(payment_id) <= 13", name="payment_id"),
    # A payment ID carries whole thousands: what is left below that goes to the next bill.
    CheckConstraint(
        "(status = 'open' AND amount - paid - carried_out >= 1000 AND settled_at IS NULL)"
        " OR (status = 'paid' AND amount - paid - carried_out < 1000"
        " AND settled_at IS NOT NULL)",
        name="status",
    ),
)
"""Bills, and how much of each is paid."""

bill_lines = Table(
    "bill_lines",
    metadata,
    Column("bill", ForeignKey("bills.id"), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    CheckConstraint("kind IN ('charges', 'carried', 'premium')", name="kind"),
    CheckConstraint("amount > 0", name="amount"),
)
"""What a bill's amount is made of."""

payment_ids = Table(
    "payment_ids",
    metadata,
    Column("bill_id", Text, primary_key=True),
    Column("payment_id", Text, primary_key=True),
    Column("bill", ForeignKey("bills.id"), primary_key=True),
)
"""Every pair of IDs that was ever given out for a bill; all of them keep finding it."""

accounts = Table(
    "accounts",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("code", Text, nullable=False, unique=True),
    Column("debits", BigInteger, nullable=False),
    Column("credits", BigInteger, nullable=False),
    CheckConstraint("debits >= 0", name="debits"),
    CheckConstraint("credits >= 0", name="credits"),
)
"""Ledger accounts with their running totals, which `ledger.audit` rebuilds from the entries."""

postings = Table(
    "postings",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    # SHA-256 over kind and transfers: tells a retry from another posting under the same key.
    Column("content", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Index("ix_postings_at", "at"),
)
"""Groups of ledger entries that hold together, one per key."""

entries = Table(
    "entries",
    metadata,
    Column("posting", ForeignKey("postings.id"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("debit", ForeignKey("accounts.id"), nullable=False),
    Column("credit", ForeignKey("accounts.id"), nullable=False),
    Column("amount", BigInteger, nullable=False),
    CheckConstraint("amount > 0", name="amount"),
    CheckConstraint("debit <> credit", name="two_accounts"),
)
"""Transfers between two accounts; immutable, so balanced by construction at every instant."""

outbox = Table(
    "outbox",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("queue", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="pending"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("available_at", Instant, nullable=False),
    Column("claimed_until", Instant),
    Column("claimed_by", Text),
    Column("reason", Text),
    Column("created_at", Instant, nullable=False),
    Column("done_at", Instant),
    CheckConstraint("queue IN ('sms', 'email', 'billing', 'reports')", name="queue"),
    CheckConstraint("status IN ('pending', 'done', 'failed')", name="status"),
    CheckConstraint("attempts >= 0", name="attempts"),
    CheckConstraint("(claimed_until IS NULL) = (claimed_by IS NULL)", name="claim"),
    CheckConstraint("(status = 'pending') = (done_at IS NULL)", name="done_at"),
    CheckConstraint("status <> 'failed' OR reason IS NOT NULL", name="reason"),
    # Small whatever the table's age: done rows are in neither.
    Index(
        "ix_outbox_pending",
        "queue",
        "available_at",
        sqlite_where=text("status = 'pending'"),
        postgresql_where=text("status = 'pending'"),
    ),
    Index(
        "ix_outbox_failed",
        "queue",
        sqlite_where=text("status = 'failed'"),
        postgresql_where=text("status = 'failed'"),
    ),
    Index(
        "ix_outbox_done_at",
        "done_at",
        sqlite_where=text("done_at IS NOT NULL"),
        postgresql_where=text("done_at IS NOT NULL"),
    ),
)
"""Work to be done outside, written with the fact that causes it."""

sms_counters = Table(
    "sms_counters",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("span", Text, primary_key=True),
    Column("count", Integer, nullable=False),
    # The limit in force at the last count: the database itself refuses a count above it.
    Column("ceiling", Integer, nullable=False),
    CheckConstraint("count >= 1 AND count <= ceiling", name="count"),
)
"""Messages counted per caller, destination and day or hour."""

email_requests = Table(
    "email_requests",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    # Public half of the link's token; the token itself is never stored, only its hash.
    Column("reference", Text, nullable=False, unique=True),
    Column("token_hash", Text, nullable=False),
    Column("bill", ForeignKey("bills.id"), nullable=False),
    Column("mobile", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("names", Integer, nullable=False),
    Column("status", Text, nullable=False, server_default="open"),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("answered_at", Instant),
    CheckConstraint("status IN ('open', 'answered')", name="status"),
    CheckConstraint("(status = 'answered') = (answered_at IS NOT NULL)", name="answered_at"),
    CheckConstraint("language IN ('fa', 'ar', 'ru', 'en')", name="language"),
    CheckConstraint("names IN (0, 1)", name="names"),
    CheckConstraint("expires_at > created_at", name="expires_at"),
    Index("ix_email_requests_mobile", "mobile", "id"),
)
"""Bills asked for by e-mail whose address is awaited (A8)."""

inbound_messages = Table(
    "inbound_messages",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("at", Instant, nullable=False),
)
"""SMS that came in, so that one delivered twice is answered once. The text is not kept."""

payments = Table(
    "payments",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("reference", Text, nullable=False, unique=True),
    Column("bill_id", Text, nullable=False),
    Column("payment_id", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("channel", Text, nullable=False),
    Column("paid_at", Instant, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("status", Text, nullable=False, server_default="received"),
    Column("reason", Text),
    Column("bill", ForeignKey("bills.id")),
    # How much of it paid the bill; the rest became the line's credit.
    Column("applied", BigInteger),
    Column("posted_at", Instant),
    CheckConstraint("amount > 0", name="amount"),
    CheckConstraint("applied >= 0 AND applied <= amount", name="applied"),
    CheckConstraint(
        "(status = 'received' AND posted_at IS NULL)"
        " OR (status = 'parked' AND posted_at IS NULL AND reason IS NOT NULL)"
        " OR (status = 'posted' AND posted_at IS NOT NULL AND bill IS NOT NULL"
        " AND applied IS NOT NULL)",
        name="status",
    ),
    Index("ix_payments_received_at", "received_at"),
    Index(
        "ix_payments_parked",
        "id",
        sqlite_where=text("status = 'parked'"),
        postgresql_where=text("status = 'parked'"),
    ),
)
"""Payments as the payment system reported them: money that has arrived, so never refused."""

calls = Table(
    "calls",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("caller", Text),
    Column("dialled", Text),
    Column("line", ForeignKey("lines.id")),
    Column("language", Text),
    Column("outcome", Text),
    Column("methods", Text, nullable=False, server_default=""),
    Index("ix_calls_started_at", "started_at"),
)
"""One row per call."""

call_steps = Table(
    "call_steps",
    metadata,
    Column("call_id", ForeignKey("calls.call_id"), primary_key=True),
    # Of the batch's first step; a whole batch is one row because a call costs the worker 0.2 ms
    # of CPU for its journal, which a row per step does not fit into.
    Column("seq", Integer, primary_key=True),
    Column("steps", Text, nullable=False),
)
"""What was heard and pressed: batches of steps, each a JSON array."""

# -- campaigns: subscribers called about their overdue bills (A1-A3) ------------------------------

campaigns = Table(
    "campaigns",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("status", Text, nullable=False),
    # Why the service itself has paused it.
    Column("reason", Text),
    # Everything it was told at its creation (billing.campaigns.Rules), as JSON.
    Column("rules", Text, nullable=False),
    # Its debts: bills due on this day or before, with at least so many rials left.
    Column("due_until", Date, nullable=False),
    Column("least", BigInteger, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("ended_at", Instant),
    CheckConstraint(
        "status IN ('planned', 'running', 'paused', 'stopped', 'finished')", name="status"
    ),
    CheckConstraint(
        "(status IN ('stopped', 'finished')) = (ended_at IS NOT NULL)", name="ended_at"
    ),
    CheckConstraint("least > 0", name="least"),
)
"""Campaigns and how they stand."""

campaign_targets = Table(
    "campaign_targets",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("campaign", ForeignKey("campaigns.id"), nullable=False),
    Column("line", ForeignKey("lines.id"), nullable=False),
    Column("number", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="waiting"),
    # Calls made to it so far; the shared cap counts these.
    Column("calls", Integer, nullable=False, server_default="0"),
    Column("due_at", Instant, nullable=False),
    # What the last call came to, and when the target was settled one way or the other.
    Column("result", Text),
    Column("settled_at", Instant),
    Column("paid_at", Instant),
    # A line is called about all its overdue bills together: twice in one campaign it cannot be.
    UniqueConstraint("campaign", "line"),
    CheckConstraint(
        "status IN ('waiting', 'dialling', 'reached', 'not_reached', 'paid', 'do_not_call')",
        name="status",
    ),
    CheckConstraint("calls >= 0", name="calls"),
    CheckConstraint(
        "(status IN ('waiting', 'dialling')) = (settled_at IS NULL)", name="settled_at"
    ),
    Index(
        "ix_campaign_targets_waiting",
        "campaign",
        "due_at",
        "id",
        sqlite_where=text("status = 'waiting'"),
        postgresql_where=text("status = 'waiting'"),
    ),
    Index("ix_campaign_targets_line", "line"),
)
"""The lines that a campaign calls."""

campaign_calls = Table(
    "campaign_calls",
    metadata,
    # The switch's uuid of the call, chosen before it is dialled.
    Column("call_id", Text, primary_key=True),
    Column("campaign", ForeignKey("campaigns.id"), nullable=False),
    Column("target", ForeignKey("campaign_targets.id"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("switch", Text, nullable=False),
    # Which dialer looks after it, until when: later, any other may ask the switch about it.
    Column("dialer", Text, nullable=False),
    Column("lease_until", Instant, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("answered_at", Instant),
    # What the conversation itself says of the call; it knows better than the switch.
    Column("said", Text),
    Column("ended_at", Instant),
    Column("result", Text),
    UniqueConstraint("target", "seq"),
    CheckConstraint("said IN ('heard', 'machine', 'paid', 'opted_out')", name="said"),
    CheckConstraint("said IS NULL OR answered_at IS NOT NULL", name="answered_at"),
    CheckConstraint("(result IS NULL) = (ended_at IS NULL)", name="result"),
    # Nobody has two calls at a time, whatever any dialer thinks.
    Index(
        "uq_campaign_calls_live",
        "target",
        unique=True,
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
    Index(
        "ix_campaign_calls_live",
        "campaign",
        "switch",
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
    Index("ix_campaign_calls_campaign", "campaign"),
)
"""Every call that a campaign made: claimed before it is dialled."""

campaign_pace = Table(
    "campaign_pace",
    metadata,
    Column("campaign", ForeignKey("campaigns.id"), primary_key=True),
    # A switch, or "" for all together.
    Column("switch", Text, primary_key=True),
    Column("next_at", Instant, nullable=False),
)
"""When the next call may start, shared by all dialers."""

do_not_call = Table(
    "do_not_call",
    metadata,
    Column("number", Text, primary_key=True),
    Column("list", Text, primary_key=True),
    Column("added_at", Instant, nullable=False),
    CheckConstraint("number LIKE '+%' AND length(number) <= 16", name="number"),
)
"""Numbers that no campaign may call, in named lists."""

# -- calls that found no worker ---------------------------------------------------------------

missed_calls = Table(
    "missed_calls",
    metadata,
    Column("id", Identity, primary_key=True),
    # The switch's id of the call: its spool file is taken in once.
    Column("call_id", Text, nullable=False, unique=True),
    Column("missed_at", Instant, nullable=False),
    Column("caller", Text),
    Column("dialled", Text),
    Column("language", Text),
    # Where the conversation was when its last worker went; NULL for a call never begun.
    Column("state", Text),
    Column("done_at", Instant),
    CheckConstraint("language IN ('fa', 'ar', 'ru', 'en')", name="language"),
    CheckConstraint("caller LIKE '+%' AND length(caller) <= 16", name="caller"),
    # Small whatever the table's age: who was called back is not in it.
    Index(
        "ix_missed_calls_open",
        "caller",
        "missed_at",
        sqlite_where=text("done_at IS NULL"),
        postgresql_where=text("done_at IS NULL"),
    ),
)
"""Calls that heard only an apology, for operations to call back."""

# -- what the switches say (CDRs) --------------------------------------------------------------

cdrs = Table(
    "cdrs",
    metadata,
    Column("core_uuid", Text, primary_key=True),
    Column("uuid", Text, primary_key=True),
    Column("leg", Text, primary_key=True),
    Column("switch", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("caller", Text),
    Column("dialled", Text),
    Column("started_at", Instant, nullable=False),
    Column("answered_at", Instant),
    Column("ended_at", Instant, nullable=False),
    Column("billsec", BigInteger, nullable=False),
    Column("hangup_cause", Text, nullable=False),
    Column("hung_up_by", Text),
    Column("flow", Text),
    Column("offered", Integer, nullable=False),
    # Moments of transfers, microseconds, separated by commas.
    Column("handovers", Text, nullable=False, server_default=""),
    Column("digest", Text, nullable=False),
    # What is kept of the record's text, for as long as destinations are kept (keep_days).
    Column("raw", Text),
    Column("received_at", Instant, nullable=False),
    CheckConstraint("leg IN ('a', 'b')", name="leg"),
    CheckConstraint("direction IN ('inbound', 'outbound')", name="direction"),
    CheckConstraint("hung_up_by IN ('switch', 'far end')", name="hung_up_by"),
    CheckConstraint("offered IN (0, 1)", name="offered"),
    CheckConstraint("billsec >= 0", name="billsec"),
    Index("ix_cdrs_started_at", "started_at"),
    Index("ix_cdrs_uuid", "uuid"),
    Index(
        "ix_cdrs_whole",
        "received_at",
        sqlite_where=text("raw IS NOT NULL"),
        postgresql_where=text("raw IS NOT NULL"),
    ),
)
"""One row per leg of a call, as the switch saw it; matched with the journals in `calls`."""

IMMUTABLE = ("postings", "entries")
"""Tables whose rows nothing may change or remove: corrections are new entries."""


_REFUSE_CHANGE = (
    "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION '% are immutable', TG_TABLE_NAME"
    " USING ERRCODE = 'integrity_constraint_violation'; END $$"
)


def immutability_ddl(dialect: str, tables: Sequence[str]) -> list[str]:
    """Return the statements that make tables immutable, for ``sqlite`` or ``postgresql``.

    On PostgreSQL they need the function ``refuse_change``.
    """
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table}"
            f" BEGIN SELECT RAISE(ABORT, '{table} are immutable'); END"
            for table in tables
            for action in ("UPDATE", "DELETE")
        ]
    return [
        f"CREATE TRIGGER {table}_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        for table in tables
    ]


def _after_create(dialect: str, statement: str) -> None:
    ddl = DDL(statement.replace("%", "%%"))  # type: ignore[no-untyped-call]
    event.listen(metadata, "after_create", ddl.execute_if(dialect=dialect))


def make_immutable(tables: Sequence[str]) -> None:
    """Have the schema refuse every change of these tables' rows."""
    for dialect in ("sqlite", "postgresql"):
        for statement in immutability_ddl(dialect, tables):
            _after_create(dialect, statement)


_after_create("postgresql", _REFUSE_CHANGE)
make_immutable(IMMUTABLE)
