"""The announcing call: we call the subscriber, say what is owed, and offer the payment menu (A1).

A `BillFlow` that begins otherwise. Nobody has identified himself here: whoever picked up is at the
line that was called, no more. So

- the called number is the line; nobody is asked for it, and the switch's caller ID, which is the
  operator's own number in such a call, is not looked at;
- amount and IDs are said, as to anybody who dials in (A9); names are not, in any call;
- names stand in an SMS or on an image only where it goes to the line itself or to the mobile that
  the subscriber registered. A caller from a line gets them at any mobile he keys in, for he had
  the telephone in hand and dialled; somebody who answered a ringing one need not even live there.

Key 8 puts the line on the opt-out list at once and ends the call, as call centre law commonly asks
for (47 CFR 64.1200(b)(3) is the model: automatic, without any further question).
"""

from __future__ import annotations

from billing.announcing import Announcements
from billing.errors import Unavailable
from callflows import phrases
from callflows.answering_machine import Detector, by_variable
from callflows.bill_flow import BillFlow
from callflows.call import Call
from callflows.flow import State, state
from callflows.services import Services
from sounds import Phrase

OPT_OUT_KEY = "8"


class AnnounceFlow(BillFlow):
    """Announces an overdue bill to whoever answers, and lets them settle it.

    ``detect`` says whether an answering machine has answered; what is done then is the campaign's.
    """

    name = "announce"
    farewell = phrases.ANNOUNCE_GOODBYE
    silence = phrases.ANNOUNCE_NO_INPUT
    apology = phrases.ANNOUNCE_TROUBLE

    def __init__(self, services: Services, detect: Detector = by_variable) -> None:
        super().__init__(services)
        if services.announcements is None:
            raise ValueError("announcing calls need the campaigns' announcements")
        self.announcements: Announcements = services.announcements
        self._detect = detect

    @state(initial=True)
    def welcome(self, call: Call) -> State | None:
        about = self.announcements.answered(call.id)
        if about is None:
            # Not a campaign's call: somebody dialled this number, and is served as any caller.
            call.journal.event("not_announced")
            return super().welcome(call)
        self.context["called"] = about.number
        self._open(about.number)
        self.context["own"] = True
        if self.opening.line is not None and not call.language_set:
            call.language = self.opening.line.language
        if about.machine != "ignore" and self._detect(call):
            self.announcements.machine(call.id)
            call.journal.event("machine", policy=about.machine)
            return self.leave_message if about.machine == "message" else None
        if not about.owes or not self.opening.open_bills:
            return self.settled_meanwhile
        call.say(phrases.ANNOUNCE_GREETING)
        return self.choose_bill

    @state
    def leave_message(self, call: Call) -> None:
        """For whoever listens to the machine: no amount, for that may be anybody."""
        call.say(phrases.announce_message(self.line.number))

    @state
    def settled_meanwhile(self, call: Call) -> None:
        """Paid while the telephone rang: thanks rather than a silent hangup."""
        call.say(phrases.announce_settled(self.context["called"]))

    @state
    def announce(self, call: Call) -> State:
        if "called" not in self.context:
            return super().announce(call)
        if self.bill is None:
            return self.already_paid
        self._inform(call, phrases.bill_summary(self.bill, self.services.today()))
        return self.menu

    def lead(self, call: Call, facts: list[Phrase]) -> list[Phrase]:
        """Who owes several bills has heard the first facts with their sum."""
        if "called" not in self.context:
            return super().lead(call, facts)
        self._inform(call, facts)
        return []

    def further_choices(self) -> tuple[list[Phrase], dict[str, State]]:
        """Nobody has to choose a bill first in order not to be called again."""
        if "called" not in self.context:
            return super().further_choices()
        return [phrases.announce_opt_out(OPT_OUT_KEY)], {OPT_OUT_KEY: self.opt_out}

    def _inform(self, call: Call, facts: list[Phrase]) -> None:
        call.listen(*facts)
        if self.context.get("heard"):
            return
        try:
            self.announcements.heard(call.id)
        except Unavailable:
            # The line may be called once more; its conversation goes on.
            call.journal.event("not_recorded", what="heard")
        self.context["heard"] = True

    @state
    def menu(self, call: Call) -> State:
        if "called" not in self.context:
            return super().menu(call)
        if self.bill is None:
            return self.already_paid
        options: dict[str, State] = {**self.menu_options(), OPT_OUT_KEY: self.opt_out}
        return call.choose([phrases.PAYMENT_MENU, phrases.announce_opt_out(OPT_OUT_KEY)], options)

    @state
    def opt_out(self, call: Call) -> State | None:
        """Only a recorded wish is promised to be heeded."""
        try:
            self.announcements.opt_out(call.id, self.context["called"])
        except Unavailable:
            call.journal.event("not_recorded", what="opt_out")
            call.say(phrases.NOT_RECORDED)
            # Of several bills none may have been chosen yet, which is not that it was paid.
            return self.menu if self.bill is not None else self.choose_bill
        call.journal.event("opted_out")
        call.say(phrases.ANNOUNCE_OPTED_OUT)
        return None

    def _network_number(self, call: Call) -> str | None:
        called = self.context.get("called")
        return super()._network_number(call) if called is None else str(called)

    def _names(self, to: str) -> bool:
        if "called" not in self.context:
            return super()._names(to)
        return super()._names(to) and to in (self.line.number, self.line.mobile)
