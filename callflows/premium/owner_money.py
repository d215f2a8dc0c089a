"""The owner's menu: the monthly credit, requests that wait, approvals that hold (D8, D9)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import TypeVar

from billing.errors import Unavailable
from billing.premium.approval_requests import Decision, Pending
from billing.premium.approvals import Approval
from billing.premium.credit_requests import LARGEST_CREDIT
from callflows.call import BACK, TERMINATOR, Call
from callflows.flow import State, state
from callflows.premium import owner_phrases as words
from callflows.premium.owner_part import OwnerPart
from sounds import Phrase, Recording

# What is heard one by one has an end.
MOST_HEARD = 20
AMOUNT_DIGITS = 16
DECIDED: dict[Decision, Phrase] = {"approved": words.APPROVED, "refused": words.REFUSED}
Item = TypeVar("Item", Pending, Approval)


class OwnerMoney(OwnerPart):
    """Credit and approvals."""

    # -- credit -------------------------------------------------------------------------------

    @state
    def credit(self, call: Call) -> State | None:
        call.say(words.credit_state(self.premium.credit.view(self.owner_line.id)))
        return self.ask_credit

    @state
    def ask_credit(self, call: Call) -> State | None:
        asked = call.ask(
            words.ASK_CREDIT,
            _amount_or_back,
            digits=call.digits(AMOUNT_DIGITS, terminator=TERMINATOR),
            invalid=words.INVALID_AMOUNT,
        )
        if asked is None:
            return self.menu
        self.context["amount"] = asked
        return self.confirm_credit

    @state
    def confirm_credit(self, call: Call) -> State | None:
        question = words.confirm_credit(self.context["amount"])
        return call.choose(
            question, {"1": self.order_credit, "2": self.ask_credit, BACK: self.menu}
        )

    @state
    def order_credit(self, call: Call) -> State | None:
        try:
            granted = self.premium.credit_requests.ask(
                self.key(call, "credit"), self.owner_line.id, self.context["amount"], "phone"
            )
        except Unavailable:
            return self.not_saved(call, "credit")
        call.journal.event("credit", granted=granted.amount, reason=granted.reason)
        call.say(words.credit_granted(granted))
        return self.menu

    # -- approvals ----------------------------------------------------------------------------

    @state
    def requests(self, call: Call) -> State | None:
        """What waits for an answer first, then what holds."""
        self.context["heard"] = []
        return self.next_request

    @state
    def next_request(self, call: Call) -> State | None:
        request = self._unheard(self.premium.approvals.pending(self.owner_line.id))
        if request is None:
            self.context["heard"] = []
            return self.next_approval
        terms = self.premium.approvals.terms
        until = self._day(self.services.clock.now() + timedelta(days=terms.days))
        answer = call.choose(
            [
                words.pending(request.service, self._name(call, request.service)),
                words.pending_keys(terms.ceiling, until),
            ],
            {"1": "yes", "2": "no", "3": "next", BACK: "back"},
        )
        if answer == "back":
            return self.menu
        if answer != "next":
            decision = self.premium.approvals.answer_by_phone(
                self.owner_line.id, request.id, answer == "yes", "phone"
            )
            call.journal.event("approval_answer", request=request.id, decision=decision)
            call.say(DECIDED.get(decision, words.REQUEST_OVER))
            self.services.nudge()
        self._heard(request.id)
        return self.next_request

    @state
    def next_approval(self, call: Call) -> State | None:
        held = self._unheard(self.premium.approvals.of_line(self.owner_line.id))
        if held is None:
            call.say(words.NOTHING_MORE)
            return self.menu
        name = self._name(call, held.service) if held.service else None
        answer = call.choose(
            [words.approval(held, name, self._day(held.valid_until)), words.APPROVAL_KEYS],
            {"1": "revoke", "3": "next", BACK: "back"},
        )
        if answer == "back":
            return self.menu
        if answer == "revoke":
            revoked = self.premium.approvals.revoke(self.owner_line.id, held.id)
            call.journal.event("approval_revoked", approval=held.id, revoked=revoked)
            call.say(words.REVOKED)
        self._heard(held.id)
        return self.next_approval

    def _unheard(self, items: Sequence[Item]) -> Item | None:
        heard = self.context["heard"]
        if len(heard) >= MOST_HEARD:
            return None
        return next((item for item in items if item.id not in heard), None)

    def _heard(self, item: int) -> None:
        self.context["heard"] = [*self.context["heard"], item]

    def _day(self, moment: datetime) -> date:
        return moment.astimezone(self.services.timezone).date()

    def _name(self, call: Call, number: str) -> Recording | None:
        """The service's name as a recording; None for a service that is not published now."""
        service = self.premium.book.at(number)
        if service is None:
            return None
        language = service.language(call.language)
        return Recording(service.recording("name", language), service.names[language])


def _amount_or_back(keys: str) -> int | None:
    if keys == BACK:
        return None
    if not keys.isdecimal() or int(keys) > LARGEST_CREDIT:
        raise ValueError("not an amount")
    return int(keys)
