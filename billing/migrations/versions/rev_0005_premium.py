"""Premium-rate lines: services, consents, credit, charges, settlement."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of premium-rate lines; bills may hold their charges."""
    # SQLite rebuilds the table from what is written here.
    with op.batch_alter_table("bill_lines", copy_from=_BILL_LINES) as batch:
        batch.drop_constraint(op.f("ck_bill_lines_kind"), type_="check")
        batch.create_check_constraint(
            op.f("ck_bill_lines_kind"), "kind IN ('charges', 'carried', 'premium')"
        )
    op.create_table(
        "guard_alerts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("blocked_until", sa.BigInteger(), nullable=True),
        sa.Column("seen_at", sa.BigInteger(), nullable=True),
        sa.Column("seen_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(seen_at IS NULL) = (seen_by IS NULL)", name=op.f("ck_guard_alerts_seen")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_guard_alerts")),
        sa.UniqueConstraint("key", name=op.f("uq_guard_alerts_key")),
    )
    op.create_index(
        "ix_guard_alerts_subject", "guard_alerts", ["subject", "blocked_until"], unique=False
    )
    op.create_table(
        "providers",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.CheckConstraint("status IN ('active', 'suspended')", name=op.f("ck_providers_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_providers")),
        sa.UniqueConstraint("code", name=op.f("uq_providers_code")),
    )
    op.create_table(
        "consent_chains",
        sa.Column("line", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("head", sa.Text(), nullable=False),
        sa.CheckConstraint("length > 0", name=op.f("ck_consent_chains_length")),
        sa.ForeignKeyConstraint(["line"], ["lines.id"], name=op.f("fk_consent_chains_line")),
        sa.PrimaryKeyConstraint("line", name=op.f("pk_consent_chains")),
    )
    op.create_table(
        "credit_limits",
        sa.Column("line", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("granted_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_credit_limits_amount")),
        sa.ForeignKeyConstraint(["line"], ["lines.id"], name=op.f("fk_credit_limits_line")),
        sa.PrimaryKeyConstraint("line", name=op.f("pk_credit_limits")),
    )
    op.create_table(
        "credit_requests",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("asked", sa.BigInteger(), nullable=False),
        sa.Column("granted", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "via IN ('phone', 'sms', 'operations')", name=op.f("ck_credit_requests_via")
        ),
        sa.CheckConstraint("asked >= 0", name=op.f("ck_credit_requests_asked")),
        sa.CheckConstraint(
            "granted >= 0 AND granted <= asked", name=op.f("ck_credit_requests_granted")
        ),
        sa.ForeignKeyConstraint(["line"], ["lines.id"], name=op.f("fk_credit_requests_line")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_requests")),
        sa.UniqueConstraint("key", name=op.f("uq_credit_requests_key")),
    )
    op.create_index("ix_credit_requests_line", "credit_requests", ["line", "id"], unique=False)
    op.create_table(
        "owner_codes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("code_hash", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("status", sa.Text(), server_default="open", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "purpose IN ('call', 'pin', 'owner')", name=op.f("ck_owner_codes_purpose")
        ),
        sa.CheckConstraint(
            "status IN ('open', 'used', 'failed')", name=op.f("ck_owner_codes_status")
        ),
        sa.CheckConstraint("expires_at > created_at", name=op.f("ck_owner_codes_expires_at")),
        sa.CheckConstraint("tries BETWEEN 0 AND 5", name=op.f("ck_owner_codes_tries")),
        sa.ForeignKeyConstraint(["line"], ["lines.id"], name=op.f("fk_owner_codes_line")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_owner_codes")),
        sa.UniqueConstraint("key", name=op.f("uq_owner_codes_key")),
    )
    op.create_index("ix_owner_codes_line", "owner_codes", ["line", "created_at"], unique=False)
    op.create_table(
        "owners",
        sa.Column("line", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("authentication", sa.Text(), server_default="none", nullable=False),
        sa.Column("pin_hash", sa.Text(), nullable=True),
        sa.Column("pin_set_at", sa.BigInteger(), nullable=True),
        sa.Column("pin_failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("pin_locked_until", sa.BigInteger(), nullable=True),
        sa.Column("blocked_by", sa.Text(), nullable=True),
        sa.Column("charge_sms", sa.Integer(), server_default="0", nullable=False),
        sa.Column("greeting", sa.Text(), nullable=True),
        sa.Column("birthday", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "authentication IN ('none', 'pin', 'code', 'approval')",
            name=op.f("ck_owners_authentication"),
        ),
        sa.CheckConstraint(
            "blocked_by IN ('owner', 'operator', 'both')", name=op.f("ck_owners_blocked_by")
        ),
        sa.CheckConstraint(
            "(pin_hash IS NULL) = (pin_set_at IS NULL)", name=op.f("ck_owners_pin_set_at")
        ),
        sa.CheckConstraint("charge_sms IN (0, 1)", name=op.f("ck_owners_charge_sms")),
        sa.CheckConstraint("length(birthday) = 4", name=op.f("ck_owners_birthday")),
        sa.CheckConstraint("pin_failures >= 0", name=op.f("ck_owners_pin_failures")),
        sa.ForeignKeyConstraint(["line"], ["lines.id"], name=op.f("fk_owners_line")),
        sa.PrimaryKeyConstraint("line", name=op.f("pk_owners")),
    )
    op.create_table(
        "premium_credits",
        sa.Column("line", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("ceiling", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("held", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("ceiling >= 0", name=op.f("ck_premium_credits_ceiling")),
        sa.CheckConstraint("used + held <= ceiling", name=op.f("ck_premium_credits_never_over")),
        sa.CheckConstraint("used >= 0 AND held >= 0", name=op.f("ck_premium_credits_counted")),
        sa.ForeignKeyConstraint(["line"], ["lines.id"], name=op.f("fk_premium_credits_line")),
        sa.PrimaryKeyConstraint("line", "month", name=op.f("pk_premium_credits")),
    )
    op.create_table(
        "premium_services",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("provider", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="draft", nullable=False),
        sa.Column("published", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "number LIKE '909%' OR number LIKE '7070%'", name=op.f("ck_premium_services_number")
        ),
        sa.CheckConstraint(
            "status <> 'published' OR published IS NOT NULL",
            name=op.f("ck_premium_services_published"),
        ),
        sa.CheckConstraint(
            "status IN ('draft', 'published', 'suspended', 'withdrawn')",
            name=op.f("ck_premium_services_status"),
        ),
        sa.ForeignKeyConstraint(
            ["provider"], ["providers.id"], name=op.f("fk_premium_services_provider")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_premium_services")),
        sa.UniqueConstraint("number", name=op.f("uq_premium_services_number")),
    )
    op.create_table(
        "provider_contracts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("provider", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("share_bp", sa.Integer(), nullable=False),
        sa.Column("levies", sa.Text(), server_default="[]", nullable=False),
        sa.Column("deductions", sa.Text(), server_default="[]", nullable=False),
        sa.Column("least_payout", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("kind IN ('a', 'b')", name=op.f("ck_provider_contracts_kind")),
        sa.CheckConstraint("least_payout >= 0", name=op.f("ck_provider_contracts_least_payout")),
        sa.CheckConstraint(
            "share_bp BETWEEN 0 AND 10000", name=op.f("ck_provider_contracts_share_bp")
        ),
        sa.ForeignKeyConstraint(
            ["provider"], ["providers.id"], name=op.f("fk_provider_contracts_provider")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_contracts")),
        sa.UniqueConstraint(
            "provider", "valid_from", name=op.f("uq_provider_contracts_provider_valid_from")
        ),
    )
    op.create_table(
        "consents",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("service", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("tariffs", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("heard", sa.Text(), nullable=False),
        sa.Column("named_digit", sa.Text(), nullable=False),
        sa.Column("pressed_digit", sa.Text(), nullable=False),
        sa.Column("heard_at", sa.BigInteger(), nullable=False),
        sa.Column("pressed_at", sa.BigInteger(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "language IN ('fa', 'ar', 'ru', 'en')", name=op.f("ck_consents_language")
        ),
        sa.CheckConstraint("named_digit = pressed_digit", name=op.f("ck_consents_accepted")),
        sa.CheckConstraint("pressed_at >= heard_at", name=op.f("ck_consents_pressed_at")),
        sa.ForeignKeyConstraint(["line"], ["lines.id"], name=op.f("fk_consents_line")),
        sa.ForeignKeyConstraint(
            ["service"], ["premium_services.id"], name=op.f("fk_consents_service")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consents")),
        sa.UniqueConstraint("call_id", name=op.f("uq_consents_call_id")),
        sa.UniqueConstraint("hash", name=op.f("uq_consents_hash")),
        sa.UniqueConstraint("line", "place", name=op.f("uq_consents_line_place")),
        sa.UniqueConstraint("line", "previous", name=op.f("uq_consents_line_previous")),
    )
    op.create_table(
        "consultants",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("service", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("hours", sa.Text(), server_default="[]", nullable=False),
        sa.Column("active", sa.Integer(), server_default="1", nullable=False),
        sa.Column("last_call_at", sa.BigInteger(), nullable=True),
        sa.Column("call_id", sa.Text(), nullable=True),
        sa.Column("busy_until", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(call_id IS NULL) = (busy_until IS NULL)", name=op.f("ck_consultants_busy")
        ),
        sa.CheckConstraint("active IN (0, 1)", name=op.f("ck_consultants_active")),
        sa.ForeignKeyConstraint(
            ["service"], ["premium_services.id"], name=op.f("fk_consultants_service")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consultants")),
        sa.UniqueConstraint("service", "code", name=op.f("uq_consultants_service_code")),
    )
    op.create_table(
        "owner_approvals",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("line", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("service", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("ceiling", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("held", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("granted_at", sa.BigInteger(), nullable=False),
        sa.Column("valid_until", sa.BigInteger(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "via IN ('sms', 'link', 'call', 'phone')", name=op.f("ck_owner_approvals_via")
        ),
        sa.CheckConstraint(
            "(service IS NULL) <> (category IS NULL)", name=op.f("ck_owner_approvals_scope")
        ),
        sa.CheckConstraint("ceiling > 0", name=op.f("ck_owner_approvals_ceiling")),
        sa.CheckConstraint(
            "used >= 0 AND held >= 0 AND used + held <= ceiling",
            name=op.f("ck_owner_approvals_never_over"),
        ),
        sa.CheckConstraint("valid_until > granted_at", name=op.f("ck_owner_approvals_valid_until")),
        sa.ForeignKeyConstraint(["line"], ["lines.id"], name=op.f("fk_owner_approvals_line")),
        sa.ForeignKeyConstraint(
            ["service"], ["premium_services.id"], name=op.f("fk_owner_approvals_service")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_owner_approvals")),
    )
    op.create_index("ix_owner_approvals_line", "owner_approvals", ["line"], unique=False)
    op.create_table(
        "queue_places",
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("service", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("joined_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_until", sa.BigInteger(), nullable=False),
        sa.Column("left_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('served', 'left', 'lost')", name=op.f("ck_queue_places_outcome")
        ),
        sa.CheckConstraint(
            "(left_at IS NULL) = (outcome IS NULL)", name=op.f("ck_queue_places_left_at")
        ),
        sa.ForeignKeyConstraint(
            ["service"], ["premium_services.id"], name=op.f("fk_queue_places_service")
        ),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_queue_places")),
    )
    op.create_index(
        "ix_queue_places_waiting",
        "queue_places",
        ["service", "joined_at"],
        unique=False,
        sqlite_where=sa.text("left_at IS NULL"),
        postgresql_where=sa.text("left_at IS NULL"),
    )
    op.create_table(
        "service_versions",
        sa.Column("service", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("submitted_at", sa.BigInteger(), nullable=False),
        sa.Column("submitted_by", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), server_default="pending", nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(decision = 'pending') = (decided_at IS NULL)"
            " AND (decided_at IS NULL) = (decided_by IS NULL)",
            name=op.f("ck_service_versions_decided"),
        ),
        sa.CheckConstraint(
            "decision <> 'refused' OR reason IS NOT NULL", name=op.f("ck_service_versions_reason")
        ),
        sa.CheckConstraint(
            "decision IN ('pending', 'approved', 'refused')",
            name=op.f("ck_service_versions_decision"),
        ),
        sa.CheckConstraint("version > 0", name=op.f("ck_service_versions_version")),
        sa.ForeignKeyConstraint(
            ["service"], ["premium_services.id"], name=op.f("fk_service_versions_service")
        ),
        sa.PrimaryKeyConstraint("service", "version", name=op.f("pk_service_versions")),
    )
    op.create_table(
        "settlements",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("provider", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("period", sa.Integer(), nullable=False),
        sa.Column("contract", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("gross", sa.BigInteger(), nullable=False),
        sa.Column("not_collected", sa.BigInteger(), nullable=False),
        sa.Column("held_back", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("collected", sa.BigInteger(), nullable=False),
        sa.Column("share", sa.BigInteger(), nullable=False),
        sa.Column("carried_in", sa.BigInteger(), nullable=False),
        sa.Column("withheld", sa.BigInteger(), nullable=False),
        sa.Column("deductions", sa.Text(), nullable=False),
        sa.Column("carried_out", sa.BigInteger(), nullable=False),
        sa.Column("payable", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("invoice", sa.Text(), nullable=True),
        sa.Column("settled_at", sa.BigInteger(), nullable=False),
        sa.Column("transfer", sa.Text(), nullable=True),
        sa.Column("paid_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(status = 'paid') = (paid_at IS NOT NULL)", name=op.f("ck_settlements_paid_at")
        ),
        sa.CheckConstraint(
            "status IN ('awaiting_invoice', 'payable', 'carried', 'paid')",
            name=op.f("ck_settlements_status"),
        ),
        sa.CheckConstraint(
            "(transfer IS NULL) = (paid_at IS NULL)", name=op.f("ck_settlements_transfer")
        ),
        sa.CheckConstraint("payable >= 0 AND withheld >= 0", name=op.f("ck_settlements_payable")),
        sa.CheckConstraint(
            "share + carried_in = withheld + carried_out + payable",
            name=op.f("ck_settlements_adds_up"),
        ),
        sa.ForeignKeyConstraint(
            ["contract"], ["provider_contracts.id"], name=op.f("fk_settlements_contract")
        ),
        sa.ForeignKeyConstraint(
            ["provider"], ["providers.id"], name=op.f("fk_settlements_provider")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlements")),
        sa.UniqueConstraint("provider", "period", name=op.f("uq_settlements_provider_period")),
    )
    op.create_table(
        "tariffs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("service", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("minimum_s", sa.Integer(), nullable=False),
        sa.Column("increment_s", sa.Integer(), nullable=False),
        sa.Column("bands", sa.Text(), server_default="[]", nullable=False),
        sa.Column("approved_at", sa.BigInteger(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=False),
        sa.CheckConstraint("model IN ('per_minute', 'per_call')", name=op.f("ck_tariffs_model")),
        sa.CheckConstraint("increment_s BETWEEN 1 AND 3600", name=op.f("ck_tariffs_increment_s")),
        sa.CheckConstraint("minimum_s >= 0", name=op.f("ck_tariffs_minimum_s")),
        sa.CheckConstraint("price > 0", name=op.f("ck_tariffs_price")),
        sa.ForeignKeyConstraint(
            ["service"], ["premium_services.id"], name=op.f("fk_tariffs_service")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tariffs")),
        sa.UniqueConstraint("service", "valid_from", name=op.f("uq_tariffs_service_valid_from")),
    )
    op.create_table(
        "tree_answers",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("service", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('poll', 'order', 'recording')", name=op.f("ck_tree_answers_kind")
        ),
        sa.ForeignKeyConstraint(["line"], ["lines.id"], name=op.f("fk_tree_answers_line")),
        sa.ForeignKeyConstraint(
            ["service"], ["premium_services.id"], name=op.f("fk_tree_answers_service")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tree_answers")),
        sa.UniqueConstraint("key", name=op.f("uq_tree_answers_key")),
    )
    op.create_index("ix_tree_answers_service", "tree_answers", ["service", "node"], unique=False)
    op.create_table(
        "approval_requests",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("service", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("mobile", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="open", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.Column("via", sa.Text(), nullable=True),
        sa.Column("approval", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("call_at", sa.BigInteger(), nullable=True),
        sa.Column("owner_call_id", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(status = 'approved') = (approval IS NOT NULL)",
            name=op.f("ck_approval_requests_approval"),
        ),
        sa.CheckConstraint(
            "(status = 'open') = (decided_at IS NULL)", name=op.f("ck_approval_requests_decided_at")
        ),
        sa.CheckConstraint(
            "status IN ('open', 'approved', 'refused', 'expired')",
            name=op.f("ck_approval_requests_status"),
        ),
        sa.CheckConstraint(
            "via IN ('sms', 'link', 'call', 'phone')", name=op.f("ck_approval_requests_via")
        ),
        sa.CheckConstraint("expires_at > created_at", name=op.f("ck_approval_requests_expires_at")),
        sa.CheckConstraint("tries BETWEEN 0 AND 5", name=op.f("ck_approval_requests_tries")),
        sa.ForeignKeyConstraint(
            ["approval"], ["owner_approvals.id"], name=op.f("fk_approval_requests_approval")
        ),
        sa.ForeignKeyConstraint(["line"], ["lines.id"], name=op.f("fk_approval_requests_line")),
        sa.ForeignKeyConstraint(
            ["service"], ["premium_services.id"], name=op.f("fk_approval_requests_service")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval_requests")),
        sa.UniqueConstraint("key", name=op.f("uq_approval_requests_key")),
        sa.UniqueConstraint("reference", name=op.f("uq_approval_requests_reference")),
    )
    op.create_index(
        "ix_approval_requests_call_at",
        "approval_requests",
        ["call_at"],
        unique=False,
        sqlite_where=sa.text("status = 'open' AND owner_call_id IS NULL"),
        postgresql_where=sa.text("status = 'open' AND owner_call_id IS NULL"),
    )
    op.create_index(
        "ix_approval_requests_line", "approval_requests", ["line", "service"], unique=False
    )
    op.create_index(
        "ix_approval_requests_mobile", "approval_requests", ["mobile", "id"], unique=False
    )
    op.create_index(
        "uq_approval_requests_open",
        "approval_requests",
        ["mobile", "number"],
        unique=True,
        sqlite_where=sa.text("status = 'open'"),
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_table(
        "bill_services",
        sa.Column("bill", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("service", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount > 0", name=op.f("ck_bill_services_amount")),
        sa.CheckConstraint("calls > 0", name=op.f("ck_bill_services_calls")),
        sa.ForeignKeyConstraint(["bill"], ["bills.id"], name=op.f("fk_bill_services_bill")),
        sa.ForeignKeyConstraint(
            ["service"], ["premium_services.id"], name=op.f("fk_bill_services_service")
        ),
        sa.PrimaryKeyConstraint("bill", "service", name=op.f("pk_bill_services")),
    )
    op.create_table(
        "premium_calls",
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("service", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("consent", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("begun_at", sa.BigInteger(), nullable=False),
        sa.Column("connected_at", sa.BigInteger(), nullable=True),
        sa.Column("seen_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("seconds", sa.Integer(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("cdr_seconds", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(status = 'begun') = (connected_at IS NULL AND ended_at IS NULL)",
            name=op.f("ck_premium_calls_begun"),
        ),
        sa.CheckConstraint(
            "status <> 'charged' OR (connected_at IS NOT NULL AND ended_at IS NOT NULL"
            " AND seconds IS NOT NULL AND amount > 0)",
            name=op.f("ck_premium_calls_charged"),
        ),
        sa.CheckConstraint(
            "status <> 'connected' OR (connected_at IS NOT NULL AND seen_at IS NOT NULL"
            " AND ended_at IS NULL)",
            name=op.f("ck_premium_calls_connected"),
        ),
        sa.CheckConstraint(
            "status IN ('begun', 'connected', 'charged', 'free', 'parked')",
            name=op.f("ck_premium_calls_status"),
        ),
        sa.CheckConstraint(
            "status NOT IN ('free', 'parked') OR reason IS NOT NULL",
            name=op.f("ck_premium_calls_reason"),
        ),
        sa.CheckConstraint("ended_at >= connected_at", name=op.f("ck_premium_calls_ended_at")),
        sa.ForeignKeyConstraint(
            ["consent"], ["consents.id"], name=op.f("fk_premium_calls_consent")
        ),
        sa.ForeignKeyConstraint(["line"], ["lines.id"], name=op.f("fk_premium_calls_line")),
        sa.ForeignKeyConstraint(
            ["service"], ["premium_services.id"], name=op.f("fk_premium_calls_service")
        ),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_premium_calls")),
        sa.UniqueConstraint("consent", name=op.f("uq_premium_calls_consent")),
    )
    op.create_index("ix_premium_calls_begun", "premium_calls", ["begun_at"], unique=False)
    op.create_index("ix_premium_calls_line", "premium_calls", ["line", "begun_at"], unique=False)
    op.create_index(
        "ix_premium_calls_live",
        "premium_calls",
        ["seen_at"],
        unique=False,
        sqlite_where=sa.text("status IN ('begun', 'connected')"),
        postgresql_where=sa.text("status IN ('begun', 'connected')"),
    )
    op.create_index(
        "ix_premium_calls_service", "premium_calls", ["service", "begun_at"], unique=False
    )
    op.create_table(
        "reservations",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("approval", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("committed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("status", sa.Text(), server_default="open", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("resolved_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(status = 'open') = (resolved_at IS NULL)", name=op.f("ck_reservations_resolved_at")
        ),
        sa.CheckConstraint(
            "status = 'committed' OR committed = 0", name=op.f("ck_reservations_only_committed")
        ),
        sa.CheckConstraint(
            "status IN ('open', 'committed', 'released', 'expired')",
            name=op.f("ck_reservations_status"),
        ),
        sa.CheckConstraint(
            "committed >= 0 AND committed <= held", name=op.f("ck_reservations_committed")
        ),
        sa.CheckConstraint("held > 0", name=op.f("ck_reservations_held")),
        sa.ForeignKeyConstraint(
            ["approval"], ["owner_approvals.id"], name=op.f("fk_reservations_approval")
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_reservations")),
    )
    op.create_index(
        "ix_reservations_open",
        "reservations",
        ["expires_at"],
        unique=False,
        sqlite_where=sa.text("status = 'open'"),
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_table(
        "charges",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("service", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("provider", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("contract", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("consent", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("connected_at", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("segments", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("provider_part", sa.BigInteger(), nullable=False),
        sa.Column("operator_part", sa.BigInteger(), nullable=False),
        sa.Column("levies_part", sa.BigInteger(), nullable=False),
        sa.Column("levies", sa.Text(), server_default="[]", nullable=False),
        sa.Column("status", sa.Text(), server_default="posted", nullable=False),
        sa.Column("posted_at", sa.BigInteger(), nullable=False),
        sa.Column("collected", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("unbilled", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bill", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.CheckConstraint(
            "status IN ('posted', 'disputed', 'reversed')", name=op.f("ck_charges_status")
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_charges_amount")),
        sa.CheckConstraint(
            "collected >= 0 AND collected <= amount", name=op.f("ck_charges_collected")
        ),
        sa.CheckConstraint(
            "provider_part >= 0 AND operator_part >= 0 AND levies_part >= 0"
            " AND provider_part + operator_part + levies_part = amount",
            name=op.f("ck_charges_no_lost_rial"),
        ),
        sa.CheckConstraint(
            "unbilled >= 0 AND collected + unbilled <= amount", name=op.f("ck_charges_unbilled")
        ),
        sa.ForeignKeyConstraint(["bill"], ["bills.id"], name=op.f("fk_charges_bill")),
        sa.ForeignKeyConstraint(
            ["call_id"], ["premium_calls.call_id"], name=op.f("fk_charges_call_id")
        ),
        sa.ForeignKeyConstraint(["consent"], ["consents.id"], name=op.f("fk_charges_consent")),
        sa.ForeignKeyConstraint(
            ["contract"], ["provider_contracts.id"], name=op.f("fk_charges_contract")
        ),
        sa.ForeignKeyConstraint(["line"], ["lines.id"], name=op.f("fk_charges_line")),
        sa.ForeignKeyConstraint(["provider"], ["providers.id"], name=op.f("fk_charges_provider")),
        sa.ForeignKeyConstraint(
            ["service"], ["premium_services.id"], name=op.f("fk_charges_service")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_charges")),
        sa.UniqueConstraint("call_id", name=op.f("uq_charges_call_id")),
        sa.UniqueConstraint("consent", name=op.f("uq_charges_consent")),
    )
    op.create_index("ix_charges_line", "charges", ["line", "connected_at"], unique=False)
    op.create_index("ix_charges_provider", "charges", ["provider", "connected_at"], unique=False)
    op.create_index(
        "ix_charges_unbilled",
        "charges",
        ["line"],
        unique=False,
        sqlite_where=sa.text("unbilled > 0"),
        postgresql_where=sa.text("unbilled > 0"),
    )
    op.create_table(
        "bill_charges",
        sa.Column("bill", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("charge", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("collected", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("carried", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("withdrawn", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("kind IN ('premium', 'carried')", name=op.f("ck_bill_charges_kind")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_bill_charges_amount")),
        sa.CheckConstraint(
            "collected >= 0 AND carried >= 0 AND withdrawn >= 0"
            " AND collected + carried + withdrawn <= amount",
            name=op.f("ck_bill_charges_not_more"),
        ),
        sa.ForeignKeyConstraint(["bill"], ["bills.id"], name=op.f("fk_bill_charges_bill")),
        sa.ForeignKeyConstraint(["charge"], ["charges.id"], name=op.f("fk_bill_charges_charge")),
        sa.PrimaryKeyConstraint("bill", "charge", "kind", name=op.f("pk_bill_charges")),
    )
    op.create_index("ix_bill_charges_charge", "bill_charges", ["charge"], unique=False)
    op.create_table(
        "collections",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("charge", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("bill", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("provider_part", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('payment', 'reversal')", name=op.f("ck_collections_kind")),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_collections_amount")),
        sa.ForeignKeyConstraint(["bill"], ["bills.id"], name=op.f("fk_collections_bill")),
        sa.ForeignKeyConstraint(["charge"], ["charges.id"], name=op.f("fk_collections_charge")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collections")),
    )
    op.create_index("ix_collections_at", "collections", ["at"], unique=False)
    op.create_index("ix_collections_charge", "collections", ["charge"], unique=False)
    op.create_table(
        "complaints",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("charge", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("recording", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default="open", nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(status = 'open') = (decided_at IS NULL)", name=op.f("ck_complaints_decided_at")
        ),
        sa.CheckConstraint(
            "status = 'open' OR (decided_by IS NOT NULL AND reason IS NOT NULL)",
            name=op.f("ck_complaints_decided_by"),
        ),
        sa.CheckConstraint(
            "status IN ('open', 'accepted', 'rejected')", name=op.f("ck_complaints_status")
        ),
        sa.ForeignKeyConstraint(["charge"], ["charges.id"], name=op.f("fk_complaints_charge")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_complaints")),
        sa.UniqueConstraint("key", name=op.f("uq_complaints_key")),
    )
    op.create_index(
        "uq_complaints_open",
        "complaints",
        ["charge"],
        unique=True,
        sqlite_where=sa.text("status <> 'rejected'"),
        postgresql_where=sa.text("status <> 'rejected'"),
    )
    op.create_table(
        "settlement_lines",
        sa.Column(
            "collection", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "settlement", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["collection"], ["collections.id"], name=op.f("fk_settlement_lines_collection")
        ),
        sa.ForeignKeyConstraint(
            ["settlement"], ["settlements.id"], name=op.f("fk_settlement_lines_settlement")
        ),
        sa.PrimaryKeyConstraint("collection", name=op.f("pk_settlement_lines")),
    )
    op.create_index(
        "ix_settlement_lines_settlement", "settlement_lines", ["settlement"], unique=False
    )

    for table in _IMMUTABLE:
        for statement in _REFUSE[op.get_context().dialect.name]:
            op.execute(statement.format(table=table))


_BILL_LINES = sa.Table(
    "bill_lines",
    sa.MetaData(),
    sa.Column("bill", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
    sa.Column("kind", sa.Text(), nullable=False),
    sa.Column("amount", sa.BigInteger(), nullable=False),
    sa.CheckConstraint("kind IN ('charges', 'carried')", name="ck_bill_lines_kind"),
    sa.CheckConstraint("amount > 0", name="ck_bill_lines_amount"),
    sa.ForeignKeyConstraint(["bill"], ["bills.id"], name="fk_bill_lines_bill"),
    sa.PrimaryKeyConstraint("bill", "kind", name="pk_bill_lines"),
)
_IMMUTABLE = (
    "provider_contracts",
    "tariffs",
    "credit_requests",
    "consents",
    "bill_services",
    "collections",
    "settlement_lines",
)
_REFUSE = {
    "sqlite": [
        "CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table}"
        " BEGIN SELECT RAISE(ABORT, '{table} are immutable'); END",
        "CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}"
        " BEGIN SELECT RAISE(ABORT, '{table} are immutable'); END",
    ],
    "postgresql": [
        "CREATE TRIGGER {table}_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
    ],
}
