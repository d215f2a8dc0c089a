"""The phrases of the conversations, made from what they are about.

The words in four languages stand in the catalogue (sounds/); here are only keys and slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from billing.entities import Bill, Line, Opening, payable
from sounds import Phrase

# Rials: numbers are said up to twelve digits.
LARGEST_SPOKEN = 999_999_999_999

WELCOME = Phrase("welcome")
ASK_LINE_NUMBER = Phrase("ask_line_number")
INVALID_NUMBER = Phrase("invalid_number")
ASK_MOBILE_NUMBER = Phrase("ask_mobile_number")
INVALID_MOBILE = Phrase("invalid_mobile")
CONFIRM_NUMBER = Phrase("confirm_number")
NOTHING_OWED_MENU = Phrase("nothing_owed_menu")
PAYMENT_MENU = Phrase("payment_menu")
CONNECTING_PAYMENT = Phrase("connecting_payment")
CONNECTING_CARE = Phrase("connecting_care")
TRANSFER_FAILED = Phrase("transfer_failed")
SMS_LIMITED = Phrase("sms_limited")
SMS_LIMITED_HOUR = Phrase("sms_limited_hour")
BILL_PAID_MEANWHILE = Phrase("bill_paid_meanwhile")
NOTHING_OWED = Phrase("nothing_owed")
OPEN_BILLS_KEYS = Phrase("open_bills_keys")
NOT_RECORDED = Phrase("not_recorded")
READ_IDS_PREPARE = Phrase("read_ids_prepare")
READ_IDS_REPEAT = Phrase("read_ids_repeat")
READ_IDS_END = Phrase("read_ids_end")
ANYTHING_ELSE = Phrase("anything_else")
GOODBYE = Phrase("goodbye")
GIVING_UP_NO_INPUT = Phrase("giving_up_no_input")
GIVING_UP_INVALID = Phrase("giving_up_invalid")
ONE_MOMENT = Phrase("one_moment")
TECHNICAL_TROUBLE = Phrase("technical_trouble")
ANNOUNCE_GREETING = Phrase("announce_greeting")
ANNOUNCE_GOODBYE = Phrase("announce_goodbye")
ANNOUNCE_NO_INPUT = Phrase("announce_no_input")
ANNOUNCE_TROUBLE = Phrase("announce_trouble")
ANNOUNCE_OPTED_OUT = Phrase("announce_opted_out")


def language_option(language: str, key: str) -> Phrase:
    """ "For this language, press {key}", said in that language."""
    return Phrase("language_option", key=key).spoken_in(language)


def number_read_back(number: str) -> Phrase:
    """The number that was keyed in (E.164), read back in groups."""
    return Phrase("number_read_back", number=number)


def line_unknown(number: str) -> Phrase:
    """We have no such line."""
    return Phrase("line_unknown", number=number)


def open_bills(line: Line, bills: Sequence[Bill], offered: int) -> list[Phrase]:
    """How many bills are open, what they come to together (rials), and that the oldest follow.

    `offered` is how many of them the menu can hold.
    """
    slots: dict[str, object] = {"number": line.number, "count": len(bills)}
    total = sum(bill.payable for bill in bills)
    if total > LARGEST_SPOKEN:
        facts = Phrase("open_bills_large", **slots)
    else:
        facts = Phrase("open_bills", **slots, total=total)
    if offered == len(bills):
        return [facts]
    return [facts, Phrase("open_bills_first", count=offered)]


def bill_option(bill: Bill, key: str) -> Phrase:
    """One of several open bills, with the key that chooses it."""
    return Phrase("bill_option", period=bill.period, year=bill.year, amount=bill.payable, key=key)


def nothing_owed(line: Line, opening: Opening, told: int | None) -> list[Phrase]:
    """Nothing is to be paid: the last bill is paid, or there is none; and what the next one adds.

    `told` is the bill that the caller was told about as open, if any (its row id): that one has
    been paid during the call.
    """
    paid = opening.last_paid
    if paid is None or not paid.paid:
        facts = Phrase("no_open_bill", number=line.number)
    elif paid.id == told:
        facts = BILL_PAID_MEANWHILE
    else:
        facts = Phrase("bill_already_paid", number=line.number, amount=paid.paid)
    if opening.owed > 0:
        return [facts, remainder_carried(opening.owed)]
    return [facts, NOTHING_OWED] if paid is not None else [facts]


def remainder_carried(amount: int) -> Phrase:
    """Rials too few for a payment ID, which the next bill asks for."""
    return Phrase("remainder_carried", amount=amount)


def bill_summary(bill: Bill, today: date) -> list[Phrase]:
    """The first facts (A1): line number, amount, period, due date; and what is paid already.

    The amount is what the bill asked for from the start, in the whole thousands that can be paid.
    """
    facts = Phrase(
        "bill_summary_overdue" if bill.due_date < today else "bill_summary",
        number=bill.number,
        amount=payable(bill.amount - bill.carried_out),
        period=bill.period,
        year=bill.year,
        due=bill.due_date,
    )
    return [facts, *part_paid(bill)] if bill.paid else [facts]


def part_paid(bill: Bill) -> list[Phrase]:
    """What of a bill is paid, what is still to pay, and what is left for the next bill."""
    standing = Phrase("bill_part_paid", paid=bill.paid, amount=bill.payable)
    return [standing, remainder_carried(bill.remainder)] if bill.remainder else [standing]


def limited(scope: str) -> Phrase:
    """Why no message can be sent: too many within this hour, or today (`Limited.scope`)."""
    return SMS_LIMITED_HOUR if scope == "hour" else SMS_LIMITED


def promised(purpose: str, mobile: str) -> Phrase:
    """What the caller may expect now: purpose is bill, app or email."""
    return Phrase(f"{purpose}_sms_promised", mobile=mobile)


def read_ids(bill: Bill) -> Phrase:
    """Bill ID and payment ID, three digits at a time, with the amount that they pay (A7)."""
    return Phrase(
        "read_ids", amount=bill.instalment, bill_id=bill.bill_id, payment_id=bill.payment_id
    )


def announce_opt_out(key: str) -> Phrase:
    """The key for not being called again."""
    return Phrase("announce_opt_out", key=key)


def announce_settled(number: str) -> Phrase:
    """The bill that the call was about has been paid meanwhile."""
    return Phrase("announce_settled", number=number)


def announce_message(number: str) -> Phrase:
    """For an answering machine: that there is a bill, not of how much."""
    return Phrase("announce_message", number=number)
