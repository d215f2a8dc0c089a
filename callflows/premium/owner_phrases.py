"""The phrases of the line's owner, made from what they are about.

The words in four languages stand in sounds/phrases/owner.yaml; here are only keys and slots.
"""

from __future__ import annotations

import math
from datetime import date

from billing.premium.approvals import Approval
from billing.premium.credit import CreditView
from billing.premium.credit_policy import Granted
from billing.premium.owners import OwnerView
from sounds import Phrase, Recording

ASK_PIN = Phrase("owner_ask_pin")
INVALID_PIN = Phrase("owner_invalid_pin")
PIN_WRONG = Phrase("owner_pin_wrong")
CODE_SENT = Phrase("owner_code_sent")
ASK_CODE = Phrase("owner_ask_code")
CODE_WRONG = Phrase("owner_code_wrong")
CODE_AGAIN = Phrase("owner_code_again")
CODE_EXPIRED = Phrase("owner_code_expired")
CODE_INSTEAD = Phrase("owner_code_instead")
SMS_LIMITED = Phrase("owner_sms_limited")
APPROVAL_ASK = Phrase("owner_approval_ask")
APPROVAL_WAIT = Phrase("owner_approval_wait")
APPROVAL_GIVEN = Phrase("owner_approval_given")
WELCOME = Phrase("owner_welcome")
WITHHELD = Phrase("owner_withheld")
UNKNOWN_LINE = Phrase("owner_unknown_line")
NO_MOBILE = Phrase("owner_no_mobile")
NOT_PROVED = Phrase("owner_not_proved")
MENU = Phrase("owner_menu")
SAVED = Phrase("owner_saved")
NOT_SAVED = Phrase("owner_not_saved")
ASK_CREDIT = Phrase("owner_ask_credit")
INVALID_AMOUNT = Phrase("owner_invalid_amount")
APPROVED = Phrase("owner_approved")
REFUSED = Phrase("owner_refused")
REQUEST_OVER = Phrase("owner_request_over")
APPROVAL_KEYS = Phrase("owner_approval_keys")
REVOKED = Phrase("owner_revoked")
NOTHING_MORE = Phrase("owner_nothing_more")
NEW_PIN = Phrase("owner_new_pin")
NEW_PIN_AGAIN = Phrase("owner_new_pin_again")
PINS_DIFFER = Phrase("owner_pins_differ")
PIN_SIMPLE = Phrase("owner_pin_simple")
PIN_SET = Phrase("owner_pin_set")
MODES = Phrase("owner_modes")
PIN_FIRST = Phrase("owner_pin_first")
MOBILE_FIRST = Phrase("owner_mobile_first")
IS_OPEN = Phrase("owner_is_open")
IS_BLOCKED = Phrase("owner_is_blocked")
OPERATOR_BLOCKED = Phrase("owner_operator_blocked")
SMS_IS_ON = Phrase("owner_sms_is_on")
SMS_IS_OFF = Phrase("owner_sms_is_off")
GREETING_MENU = Phrase("owner_greeting_menu")
SAY_NAME = Phrase("owner_say_name")
NOTHING_HEARD = Phrase("owner_nothing_heard")
ASK_BIRTHDAY = Phrase("owner_ask_birthday")
INVALID_BIRTHDAY = Phrase("owner_invalid_birthday")
CALL_NUMBER = Phrase("owner_call_number")
CALL_NUMBER_WRONG = Phrase("owner_call_number_wrong")
CALL_UNANSWERED = Phrase("owner_call_unanswered")

# Longer waits are said in hours.
_MINUTES_SAID = 90

_CREDIT = {
    "granted": "owner_credit_granted",
    "lowered": "owner_credit_granted",
    "first": "owner_credit_partly",
    "history": "owner_credit_partly",
    "overdue": "owner_credit_overdue",
}


def pin_locked(seconds: float) -> Phrase:
    """For how long no PIN is accepted."""
    minutes = max(1, math.ceil(seconds / 60))
    if minutes <= _MINUTES_SAID:
        return Phrase("owner_pin_locked", minutes=minutes)
    return Phrase("owner_pin_locked_hours", hours=math.ceil(minutes / 60))


def line_option(number: str, key: str) -> Phrase:
    """One of several lines of the owner."""
    return Phrase("owner_line_option", number=number, key=key)


def credit_state(view: CreditView) -> Phrase:
    """This month's credit: what it is, what of it is used (running calls too), what is left."""
    return Phrase(
        "owner_credit_state",
        ceiling=view.ceiling,
        used=view.used + view.held,
        available=view.available,
    )


def confirm_credit(amount: int) -> Phrase:
    """The amount that was keyed in, rials."""
    return Phrase("owner_confirm_credit", amount=amount)


def credit_granted(granted: Granted) -> Phrase:
    """What was granted, and why no more."""
    return Phrase(_CREDIT[granted.reason], amount=granted.amount)


def pending(number: str, name: Recording | None) -> Phrase:
    """A request for a service: by its name, or by its number where it cannot be named."""
    if name is None:
        return Phrase("owner_pending_number", number=number)
    return Phrase("owner_pending", service=name)


def pending_keys(ceiling: int, until: date) -> Phrase:
    """What the owner may answer."""
    return Phrase("owner_pending_keys", ceiling=ceiling, until=until)


def approval(held: Approval, name: Recording | None, until: date) -> Phrase:
    """An approval that holds: of what, how much of it is left, until when."""
    if held.service is None:
        return Phrase("owner_approval_category", left=held.left, until=until)
    if name is None:
        return Phrase("owner_approval_number", number=held.service, left=held.left, until=until)
    return Phrase("owner_approval", service=name, left=held.left, until=until)


def mode(owner: OwnerView) -> Phrase:
    """What each call needs now."""
    return Phrase(f"owner_mode_{owner.authentication}")


def name_heard(name: Recording) -> Phrase:
    """The name as it was recorded."""
    return Phrase("owner_name_heard", name=name)


def call_greeting(number: str) -> Phrase:
    """First words of a call that we make to the owner of a line."""
    return Phrase("owner_call_greeting", number=number)


def call_keys(ceiling: int, until: date) -> Phrase:
    """What the owner may answer in such a call."""
    return Phrase("owner_call_keys", ceiling=ceiling, until=until)
