"""The owner's number: credit, approvals, PIN, and what each premium call needs (D8, D9, D14).

Nothing is told or changed before the caller has proven to be the line's owner, by PIN or by a code
to the registered mobile; a number that the network does not vouch for does not come even so far.

What is set is set, not switched: setting a thing twice, as a worker that takes over may, is setting
it once.
"""

from __future__ import annotations

from billing.entities import Line
from billing.premium.codes import Purpose
from billing.premium.owners import registered_mobile
from callflows import phrases
from callflows.call import BACK, Call, GaveUp
from callflows.flow import Flow, State, state
from callflows.premium import owner_phrases as words
from callflows.premium.identity import proven_number
from callflows.premium.owner_money import OwnerMoney
from callflows.premium.owner_settings import OwnerSettings
from callflows.services import Services

# Beside the line that the call comes from.
LINES_OFFERED = 8


class OwnerFlow(OwnerMoney, OwnerSettings, Flow):
    """The whole conversation with one line's owner."""

    name = "owner"

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.services = services

    # -- who calls ----------------------------------------------------------------------------

    @state(initial=True)
    def welcome(self, call: Call) -> State | None:
        number = proven_number(call, self.services.region)
        if number is None:
            call.journal.event("not_authenticated", reason="untrusted")
            return self.withheld
        lines = self._lines_of(number)
        if not lines:
            return self.unknown_line
        if not call.language_set:
            call.language = lines[0].language
        call.say(words.WELCOME)
        if len(lines) == 1:
            self._take(lines[0])
            return self.prove
        self.context["lines"] = [line.number for line in lines]
        return self.choose_line

    @state
    def choose_line(self, call: Call) -> State | None:
        offered = {str(place): each for place, each in enumerate(self.context["lines"], start=1)}
        chosen = call.choose(
            [words.line_option(each, key) for key, each in offered.items()], offered
        )
        line = self.premium.owners.line_of(chosen)
        if line is None:
            raise LookupError("the line that was chosen is gone")
        self._take(line)
        return self.prove

    @state
    def prove(self, call: Call) -> State | None:
        """By PIN where one is set, else by code."""
        return self.prove_pin if self.owner().has_pin else self.send_code

    def proved(self, call: Call) -> State | None:
        """The owner it is; or the code for a new PIN was right."""
        if self.context.pop("setting", None):
            return self.new_pin
        self.context["proven"] = True
        call.journal.event("authenticated")
        return self.menu

    def not_proved(self, call: Call, reason: str) -> State | None:
        """Who has forgotten the PIN gets a code; who has neither gets a person."""
        if self.context.pop("setting", None):
            return self.menu
        call.journal.event("not_authenticated", reason=reason)
        if reason in ("pin", "declined") and self._may_have_code():
            return self.code_instead
        if reason == "no_mobile":
            call.say(words.NO_MOBILE)
            return self.care
        return self.unproven

    def pin_locked(self, call: Call) -> State | None:
        """Whoever holds the registered mobile is the owner, and can set a new PIN."""
        return self.code_instead if self._may_have_code() else self.not_proved(call, "locked")

    def _may_have_code(self) -> bool:
        return not self.context.get("codes") and registered_mobile(self.owner_line) is not None

    @state
    def code_instead(self, call: Call) -> State | None:
        send = call.choose(words.CODE_INSTEAD, {"1": True, BACK: False})
        return self.send_code if send else self.not_proved(call, "gave_up")

    # -- the menu -----------------------------------------------------------------------------

    @state
    def menu(self, call: Call) -> State | None:
        return call.choose(
            words.MENU,
            {
                "1": self.credit,
                "2": self.requests,
                "3": self.pin,
                "4": self.mode,
                "5": self.blocking,
                "6": self.charge_sms,
                "7": self.greeting,
                "9": self.menu,
                "0": self.care,
                BACK: self.goodbye,
            },
        )

    # -- the end ------------------------------------------------------------------------------

    @state
    def goodbye(self, call: Call) -> None:
        call.say(phrases.GOODBYE)

    @state
    def withheld(self, call: Call) -> None:
        call.say(words.WITHHELD)

    @state
    def unknown_line(self, call: Call) -> None:
        call.say(words.UNKNOWN_LINE)

    @state
    def unproven(self, call: Call) -> None:
        call.say(words.NOT_PROVED)

    @state
    def nobody_there(self, call: Call) -> None:
        call.say(phrases.GIVING_UP_NO_INPUT)

    @state
    def care(self, call: Call) -> State:
        call.say(phrases.CONNECTING_CARE)
        numbers = self.services.numbers
        return self.hand_over(call, numbers.care, numbers.care_context, self.transfer_failed)

    @state
    def transfer_failed(self, call: Call) -> State:
        call.say(phrases.TRANSFER_FAILED)
        return self.menu if self.context.get("proven") else self.goodbye

    def gave_up(self, call: Call, why: GaveUp) -> State | None:
        """Silence ends the call politely; wrong keys bring a person."""
        if why.reason == "invalid":
            call.say(phrases.GIVING_UP_INVALID)
            return self.care
        return self.nobody_there

    def trouble(self, call: Call) -> State | None:
        """Whatever broke: nothing was charged or sent."""
        call.say(phrases.TECHNICAL_TROUBLE)
        return None

    def restored(self, call: Call) -> None:
        """Another worker had this call: whose line it is about stands in the context."""
        call.language_set = True
        number = self.context.get("line")
        self._line = self.premium.owners.line_of(number) if number else None

    # -- helpers ------------------------------------------------------------------------------

    @property
    def line_id(self) -> int | None:
        """The line that the call is about, once it is known."""
        return self._line.id if self._line else None

    @property
    def proof_purpose(self) -> Purpose:
        """A code for the menu sets no PIN."""
        return "pin" if self.context.get("setting") else "owner"

    def _lines_of(self, number: str) -> list[Line]:
        """The line that the call comes from, and those that its number is registered for."""
        owners = self.premium.owners
        own = owners.line_of(number)
        registered = [line for line in owners.lines_of(number) if line != own]
        return ([own] if own else []) + registered[:LINES_OFFERED]

    def _take(self, line: Line) -> None:
        self._line = line
        self.context["line"] = line.number
