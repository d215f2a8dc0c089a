"""Which events a socket has asked for: names, filters, and the queue until they are sent."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Literal

from esl_worker.switch import events, protocol
from esl_worker.switch.events import Event, EventBus

MAX_EVENTS = 25_000  # waiting for one socket; further ones are dropped, as in FreeSWITCH


class Subscription:
    """The events of one event socket.

    Args:
        bus: where they come from.
        wake: called when an event has been queued.

    Attributes:
        only: with `myevents`, the one call whose events are wanted.
    """

    def __init__(self, bus: EventBus, wake: Callable[[], None]) -> None:
        self.only: str | None = None
        self._bus = bus
        self._wake = wake
        self._names: set[str] = set()
        self._events: deque[Event] = deque()
        self._format: Literal["plain", "json", "xml"] = "plain"
        self._filters: list[tuple[str, str]] = []
        self._listening = False

    def pending(self) -> bytes | None:
        """The next event as bytes for the socket; None when there is none."""
        if not self._listening or not self._events:
            return None
        event = self._events.popleft()
        kind = "json" if self._format == "json" else "plain"
        return protocol.event_frame(kind, event.json() if kind == "json" else event.plain())

    def close(self) -> None:
        """Take every subscription back."""
        self._unsubscribe(self._names.copy())

    # -- commands: each returns the reply text ------------------------------------------------

    def on(self, words: list[str]) -> str:
        """`event plain|json NAMES…`"""
        names = set()
        for index, word in enumerate(words):
            if index == 0 and word.lower() in ("plain", "json", "xml"):
                self._format = word.lower()  # type: ignore[assignment]
            elif word.upper() in events.NAMES:
                names.add(word.upper())
        if not names:
            return "-ERR no keywords supplied"
        self._subscribe(names)
        return f"+OK event listener enabled {self._format}"

    def mine(self, word: str, uuid: str) -> str:
        """`myevents`: all events of the call that the socket belongs to."""
        if self.only is not None:
            return "-ERR aready enabled."  # sic
        self.only = uuid
        if "xml" in word:
            self._format = "xml"
        if "json" in word:
            self._format = "json"
        self._subscribe(set(events.MY_EVENTS))
        return "+OK Events Enabled"

    def nix(self, words: list[str]) -> str:
        """`nixevent NAMES…`"""
        names = {name for name in words if name in events.NAMES}
        if not names:
            return "-ERR no keywords supplied"
        self._unsubscribe(self._names.copy() if "ALL" in names else names)
        self._listening = True
        return "+OK events nixed"

    def off(self) -> str:
        """`noevents`"""
        if not self._listening:
            return "-ERR not listening for events"
        self._events.clear()
        self.close()
        self._listening = False
        return "+OK no longer listening for events"

    def filter(self, text: str) -> str:
        """`filter [add|delete] name value`"""
        name, _, value = text.partition(" ")
        if name.lower() == "delete" and value:
            name, _, value = value.partition(" ")
            if name.lower() == "all":
                self._filters.clear()
            else:
                self._filters = [
                    (known, wanted)
                    for known, wanted in self._filters
                    if known.lower() != name.lower() or (value and wanted != value)
                ]
            return f"+OK filter deleted. [{name}][{value}]"
        if name.lower() == "add" and value:
            name, _, value = value.partition(" ")
        if not value:
            return "-ERR invalid syntax"
        self._filters.append((name, value))
        return f"+OK filter added. [{name}]=[{value}]"

    # -- events -------------------------------------------------------------------------------

    def _deliver(self, event: Event) -> None:
        if self.only is not None and event.uuid != self.only:
            return
        if self._filters and not self._passes(event):
            return
        if len(self._events) < MAX_EVENTS:
            self._events.append(event)
            self._wake()

    def _passes(self, event: Event) -> bool:
        """Whether one filter is met; a value in slashes is a regular expression (measured)."""
        values = {name.lower(): value for name, value in event.headers}
        for name, wanted in self._filters:
            value = values.get(name.lower())
            if value is None:
                continue
            if wanted.startswith("/"):
                if _matches(wanted, value):
                    return True
            elif value.lower() == wanted.lower():
                return True
        return False

    def _subscribe(self, names: set[str]) -> None:
        self._bus.subscribe(names - self._names, self._deliver)
        self._names |= names
        self._listening = True

    def _unsubscribe(self, names: set[str]) -> None:
        self._bus.unsubscribe(names & self._names, self._deliver)
        self._names -= names


def _matches(pattern: str, value: str) -> bool:
    pattern = pattern[1:]
    if pattern.endswith("/"):
        pattern = pattern[:-1]
    try:
        return re.search(pattern, value) is not None
    except re.error:  # FreeSWITCH takes it for no match
        return False
