"""Calls that found no worker."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# SQLite counts up row ids by itself only for INTEGER.
IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table of missed calls."""
    op.create_table(
        "missed_calls",
        sa.Column("id", IDENTITY, nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("missed_at", sa.BigInteger(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=True),
        sa.Column("dialled", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "caller LIKE '+%' AND length(caller) <= 16", name=op.f("ck_missed_calls_caller")
        ),
        sa.CheckConstraint(
            "language IN ('fa', 'ar', 'ru', 'en')", name=op.f("ck_missed_calls_language")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_missed_calls")),
        sa.UniqueConstraint("call_id", name=op.f("uq_missed_calls_call_id")),
    )
    op.create_index(
        "ix_missed_calls_open",
        "missed_calls",
        ["caller", "missed_at"],
        sqlite_where=sa.text("done_at IS NULL"),
        postgresql_where=sa.text("done_at IS NULL"),
    )
