"""What is wrong with a tree, said so that its writer finds the place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from billing.errors import BillingError

_MOST_SHOWN = 50
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: in which node (empty: the tree as a whole), which field, and why."""

    node: str
    field: str
    reason: str

    def __str__(self) -> str:
        """The place and the reason, on one line whatever the writer has put into the names."""
        place = f"node {_shown(self.node)}" if self.node else "tree"
        if self.field:
            place += f", field {_shown(self.field)}"
        return f"{place}: {self.reason}"


class InvalidTree(BillingError, ValueError):
    """A tree cannot be used; ``faults`` lists everything that is wrong with it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        """Compose the text: a fault a line."""
        self.faults = tuple(faults)
        lines = [str(fault) for fault in self.faults[:_MOST_SHOWN]]
        if len(self.faults) > _MOST_SHOWN:
            lines.append(f"... and {len(self.faults) - _MOST_SHOWN} more")
        super().__init__("\n".join(lines))


def _shown(name: str) -> str:
    name = name if name.isprintable() else ascii(name)
    return name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "…"
