"""The phrases of the complaints line, made from what they are about.

The words in four languages stand in sounds/phrases/complaint.yaml; here are only keys and slots.
"""

from __future__ import annotations

from datetime import datetime

from billing.premium.disputes import RecentCharge
from sounds import Phrase, Recording

WELCOME = Phrase("complaint_welcome")
WITHHELD = Phrase("complaint_withheld")
UNKNOWN_LINE = Phrase("complaint_unknown_line")
NONE = Phrase("complaint_none")
NONE_KEYS = Phrase("complaint_none_keys")
LAST = Phrase("complaint_last")
LAST_KEYS = Phrase("complaint_last_keys")
CONFIRM = Phrase("complaint_confirm")
SAY = Phrase("complaint_say")
BY_SMS = Phrase("complaint_by_sms")
THANKS = Phrase("complaint_thanks")
MORE = Phrase("complaint_more")
NOT_SAVED = Phrase("complaint_not_saved")

_STANDING = {
    "open": "complaint_examined",
    "rejected": "complaint_decided",
    "accepted": "complaint_decided",
}
_REFUSED = {
    "open": "complaint_there_is_one",
    "decided": "complaint_was_decided",
    "unknown": "complaint_was_decided",
}


def option(charge: RecentCharge, name: Recording | None, at: datetime, key: str) -> Phrase:
    """A charge that may be chosen, by the service's name, or its number where it has none.

    ``at`` is the moment of the call at the operator's place.
    """
    return _about("complaint_option", charge, name, at, key=key)


def chosen(charge: RecentCharge, name: Recording | None, at: datetime) -> Phrase:
    """The charge that was chosen."""
    return _about("complaint_chosen", charge, name, at)


def _about(
    phrase: str, charge: RecentCharge, name: Recording | None, at: datetime, **slots: str
) -> Phrase:
    facts = {"day": at.date(), "at": at.time(), "amount": charge.amount, **slots}
    if name is None:
        return Phrase(f"{phrase}_number", number=charge.service.number, **facts)
    return Phrase(phrase, service=name, **facts)


def standing(charge: RecentCharge, at: datetime) -> Phrase:
    """A charge about which there is a complaint, and how that stands."""
    assert charge.complaint is not None
    return Phrase(_STANDING[charge.complaint], day=at.date(), at=at.time(), amount=charge.amount)


def recorded(complaint: int, amount: int) -> Phrase:
    """The complaint is written down; what it is about is not collected now."""
    return Phrase("complaint_recorded", complaint=str(complaint), amount=amount)


def refused(why: str) -> Phrase:
    """No complaint about this charge is taken."""
    return Phrase(_REFUSED[why])
