"""The price, and its acceptance by a drawn digit (D10, D11).

The digit that accepts is named in its own breath, behind everything that has to be known, and is
drawn anew for each call. What is pressed before it is named is thrown away, and whoever presses on
after it has not pressed one key. So neither type-ahead nor a flood of digits accepts anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from billing.entities import Line
from billing.errors import Unavailable
from billing.premium.book import Service
from billing.premium.consents import Consent
from billing.premium.tariffs import Tariff
from callflows.call import BACK, Call, Digits, Prompt
from callflows.flow import Flow, State, state
from callflows.journal import told
from callflows.phrases import ONE_MOMENT
from callflows.premium import phrases as words
from callflows.services import Services
from sounds import Phrase, Recording

if TYPE_CHECKING:
    from callflows.premium.desk import Premium

    _Base = Flow
else:
    _Base = object

# How often the price may be heard in one call.
HEARINGS = 5
AGAIN = BACK


class Acceptance(_Base):
    """States `terms`, `accept`, `confirm`; the flow goes on in `accepted` or ends in `refuse`."""

    services: Services

    # -- what the flow says -------------------------------------------------------------------

    @property
    def premium(self) -> Premium:
        """What premium calls may use."""
        raise NotImplementedError

    @property
    def line(self) -> Line:
        """The caller's line."""
        raise NotImplementedError

    @property
    def service(self) -> Service:
        """The service that was dialled."""
        raise NotImplementedError

    def accepted(self, call: Call, consent: Consent) -> State | None:
        """The price is accepted, and that is written down: what follows."""
        raise NotImplementedError

    def refuse(self, call: Call, reason: str, phrase: Phrase) -> State | None:
        """The call ends here, with these words."""
        raise NotImplementedError

    # -- the conversation ---------------------------------------------------------------------

    @state
    def terms(self, call: Call) -> State | None:
        """Service, price, how it is counted, conditions: played to the end, whatever is pressed."""
        hearings = self.context.get("hearings", 0) + 1
        if hearings > HEARINGS:
            return self.refuse(call, "not_accepted", words.NOT_ACCEPTED)
        now = self.services.clock.now()
        tariffs = self.premium.prices.announced(self.service.id, now)
        if not tariffs:
            return self.refuse(call, "no_tariff", words.no_service(self.service.number))
        self.context |= {
            "hearings": hearings,
            "at": now.isoformat(timespec="seconds"),
            "tariffs": [tariff.id for tariff in tariffs],
            "version": self.service.version,
            "digit": self.premium.draw(""),
        }
        call.hear_out(*self._announcement(call, tariffs, now))
        return self.accept

    @state
    def accept(self, call: Call) -> State | None:
        """The drawn digit, pressed once, after it was named."""
        digit = self.context["digit"]
        call.hear_out(words.ACCEPT)
        pressed = call.ask(
            words.accept_key(digit),
            str,
            digits=Digits(first_s=call.timers.first_digit_s, fresh=True),
            invalid=words.WRONG_KEY,
            otherwise="",
        )
        if pressed == digit:
            self.context["pressed_at"] = self.services.clock.now().isoformat()
            return self.confirm
        if pressed == AGAIN:
            return self.terms
        words_for_it = words.WRONG_KEY if pressed else Phrase("no_input")
        return self._once_more(call, words_for_it, pressed)

    def _once_more(self, call: Call, why: Phrase, pressed: str) -> State | None:
        """Ask for another digit, so often as a question is asked."""
        self.context["tries"] = self.context.get("tries", 0) + 1
        if self.context["tries"] >= call.timers.tries:
            return self.refuse(call, "not_accepted", words.NOT_ACCEPTED)
        call.say(why)
        if pressed:
            self.context["digit"] = self.premium.draw(self.context["digit"] + pressed)
        return self.accept

    @state
    def confirm(self, call: Call) -> State | None:
        """Say that it is accepted; any further key takes that back. Else it is written down."""
        digit = self.context["digit"]
        if call.interrupted(words.ACCEPTED):
            return self._once_more(call, words.MANY_KEYS, digit)
        try:
            try:
                consent = self._record_consent(call)
            except Unavailable:
                call.say(ONE_MOMENT)
                call.flush()
                consent = self._record_consent(call)
        except Unavailable:
            call.journal.event("not_recorded", what="consent")
            return self.refuse(call, "not_recorded", words.NOT_RECORDED)
        call.journal.event("accepted", consent=consent.id, digit=digit)
        self.context["accepted"] = True
        return self.accepted(call, consent)

    def _record_consent(self, call: Call) -> Consent:
        # Both are the same here, or nothing is recorded.
        named = pressed = self.context["digit"]
        announced_at = datetime.fromisoformat(self.context["at"])
        known = self.premium.prices.announced(self.service.id, announced_at)
        # Only what was said: a version that was approved since then is not in it.
        tariffs = [each for each in known if each.id in self.context["tariffs"]]
        heard = [
            *self._announcement(call, tariffs, announced_at),
            words.ACCEPT,
            words.accept_key(named),
        ]
        return self.premium.consents.accept(
            call.id,
            self.line.id,
            self.service.id,
            self.service.version,
            tariffs,
            call.language,
            told(Prompt(tuple(heard), call.language)),
            named,
            pressed,
            announced_at,
            datetime.fromisoformat(self.context["pressed_at"]),
        )

    def _announcement(self, call: Call, tariffs: Sequence[Tariff], at: datetime) -> list[Phrase]:
        prices = self.premium.prices.prices(tariffs, at)
        phrases = [
            words.welcome(self.recording(call, "name")),
            *words.prices(prices, self.services.timezone),
        ]
        if self.service.conditions:
            phrases.append(words.conditions(self.recording(call, "conditions")))
        return [*phrases, words.BILLED]

    def recording(self, call: Call, part: Literal["name", "conditions"]) -> Recording:
        """What the service says of itself, in the caller's language if it speaks that."""
        service = self.service
        language = service.language(call.language)
        texts = service.names if part == "name" else service.conditions
        return Recording(service.recording(part, language), texts[language])
