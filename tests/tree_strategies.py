"""Random trees: some valid, most not, a few absurd."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

IDS = ("a", "b", "c", "d", "e", "f")
KEYS = st.sampled_from(["1", "2", "3", 4, "*", "#", "9", "12", ""])
TEXTS = st.sampled_from([{"en": "word"}, {"en": "another word"}])


def _target(node: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.sampled_from(IDS), st.sampled_from(IDS), node)


def _nodes(target: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    following = st.one_of(st.none(), target)
    keyed = st.dictionaries(st.sampled_from(["1", "2", "3"]), target, min_size=1, max_size=3)
    field = st.fixed_dictionaries(
        {
            "name": st.sampled_from(["x", "y"]),
            "say": TEXTS,
            "kind": st.sampled_from(["digits", "amount", "phone", "date"]),
        }
    )
    return st.one_of(
        st.fixed_dictionaries({"type": st.just("prompt"), "say": TEXTS, "next": following}),
        st.fixed_dictionaries({"type": st.just("menu"), "say": TEXTS, "keys": keyed}),
        st.fixed_dictionaries(
            {"type": st.just("menu"), "say": TEXTS, "keys": keyed, "silence": target}
        ),
        st.fixed_dictionaries(
            {
                "type": st.just("poll"),
                "say": TEXTS,
                "choices": st.just({"1": "yes", "2": "no"}),
                "next": following,
            }
        ),
        st.fixed_dictionaries(
            {
                "type": st.just("order"),
                "fields": st.lists(field, min_size=1, max_size=2),
                "next": following,
            }
        ),
        st.fixed_dictionaries({"type": st.just("record"), "say": TEXTS, "next": following}),
        st.fixed_dictionaries(
            {"type": st.just("random"), "items": st.lists(TEXTS, min_size=1), "next": following}
        ),
        st.fixed_dictionaries(
            {
                "type": st.just("callout"),
                "url": st.just("https://crm.example.com/"),
                "results": st.fixed_dictionaries({"a": target}),
                "fallback": target,
            }
        ),
        st.fixed_dictionaries({"type": st.just("consultants"), "next": following}),
        st.fixed_dictionaries({"type": st.just("goto"), "to": st.sampled_from(IDS)}),
        st.fixed_dictionaries({"type": st.just("end")}),
    )


def trees() -> st.SearchStrategy[Any]:
    """Trees of known kinds of nodes: a good part of them is valid."""
    node = st.recursive(
        _nodes(st.sampled_from(IDS)), lambda inner: _nodes(_target(inner)), max_leaves=3
    )
    return st.fixed_dictionaries(
        {"nodes": st.dictionaries(st.sampled_from(IDS), node, min_size=1, max_size=6)}
    )


def valid_trees() -> st.SearchStrategy[Any]:
    """Trees of one menu, and nodes within nodes below it, whose ways end or lead back to the menu.

    Every loop goes through a menu, and every node is within another one: they are valid.
    """
    keys = st.dictionaries(st.sampled_from(["1", "2", "3"]), _target_at(1), min_size=1, max_size=3)
    return keys.map(lambda keys: {"nodes": {"a": {"type": "menu", "say": SAY, "keys": keys}}})


SAY = {"en": "word"}


@st.composite
def _target_at(draw: st.DrawFn, depth: int) -> Any:
    """Back to the menu, the end, or a node within, whose own ways are such."""
    if depth >= 4 or draw(st.integers(0, 2)) == 0:
        return draw(st.sampled_from(["a", {"type": "end"}]))
    nodes = _nodes(_target_at(depth + 1))
    return draw(nodes.filter(lambda node: node["type"] != "goto" and _names_differ(node)))


def _names_differ(node: dict[str, Any]) -> bool:
    names = [field["name"] for field in node.get("fields", ())]
    return len(set(names)) == len(names)


SCRAPS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**20),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        [*IDS, "menu", "prompt", "../../etc/passwd", "a" * 5000, "\u202e", "{x}", "[x]"]
    ),
)

FIELDS = st.sampled_from(
    [
        "type",
        "say",
        "next",
        "keys",
        "choices",
        "fields",
        "items",
        "results",
        "fallback",
        "url",
        "to",
        "back",
        "repeat",
        "silence",
        "once",
        "most_s",
        "en",
        "1",
        "*",
        "zzz",
    ]
)


def absurd() -> st.SearchStrategy[Any]:
    """Whatever YAML can hold, under names that mean something to a tree."""
    inner = st.recursive(
        SCRAPS,
        lambda part: st.one_of(
            st.lists(part, max_size=4),
            st.dictionaries(st.one_of(FIELDS, SCRAPS.filter(_hashable)), part, max_size=6),
        ),
        max_leaves=25,
    )
    node = st.one_of(
        inner,
        st.fixed_dictionaries(
            {"type": st.sampled_from(["menu", "poll", "order", "random", "callout", "prompt"])},
            optional=dict.fromkeys(
                ("say", "next", "keys", "choices", "fields", "items", "results", "url"), inner
            ),
        ),
    )
    tree = st.fixed_dictionaries(
        {"nodes": st.dictionaries(st.one_of(st.sampled_from(IDS), SCRAPS.filter(_hashable)), node)},
        optional={"start": inner},
    )
    return st.one_of(inner, tree)


def _hashable(value: Any) -> bool:
    return value == value
