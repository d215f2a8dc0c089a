"""Payments: taken in as reported, then posted to ledger and bill, or parked for a person.

Money that is reported has arrived, so a report is never refused for what it pays: it is written
first (`receive`), and matched to its bill afterwards (`post`). What cannot be matched stands in the
ledger's suspense account and on the list of parked payments. What is more than a bill asks for is
the line's credit, until its next bill takes it (`billing.bill_batch`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, bindparam, literal_column, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing import bill_ids, campaigns, ledger, outbox
from billing.bills import Debt, pay
from billing.database import Database
from billing.entities import Language, payable
from billing.errors import InvalidIds, InvalidPayment, PaymentConflict
from billing.numbers import Kind
from billing.premium.collecting import bill_paid
from billing.schema import accounts, bills, lines, payment_ids, payments

LARGEST = 10**13
"""Rials in one payment at most: an amount above it is a fault of the reporting system."""

_REFERENCE = re.compile(r"[\x21-\x7e]{1,64}")
_CHANNEL = re.compile(r"[a-z0-9_-]{1,32}")
_LONGEST_ID = 32


@dataclass(frozen=True, slots=True)
class Receipt:
    """A payment was written as row ``payment``; ``new`` is False for a repeated report."""

    payment: int
    new: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a payment.

    ``result`` says whether its bill is now fully paid (``full``), not yet (``partial``), or was
    paid more than it asked for (``over``); None for a parked one. ``new`` is False when it had been
    posted or parked before.
    """

    status: Literal["posted", "parked"]
    result: Literal["full", "partial", "over"] | None
    reason: str | None
    new: bool


@dataclass(frozen=True, slots=True)
class ParkedPayment:
    """A payment that waits for a person."""

    id: int
    reference: str
    bill_id: str
    payment_id: str
    amount: int
    channel: str
    paid_at: datetime
    received_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Credit:
    """What a line has paid too much, in rials; its next bill takes it. ``number`` is E.164."""

    line: int
    number: str
    amount: int


@dataclass(frozen=True, slots=True)
class _Target:
    """The bill that a payment is for, as it stands now, locked, with its line."""

    line: int
    number: str
    kind: Kind
    language: Language
    mobile: str | None
    debt: Debt


_RECEIVE = (
    insert(payments)
    .on_conflict_do_nothing(index_elements=[payments.c.reference])
    .returning(payments.c.id)
)

# Written out, not bound: a database takes a partial index only for a condition that it can read.
_PARKED = payments.c.status == literal_column("'parked'")

_ONE = select(payments).where(payments.c.id == bindparam("payment"))

_MATCH = (
    select(
        bills.c.line_id,
        lines.c.number,
        lines.c.kind,
        lines.c.language,
        lines.c.mobile,
        bills.c.id,
        bills.c.bill_id,
        bills.c.year,
        bills.c.period,
        bills.c.paid,
        (bills.c.amount - bills.c.paid - bills.c.carried_out).label("left_"),
    )
    .select_from(
        payment_ids.join(bills, bills.c.id == payment_ids.c.bill).join(
            lines, lines.c.id == bills.c.line_id
        )
    )
    .where(
        payment_ids.c.bill_id == bindparam("bill_id"),
        payment_ids.c.payment_id == bindparam("payment_id"),
    )
    # The year's last digit comes round in ten years: then the open bill is meant, else the latest.
    .order_by(bills.c.status, bills.c.year.desc())
    .limit(1)
    .with_for_update(of=bills)
)


def receive(
    conn: Connection,
    reference: str,
    bill_id: str,
    payment_id: str,
    amount: int,
    channel: str,
    paid_at: datetime,
    now: datetime,
) -> Receipt:
    """Write a reported payment, and the job that posts it, in the caller's transaction.

    Args:
        conn: a write transaction.
        reference: the payment system's own number of the payment; 1 to 64 printable characters.
        bill_id: as reported; need not be a valid one.
        payment_id: as reported; need not be a valid one.
        amount: rials that have arrived.
        channel: how they were paid: lower case letters, digits, ``_`` and ``-``.
        paid_at: when, aware.
        now: the moment of the report.

    Raises:
        InvalidPayment: a field is malformed, so that the report cannot be trusted or kept.
        PaymentConflict: the reference was reported before with other content.
    """
    content = _checked(reference, bill_id, payment_id, amount, channel, paid_at)
    row = conn.execute(_RECEIVE, {**content, "received_at": now}).one_or_none()
    if row is None:
        stored = conn.execute(select(payments).where(payments.c.reference == reference)).one()
        for name, value in content.items():
            if getattr(stored, name) != value:
                raise PaymentConflict(f"payment {reference} was reported with another {name}")
        return Receipt(stored.id, new=False)
    outbox.put(conn, f"post_payment:{row.id}", "billing", "post_payment", {"payment": row.id}, now)
    return Receipt(row.id, new=True)


def _checked(
    reference: str, bill_id: str, payment_id: str, amount: int, channel: str, paid_at: datetime
) -> dict[str, Any]:
    if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
        raise InvalidPayment("reference: 1 to 64 printable ASCII characters")
    if not isinstance(channel, str) or not _CHANNEL.fullmatch(channel):
        raise InvalidPayment("channel: 1 to 32 lower case letters, digits, _ and -")
    # bool is an int in Python, but True is no sum of money.
    if type(amount) is not int or not 0 < amount <= LARGEST:
        raise InvalidPayment(f"amount: integer rials, 1 to {LARGEST}")
    if not isinstance(paid_at, datetime) or paid_at.tzinfo is None:
        raise InvalidPayment("paid_at: a moment with its time zone")
    for name, value in (("bill_id", bill_id), ("payment_id", payment_id)):
        if not isinstance(value, str) or len(value) > _LONGEST_ID or not value.isprintable():
            raise InvalidPayment(f"{name}: at most {_LONGEST_ID} printable characters")
    return {
        "reference": reference,
        "bill_id": bill_id,
        "payment_id": payment_id,
        "amount": amount,
        "channel": channel,
        "paid_at": paid_at,
    }


def post(conn: Connection, payment: int, now: datetime) -> Outcome:
    """Post a received payment: ledger, bill and confirmation SMS in the caller's transaction.

    A payment posted or parked before is left as it is. Money beyond what the bill asks for becomes
    the line's credit. The confirmation (E4) goes to a mobile line itself, or to a fixed line's
    mobile if one is known.

    Raises:
        LookupError: there is no such payment.
    """
    # Locked by this update, so that of two posting it at once the second sees what the first did.
    taken = conn.execute(
        update(payments)
        .where(payments.c.id == payment, payments.c.status == "received")
        .values(status="received")
        .returning(*payments.c)
    ).one_or_none()
    if taken is None:
        row = conn.execute(_ONE, {"payment": payment}).one_or_none()
        if row is None:
            raise LookupError(f"no payment {payment}")
        return Outcome(row.status, None, row.reason, new=False)
    return _settle(conn, taken, now, ledger.cash(taken.channel))


def _settle(
    conn: Connection, payment: Row[*tuple[Any, ...]], now: datetime, source: str
) -> Outcome:
    """Post a locked payment out of the account where its money stands, or park it there."""
    target = _match(conn, payment)
    if isinstance(target, str):
        return _park(conn, payment, target, now)
    applied = min(payment.amount, target.debt.left)
    excess = payment.amount - applied
    left = target.debt.left - applied
    settled = payable(left) == 0
    transfers = []
    if applied:
        if pay(conn, target.debt, applied, now):
            campaigns.bill_settled(conn, target.line, now)
        transfers.append(ledger.Transfer(source, ledger.receivable(target.line), applied))
    if excess:
        transfers.append(ledger.Transfer(source, ledger.credit(target.line), excess))
    ledger.post(conn, f"payment:{payment.reference}", "payment", transfers, now)
    if applied:
        bill_paid(conn, target.debt, applied, now)
    conn.execute(
        update(payments)
        .where(payments.c.id == payment.id)
        .values(status="posted", bill=target.debt.bill, applied=applied, posted_at=now, reason=None)
    )
    result: Literal["full", "partial", "over"] = (
        "over" if excess else "full" if settled else "partial"
    )
    _confirm(conn, payment, target, result, left, now)
    return Outcome("posted", result, None, new=True)


def _match(conn: Connection, payment: Row[*tuple[Any, ...]]) -> _Target | str:
    try:
        bill_id, payment_id = bill_ids.verify(payment.bill_id, payment.payment_id)
    except InvalidIds as error:
        return str(error)
    row = conn.execute(
        _MATCH, {"bill_id": bill_id.text, "payment_id": payment_id.text}
    ).one_or_none()
    if row is None:
        return "no bill with these IDs"
    line, number, kind, language, mobile, *debt = row
    return _Target(line, number, kind, language, mobile, Debt(*debt))


def _park(conn: Connection, payment: Row[*tuple[Any, ...]], reason: str, now: datetime) -> Outcome:
    conn.execute(
        update(payments).where(payments.c.id == payment.id).values(status="parked", reason=reason)
    )
    # The money is there whether its bill is known or not; parked again, it is there already.
    ledger.post(
        conn,
        f"parked:{payment.reference}",
        "parked payment",
        [ledger.Transfer(ledger.cash(payment.channel), ledger.SUSPENSE, payment.amount)],
        now,
    )
    return Outcome("parked", None, reason, new=True)


def _confirm(
    conn: Connection,
    payment: Row[*tuple[Any, ...]],
    target: _Target,
    result: str,
    left: int,
    now: datetime,
) -> None:
    to = target.number if target.kind == "mobile" else target.mobile
    if to is None:
        return
    if result == "over":
        balance = -ledger.balance(conn, ledger.credit(target.line))
    elif result == "partial":
        balance = payable(left)
    else:
        balance = ledger.balance(conn, ledger.receivable(target.line))
    outbox.put(
        conn,
        f"payment_confirmation:{payment.id}",
        "sms",
        "sms.payment_confirmation",
        {
            "to": to,
            "language": target.language,
            "bill": target.debt.bill,
            "payment": payment.id,
            "number": target.number,
            "amount": payment.amount,
            "reference": payment.reference,
            "result": result,
            "balance": balance,
        },
        now,
    )


def parked(database: Database, limit: int = 100) -> list[ParkedPayment]:
    """Return the parked payments, oldest first.

    Raises:
        Unavailable: the database is locked or away.
    """
    statement = (
        select(
            payments.c.id,
            payments.c.reference,
            payments.c.bill_id,
            payments.c.payment_id,
            payments.c.amount,
            payments.c.channel,
            payments.c.paid_at,
            payments.c.received_at,
            payments.c.reason,
        )
        .where(_PARKED)
        .order_by(payments.c.id)
        .limit(limit)
    )
    return database.query(lambda conn: [ParkedPayment(*row) for row in conn.execute(statement)])


def credits(database: Database, limit: int = 100) -> list[Credit]:
    """Return the lines that have paid too much, the largest credit first.

    Raises:
        Unavailable: the database is locked or away.
    """
    amount = accounts.c.credits - accounts.c.debits
    statement = (
        select(lines.c.id, lines.c.number, amount)
        .select_from(accounts.join(lines, accounts.c.code == ledger.credit_of(lines.c.id)))
        .where(amount > 0)
        .order_by(amount.desc(), lines.c.id)
        .limit(limit)
    )
    return database.query(lambda conn: [Credit(*row) for row in conn.execute(statement)])


def retry_parked(database: Database, payment: int, now: datetime) -> Outcome:
    """Try a parked payment again, after its bill was loaded; it may be parked again.

    Raises:
        LookupError: no parked payment has this id (any more).
        Unavailable: the database is locked or away.
    """

    def work(conn: Connection) -> Outcome:
        taken = conn.execute(
            update(payments)
            .where(payments.c.id == payment, _PARKED)
            .values(status="parked")
            .returning(*payments.c)
        ).one_or_none()
        if taken is None:
            raise LookupError(f"no parked payment {payment}")
        return _settle(conn, taken, now, ledger.SUSPENSE)

    return database.write(work)
