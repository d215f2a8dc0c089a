"""The automatic call to an owner who has not answered a request for approval yet (D9).

Whoever answers a ringing telephone proves to be the owner first: by PIN where one is set, else by
the number in our SMS, which came to this very mobile; nobody gets a further message for that. Then
one key allows or refuses. Silence, an answering machine among it, leaves the request open.
"""

from __future__ import annotations

import hmac
from datetime import timedelta

from billing.entities import Line
from billing.premium.approval_requests import Decision, Pending
from callflows import phrases
from callflows.call import BACK, TERMINATOR, Call, GaveUp
from callflows.flow import Flow, State, state
from callflows.premium import owner_phrases as words
from callflows.premium.proof import SECRET_DIGITS, OwnerProof
from callflows.services import Services
from sounds import Phrase, Recording

DECIDED: dict[Decision, Phrase] = {"approved": words.APPROVED, "refused": words.REFUSED}


class ApprovalCallFlow(OwnerProof, Flow):
    """Asks the owner of one line about one service."""

    name = "approval_call"

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.services = services
        self._line: Line | None = None

    @state(initial=True)
    def welcome(self, call: Call) -> State | None:
        request = self._request(call)
        if request is None:
            return self.too_late
        if not call.language_set:
            call.language = request.language
        call.say(words.call_greeting(request.line_number))
        owner = self.premium.owners.view(self.owner_line.id)
        return self.prove_pin if owner.has_pin else self.prove_number

    @state
    def prove_number(self, call: Call) -> State | None:
        request = self._request(call)
        if request is None:
            return self.too_late
        number = request.number

        def same(keys: str) -> bool:
            if keys != BACK and not hmac.compare_digest(keys, number):
                raise ValueError("not the number of the request")
            return keys != BACK

        known = call.ask(
            words.CALL_NUMBER,
            same,
            digits=call.digits(SECRET_DIGITS, terminator=TERMINATOR, secret=True),
            invalid=words.CALL_NUMBER_WRONG,
        )
        return self.proved(call) if known else self.unanswered

    def proved(self, call: Call) -> State | None:
        """The owner it is."""
        call.journal.event("authenticated")
        return self.decide

    def not_proved(self, call: Call, reason: str) -> State | None:
        """The request stays open."""
        call.journal.event("not_authenticated", reason=reason)
        return self.unanswered

    @state
    def decide(self, call: Call) -> State | None:
        request = self._request(call)
        if request is None:
            return self.too_late
        terms = self.premium.approvals.terms
        until = (self.services.clock.now() + timedelta(days=terms.days)).astimezone(
            self.services.timezone
        )
        question = [
            words.pending(request.service, self._name(call, request.service)),
            words.call_keys(terms.ceiling, until.date()),
        ]
        return call.choose(question, {"1": self.allow, "2": self.refuse, "9": self.decide})

    @state
    def allow(self, call: Call) -> State | None:
        return self._answer(call, True)

    @state
    def refuse(self, call: Call) -> State | None:
        return self._answer(call, False)

    def _answer(self, call: Call, approved: bool) -> State | None:
        request = self.context["request"]
        decision = self.premium.approvals.answer_by_phone(
            self.owner_line.id, request, approved, "call"
        )
        call.journal.event("approval_answer", request=request, decision=decision)
        call.say(DECIDED.get(decision, words.REQUEST_OVER))
        return self.goodbye

    # -- the end ------------------------------------------------------------------------------

    @state
    def goodbye(self, call: Call) -> None:
        call.say(phrases.ANNOUNCE_GOODBYE)

    @state
    def too_late(self, call: Call) -> State | None:
        """Answered otherwise while the telephone rang."""
        call.say(words.REQUEST_OVER)
        return self.goodbye

    @state
    def unanswered(self, call: Call) -> None:
        call.say(words.CALL_UNANSWERED)

    def gave_up(self, call: Call, why: GaveUp) -> State | None:
        """Nobody there, or somebody who does not know the number: the request stays open."""
        return self.unanswered

    def trouble(self, call: Call) -> State | None:
        """Whatever broke: the owner can answer otherwise."""
        call.say(phrases.ANNOUNCE_TROUBLE)
        return None

    def restored(self, call: Call) -> None:
        """Another worker had this call: whose line it is about stands in the context."""
        call.language_set = True
        self._find_line()

    # -- helpers ------------------------------------------------------------------------------

    @property
    def line_id(self) -> int | None:
        """The line that the request is about, once it is known."""
        return self._line.id if self._line else None

    @property
    def owner_line(self) -> Line:
        """The line whose owner is asked; states that use it come after `welcome`."""
        if self._line is None:
            raise LookupError("the call is about no request")
        return self._line

    def _request(self, call: Call) -> Pending | None:
        """The request, as long as it is open."""
        request = self.premium.approvals.of_call(call.id)
        if request is not None:
            self.context["request"] = request.id
            self.context["line"] = request.line_number
            self._find_line()
        return request

    def _find_line(self) -> None:
        number = self.context.get("line")
        self._line = self.premium.owners.line_of(number) if number else None

    def _name(self, call: Call, number: str) -> Recording | None:
        service = self.premium.book.at(number)
        if service is None:
            return None
        language = service.language(call.language)
        return Recording(service.recording("name", language), service.names[language])
