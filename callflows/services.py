"""What a conversation may use: the billing desk, the operator's numbers, a clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from billing.announcing import Announcements
from billing.clock import Clock
from billing.desk import Desk

if TYPE_CHECKING:
    from callflows.premium.desk import Premium


@dataclass(frozen=True, slots=True)
class Numbers:
    """Where calls are handed on to (A4): extensions of the operator's dialplan."""

    payment_fixed: str = "2000"
    payment_mobile: str = "9990"
    payment_context: str = "payment"
    care: str = "2020"
    care_context: str = "care"

    def payment(self, kind: str) -> str:
        """The payment system's number for a line of this kind (fixed or mobile)."""
        return self.payment_mobile if kind == "mobile" else self.payment_fixed


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a flow is given; `region` is the country whose national numbers are keyed in."""

    desk: Desk
    clock: Clock
    numbers: Numbers = Numbers()
    region: str = "IR"
    timezone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Asia/Tehran"))
    pen_and_paper_s: float = 20.0
    # The campaigns' side of announcing calls, where this process serves any.
    announcements: Announcements | None = None
    # Premium-rate lines, where this process serves any.
    premium: Premium | None = None
    # Called after something was ordered: whoever carries it out need not wait for its next look.
    nudge: Callable[[], None] = lambda: None

    def today(self) -> date:
        """The date at the operator's place: a bill is overdue from the day after its due date."""
        return self.clock.now().astimezone(self.timezone).date()
