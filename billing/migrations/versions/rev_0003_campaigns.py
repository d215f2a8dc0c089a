"""Campaigns: the lines to call, every call made, the pace, and the do-not-call lists."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# SQLite counts up row ids by itself only for INTEGER.
IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables of campaigns."""
    op.create_table(
        "campaigns",
        sa.Column("id", IDENTITY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("due_until", sa.Date(), nullable=False),
        sa.Column("least", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "status IN ('planned', 'running', 'paused', 'stopped', 'finished')",
            name=op.f("ck_campaigns_status"),
        ),
        sa.CheckConstraint(
            "(status IN ('stopped', 'finished')) = (ended_at IS NOT NULL)",
            name=op.f("ck_campaigns_ended_at"),
        ),
        sa.CheckConstraint("least > 0", name=op.f("ck_campaigns_least")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaigns")),
        sa.UniqueConstraint("name", name=op.f("uq_campaigns_name")),
    )
    op.create_table(
        "do_not_call",
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("list", sa.Text(), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "number LIKE '+%' AND length(number) <= 16", name=op.f("ck_do_not_call_number")
        ),
        sa.PrimaryKeyConstraint("number", "list", name=op.f("pk_do_not_call")),
    )
    op.create_table(
        "campaign_pace",
        sa.Column("campaign", IDENTITY, nullable=False),
        sa.Column("switch", sa.Text(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign"], ["campaigns.id"], name=op.f("fk_campaign_pace_campaign")
        ),
        sa.PrimaryKeyConstraint("campaign", "switch", name=op.f("pk_campaign_pace")),
    )
    op.create_table(
        "campaign_targets",
        sa.Column("id", IDENTITY, nullable=False),
        sa.Column("campaign", IDENTITY, nullable=False),
        sa.Column("line", IDENTITY, nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("calls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.Column("paid_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "status IN ('waiting', 'dialling', 'reached', 'not_reached', 'paid', 'do_not_call')",
            name=op.f("ck_campaign_targets_status"),
        ),
        sa.CheckConstraint("calls >= 0", name=op.f("ck_campaign_targets_calls")),
        sa.CheckConstraint(
            "(status IN ('waiting', 'dialling')) = (settled_at IS NULL)",
            name=op.f("ck_campaign_targets_settled_at"),
        ),
        sa.ForeignKeyConstraint(
            ["campaign"], ["campaigns.id"], name=op.f("fk_campaign_targets_campaign")
        ),
        sa.ForeignKeyConstraint(["line"], ["lines.id"], name=op.f("fk_campaign_targets_line")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaign_targets")),
        sa.UniqueConstraint("campaign", "line", name=op.f("uq_campaign_targets_campaign_line")),
    )
    op.create_index(
        "ix_campaign_targets_waiting",
        "campaign_targets",
        ["campaign", "due_at", "id"],
        unique=False,
        sqlite_where=sa.text("status = 'waiting'"),
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_index("ix_campaign_targets_line", "campaign_targets", ["line"], unique=False)
    op.create_table(
        "campaign_calls",
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("campaign", IDENTITY, nullable=False),
        sa.Column("target", IDENTITY, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("switch", sa.Text(), nullable=False),
        sa.Column("dialer", sa.Text(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.Column("said", sa.Text(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "said IN ('heard', 'machine', 'paid', 'opted_out')",
            name=op.f("ck_campaign_calls_said"),
        ),
        sa.CheckConstraint(
            "said IS NULL OR answered_at IS NOT NULL", name=op.f("ck_campaign_calls_answered_at")
        ),
        sa.CheckConstraint(
            "(result IS NULL) = (ended_at IS NULL)", name=op.f("ck_campaign_calls_result")
        ),
        sa.ForeignKeyConstraint(
            ["campaign"], ["campaigns.id"], name=op.f("fk_campaign_calls_campaign")
        ),
        sa.ForeignKeyConstraint(
            ["target"], ["campaign_targets.id"], name=op.f("fk_campaign_calls_target")
        ),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_campaign_calls")),
        sa.UniqueConstraint("target", "seq", name=op.f("uq_campaign_calls_target_seq")),
    )
    op.create_index(
        "uq_campaign_calls_live",
        "campaign_calls",
        ["target"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "ix_campaign_calls_live",
        "campaign_calls",
        ["campaign", "switch"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index("ix_campaign_calls_campaign", "campaign_calls", ["campaign"], unique=False)
