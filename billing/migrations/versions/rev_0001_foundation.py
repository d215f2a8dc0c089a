"""The foundation: lines, bills, ledger, outbox, payments, e-mail requests, journal."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite counts up row ids by itself only for INTEGER.
IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create every table, and the triggers that keep the ledger immutable."""
    op.create_table(
        "accounts",
        sa.Column("id", IDENTITY, nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("debits", sa.BigInteger(), nullable=False),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("credits >= 0", name=op.f("ck_accounts_credits")),
        sa.CheckConstraint("debits >= 0", name=op.f("ck_accounts_debits")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("code", name=op.f("uq_accounts_code")),
    )
    op.create_table(
        "inbound_messages",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_inbound_messages")),
    )
    op.create_table(
        "lines",
        sa.Column("id", IDENTITY, nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("mobile", sa.Text(), nullable=True),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("postal_code", sa.Text(), nullable=True),
        sa.CheckConstraint("kind IN ('fixed', 'mobile')", name=op.f("ck_lines_kind")),
        sa.CheckConstraint("language IN ('fa', 'ar', 'ru', 'en')", name=op.f("ck_lines_language")),
        sa.CheckConstraint(
            "mobile LIKE '+%' AND length(mobile) <= 16", name=op.f("ck_lines_mobile")
        ),
        sa.CheckConstraint(
            "number LIKE '+%' AND length(number) <= 16", name=op.f("ck_lines_number")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lines")),
        sa.UniqueConstraint("number", name=op.f("uq_lines_number")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", IDENTITY, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("available_at", sa.BigInteger(), nullable=False),
        sa.Column("claimed_until", sa.BigInteger(), nullable=True),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(status = 'pending') = (done_at IS NULL)", name=op.f("ck_outbox_done_at")
        ),
        sa.CheckConstraint(
            "queue IN ('sms', 'email', 'billing', 'reports')", name=op.f("ck_outbox_queue")
        ),
        sa.CheckConstraint(
            "status <> 'failed' OR reason IS NOT NULL", name=op.f("ck_outbox_reason")
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'done', 'failed')", name=op.f("ck_outbox_status")
        ),
        sa.CheckConstraint(
            "(claimed_until IS NULL) = (claimed_by IS NULL)", name=op.f("ck_outbox_claim")
        ),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_outbox_attempts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("key", name=op.f("uq_outbox_key")),
    )
    op.create_index(
        "ix_outbox_done_at",
        "outbox",
        ["done_at"],
        unique=False,
        sqlite_where=sa.text("done_at IS NOT NULL"),
        postgresql_where=sa.text("done_at IS NOT NULL"),
    )
    op.create_index(
        "ix_outbox_failed",
        "outbox",
        ["queue"],
        unique=False,
        sqlite_where=sa.text("status = 'failed'"),
        postgresql_where=sa.text("status = 'failed'"),
    )
    op.create_index(
        "ix_outbox_pending",
        "outbox",
        ["queue", "available_at"],
        unique=False,
        sqlite_where=sa.text("status = 'pending'"),
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_table(
        "postings",
        sa.Column("id", IDENTITY, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_postings")),
        sa.UniqueConstraint("key", name=op.f("uq_postings_key")),
    )
    op.create_index("ix_postings_at", "postings", ["at"], unique=False)
    op.create_table(
        "sms_counters",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("span", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("ceiling", sa.Integer(), nullable=False),
        sa.CheckConstraint("count >= 1 AND count <= ceiling", name=op.f("ck_sms_counters_count")),
        sa.PrimaryKeyConstraint("scope", "key", "span", name=op.f("pk_sms_counters")),
    )
    op.create_table(
        "bill_ids",
        sa.Column("bill_id", sa.Text(), nullable=False),
        sa.Column("line_id", IDENTITY, nullable=False),
        sa.CheckConstraint("length(bill_id) <= 13", name=op.f("ck_bill_ids_bill_id")),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name=op.f("fk_bill_ids_line_id")),
        sa.PrimaryKeyConstraint("bill_id", name=op.f("pk_bill_ids")),
    )
    op.create_table(
        "calls",
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("caller", sa.Text(), nullable=True),
        sa.Column("dialled", sa.Text(), nullable=True),
        sa.Column("line", IDENTITY, nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("methods", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["line"], ["lines.id"], name=op.f("fk_calls_line")),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_calls")),
    )
    op.create_index("ix_calls_started_at", "calls", ["started_at"], unique=False)
    op.create_table(
        "entries",
        sa.Column("posting", IDENTITY, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("debit", IDENTITY, nullable=False),
        sa.Column("credit", IDENTITY, nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_entries_amount")),
        sa.CheckConstraint("debit <> credit", name=op.f("ck_entries_two_accounts")),
        sa.ForeignKeyConstraint(["credit"], ["accounts.id"], name=op.f("fk_entries_credit")),
        sa.ForeignKeyConstraint(["debit"], ["accounts.id"], name=op.f("fk_entries_debit")),
        sa.ForeignKeyConstraint(["posting"], ["postings.id"], name=op.f("fk_entries_posting")),
        sa.PrimaryKeyConstraint("posting", "seq", name=op.f("pk_entries")),
    )
    op.create_table(
        "bills",
        sa.Column("id", IDENTITY, nullable=False),
        sa.Column("line_id", IDENTITY, nullable=False),
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("period", sa.Integer(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("paid", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("carried_out", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bill_id", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column("due_date", sa.Date(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(status = 'open' AND amount - paid - carried_out >= 1000 AND settled_at IS NULL)"
            " OR (status = 'paid' AND amount - paid - carried_out < 1000"
            " AND settled_at IS NOT NULL)",
            name=op.f("ck_bills_status"),
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_bills_amount")),
        sa.CheckConstraint("carried_out >= 0", name=op.f("ck_bills_carried_out")),
        sa.CheckConstraint("length(payment_id) <= 13", name=op.f("ck_bills_payment_id")),
        sa.CheckConstraint("paid + carried_out <= amount", name=op.f("ck_bills_not_overpaid")),
        sa.CheckConstraint("paid >= 0", name=op.f("ck_bills_paid")),
        sa.CheckConstraint("period BETWEEN 1 AND 99", name=op.f("ck_bills_period")),
        sa.ForeignKeyConstraint(["bill_id"], ["bill_ids.bill_id"], name=op.f("fk_bills_bill_id")),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name=op.f("fk_bills_line_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bills")),
        sa.UniqueConstraint("line_id", "year", "period", name=op.f("uq_bills_line_id_year_period")),
    )
    op.create_table(
        "call_steps",
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("steps", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["call_id"], ["calls.call_id"], name=op.f("fk_call_steps_call_id")),
        sa.PrimaryKeyConstraint("call_id", "seq", name=op.f("pk_call_steps")),
    )
    op.create_table(
        "bill_lines",
        sa.Column("bill", IDENTITY, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('charges', 'carried')", name=op.f("ck_bill_lines_kind")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_bill_lines_amount")),
        sa.ForeignKeyConstraint(["bill"], ["bills.id"], name=op.f("fk_bill_lines_bill")),
        sa.PrimaryKeyConstraint("bill", "kind", name=op.f("pk_bill_lines")),
    )
    op.create_table(
        "email_requests",
        sa.Column("id", IDENTITY, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("bill", IDENTITY, nullable=False),
        sa.Column("mobile", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("names", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), server_default="open", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(status = 'answered') = (answered_at IS NOT NULL)",
            name=op.f("ck_email_requests_answered_at"),
        ),
        sa.CheckConstraint(
            "language IN ('fa', 'ar', 'ru', 'en')", name=op.f("ck_email_requests_language")
        ),
        sa.CheckConstraint("status IN ('open', 'answered')", name=op.f("ck_email_requests_status")),
        sa.CheckConstraint("expires_at > created_at", name=op.f("ck_email_requests_expires_at")),
        sa.CheckConstraint("names IN (0, 1)", name=op.f("ck_email_requests_names")),
        sa.ForeignKeyConstraint(["bill"], ["bills.id"], name=op.f("fk_email_requests_bill")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_email_requests")),
        sa.UniqueConstraint("key", name=op.f("uq_email_requests_key")),
        sa.UniqueConstraint("reference", name=op.f("uq_email_requests_reference")),
    )
    op.create_index("ix_email_requests_mobile", "email_requests", ["mobile", "id"], unique=False)
    op.create_table(
        "payment_ids",
        sa.Column("bill_id", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column("bill", IDENTITY, nullable=False),
        sa.ForeignKeyConstraint(["bill"], ["bills.id"], name=op.f("fk_payment_ids_bill")),
        sa.PrimaryKeyConstraint("bill_id", "payment_id", "bill", name=op.f("pk_payment_ids")),
    )
    op.create_table(
        "payments",
        sa.Column("id", IDENTITY, nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("bill_id", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("paid_at", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), server_default="received", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("bill", IDENTITY, nullable=True),
        sa.Column("applied", sa.BigInteger(), nullable=True),
        sa.Column("posted_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(status = 'received' AND posted_at IS NULL)"
            " OR (status = 'parked' AND posted_at IS NULL AND reason IS NOT NULL)"
            " OR (status = 'posted' AND posted_at IS NOT NULL AND bill IS NOT NULL"
            " AND applied IS NOT NULL)",
            name=op.f("ck_payments_status"),
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_payments_amount")),
        sa.CheckConstraint("applied >= 0 AND applied <= amount", name=op.f("ck_payments_applied")),
        sa.ForeignKeyConstraint(["bill"], ["bills.id"], name=op.f("fk_payments_bill")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payments")),
        sa.UniqueConstraint("reference", name=op.f("uq_payments_reference")),
    )
    op.create_index(
        "ix_payments_parked",
        "payments",
        ["id"],
        unique=False,
        sqlite_where=sa.text("status = 'parked'"),
        postgresql_where=sa.text("status = 'parked'"),
    )
    op.create_index("ix_payments_received_at", "payments", ["received_at"], unique=False)

    for statement in _IMMUTABLE[op.get_context().dialect.name]:
        op.execute(statement)


_IMMUTABLE = {
    "sqlite": [
        "CREATE TRIGGER postings_no_update BEFORE UPDATE ON postings"
        " BEGIN SELECT RAISE(ABORT, 'postings are immutable'); END",
        "CREATE TRIGGER postings_no_delete BEFORE DELETE ON postings"
        " BEGIN SELECT RAISE(ABORT, 'postings are immutable'); END",
        "CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries"
        " BEGIN SELECT RAISE(ABORT, 'entries are immutable'); END",
        "CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries"
        " BEGIN SELECT RAISE(ABORT, 'entries are immutable'); END",
    ],
    "postgresql": [
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION '% are immutable', TG_TABLE_NAME"
        " USING ERRCODE = 'integrity_constraint_violation'; END $$",
        "CREATE TRIGGER postings_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON postings"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
        "CREATE TRIGGER entries_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON entries"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
    ],
}
