"""From a tree as written, nodes within nodes, to a flat set of nodes that name each other.

A place that names a node may hold the node itself instead; it then gets a name made of its parent's
and the place: ``main.1``, ``main.star``, ``order.next``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from callflows.trees.errors import Fault

MOST_NODES = 500
LONGEST_ID = 64

NODE_ID = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_LABELS = {"*": "star", "#": "hash"}
# Fields that hold one target, and fields that hold targets by key or result.
_SINGLE = ("next", "silence", "fallback")
_MANY = ("keys", "results")


class Flat:
    """The nodes by id as mappings, the first one's id, and what was wrong on the way."""

    def __init__(self, tree: Any) -> None:
        self.start: str = ""
        self.nodes: dict[str, dict[str, Any]] = {}
        self.faults: list[Fault] = []
        if not isinstance(tree, dict):
            self._fault("", "", "a mapping with the entry nodes is needed")
            return
        for name in tree:
            if name not in ("start", "nodes"):
                self._fault("", str(name), "no such entry; there are start and nodes")
        nodes = tree.get("nodes")
        if not isinstance(nodes, dict) or not nodes:
            self._fault("", "nodes", "nodes by their names are needed")
            return
        todo: list[tuple[str, Any]] = []
        for name, node in nodes.items():
            if not isinstance(name, str) or not NODE_ID.fullmatch(name):
                self._fault(
                    str(name), "", "a node's name is a-z, 0-9, _ and -, 32 at most, a letter first"
                )
            else:
                todo.append((name, node))
        while todo and len(self.nodes) <= MOST_NODES:
            name, node = todo.pop(0)
            self._take(name, node, todo)
        if len(self.nodes) > MOST_NODES:
            self._fault("", "nodes", f"more than {MOST_NODES} nodes")
        start = tree.get("start", next(iter(nodes)))
        if isinstance(start, str) and start in self.nodes:
            self.start = start
        elif "start" in tree or not self.faults:
            self._fault("", "start", f"no node {str(start)[:LONGEST_ID]!r}")

    def _take(self, name: str, node: Any, todo: list[tuple[str, Any]]) -> None:
        if not isinstance(node, dict):
            self._fault(name, "", "a mapping with the entry type is needed")
            return
        flat: dict[str, Any] = {}
        for field, value in node.items():
            if field in _MANY and isinstance(value, dict):
                value = self._by_key(name, str(field), value)
            flat[str(field)] = value
        for field, label, target in list(_targets(flat)):
            if not isinstance(target, dict):
                continue
            nested = f"{name}.{_LABELS.get(label, label)}"
            if len(nested) > LONGEST_ID or not re.fullmatch(r"[a-z0-9_.-]+", nested):
                self._fault(name, field, "nested too deeply, or under a strange name: give ids")
                nested = ""
            else:
                todo.append((nested, target))
            if field in _SINGLE:
                flat[field] = nested
            else:
                flat[field.partition(".")[0]][label] = nested
        self.nodes[name] = flat

    def _by_key(self, name: str, field: str, value: dict[Any, Any]) -> dict[str, Any]:
        """Keys as texts: YAML reads an unquoted 1 as a number."""
        out: dict[str, Any] = {}
        for key, item in value.items():
            text = str(key)
            if text in out:
                self._fault(name, f"{field}.{text}", "the key stands here twice")
            out[text] = item
        return out

    def _fault(self, node: str, field: str, reason: str) -> None:
        self.faults.append(Fault(node, field, reason))


def targets(node: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Field and content of each place of a flat node that names another one."""
    for place, _, target in _targets(node):
        yield place, target
    if "to" in node:
        yield "to", node["to"]


def _targets(node: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Field, label and content of each place that names a node."""
    for field in _SINGLE:
        if field in node:
            yield field, field, node[field]
    for field in _MANY:
        if isinstance(node.get(field), dict):
            for key, target in node[field].items():
                yield f"{field}.{key}", key, target
