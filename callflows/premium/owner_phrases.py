"""The phrases of the line's owner, made from what they are about."""

from __future__ import annotations

import math

from sounds import Phrase

ASK_PIN = Phrase("owner_ask_pin")
INVALID_PIN = Phrase("owner_invalid_pin")
PIN_WRONG = Phrase("owner_pin_wrong")
CODE_SENT = Phrase("owner_code_sent")
ASK_CODE = Phrase("owner_ask_code")
CODE_WRONG = Phrase("owner_code_wrong")
CODE_AGAIN = Phrase("owner_code_again")
CODE_EXPIRED = Phrase("owner_code_expired")
SMS_LIMITED = Phrase("owner_sms_limited")
APPROVAL_ASK = Phrase("owner_approval_ask")
APPROVAL_WAIT = Phrase("owner_approval_wait")
APPROVAL_GIVEN = Phrase("owner_approval_given")

# Longer waits are said in hours.
_MINUTES_SAID = 90


def pin_locked(seconds: float) -> Phrase:
    """For how long no PIN is accepted."""
    minutes = max(1, math.ceil(seconds / 60))
    if minutes <= _MINUTES_SAID:
        return Phrase("owner_pin_locked", minutes=minutes)
    return Phrase("owner_pin_locked_hours", hours=math.ceil(minutes / 60))
