"""What is refused in a menu tree, and that the error names node and field."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callflows.trees import Fault, InvalidTree, Tree, parse_tree
from callflows.trees.flatten import MOST_NODES
from callflows.trees.format import LONGEST_TEXT
from callflows.trees.yaml_file import LARGEST_FILE, parse_yaml, read_yaml
from tests.tree_house import LANGUAGES, content_of, text
from tests.tree_strategies import absurd, trees

END = {"type": "end"}


def menu(**keys: Any) -> dict[str, Any]:
    """A menu with these keys (k1="a" is key 1)."""
    return {
        "type": "menu",
        "say": text("menu"),
        "keys": {name.removeprefix("k"): target for name, target in keys.items()},
    }


def faults(content: Any, **options: Any) -> list[str]:
    """Everything that is wrong with a tree in English."""
    with pytest.raises(InvalidTree) as caught:
        parse_tree(content, LANGUAGES, **options)
    return str(caught.value).splitlines()


def test_nodes_may_stand_within_nodes() -> None:
    """A node written where its id would stand gets an id of its parent's and the place."""
    tree = parse_tree(
        content_of(main=menu(k1={"type": "prompt", "say": text("x"), "next": END}, k2="main")),
        LANGUAGES,
    )
    assert list(tree.nodes) == ["main", "main.1", "main.1.next"]
    star = menu() | {"keys": {"*": END, "#": END}}
    assert set(parse_tree(content_of(main=star), LANGUAGES).nodes) == {
        "main",
        "main.star",
        "main.hash",
    }


def test_numbers_are_keys() -> None:
    """YAML reads an unquoted 1 as a number: it is the key 1 all the same."""
    tree = parse_tree(content_of(main=menu() | {"keys": {1: "main", 0: "main"}}), LANGUAGES)
    assert list(tree.nodes["main"].keys) == ["1", "0"]
    assert faults(content_of(main=menu() | {"keys": {1: "main", "1": "main"}})) == [
        "node main, field keys.1: the key stands here twice"
    ]


ORDER = {"type": "order", "fields": [{"name": "x", "say": text("x?")}]}
POLL = {"type": "poll", "say": text("x"), "choices": {"1": "yes"}}
CALLOUT = {
    "type": "callout",
    "url": "https://crm.example.com/",
    "results": {"a": END},
    "fallback": END,
}


@pytest.mark.parametrize(
    ("node", "fault"),
    [
        ([], "node a: a mapping with the entry type is needed"),
        ({}, "node a, field type: one of prompt, menu, poll"),
        ({"type": ["menu"]}, "node a, field type: one of"),
        ({"type": "exec"}, "node a, field type: one of"),
        ({"type": "prompt"}, "node a, field say: is needed"),
        ({"type": "prompt", "say": "hello"}, "node a, field say: "),
        ({"type": "prompt", "say": {}}, "node a, field say: no text in en"),
        ({"type": "prompt", "say": {"en": "x", "de": "x"}}, "node a, field say: language 'de'"),
        ({"type": "prompt", "say": {"en": 5}}, "node a, field say.en: "),
        ({"type": "prompt", "say": {"en": " . "}}, "node a, field say.en: nothing that can be"),
        ({"type": "prompt", "say": {"en": "a\x00b"}}, "node a, field say.en: control"),
        ({"type": "prompt", "say": {"en": "a\u202eb"}}, "node a, field say.en: control"),
        (
            {"type": "prompt", "say": {"en": "x" * (LONGEST_TEXT + 1)}},
            "node a, field say.en: 1,201 characters are too long for one recording",
        ),
        ({"type": "prompt", "say": text("x"), "nxt": "a"}, "node a, field nxt: no such field"),
        ({"type": "prompt", "say": text("x"), "next": "b"}, "node a, field next: no node 'b'"),
        ({"type": "prompt", "say": text("x"), "next": 7}, "node a, field next: "),
        (
            {"type": "prompt", "say": text("x"), "next": "../../etc/passwd"},
            "node a, field next: no node '../../etc/passwd'",
        ),
        (menu(), "node a, field keys: "),
        (menu(k12="a"), "node a, field keys.12: one key of the telephone"),
        (menu(k1="a") | {"back": "1"}, "node a, field back: key 1 is an answer already"),
        (menu(k1="a") | {"back": "0", "repeat": "0"}, "node a, field repeat: key 0 goes back"),
        (menu(k1="a") | {"back": True}, "node a, field back: "),
        (POLL | {"choices": {"1": "Yes!"}}, "node a, field choices.1: a name of a-z"),
        (POLL | {"once": "yes"}, "node a, field once: "),
        (ORDER | {"fields": []}, "node a, field fields: "),
        (ORDER | {"fields": ORDER["fields"] * 2}, "node a, field fields: two are named x"),
        (
            ORDER | {"fields": [{"name": "x", "say": text("x"), "least": 5, "most": 4}]},
            "node a, field fields.0",
        ),
        (
            ORDER | {"fields": [{"name": "x", "say": {}, "kind": "digits"}]},
            "node a, field fields.0.say: no text in en",
        ),
        (
            ORDER | {"fields": [{"name": "../x", "say": text("x")}]},
            "node a, field fields.0.name: a name of a-z",
        ),
        ({"type": "record", "say": text("x"), "most_s": 9999}, "node a, field most_s: "),
        ({"type": "record", "say": text("x"), "name": "../x.wav"}, "node a, field name: no such"),
        ({"type": "random", "items": []}, "node a, field items: "),
        ({"type": "random", "items": [text("x"), {}]}, "node a, field items.1: no text in en"),
        ({"type": "random", "items": [text("x")], "pick": "x"}, "node a, field pick: "),
        (CALLOUT | {"url": "file:///etc/passwd"}, "node a, field url: an address such as"),
        (CALLOUT | {"url": "https://user:word@x.ir/"}, "node a, field url: an address without"),
        (CALLOUT | {"url": "https://x.ir:99999/"}, "node a, field url: not an address"),
        (CALLOUT | {"url": "https://x.ir/\r\nX: y"}, "node a, field url: an address such as"),
        (CALLOUT | {"timeout_s": 60}, "node a, field timeout_s: "),
        (CALLOUT | {"timeout_s": float("nan")}, "node a, field timeout_s: "),
        (CALLOUT | {"results": {}}, "node a, field results: "),
        ({"type": "callout", "url": "https://x.ir/", "results": {"a": END}}, "fallback: is needed"),
        ({"type": "goto"}, "node a, field to: is needed"),
        ({"type": "goto", "to": {"type": "end"}}, "node a, field to: "),
    ],
)
def test_a_wrong_node_is_named_with_its_field(node: Any, fault: str) -> None:
    """Each fault says where it is and what would be right."""
    found = faults(content_of(a=node))
    assert any(fault in line for line in found), found


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "tree: a mapping with the entry nodes"),
        ([], "tree: a mapping"),
        ({}, "tree, field nodes: nodes by their names"),
        ({"nodes": {}}, "tree, field nodes: nodes by"),
        ({"nodes": {"a": END}, "start": "b"}, "tree, field start: no node 'b'"),
        ({"nodes": {"a": END}, "start": ["a"]}, "tree, field start: no node"),
        ({"nodes": {"a": END}, "version": 1}, "tree, field version: no such entry"),
        ({"nodes": {"../x": END}}, "node ../x: a node's name is"),
        ({"nodes": {"A": END}}, "node A: a node's name is"),
        ({"nodes": {5: END}}, "node 5: a node's name is"),
        ({"nodes": {"a\nnode b: fine": END}}, r"node 'a\nnode b: fine': a node's name"),
    ],
)
def test_a_wrong_tree_is_refused(content: Any, fault: str) -> None:
    """What is wrong with the whole is said likewise."""
    assert any(fault in line for line in faults(content))


def test_every_fault_is_told_at_once() -> None:
    """A writer sees all faults of a file, not one for each try."""
    found = faults(content_of(a=menu(k1="x"), b={"type": "prompt"}, c={"type": "menu"}))
    assert {line.partition(",")[0] for line in found} == {"node a", "node b", "node c"}


def test_unreachable_nodes_are_named() -> None:
    """A node that no way leads to is a mistake of the writer."""
    assert faults(content_of(a=menu(k1="a"), b=menu(k1="c"), c=END)) == [
        "node b: no way leads here",
        "node c: no way leads here",
    ]


def test_a_loop_without_a_key_is_refused() -> None:
    """A call would go round for ever: the error shows the way."""
    prompt = {"type": "prompt", "say": text("x")}
    assert faults(content_of(a=prompt | {"next": "b"}, b=prompt | {"next": "a"})) == [
        "node b, field next: a loop without any key pressed: a → b → a"
    ]
    assert faults(content_of(a={"type": "goto", "to": "a"})) == [
        "node a, field to: a loop without any key pressed: a → a"
    ]
    silent = menu(k1=END) | {"silence": "a"}
    assert "field silence: a loop" in faults(content_of(a=silent))[0]
    crm = CALLOUT | {"fallback": "a"}
    assert "field fallback: a loop" in faults(content_of(a=crm))[0]
    waiting = {"type": "consultants", "next": "a"}
    assert "field next: a loop" in faults(content_of(a=waiting))[0]


@pytest.mark.parametrize("asking", [menu(k1="a"), POLL | {"next": "a"}, ORDER | {"next": "a"}])
def test_a_loop_with_a_key_is_a_menu(asking: dict[str, Any]) -> None:
    """Whoever is asked can hang up: such loops are what menus are made of."""
    parse_tree(content_of(a={"type": "prompt", "say": text("x"), "next": "b"}, b=asking), LANGUAGES)


def test_consultants_need_consultants() -> None:
    """A service without consultants cannot have a node for them."""
    assert faults(content_of(a={"type": "consultants"}), consultants=False) == [
        "node a, field type: the service has no consultants"
    ]


def test_every_language_is_needed() -> None:
    """A text that is missing in one language of the service is named."""
    with pytest.raises(InvalidTree, match=r"node a, field say: no text in ar, ru"):
        parse_tree(content_of(a={"type": "prompt", "say": {"fa": "سلام", "en": "hello"}}))


def test_huge_trees_are_refused() -> None:
    """Too many nodes, recordings or letters: a fault, and no long work."""
    many = {f"n{place}": menu(k1="n0") for place in range(MOST_NODES + 50)}
    assert faults({"nodes": many})[-1] == f"tree, field nodes: more than {MOST_NODES} nodes"
    inner: dict[str, Any] = {"type": "end"}
    for _ in range(5000):
        inner = {"type": "prompt", "say": text("x"), "next": inner}
    assert "nested too deeply" in "".join(faults({"nodes": {"a": inner}}))
    items = {"type": "random", "items": [text("x" * LONGEST_TEXT)] * 400}
    heavy = content_of(a=items | {"next": "b"}, b=items)
    assert "characters; 500,000 at most" in "".join(faults(heavy))


def test_recordings_lie_in_the_trees_folder() -> None:
    """Each text has a file of its own, whatever nodes and parts are called."""
    tree = parse_tree(
        content_of(
            poem={"type": "random", "items": [text("a"), text("b")], "next": "main"},
            main=menu(k1={"type": "end", "say": text("c")}, k2="order"),
            order=ORDER,
        ),
        LANGUAGES,
        folder="services/9091234567/3",
    )
    names = [recording.name for _, recording in tree.recordings()]
    assert len(set(names)) == len(names) == 5
    assert set(names) == {
        "services/9091234567/3/en/tree/poem/1.wav",
        "services/9091234567/3/en/tree/poem/2.wav",
        "services/9091234567/3/en/tree/main.wav",
        "services/9091234567/3/en/tree/main.1.wav",
        "services/9091234567/3/en/tree/order/x.wav",
    }


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("a: &x 1\nb: *x", "line 1: anchors"),
        ("back: *", "expected alphabetic"),
        ("a: *x", "line 1: aliases"),
        ("a: 1\na: 2", "line 2: 'a' stands here twice"),
        ("nodes: {a: {keys: {1: x, 1: y}}}", "'1' stands here twice"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("- a", "a mapping with named entries"),
        ("", "a mapping with named entries"),
        ("a: [", "line 1"),
        ("? [a]\n: b", "line 1: a name is needed"),
        ("a: 2026-02-30", "day is out of range"),
        ("a: " + "[" * 100 + "]" * 100, "nested too deeply"),
        ("a: " + "[" * 100_000, "nested too deeply"),
        ("a: \x07", "special characters are not allowed"),
    ],
)
def test_hostile_yaml_is_refused(content: str, fault: str) -> None:
    """YAML's traps are errors that name the line, or do nothing."""
    with pytest.raises(InvalidTree) as caught:
        parse_yaml(content)
    assert fault in str(caught.value)


def test_a_file_is_bounded(tmp_path: Path) -> None:
    """A file of gigabytes is not read."""
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"a" * (LARGEST_FILE + 1))
    with pytest.raises(InvalidTree, match="larger than 1,000,000 bytes"):
        read_yaml(path)
    path.write_bytes(b"a: \xff")
    with pytest.raises(InvalidTree, match="not UTF-8"):
        read_yaml(path)


@settings(max_examples=400)
@given(st.one_of(absurd(), trees()))
def test_no_tree_crashes_the_validator(content: Any) -> None:
    """Whatever stands in the file: a tree, or faults that fit on a line each."""
    tree: Tree | None = None
    found: tuple[Fault, ...] = ()
    try:
        tree = parse_tree(content, LANGUAGES)
    except InvalidTree as error:
        found = error.faults
    if tree is None:
        assert found
        for fault in found:
            assert len(str(fault)) < 2000
            assert "\n" not in str(fault)
        return
    assert {recording.name.split("/")[3] for _, recording in tree.recordings()} <= {"en", "tree"}


@settings(max_examples=300)
@given(st.text(max_size=300))
def test_no_text_crashes_the_reader(content: str) -> None:
    """Whatever a file holds: a mapping, or an error of ours."""
    with contextlib.suppress(InvalidTree):
        assert isinstance(parse_yaml(content), dict)
