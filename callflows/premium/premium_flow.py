"""The premium-rate call: told the price, accepted, authenticated, never over the credit (D1-D14).

Read the states from top to bottom: they are the conversation. Nothing is charged before the
acceptance is recorded, the owner has authenticated where that is asked for, credit is reserved, and
the content or consultant is connected.
"""

from __future__ import annotations

import re
from datetime import datetime

import phonenumbers

from billing.entities import Line
from billing.errors import Unavailable
from billing.premium.book import Service, UnknownService, allowed
from billing.premium.charging import Charged, Charging, UnknownCall
from billing.premium.consents import Consent
from billing.premium.consultants import Consultants
from billing.premium.owners import OwnerView
from billing.premium.rating import least_use, rate, version_at
from billing.premium.slices import Refused
from callflows.call import Call, GaveUp, Prompt
from callflows.flow import Flow, State, state
from callflows.journal import phrase_of, told
from callflows.premium import phrases as words
from callflows.premium.acceptance import Acceptance
from callflows.premium.authentication import OwnerAuthentication
from callflows.premium.consulting import ConsultantStates, ConsultingRules, Ended
from callflows.premium.identity import IDENTITY, proven_number
from callflows.premium.meter import Meter, Rules
from callflows.services import Services
from callflows.trees.ports import Caller
from callflows.trees.runner import TreeStates
from sounds import Phrase, Recording
from sounds.hijri import from_gregorian

_NUMBER = re.compile(r"[0-9]{3,15}")


class PremiumFlow(ConsultantStates, TreeStates, OwnerAuthentication, Acceptance, Flow):
    """One call to a premium-rate number."""

    name = "premium"

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.services = services
        self.trees = self.premium.trees
        self._line: Line | None = None
        self._service: Service | None = None
        self._owner = OwnerView()
        self._meter: Meter | None = None

    # -- who calls, and what -------------------------------------------------------------------

    @state(initial=True)
    def welcome(self, call: Call) -> State | None:
        refusal = self._refusal(call)
        if refusal is not None:
            return self.refuse(call, *refusal)
        self._greet(call)
        return self.terms

    def _refusal(self, call: Call) -> tuple[str, Phrase] | None:
        """Why this caller gets nothing here, for the journal and in words; None: go on."""
        premium, now = self.premium, self.services.clock.now()
        dialled = call.channel.dialled
        number = proven_number(call, self.services.region)
        self._line = premium.owners.line_of(number) if number else None
        if self._line is not None and not call.language_set:
            call.language = self._line.language
        self._service = premium.book.at(dialled, now)
        service, line = self._service, self._line
        if service is None:
            shown = dialled if _NUMBER.fullmatch(dialled) else "000"
            return "no_service", words.no_service(shown)
        name = self.recording(call, "name")
        if service.status != "published":
            return "suspended", words.suspended(name)
        if number is None:
            return "withheld", words.WITHHELD
        if line is None:
            if _is_foreign(number, self.services.region):
                return "foreign", words.FOREIGN
            return "unknown_line", words.unknown_line(number)
        self.context["line"] = line.number
        self._owner = owner = premium.owners.view(line.id)
        if owner.blocked_by is not None:
            return f"blocked_by_{owner.blocked_by}", words.blocked(owner.blocked_by)
        if not allowed(service, line):
            return "region", words.region(name)
        if not premium.book.open_at(service, now, premium.calendars):
            opens = premium.book.next_open(service, now, premium.calendars)
            return "closed", words.closed(name, opens, now, self.services.timezone)
        blocked = premium.guards.admit(line, service, now)
        if blocked is not None:
            return "guarded", words.GUARDED
        return self._no_credit(now)

    def _no_credit(self, now: datetime) -> tuple[str, Phrase] | None:
        """Refuse before a long announcement what would be refused behind it."""
        tariffs = self.premium.prices.announced(self.service.id, now)
        if not tariffs:
            return "no_tariff", words.no_service(self.service.number)
        left = self.premium.credit.view(self.line.id).available
        if left < least_use(tariffs, now, self.services.timezone):
            return "no_credit", words.no_credit(left, self.premium.owner_number)
        return None

    def _greet(self, call: Call) -> None:
        """A returning caller by name, where the owner has recorded one; a birthday, too (D14)."""
        owner = self._owner
        if owner.greeting is not None and self.earlier_calls(call):
            name = Recording(f"{self.premium.recordings}/{owner.greeting}", "♪")
            call.say(words.greeting(name))
        if owner.birthday is not None and self._is_birthday(owner.birthday):
            call.say(words.BIRTHDAY)

    def _is_birthday(self, birthday: str) -> bool:
        """Whether MMDD is today, in the calendar of the line's language."""
        today = self.services.today()
        if self.line.language == "fa":
            hijri = from_gregorian(today)
            return birthday == f"{hijri.month:02d}{hijri.day:02d}"
        return birthday == f"{today.month:02d}{today.day:02d}"

    def accepted(self, call: Call, consent: Consent) -> State | None:
        """Go on: the owner comes next, where anything is asked of one."""
        return self.authenticate

    # -- the owner (D9); the states are those of OwnerAuthentication ---------------------------

    @property
    def owner_line(self) -> Line:
        """The line that the call comes from."""
        return self.line

    @property
    def asked_service(self) -> Service:
        """The service that was dialled."""
        return self.service

    def authenticated(self, call: Call, approval: int | None) -> State | None:
        """Go on: credit comes next."""
        self.context["approval"] = approval
        return self.reserve

    def not_authenticated(self, call: Call, reason: str) -> State | None:
        """Say that nothing was charged, and what can be done."""
        if reason == "no_mobile":
            phrase = words.owner_unreachable(self.premium.owner_number)
        elif reason in ("refused", "no_answer"):
            outcome = "refused" if reason == "refused" else "needed"
            phrase = words.approval(outcome, self.recording(call, "name"))
        else:
            phrase = words.NOT_AUTHENTICATED
        return self.refuse(call, f"owner_{reason}", phrase)

    # -- credit, content -----------------------------------------------------------------------

    @state
    def reserve(self, call: Call) -> State | None:
        """Hold what the first part costs; nothing costs yet (D8)."""
        # Asked for at the beginning, too: but calls that are dialled together all come so far.
        if self.premium.guards.crowded(self.line, call.id, self.services.clock.now()) is not None:
            return self.refuse(call, "guarded", words.GUARDED)
        granted = self.premium.charging.begin(
            call.id,
            self._consent(call),
            self.service.id,
            self.line.id,
            self.context.get("approval"),
            self.line.number,
        )
        if isinstance(granted, Refused):
            return self._not_granted(call, granted)
        self._meter = self._meter_of(call)
        self._meter.prepare(granted)
        self._load_tree()
        return self.connect if self.service.tree is not None else self.consult

    def _not_granted(self, call: Call, refused: Refused) -> State | None:
        if refused.reason == "no_credit":
            left = self.premium.credit.view(self.line.id).available
            phrase = words.no_credit(left, self.premium.owner_number)
        else:
            phrase = words.approval("used_up", self.recording(call, "name"))
        return self.refuse(call, refused.reason, phrase)

    @state
    def connect(self, call: Call) -> State | None:
        """From the end of this sentence on it costs."""
        call.say(words.CONNECTING)
        call.flush()
        # Who hangs up in that sentence is found to be gone by the next command only.
        call.channel.variable(IDENTITY)
        self.meter.connect()
        call.journal.event("connected", final=self.meter.final)
        return self.content

    def tree_caller(self, call: Call) -> Caller:
        """Who is in the tree."""
        service = self.service
        return Caller(
            service=service.id,
            number=service.number,
            version=service.version,
            provider_id=service.provider,
            provider=service.provider_code,
            line=self.line.id,
            caller=self.line.number,
        )

    def remaining_s(self, call: Call, wanted_s: float = 0.0) -> float:
        """Seconds that are paid for, if there is the money: as many as are wanted."""
        return self.meter.remaining_s(wanted_s)

    def content_ended(self, call: Call) -> State | None:
        """The tree is at its end, or the money."""
        return self.finish

    @property
    def consultants(self) -> Consultants:
        """Who takes the service's calls."""
        return self.premium.consultants

    @property
    def consulting_rules(self) -> ConsultingRules:
        """How consultants are called and waited for."""
        return self.premium.consulting

    @property
    def charging(self) -> Charging:
        """The money of the call."""
        return self.premium.charging

    def consulted(self, call: Call, how: Ended) -> State | None:
        """Back to the tree, where the call was in one; else to the end."""
        if how == "no_credit" and not self.meter.running:
            self.charging.abandoned(call.id, "no credit when a consultant was free")
            left = self.premium.credit.view(self.line.id).available
            return self.refuse(call, how, words.no_credit(left, self.premium.owner_number))
        if self.service.tree is not None and how not in ("time_over", "no_credit"):
            return self.content
        self.context["content_end"] = "no_time" if how in ("time_over", "no_credit") else how
        return self.finish

    def earlier_calls(self, call: Call) -> int:
        """How often this line has called the provider before."""
        line = self.line
        try:
            known = self.trees.histories.told(self.service.provider, line.id, line.number)
        except Unavailable:
            return 0
        return int(known.get("calls", 0))

    # -- the end -------------------------------------------------------------------------------

    @state
    def finish(self, call: Call) -> State | None:
        """Why it ended, where that was not the caller's or the content's doing; what it cost."""
        try:
            charged = self.meter.end()
        except Unavailable:
            call.say(words.COST_LATER, words.FAREWELL)
            return None
        # The last words cost nothing: they may take their time.
        self.meter.unlimit()
        if self.context.get("content_end") == "no_time":
            call.say(self._why_no_time(call))
        elif self.context.get("content_end") == "stale":
            call.say(words.TROUBLE_CONNECTED)
        call.say(*self._cost(call, charged))
        return None

    def _cost(self, call: Call, charged: Charged) -> list[Phrase]:
        if not charged.amount:
            return [words.COST_NOTHING, words.FAREWELL]
        standing = self.premium.charging.standing(call.id)
        consent = self._consent(call)
        start = standing.connected_at if standing and standing.connected_at else consent.pressed_at
        rated = rate(consent.tariffs, start, charged.seconds, self.services.timezone)
        model = version_at(consent.tariffs, start).model
        return [
            words.cost(model, rated.seconds_billed, charged.amount),
            words.goodbye(self.premium.complaints_number),
        ]

    def _why_no_time(self, call: Call) -> Phrase:
        """What was used up: the longest time, the owner's approval, or the credit."""
        standing = self.premium.charging.standing(call.id)
        if standing and (standing.seconds or 0) >= self.premium.charging.longest_call_s:
            return words.LONGEST_ENDED
        if self.context.get("approval") is not None:
            now = self.services.clock.now()
            least = least_use(self._consent(call).tariffs, now, self.services.timezone)
            if self.premium.credit.view(self.line.id).available >= least:
                return words.APPROVAL_ENDED
        return words.CREDIT_ENDED

    @state
    def refused(self, call: Call) -> State | None:
        """Last words of a call that costs nothing: why, and what can be done."""
        call.say(phrase_of(*self.context["refused"]))
        return None

    def over(self, call: Call) -> None:
        """The caller is gone, or nothing more follows: charge what was used, release the rest."""
        if self._meter is not None and self._meter.running:
            self._meter.end()
        elif self.context.get("accepted"):
            self.premium.charging.abandoned(call.id, "the caller hung up")

    def gave_up(self, call: Call, why: GaveUp) -> State | None:
        """Whoever does not answer the owner's questions is not connected."""
        return self.not_authenticated(call, "declined")

    def trouble(self, call: Call) -> State | None:
        """Whatever broke: nothing more is charged, and the caller is told what was."""
        try:
            if not self.context.get("accepted"):
                raise UnknownCall
            charged = self.premium.charging.ended(call.id, self.services.clock.now())
        except UnknownCall:
            call.say(words.TROUBLE)
        except Unavailable:
            call.say(words.TROUBLE_CONNECTED, words.COST_LATER)
        else:
            if charged.amount:
                call.say(words.TROUBLE_CONNECTED, *self._cost(call, charged))
            else:
                call.say(words.TROUBLE)
        return None

    def restored(self, call: Call) -> None:
        """Another worker had this call: load line, service and grant."""
        call.language_set = True
        number = self.context.get("line")
        self._line = self.premium.owners.line_of(number) if number else None
        dialled, version = call.channel.dialled, self.context.get("version")
        try:
            # A running call stays with what its caller has heard of.
            self._service = (
                self.premium.book.at(dialled, self.services.clock.now())
                if version is None
                else self.premium.book.get(dialled, version)
            )
        except UnknownService:
            self._service = None
        self._load_tree()
        if self.context.get("accepted"):
            self._meter = self._meter_of(call)
            self._meter.resume()

    # -- helpers ------------------------------------------------------------------------------

    @property
    def line_id(self) -> int | None:
        """The caller's line."""
        return self._line.id if self._line else None

    @property
    def line(self) -> Line:
        """The caller's line; states behind `welcome` have one."""
        if self._line is None:
            raise LookupError("the caller has no line")
        return self._line

    @property
    def service(self) -> Service:
        """The service that was dialled; states behind `welcome` have one."""
        if self._service is None:
            raise LookupError("no service has this number")
        return self._service

    @property
    def meter(self) -> Meter:
        """The money of the call; states behind `reserve` have one."""
        if self._meter is None:
            raise LookupError("nothing is reserved")
        return self._meter

    def _meter_of(self, call: Call) -> Meter:
        rules = Rules(warning_s=self.premium.warning_s, ahead_s=self.premium.warning_s + 15)
        clock = self.services.clock
        return Meter(call, self.premium.charging, clock, words.credit_warning, rules)

    def _consent(self, call: Call) -> Consent:
        consent = self.premium.consents.of(call.id)
        if consent is None:
            raise LookupError("nothing was accepted")
        return consent

    def _load_tree(self) -> None:
        tree = None if self._service is None else self.premium.shelf.tree(self._service)
        if tree is not None:
            self.tree = tree

    def refuse(self, call: Call, reason: str, phrase: Phrase) -> State | None:
        """Say why nothing follows, and end the call."""
        call.journal.event("refused", reason=reason)
        self.context["refused"] = told(Prompt((phrase,), call.language))[0]
        return self.refused


def _is_foreign(number: str, region: str) -> bool:
    return phonenumbers.parse(number).country_code != phonenumbers.country_code_for_region(region)
