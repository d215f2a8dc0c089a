"""The parts of the house that serve lines' owners, put together from the configuration."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from billing.limits import Limits
from billing.links import APPROVAL_REQUEST, Links
from billing.premium.approvals import Approvals, Terms
from billing.premium.codes import Codes
from billing.premium.credit import Credit
from billing.premium.credit_policy import Policy
from billing.premium.credit_requests import CreditRequests
from billing.premium.owner_notices import OwnerNotices
from billing.premium.owner_sms import OwnerSms
from billing.premium.owners import Owners
from billing.premium.pins import Pins
from jobs.owner_messages import OwnerMessages

if TYPE_CHECKING:
    from cli.parts import Parts


class OwnerParts:
    """Makes each part once, when it is first asked for; ``credit`` is that of the lines."""

    def __init__(self, parts: Parts, credit: Credit, limits: Limits) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._credit = credit
        self._limits = limits

    @cached_property
    def owners(self) -> Owners:
        """What owners have set."""
        return Owners(self._parts.database, self._parts.clock)

    def pins(self, in_thread: Callable[[Callable[[], object]], object] | None = None) -> Pins:
        """Owners' PINs; where a process serves calls, hashing has to be done `in_thread`."""
        database, clock = self._parts.database, self._parts.clock
        if in_thread is None:
            return Pins(database, clock)
        return Pins(database, clock, in_thread=in_thread)

    @cached_property
    def codes(self) -> Codes:
        """One-time codes."""
        secret = self._settings.secret("link_key").encode()
        return Codes(self._parts.database, self._parts.clock, secret, limits=self._limits)

    @cached_property
    def terms(self) -> Terms:
        """What owners approve who say nothing else."""
        settings = self._settings
        return Terms(
            ceiling=settings.premium_approval_ceiling,
            days=settings.premium_approval_days,
            wait_s=settings.premium_approval_wait_s,
            call_after_s=settings.premium_approval_call_s or None,
        )

    @cached_property
    def links(self) -> Links:
        """Signs the links of approval requests."""
        secret = self._settings.secret("link_key").encode()
        lifetime = timedelta(hours=self._settings.premium_approval_hours)
        return Links(secret, lifetime, APPROVAL_REQUEST)

    @cached_property
    def approvals(self) -> Approvals:
        """What owners have approved."""
        return Approvals(
            self._parts.database,
            self._parts.clock,
            self.links,
            limits=self._limits,
            terms=self.terms,
        )

    @cached_property
    def credit_requests(self) -> CreditRequests:
        """Requests for a monthly credit."""
        settings = self._settings
        return CreditRequests(
            self._parts.database,
            self._parts.clock,
            self._credit,
            zone=settings.zone,
            policy=Policy(
                first=settings.premium_first_credit,
                most=settings.premium_most_credit,
                bills=settings.premium_credit_bills,
            ),
        )

    @cached_property
    def sms(self) -> OwnerSms:
        """Obeys owners' SMS."""
        return OwnerSms(
            self._parts.database,
            self._parts.clock,
            self.credit_requests,
            limits=self._limits,
            terms=self.terms,
            region=self._settings.region,
        )

    @cached_property
    def messages(self) -> OwnerMessages:
        """Sends SMS to owners."""
        return OwnerMessages(
            self.codes,
            OwnerNotices(self._parts.database),
            self._parts.clock,
            self._parts.catalogue,
            self.links,
            sms=self._parts.sms,
            link_base=self._settings.public_url,
            zone=self._settings.zone,
        )
