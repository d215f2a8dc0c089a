"""The dialer: takes campaigns' calls from the database to the switches, and what came of them back.

All that must survive stands in the database (`billing.dialling`); this process only carries. Killed
at any moment, it leaves calls under a lease; when that ends, any dialer asks the switch about them.
Several may run: each claims its own calls, and pace and limits hold for all together.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gevent.event import Event

from billing import campaigns, cdrs
from billing.calendars import InvalidCalendar, YearNotCovered
from billing.calling_hours import NeverOpen
from billing.campaigns import Campaign
from billing.clock import Clock
from billing.database import Database
from billing.dialling import Dial, Dialling
from billing.errors import Unavailable
from billing.numbers import mask
from billing.retry_rules import Result
from esl_worker.metrics import CampaignMetrics
from esl_worker.originator import (
    Fate,
    NotPlaced,
    Originator,
    Outgoing,
    SwitchAway,
    result_of,
)

log = logging.getLogger(__name__)

# A call that its switch can no longer be asked about (its address left the configuration, say) is
# ended after this time: no conversation lasts so long.
LOST_FOR_GOOD = timedelta(hours=3)


@dataclass(slots=True)
class _Call:
    """A call that this dialer looks after.

    ``sighted``: its fate will be told. Otherwise the switch has to be asked. ``gone_at``: since
    when it has been known that the switch does not have it any more.
    """

    campaign: int
    switch: str
    started_at: datetime
    sighted: bool
    answered: bool = False
    gone_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """How often the dialer looks, seconds of its clock.

    ``tick_s``: for calls to start, and whether a campaign was paused or stopped. ``watch_s``: for
    leases, of its own calls and of dialers that died; must be well below the lease. ``idle_s``: at
    a campaign that had no call to start, or no room for one. ``record_s``: until the switch's
    record of a call that ended unseen must have come, if one comes at all.
    """

    tick_s: float = 0.2
    watch_s: float = 5.0
    idle_s: float = 1.0
    record_s: float = 20.0


class Dialer:
    """Dials for all running campaigns over the given switches, until it is stopped.

    ``speed`` is how many seconds of ``clock`` pass in a real one.
    """

    def __init__(
        self,
        database: Database,
        dialling: Dialling,
        originators: Sequence[Originator],
        clock: Clock,
        *,
        timing: Timing | None = None,
        speed: float = 1.0,
        metrics: CampaignMetrics | None = None,
    ) -> None:
        self._database = database
        self._dialling = dialling
        self._originators = list(originators)
        self._clock = clock
        self._timing = timing or Timing()
        self._speed = speed
        self._metrics = metrics or CampaignMetrics()
        self._calls: dict[str, _Call] = {}
        self._fates: deque[Fate] = deque()
        self._wake = Event()
        self._stopping = False
        self._next_watch: datetime | None = None
        # When a campaign has to be looked at again on a switch; absent: now.
        self._again: dict[tuple[int, str], datetime] = {}

    @property
    def live(self) -> int:
        """How many calls this dialer looks after now."""
        return len(self._calls)

    def run(self) -> None:
        """Dial until `stop`. A database that is away is waited for."""
        while not self._stopping:
            try:
                self.step()
            except Unavailable as error:
                log.warning("the dialer waits for the database: %s", error)
            self._wake.wait(self._timing.tick_s / self._speed)
            self._wake.clear()

    def stop(self) -> None:
        """Start no more calls. Those under way go on; another dialer, or the next one, sees to
        them when their lease ends."""
        self._stopping = True
        self._wake.set()

    def drain(self, limit_s: float) -> int:
        """After `run` has returned: wait for what ringing calls come to, then let go of the rest.

        Waits up to ``limit_s`` real seconds. Returns how many calls go on; another dialer takes
        them over at once.
        """
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            try:
                self._write_fates()
                if all(call.answered or not call.sighted for call in self._calls.values()):
                    break
                self._dialling.renew(list(self._calls), self._clock.now())
            except Unavailable as error:
                log.warning("the dialer waits for the database: %s", error)
            self._wake.wait(self._timing.tick_s / self._speed)
            self._wake.clear()
        try:
            self._dialling.let_go(list(self._calls), self._clock.now())
        except Unavailable as error:
            log.warning("%d calls wait for their lease to end: %s", len(self._calls), error)
        return len(self._calls)

    def step(self) -> None:
        """Do once whatever is due. Raises Unavailable."""
        now = self._clock.now()
        self._write_fates()
        self._watch(now)
        running = campaigns.listed(self._database, running=True)
        self._heed_stops({campaign.id for campaign in running})
        for campaign in running:
            try:
                self._dial(campaign)
            except (YearNotCovered, NeverOpen, InvalidCalendar) as error:
                log.error("campaign %s is paused: %s", campaign.name, error)
                campaigns.hold(self._database, campaign.id, str(error))

    # -- dialling -----------------------------------------------------------------------------

    def _dial(self, campaign: Campaign) -> None:
        idle = True
        for originator in self._originators:
            if not originator.ready or self._stopping:
                continue
            again = self._again.get((campaign.id, originator.name))
            if again is not None and again > self._clock.now():
                continue
            now = self._clock.now()
            claim = self._dialling.claim(campaign, originator.name, now)
            for dial in claim.dials:
                self._place(campaign, originator, dial)
            if not claim.running:
                return
            if not claim.dials:
                rest = now + timedelta(seconds=self._timing.idle_s)
                self._again[campaign.id, originator.name] = min(rest, claim.again_at or rest)
            idle = idle and not claim.dials
        if idle and self._next_look(campaign.id):
            self._dialling.close(campaign.id, self._clock.now())

    def _next_look(self, campaign: int) -> bool:
        """Whether it is time to see if a campaign is done; not more than once a watch."""
        key = (campaign, "")
        now = self._clock.now()
        if self._again.get(key, now) > now:
            return False
        self._again[key] = now + timedelta(seconds=self._timing.watch_s)
        return True

    def _place(self, campaign: Campaign, originator: Originator, dial: Dial) -> None:
        now = self._clock.now()
        self._calls[dial.call_id] = _Call(campaign.id, originator.name, now, sighted=True)
        # Held up so long that others may soon take the call for lost: then it must not be placed.
        late = dial.lease_until - now < timedelta(seconds=self._timing.watch_s)
        call = Outgoing(dial.call_id, dial.number, campaign.rules.caller_id, campaign.rules.ring_s)
        try:
            if late or self._stopping:
                raise NotPlaced("held up for too long" if late else "the dialer stops")
            originator.place(call, self._answered, self._fated)
        except NotPlaced as error:
            log.warning("call to %s was not placed: %s", mask(dial.number), error)
            self._fated(Fate(dial.call_id, answered=False, result="failed"))

    def _answered(self, call_id: str) -> None:
        call = self._calls.get(call_id)
        if call is not None:
            call.answered = True

    def _fated(self, fate: Fate) -> None:
        self._fates.append(fate)
        self._wake.set()

    def _write_fates(self) -> None:
        while self._fates:
            fate = self._fates[0]
            call = self._calls.get(fate.call_id)
            if call is not None and fate.result is None and not fate.answered:
                call.sighted = False
            elif call is not None:
                self._finish(
                    fate.call_id, call, fate.result or "unknown", fate.answered, cut=fate.cut
                )
            self._fates.popleft()

    def _finish(
        self, call_id: str, call: _Call, result: Result, answered: bool, *, cut: bool = False
    ) -> None:
        now = self._clock.now()
        outcome = self._dialling.finish(call_id, result, now, answered=answered, cut=cut)
        del self._calls[call_id]
        if outcome is not None:
            self._metrics.ended(outcome)
        # A place is free again.
        for key in [key for key in self._again if key[0] == call.campaign]:
            del self._again[key]
        log.debug("call %s ended: %s", call_id, outcome)

    # -- leases, and calls that somebody has lost sight of --------------------------------------

    def _watch(self, now: datetime) -> None:
        if self._next_watch is not None and now < self._next_watch:
            return
        self._next_watch = now + timedelta(seconds=self._timing.watch_s)
        if self._calls:
            self._dialling.renew(list(self._calls), now)
        for orphan in self._dialling.take_over(now):
            if orphan.call_id in self._calls:
                continue  # ours, after a time without the database
            log.warning("call %s: its dialer is gone; asking its switch", orphan.call_id)
            self._calls[orphan.call_id] = _Call(
                orphan.campaign, orphan.switch, orphan.started_at, sighted=False
            )
        self._look_for_lost(now)

    def _look_for_lost(self, now: datetime) -> None:
        """End the calls that nobody saw end. The switch's record says how, where one has come."""
        unseen = [call_id for call_id, call in self._calls.items() if not call.sighted]
        for record in cdrs.endings(self._database, unseen):
            call = self._calls[record.call_id]
            self._finish(record.call_id, call, result_of(record.cause), record.answered)
        lost: dict[str, list[str]] = {}
        for call_id, call in self._calls.items():
            if not call.sighted:
                lost.setdefault(call.switch, []).append(call_id)
        known = {originator.name: originator for originator in self._originators}
        for switch, call_ids in lost.items():
            originator = known.get(switch)
            up_s = None
            try:
                if originator is None:
                    raise SwitchAway("it is not configured any more")
                gone = self._without_record(set(call_ids) - originator.exists(call_ids), now)
                up_s = originator.up_s() if gone else None
            except SwitchAway as error:
                log.warning("%d calls of switch %s wait: %s", len(call_ids), switch, error)
                gone = {
                    call_id
                    for call_id in call_ids
                    if now - self._calls[call_id].started_at > LOST_FOR_GOOD
                }
            for call_id in gone:
                # Had it been answered, its conversation would have written so.
                call = self._calls[call_id]
                cut = up_s is not None and now - call.started_at > timedelta(seconds=up_s)
                self._finish(call_id, call, "unknown", answered=False, cut=cut)

    def _without_record(self, gone: set[str], now: datetime) -> set[str]:
        """Those of which the record should have come by now."""
        waited = now - timedelta(seconds=self._timing.record_s)
        late = set()
        for call_id in gone:
            call = self._calls[call_id]
            call.gone_at = call.gone_at or now
            if call.gone_at <= waited:
                late.add(call_id)
        return late

    def _heed_stops(self, running: set[int]) -> None:
        quiet = {call.campaign for call in self._calls.values()} - running
        if not quiet:
            return
        for campaign in campaigns.listed(self._database):
            if campaign.id in quiet and campaign.status == "stopped":
                self._hang_up_ringing(campaign.id)

    def _hang_up_ringing(self, campaign: int) -> None:
        """End a campaign's calls that nobody has answered. Talks are never cut off."""
        known = {originator.name: originator for originator in self._originators}
        for call_id, call in list(self._calls.items()):
            if call.answered or not call.sighted or call.campaign != campaign:
                continue
            try:
                known[call.switch].hang_up(call_id)
            except SwitchAway as error:
                log.warning("call %s rings on: %s", call_id, error)
