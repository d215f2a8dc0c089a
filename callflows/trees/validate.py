"""From what a provider has written to a tree that no call can get stuck in, or to all its faults.

A tree is hostile input: everything is bounded, and whatever is wrong is named by node and field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from billing.entities import LANGUAGES
from callflows.trees.errors import Fault, InvalidTree
from callflows.trees.flatten import LONGEST_ID, MOST_NODES, Flat, targets
from callflows.trees.format import NODES, Consultants, Exit, Node, Tree

MOST_RECORDINGS = 4000
"""Of one tree, in all languages together."""
MOST_CHARACTERS = 500_000
"""Of all texts of a tree together."""

DRAFT_FOLDER = "services/draft/0"
"""Where the recordings of a tree would be that belongs to no service yet."""


def parse_tree(
    content: Any,
    languages: Sequence[str] = LANGUAGES,
    *,
    folder: str = DRAFT_FOLDER,
    consultants: bool = True,
) -> Tree:
    """The tree written as ``{start: name, nodes: {name: node}}``.

    ``consultants`` says whether its service has any. Raises InvalidTree with every fault.
    """
    flat = Flat(content)
    faults = list(flat.faults)
    nodes: dict[str, Node] = {}
    for name, raw in flat.nodes.items():
        node = _node(name, raw, tuple(languages), faults)
        if node is not None:
            nodes[name] = node
            if isinstance(node, Consultants) and not consultants:
                faults.append(Fault(name, "type", "the service has no consultants"))
    for name, raw in flat.nodes.items():
        for place, target in targets(raw):
            # An empty one is a node within, which has a fault of its own.
            if isinstance(target, str) and target and target not in flat.nodes:
                faults.append(Fault(name, place, f"no node {target[:LONGEST_ID]!r}"))
    if not faults:
        faults += _unreachable(nodes, flat.start)
        faults += _silent_loops(nodes)
    faults += _too_much(nodes)
    if faults:
        raise InvalidTree(faults)
    return Tree(flat.start, nodes, tuple(languages), folder)


def _node(
    name: str, raw: Mapping[str, Any], languages: tuple[str, ...], faults: list[Fault]
) -> Node | None:
    kind = raw.get("type")
    if not isinstance(kind, str) or kind not in NODES:
        faults.append(Fault(name, "type", f"one of {', '.join(NODES)} is needed"))
        return None
    try:
        return NODES[kind].model_validate(_keys_as_texts(raw), context={"languages": languages})
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            faults.append(_fault(name, item))
    except RecursionError:
        faults.append(Fault(name, "", "nested too deeply"))
    return None


def _keys_as_texts(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A node with the keys of its choices as texts: YAML reads an unquoted 1 as a number."""
    out = dict(raw)
    choices = out.get("choices")
    if isinstance(choices, dict) and len({str(key) for key in choices}) == len(choices):
        out["choices"] = {str(key): value for key, value in choices.items()}
    for name in ("back", "repeat"):
        if type(out.get(name)) is int:
            out[name] = str(out[name])
    return out


def _fault(name: str, item: Any) -> Fault:
    path = [str(part) for part in item["loc"] if part != "[key]"]
    reason = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        reason = "no such field"
    elif item["type"] == "missing":
        reason = "is needed"
    elif not path and ": " in reason:
        # A rule over several fields names the one that breaks it.
        field, reason = reason.split(": ", 1)
        path = [field]
    elif item["type"] == "value_error" and reason[:4] in {f"{code}: " for code in LANGUAGES}:
        path.append(reason[:2])
        reason = reason[4:]
    # What pydantic says of a union's members would be read as fields.
    known = [part for part in path if not part.startswith(("literal[", "function-"))]
    return Fault(name, ".".join(known), reason)


def _unreachable(nodes: Mapping[str, Node], start: str) -> list[Fault]:
    seen = {start}
    todo = [start]
    while todo:
        for way in nodes[todo.pop()].exits():
            if way.target not in seen:
                seen.add(way.target)
                todo.append(way.target)
    return [Fault(name, "", "no way leads here") for name in nodes if name not in seen]


def _silent_loops(nodes: Mapping[str, Node]) -> list[Fault]:
    """Loops on which nobody is ever asked for a key: a call would go round for ever.

    A depth-first search over the ways that callers do not choose; a way back to a node that is
    still being looked at closes a loop.
    """
    faults: list[Fault] = []
    done: set[str] = set()
    for first in nodes:
        # The way taken so far, and what is still to be tried from each node on it.
        path = [] if first in done else [first]
        untried = [_quiet(nodes[name]) for name in path]
        while path:
            name, ways = path[-1], untried[-1]
            if not ways:
                done.add(name)
                path.pop()
                untried.pop()
                continue
            way = ways.pop(0)
            if way.target in path:
                loop = [*path[path.index(way.target) :], way.target]
                faults.append(
                    Fault(name, way.field, f"a loop without any key pressed: {_arrows(loop)}")
                )
            elif way.target not in done:
                path.append(way.target)
                untried.append(_quiet(nodes[way.target]))
    return faults


def _quiet(node: Node) -> list[Exit]:
    return [way for way in node.exits() if not way.chosen]


def _arrows(names: list[str]) -> str:
    shown = names if len(names) <= 8 else [*names[:4], "…", *names[-3:]]
    return " → ".join(shown)


def _too_much(nodes: Mapping[str, Node]) -> list[Fault]:
    texts = [text for node in nodes.values() for _, part in node.parts() for text in part.values()]
    faults = []
    if len(texts) > MOST_RECORDINGS:
        faults.append(Fault("", "", f"{len(texts):,} recordings; {MOST_RECORDINGS:,} at most"))
    if (characters := sum(map(len, texts))) > MOST_CHARACTERS:
        faults.append(Fault("", "", f"{characters:,} characters; {MOST_CHARACTERS:,} at most"))
    return faults


__all__ = ["DRAFT_FOLDER", "MOST_NODES", "parse_tree"]
