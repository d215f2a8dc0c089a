"""Connecting a caller with one of a service's consultants, or waiting for one (D5, D6).

States to mix into a flow. Nothing costs before the two are connected, and waiting never does: where
the service costs already (a consultant in the midst of a menu tree), nobody waits in a queue.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, cast

from billing.entities import Language
from billing.errors import Unavailable
from billing.premium.consultants import Consultant, Consultants
from billing.premium.slices import Refused
from callflows.call import BACK, Call, CallerGone, CallerLeft
from callflows.connection import Bridged, Leg, Terms
from callflows.flow import State, state
from sounds import Phrase, Recording

if TYPE_CHECKING:
    from billing.premium.book import Service
    from billing.premium.charging import Charging
    from billing.premium.definitions import Order
    from callflows.flow import Flow
    from callflows.premium.meter import Meter

    _Base = Flow
else:
    _Base = object

log = logging.getLogger(__name__)

CONNECTING = Phrase("consulting_connecting")
CONNECTING_CHARGED = Phrase("consulting_connecting_charged")
CLOSED = Phrase("consulting_closed")
BUSY = Phrase("consulting_busy")
WAITED = Phrase("consulting_waited")

Ended = Literal["talked", "time_over", "closed", "busy", "waited", "left", "no_credit"]
"""How connecting ended: after a talk, at the end of the credit; nobody works now, nobody takes the
call, none became free in time, the caller left the queue, the credit does not reach any more."""

_CLAIMED, _TRIED, _ROUNDS, _WAITED, _WITHIN = "claimed", "tried", "rounds", "waited_s", "within"


@dataclass(frozen=True, slots=True)
class ConsultingRules:
    """How consultants are called and waited for.

    Attributes:
        ring_s: how long a telephone rings.
        accept: the key with which a call is taken, so that no answering machine takes it; "" for
            whoever answers.
        language: of what is whispered to consultants.
        tell_s: between two words about the place in the queue.
        longest_wait_s: in the queue, in all.
        rounds: how often all free consultants are called who do not answer.
    """

    ring_s: int = 25
    accept: str = "1"
    language: Language = "fa"
    tell_s: int = 30
    longest_wait_s: int = 900
    rounds: int = 2


CONSULTING = ConsultingRules()


class ConsultantStates(_Base):
    """The state `consult` for a flow, and those behind it; `consulted` is where it goes on.

    The flow sets `consultants`, `service`, `meter` and `charging`, and may say how often this line
    has called the provider before (`earlier_calls`).
    """

    # -- what the flow says -------------------------------------------------------------------

    if TYPE_CHECKING:

        @property
        def service(self) -> Service: ...

        @property
        def meter(self) -> Meter: ...

    @property
    def consultants(self) -> Consultants:
        """Who takes the service's calls."""
        raise NotImplementedError

    @property
    def charging(self) -> Charging:
        """The money of running calls."""
        raise NotImplementedError

    @property
    def consulting_rules(self) -> ConsultingRules:
        """How consultants are called and waited for."""
        return CONSULTING

    def consulted(self, call: Call, how: Ended) -> State | None:
        """The state that follows; what there is to say of `how` has been said, but for the ends
        of the credit."""
        raise NotImplementedError

    def earlier_calls(self, call: Call) -> int:
        """How often this line has called the provider before."""
        return 0

    # -- the states ---------------------------------------------------------------------------

    @state
    def consult(self, call: Call) -> State | None:
        """Find somebody who is free."""
        if not self.consultants.on_duty(self.service.id):
            call.say(CLOSED)
            return self._end_consulting(call, "closed")
        claimed = self._claim_for(call)
        if claimed:
            return self._ring_claimed(claimed)
        if self.context.get(_TRIED):
            # Everybody was called, and nobody has answered.
            self.context[_TRIED] = []
            self.context[_ROUNDS] = self.context.get(_ROUNDS, 0) + 1
            if self.context[_ROUNDS] >= self.consulting_rules.rounds:
                call.say(BUSY)
                return self._end_consulting(call, "busy")
            return self.consult
        call.say(BUSY)
        return self._end_consulting(call, "busy") if self.meter.running else self.queue

    @state
    def ring(self, call: Call) -> State | None:
        """Call who was claimed, and connect the caller with who answers."""
        claimed = [Consultant(*each) for each in self.context[_CLAIMED]]
        rules = self.consulting_rules
        terms = Terms(None, ring_s=rules.ring_s, accept=rules.accept)
        legs = self._consultant_legs(call, claimed)
        first = not self.context.get(_TRIED) and not self.context.get(_ROUNDS)
        if first and not call.channel.bridged_before():
            call.say(CONNECTING_CHARGED if self.context.get(_WITHIN) else CONNECTING)
        try:
            bridged = self.meter.bridge(
                legs, terms, self._hold_while(call), within=bool(self.context.get(_WITHIN))
            )
        except CallerGone as gone:
            # Else the talk may go on, and another worker has the call when it ends.
            if gone.certain:
                talked = gone.bridged.code if isinstance(gone, CallerLeft) else None
                self._write_quietly(lambda: self._give_back(call, talked))
            raise
        if bridged.cause == "NO_CREDIT":
            self._write_quietly(lambda: self._give_back(call, None))
            return self._end_consulting(call, "no_credit")
        if not bridged.answered:
            self.context[_TRIED] = [
                *self.context.get(_TRIED, []),
                *(each.code for each in claimed),
            ]
            self.consultants.free(call.id)
            return self.consult
        self._write_quietly(lambda: self._give_back(call, bridged.code))
        return self._end_consulting(call, "time_over" if bridged.time_over else "talked")

    @state
    def queue(self, call: Call) -> State | None:
        """Wait, with music; the place is said again and again."""
        rules, consultants, service = self.consulting_rules, self.consultants, self.service.id
        consultants.join(service, call.id)
        standing = consultants.standing(service, call.id)
        minutes = max(1, round(standing.estimated_s / 60))
        place = Phrase("consulting_queue", position=standing.position, minutes=minutes, key=BACK)
        call.journal.event("queue", position=standing.position, estimated_s=standing.estimated_s)
        call.say(place)
        try:
            found = call.wait_for(
                lambda: self._claim_for(call) or None, most_s=rules.tell_s, keys=BACK
            )
        except CallerGone as gone:
            if gone.certain:
                self._write_quietly(lambda: self._give_back(call, None, "left"))
            raise
        if isinstance(found, str):
            self._write_quietly(lambda: self._give_back(call, None, "left"))
            return self._end_consulting(call, "left")
        if found:
            return self._ring_claimed(found)
        waited = self.context.get(_WAITED, 0) + rules.tell_s
        self.context[_WAITED] = waited
        if not consultants.on_duty(service):
            call.say(CLOSED)
            return self._end_consulting(call, "closed")
        if waited >= rules.longest_wait_s:
            call.say(WAITED)
            return self._end_consulting(call, "waited")
        granted = self.charging.waiting(call.id)
        if isinstance(granted, Refused):
            return self._end_consulting(call, "no_credit")
        self.meter.prepare(granted)
        return self.queue

    # -----------------------------------------------------------------------------------------

    def _claim_for(self, call: Call) -> list[Consultant]:
        order = cast("Order", self.service.order or "ring_order")
        tried = self.context.get(_TRIED, [])
        return self.consultants.claim(self.service.id, order, call.id, tried)

    def _ring_claimed(self, claimed: list[Consultant]) -> State:
        self.context[_CLAIMED] = [[each.id, each.code, each.number] for each in claimed]
        # For whoever takes over: by then the talk itself may be what costs.
        self.context[_WITHIN] = self.meter.running
        return self.ring

    def _consultant_legs(self, call: Call, claimed: list[Consultant]) -> list[Leg]:
        rules, service = self.consulting_rules, self.service
        language = service.language(rules.language)
        name = Recording(service.recording("name", language), service.names[language])
        earlier = self.earlier_calls(call)
        if earlier:
            whisper = [Phrase("whisper_returning", service=name, calls=earlier)]
        else:
            whisper = [Phrase("whisper_first", service=name)]
        if rules.accept:
            whisper.append(Phrase("whisper_accept", key=rules.accept))
        return [Leg(each.number, each.code, tuple(whisper), language) for each in claimed]

    def _hold_while(self, call: Call) -> Callable[[Bridged], None]:
        """Keeps the consultant who talks claimed for as long as the talk may last."""
        held: list[object] = []

        def hold(talk: Bridged) -> None:
            until = self.meter.until
            if until is not None and held != [until]:
                self.consultants.hold(call.id, until + timedelta(seconds=30), talk.code)
                held[:] = [until]

        return hold

    def _end_consulting(self, call: Call, how: Ended) -> State | None:
        if how not in ("talked", "time_over"):
            self._write_quietly(lambda: self._give_back(call, None, "left"))
        for name in (_CLAIMED, _TRIED, _ROUNDS, _WAITED, _WITHIN):
            self.context.pop(name, None)
        call.journal.event("consulted", how=how)
        return self.consulted(call, how)

    def _give_back(
        self, call: Call, talked: str | None, outcome: Literal["served", "left"] = "served"
    ) -> None:
        """Give up claims and place."""
        self.consultants.free(call.id, talked)
        self.consultants.leave(call.id, outcome)

    def _write_quietly(self, write: Callable[[], object]) -> None:
        """What is left to do of itself where it cannot be written now: claims and places end."""
        try:
            write()
        except Unavailable as error:
            log.error("consultants are not given back yet: %s", error)
