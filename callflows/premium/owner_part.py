"""What the parts of the owner's menu share: whose line it is, and how a setting is recorded."""

from __future__ import annotations

from collections.abc import Callable

from billing.entities import Line
from billing.errors import Unavailable
from billing.premium.owners import OwnerView
from callflows.call import Call
from callflows.flow import State
from callflows.premium import owner_phrases as words
from callflows.premium.proof import OwnerProof


class OwnerPart(OwnerProof):
    """A part of the owner's menu; `menu` is where each of its states ends."""

    _line: Line | None = None

    def menu(self, call: Call) -> State | None:
        """The menu."""
        raise NotImplementedError

    @property
    def owner_line(self) -> Line:
        """The line whose settings these are; states that use it come after `welcome`."""
        if self._line is None:
            raise LookupError("no line has been found yet")
        return self._line

    def owner(self) -> OwnerView:
        """What the owner has set by now."""
        return self.premium.owners.view(self.owner_line.id)

    def record_setting(self, call: Call, what: str, work: Callable[[], object]) -> State:
        """Do what records a setting; only what is recorded is called so."""
        try:
            work()
        except Unavailable:
            return self.not_saved(call, what)
        call.journal.event("set", what=what)
        call.say(words.SAVED)
        return self.menu

    def not_saved(self, call: Call, what: str) -> State:
        """Nothing was recorded: the caller must not count on it."""
        call.journal.event("not_recorded", what=what)
        call.say(words.NOT_SAVED)
        return self.menu
