"""The payment number: a subscriber hears what is owed and settles it (domain A1, A4-A9).

Read the states from top to bottom: they are the conversation.

A bill may be paid while its caller is on the line, here or at a bank. So it is read again wherever
its amount or IDs are said once more, and whoever asks for it is told that it has been paid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from billing.entities import Bill, Language, Line, Opening
from billing.errors import BillPaid, InvalidNumber, Limited, Unavailable
from billing.numbers import is_mobile, parse_number
from callflows import phrases
from callflows.call import BACK, TERMINATOR, Call, GaveUp
from callflows.flow import Flow, State, state
from callflows.services import Services
from sounds import Phrase

LANGUAGES: dict[str, Language] = {"1": "fa", "2": "ar", "3": "ru", "4": "en"}
# Eight bills fit beside 9 (repeat), 0 (care) and * (back); the oldest come first.
BILLS_OFFERED = 8
# Amounts and IDs of any line may be heard (A9), but nobody needs many lines in one call.
LINES_A_CALL = 5
# More than any number has, so that a surplus is refused with the number, not left for what follows.
NUMBER_DIGITS = 32


class BillFlow(Flow):
    """Bill enquiry and the five ways to pay, for one caller."""

    name = "bill"
    # What a flow that begins otherwise says in its own words.
    farewell = phrases.GOODBYE
    silence = phrases.GIVING_UP_NO_INPUT
    apology = phrases.TECHNICAL_TROUBLE

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.services = services
        self.desk = services.desk
        self.opening = Opening(None, [], None)

    # -- whose bill ---------------------------------------------------------------------------

    @state(initial=True)
    def welcome(self, call: Call) -> State | None:
        number = self._network_number(call)
        self._open(number)
        if self.opening.line is None:
            return self.language_menu if not call.language_set else self.ask_line
        self.context["own"] = True
        if not call.language_set:
            call.language = self.opening.line.language
        call.say(phrases.WELCOME)
        return self.choose_bill

    @state
    def language_menu(self, call: Call) -> State:
        options = [phrases.language_option(language, key) for key, language in LANGUAGES.items()]
        call.language = call.choose(options, LANGUAGES)
        call.language_set = True
        call.say(phrases.WELCOME)
        return self.ask_line

    @state
    def ask_line(self, call: Call) -> State:
        if self.context.get("lines", 0) >= LINES_A_CALL:
            call.say(phrases.GIVING_UP_INVALID)
            return self.care
        number = call.ask(
            phrases.ASK_LINE_NUMBER,
            self._number_or_back,
            digits=call.digits(NUMBER_DIGITS, terminator=TERMINATOR),
            invalid=phrases.INVALID_NUMBER,
        )
        if number == BACK:
            return self.back
        self.context["asked"] = number
        return self.confirm_line

    @state
    def confirm_line(self, call: Call) -> State:
        question = (phrases.number_read_back(self.context["asked"]), phrases.CONFIRM_NUMBER)
        return call.choose(question, {"1": self.look_up, "2": self.ask_line, BACK: self.ask_line})

    @state
    def look_up(self, call: Call) -> State:
        self.context["lines"] = self.context.get("lines", 0) + 1
        asked = self.context.pop("asked")
        self.context["bill"] = None
        self._open(asked)
        if self.opening.line is None:
            call.say(phrases.line_unknown(asked))
            return self.ask_line
        self.context["own"] = asked == self._network_number(call)
        return self.choose_bill

    # -- what is owed -------------------------------------------------------------------------

    @state
    def choose_bill(self, call: Call) -> State:
        bills = self.opening.open_bills
        if not bills:
            return self.nothing_owed
        self.context.pop("paid", None)  # that was another bill's
        self.context["bill"] = bills[0].id if len(bills) == 1 else None
        if len(bills) == 1:
            return self.announce
        further, wishes = self.further_choices()
        room = BILLS_OFFERED - len(wishes)
        offered = {str(place): bill for place, bill in enumerate(bills[:room], start=1)}
        options: dict[str, Bill | State] = {
            **offered,
            **wishes,
            "9": self.choose_again,
            "0": self.care,
            BACK: self.ask_line,
        }
        chosen = call.choose(
            [
                *self.lead(call, phrases.open_bills(self.line, bills, len(offered))),
                *(phrases.bill_option(bill, key) for key, bill in offered.items()),
                phrases.OPEN_BILLS_KEYS,
                *further,
            ],
            options,
        )
        if not isinstance(chosen, Bill):
            return chosen
        self.context["bill"] = chosen.id
        return self.announce_again

    def lead(self, call: Call, facts: list[Phrase]) -> list[Phrase]:
        """What is left to be said of the facts before the choice of a bill."""
        return facts

    def further_choices(self) -> tuple[list[Phrase], dict[str, State]]:
        """What a caller may choose instead of a bill, and how it is said; keys from 8 downwards."""
        return [], {}

    @state
    def choose_again(self, call: Call) -> State:
        """The open bills once more, as they stand now."""
        self._open(self.context["line"])
        return self.choose_bill

    @state
    def nothing_owed(self, call: Call) -> State:
        if self.opening.open_bills:  # taken over, and a bill has been loaded since
            return self.choose_bill
        told = self.context.get("bill")
        self.context["bill"] = None
        call.say(*phrases.nothing_owed(self.line, self.opening, told))
        return call.choose(
            phrases.NOTHING_OWED_MENU,
            {"2": self.ask_line, "3": self.goodbye, "0": self.care, BACK: self.ask_line},
            otherwise=self.goodbye,
        )

    @state
    def announce(self, call: Call) -> State:
        if self.bill is None:
            return self.already_paid
        self.context["paid"] = self.bill.paid
        call.say(*phrases.bill_summary(self.bill, self.services.today()))
        return self.menu

    @state
    def announce_again(self, call: Call) -> State:
        self._read_again(call)
        return self.announce

    @state
    def already_paid(self, call: Call) -> State:
        """The bill was paid while the caller was on the line: what is owed now?"""
        self._open(self.context["line"])
        if self.opening.open_bills:
            call.say(phrases.BILL_PAID_MEANWHILE)
        return self.choose_bill

    @state
    def menu(self, call: Call) -> State:
        if self.bill is None:
            return self.already_paid
        return call.choose(phrases.PAYMENT_MENU, self.menu_options())

    def menu_options(self) -> dict[str, State]:
        """The keys of the payment menu."""
        return {
            "1": self.payment_system,
            "2": self.bill_by_sms,
            "3": self.app_link,
            "4": self.pen_and_paper,
            "5": self.bill_by_email,
            "9": self.announce_again,
            "0": self.care,
            BACK: self.back,
        }

    @state
    def back(self, call: Call) -> State:
        """One step up: to the choice among several bills, else to another line's number."""
        if self.context.get("bill") is None and self.opening.line is not None:
            return self.choose_bill
        if self.opening.line is None:
            return self.language_menu
        self.context["bill"] = None
        return self.choose_again if len(self.opening.open_bills) > 1 else self.ask_line

    # -- the five ways ------------------------------------------------------------------------

    @state
    def payment_system(self, call: Call) -> State:
        """Key 1 (A4): 2000 for a fixed line, 9990 for a mobile line."""
        self._chose(call, "transfer")
        if self._bill_now(call) is None:
            return self.already_paid
        call.say(phrases.CONNECTING_PAYMENT)
        numbers = self.services.numbers
        return self.hand_over(
            call, numbers.payment(self.line.kind), numbers.payment_context, self.transfer_failed
        )

    @state
    def bill_by_sms(self, call: Call) -> State:
        """Key 2 (A5)."""
        return self._to_mobile(call, "bill")

    @state
    def app_link(self, call: Call) -> State:
        """Key 3 (A6)."""
        return self._to_mobile(call, "app")

    @state
    def bill_by_email(self, call: Call) -> State:
        """Key 5 (A8): the address comes by SMS or page, long after this call has ended."""
        return self._to_mobile(call, "email")

    @state
    def ask_mobile(self, call: Call) -> State:
        mobile = call.ask(
            phrases.ASK_MOBILE_NUMBER,
            self._mobile_or_back,
            digits=call.digits(NUMBER_DIGITS, terminator=TERMINATOR),
            invalid=phrases.INVALID_MOBILE,
        )
        if mobile == BACK:
            return self.menu
        self.context["to"] = mobile
        return self.confirm_mobile

    @state
    def confirm_mobile(self, call: Call) -> State:
        question = (phrases.number_read_back(self.context["to"]), phrases.CONFIRM_NUMBER)
        return call.choose(question, {"1": self.promise, "2": self.ask_mobile, BACK: self.menu})

    @state
    def promise(self, call: Call) -> State:
        """Order the SMS; only what is safely recorded is promised to the caller."""
        purpose, to = self.context["purpose"], self.context["to"]
        order = self._order(call, purpose, to)
        if order is None:
            return self.already_paid
        try:
            try:
                order()
            except Unavailable:
                call.say(phrases.ONE_MOMENT)
                call.flush()
                order()
        except Unavailable:
            call.journal.event("not_recorded", what=purpose)
            call.say(phrases.NOT_RECORDED)
            return self.menu
        except Limited as limit:
            call.journal.event("limited", what=purpose, scope=limit.scope)
            call.say(phrases.limited(limit.scope))
            return self.menu
        except BillPaid:
            call.journal.event("bill_paid", what=purpose)
            return self.already_paid
        self.services.nudge()
        call.journal.event("promised", what=purpose, to=to)
        call.say(phrases.promised(purpose, to))
        return self.anything_else

    @state
    def pen_and_paper(self, call: Call) -> State:
        """Key 4 (A7): first enough time to fetch pen and paper."""
        self._chose(call, "read")
        if self._bill_now(call) is None:
            return self.already_paid
        call.wait_for_key(phrases.READ_IDS_PREPARE, self.services.pen_and_paper_s)
        return self.read_ids

    @state
    def read_ids(self, call: Call) -> State:
        """Three digits at a time, slowly, repeated once (A7)."""
        bill = self._bill_now(call)
        if bill is None:
            return self.already_paid
        reading = phrases.read_ids(bill)
        return call.choose(
            [reading, phrases.READ_IDS_REPEAT, reading, phrases.READ_IDS_END],
            {"9": self.read_ids, "0": self.care, BACK: self.menu},
            otherwise=self.anything_else,
        )

    # -- the end ------------------------------------------------------------------------------

    @state
    def anything_else(self, call: Call) -> State:
        return call.choose(
            phrases.ANYTHING_ELSE,
            {
                "1": self.menu,
                "2": self.ask_line,
                "3": self.goodbye,
                "9": self.anything_else,
                "0": self.care,
                BACK: self.menu,
            },
            otherwise=self.goodbye,
        )

    @state
    def goodbye(self, call: Call) -> None:
        call.say(self.farewell)

    @state
    def nobody_there(self, call: Call) -> None:
        call.say(self.silence)

    @state
    def care(self, call: Call) -> State:
        call.say(phrases.CONNECTING_CARE)
        numbers = self.services.numbers
        return self.hand_over(call, numbers.care, numbers.care_context, self.transfer_failed)

    @state
    def transfer_failed(self, call: Call) -> State:
        call.say(phrases.TRANSFER_FAILED)
        if self.context.get("bill") is None:
            return self.goodbye
        # The payment system may have taken the money before it let the call go.
        return self.menu if self._bill_now(call) else self.already_paid

    def gave_up(self, call: Call, why: GaveUp) -> State | None:
        """Silence ends the call politely; wrong keys bring a person."""
        if why.reason == "invalid":
            call.say(phrases.GIVING_UP_INVALID)
            return self.care
        return self.nobody_there

    def trouble(self, call: Call) -> State | None:
        """Whatever broke: the caller hears that nothing was charged or sent."""
        call.say(self.apology)
        return None

    def restored(self, call: Call) -> None:
        """Another worker had this call: load the line and the bill that it was about."""
        call.language_set = True
        call.journal.methods += self.context.get("ways", [])
        self._open(self.context.get("line"))
        self._recall()

    # -- helpers ------------------------------------------------------------------------------

    @property
    def line_id(self) -> int | None:
        """The line found last, if any."""
        return self.opening.line.id if self.opening.line else None

    @property
    def line(self) -> Line:
        """The line whose bill this is about; states that use it come after `look_up`."""
        if self.opening.line is None:
            raise LookupError("no line has been found yet")
        return self.opening.line

    @property
    def bill(self) -> Bill | None:
        """The bill that the caller is told about, as last read; None when it is paid."""
        chosen = self.context.get("bill")
        return next((bill for bill in self.opening.open_bills if bill.id == chosen), None)

    def _recall(self) -> None:
        """Know the bill as another worker told it: what has been paid since is said in its place.

        One that has been paid wholly is not open any more, and is found so.
        """
        known, paid = self.bill, self.context.get("paid")
        if known is not None and paid is not None:
            place = self.opening.open_bills.index(known)
            self.opening.open_bills[place] = replace(known, paid=paid)

    def _read_again(self, call: Call) -> Bill | None:
        """The bill as it stands now; None when it is paid. One query of 50 us."""
        known = self.bill
        if known is None:
            return None
        try:
            now = self.desk.as_it_stands(known)
        except Unavailable:
            # Payments are posted there, too: what was read last holds still.
            call.journal.event("not_read_again")
            return known
        place = self.opening.open_bills.index(known)
        if now is None or now.status == "paid":
            del self.opening.open_bills[place]
            return None
        self.opening.open_bills[place] = now
        return now

    def _bill_now(self, call: Call) -> Bill | None:
        """As `_read_again`; the caller hears what of it was paid during the call."""
        known = self.bill
        bill = self._read_again(call)
        if known and bill and bill.paid != known.paid:
            call.say(*phrases.part_paid(bill))
        if bill:
            self.context["paid"] = bill.paid
        return bill

    def _open(self, number: str | None) -> None:
        self.opening = self.desk.opening(number)
        self.context["line"] = number if self.opening.line else None

    def _network_number(self, call: Call) -> str | None:
        try:
            return parse_number(call.channel.caller, region=self.services.region)
        except InvalidNumber:
            return None

    def _number_or_back(self, keys: str) -> str:
        if keys == BACK:
            return BACK
        return parse_number(keys, region=self.services.region)

    def _mobile_or_back(self, keys: str) -> str:
        number = self._number_or_back(keys)
        if number != BACK and not is_mobile(number):
            raise ValueError("not a mobile number")
        return number

    def _names(self, to: str) -> bool:
        """Whether a message to this mobile may show names (A9): only the line's own caller asks."""
        return bool(self.context.get("own"))

    def _chose(self, call: Call, way: str) -> None:
        """Note a way to pay, for the journal of whichever worker ends the call."""
        call.journal.chose(way)
        self.context["ways"] = list(call.journal.methods)

    def _to_mobile(self, call: Call, purpose: str) -> State:
        self._chose(call, purpose)
        self.context["purpose"] = purpose
        if self.line.kind == "mobile":
            self.context["to"] = self.line.number
            return self.promise
        return self.ask_mobile

    def _order(self, call: Call, purpose: str, to: str) -> Callable[[], object] | None:
        """What promises the message; None when there is no open bill to send."""
        key = self.key(call, f"{purpose}:{to}")
        caller = self._network_number(call)
        names = self._names(to)
        desk, language = self.desk, call.language
        if purpose == "app":
            return lambda: desk.send_app_links(
                key, self.line, to, language, caller=caller, call_id=call.id
            )
        bill = self.bill
        if bill is None:
            return None
        act = desk.send_bill if purpose == "bill" else desk.ask_email
        return lambda: act(key, bill, to, language, names=names, caller=caller, call_id=call.id)
