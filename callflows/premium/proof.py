"""Proving to be the line's owner: by PIN, or by a code sent to the owner's registered mobile (D9).

Mixed into a flow, which says whose line it is and what follows. Neither PIN nor code ever stands in
the context, which is written to the channel: both are asked as secrets, tried, and forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing.entities import Line
from billing.errors import Limited, Unavailable
from billing.premium.codes import CODE_DIGITS, Purpose
from billing.premium.owners import NoMobile
from billing.premium.pins import LONGEST_PIN, SHORTEST_PIN, Checked
from callflows import phrases
from callflows.call import BACK, TERMINATOR, Call, Digits
from callflows.connection import MUSIC
from callflows.flow import Flow, State, state
from callflows.premium import owner_phrases as words
from callflows.services import Services
from sounds import Phrase, Recording

if TYPE_CHECKING:
    from callflows.premium.desk import Premium

    _Base = Flow
else:
    _Base = object

# More than any has, so that a surplus is refused with the PIN, not left for what follows.
SECRET_DIGITS = 32
# A message needs its time to arrive and be read: half a minute of music, then so many seconds.
CODE_WAIT_S = 5.0
CODES_A_CALL = 2
PINS_A_CALL = 3


class OwnerProof(_Base):
    """States `prove_pin` and `send_code`; the flow goes on in `proved` or `not_proved`."""

    services: Services

    # -- what the flow says -------------------------------------------------------------------

    @property
    def owner_line(self) -> Line:
        """The line whose owner is to be proven."""
        raise NotImplementedError

    @property
    def proof_purpose(self) -> Purpose:
        """What a code is for."""
        return "call"

    def proved(self, call: Call) -> State | None:
        """The caller is the owner: what follows."""
        raise NotImplementedError

    def not_proved(self, call: Call, reason: str) -> State | None:
        """What follows else: `reason` is pin, locked, code, no_mobile, limited, unavailable, or
        declined (the caller gave up)."""
        raise NotImplementedError

    def pin_locked(self, call: Call) -> State | None:
        """The PIN is locked; why has been said."""
        return self.not_proved(call, "locked")

    # -- PIN ----------------------------------------------------------------------------------

    @state
    def prove_pin(self, call: Call) -> State | None:
        pin = call.ask(
            words.ASK_PIN,
            pin_or_back,
            digits=call.digits(SECRET_DIGITS, terminator=TERMINATOR, secret=True),
            invalid=words.INVALID_PIN,
        )
        if pin == BACK:
            return self.not_proved(call, "declined")
        checked = self.premium.pins.check(self.owner_line.id, pin)
        call.journal.event("pin", result=checked.result)
        if checked.ok:
            return self.proved(call)
        if checked.result == "not_set":
            return self.send_code
        if checked.result == "locked":
            call.say(*self._locked(checked))
            return self.pin_locked(call)
        call.say(words.PIN_WRONG)
        self.context["pins"] = self.context.get("pins", 0) + 1
        if self.context["pins"] >= PINS_A_CALL:
            return self.not_proved(call, "pin")
        return self.prove_pin

    def _locked(self, checked: Checked) -> list[Phrase]:
        if checked.until is None:
            return [words.PIN_WRONG]
        left = checked.until - self.services.clock.now()
        return [words.pin_locked(left.total_seconds())]

    # -- code ---------------------------------------------------------------------------------

    @state
    def send_code(self, call: Call) -> State | None:
        key = self.key(call, "code")
        try:
            self.premium.codes.send(
                key, self.owner_line, self.proof_purpose, call.id, self.owner_line.language
            )
        except NoMobile:
            return self.not_proved(call, "no_mobile")
        except Limited as limit:
            call.journal.event("limited", what="code", scope=limit.scope)
            call.say(words.SMS_LIMITED)
            return self.not_proved(call, "limited")
        except Unavailable:
            call.journal.event("not_recorded", what="code")
            call.say(phrases.NOT_RECORDED)
            return self.not_proved(call, "unavailable")
        self.services.nudge()
        call.journal.event("code_sent")
        self.context["codes"] = self.context.get("codes", 0) + 1
        call.say(words.CODE_SENT)
        return self.ask_code

    @state
    def ask_code(self, call: Call) -> State | None:
        code = call.ask(
            (words.ASK_CODE, *WAITING),
            code_or_back,
            digits=Digits(
                most=CODE_DIGITS,
                terminator=TERMINATOR,
                first_s=CODE_WAIT_S,
                next_s=call.timers.next_digit_s,
                secret=True,
            ),
            invalid=words.CODE_WRONG,
        )
        if code == BACK:
            return self.another_code
        line = self.owner_line.id
        result = self.premium.codes.check(line, call.id, self.proof_purpose, code)
        call.journal.event("code", result=result)
        if result == "ok":
            return self.proved(call)
        if result == "wrong":
            call.say(words.CODE_WRONG)
            return self.ask_code
        call.say(words.CODE_EXPIRED)
        return self.another_code

    @state
    def another_code(self, call: Call) -> State | None:
        if self.context.get("codes", 0) >= CODES_A_CALL:
            return self.not_proved(call, "code")
        again = call.choose(words.CODE_AGAIN, {"1": True, BACK: False})
        return self.send_code if again else self.not_proved(call, "declined")

    @property
    def premium(self) -> Premium:
        """What premium calls may use. Raises LookupError in a process put together without it."""
        if self.services.premium is None:
            raise LookupError("this process serves no premium calls")
        return self.services.premium


def pin_or_back(keys: str) -> str:
    """Return the keys if they may be a PIN, or the key for going back. Raises ValueError."""
    if keys == BACK:
        return keys
    if not (keys.isdecimal() and SHORTEST_PIN <= len(keys) <= LONGEST_PIN):
        raise ValueError("not a PIN")
    return keys


def code_or_back(keys: str) -> str:
    """Return the keys if they may be a code, or the key for going back. Raises ValueError."""
    if keys == BACK:
        return keys
    if not (keys.isdecimal() and len(keys) == CODE_DIGITS):
        raise ValueError("not a code")
    return keys


# Played by the question itself, so that the first digit ends it and none is lost.
WAITING = tuple(Phrase("said", what=Recording(piece, "♪")) for piece in MUSIC)
