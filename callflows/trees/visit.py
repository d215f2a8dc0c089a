"""One visit of a call to a node of its tree.

See `callflows.trees.runner`, which takes a call from visit to visit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from billing.errors import Unavailable
from callflows.call import BACK, Call, Digits, GaveUp
from callflows.flow import State
from callflows.trees import entries
from callflows.trees.format import (
    Callout,
    Consultants,
    End,
    Goto,
    Menu,
    Order,
    OrderField,
    Poll,
    Prompt,
    Random,
    Record,
)
from callflows.trees.places import Place
from callflows.trees.ports import Caller
from sounds import Phrase

if TYPE_CHECKING:
    from callflows.trees.runner import TreeStates

Why = Literal["end", "no_time", "gave_up", "stale"]
"""Why a content is over: its end, no time for the next prompt, a caller who does not answer, or a
place that this version of the tree does not have."""

CONTEXT = "tree"
_RIGHT, _WRONG = "1", "2"
_INVALID = Phrase("invalid_key")


class Visit:
    """What a call does at the place where it stands; made for one visit of a flow's `content`."""

    def __init__(self, flow: TreeStates, call: Call) -> None:
        self._flow = flow
        self._call = call
        self._tree = flow.tree
        self._trees = flow.trees

    def run(self) -> State | None:
        """Run the node, or one question of it; the state to go on with."""
        place = Place.of(self._flow.context.get(CONTEXT), self._tree.start)
        if not place.at:
            return self.over("end")
        node = self._tree.nodes.get(place.at)
        if node is None:
            return self.over("stale")
        try:
            return _RUN[type(node)](self, node, place)
        except GaveUp as why:
            self._call.journal.event("gave_up", reason=why.reason, question=place.at)
            return self.over("gave_up")

    # -- going on -------------------------------------------------------------------------------

    def _go(self, place: Place) -> State:
        self._flow.context[CONTEXT] = place.plain()
        return self._flow.content

    def over(self, why: Why) -> State | None:
        self._flow.context["content_end"] = why
        self._call.journal.event("content_ended", why=why)
        return self._flow.content_ended(self._call)

    def _phrase(self, node: str, part: str = "") -> Phrase:
        language = self._tree.language(self._call.language)
        phrase = Phrase("said", what=self._tree.recording(node, part, language))
        return phrase if language == self._call.language else phrase.spoken_in(language)

    def _fits(self, phrase: Phrase) -> bool:
        """Whether a prompt that begins now ends in time."""
        return self._left_after(phrase) >= 0

    def _left_after(self, phrase: Phrase, then_s: float = 0.0) -> float:
        """Seconds that are left when a prompt that begins now has ended, with all that leads it.

        As many as `then_s`, if there is the money.
        """
        names = self._trees.catalogue.recordings
        ms = sum(
            self._trees.library.prompt_ms(names(each, self._call.language))
            for each in (*self._call.unheard, phrase)
        )
        return self._flow.remaining_s(self._call, ms / 1000 + then_s) - ms / 1000

    def _say(self, phrase: Phrase, after: str | None) -> bool:
        """Play a prompt to its end, now; False if there is no time for it.

        Where a menu follows, a key ends the prompt and answers the menu.
        """
        if not self._fits(phrase):
            return False
        if self._leads_to_keys(after):
            self._call.listen(phrase)
        else:
            self._call.say(phrase)
            self._call.flush()
        return True

    def _leads_to_keys(self, target: str | None) -> bool:
        """Whether the next that asks on this way takes one key."""
        while target is not None:
            node = self._tree.nodes[target]
            if isinstance(node, Menu | Poll):
                return True
            if isinstance(node, Prompt | Random):
                target = node.next
            elif isinstance(node, Goto):
                target = node.to
            else:
                return False
        return False

    # -- nodes ----------------------------------------------------------------------------------

    def _prompt(self, node: Prompt, place: Place) -> State | None:
        if not self._say(self._phrase(place.at), node.next):
            return self.over("no_time")
        return self._go(place.to(node.next))

    def _random(self, node: Random, place: Place) -> State | None:
        if node.pick == "day":
            drawn = self._trees.today().toordinal()
        else:
            # The same for whoever takes this visit over, another at the next one.
            seed = f"{self._call.id}:{self._flow.visits}:{place.at}".encode()
            drawn = int.from_bytes(hashlib.sha256(seed).digest()[:8])
        item = drawn % len(node.items) + 1
        self._call.journal.event("drawn", node=place.at, item=item)
        if not self._say(self._phrase(place.at, str(item)), node.next):
            return self.over("no_time")
        return self._go(place.to(node.next))

    def _goto(self, node: Goto, place: Place) -> State | None:
        return self._go(place.to(node.to))

    def _end(self, node: End, place: Place) -> State | None:
        if node.say is not None and not self._say(self._phrase(place.at), None):
            return self.over("no_time")
        return self.over("end")

    def _ask(self, question: Phrase, digits: Digits) -> str | None:
        """Ask once: the keys, "" for silence; None if there is no time for the question.

        One visit asks once, so that each time is looked at whether it ends before the money does.
        """
        if not self._fits(question):
            return None
        return self._call.ask(question, str, digits=digits, invalid=_INVALID, otherwise="")

    def _not_answered(self, place: Place, pressed: str, wrong: Phrase = _INVALID) -> State:
        """The same question in the next visit, unless the caller has given up."""
        place = place.not_answered(silent=not pressed)
        if max(place.silent, place.wrong) >= self._call.timers.tries:
            raise GaveUp("invalid" if pressed else "no_input", place.at)
        self._call.say(wrong if pressed else Phrase("no_input"))
        return self._go(place)

    def _choose(
        self,
        node: Menu | Poll,
        place: Place,
        chosen: Callable[[str], Place],
        silence: str | None = None,
    ) -> State | None:
        """Ask for one key; an answer leads to the place that `chosen` makes of it."""
        key = self._ask(self._phrase(place.at), self._call.digits(1))
        if key is None:
            return self.over("no_time")
        if key in node.answers:
            return self._go(chosen(key))
        if key and key in (node.repeat_key, node.back_key):
            return self._go(place.again() if key == node.repeat_key else place.before())
        if not key and silence is not None:
            return self._go(place.to(silence))
        return self._not_answered(place, key)

    def _menu(self, node: Menu, place: Place) -> State | None:
        return self._choose(node, place, lambda key: place.chosen(node.keys[key]), node.silence)

    def _poll(self, node: Poll, place: Place) -> State | None:
        if place.pending is None:
            return self._choose(node, place, lambda key: place.with_pending(node.choices[key]))
        who = self._flow.tree_caller(self._call)
        key = self._flow.key(self._call, f"poll:{place.at}")
        if node.once:
            key = f"poll:{who.number}:{place.at}:{who.line or who.caller}"
        new = self._keep(who, key, place, "poll", {"choice": place.pending})
        if new is not None:
            self._call.say(Phrase("tree_vote_recorded" if new else "tree_voted_before"))
        return self._go(place.to(node.next))

    def _order(self, node: Order, place: Place) -> State | None:
        if len(place.given) >= len(node.fields):
            who = self._flow.tree_caller(self._call)
            names = [field.name for field in node.fields]
            filled = dict(zip(names, place.given, strict=False))
            key = self._flow.key(self._call, f"order:{place.at}")
            if self._keep(who, key, place, "order", filled) is not None:
                self._call.say(Phrase("tree_order_recorded"))
            return self._go(place.to(node.next))
        field = node.fields[len(place.given)]
        if place.pending is not None:
            return self._confirm(field, place, place.pending)
        digits = self._call.digits(entries.digits_of(field)[1], terminator="#")
        question = self._phrase(place.at, field.name)
        pressed = self._ask(question, digits)
        if pressed is None:
            return self.over("no_time")
        if pressed == BACK:
            return self._go(place.before() if place.back else Place(place.at))
        if not pressed:
            return self._not_answered(place, pressed)
        try:
            value = entries.reader(field, self._trees.region)(pressed)
        except ValueError:
            return self._not_answered(place, pressed, Phrase("tree_not_accepted"))
        return self._go(place.with_pending(value))

    def _confirm(self, field: OrderField, place: Place, value: str) -> State | None:
        """Read a field back, and ask whether it is right."""
        shown = entries.read_back(field, value)
        key = self._ask(shown, self._call.digits(1))
        if key is None:
            return self.over("no_time")
        if key == _RIGHT:
            return self._go(place.with_given(value))
        if key == _WRONG:
            return self._go(place.with_pending(None))
        return self._not_answered(place, key)

    def _record(self, node: Record, place: Place) -> State | None:
        who = self._flow.tree_caller(self._call)
        if place.pending is None:
            phrase = self._phrase(place.at)
            if not self._fits(phrase):
                return self.over("no_time")
            # Its name is written down before: who has said his message hangs up.
            name = f"services/{who.number}/{_safe(self._call.id)}-{self._flow.visits}.wav"
            key = self._flow.key(self._call, f"record:{place.at}")
            if self._keep(who, key, place, "recording", {"name": name}) is None:
                return self._go(place.to(node.next))
            return self._go(place.with_pending(json.dumps([key, name])))
        key, name = json.loads(place.pending)
        phrase = self._phrase(place.at)
        most_s = max(1, int(min(node.most_s, self._left_after(phrase, node.most_s))))
        if self._call.record(phrase, name, most_s=most_s, silence_s=node.silence_s) is None:
            self._withdraw(key)
            self._call.say(Phrase("tree_nothing_said"))
        else:
            self._call.say(Phrase("tree_message_recorded"))
        return self._go(place.to(node.next))

    def _callout(self, node: Callout, place: Place) -> State | None:
        if node.say is not None and not self._say(self._phrase(place.at), None):
            return self.over("no_time")
        who = self._flow.tree_caller(self._call)
        key = self._flow.key(self._call, f"callout:{place.at}")
        result = None
        if node.timeout_s <= self._flow.remaining_s(self._call, node.timeout_s):
            try:
                question = {
                    "service": who.number,
                    "node": place.at,
                    "call": self._call.id,
                    "at": self._trees.clock.now().isoformat(timespec="seconds"),
                    "language": self._call.language,
                    "caller": self._trees.histories.told(who.provider_id, who.line, who.caller),
                }
                result = self._trees.crm.ask(node.url, who.provider, question, key, node.timeout_s)
            except Unavailable:
                self._call.journal.event("not_asked", node=place.at)
        known = result in node.results
        self._call.journal.event("callout", node=place.at, result=result if known else None)
        return self._go(place.to(node.results[result] if result and known else node.fallback))

    def _consultants(self, node: Consultants, place: Place) -> State | None:
        # What comes after it, for whoever comes back from the consultant.
        self._go(place.to(node.next))
        return self._flow.consult

    # -- what callers leave ---------------------------------------------------------------------

    def _keep(
        self,
        who: Caller,
        key: str,
        place: Place,
        kind: Literal["poll", "order", "recording"],
        answer: Mapping[str, Any],
    ) -> bool | None:
        """Write an answer down: True if it is new, False if it was there, None if it cannot be.

        Then the caller has been told so: only what is recorded is promised.
        """
        try:
            new = self._trees.answers.put(
                key,
                service=who.service,
                version=who.version,
                node=place.at,
                call_id=self._call.id,
                line=who.line,
                kind=kind,
                answer=answer,
            )
        except Unavailable:
            self._call.journal.event("not_recorded", what=kind)
            self._call.say(Phrase("tree_not_recorded"))
            return None
        self._call.journal.event("left", what=kind, node=place.at)
        return new

    def _withdraw(self, key: str) -> None:
        try:
            self._trees.answers.withdraw(key)
        except Unavailable:
            # An empty message stays in the list; whoever listens to it hears that.
            self._call.journal.event("not_withdrawn")


def _safe(call_id: str) -> str:
    """A call's id as a file may be called; FreeSWITCH's are UUIDs."""
    kept = "".join(char for char in call_id.lower() if char.isascii() and char.isalnum())
    return kept[:40] or "call"


_RUN: Mapping[type, Callable[..., State | None]] = {
    Prompt: Visit._prompt,
    Menu: Visit._menu,
    Poll: Visit._poll,
    Order: Visit._order,
    Record: Visit._record,
    Random: Visit._random,
    Callout: Visit._callout,
    Consultants: Visit._consultants,
    Goto: Visit._goto,
    End: Visit._end,
}
