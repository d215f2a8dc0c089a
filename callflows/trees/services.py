"""A service's file as a whole: its own entries, its menu tree, and the recordings that it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from billing.entities import LANGUAGES
from billing.errors import BillingError
from billing.premium.book import folder_of
from billing.premium.definitions import InvalidService, checked
from callflows.trees.errors import InvalidTree
from callflows.trees.format import Tree
from callflows.trees.validate import parse_tree
from sounds import Recording


class WrongService(BillingError, ValueError):
    """A service's file cannot be used; ``faults`` holds a line for each thing that is wrong."""

    def __init__(self, faults: list[str]) -> None:
        """Compose the text: a fault a line."""
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class Checked:
    """A service's file that can be used: its definition, and its menu tree if it has one."""

    definition: Mapping[str, Any]
    tree: Tree | None

    def recordings(self, version: int) -> Iterator[tuple[str, Recording]]:
        """Every recording of the service as this version, with its language."""
        folder = folder_of(self.definition["number"], version)
        for part, texts in (("name", "names"), ("conditions", "conditions")):
            for language, text in self.definition[texts].items():
                yield language, Recording(f"{folder}/{language}/{part}.wav", text)
        if self.tree is not None:
            tree = self.tree
            yield from Tree(tree.start, tree.nodes, tree.languages, folder).recordings()


def check_service(content: Mapping[str, Any], zone: ZoneInfo, region: str = "IR") -> Checked:
    """Check a service's file, whole. Raises WrongService with every fault in it.

    ``zone`` and ``region`` (ISO 3166) are the operator's.
    """
    faults: list[str] = []
    definition: Mapping[str, Any] = {}
    try:
        definition = checked(content, zone, region)
    except InvalidService as error:
        faults += map(str, error.faults)
    tree = None
    inner = content.get("content") if isinstance(content, Mapping) else None
    if isinstance(inner, Mapping) and "tree" in inner:
        languages = content.get("languages")
        if not isinstance(languages, list) or not set(map(str, languages)) <= set(LANGUAGES):
            languages = list(LANGUAGES)
        try:
            tree = parse_tree(inner["tree"], languages, consultants="consultants" in inner)
        except InvalidTree as error:
            faults += map(str, error.faults)
    if faults:
        raise WrongService(faults)
    return Checked(definition, tree)
