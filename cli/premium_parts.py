"""The parts of the house that serve premium-rate lines, put together from the configuration."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from billing.limits import Limits
from billing.premium.book import ServiceBook
from billing.premium.charging import WAITING_S, Charging
from billing.premium.consents import Consents
from billing.premium.consultants import Consultants
from billing.premium.credit import Credit
from billing.premium.disputes import Complaints
from billing.premium.guard_limits import Limits as GuardLimits
from billing.premium.guards import Guards
from billing.premium.posting import Charges
from billing.premium.price_list import PriceList
from billing.premium.settlement import Settlements
from callflows.config import ConfigError
from callflows.premium.consulting import ConsultingRules
from callflows.premium.desk import Premium
from callflows.premium.shelf import TreeShelf
from cli.owner_parts import OwnerParts
from jobs.charges import ChargeMessages, ChargePostings

if TYPE_CHECKING:
    from cli.parts import Parts

InThread = Callable[[Callable[[], object]], object]

# Seconds between two looks at all calls.
LOOK_S = 15.0
# Numbers of premium-rate services begin so (D1).
PREFIXES = ("909", "7070")


class PremiumParts:
    """Makes each part once, when it is first asked for; ``limits`` are those on messages."""

    def __init__(self, parts: Parts, limits: Limits) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._limits = limits
        self._look_at = 0.0

    @cached_property
    def credit(self) -> Credit:
        """The monthly credit of lines."""
        settings, parts = self._settings, self._parts
        return Credit(parts.database, parts.clock, settings.zone, settings.premium_calendar)

    @cached_property
    def owner(self) -> OwnerParts:
        """What lines' owners use."""
        return OwnerParts(self._parts, self.credit, self._limits)

    @cached_property
    def charging(self) -> Charging:
        """The money of running calls."""
        settings, parts = self._settings, self._parts
        return Charging(
            parts.database,
            parts.clock,
            settings.zone,
            self.credit,
            # Without a control connection nobody can move the end of a running call at the switch:
            # what is reserved at first has to last for all of it.
            slice_s=settings.premium_slice_s
            if settings.control_addresses
            else settings.premium_longest_call_s,
            longest_call_s=settings.premium_longest_call_s,
            # Nor does anybody see when a talk begins: it is told of when it is over.
            waiting_s=WAITING_S
            if settings.control_addresses
            else WAITING_S + settings.premium_longest_call_s,
            cdr_wait_s=settings.premium_cdr_wait_s,
            cdr_tolerance_s=settings.premium_cdr_tolerance_s,
        )

    @cached_property
    def complaints(self) -> Complaints:
        """Complaints about charges."""
        return Complaints(self._parts.database, self._parts.clock)

    @cached_property
    def settlements(self) -> Settlements:
        """Providers' statements."""
        settings, parts = self._settings, self._parts
        return Settlements(parts.database, parts.clock, settings.zone, settings.premium_calendar)

    @cached_property
    def charge_postings(self) -> ChargePostings:
        """Posts charges."""
        parts = self._parts
        charges = Charges(parts.database, parts.clock, self._settings.zone)
        return ChargePostings(charges, parts.nudge)

    @cached_property
    def charge_messages(self) -> ChargeMessages:
        """Sends SMS about charges and complaints."""
        return ChargeMessages(
            self._parts.database,
            self.complaints,
            self._parts.catalogue,
            sms=self._parts.sms,
            zone=self._settings.zone,
            complaints_number=self._settings.premium_complaints_number,
        )

    @cached_property
    def guards(self) -> Guards:
        """Who is stopped for unusual use."""
        limits = GuardLimits(**self._settings.premium_guards)
        return Guards(self._parts.database, self._parts.clock, limits)

    @property
    def recordings(self) -> str:
        """The folder of callers' recordings, below the sounds folder.

        Raises:
            ConfigError: it lies elsewhere, so that no prompt could play any.
        """
        sounds = Path(self._settings.sounds_dir).resolve()
        folder = Path(self._settings.recordings_dir).resolve()
        if not folder.is_relative_to(sounds) or folder == sounds:
            raise ConfigError("recordings_dir: has to lie below sounds_dir")
        return folder.relative_to(sounds).as_posix()

    def desk(self, in_thread: InThread | None = None) -> Premium:
        """Premium-rate lines as conversations see them; long computations are done `in_thread`."""
        settings, parts = self._settings, self._parts
        database, clock = parts.database, parts.clock
        return Premium(
            book=ServiceBook(database, clock, settings.zone),
            prices=PriceList(database, settings.zone, settings.premium_longest_call_s),
            consents=Consents(database, clock),
            charging=self.charging,
            credit=self.credit,
            credit_requests=self.owner.credit_requests,
            owners=self.owner.owners,
            pins=self.owner.pins(in_thread),
            codes=self.owner.codes,
            approvals=self.owner.approvals,
            consultants=Consultants(database, clock, settings.zone),
            trees=parts.trees,
            shelf=TreeShelf(),
            calendars=parts.calendars,
            guards=self.guards,
            complaints=self.complaints,
            owner_number=settings.premium_owner_number,
            complaints_number=settings.premium_complaints_number,
            recordings=self.recordings,
            warning_s=settings.premium_warning_s,
            consulting=ConsultingRules(
                ring_s=settings.premium_ring_s,
                accept=settings.premium_accept_key,
                language=settings.language,
                longest_wait_s=settings.premium_queue_s,
            ),
        )

    def look(self) -> None:
        """See to calls that nobody ended and to unusual use, if it is time again."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_S
        self.charging.sweep()
        Consultants(self._parts.database, self._parts.clock, self._settings.zone).lose()
        self.guards.look()
