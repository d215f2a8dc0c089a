"""What a premium call costs while it runs: credit extended ahead, the end moved, the caller warned.

The switch holds the end of what is reserved, so that nobody talks longer whatever becomes of this
process (`Channel.limit`, `Terms.limit_s`). The meter looks on each second while the switch is at
work, in the call's own greenlet: ahead of the end it asks for more, and moves the end if there is
more; before the last end it tells the caller; after it, it ends what is still being played.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from billing.clock import Clock
from billing.errors import Unavailable
from billing.premium.charging import Charged, Charging
from billing.premium.slices import Grant
from callflows.call import Call, CallerLeft, Prompt
from callflows.connection import Bridged, Leg, Terms
from sounds import Phrase

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """How a meter works, seconds.

    Attributes:
        warning_s: so long before the last end the caller is told of it.
        ahead_s: so long before the end of what is reserved more is asked for; longer than the
            warning, or what turns out to be the last slice is told of too late.
        farewell_s: so long after the end the caller's leg lives, for the last words.
    """

    warning_s: int = 30
    ahead_s: int = 45
    farewell_s: int = 20


class Meter:
    """The money of one running call.

    `warning` makes the phrase for the caller of the seconds that are left. `clock` and the switch
    have the same time, to some tenths of a second.
    """

    def __init__(
        self,
        call: Call,
        charging: Charging,
        clock: Clock,
        warning: Callable[[int], Phrase],
        rules: Rules | None = None,
    ) -> None:
        self._call = call
        self._charging = charging
        self._clock = clock
        self._warning = warning
        self._rules = rules or Rules()
        self._grant: Grant | None = None
        self._running = False
        self._bridging = False
        self._first_s = 0
        self._ahead_s = float(self._rules.ahead_s)
        self._limited_to: datetime | None = None
        self._warned = False
        self._beside: Callable[[Bridged], object] | None = None

    # -- how it stands ------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether the call costs now."""
        return self._running

    @property
    def final(self) -> bool:
        """Whether nothing follows what is reserved."""
        return self._grant is not None and self._grant.final

    @property
    def until(self) -> datetime | None:
        """To when the reserved money lasts; None before anything is reserved."""
        return None if self._grant is None else self._grant.until

    def remaining_s(self, wanted_s: float = 0.0) -> float:
        """Seconds that the reserved money lasts; infinite before anything is reserved.

        Ask with the length of what is to begin and must not be cut: where less is reserved, more is
        now, as far as there is credit.
        """
        if self._grant is None:
            return math.inf
        if not self._running:
            return float(self._grant.seconds)
        if not self._grant.final and self._left_s() < wanted_s:
            try:
                self._extend(math.ceil(wanted_s))
            except Unavailable as error:
                log.error("call %s: nothing more is reserved: %s", self._call.id, error)
            else:
                self._limit()
        # Who presses one key after the other leaves the switch no second to look in.
        self._warn_in_time()
        return max(0.0, self._left_s())

    # -- its life -----------------------------------------------------------------------------

    def prepare(self, grant: Grant) -> None:
        """Take what `Charging.begin` has granted; nothing costs yet."""
        self._grant = grant

    def resume(self) -> bool:
        """After a takeover: go on with a call that costs already; whether it does.

        Raises Unavailable, and whatever else `Charging` does.
        """
        standing = self._charging.standing(self._call.id)
        if standing is None or standing.status not in ("begun", "connected"):
            return False
        if standing.status == "begun":
            grant = self._charging.waiting(self._call.id)
            self._grant = grant if isinstance(grant, Grant) else None
            return False
        self._run(self._charging.extend(self._call.id))
        return True

    def connect(self, at: datetime | None = None) -> None:
        """The content begins (now, or `at`): from here on it costs. Raises Unavailable."""
        self._run(self._charging.connected(self._call.id, at or self._clock.now()))

    def end(self, at: datetime | None = None) -> Charged:
        """The content is over (now, or since `at`): charge it. May be said again.

        Raises Unavailable: the call is then charged by who looks after calls that nobody ended.
        """
        was_running, self._running = self._running, False
        self._call.channel.watch(None)
        charged = self._charging.ended(self._call.id, at or self._clock.now())
        if was_running:
            self._call.journal.event("charged", seconds=charged.seconds, amount=charged.amount)
        return charged

    def unlimit(self) -> None:
        """Take the end at the switch away, for a call that goes on without cost."""
        self._call.channel.limit(None, self._rules.farewell_s)
        self._limited_to = None

    def bridge(
        self,
        legs: Sequence[Leg],
        terms: Terms,
        beside: Callable[[Bridged], object] | None = None,
        *,
        within: bool = False,
    ) -> Bridged:
        """Connect with one of the legs; costs while the two are connected.

        The limit of `terms` is ours to set. `beside` is called each second in which the two are
        connected. The call is charged when this returns, or ends in CallerLeft; but where the
        talk is `within` a content that costs already, that goes on to cost.
        """
        left_s = self._left_s() if self._running else self.remaining_s()
        limit_s = None if math.isinf(left_s) else math.floor(left_s)
        if limit_s is not None and limit_s < 1 and not self._call.channel.bridged_before():
            return Bridged("NO_CREDIT")
        self._first_s = limit_s or 0
        limited = replace(terms, limit_s=limit_s, farewell_s=self._rules.farewell_s)
        self._bridging, self._beside = True, beside
        self._call.channel.watch(self.look)
        try:
            bridged = self._call.bridge(legs, limited)
        except CallerLeft as left:
            self._parted(left.bridged, within)
            raise
        finally:
            self._bridging, self._beside = False, None
            if not self._running:
                self._call.channel.watch(None)
        self._parted(bridged, within)
        if self._running:
            # The bridge has taken its end away with it.
            self._limit()
        return bridged

    # -- while the switch is at work ----------------------------------------------------------

    def look(self) -> None:
        """Called about each second. What fails is tried again in the next."""
        talk = self._call.channel.connected() if self._bridging else None
        if talk is not None and talk.connected_at is not None:
            if not self._running:
                self._run(self._charging.connected(self._call.id, talk.connected_at))
                # The switch has an end already; what is granted now may reach farther.
                self._limited_to = talk.connected_at + timedelta(seconds=self._first_s)
            if self._beside is not None:
                self._beside(talk)
        if not self._running or self._grant is None:
            return
        left_s = self._left_s()
        if not self._grant.final and left_s <= self._ahead_s:
            self._extend()
            left_s = self._left_s()
        if self._limited_to != self._grant.until:
            self._limit()
        self._warn_in_time()
        if left_s <= 0 and not self._bridging:
            self._call.channel.interrupt()

    def _run(self, grant: Grant) -> None:
        self._grant = grant
        self._aim(self._left_s())
        self._running = True
        if not self._bridging:
            self._limit()
        self._call.channel.watch(self.look)

    def _extend(self, ahead_s: int = 0) -> None:
        self._grant = self._charging.extend(self._call.id, ahead_s)
        self._aim(self._left_s())

    def _aim(self, left_s: float) -> None:
        """When to ask for more: where slices are shorter than `ahead_s`, not each second."""
        self._ahead_s = min(float(self._rules.ahead_s), 0.75 * left_s)

    def _limit(self) -> None:
        """Have the switch end the call at the end of what is reserved, to the second.

        A limit counts whole seconds of the day, as `until` is reached in one of them.
        """
        assert self._grant is not None
        until, now = self._grant.until.timestamp(), self._clock.now().timestamp()
        seconds = max(0, math.floor(until) - math.floor(now))
        if self._call.channel.limit(seconds, self._rules.farewell_s):
            self._limited_to = self._grant.until

    def _warn_in_time(self) -> None:
        left_s = self._left_s()
        if not self.final or self._warned or left_s > self._rules.warning_s:
            return
        phrase = self._warning(max(1, math.floor(left_s)))
        prompt = Prompt((phrase,), self._call.language)
        if left_s > 0 and self._call.channel.insert(prompt):
            self._call.journal.heard(prompt)
        self._warned = True

    def _left_s(self) -> float:
        assert self._grant is not None
        return (self._grant.until - self._clock.now()).total_seconds()

    def _parted(self, bridged: Bridged, within: bool) -> None:
        """After a bridge: say when it began and ended, if only that has cost."""
        if bridged.connected_at is None or within:
            return
        try:
            self._charging.connected(self._call.id, bridged.connected_at)
            self._running = True
            self.end(bridged.ended_at)
        except Unavailable as error:
            log.error("call %s: not charged yet: %s", self._call.id, error)
