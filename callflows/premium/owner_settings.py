"""The owner's menu: PIN, what each call needs, blocking, messages, greeting (D9, D14)."""

from __future__ import annotations

from billing.errors import Unavailable
from billing.premium.owners import Authentication, registered_mobile
from billing.premium.pins import InvalidPin, NotProven
from callflows.call import BACK, TERMINATOR, Call
from callflows.flow import State, state
from callflows.premium import owner_phrases as words
from callflows.premium.owner_part import OwnerPart
from callflows.premium.proof import SECRET_DIGITS, pin_or_back
from sounds import Recording

MODES: dict[str, Authentication] = {"1": "none", "2": "pin", "3": "code", "4": "approval"}


class OwnerSettings(OwnerPart):
    """Settings of one line's owner."""

    # -- PIN ----------------------------------------------------------------------------------

    @state
    def pin(self, call: Call) -> State | None:
        """A PIN is set after a code only, whichever way the owner came in."""
        if registered_mobile(self.owner_line) is None:
            call.say(words.MOBILE_FIRST)
            return self.menu
        self.context["setting"] = True
        self.context["codes"] = 0
        return self.send_code

    @state
    def new_pin(self, call: Call) -> State | None:
        """Both in one state: between two, the PIN would have to be kept somewhere."""
        digits = call.digits(SECRET_DIGITS, terminator=TERMINATOR, secret=True)
        pin = call.ask(words.NEW_PIN, pin_or_back, digits=digits, invalid=words.INVALID_PIN)
        if pin == BACK:
            return self.menu
        again = call.ask(words.NEW_PIN_AGAIN, pin_or_back, digits=digits, invalid=words.INVALID_PIN)
        if again == BACK:
            return self.menu
        if pin != again:
            call.say(words.PINS_DIFFER)
            return self.new_pin
        try:
            self.premium.pins.set(self.owner_line.id, pin, call.id)
        except InvalidPin as error:
            call.say(words.PIN_SIMPLE if error.reason == "simple" else words.INVALID_PIN)
            return self.new_pin
        except NotProven:
            # So long after its code that it does not count any more.
            call.say(words.CODE_EXPIRED)
            return self.menu
        except Unavailable:
            return self.not_saved(call, "pin")
        call.journal.event("pin_set")
        call.say(words.PIN_SET)
        return self.menu

    # -- what each call needs -----------------------------------------------------------------

    @state
    def mode(self, call: Call) -> State | None:
        owner = self.owner()
        options: dict[str, Authentication | None] = {**MODES, BACK: None}
        wanted = call.choose([words.mode(owner), words.MODES], options)
        if wanted is None:
            return self.menu
        if wanted == "pin" and not owner.has_pin:
            call.say(words.PIN_FIRST)
            return self.menu
        if wanted in ("code", "approval") and registered_mobile(self.owner_line) is None:
            call.say(words.MOBILE_FIRST)
            return self.menu
        line = self.owner_line.id
        return self.record_setting(
            call,
            "authentication",
            lambda: self.premium.owners.set_authentication(line, wanted),
        )

    @state
    def blocking(self, call: Call) -> State | None:
        blocked_by = self.owner().blocked_by
        if blocked_by == "operator":
            call.say(words.OPERATOR_BLOCKED)
            return self.menu
        question = words.IS_BLOCKED if blocked_by else words.IS_OPEN
        return call.choose(
            question, {"1": self.unblock if blocked_by else self.block, BACK: self.menu}
        )

    @state
    def block(self, call: Call) -> State | None:
        line = self.owner_line.id
        return self.record_setting(call, "block", lambda: self.premium.owners.block(line, "owner"))

    @state
    def unblock(self, call: Call) -> State | None:
        line = self.owner_line.id
        return self.record_setting(
            call, "unblock", lambda: self.premium.owners.unblock(line, "owner")
        )

    @state
    def charge_sms(self, call: Call) -> State | None:
        on = self.owner().charge_sms
        change = call.choose(words.SMS_IS_ON if on else words.SMS_IS_OFF, {"1": True, BACK: False})
        if not change:
            return self.menu
        if not on and registered_mobile(self.owner_line) is None:
            call.say(words.MOBILE_FIRST)
            return self.menu
        line = self.owner_line.id
        return self.record_setting(
            call, "charge_sms", lambda: self.premium.owners.set_charge_sms(line, not on)
        )

    # -- greeting and birthday (D14) ----------------------------------------------------------

    @state
    def greeting(self, call: Call) -> State | None:
        return call.choose(
            words.GREETING_MENU,
            {
                "1": self.record_name,
                "2": self.forget_name,
                "3": self.ask_birthday,
                "4": self.forget_birthday,
                BACK: self.menu,
            },
        )

    @state
    def record_name(self, call: Call) -> State | None:
        name = f"greetings/{self.owner_line.id}-{call.id.lower()}-{self.visits}.wav"
        recorded = call.record(words.SAY_NAME, name, most_s=5, silence_s=2)
        if recorded is None:
            call.say(words.NOTHING_HEARD)
            return self.greeting
        self.context["name"] = name
        return self.confirm_name

    @state
    def confirm_name(self, call: Call) -> State | None:
        heard = Recording(f"{self.premium.recordings}/{self.context['name']}", "♪")
        return call.choose(
            words.name_heard(heard),
            {"1": self.keep_name, "2": self.record_name, BACK: self.greeting},
        )

    @state
    def keep_name(self, call: Call) -> State | None:
        line, name = self.owner_line.id, self.context["name"]
        return self.record_setting(
            call, "greeting", lambda: self.premium.owners.set_greeting(line, name)
        )

    @state
    def forget_name(self, call: Call) -> State | None:
        line = self.owner_line.id
        return self.record_setting(
            call, "greeting", lambda: self.premium.owners.set_greeting(line, None)
        )

    @state
    def ask_birthday(self, call: Call) -> State | None:
        """Asked as a secret: a birthday has no place in a journal."""
        line = self.owner_line.id

        def set_it(keys: str) -> bool:
            if keys == BACK:
                return False
            self.premium.owners.set_birthday(line, keys)
            return True

        try:
            done = call.ask(
                words.ASK_BIRTHDAY,
                set_it,
                digits=call.digits(4, terminator=TERMINATOR, secret=True),
                invalid=words.INVALID_BIRTHDAY,
            )
        except Unavailable:
            return self.not_saved(call, "birthday")
        if done:
            call.journal.event("set", what="birthday")
            call.say(words.SAVED)
        return self.greeting

    @state
    def forget_birthday(self, call: Call) -> State | None:
        line = self.owner_line.id
        return self.record_setting(
            call, "birthday", lambda: self.premium.owners.set_birthday(line, None)
        )
