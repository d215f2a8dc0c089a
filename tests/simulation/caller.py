"""One simulated call: what the caller does, what the switch knows, what a worker says to billing.

The conversation is the worker's side of `callflows.premium`, with waits instead of words: each of
its states does the same writes under the same keys. What is on the channel (``state`` and what goes
with it) outlives the worker; what a worker has in its hands dies with it.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from billing.errors import KeyConflict
from billing.premium.consents import Consent
from billing.premium.slices import Grant, Refused

if TYPE_CHECKING:
    from tests.simulation.world import Service, World

Steps = Generator[float, None, None]
"""A conversation: each step yields after how many seconds it goes on."""

EXTEND_AHEAD_S = 20.0


class Gone(Exception):
    """The caller has hung up, or the switch has ended the call."""


class SimulatedCall:
    """A call from its dialling to its record."""

    def __init__(self, world: World, serial: int, line: int, service: Service) -> None:
        draw = world.draw
        self.world = world
        self.id = f"call-{serial:06}"
        self.line = line
        self.service = service
        self.worker = draw.randrange(world.workers)
        self.approval: int | None = None
        # The caller's plans.
        self.presses_right = draw.random() < 0.9
        self.patience_s = draw.expovariate(1 / 15) if draw.random() < 0.15 else 1e9
        self.wants_s = draw.expovariate(1 / 150)
        # The channel: what the switch knows, and what the flow has written there.
        self.started_at = world.clock.true
        self.state = "terms"
        self.digit = ""
        self.connected_at: datetime | None = None
        self.hung_up_at: datetime | None = None
        self.limit_at: datetime | None = None
        self.bridged = False
        # What the simulation remembers for its judgement.
        self.disturbed = False
        self.accepted = False
        self.grant: Grant | None = None
        self.running: Steps | None = None
        world.agenda.after(self.patience_s, self._lose_patience)

    # -- the caller and the switch ----------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether the switch has ended the call."""
        return self.hung_up_at is not None

    def hang_up(self) -> None:
        """The channel ends, by whomever; the record of it is on its way."""
        if self.hung_up_at is None:
            self.hung_up_at = self.world.clock.true
            self.world.record_of(self)

    def _lose_patience(self) -> None:
        if self.connected_at is None:
            self.hang_up()

    def _limit_reached(self) -> None:
        """The switch ends the call where its credit ends, whoever is alive (sched_hangup)."""
        if not self.over and self.limit_at is not None and self.world.clock.true >= self.limit_at:
            self.hang_up()

    def _limit(self, until: datetime) -> None:
        # The worker's clock has made ``until``; the switch counts seconds from now on.
        left = max(0.0, (until - self.world.clock.now()).total_seconds())
        self.limit_at = self.world.clock.true + timedelta(seconds=left)
        self.world.agenda.at(self.limit_at, self._limit_reached)

    # -- the conversation -------------------------------------------------------------------------

    def converse(self) -> Steps:
        """Go on in the state that the channel says."""
        try:
            while self.state != "end":
                yield from getattr(self, f"_{self.state}")()
        except Gone:
            pass
        yield from self._settle()

    def _wait(self, seconds: float) -> Steps:
        """Wait, as a caller hears something; Gone when that was cut off."""
        if not self.over:
            yield seconds
        if self.over:
            raise Gone

    def _terms(self) -> Steps:
        world = self.world
        world.database.point = "terms"
        self.digit = str(world.draw.randrange(1, 10))
        self.heard_at = world.clock.now()
        yield from self._wait(world.draw.uniform(6, 14))
        self.state = "accept"

    def _accept(self) -> Steps:
        world = self.world
        yield from self._wait(world.draw.uniform(1, 4))
        if not self.presses_right:
            self.hang_up()
            raise Gone
        now = world.clock.now()
        heard_at = min(self.heard_at, now)
        world.database.point = "accept"
        world.consents.accept(
            self.id,
            self.line,
            self.service.id,
            1,
            world.announced(self.service, heard_at),
            "fa",
            [["premium_price", "fa", {}]],
            self.digit,
            self.digit,
            heard_at,
            now,
        )
        self.accepted = True
        self.state = "begin"

    def _consent(self) -> Consent:
        consent = self.world.consents.of(self.id)
        assert consent is not None
        return consent

    def _begin(self) -> Steps:
        world = self.world
        yield from self._wait(world.draw.uniform(0.01, 0.2))
        self.approval = world.approval_for(self.line, self.service, world.clock.now())
        world.database.point = "begin"
        try:
            granted = world.charging.begin(
                self.id, self._consent(), self.service.id, self.line, self.approval, "+98218"
            )
        except KeyConflict:
            # Taken over so late that it was resolved meanwhile.
            self.disturbed = True
            self.hang_up()
            raise Gone from None
        if isinstance(granted, Refused):
            world.refused[granted.reason] += 1
            yield from self._wait(4)
            self.hang_up()
            raise Gone
        self.state = "queue" if self.service.consultants else "connect"

    def _queue(self) -> Steps:
        """Wait for a consultant; that is not charged."""
        world = self.world
        for _ in range(world.draw.randrange(4)):
            yield from self._wait(30)
            world.database.point = "waiting"
            try:
                still = world.charging.waiting(self.id)
            except KeyConflict:
                self.disturbed = True
                self.hang_up()
                raise Gone from None
            if isinstance(still, Refused):
                self.hang_up()
                raise Gone
        if world.draw.random() < 0.1:
            world.database.point = "abandoned"
            world.charging.abandoned(self.id, "no consultant")
            self.hang_up()
            raise Gone
        self.state = "connect"

    def _connect(self) -> Steps:
        world = self.world
        yield from self._wait(world.draw.uniform(0.01, 0.3))
        if self.connected_at is None:
            # The switch notes it on the channel by itself.
            self.connected_at = world.clock.true
            self.seen_connected_at = world.clock.now()
            self.bridged = self.service.consultants
            world.agenda.after(self.wants_s, self.hang_up)
        world.database.point = "connected"
        grant = world.charging.connected(self.id, self.seen_connected_at)
        self._granted(grant)
        self.state = "content"
        self.grant = grant

    def _granted(self, grant: Grant) -> None:
        if grant.seconds == 0:
            self.hang_up()
            raise Gone
        self._limit(grant.until)

    def dies(self) -> None:
        """The worker is dead, and what it had in its hands is lost."""
        self.running = self.grant = None
        self.disturbed = True

    def _content(self) -> Steps:
        world = self.world
        grant = self.grant
        if grant is None:
            # Taken over: what is reserved, nobody has in hand any more.
            yield from self._wait(world.draw.uniform(0.01, 0.3))
            world.database.point = "connected again"
            grant = world.charging.connected(self.id, self.seen_connected_at)
            self._granted(grant)
        while True:
            left = (grant.until - world.clock.now()).total_seconds()
            if grant.final:
                yield from self._wait(max(0.0, left) + 0.01)
                if left < -1:
                    # Whatever the clocks say: the credit is used up.
                    self.hang_up()
                continue
            yield from self._wait(max(0.0, left - EXTEND_AHEAD_S))
            world.database.point = "extend"
            grant = world.charging.extend(self.id)
            self._granted(grant)

    def _settle(self) -> Steps:
        """The call is over: say so, as whoever carries the conversation does last."""
        world = self.world
        # The hangup comes through the socket a little later.
        yield world.draw.uniform(0.0, 0.2)
        if self.connected_at is not None:
            world.database.point = "ended"
            assert self.hung_up_at is not None
            ended_at = self.hung_up_at + (world.clock.now() - world.clock.true)
            world.charging.ended(self.id, ended_at)
        elif self.accepted:
            world.database.point = "abandoned"
            world.charging.abandoned(self.id, "hung up")
