"""Carries out a menu tree in a call: one node, or one question of it, for each visit of a state.

Whoever takes the call over finds in the flow's context where it stands in the tree, and goes on
there. What a caller has answered is written down in a visit of its own, under a key of call and
visit: run twice, it is there once. And no prompt begins that would not end before the money does.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from callflows.call import Call
from callflows.flow import State, state
from callflows.trees.format import Tree
from callflows.trees.ports import Caller, TreeServices
from callflows.trees.visit import Visit

if TYPE_CHECKING:
    from callflows.flow import Flow as _Base
else:
    _Base = object


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
        return Visit(self, call).run()

    # -- what the flow says ---------------------------------------------------------------------

    def tree_caller(self, call: Call) -> Caller:
        """Who is in the tree."""
        raise NotImplementedError

    def remaining_s(self, call: Call, wanted_s: float = 0.0) -> float:
        """Seconds from now until the content must be over.

        Asked before something begins that must not be cut; where that is not known so far ahead
        it has to be found out for ``wanted_s`` seconds now.
        """
        return math.inf

    def content_ended(self, call: Call) -> State | None:
        """The state after the content; ``context["content_end"]`` says why it is over (`Why`)."""
        raise NotImplementedError

    def consult(self, call: Call) -> State | None:
        """The state that connects with a consultant, and then goes on with `content`."""
        raise NotImplementedError
