"""Posting: a premium call that was charged becomes a charge in the books, once (D3, D4).

What the caller owes is the provider's part by its contract, the levies and, what is left of it, the
operator's part; no rial is lost. A line's next bill asks for it (`billing.premium.bill_section`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, bindparam, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing import bills, ledger, outbox
from billing.clock import Clock
from billing.database import Database
from billing.errors import BillingError
from billing.premium import accounts
from billing.premium.consents import by_id
from billing.premium.owners import registered_mobile
from billing.premium.providers import ALL_BP, Contract, contract_at
from billing.premium.rating import rate
from billing.premium.schema import charges, owners, premium_calls, premium_services

_CALL = premium_calls.c


class NotCharged(BillingError, LookupError):
    """There is no such call, or it is not over."""


class NoTerms(BillingError):
    """The provider has no contract for the moment of the call: a person has to write it down."""


class Inconsistent(BillingError):
    """A call's amount is not what its consent's tariffs say: nothing is posted."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What of a charge goes to whom, rials; they sum to the charge."""

    provider: int
    operator: int
    levies: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of a charged call.

    ``posted`` in the books as row ``charge``; or it is ``parked`` for a person, or ``free``, and
    there is nothing to post. ``new`` is False when it was posted before; ``sms``: its owner gets a
    message.
    """

    status: Literal["posted", "parked", "free"]
    charge: int | None
    new: bool
    sms: bool = False


def parts(amount: int, contract: Contract) -> Parts:
    """Divide a charge by largest remainder: to each its share, rounded by less than a rial.

    Where remainders are equal the provider comes first, then the levies in order.
    """
    levies = contract.levies
    operator_bp = ALL_BP - contract.share_bp - sum(levy.bp for levy in levies)
    provider, *others = _divided(
        amount, [contract.share_bp, *(levy.bp for levy in levies), operator_bp]
    )
    return Parts(
        provider,
        others[-1],
        tuple((levy.code, part) for levy, part in zip(levies, others[:-1], strict=True)),
    )


def _divided(amount: int, shares: Sequence[int]) -> list[int]:
    wholes = [amount * share // ALL_BP for share in shares]
    missing = amount - sum(wholes)
    by_remainder = sorted(range(len(shares)), key=lambda place: -(amount * shares[place] % ALL_BP))
    for place in by_remainder[:missing]:
        wholes[place] += 1
    return wholes


class Charges:
    """Posts charges, over one database. ``zone`` is the operator's."""

    def __init__(self, database: Database, clock: Clock, zone: ZoneInfo) -> None:
        self._database = database
        self._clock = clock
        self._zone = zone

    def post(self, call_id: str) -> Posted:
        """Post a call's charge; once, however often it is asked for.

        Raises:
            NotCharged: there is no such call, or it is not over.
            NoTerms: the provider has no contract for that moment.
            Inconsistent: the amount is not what the tariffs say.
            Unavailable: the database is locked or away; nothing was written.
        """
        return self._database.write(
            lambda conn: post_charge(conn, call_id, self._zone, self._clock.now())
        )


_CHARGE = select(charges.c.id).where(charges.c.call_id == bindparam("call"))

_PROVIDER = select(premium_services.c.provider).where(premium_services.c.id == bindparam("service"))

_CHARGE_SMS = select(owners.c.charge_sms).where(owners.c.line == bindparam("line"))


def post_charge(conn: Connection, call_id: str, zone: ZoneInfo, now: datetime) -> Posted:
    """Post a call's charge in the caller's write transaction; see `Charges.post`."""
    # Locked by this update: whoever parks it at this moment comes before or after, not between.
    call = conn.execute(
        update(premium_calls)
        .where(_CALL.call_id == call_id, _CALL.status.in_(("charged", "parked", "free")))
        .values(status=_CALL.status)
        .returning(*premium_calls.c)
    ).one_or_none()
    if call is None:
        raise NotCharged(f"call {call_id} is not over, or there is none")
    if call.status != "charged":
        return Posted(call.status, None, new=False)
    known = conn.execute(_CHARGE, {"call": call_id}).scalar_one_or_none()
    if known is not None:
        return Posted("posted", known, new=False)
    provider = conn.execute(_PROVIDER, {"service": call.service}).scalar_one()
    contract = contract_at(conn, provider, call.connected_at)
    if contract is None:
        raise NoTerms(f"call {call_id}: the provider had no contract at {call.connected_at}")
    charge = _write(conn, call, contract, zone, now)
    return Posted("posted", charge, new=True, sms=_tell_owner(conn, call.line, charge, now))


def _write(conn: Connection, call: Any, contract: Contract, zone: ZoneInfo, now: datetime) -> int:
    rated = rate(by_id(conn, call.consent).tariffs, call.connected_at, call.seconds, zone)
    if rated.amount != call.amount:
        raise Inconsistent(
            f"call {call.call_id} costs {call.amount}, by its consent {rated.amount}"
        )
    divided = parts(call.amount, contract)
    levies = [{"code": code, "amount": amount} for code, amount in divided.levies]
    charge = conn.execute(
        insert(charges)
        .values(
            call_id=call.call_id,
            line=call.line,
            service=call.service,
            provider=contract.provider,
            contract=contract.id,
            consent=call.consent,
            connected_at=call.connected_at,
            seconds=call.seconds,
            segments=json.dumps([segment.as_dict() for segment in rated.segments]),
            amount=call.amount,
            provider_part=divided.provider,
            operator_part=divided.operator,
            levies_part=sum(amount for _, amount in divided.levies),
            levies=json.dumps(levies),
            status="posted",
            posted_at=now,
            unbilled=call.amount,
        )
        .returning(charges.c.id)
    ).scalar_one()
    ledger.post(
        conn,
        f"charge:{call.call_id}",
        "charge",
        accounts.paired(
            [(accounts.unbilled(call.line), call.amount)],
            credits_of(contract.provider, divided),
        ),
        now,
    )
    return int(charge)


def credits_of(provider: int, divided: Parts) -> list[tuple[str, int]]:
    """Return the accounts that a charge credits, with the rials of each."""
    return [
        (accounts.uncollected(provider), divided.provider),
        (accounts.OPERATOR, divided.operator),
        *((accounts.levy(code), amount) for code, amount in divided.levies),
    ]


def levies_of(stored: str) -> tuple[tuple[str, int], ...]:
    """Return the levies of a charge as its row keeps them: codes and rials."""
    return tuple((levy["code"], levy["amount"]) for levy in json.loads(stored))


def _tell_owner(conn: Connection, line_id: int, charge: int, now: datetime) -> bool:
    """Ask for the SMS about a charge, where the owner wishes it (D8)."""
    if not conn.execute(_CHARGE_SMS, {"line": line_id}).scalar():
        return False
    line = bills.line(conn, line_id)
    to = None if line is None else registered_mobile(line)
    if line is None or to is None:
        return False
    payload = {"to": to, "language": line.language, "charge": charge}
    return outbox.put(conn, f"sms.charge:{charge}", "sms", "sms.charge", payload, now)
