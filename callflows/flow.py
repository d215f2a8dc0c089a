"""A flow is a state machine: a class whose states are methods.

A state speaks to the caller through its `Call` and returns the next state, or None when the
conversation is over. The runner takes it from state to state and writes, at each transition,
where the conversation stands (flow, state, count of transitions, a small context) to the channel.
Whoever takes the live call over continues in that state.

Side effects carry a key made of call id and transition count, so that a state which is run a
second time by another worker sends nothing twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, TypeVar, cast, overload
from urllib.parse import unquote

from callflows.call import Call, GaveUp

PREFIX = "callflows_"
# Made once: json.dumps with options makes one at each transition.
_ENCODER = json.JSONEncoder(separators=(",", ":"))
# What a switch takes away from a variable's value, or expands in it; % because it marks the others.
_UNSAFE = re.compile(r"[%\\'|$~]")
Method = TypeVar("Method", bound=Callable[..., Any])


def _percent(match: re.Match[str]) -> str:
    return f"%{ord(match[0]):02X}"


class State(Protocol):
    """A bound state method: speaks to the caller and returns the next state."""

    __name__: str

    def __call__(self, call: Call) -> State | None: ...


class UnknownPlace(ValueError):
    """The channel names a flow or state that this release does not have."""


@overload
def state(method: Method) -> Method: ...


@overload
def state(*, initial: bool = False) -> Callable[[Method], Method]: ...


def state(method: Any = None, *, initial: bool = False) -> Any:
    """Mark a method as a state; exactly one of a flow is its initial one."""

    def mark(function: Method) -> Method:
        function.__dict__["is_state"] = True
        function.__dict__["is_initial"] = initial
        return function

    return mark(method) if method is not None else mark


class Flow:
    """Base of all flows: knows its states, its context and how far it has come."""

    name: ClassVar[str]
    states: ClassVar[frozenset[str]]
    initial: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        found = {
            name: member
            for base in reversed(cls.__mro__)
            for name, member in vars(base).items()
            if getattr(member, "is_state", False)
        }
        initial = [name for name, member in found.items() if member.is_initial]
        if len(initial) != 1:
            raise TypeError(f"flow {cls.__name__} needs exactly one initial state, has {initial}")
        cls.states = frozenset(found)
        cls.initial = initial[0]

    def __init__(self) -> None:
        self.context: dict[str, Any] = {}
        self.visits = 0
        self._encoded: tuple[dict[str, Any], str] = ({}, "{}")

    @property
    def line_id(self) -> int | None:
        """The database id of the line that the call was about, for its journal."""
        return None

    def encoded_context(self) -> str:
        """The context as JSON, percent-encoded where a channel variable would not keep it.

        Encoded again only when it has changed.

        Values are replaced, never changed in place: else a change would not be seen.
        """
        if self.context != self._encoded[0]:
            plain = _ENCODER.encode(self.context)
            self._encoded = (dict(self.context), _UNSAFE.sub(_percent, plain))
        return self._encoded[1]

    def restart(self) -> None:
        """Forget everything: the conversation begins anew."""
        self.context.clear()
        self.visits = 0

    def key(self, call: Call, effect: str) -> str:
        """The idempotency key of a side effect in the present state of this call."""
        return f"{call.id}:{self.visits}:{effect}"

    def at(self, name: str) -> State:
        """The state of that name, bound. Raises UnknownPlace."""
        if name not in self.states:
            raise UnknownPlace(f"flow {self.name} has no state {name!r}")
        return cast(State, getattr(self, name))

    def restored(self, call: Call) -> None:
        """Called after the context came back from a channel: load what it names."""

    def hand_over(self, call: Call, destination: str, context: str, failed: State) -> State:
        """Transfer the call; where the switch cannot place it, the dialplan brings it back.

        The place is written as `failed` before the transfer, so that a call which comes back goes
        on there rather than being transferred for ever.
        """
        call.flush()
        self.visits += 1
        call.channel.keep(place_of(self, failed.__name__, call.language))
        call.transfer(destination, context)
        return failed

    def over(self, call: Call) -> None:
        """The call is over for good, whoever has ended it: settle what is still open.

        Not called where the worker dies, nor where the call may go on with another one. Speaks to
        nobody.
        """

    def gave_up(self, call: Call, why: GaveUp) -> State | None:
        """The caller did not answer a question: the state to go on with."""
        raise why

    def trouble(self, call: Call) -> State | None:
        """Something of ours failed: the state to go on with; None ends the call."""
        return None


def place_of(flow: Flow, state_name: str, language: str) -> dict[str, str]:
    """Channel variables that say where the conversation stands (all text, no separators)."""
    return {
        f"{PREFIX}flow": flow.name,
        f"{PREFIX}state": state_name,
        f"{PREFIX}visits": str(flow.visits),
        f"{PREFIX}language": language,
        f"{PREFIX}context": flow.encoded_context(),
    }


def restore(flow: Flow, call: Call, variables: Mapping[str, str]) -> State:
    """Bring a flow back to the place that another worker wrote; returns the state to run.

    Raises UnknownPlace where the variables do not name a state of this flow.
    """
    try:
        flow.visits = int(variables[f"{PREFIX}visits"])
        context = json.loads(unquote(variables[f"{PREFIX}context"]))
        if not isinstance(context, dict):
            raise ValueError("context is not an object")
        found = flow.at(variables[f"{PREFIX}state"])
    except (KeyError, ValueError) as error:
        raise UnknownPlace(f"cannot resume {flow.name}: {error}") from error
    flow.context = context
    flow.restored(call)
    return found
