"""The menu trees of published services, read once each."""

from __future__ import annotations

from billing.premium.book import Service
from callflows.trees import Tree, parse_tree

_MOST_KEPT = 500


class TreeShelf:
    """Parsed trees by number and content: reading one takes long beside a step of a call."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int, str], Tree] = {}

    def tree(self, service: Service) -> Tree | None:
        """The tree of a version of a service; None for one of consultants only.

        Raises:
            InvalidTree: what was approved is no tree by this release's rules.
        """
        if service.tree is None:
            return None
        key = (service.number, service.version, service.digest)
        tree = self._kept.get(key)
        if tree is None:
            tree = parse_tree(
                service.tree,
                service.languages,
                folder=service.folder,
                consultants=service.order is not None,
            )
            if len(self._kept) >= _MOST_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = tree
        return tree
