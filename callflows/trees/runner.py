"""Carries out a menu tree in a call: one node, or one question of it, for each visit of a state.

Whoever takes the call over finds in the flow's context where it stands in the tree, and goes on
there. What a caller has answered is written down in a visit of its own, under a key of call and
visit: run twice, it is there once. And no prompt begins that would not end before the money does.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from billing.errors import Unavailable
from callflows.call import BACK, Call, GaveUp
from callflows.flow import State, state
from callflows.trees import entries
from callflows.trees.format import (
    Callout,
    Consultants,
    End,
    Goto,
    Menu,
    Order,
    Poll,
    Prompt,
    Random,
    Record,
    Tree,
)
from callflows.trees.places import Place
from callflows.trees.ports import Caller, TreeServices
from sounds import Phrase

if TYPE_CHECKING:
    from callflows.flow import Flow as _Base
else:
    _Base = object

Why = Literal["end", "no_time", "gave_up", "stale"]
"""Why a content is over: its end, no time for the next prompt, a caller who does not answer, or a
place that this version of the tree does not have."""

CONTEXT = "tree"
_AGAIN, _BEFORE = "again", "before"
_RIGHT, _WRONG = "1", "2"


class TreeStates(_Base):
    """The state `content` for a flow: a service's menu tree, from where the call stands in it.

    The flow sets `tree` and `trees`, and says who calls (`tree_caller`), how long there is money
    (`remaining_s`), what comes after the content (`content_ended`) and, where its services have
    consultants, how a caller is connected with one (`consult`).
    """

    tree: Tree
    trees: TreeServices

    @state
    def content(self, call: Call) -> State | None:
        """Run the node at which the call stands, or one question of it."""
        place = Place.of(self.context.get(CONTEXT), self.tree.start)
        if not place.at:
            return self._content_over(call, "end")
        node = self.tree.nodes.get(place.at)
        if node is None:
            return self._content_over(call, "stale")
        try:
            return _RUN[type(node)](self, call, node, place)
        except GaveUp as why:
            call.journal.event("gave_up", reason=why.reason, question=place.at)
            return self._content_over(call, "gave_up")

    # -- what the flow says ---------------------------------------------------------------------

    def tree_caller(self, call: Call) -> Caller:
        """Who is in the tree."""
        raise NotImplementedError

    def remaining_s(self, call: Call) -> float:
        """Seconds from now until the content must be over."""
        return math.inf

    def content_ended(self, call: Call) -> State | None:
        """The state after the content; ``context["content_end"]`` says why it is over (`Why`)."""
        raise NotImplementedError

    def consult(self, call: Call) -> State | None:
        """The state that connects with a consultant, and then goes on with `content`."""
        raise NotImplementedError

    # -- going on -------------------------------------------------------------------------------

    def _go(self, place: Place) -> State:
        self.context[CONTEXT] = place.plain()
        return self.content

    def _content_over(self, call: Call, why: Why) -> State | None:
        self.context["content_end"] = why
        call.journal.event("content_ended", why=why)
        return self.content_ended(call)

    def _phrase(self, call: Call, node: str, part: str = "") -> Phrase:
        language = self.tree.language(call.language)
        phrase = Phrase("said", what=self.tree.recording(node, part, language))
        return phrase if language == call.language else phrase.spoken_in(language)

    def _fits(self, call: Call, phrase: Phrase) -> bool:
        """Whether a prompt that begins now ends in time."""
        names = self.trees.catalogue.recordings(phrase, call.language)
        return self.trees.library.prompt_ms(names) / 1000 <= self.remaining_s(call)

    def _say(self, call: Call, phrase: Phrase, after: str | None) -> bool:
        """Play a prompt to its end, now; False if there is no time for it.

        Where a menu follows, a key ends the prompt and answers the menu.
        """
        if not self._fits(call, phrase):
            return False
        if self._leads_to_keys(after):
            call.listen(phrase)
        else:
            call.say(phrase)
            call.flush()
        return True

    def _leads_to_keys(self, target: str | None) -> bool:
        """Whether the next that asks on this way takes one key."""
        while target is not None:
            node = self.tree.nodes[target]
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

    def _prompt(self, call: Call, node: Prompt, place: Place) -> State | None:
        if not self._say(call, self._phrase(call, place.at), node.next):
            return self._content_over(call, "no_time")
        return self._go(place.to(node.next))

    def _random(self, call: Call, node: Random, place: Place) -> State | None:
        if node.pick == "day":
            drawn = self.trees.today().toordinal()
        else:
            # The same for whoever takes this visit over, another at the next one.
            seed = f"{call.id}:{self.visits}:{place.at}".encode()
            drawn = int.from_bytes(hashlib.sha256(seed).digest()[:8])
        item = drawn % len(node.items) + 1
        call.journal.event("drawn", node=place.at, item=item)
        if not self._say(call, self._phrase(call, place.at, str(item)), node.next):
            return self._content_over(call, "no_time")
        return self._go(place.to(node.next))

    def _goto(self, call: Call, node: Goto, place: Place) -> State | None:
        return self._go(place.to(node.to))

    def _end(self, call: Call, node: End, place: Place) -> State | None:
        if node.say is not None and not self._say(call, self._phrase(call, place.at), None):
            return self._content_over(call, "no_time")
        return self._content_over(call, "end")

    def _choose(
        self, call: Call, node: Menu | Poll, place: Place, silence: str | None = None
    ) -> str | None:
        """The key of an answer, "again", "before" or `silence`; None if there is no time to ask."""
        options = {key: key for key in node.answers}
        if node.repeat_key is not None:
            options[node.repeat_key] = _AGAIN
        if node.back_key is not None:
            options[node.back_key] = _BEFORE
        phrase = self._phrase(call, place.at)
        if not self._fits(call, phrase):
            return None
        return call.choose(phrase, options, otherwise=silence)

    def _menu(self, call: Call, node: Menu, place: Place) -> State | None:
        key = self._choose(call, node, place, None if node.silence is None else "")
        if key is None:
            return self._content_over(call, "no_time")
        if key == "":
            return self._go(place.to(node.silence))
        if key in (_AGAIN, _BEFORE):
            return self._go(place if key == _AGAIN else place.before())
        return self._go(place.chosen(node.keys[key]))

    def _poll(self, call: Call, node: Poll, place: Place) -> State | None:
        if place.pending is not None:
            who = self.tree_caller(call)
            key = self.key(call, f"poll:{place.at}")
            if node.once:
                key = f"poll:{who.number}:{place.at}:{who.line or who.caller}"
            choice = {"choice": place.pending}
            new = self._keep(call, who, key, place, "poll", choice)
            if new is False:
                call.say(Phrase("tree_voted_before"))
            elif new:
                call.say(Phrase("tree_vote_recorded"))
            return self._go(place.to(node.next))
        pressed = self._choose(call, node, place)
        if pressed is None:
            return self._content_over(call, "no_time")
        if pressed in (_AGAIN, _BEFORE):
            return self._go(place if pressed == _AGAIN else place.before())
        return self._go(place.with_pending(node.choices[pressed]))

    def _order(self, call: Call, node: Order, place: Place) -> State | None:
        if len(place.given) >= len(node.fields):
            who = self.tree_caller(call)
            names = [field.name for field in node.fields]
            filled = dict(zip(names, place.given, strict=False))
            if self._keep(call, who, self.key(call, f"order:{place.at}"), place, "order", filled):
                call.say(Phrase("tree_order_recorded"))
            return self._go(place.to(node.next))
        field = node.fields[len(place.given)]
        question = self._phrase(call, place.at, field.name)
        if not self._fits(call, question):
            return self._content_over(call, "no_time")
        read = entries.reader(field, self.trees.region)
        value = call.ask(
            question,
            lambda pressed: "" if pressed == BACK else read(pressed),
            digits=call.digits(entries.digits_of(field)[1], terminator="#"),
            invalid=Phrase("tree_not_accepted"),
        )
        if not value:
            return self._go(place.before() if place.back else Place(place.at))
        shown = entries.read_back(field, value)
        if not self._fits(call, shown):
            return self._content_over(call, "no_time")
        if call.choose(shown, {_RIGHT: _RIGHT, _WRONG: _WRONG}) == _WRONG:
            return self._go(place)
        return self._go(place.with_given(value))

    def _record(self, call: Call, node: Record, place: Place) -> State | None:
        who = self.tree_caller(call)
        if place.pending is None:
            phrase = self._phrase(call, place.at)
            if not self._fits(call, phrase):
                return self._content_over(call, "no_time")
            # Its name is written down before: who has said his message hangs up.
            name = f"services/{who.number}/{_safe(call.id)}-{self.visits}.wav"
            key = self.key(call, f"record:{place.at}")
            if self._keep(call, who, key, place, "recording", {"name": name}) is None:
                return self._go(place.to(node.next))
            return self._go(place.with_pending(json.dumps([key, name])))
        key, name = json.loads(place.pending)
        most_s = int(min(node.most_s, max(1.0, self.remaining_s(call))))
        phrase = self._phrase(call, place.at)
        if call.record(phrase, name, most_s=most_s, silence_s=node.silence_s) is None:
            self._withdraw(call, key)
            call.say(Phrase("tree_nothing_said"))
        else:
            call.say(Phrase("tree_message_recorded"))
        return self._go(place.to(node.next))

    def _callout(self, call: Call, node: Callout, place: Place) -> State | None:
        if node.say is not None and not self._say(call, self._phrase(call, place.at), None):
            return self._content_over(call, "no_time")
        who = self.tree_caller(call)
        key = self.key(call, f"callout:{place.at}")
        result = None
        if node.timeout_s <= self.remaining_s(call):
            try:
                question = {
                    "service": who.number,
                    "node": place.at,
                    "call": call.id,
                    "at": self.trees.clock.now().isoformat(timespec="seconds"),
                    "language": call.language,
                    "caller": self.trees.histories.told(who.provider_id, who.line, who.caller),
                }
                result = self.trees.crm.ask(node.url, who.provider, question, key, node.timeout_s)
            except Unavailable:
                call.journal.event("not_asked", node=place.at)
        known = result in node.results
        call.journal.event("callout", node=place.at, result=result if known else None)
        return self._go(place.to(node.results[result] if result and known else node.fallback))

    def _consultants(self, call: Call, node: Consultants, place: Place) -> State | None:
        # What comes after it, for whoever comes back from the consultant.
        self._go(place.to(node.next))
        return self.consult

    # -- what callers leave ---------------------------------------------------------------------

    def _keep(
        self,
        call: Call,
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
            new = self.trees.answers.put(
                key,
                service=who.service,
                version=who.version,
                node=place.at,
                call_id=call.id,
                line=who.line,
                kind=kind,
                answer=answer,
            )
        except Unavailable:
            call.journal.event("not_recorded", what=kind)
            call.say(Phrase("tree_not_recorded"))
            return None
        call.journal.event("left", what=kind, node=place.at)
        return new

    def _withdraw(self, call: Call, key: str) -> None:
        try:
            self.trees.answers.withdraw(key)
        except Unavailable:
            # An empty message stays in the list; whoever listens to it hears that.
            call.journal.event("not_withdrawn")


def _safe(call_id: str) -> str:
    """A call's id as a file may be called; FreeSWITCH's are UUIDs."""
    kept = "".join(char for char in call_id.lower() if char.isascii() and char.isalnum())
    return kept[:40] or "call"


_RUN: Mapping[type, Callable[..., State | None]] = {
    Prompt: TreeStates._prompt,
    Menu: TreeStates._menu,
    Poll: TreeStates._poll,
    Order: TreeStates._order,
    Record: TreeStates._record,
    Random: TreeStates._random,
    Callout: TreeStates._callout,
    Consultants: TreeStates._consultants,
    Goto: TreeStates._goto,
    End: TreeStates._end,
}
