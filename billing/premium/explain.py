"""Why a premium call cost what it cost: everything that is known of it, put together (D11, D12)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from billing.premium.charging import Standing, standing
from billing.premium.consents import Broken, Consent, read, verify
from billing.premium.rating import Rated, rate
from billing.premium.schema import (
    charges,
    owner_approvals,
    premium_calls,
    premium_credits,
    reservations,
)
from billing.premium.service_names import Named, named
from billing.schema import bills, lines


@dataclass(frozen=True, slots=True)
class UsedApproval:
    """The owner's approval that a call was made under; ``ceiling`` in rials."""

    id: int
    granted_at: datetime
    via: str
    ceiling: int


@dataclass(frozen=True, slots=True)
class UsedCredit:
    """The line's credit of the month (year times 100 plus month) that a call counts against."""

    month: int
    ceiling: int
    used: int
    held: int


@dataclass(frozen=True, slots=True)
class PostedCharge:
    """What became of the charge: ``status`` is posted, disputed or reversed.

    ``period`` and ``year`` are those of the bill it stands on, None where it is on none yet.
    """

    posted_at: datetime
    status: str
    collected: int
    period: int | None
    year: int | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A call that was accepted, and all that follows.

    ``call`` is None when nothing was begun after the acceptance (there was no credit, for
    instance). ``rated`` tells how the amount came about; None where nothing was charged.
    ``recorded_s`` are the seconds that the switch's record confirms. ``broken`` lists where the
    line's chain of consents does not hold: it should be empty.
    """

    consent: Consent
    line: str
    service: Named
    call: Standing | None
    rated: Rated | None
    recorded_s: int | None
    approval: UsedApproval | None
    credit: UsedCredit | None
    charge: PostedCharge | None
    broken: list[Broken]


def explain(conn: Connection, call_id: str, zone: ZoneInfo) -> Explanation | None:
    """Put together what is known of a call; None: it has accepted nothing, so nothing was charged.

    ``zone`` is whose hours the tariffs mean.
    """
    consent = read(conn, call_id)
    if consent is None:
        return None
    call = standing(conn, call_id)
    rated = None
    if call is not None and call.connected_at is not None and call.amount:
        rated = rate(consent.tariffs, call.connected_at, call.seconds or 0, zone)
    held = conn.execute(
        select(reservations.c.month, reservations.c.approval).where(reservations.c.key == call_id)
    ).one_or_none()
    return Explanation(
        consent=consent,
        line=conn.execute(select(lines.c.number).where(lines.c.id == consent.line)).scalar_one(),
        service=named(conn, consent.service),
        call=call,
        rated=rated,
        recorded_s=conn.execute(
            select(premium_calls.c.cdr_seconds).where(premium_calls.c.call_id == call_id)
        ).scalar_one_or_none(),
        approval=None if held is None else _approval(conn, held.approval),
        credit=None if held is None else _credit(conn, consent.line, held.month),
        charge=_charge(conn, call_id),
        broken=verify(conn, consent.line),
    )


def _approval(conn: Connection, approval: int | None) -> UsedApproval | None:
    if approval is None:
        return None
    purse = owner_approvals.c
    row = conn.execute(
        select(purse.id, purse.granted_at, purse.via, purse.ceiling).where(purse.id == approval)
    ).one()
    return UsedApproval(*row)


def _credit(conn: Connection, line: int, month: int) -> UsedCredit | None:
    credit = premium_credits.c
    row = conn.execute(
        select(credit.month, credit.ceiling, credit.used, credit.held).where(
            credit.line == line, credit.month == month
        )
    ).one_or_none()
    return None if row is None else UsedCredit(*row)


def _charge(conn: Connection, call_id: str) -> PostedCharge | None:
    charge = charges.c
    row = conn.execute(
        select(charge.posted_at, charge.status, charge.collected, bills.c.period, bills.c.year)
        .select_from(charges.outerjoin(bills, bills.c.id == charge.bill))
        .where(charge.call_id == call_id)
    ).one_or_none()
    return None if row is None else PostedCharge(*row)
