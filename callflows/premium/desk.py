"""What the conversations of premium-rate lines may use of billing, in one piece."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from billing.calendars import Calendars
from billing.premium.book import ServiceBook
from billing.premium.charging import Charging
from billing.premium.codes import Codes
from billing.premium.consents import Consents
from billing.premium.consultants import Consultants
from billing.premium.credit import Credit
from billing.premium.disputes import Complaints
from billing.premium.owners import Owners
from billing.premium.pins import Pins
from billing.premium.price_list import PriceList
from callflows.premium.consulting import CONSULTING, ConsultingRules
from callflows.premium.shelf import TreeShelf
from callflows.trees.ports import TreeServices

if TYPE_CHECKING:
    from billing.premium.approvals import Approvals
    from billing.premium.credit_requests import CreditRequests
    from billing.premium.guards import Guards

ACCEPTING_DIGITS = "123456789"
"""Digits that may be drawn for an acceptance; 0 is taken for a person elsewhere."""


def draw_digit(used: str = "") -> str:
    """Draw the digit that accepts in a call, at random; none of those in ``used``."""
    return secrets.choice([digit for digit in ACCEPTING_DIGITS if digit not in used])


@dataclass(frozen=True, slots=True)
class Premium:
    """Premium-rate lines, as conversations see them.

    Args:
        book: the published services.
        prices: what has to be announced.
        consents: recorded acceptances.
        charging: the money of running calls.
        credit: monthly credit of lines.
        credit_requests: asking for more of it.
        owners, pins, codes, approvals: what lines' owners have set, and how they authenticate.
        consultants: who takes calls, and the queue for them.
        trees: what menu trees use.
        shelf: the trees themselves.
        calendars: holidays on which services are closed.
        guards: who is stopped for unusual use.
        complaints: complaints about charges.
        owner_number: which number owners dial for credit, PIN and approvals.
        complaints_number: which number takes complaints.
        recordings: the folder of callers' and owners' recordings, below the sounds folder.
        warning_s: how long before the end of the credit the caller is told.
        consulting: how consultants are called and waited for.
        draw: draws the digit that accepts; is given those that it must not be.
    """

    book: ServiceBook
    prices: PriceList
    consents: Consents
    charging: Charging
    credit: Credit
    credit_requests: CreditRequests
    owners: Owners
    pins: Pins
    codes: Codes
    approvals: Approvals
    consultants: Consultants
    trees: TreeServices
    shelf: TreeShelf
    calendars: Calendars | None
    guards: Guards
    complaints: Complaints
    owner_number: str = "2021"
    complaints_number: str = "2020"
    recordings: str = "recordings"
    warning_s: int = 30
    consulting: ConsultingRules = CONSULTING
    draw: Callable[[str], str] = draw_digit
