"""May this service be used from this line? The owner's PIN, code or approval, as asked for (D9).

What is asked for is what the line's owner has set for every premium call, and what the service asks
for; both, where they differ. Mixed into a flow, which enters at `authenticate` and goes on in
`authenticated` or `not_authenticated`.
"""

from __future__ import annotations

from typing import Protocol

from billing.errors import Limited, Unavailable
from billing.premium.approval_requests import Standing
from billing.premium.owners import NoMobile
from callflows import phrases
from callflows.call import BACK, Call
from callflows.flow import State, state
from callflows.premium import owner_phrases as words
from callflows.premium.proof import OwnerProof

# The cheapest to refuse comes first: whoever has no approval need not fetch the PIN.
ORDER = ("approval", "pin", "code")


class AskedService(Protocol):
    """What is asked of a service here."""

    @property
    def id(self) -> int:
        """Its row id."""

    @property
    def category(self) -> str:
        """Its category."""

    @property
    def authentication(self) -> str:
        """What it asks for: none, pin, code or approval."""


class OwnerAuthentication(OwnerProof):
    """The states between acceptance and connection that the line's owner has to do with.

    The reasons of `not_authenticated` are those of `OwnerProof.not_proved`, and refused (by the
    owner), no_answer (of the owner, so far). What has been said is why, not that the call ends.
    """

    # -- what the flow says -------------------------------------------------------------------

    @property
    def asked_service(self) -> AskedService:
        """The service that is to be used."""
        raise NotImplementedError

    def authenticated(self, call: Call, approval: int | None) -> State | None:
        """The service may be used, under this approval (its row id) if one was needed."""
        raise NotImplementedError

    def not_authenticated(self, call: Call, reason: str) -> State | None:
        """It may not, for this reason."""
        raise NotImplementedError

    # -- what is needed -----------------------------------------------------------------------

    @state
    def authenticate(self, call: Call) -> State | None:
        owner = self.premium.owners.view(self.owner_line.id)
        asked = {owner.authentication, self.asked_service.authentication}
        # A code proves as much as a PIN that nobody has set.
        if "pin" in asked and not owner.has_pin:
            asked = asked - {"pin"} | {"code"}
        self.context["proofs"] = [each for each in ORDER if each in asked]
        self.context["approval"] = None
        return self._next_proof(call)

    def _next_proof(self, call: Call) -> State | None:
        proofs = self.context["proofs"]
        if not proofs:
            return self.authenticated(call, self.context["approval"])
        states: dict[str, State] = {
            "approval": self.find_approval,
            "pin": self.prove_pin,
            "code": self.send_code,
        }
        return states[proofs[0]]

    def proved(self, call: Call) -> State | None:
        """One proof less is needed."""
        self.context["proofs"] = self.context["proofs"][1:]
        return self._next_proof(call)

    def not_proved(self, call: Call, reason: str) -> State | None:
        """Without it nothing is connected."""
        return self.not_authenticated(call, reason)

    # -- approval -----------------------------------------------------------------------------

    @state
    def find_approval(self, call: Call) -> State | None:
        service = self.asked_service
        approval = self.premium.approvals.valid(
            self.owner_line.id, service.id, service.category, self.services.clock.now()
        )
        if approval is None:
            return self.offer_request
        call.journal.event("approval", approval=approval.id)
        self.context["approval"] = approval.id
        return self.proved(call)

    @state
    def offer_request(self, call: Call) -> State | None:
        ask = call.choose(words.APPROVAL_ASK, {"1": True, BACK: False})
        return self.request_approval if ask else self.not_authenticated(call, "declined")

    @state
    def request_approval(self, call: Call) -> State | None:
        key = self.key(call, "approval")
        try:
            request = self.premium.approvals.request(
                key, self.owner_line, self.asked_service.id, call.id
            )
        except NoMobile:
            return self.not_authenticated(call, "no_mobile")
        except Limited as limit:
            call.journal.event("limited", what="approval", scope=limit.scope)
            call.say(words.SMS_LIMITED)
            return self.not_authenticated(call, "limited")
        except Unavailable:
            call.journal.event("not_recorded", what="approval")
            call.say(phrases.NOT_RECORDED)
            return self.not_authenticated(call, "unavailable")
        self.services.nudge()
        call.journal.event("approval_asked", request=request.id)
        self.context["asked"] = request.id
        call.say(words.APPROVAL_WAIT)
        return self.await_approval

    @state
    def await_approval(self, call: Call) -> State | None:
        answer = call.wait_for(self._answer, most_s=self.premium.approvals.terms.wait_s, keys=BACK)
        call.journal.event("approval_answer", answer=answer or "none")
        if answer == "approved":
            call.say(words.APPROVAL_GIVEN)
            return self.find_approval
        return self.not_authenticated(call, "refused" if answer == "refused" else "no_answer")

    def _answer(self) -> Standing | None:
        try:
            standing = self.premium.approvals.standing(self.context["asked"])
        except Unavailable:
            # The caller waits anyway.
            return None
        return None if standing == "open" else standing
