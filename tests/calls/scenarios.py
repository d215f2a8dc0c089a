"""All scenarios of the payment number (domain A1, A4-A9)."""

from __future__ import annotations

from callflows.scripted import HangsUp, IsHungUp, IsTransferred, hears, presses
from tests.calls.scenario import Scenario, Sent

OPENING = ("welcome", "bill_summary", "payment_menu")
SUMMARY = ("bill_summary", "payment_menu")
LANGUAGE_MENU = hears(*["language_option"] * 4)
END = (presses("3"), hears("goodbye"), IsHungUp())


def promised(purpose: str) -> tuple[str, str]:
    return f"{purpose}_sms_promised", "anything_else"


def mobile(keys: str = "09121234567#"):
    return (
        hears("ask_mobile_number"),
        presses(keys),
        hears("number_read_back", "confirm_number"),
        presses("1"),
    )


def keyed_line(number: str, language_key: str = "4"):
    """An unknown caller chooses a language and keys in a line's number."""
    return (
        LANGUAGE_MENU,
        presses(language_key),
        hears("welcome", "ask_line_number"),
        presses(f"{number}#"),
        hears("number_read_back", "confirm_number"),
        presses("1"),
    )


READING = ("read_ids", "read_ids_repeat", "read_ids", "read_ids_end")

SCENARIOS = [
    Scenario(
        "1: a fixed line is transferred to 2000 (A4)",
        [
            hears(*OPENING, language="fa"),
            presses("1"),
            hears("connecting_payment"),
            IsTransferred("2000", "payment"),
        ],
        outcome="transferred",
    ),
    Scenario(
        "1: a mobile line is transferred to 9990 (A4)",
        [
            hears(*OPENING),
            presses("1"),
            hears("connecting_payment"),
            IsTransferred("9990", "payment"),
        ],
        caller="09123456789",
        outcome="transferred",
    ),
    Scenario(
        "2: bill by SMS from a fixed line, to a mobile number that is keyed in (A5)",
        [hears(*OPENING), presses("2"), *mobile(), hears(*promised("bill")), *END],
        sent=[Sent("sms.bill", "+989121234567", names=True)],
    ),
    Scenario(
        "2: bill by SMS from a mobile line goes to that line at once (A5)",
        [hears(*OPENING), presses("2"), hears(*promised("bill")), *END],
        caller="09123456789",
        sent=[Sent("sms.bill", "+989123456789", names=True)],
    ),
    Scenario(
        "3: app links from a fixed line (A6)",
        [hears(*OPENING), presses("3"), *mobile(), hears(*promised("app")), *END],
        sent=[Sent("sms.app_links", "+989121234567")],
    ),
    Scenario(
        "3: app links from a mobile line (A6)",
        [hears(*OPENING), presses("3"), hears(*promised("app")), *END],
        caller="09123456789",
        sent=[Sent("sms.app_links", "+989123456789")],
    ),
    Scenario(
        "4: IDs read out slowly and repeated, then once more (A7)",
        [
            hears(*OPENING),
            presses("4"),
            hears("read_ids_prepare"),
            presses("1"),
            hears(*READING),
            presses("9"),
            hears(*READING),
            presses("*"),
            hears("payment_menu"),
            presses("9"),
            hears(*SUMMARY),
            HangsUp(),
        ],
        outcome="caller_gone",
    ),
    Scenario(
        "4: nobody presses after the read-out: asked for more, then goodbye (A7)",
        [
            hears(*OPENING),
            presses("4"),
            hears("read_ids_prepare"),
            presses(""),
            hears(*READING),
            presses(""),
            hears("anything_else"),
            presses(""),
            hears("goodbye"),
            IsHungUp(),
        ],
    ),
    Scenario(
        "5: bill image by e-mail: the link goes to a keyed-in mobile (A8)",
        [hears(*OPENING), presses("5"), *mobile(), hears(*promised("email")), *END],
        sent=[Sent("sms.email_link", "+989121234567", names=True)],
    ),
    Scenario(
        "5: bill image by e-mail from a mobile line (A8)",
        [hears(*OPENING), presses("5"), hears(*promised("email")), *END],
        caller="09123456789",
        sent=[Sent("sms.email_link", "+989123456789", names=True)],
    ),
    Scenario(
        "an overdue bill has its own words, in English",
        [
            hears("welcome", "bill_summary_overdue", "payment_menu", language="en"),
            presses("2"),
            *mobile("09351112233#"),
            hears(*promised("bill")),
            *END,
        ],
        caller="02155667788",
        sent=[Sent("sms.bill", "+989351112233", names=True)],
    ),
    Scenario(
        "a twelve-digit amount is read in Arabic",
        [
            hears(*OPENING, language="ar"),
            presses("4"),
            hears("read_ids_prepare"),
            presses("1"),
            hears(*READING, language="ar"),
            presses("0"),
            hears("connecting_care"),
            IsTransferred("2020", "care"),
        ],
        caller="02133221100",
        outcome="transferred",
    ),
    Scenario(
        "several open bills: one is chosen, and * leads back to the choice",
        [
            hears("welcome", "open_bills", "bill_option", "bill_option", language="ru"),
            presses("2"),
            hears(*SUMMARY),
            presses("*"),
            hears("open_bills", "bill_option", "bill_option"),
            presses("1"),
            hears("bill_summary_overdue", "payment_menu"),
            presses("0"),
            hears("connecting_care"),
            IsTransferred("2020", "care"),
        ],
        caller="02144556677",
        outcome="transferred",
    ),
    Scenario(
        "no open bill, and never one",
        [
            hears("welcome", "no_open_bill", "nothing_owed_menu", language="fa"),
            presses(""),
            hears("goodbye"),
            IsHungUp(),
        ],
        caller="02166554433",
    ),
    Scenario(
        "a paid bill has its own words",
        [hears("welcome", "bill_already_paid", "nothing_owed_menu"), *END],
        paid=["02188776655"],
    ),
    Scenario(
        "a line that is not known by its own phone: bill without names (A9)",
        [
            *keyed_line("02188776655"),
            hears(*SUMMARY, language="en"),
            presses("2"),
            *mobile(),
            hears(*promised("bill")),
            *END,
        ],
        caller="02177777777",
        sent=[Sent("sms.bill", "+989121234567", names=False)],
    ),
    Scenario(
        "a withheld number: language menu, the image is asked for without names (A9)",
        [
            *keyed_line("09123456789", "1"),
            hears(*SUMMARY, language="fa"),
            presses("5"),
            hears(*promised("email")),
            *END,
        ],
        caller="anonymous",
        sent=[Sent("sms.email_link", "+989123456789", names=False)],
    ),
    Scenario(
        "a number keyed in wrongly is keyed in again, an unknown one has its own words",
        [
            LANGUAGE_MENU,
            presses("3"),
            hears("welcome", "ask_line_number", language="ru"),
            presses("12#"),
            hears("invalid_number", "ask_line_number"),
            presses("02199999999#"),
            hears("number_read_back", "confirm_number"),
            presses("2"),
            hears("ask_line_number"),
            presses("02199999998#"),
            hears("number_read_back", "confirm_number"),
            presses("1"),
            hears("line_unknown", "ask_line_number"),
            presses("*"),
            LANGUAGE_MENU,
            HangsUp(),
        ],
        caller="",
        outcome="caller_gone",
    ),
    Scenario(
        "a known caller asks for another line's bill",
        [
            hears(*OPENING),
            presses("*"),
            hears("ask_line_number"),
            presses("02155667788#"),
            hears("number_read_back", "confirm_number"),
            presses("1"),
            hears("bill_summary_overdue", "payment_menu", language="fa"),
            presses("2"),
            *mobile(),
            hears(*promised("bill")),
            *END,
        ],
        sent=[Sent("sms.bill", "+989121234567", names=False)],
    ),
    Scenario(
        "silence: the menu comes three times, then a polite end",
        [
            hears(*OPENING),
            presses(""),
            hears("no_input", "payment_menu"),
            presses(""),
            hears("no_input", "payment_menu"),
            presses(""),
            hears("giving_up_no_input"),
            IsHungUp(),
        ],
        counts_tries=True,
    ),
    Scenario(
        "wrong keys do not count as silence, and three of them bring a person",
        [
            hears(*OPENING),
            presses("7"),
            hears("invalid_key", "payment_menu"),
            presses(""),
            hears("no_input", "payment_menu"),
            presses("8"),
            hears("invalid_key", "payment_menu"),
            presses("#"),
            hears("giving_up_invalid", "connecting_care"),
            IsTransferred("2020", "care"),
        ],
        outcome="transferred",
        counts_tries=True,
    ),
    Scenario(
        "a fixed number cannot get an SMS; a mobile one then can",
        [
            hears(*OPENING),
            presses("2"),
            hears("ask_mobile_number"),
            presses("02188776655#"),
            hears("invalid_mobile", "ask_mobile_number"),
            presses("09121234567#"),
            hears("number_read_back", "confirm_number"),
            presses("2"),
            *mobile("09121234568#"),
            hears(*promised("bill")),
            presses("1"),
            hears("payment_menu"),
            HangsUp(),
        ],
        sent=[Sent("sms.bill", "+989121234568", names=True)],
        outcome="caller_gone",
    ),
    Scenario(
        "somebody else's mobile is not flooded: the limit has its own words",
        [
            hears(*OPENING),
            presses("2"),
            *mobile(),
            hears("sms_limited", "payment_menu"),
            presses("4"),
            hears("read_ids_prepare"),
            HangsUp(),
        ],
        sms_used={"+989121234567": 5},
        outcome="caller_gone",
    ),
    Scenario(
        "the dialplan's language holds everywhere",
        [
            hears(*OPENING, language="ar"),
            presses("2"),
            hears("ask_mobile_number", language="ar"),
            HangsUp(),
        ],
        variables={"callflows_language": "ar"},
        outcome="caller_gone",
    ),
]
