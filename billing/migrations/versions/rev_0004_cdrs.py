"""What the switches say: call records (CDRs)."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of call records."""
    op.create_table(
        "cdrs",
        sa.Column("core_uuid", sa.Text(), nullable=False),
        sa.Column("uuid", sa.Text(), nullable=False),
        sa.Column("leg", sa.Text(), nullable=False),
        sa.Column("switch", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=True),
        sa.Column("dialled", sa.Text(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.Column("billsec", sa.BigInteger(), nullable=False),
        sa.Column("hangup_cause", sa.Text(), nullable=False),
        sa.Column("hung_up_by", sa.Text(), nullable=True),
        sa.Column("flow", sa.Text(), nullable=True),
        sa.Column("offered", sa.Integer(), nullable=False),
        sa.Column("handovers", sa.Text(), server_default="", nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=True),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("billsec >= 0", name=op.f("ck_cdrs_billsec")),
        sa.CheckConstraint("direction IN ('inbound', 'outbound')", name=op.f("ck_cdrs_direction")),
        sa.CheckConstraint("hung_up_by IN ('switch', 'far end')", name=op.f("ck_cdrs_hung_up_by")),
        sa.CheckConstraint("leg IN ('a', 'b')", name=op.f("ck_cdrs_leg")),
        sa.CheckConstraint("offered IN (0, 1)", name=op.f("ck_cdrs_offered")),
        sa.PrimaryKeyConstraint("core_uuid", "uuid", "leg", name=op.f("pk_cdrs")),
    )
    op.create_index("ix_cdrs_started_at", "cdrs", ["started_at"], unique=False)
    op.create_index("ix_cdrs_uuid", "cdrs", ["uuid"], unique=False)
    op.create_index(
        "ix_cdrs_whole",
        "cdrs",
        ["received_at"],
        unique=False,
        sqlite_where=sa.text("raw IS NOT NULL"),
        postgresql_where=sa.text("raw IS NOT NULL"),
    )
