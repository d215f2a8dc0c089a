"""The statements of credit control: each adds to a row if a condition holds, in one go.

Locks are taken in the order reservation, credit, approval. PostgreSQL does in one statement what is
several here; SQLite, to which a statement is a function call, cannot and need not.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Table,
    Text,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    select,
    update,
)

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing.premium.schema import credit_limits, owner_approvals, premium_credits, reservations
from billing.schema import Instant


def _at(name: str) -> Any:
    return bindparam(name, type_=Instant())


_CREDIT, _PURSE, _HELD = premium_credits.c, owner_approvals.c, reservations.c
_AMOUNT: Any = bindparam("amount")
_THIS_MONTH = and_(_CREDIT.line == bindparam("by_line"), _CREDIT.month == bindparam("by_month"))
_THIS_PURSE = _PURSE.id == bindparam("by_approval")
# Written out, not bound: a database takes a partial index only for a condition that it can read.
_OPEN = _HELD.status == literal_column("'open'")

HOLD_CREDIT = (
    update(premium_credits)
    .where(_THIS_MONTH, _CREDIT.used + _CREDIT.held + _AMOUNT <= _CREDIT.ceiling)
    .values(held=_CREDIT.held + _AMOUNT)
)
HOLD_PURSE = (
    update(owner_approvals)
    .where(
        _THIS_PURSE,
        _PURSE.line == bindparam("by_line"),
        _PURSE.revoked_at.is_(None),
        _PURSE.valid_until > _at("now"),
        _PURSE.used + _PURSE.held + _AMOUNT <= _PURSE.ceiling,
    )
    .values(held=_PURSE.held + _AMOUNT)
)


def _settle(table: Table, which: Any) -> Any:
    """Give back what was held, and count what was used of it."""
    return (
        update(table)
        .where(which)
        .values(held=table.c.held - bindparam("back"), used=table.c.used + bindparam("spent"))
    )


SETTLE_CREDIT = _settle(premium_credits, _THIS_MONTH)
SETTLE_PURSE = _settle(owner_approvals, _THIS_PURSE)

STANDING = (
    select(credit_limits.c.amount)
    .where(credit_limits.c.line == bindparam("by_line"))
    .scalar_subquery()
)
BEGIN_MONTH = (
    insert(premium_credits)
    .values(
        line=bindparam("by_line"),
        month=bindparam("by_month"),
        ceiling=func.coalesce(STANDING, bindparam("default")),
    )
    .on_conflict_do_nothing(index_elements=[_CREDIT.line, _CREDIT.month])
    .returning(_CREDIT.line)
)
RESERVE: Any = (
    insert(reservations)
    .on_conflict_do_nothing(index_elements=[_HELD.key])
    .returning(literal_column("1"))
)
FIND = select(
    _HELD.key,
    _HELD.line,
    _HELD.month,
    _HELD.approval,
    _HELD.held,
    _HELD.committed,
    _HELD.status,
    _HELD.expires_at,
).where(_HELD.key == bindparam("by_key"))
# On SQLite there is one writer, and the word is left out.
LOCK = FIND.with_for_update()
GROW = (
    update(reservations)
    .where(_HELD.key == bindparam("by_key"))
    .values(
        held=_HELD.held + _AMOUNT,
        # A later end is never taken back by an earlier one that arrives late.
        expires_at=case((_HELD.expires_at > _at("until"), _HELD.expires_at), else_=_at("until")),
    )
)
RESOLVE = (
    update(reservations)
    .where(_HELD.key == bindparam("by_key"), _OPEN, _HELD.held >= bindparam("spent"))
    .values(status=bindparam("outcome"), committed=bindparam("spent"), resolved_at=_at("now"))
    .returning(_HELD.line, _HELD.month, _HELD.approval, _HELD.held)
)
_DUE = (
    select(_HELD.key)
    .where(_OPEN, _HELD.expires_at <= _at("now"))
    .order_by(_HELD.expires_at, _HELD.key)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)  # PostgreSQL; on SQLite there is one writer
    # A CTE is run once; as a subquery PostgreSQL might run it again and go past the limit.
    .cte("due")
)
EXPIRE = (
    update(reservations)
    .where(_HELD.key.in_(select(_DUE.c.key)))
    .values(status="expired", resolved_at=_at("now"))
    .returning(_HELD.key, _HELD.line, _HELD.month, _HELD.approval, _HELD.held)
)
VIEW = select(_CREDIT.ceiling, _CREDIT.used, _CREDIT.held).where(_THIS_MONTH)

# -- PostgreSQL's, in one statement each -----------------------------------------------------------

_held = (
    update(premium_credits)
    .where(_THIS_MONTH, _CREDIT.used + _CREDIT.held + _AMOUNT <= _CREDIT.ceiling)
    .values(held=_CREDIT.held + _AMOUNT)
    .returning(_CREDIT.line, _CREDIT.month)
    .cte("held")
)
_made = (
    insert(reservations)
    .from_select(
        ["key", "line", "month", "held", "created_at", "expires_at"],
        select(
            bindparam("by_key", type_=Text),
            _held.c.line,
            _held.c.month,
            bindparam("amount", type_=BigInteger),
            _at("now"),
            _at("until"),
        ),
    )
    .on_conflict_do_nothing(index_elements=[_HELD.key])
    .returning(_HELD.key)
    .cte("made")
)
HOLD_AND_RESERVE = select(
    select(func.count()).select_from(_held).scalar_subquery().label("held"),
    select(func.count()).select_from(_made).scalar_subquery().label("made"),
)
"""Without an approval: hold the credit and write the reservation; how many rows of each."""

_resolved = RESOLVE.cte("resolved")
_credit = (
    update(premium_credits)
    .where(_CREDIT.line == _resolved.c.line, _CREDIT.month == _resolved.c.month)
    .values(held=_CREDIT.held - _resolved.c.held, used=_CREDIT.used + bindparam("spent"))
    .returning(_CREDIT.line)
    .cte("credit")
)
_purse = (
    update(owner_approvals)
    # The credit's line is asked for so that the credit is locked first.
    .where(_PURSE.id == _resolved.c.approval, _PURSE.line == _credit.c.line)
    .values(held=_PURSE.held - _resolved.c.held, used=_PURSE.used + bindparam("spent"))
    .returning(_PURSE.id)
    .cte("purse")
)
RESOLVE_AND_SETTLE = select(_resolved.c.held).add_cte(_credit, _purse)
"""Resolve a reservation, and settle the credit and the approval that it was held of."""
