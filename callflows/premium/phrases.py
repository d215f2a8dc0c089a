"""The phrases of the premium-rate call, made from what they are about.

The words in four languages stand in sounds/phrases/premium.yaml; here are only keys and slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from billing.premium.price_list import Price
from sounds import Phrase, Recording

BIRTHDAY = Phrase("premium_birthday")
BILLED = Phrase("premium_billed")
ACCEPT = Phrase("premium_accept")
WRONG_KEY = Phrase("premium_wrong_key")
MANY_KEYS = Phrase("premium_many_keys")
ACCEPTED = Phrase("premium_accepted")
NOT_ACCEPTED = Phrase("premium_not_accepted")
NOT_RECORDED = Phrase("premium_not_recorded")
CONNECTING = Phrase("premium_connecting")
WITHHELD = Phrase("premium_withheld")
FOREIGN = Phrase("premium_foreign")
NOT_AUTHENTICATED = Phrase("premium_not_authenticated")
GUARDED = Phrase("premium_guarded")
CREDIT_ENDED = Phrase("premium_credit_ended")
APPROVAL_ENDED = Phrase("premium_approval_ended")
LONGEST_ENDED = Phrase("premium_longest_ended")
COST_NOTHING = Phrase("premium_cost_nothing")
COST_LATER = Phrase("premium_cost_later")
FAREWELL = Phrase("premium_farewell")
TROUBLE = Phrase("premium_trouble")
TROUBLE_CONNECTED = Phrase("premium_trouble_connected")

_MINUTE_S = 60
_BLOCKED = {
    "owner": Phrase("premium_blocked_by_owner"),
    "operator": Phrase("premium_blocked_by_operator"),
}


def greeting(name: Recording) -> Phrase:
    """A returning caller, by the name that the owner recorded."""
    return Phrase("premium_greeting", name=name)


def welcome(service: Recording) -> Phrase:
    """Which service was reached."""
    return Phrase("premium_welcome", service=service)


def prices(announced: Sequence[Price], zone: ZoneInfo) -> list[Phrase]:
    """What it costs and how it is counted: now, and what changes while a call may last (D10)."""
    first, *later = announced
    phrases = [Phrase(f"premium_price_{_unit(first)}", price=first.amount), *_counting(first)]
    before = first
    for price in later:
        at = _clock(price.begin, zone)
        key = f"premium_price_{_unit(price)}_from"
        if price.connecting and price.model == "per_minute":
            key = "premium_price_minute_connected_from"
        phrases.append(Phrase(key, at=at, price=price.amount))
        if _steps(price) != _steps(before):
            phrases += _counting(price)
        before = price
    return phrases


def conditions(recording: Recording) -> Phrase:
    """The provider's own conditions."""
    return Phrase("premium_conditions", conditions=recording)


def accept_key(digit: str) -> Phrase:
    """The digit that accepts (D11)."""
    return Phrase("premium_accept_key", key=digit)


def no_service(number: str) -> Phrase:
    """Nothing has this number."""
    return Phrase("premium_no_service", number=number)


def suspended(service: Recording) -> Phrase:
    """The service is not offered at present."""
    return Phrase("premium_suspended", service=service)


def unknown_line(number: str) -> Phrase:
    """The caller's line (E.164) is not one of ours."""
    return Phrase("premium_unknown_line", number=number)


def blocked(by: str) -> Phrase:
    """The line is blocked, by its owner or the operator."""
    return _BLOCKED[by]


def region(service: Recording) -> Phrase:
    """Not offered where the line is."""
    return Phrase("premium_region", service=service)


def closed(service: Recording, opens: datetime | None, now: datetime, zone: ZoneInfo) -> Phrase:
    """The service is closed, and when it opens, by the operator's clock (None: nobody knows)."""
    if opens is None:
        return Phrase("premium_closed", service=service)
    day, today = opens.astimezone(zone).date(), now.astimezone(zone).date()
    at = _clock(opens, zone)
    if day == today:
        return Phrase("premium_closed_today", service=service, at=at)
    if day == today + timedelta(days=1):
        return Phrase("premium_closed_tomorrow", service=service, at=at)
    return Phrase("premium_closed_until", service=service, day=day, at=at)


def no_credit(left: int, owner_number: str) -> Phrase:
    """The credit (rials left of this month's) does not reach; whom to ask for more (D8)."""
    return Phrase("premium_no_credit", left=left, number=owner_number)


def approval(outcome: str, service: Recording) -> Phrase:
    """An owner's approval is needed, refused, or used_up (D9)."""
    return Phrase(f"premium_approval_{outcome}", service=service)


def owner_unreachable(owner_number: str) -> Phrase:
    """The owner has to confirm, and cannot be sent anything."""
    return Phrase("premium_owner_unreachable", number=owner_number)


def credit_warning(left_s: int) -> Phrase:
    """How many seconds the credit still lasts."""
    return Phrase("premium_credit_warning", left=left_s)


def cost(model: str, seconds: int, amount: int) -> Phrase:
    """What the call has cost: rials, and the seconds that were counted."""
    if not amount:
        return COST_NOTHING
    if model == "per_call":
        return Phrase("premium_cost_call", amount=amount)
    if seconds % _MINUTE_S:
        return Phrase("premium_cost", seconds=seconds, amount=amount)
    return Phrase("premium_cost_minutes", minutes=seconds // _MINUTE_S, amount=amount)


def goodbye(complaints: str) -> Phrase:
    """Last words after a charged call; where to complain (D12)."""
    return Phrase("premium_goodbye", number=complaints)


def _unit(price: Price) -> str:
    return "call" if price.model == "per_call" else "minute"


def _steps(price: Price) -> tuple[str, int, int]:
    return price.model, price.increment_s, price.minimum_s


def _counting(price: Price) -> list[Phrase]:
    if price.model == "per_call":
        return []
    step = price.increment_s
    if step == 1:
        phrases = [Phrase("premium_by_second")]
    elif step == _MINUTE_S:
        phrases = [Phrase("premium_by_minute")]
    elif step % _MINUTE_S:
        phrases = [Phrase("premium_by_seconds", step=step)]
    else:
        phrases = [Phrase("premium_by_minutes", step=step // _MINUTE_S)]
    if price.minimum_s > step:
        whole, rest = divmod(price.minimum_s, _MINUTE_S)
        if rest:
            phrases.append(Phrase("premium_least_seconds", least=price.minimum_s))
        else:
            phrases.append(Phrase("premium_least_minutes", least=whole))
    return phrases


def _clock(moment: datetime, zone: ZoneInfo) -> time:
    return moment.astimezone(zone).time().replace(second=0, microsecond=0)
