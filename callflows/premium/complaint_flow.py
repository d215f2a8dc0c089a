"""The complaints line: which charge it is, what is wrong with it; disputed from then on (D12).

The last charges of the line that calls are read out, and one is picked. The complaint is written
down before it is spoken: callers hang up when they have said what they wanted to say. A number that
the network does not vouch for is read nothing; a person takes over.
"""

from __future__ import annotations

from datetime import datetime

from billing.entities import Line
from billing.errors import Unavailable
from billing.premium.disputes import NotDisputable, RecentCharge
from billing.premium.owners import registered_mobile
from callflows import phrases
from callflows.call import BACK, Call, GaveUp
from callflows.flow import Flow, State, state
from callflows.premium import complaint_phrases as words
from callflows.premium.desk import Premium
from callflows.premium.identity import proven_number
from callflows.services import Services
from sounds import Phrase, Recording

FOLDER = "complaints"
"""Where complaints are recorded, below the recordings folder."""

MOST_S = 180
SILENCE_S = 6


class ComplaintFlow(Flow):
    """The whole conversation with whoever complains."""

    name = "complaint"

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.services = services
        self._line: Line | None = None

    # -- whose charges ------------------------------------------------------------------------

    @state(initial=True)
    def welcome(self, call: Call) -> State | None:
        number = proven_number(call, self.services.region)
        line = None if number is None else self.premium.owners.line_of(number)
        if line is not None and not call.language_set:
            call.language = line.language
        call.say(words.WELCOME)
        if line is None:
            call.journal.event("no_line", reason="untrusted" if number is None else "unknown")
            call.say(words.WITHHELD if number is None else words.UNKNOWN_LINE)
            return self.care
        self._line = line
        self.context["line"] = line.number
        return self.charges

    # -- which charge -------------------------------------------------------------------------

    @state
    def charges(self, call: Call) -> State | None:
        """The last charges: those that may be complained about have a key."""
        recent = self.premium.complaints.recent(self.line.id)
        if not recent:
            call.say(words.NONE)
            return self.nothing_there
        prompt: list[Phrase] = [words.LAST]
        options: dict[str, RecentCharge | State] = {}
        for charge in recent:
            if charge.complaint is not None:
                prompt.append(words.standing(charge, self._at(charge)))
                continue
            key = str(len(options) + 1)
            options[key] = charge
            prompt.append(words.option(charge, self._name(call, charge), self._at(charge), key))
        options |= {"9": self.charges, "0": self.care, BACK: self.goodbye}
        chosen = call.choose([*prompt, words.LAST_KEYS], options)
        if not isinstance(chosen, RecentCharge):
            return chosen
        self.context["charge"] = chosen.charge
        return self.confirm

    @state
    def nothing_there(self, call: Call) -> State | None:
        return call.choose(words.NONE_KEYS, {"0": self.care, BACK: self.goodbye})

    @state
    def confirm(self, call: Call) -> State | None:
        charge = self._chosen()
        if charge is None:
            return self.charges
        return call.choose(
            [words.chosen(charge, self._name(call, charge), self._at(charge)), words.CONFIRM],
            {"1": self.write_down, "2": self.charges, "0": self.care, BACK: self.goodbye},
        )

    # -- the complaint ------------------------------------------------------------------------

    @state
    def write_down(self, call: Call) -> State | None:
        """From here on the charge is disputed, whatever the caller says or does not say."""
        charge = self._chosen()
        if charge is None:
            return self.charges
        name = f"{FOLDER}/{call.id.lower()}-{self.visits}.wav"
        try:
            complaint = self.premium.complaints.open(
                self.key(call, "complaint"), self.line.id, charge.charge, call.id, name
            )
        except Unavailable:
            call.journal.event("not_recorded", what="complaint")
            call.say(words.NOT_SAVED)
            return self.more
        except NotDisputable as error:
            call.journal.event("not_recorded", what="complaint", reason=error.why)
            call.say(words.refused(error.why))
            return self.more
        self.services.nudge()
        call.journal.event("complaint", number=complaint, charge=charge.charge)
        call.say(words.recorded(complaint, charge.amount))
        self.context["message"] = name
        return self.message

    @state
    def message(self, call: Call) -> State | None:
        call.record(words.SAY, self.context["message"], most_s=MOST_S, silence_s=SILENCE_S)
        call.say(words.THANKS)
        if registered_mobile(self.line) is not None:
            call.say(words.BY_SMS)
        return self.more

    @state
    def more(self, call: Call) -> State | None:
        return call.choose(words.MORE, {"1": self.charges, "0": self.care, BACK: self.goodbye})

    # -- the end ------------------------------------------------------------------------------

    @state
    def goodbye(self, call: Call) -> None:
        call.say(phrases.GOODBYE)

    @state
    def nobody_there(self, call: Call) -> None:
        call.say(phrases.GIVING_UP_NO_INPUT)

    @state
    def care(self, call: Call) -> State:
        call.say(phrases.CONNECTING_CARE)
        numbers = self.services.numbers
        return self.hand_over(call, numbers.care, numbers.care_context, self.transfer_failed)

    @state
    def transfer_failed(self, call: Call) -> State:
        call.say(phrases.TRANSFER_FAILED)
        return self.more if self._line else self.goodbye

    def gave_up(self, call: Call, why: GaveUp) -> State | None:
        """Silence ends the call politely; wrong keys bring a person."""
        if why.reason == "invalid":
            call.say(phrases.GIVING_UP_INVALID)
            return self.care
        return self.nobody_there

    def trouble(self, call: Call) -> State | None:
        """Whatever broke: nothing was charged or sent."""
        call.say(phrases.TECHNICAL_TROUBLE)
        return None

    def restored(self, call: Call) -> None:
        """Another worker had this call: whose line it is about stands in the context."""
        call.language_set = True
        number = self.context.get("line")
        self._line = self.premium.owners.line_of(number) if number else None

    # -- helpers ------------------------------------------------------------------------------

    @property
    def premium(self) -> Premium:
        """Premium-rate lines; without them there is no such number."""
        if self.services.premium is None:
            raise LookupError("premium-rate lines are not served here")
        return self.services.premium

    @property
    def line(self) -> Line:
        """The line whose charges these are; states that use it come after `welcome`."""
        if self._line is None:
            raise LookupError("no line has been found yet")
        return self._line

    @property
    def line_id(self) -> int | None:
        """The line that the call is about, once it is known."""
        return self._line.id if self._line else None

    def _chosen(self) -> RecentCharge | None:
        """The charge that was picked; None if it is among the last ones no more."""
        wanted = self.context.get("charge")
        recent = self.premium.complaints.recent(self.line.id)
        return next((charge for charge in recent if charge.charge == wanted), None)

    def _at(self, charge: RecentCharge) -> datetime:
        return charge.connected_at.astimezone(self.services.timezone)

    def _name(self, call: Call, charge: RecentCharge) -> Recording | None:
        """The service's name as a recording; None for a service that is not published now."""
        service = self.premium.book.at(charge.service.number)
        if service is None:
            return None
        language = service.language(call.language)
        return Recording(service.recording("name", language), service.names[language])
