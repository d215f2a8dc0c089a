"""Where a call stands in a tree: small enough for a channel variable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

MOST_BACK = 12
"""Menus that a caller can go back through."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a tree.

    ``at`` is the node's id, "" behind the last one; ``back`` are the menus before, the latest last;
    ``given`` the values of an order form so far; ``pending`` what the caller has answered and the
    next visit has confirmed or writes down; ``silent`` and ``wrong`` how often the question at hand
    got no answer, or none that fits.
    """

    at: str
    back: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    pending: str | None = None
    silent: int = 0
    wrong: int = 0

    def to(self, target: str | None) -> Place:
        """Go on to a node; None is the end."""
        return Place(target or "", self.back)

    def chosen(self, target: str) -> Place:
        """Go on from a menu by a key: it is one more that can be gone back to."""
        back = self.back
        if self.at in back:
            back = back[: back.index(self.at)]
        return Place(target, (*back, self.at)[-MOST_BACK:])

    def before(self) -> Place:
        """Go back to the menu before; from the first one nowhere else."""
        back = self.back
        while back and back[-1] == self.at:
            back = back[:-1]
        return Place(back[-1], back[:-1]) if back else Place(self.at)

    def with_given(self, value: str) -> Place:
        """One more field of the form is filled in."""
        return Place(self.at, self.back, (*self.given, value))

    def with_pending(self, answer: str | None) -> Place:
        """What the next visit has confirmed, or writes down."""
        return Place(self.at, self.back, self.given, answer)

    def again(self) -> Place:
        """The same question, asked afresh."""
        return replace(self, silent=0, wrong=0)

    def not_answered(self, *, silent: bool) -> Place:
        """The question got no answer, or none that fits."""
        if silent:
            return replace(self, silent=self.silent + 1)
        return replace(self, wrong=self.wrong + 1)

    def plain(self) -> dict[str, Any]:
        """As JSON for the channel; what is empty is left out."""
        full = {
            "at": self.at,
            "back": list(self.back),
            "given": list(self.given),
            "pending": self.pending,
            "silent": self.silent,
            "wrong": self.wrong,
        }
        return {name: value for name, value in full.items() if value or name == "at"}

    @classmethod
    def of(cls, plain: Mapping[str, Any] | None, start: str) -> Place:
        """The place that `plain` told of; without one, the start."""
        if plain is None:
            return cls(start)
        return cls(
            str(plain["at"]),
            tuple(plain.get("back", ())),
            tuple(plain.get("given", ())),
            plain.get("pending"),
            int(plain.get("silent", 0)),
            int(plain.get("wrong", 0)),
        )
