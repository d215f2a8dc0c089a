"""The phrases of the conversations, made from what they are about.

The words in four languages stand in the catalogue (sounds/); here are only keys and slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from billing.entities import Bill, Line
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


def open_bills(line: Line, bills: Sequence[Bill]) -> Phrase:
    """How many bills are open, and what they come to together (rials)."""
    total = sum(bill.payable for bill in bills)
    if total > LARGEST_SPOKEN:
        return Phrase("open_bills_large", number=line.number, count=len(bills))
    return Phrase("open_bills", number=line.number, count=len(bills), total=total)


def bill_option(bill: Bill, key: str) -> Phrase:
    """One of several open bills, with the key that chooses it."""
    return Phrase("bill_option", period=bill.period, year=bill.year, amount=bill.payable, key=key)


def nothing_owed(line: Line, last_paid: Bill | None) -> Phrase:
    """Nothing is open: because the last bill is paid, or because there is none."""
    if last_paid is None:
        return Phrase("no_open_bill", number=line.number)
    return Phrase("bill_already_paid", number=line.number, amount=last_paid.paid)


def bill_summary(bill: Bill, today: date) -> list[Phrase]:
    """The first facts (A1): line number, amount, period, due date; and what is paid already."""
    facts = Phrase(
        "bill_summary_overdue" if bill.due_date < today else "bill_summary",
        number=bill.number,
        amount=bill.payable + bill.paid,
        period=bill.period,
        year=bill.year,
        due=bill.due_date,
    )
    if not bill.paid:
        return [facts]
    return [facts, Phrase("bill_part_paid", paid=bill.paid, amount=bill.payable)]


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
