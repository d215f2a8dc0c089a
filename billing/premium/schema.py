"""The tables of premium-rate lines, and the constraints for what must never happen.

As in `billing.schema`: money is integer rials, a moment is an `Instant`. JSON columns hold what is
read as a whole and never searched. Rows of the tables in `IMMUTABLE` are evidence: a correction is
a new row.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from billing.schema import Identity, Instant, make_immutable, metadata

# -- what is offered: providers, contracts, services, tariffs (D1-D3, D5, D15) --------------------

providers = Table(
    "providers",
    metadata,
    Column("id", Identity, primary_key=True),
    # Short name for commands and accounts: lower case letters, digits, hyphens.
    Column("code", Text, nullable=False, unique=True),
    Column("title", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="active"),
    CheckConstraint("status IN ('active', 'suspended')", name="status"),
)
"""Content providers."""

provider_contracts = Table(
    "provider_contracts",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("provider", ForeignKey("providers.id"), nullable=False),
    Column("valid_from", Instant, nullable=False),
    # D13: 'a' has its own platform and sends an invoice; 'b' is computed and paid by the region.
    Column("kind", Text, nullable=False),
    # Of each charge, in hundredths of a per cent: 8000 is 80 %.
    Column("share_bp", Integer, nullable=False),
    # What is taken of each charge for others before the rest is the operator's:
    # [{"code": ..., "bp": ...}].
    Column("levies", Text, nullable=False, server_default="[]"),
    # What is withheld of the provider's collected share, in order, each of what the one before
    # has left: [{"code": ..., "bp": ...}].
    Column("deductions", Text, nullable=False, server_default="[]"),
    # Less than this is carried forward to the next period, rials.
    Column("least_payout", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("provider", "valid_from"),
    CheckConstraint("kind IN ('a', 'b')", name="kind"),
    CheckConstraint("share_bp BETWEEN 0 AND 10000", name="share_bp"),
    CheckConstraint("least_payout >= 0", name="least_payout"),
)
"""By which terms a provider earns, from when on; immutable, new terms are a new row."""

premium_services = Table(
    "premium_services",
    metadata,
    Column("id", Identity, primary_key=True),
    # As dialled, without a prefix: starts with 909 or 7070 (D1).
    Column("number", Text, nullable=False, unique=True),
    Column("provider", ForeignKey("providers.id"), nullable=False),
    Column("category", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="draft"),
    # The version that callers get; set by an approval only.
    Column("published", Integer),
    CheckConstraint("number LIKE '909%' OR number LIKE '7070%'", name="number"),
    CheckConstraint("status IN ('draft', 'published', 'suspended', 'withdrawn')", name="status"),
    CheckConstraint("status <> 'published' OR published IS NOT NULL", name="published"),
)
"""Premium-rate services, one per number."""

service_versions = Table(
    "service_versions",
    metadata,
    Column("service", ForeignKey("premium_services.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    # The whole definition (names, regions, hours, content with its tree), as JSON.
    Column("definition", Text, nullable=False),
    # SHA-256 of the definition.
    Column("digest", Text, nullable=False),
    Column("submitted_at", Instant, nullable=False),
    Column("submitted_by", Text, nullable=False),
    Column("decision", Text, nullable=False, server_default="pending"),
    Column("decided_at", Instant),
    Column("decided_by", Text),
    Column("reason", Text),
    CheckConstraint("version > 0", name="version"),
    CheckConstraint("decision IN ('pending', 'approved', 'refused')", name="decision"),
    CheckConstraint(
        "(decision = 'pending') = (decided_at IS NULL)"
        " AND (decided_at IS NULL) = (decided_by IS NULL)",
        name="decided",
    ),
    CheckConstraint("decision <> 'refused' OR reason IS NOT NULL", name="reason"),
)
"""What a provider has handed in, and the operator's decision (D15)."""

tariffs = Table(
    "tariffs",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("service", ForeignKey("premium_services.id"), nullable=False),
    Column("valid_from", Instant, nullable=False),
    Column("model", Text, nullable=False),
    # Rials for a call, or for a minute outside of all bands.
    Column("price", BigInteger, nullable=False),
    Column("minimum_s", Integer, nullable=False),
    Column("increment_s", Integer, nullable=False),
    # Peak and off-peak: [{"days": [0..6, Monday is 0], "from": "08:00", "to": "20:00",
    # "price": rials}], JSON.
    Column("bands", Text, nullable=False, server_default="[]"),
    Column("approved_at", Instant, nullable=False),
    Column("approved_by", Text, nullable=False),
    UniqueConstraint("service", "valid_from"),
    CheckConstraint("model IN ('per_minute', 'per_call')", name="model"),
    CheckConstraint("price > 0", name="price"),
    CheckConstraint("minimum_s >= 0", name="minimum_s"),
    CheckConstraint("increment_s BETWEEN 1 AND 3600", name="increment_s"),
)
"""Approved tariff versions of services; one holds until the next one's `valid_from`. Immutable."""

# -- the line's owner (D8, D9, D14) ---------------------------------------------------------------

owners = Table(
    "owners",
    metadata,
    Column("line", ForeignKey("lines.id"), primary_key=True),
    # What each premium call from the line needs, whatever its service asks for.
    Column("authentication", Text, nullable=False, server_default="none"),
    # argon2id, with the parameters in it; NULL while no PIN is set.
    Column("pin_hash", Text),
    Column("pin_set_at", Instant),
    Column("pin_failures", Integer, nullable=False, server_default="0"),
    Column("pin_locked_until", Instant),
    # No premium calls from this line at all: the owner's or the operator's wish.
    Column("blocked_by", Text),
    # An SMS about each charge, to the owner's registered mobile.
    Column("charge_sms", Integer, nullable=False, server_default="0"),
    # Greeted by name: the recording that the owner made, below the recordings folder.
    Column("greeting", Text),
    # MMDD, Solar Hijri or Gregorian as the line's language has it; NULL for no congratulations.
    Column("birthday", Text),
    CheckConstraint("authentication IN ('none', 'pin', 'code', 'approval')", name="authentication"),
    CheckConstraint("pin_failures >= 0", name="pin_failures"),
    CheckConstraint("(pin_hash IS NULL) = (pin_set_at IS NULL)", name="pin_set_at"),
    CheckConstraint("blocked_by IN ('owner', 'operator', 'both')", name="blocked_by"),
    CheckConstraint("charge_sms IN (0, 1)", name="charge_sms"),
    CheckConstraint("length(birthday) = 4", name="birthday"),
)
"""What a line's owner has set for premium services; no row means all defaults."""

owner_codes = Table(
    "owner_codes",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("line", ForeignKey("lines.id"), nullable=False),
    # 'call': this call may go on; 'pin': a PIN may be set; 'owner': the owner's menu.
    Column("purpose", Text, nullable=False),
    Column("call_id", Text, nullable=False),
    # Keyed hash (HMAC); the code itself stands in the SMS only.
    Column("code_hash", Text, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("status", Text, nullable=False, server_default="open"),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    CheckConstraint("purpose IN ('call', 'pin', 'owner')", name="purpose"),
    CheckConstraint("status IN ('open', 'used', 'failed')", name="status"),
    CheckConstraint("tries BETWEEN 0 AND 5", name="tries"),
    CheckConstraint("expires_at > created_at", name="expires_at"),
    Index("ix_owner_codes_line", "line", "created_at"),
)
"""One-time codes sent to owners' registered mobiles."""

owner_approvals = Table(
    "owner_approvals",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("line", ForeignKey("lines.id"), nullable=False),
    # One service, or all of a category.
    Column("service", ForeignKey("premium_services.id")),
    Column("category", Text),
    # Rials that may be used under it in all; used and held count as in premium_credits.
    Column("ceiling", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False, server_default="0"),
    Column("held", BigInteger, nullable=False, server_default="0"),
    Column("granted_at", Instant, nullable=False),
    Column("valid_until", Instant, nullable=False),
    Column("via", Text, nullable=False),
    Column("revoked_at", Instant),
    CheckConstraint("(service IS NULL) <> (category IS NULL)", name="scope"),
    CheckConstraint("ceiling > 0", name="ceiling"),
    CheckConstraint("used >= 0 AND held >= 0 AND used + held <= ceiling", name="never_over"),
    CheckConstraint("valid_until > granted_at", name="valid_until"),
    CheckConstraint("via IN ('sms', 'link', 'call', 'phone')", name="via"),
    Index("ix_owner_approvals_line", "line"),
)
"""What owners have approved for their lines (D9)."""

approval_requests = Table(
    "approval_requests",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("line", ForeignKey("lines.id"), nullable=False),
    Column("service", ForeignKey("premium_services.id"), nullable=False),
    Column("call_id", Text, nullable=False),
    # The number that the owner's SMS has to name beside YES; drawn at random.
    Column("number", Text, nullable=False),
    Column("mobile", Text, nullable=False),
    Column("reference", Text, nullable=False, unique=True),
    Column("token_hash", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="open"),
    # Answers from this mobile that named no open request while this one was open.
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("decided_at", Instant),
    Column("via", Text),
    Column("approval", ForeignKey("owner_approvals.id")),
    # The automatic call to the owner: when it may be placed, which call it was.
    Column("call_at", Instant),
    Column("owner_call_id", Text),
    CheckConstraint("status IN ('open', 'approved', 'refused', 'expired')", name="status"),
    CheckConstraint("(status = 'open') = (decided_at IS NULL)", name="decided_at"),
    CheckConstraint("(status = 'approved') = (approval IS NOT NULL)", name="approval"),
    CheckConstraint("via IN ('sms', 'link', 'call', 'phone')", name="via"),
    CheckConstraint("expires_at > created_at", name="expires_at"),
    CheckConstraint("tries BETWEEN 0 AND 5", name="tries"),
    Index("ix_approval_requests_mobile", "mobile", "id"),
    Index("ix_approval_requests_line", "line", "service"),
    Index(
        "ix_approval_requests_call_at",
        "call_at",
        sqlite_where=text("status = 'open' AND owner_call_id IS NULL"),
        postgresql_where=text("status = 'open' AND owner_call_id IS NULL"),
    ),
    Index(
        "uq_approval_requests_open",
        "mobile",
        "number",
        unique=True,
        sqlite_where=text("status = 'open'"),
        postgresql_where=text("status = 'open'"),
    ),
)
"""Owners asked whether a service may be used from their line."""

# -- credit (D8; RFC 8506) ------------------------------------------------------------------------

credit_limits = Table(
    "credit_limits",
    metadata,
    Column("line", ForeignKey("lines.id"), primary_key=True),
    # What the owner has asked for and was granted, for each month from now on, rials.
    Column("amount", BigInteger, nullable=False),
    Column("granted_at", Instant, nullable=False),
    CheckConstraint("amount >= 0", name="amount"),
)
"""The standing monthly credit of a line; no row means the configured default."""

credit_requests = Table(
    "credit_requests",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("line", ForeignKey("lines.id"), nullable=False),
    Column("asked", BigInteger, nullable=False),
    Column("granted", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("at", Instant, nullable=False),
    CheckConstraint("asked >= 0", name="asked"),
    CheckConstraint("granted >= 0 AND granted <= asked", name="granted"),
    CheckConstraint("via IN ('phone', 'sms', 'operations')", name="via"),
    Index("ix_credit_requests_line", "line", "id"),
)
"""What was asked for and why so much was granted; immutable."""

premium_credits = Table(
    "premium_credits",
    metadata,
    Column("line", ForeignKey("lines.id"), primary_key=True),
    # Year times 100 plus month, by the operator's calendar: 140509, or 202611.
    Column("month", Integer, primary_key=True),
    Column("ceiling", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False, server_default="0"),
    Column("held", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("ceiling >= 0", name="ceiling"),
    # The database itself refuses a rial over the credit that was asked for.
    CheckConstraint("used >= 0 AND held >= 0", name="counted"),
    CheckConstraint("used + held <= ceiling", name="never_over"),
)
"""A line's credit in a month: what is committed (used), and what running calls hold.

A ceiling is never lowered below what is used and held.
"""

reservations = Table(
    "reservations",
    metadata,
    # The call's id.
    Column("key", Text, primary_key=True),
    Column("line", Integer, nullable=False),
    Column("month", Integer, nullable=False),
    Column("approval", ForeignKey("owner_approvals.id")),
    # All that was ever reserved for the call; held until resolved.
    Column("held", BigInteger, nullable=False),
    Column("committed", BigInteger, nullable=False, server_default="0"),
    Column("status", Text, nullable=False, server_default="open"),
    Column("created_at", Instant, nullable=False),
    # When it resolves itself if everybody died.
    Column("expires_at", Instant, nullable=False),
    Column("resolved_at", Instant),
    CheckConstraint("held > 0", name="held"),
    CheckConstraint("committed >= 0 AND committed <= held", name="committed"),
    CheckConstraint("status IN ('open', 'committed', 'released', 'expired')", name="status"),
    CheckConstraint("(status = 'open') = (resolved_at IS NULL)", name="resolved_at"),
    CheckConstraint("status = 'committed' OR committed = 0", name="only_committed"),
    Index(
        "ix_reservations_open",
        "expires_at",
        sqlite_where=text("status = 'open'"),
        postgresql_where=text("status = 'open'"),
    ),
)
"""Held credit: reserve, extend, commit, release, expire; resolved once (RFC 8506, TigerBeetle)."""

# -- consent and calls (D10, D11) -----------------------------------------------------------------

consent_chains = Table(
    "consent_chains",
    metadata,
    Column("line", ForeignKey("lines.id"), primary_key=True),
    Column("length", Integer, nullable=False),
    Column("head", Text, nullable=False),
    CheckConstraint("length > 0", name="length"),
)
"""The newest link of each line's chain of consents."""

consents = Table(
    "consents",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("call_id", Text, nullable=False, unique=True),
    Column("line", ForeignKey("lines.id"), nullable=False),
    # Its place in the line's chain, from 1.
    Column("place", Integer, nullable=False),
    Column("service", ForeignKey("premium_services.id"), nullable=False),
    Column("version", Integer, nullable=False),
    # The tariff versions that were announced and are accepted, with their contents: JSON.
    Column("tariffs", Text, nullable=False),
    Column("language", Text, nullable=False),
    # What the caller heard before the key: [[phrase key, language, slots]] as in the journal.
    Column("heard", Text, nullable=False),
    Column("named_digit", Text, nullable=False),
    Column("pressed_digit", Text, nullable=False),
    Column("heard_at", Instant, nullable=False),
    Column("pressed_at", Instant, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False, unique=True),
    UniqueConstraint("line", "place"),
    UniqueConstraint("line", "previous"),
    CheckConstraint("named_digit = pressed_digit", name="accepted"),
    CheckConstraint("pressed_at >= heard_at", name="pressed_at"),
    CheckConstraint("language IN ('fa', 'ar', 'ru', 'en')", name="language"),
)
"""Acceptances as evidence, hash-chained per line; immutable (D11)."""

premium_calls = Table(
    "premium_calls",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("line", ForeignKey("lines.id"), nullable=False),
    Column("service", ForeignKey("premium_services.id"), nullable=False),
    Column("consent", ForeignKey("consents.id"), nullable=False, unique=True),
    # Of the caller as the network gave it (E.164); the provider's history shows it masked.
    Column("caller", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("begun_at", Instant, nullable=False),
    # From here on it costs: the content or consultant is connected.
    Column("connected_at", Instant),
    # Last moment at which somebody knew that it was still connected.
    Column("seen_at", Instant),
    Column("ended_at", Instant),
    Column("seconds", Integer),
    Column("amount", BigInteger),
    # Connected seconds by the CDR, and why it is parked or free.
    Column("cdr_seconds", Integer),
    Column("reason", Text),
    CheckConstraint("status IN ('begun', 'connected', 'charged', 'free', 'parked')", name="status"),
    CheckConstraint(
        "(status = 'begun') = (connected_at IS NULL AND ended_at IS NULL)", name="begun"
    ),
    CheckConstraint(
        "status <> 'connected' OR (connected_at IS NOT NULL AND seen_at IS NOT NULL"
        " AND ended_at IS NULL)",
        name="connected",
    ),
    CheckConstraint(
        "status <> 'charged' OR (connected_at IS NOT NULL AND ended_at IS NOT NULL"
        " AND seconds IS NOT NULL AND amount > 0)",
        name="charged",
    ),
    CheckConstraint("status NOT IN ('free', 'parked') OR reason IS NOT NULL", name="reason"),
    CheckConstraint("ended_at >= connected_at", name="ended_at"),
    Index("ix_premium_calls_begun", "begun_at"),
    Index("ix_premium_calls_line", "line", "begun_at"),
    Index("ix_premium_calls_service", "service", "begun_at"),
    Index(
        "ix_premium_calls_live",
        "seen_at",
        sqlite_where=text("status IN ('begun', 'connected')"),
        postgresql_where=text("status IN ('begun', 'connected')"),
    ),
)
"""Accepted calls, from the acceptance to the charge."""

# -- charges, bills, settlement (D3, D4, D13) -----------------------------------------------------

charges = Table(
    "charges",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("call_id", ForeignKey("premium_calls.call_id"), nullable=False, unique=True),
    Column("line", ForeignKey("lines.id"), nullable=False),
    Column("service", ForeignKey("premium_services.id"), nullable=False),
    Column("provider", ForeignKey("providers.id"), nullable=False),
    Column("contract", ForeignKey("provider_contracts.id"), nullable=False),
    # No charge without the recorded acceptance of its tariff.
    Column("consent", ForeignKey("consents.id"), nullable=False, unique=True),
    Column("connected_at", Instant, nullable=False),
    Column("seconds", Integer, nullable=False),
    # How the amount came about: [{"tariff": id, "price": ..., "seconds": ..., "amount": ...}].
    Column("segments", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    # The three sum to the amount.
    Column("provider_part", BigInteger, nullable=False),
    Column("operator_part", BigInteger, nullable=False),
    Column("levies_part", BigInteger, nullable=False),
    # [{"code": ..., "amount": ...}]
    Column("levies", Text, nullable=False, server_default="[]"),
    Column("status", Text, nullable=False, server_default="posted"),
    Column("posted_at", Instant, nullable=False),
    # How much of it bills have collected, and how much no bill has asked for (any more), rials;
    # the rest stands on bills (bill_charges).
    Column("collected", BigInteger, nullable=False, server_default="0"),
    Column("unbilled", BigInteger, nullable=False, server_default="0"),
    # The bill in whose section it is; the latest, if a complaint had taken it off one.
    Column("bill", ForeignKey("bills.id")),
    CheckConstraint("amount > 0", name="amount"),
    CheckConstraint(
        "provider_part >= 0 AND operator_part >= 0 AND levies_part >= 0"
        " AND provider_part + operator_part + levies_part = amount",
        name="no_lost_rial",
    ),
    CheckConstraint("collected >= 0 AND collected <= amount", name="collected"),
    CheckConstraint("unbilled >= 0 AND collected + unbilled <= amount", name="unbilled"),
    CheckConstraint("status IN ('posted', 'disputed', 'reversed')", name="status"),
    Index("ix_charges_line", "line", "connected_at"),
    Index("ix_charges_provider", "provider", "connected_at"),
    Index(
        "ix_charges_unbilled",
        "line",
        sqlite_where=text("unbilled > 0"),
        postgresql_where=text("unbilled > 0"),
    ),
)
"""Charges of premium calls: caller's debit = provider + operator + levies."""

bill_charges = Table(
    "bill_charges",
    metadata,
    Column("bill", ForeignKey("bills.id"), primary_key=True),
    Column("charge", ForeignKey("charges.id"), primary_key=True),
    # 'premium': in the bill's own section; 'carried': in the remainders of earlier bills.
    Column("kind", Text, primary_key=True),
    # Rials of the charge that the bill asks for; what became of them so far: paid, carried to a
    # later bill, withdrawn because of a complaint.
    Column("amount", BigInteger, nullable=False),
    Column("collected", BigInteger, nullable=False, server_default="0"),
    Column("carried", BigInteger, nullable=False, server_default="0"),
    Column("withdrawn", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("kind IN ('premium', 'carried')", name="kind"),
    CheckConstraint("amount > 0", name="amount"),
    CheckConstraint(
        "collected >= 0 AND carried >= 0 AND withdrawn >= 0"
        " AND collected + carried + withdrawn <= amount",
        name="not_more",
    ),
    Index("ix_bill_charges_charge", "charge"),
)
"""What of which charges a bill asks for; `billing.premium.collecting` tells in which order."""

bill_services = Table(
    "bill_services",
    metadata,
    Column("bill", ForeignKey("bills.id"), primary_key=True),
    Column("service", ForeignKey("premium_services.id"), primary_key=True),
    Column("calls", Integer, nullable=False),
    Column("seconds", Integer, nullable=False),
    Column("amount", BigInteger, nullable=False),
    CheckConstraint("calls > 0", name="calls"),
    CheckConstraint("amount > 0", name="amount"),
)
"""The bill's own section per premium service (D4)."""

collections = Table(
    "collections",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("charge", ForeignKey("charges.id"), nullable=False),
    Column("bill", ForeignKey("bills.id")),
    # Negative where a collected charge was reversed; the provider's part of it likewise.
    Column("amount", BigInteger, nullable=False),
    Column("provider_part", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", Instant, nullable=False),
    CheckConstraint("kind IN ('payment', 'reversal')", name="kind"),
    CheckConstraint("amount <> 0", name="amount"),
    Index("ix_collections_charge", "charge"),
    Index("ix_collections_at", "at"),
)
"""What was collected of charges, payment by payment; immutable."""

settlements = Table(
    "settlements",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("provider", ForeignKey("providers.id"), nullable=False),
    # Year times 100 plus month, as in premium_credits.
    Column("period", Integer, nullable=False),
    Column("contract", ForeignKey("provider_contracts.id"), nullable=False),
    # All rials: what was charged in the period less what was reversed in it, what of everything
    # was not collected by its end, what is collected but held back because of open complaints,
    # what was collected and is settled here, the provider's share of that, carried in and out,
    # withheld, to pay.
    Column("gross", BigInteger, nullable=False),
    Column("not_collected", BigInteger, nullable=False),
    Column("held_back", BigInteger, nullable=False, server_default="0"),
    Column("collected", BigInteger, nullable=False),
    Column("share", BigInteger, nullable=False),
    Column("carried_in", BigInteger, nullable=False),
    Column("withheld", BigInteger, nullable=False),
    # [{"code": ..., "bp": ..., "of": rials, "amount": rials}] in order.
    Column("deductions", Text, nullable=False),
    Column("carried_out", BigInteger, nullable=False),
    Column("payable", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("invoice", Text),
    Column("settled_at", Instant, nullable=False),
    # The bank's reference of the transfer to the provider.
    Column("transfer", Text),
    Column("paid_at", Instant),
    UniqueConstraint("provider", "period"),
    CheckConstraint("(status = 'paid') = (paid_at IS NOT NULL)", name="paid_at"),
    CheckConstraint("(transfer IS NULL) = (paid_at IS NULL)", name="transfer"),
    CheckConstraint("share + carried_in = withheld + carried_out + payable", name="adds_up"),
    CheckConstraint("payable >= 0 AND withheld >= 0", name="payable"),
    CheckConstraint("status IN ('awaiting_invoice', 'payable', 'carried', 'paid')", name="status"),
)
"""Settlement statements: run twice, nothing changes (D13)."""

settlement_lines = Table(
    "settlement_lines",
    metadata,
    # A collection is settled once.
    Column("collection", ForeignKey("collections.id"), primary_key=True),
    Column("settlement", ForeignKey("settlements.id"), nullable=False),
    Index("ix_settlement_lines_settlement", "settlement"),
)
"""Which collections a statement settles; immutable."""

# -- complaints (D12) -----------------------------------------------------------------------------

complaints = Table(
    "complaints",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("charge", ForeignKey("charges.id"), nullable=False),
    Column("call_id", Text, nullable=False),
    # Below the recordings folder.
    Column("recording", Text),
    Column("status", Text, nullable=False, server_default="open"),
    Column("opened_at", Instant, nullable=False),
    Column("decided_at", Instant),
    Column("decided_by", Text),
    Column("reason", Text),
    CheckConstraint("status IN ('open', 'accepted', 'rejected')", name="status"),
    CheckConstraint("(status = 'open') = (decided_at IS NULL)", name="decided_at"),
    CheckConstraint(
        "status = 'open' OR (decided_by IS NOT NULL AND reason IS NOT NULL)", name="decided_by"
    ),
    Index(
        "uq_complaints_open",
        "charge",
        unique=True,
        sqlite_where=text("status <> 'rejected'"),
        postgresql_where=text("status <> 'rejected'"),
    ),
)
"""Charges that their callers dispute, and what a person decided."""

# -- consultants and what trees collect (D6, D14) -------------------------------------------------

consultants = Table(
    "consultants",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("service", ForeignKey("premium_services.id"), nullable=False),
    Column("code", Text, nullable=False),
    Column("number", Text, nullable=False),
    # Ring order.
    Column("place", Integer, nullable=False),
    # {"days": [...], "from": ..., "to": ...} list as JSON; [] is always.
    Column("hours", Text, nullable=False, server_default="[]"),
    Column("active", Integer, nullable=False, server_default="1"),
    Column("last_call_at", Instant),
    # The call that has or rings the consultant, until when that is believed.
    Column("call_id", Text),
    Column("busy_until", Instant),
    UniqueConstraint("service", "code"),
    CheckConstraint("active IN (0, 1)", name="active"),
    CheckConstraint("(call_id IS NULL) = (busy_until IS NULL)", name="busy"),
)
"""The provider's consultants."""

queue_places = Table(
    "queue_places",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("service", ForeignKey("premium_services.id"), nullable=False),
    Column("joined_at", Instant, nullable=False),
    # Kept fresh while the caller waits: a place that nobody refreshes is no place.
    Column("seen_until", Instant, nullable=False),
    Column("left_at", Instant),
    Column("outcome", Text),
    CheckConstraint("outcome IN ('served', 'left', 'lost')", name="outcome"),
    CheckConstraint("(left_at IS NULL) = (outcome IS NULL)", name="left_at"),
    Index(
        "ix_queue_places_waiting",
        "service",
        "joined_at",
        sqlite_where=text("left_at IS NULL"),
        postgresql_where=text("left_at IS NULL"),
    ),
)
"""Callers who wait for a consultant."""

tree_answers = Table(
    "tree_answers",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("service", ForeignKey("premium_services.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("node", Text, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("line", ForeignKey("lines.id")),
    Column("kind", Text, nullable=False),
    # A poll's choice, an order's fields, or a recording's path: JSON.
    Column("answer", Text, nullable=False),
    Column("at", Instant, nullable=False),
    CheckConstraint("kind IN ('poll', 'order', 'recording')", name="kind"),
    Index("ix_tree_answers_service", "service", "node"),
)
"""What callers left in content trees: votes, orders, messages."""

# -- fraud guards ---------------------------------------------------------------------------------

guard_alerts = Table(
    "guard_alerts",
    metadata,
    Column("id", Identity, primary_key=True),
    # Rule, subject and window: one alert each.
    Column("key", Text, nullable=False, unique=True),
    Column("rule", Text, nullable=False),
    # line:<id>, service:<number> or provider:<code>.
    Column("subject", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("blocked_until", Instant),
    Column("seen_at", Instant),
    Column("seen_by", Text),
    CheckConstraint("(seen_at IS NULL) = (seen_by IS NULL)", name="seen"),
    Index("ix_guard_alerts_subject", "subject", "blocked_until"),
)
"""What looked like fraud, and whom it blocks."""

IMMUTABLE = (
    "provider_contracts",
    "tariffs",
    "credit_requests",
    "consents",
    "bill_services",
    "collections",
    "settlement_lines",
)
"""Tables whose rows nothing may change or remove: corrections are new rows."""

make_immutable(IMMUTABLE)

__all__ = [
    "IMMUTABLE",
    "approval_requests",
    "bill_charges",
    "bill_services",
    "charges",
    "collections",
    "complaints",
    "consent_chains",
    "consents",
    "consultants",
    "credit_limits",
    "credit_requests",
    "guard_alerts",
    "owner_approvals",
    "owner_codes",
    "owners",
    "premium_calls",
    "premium_credits",
    "premium_services",
    "provider_contracts",
    "providers",
    "queue_places",
    "reservations",
    "service_versions",
    "settlement_lines",
    "settlements",
    "tariffs",
    "tree_answers",
]
