"""The double-entry ledger, after TigerBeetle: transfers between two accounts, keyed, immutable.

An entry moves a positive amount from a credited to a debited account, so debits equal credits at
every instant by construction. A posting is a group of entries under one caller-made key; posting it
again answers "exists". Running totals are kept by ``SET debits = debits + ...`` only, and `audit`
rebuilds them from the entries.

Accounts: ``receivable:line:<id>`` (owed by a line), ``credit:line:<id>`` (owed to it),
``cash:<channel>`` (arrived through a payment channel), ``suspense`` (arrived, its bill not yet
known), ``revenue``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    bindparam,
    cast,
    func,
    literal,
    select,
    union_all,
)

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing.errors import KeyConflict
from billing.schema import accounts, entries, postings

REVENUE = "revenue"
SUSPENSE = "suspense"


def receivable(line_id: int) -> str:
    """Return the account of what a line owes."""
    return f"receivable:line:{line_id}"


def receivable_of(line_id: ColumnElement[int]) -> ColumnElement[str]:
    """Return `receivable` of the line in a statement's column."""
    return literal(receivable(0)[:-1], Text) + cast(line_id, Text)


def credit(line_id: int) -> str:
    """Return the account of what a line has paid too much."""
    return f"credit:line:{line_id}"


def credit_of(line_id: ColumnElement[int]) -> ColumnElement[str]:
    """Return `credit` of the line in a statement's column."""
    return literal(credit(0)[:-1], Text) + cast(line_id, Text)


def cash(channel: str) -> str:
    """Return the account of what has arrived through a payment channel."""
    return f"cash:{channel}"


@dataclass(frozen=True, slots=True)
class Transfer:
    """``amount`` rials (positive) to the debit of one account and the credit of another."""

    debit: str
    credit: str
    amount: int


@dataclass(frozen=True, slots=True)
class Posting:
    """Transfers that succeed or fail together, under one key."""

    key: str
    kind: str
    transfers: Sequence[Transfer]

    @property
    def content(self) -> str:
        """A hash that tells a retry from another posting under the same key."""
        parts = [self.kind]
        for transfer in self.transfers:
            parts += (transfer.debit, transfer.credit, str(transfer.amount))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Difference:
    """An account whose running totals are not the sums of its entries (rials)."""

    code: str
    debits: int
    credits: int
    entry_debits: int
    entry_credits: int


_new_accounts = insert(accounts)
_ADD_TO_ACCOUNTS = _new_accounts.on_conflict_do_update(
    index_elements=[accounts.c.code],
    set_={
        "debits": accounts.c.debits + _new_accounts.excluded.debits,
        "credits": accounts.c.credits + _new_accounts.excluded.credits,
    },
).returning(accounts.c.id, accounts.c.code)

_ADD_POSTINGS = (
    insert(postings)
    .on_conflict_do_nothing(index_elements=[postings.c.key])
    .returning(postings.c.id, postings.c.key)
)

_CONTENTS = select(postings.c.key, postings.c.content).where(
    postings.c.key.in_(bindparam("keys", expanding=True))
)

_BALANCE = select(accounts.c.debits - accounts.c.credits).where(
    accounts.c.code == bindparam("code")
)


def post(
    conn: Connection, key: str, kind: str, transfers: Sequence[Transfer], now: datetime
) -> bool:
    """Post transfers under ``key``; return False when exactly this was posted before.

    Raises:
        KeyConflict: the key stands for other transfers.
        ValueError: no transfers, an amount not positive, or one account on both sides.
    """
    return key in post_many(conn, [Posting(key, kind, transfers)], now)


def post_many(conn: Connection, groups: Sequence[Posting], now: datetime) -> set[str]:
    """Post many groups at once (keys distinct); return the keys that are new.

    Raises:
        KeyConflict: a key stands for other transfers; nothing of the transaction may be kept.
        ValueError: as for `post`.
    """
    for group in groups:
        _check(group)
    if not groups:
        return set()
    rows = conn.execute(
        _ADD_POSTINGS,
        [
            {"key": group.key, "kind": group.kind, "content": group.content, "at": now}
            for group in groups
        ],
    )
    ids = {row.key: row.id for row in rows}
    _compare(conn, [group for group in groups if group.key not in ids])
    new = [group for group in groups if group.key in ids]
    if new:
        account_ids = _add(conn, new)
        conn.execute(
            entries.insert(),
            [
                {
                    "posting": ids[group.key],
                    "seq": seq,
                    "debit": account_ids[transfer.debit],
                    "credit": account_ids[transfer.credit],
                    "amount": transfer.amount,
                }
                for group in new
                for seq, transfer in enumerate(group.transfers)
            ],
        )
    return set(ids)


def balance(conn: Connection, code: str) -> int:
    """Return debits less credits of an account in rials; 0 for one never posted to."""
    return conn.execute(_BALANCE, {"code": code}).scalar() or 0


def audit(conn: Connection) -> list[Difference]:
    """Rebuild every account from its entries; return those whose running totals differ."""
    sides = union_all(
        select(entries.c.debit.label("account"), entries.c.amount.label("d"), _zero("c")),
        select(entries.c.credit.label("account"), _zero("d"), entries.c.amount.label("c")),
    ).subquery()
    sums = (
        select(
            sides.c.account,
            func.sum(sides.c.d).label("debits"),
            func.sum(sides.c.c).label("credits"),
        )
        .group_by(sides.c.account)
        .subquery()
    )
    debits, credits_ = func.coalesce(sums.c.debits, 0), func.coalesce(sums.c.credits, 0)
    rows = conn.execute(
        select(accounts.c.code, accounts.c.debits, accounts.c.credits, debits, credits_)
        .outerjoin(sums, sums.c.account == accounts.c.id)
        .where((accounts.c.debits != debits) | (accounts.c.credits != credits_))
        .order_by(accounts.c.code)
    )
    return [Difference(code, *map(int, totals)) for code, *totals in rows]


def _zero(name: str):  # type: ignore[no-untyped-def]  # SQLAlchemy's own name for it is private
    return (entries.c.amount * 0).label(name)


def _check(group: Posting) -> None:
    if not group.transfers:
        raise ValueError("a posting needs a transfer")
    for transfer in group.transfers:
        if transfer.amount <= 0:
            raise ValueError("a transfer moves a positive amount")
        if transfer.debit == transfer.credit:
            raise ValueError("a transfer needs two accounts")


def _compare(conn: Connection, repeated: Sequence[Posting]) -> None:
    if not repeated:
        return
    keys = [group.key for group in repeated]
    stored = {row.key: row.content for row in conn.execute(_CONTENTS, {"keys": keys})}
    for group in repeated:
        if stored.get(group.key) != group.content:
            raise KeyConflict(f"ledger key {group.key} stands for another posting")


def _add(conn: Connection, groups: Iterable[Posting]) -> dict[str, int]:
    debits: dict[str, int] = {}
    credits_: dict[str, int] = {}
    for group in groups:
        for transfer in group.transfers:
            debits[transfer.debit] = debits.get(transfer.debit, 0) + transfer.amount
            credits_[transfer.credit] = credits_.get(transfer.credit, 0) + transfer.amount
    rows = conn.execute(
        _ADD_TO_ACCOUNTS,
        [
            {"code": code, "debits": debits.get(code, 0), "credits": credits_.get(code, 0)}
            # Everybody locks accounts in the same order, so nobody deadlocks.
            for code in sorted(debits.keys() | credits_.keys())
        ],
    )
    return {row.code: row.id for row in rows}
