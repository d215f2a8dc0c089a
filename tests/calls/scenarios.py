"""All scenarios of the payment number (domain A1, A4-A9)."""

from __future__ import annotations

from callflows.scripted import HangsUp, IsHungUp, IsTransferred, hears, presses
from tests.calls.scenario import Meanwhile, Scenario, Sent

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


TWO_BILLS = ("open_bills", "bill_option", "bill_option", "open_bills_keys")
PAID_MEANWHILE = ("bill_paid_meanwhile", "nothing_owed", "nothing_owed_menu")


def paid_in_the_menu(number: str = "09123456789") -> list[Meanwhile]:
    """The line's bill is paid while its caller hears what can be done about it."""
    return [Meanwhile("payment_menu", number)]


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
            hears("welcome", *TWO_BILLS, language="ru"),
            presses("2"),
            hears(*SUMMARY),
            presses("*"),
            hears(*TWO_BILLS),
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
        [hears("welcome", "bill_already_paid", "nothing_owed", "nothing_owed_menu"), *END],
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
    *(
        Scenario(
            f"{key}: the bill has been paid while the caller was in the menu",
            [hears(*OPENING), presses(key), hears(*PAID_MEANWHILE), *END],
            caller=caller,
            meanwhile=paid_in_the_menu(caller),
        )
        for key, caller in [
            ("1", "09123456789"),
            ("1", "02188776655"),
            ("2", "09123456789"),
            ("4", "02188776655"),
            ("5", "09123456789"),
            ("9", "02188776655"),
        ]
    ),
    *(
        Scenario(
            f"{key}: the bill has been paid while a mobile number was keyed in",
            [hears(*OPENING), presses(key), *mobile(), hears(*PAID_MEANWHILE), *END],
            meanwhile=[Meanwhile("confirm_number", "02188776655")],
        )
        for key in ("2", "5")
    ),
    Scenario(
        "3: the app is had whether the bill has been paid or not; its IDs are not read then",
        [
            hears(*OPENING),
            presses("3"),
            hears(*promised("app")),
            presses("1"),
            hears("payment_menu"),
            presses("4"),
            hears(*PAID_MEANWHILE),
            *END,
        ],
        caller="09123456789",
        sent=[Sent("sms.app_links", "+989123456789")],
        meanwhile=paid_in_the_menu(),
    ),
    Scenario(
        "4: the bill has been paid while the caller fetched pen and paper",
        [
            hears(*OPENING),
            presses("4"),
            hears("read_ids_prepare"),
            presses("1"),
            hears(*PAID_MEANWHILE),
            *END,
        ],
        meanwhile=[Meanwhile("read_ids_prepare", "02188776655")],
    ),
    Scenario(
        "4: a part has been paid meanwhile: what is left is said, then read",
        [
            hears(*OPENING),
            presses("4"),
            hears("bill_part_paid", "read_ids_prepare"),
            presses("1"),
            hears("bill_part_paid", "remainder_carried", *READING),
            presses("*"),
            hears("payment_menu"),
            presses("9"),
            hears("bill_summary", "bill_part_paid", "remainder_carried", "payment_menu"),
            HangsUp(),
        ],
        meanwhile=[
            Meanwhile("payment_menu", "02188776655", 29_000),
            Meanwhile("read_ids_prepare", "02188776655", 1),
        ],
        outcome="caller_gone",
    ),
    Scenario(
        "1: a part has been paid meanwhile: what is left is said before the transfer",
        [
            hears(*OPENING),
            presses("1"),
            hears("bill_part_paid", "connecting_payment"),
            IsTransferred("2000", "payment"),
        ],
        meanwhile=[Meanwhile("payment_menu", "02188776655", 29_000)],
        outcome="transferred",
    ),
    Scenario(
        "2: of a bill paid in part the rest is sent",
        [hears(*OPENING), presses("2"), hears(*promised("bill")), *END],
        caller="09123456789",
        sent=[Sent("sms.bill", "+989123456789", names=True)],
        meanwhile=[Meanwhile("payment_menu", "09123456789", 1_000)],
    ),
    Scenario(
        "several open bills: the one that is chosen has been paid, the other is announced",
        [
            hears("welcome", *TWO_BILLS),
            presses("1"),
            hears("bill_paid_meanwhile", *SUMMARY),
            presses("0"),
            hears("connecting_care"),
            IsTransferred("2020", "care"),
        ],
        caller="02144556677",
        meanwhile=[Meanwhile("open_bills", "02144556677")],
        outcome="transferred",
    ),
    Scenario(
        "several open bills: repeated, they are those that are open now",
        [
            hears("welcome", *TWO_BILLS),
            presses("9"),
            hears(*SUMMARY),
            HangsUp(),
        ],
        caller="02144556677",
        meanwhile=[Meanwhile("open_bills", "02144556677")],
        outcome="caller_gone",
    ),
    Scenario(
        "more open bills than the menu has keys for: the oldest eight, and it is said",
        [
            hears(
                "welcome",
                "open_bills",
                "open_bills_first",
                *["bill_option"] * 8,
                "open_bills_keys",
                language="fa",
            ),
            presses("8"),
            hears(*SUMMARY),
            HangsUp(),
        ],
        caller="02166554433",
        more_bills=[f"02166554433,{n},1405,{n}0000,,,2027-01-{n:02d}" for n in range(1, 13)],
        outcome="caller_gone",
    ),
    Scenario(
        "a bill of less than a thousand rials is not called paid: the next bill asks for it",
        [hears("welcome", "no_open_bill", "remainder_carried", "nothing_owed_menu"), *END],
        caller="02166554433",
        more_bills=["02166554433,1,1405,999,,,2027-01-01"],
    ),
    Scenario(
        "what a payment ID could not carry is said after the bill is paid",
        [hears("welcome", "bill_already_paid", "remainder_carried", "nothing_owed_menu"), *END],
        caller="02166554433",
        more_bills=["02166554433,1,1405,17450,,,2027-01-01"],
        paid=["02166554433"],
    ),
    Scenario(
        "the limit of an hour has words of its own",
        [
            hears(*OPENING),
            presses("2"),
            *mobile(),
            hears("sms_limited_hour", "payment_menu"),
            HangsUp(),
        ],
        sms_used={"+989121234567": 3},
        limits={"destination_per_hour": 3},
        outcome="caller_gone",
    ),
    Scenario(
        "callers without a number are not held to one caller's limit",
        [
            *keyed_line("09123456789", "1"),
            hears(*SUMMARY),
            presses("2"),
            hears(*promised("bill")),
            *END,
        ],
        caller="anonymous",
        sent=[Sent("sms.bill", "+989123456789", names=False)],
        sms_used={f"+98912111111{n}": 4 for n in range(3)},
        limits={"caller_per_day": 10},
    ),
    Scenario(
        "callers without a number have a limit of their own",
        [
            *keyed_line("09123456789", "1"),
            hears(*SUMMARY),
            presses("5"),
            hears("sms_limited", "payment_menu"),
            HangsUp(),
        ],
        caller="anonymous",
        sms_used={f"+98912111111{n}": 4 for n in range(3)},
        limits={"anonymous_per_day": 12},
        outcome="caller_gone",
    ),
]
