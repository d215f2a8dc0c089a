"""Trees as pictures: valid SVG, every node and way in it, nothing of the writer's as markup."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings

from billing.entities import LANGUAGES as ALL_LANGUAGES
from callflows.trees import InvalidTree, Tree, parse_tree
from callflows.trees.draw import draw
from callflows.trees.yaml_file import read_yaml
from tests.tree_house import LANGUAGES, text, tree_of
from tests.tree_strategies import trees

SAMPLES = [
    path
    for path in sorted((Path(__file__).parents[2] / "conf" / "sample" / "premium").glob("*.yaml"))
    if "tree" in read_yaml(path)["content"]
]
SVG = "{http://www.w3.org/2000/svg}"


def elements(picture: str, name: str) -> list[ElementTree.Element]:
    """All elements of a name in a picture."""
    return list(ElementTree.fromstring(picture).iter(SVG + name))


def texts(picture: str) -> list[str]:
    """All texts in a picture."""
    return [str(element.text) for element in elements(picture, "text")]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("language", ALL_LANGUAGES)
def test_samples_are_drawn_in_all_languages(path: Path, language: str) -> None:
    """Every node is in the picture, inside of it, in the language that is asked for."""
    tree = parse_tree(read_yaml(path)["content"]["tree"])
    picture = draw(tree, language)
    shown = texts(picture)
    for name, node in tree.nodes.items():
        assert f"{name}  ({node.type})" in shown
    root = ElementTree.fromstring(picture)
    boxes = [box for box in elements(picture, "rect") if box.get("rx")]
    assert len(boxes) == len(tree.nodes)
    for box in boxes:
        left, top = float(box.attrib["x"]), float(box.attrib["y"])
        assert 0 <= left <= float(root.attrib["width"]) - float(box.attrib["width"])
        assert 0 <= top <= float(root.attrib["height"]) - float(box.attrib["height"])


def test_ways_are_arrows_or_named() -> None:
    """A way onward is an arrow, dashed if nobody chooses it; a way back is named in the box."""
    tree = tree_of(
        "hello",
        hello={"type": "prompt", "say": text("hello"), "next": "main"},
        main={"type": "menu", "say": text("menu"), "keys": {"1": "over", "2": "main"}},
        over={"type": "end"},
    )
    picture = draw(tree, "en")
    arrows = [path for path in elements(picture, "path") if path.get("marker-end")]
    assert [bool(arrow.get("stroke-dasharray")) for arrow in arrows] == [True, False]
    assert "2 ↩ main" in texts(picture)


def test_right_to_left_runs_from_right_to_left() -> None:
    """In Persian the start is at the right, and texts begin at the right of their boxes."""
    say = {"fa": "سلام", "en": "hello"}
    nodes = {"a": {"type": "prompt", "say": say, "next": "b"}, "b": {"type": "end", "say": say}}
    tree = parse_tree({"nodes": nodes}, ["fa", "en"])
    left_of = {}
    for language in ("fa", "en"):
        boxes = [box for box in elements(draw(tree, language), "rect") if box.get("rx")]
        left_of[language] = [float(box.attrib["x"]) for box in boxes]
    assert left_of["fa"][0] > left_of["fa"][1]
    assert left_of["en"][0] < left_of["en"][1]
    said = [each for each in elements(draw(tree, "fa"), "text") if each.text == "سلام"]
    assert {each.get("direction") for each in said} == {"rtl"}


def test_a_writers_text_is_no_markup() -> None:
    """A provider cannot put a script into the operator's picture."""
    tree = tree_of(a={"type": "prompt", "say": text("</text><script>alert(1)</script> &amp; \"'")})
    assert not elements(draw(tree, "en"), "script")
    assert any("<script>" in shown for shown in texts(draw(tree, "en")))


def test_a_language_that_is_not_there() -> None:
    """The error names those that are."""
    with pytest.raises(ValueError, match="no fa; there are en"):
        draw(tree_of(a={"type": "end"}), "fa")


@settings(max_examples=100)
@given(trees())
def test_every_valid_tree_is_drawn_without_overlaps(content: object) -> None:
    """Boxes of one layer stand one below the other, whatever the tree."""
    try:
        tree: Tree = parse_tree(content, LANGUAGES)
    except InvalidTree:
        return
    picture = draw(tree, "en")
    assert not re.search("nan|inf", picture)
    columns: dict[str, list[tuple[float, float]]] = {}
    for box in elements(picture, "rect"):
        if box.get("rx"):
            top, height = float(box.attrib["y"]), float(box.attrib["height"])
            columns.setdefault(box.attrib["x"], []).append((top, top + height))
    assert sum(map(len, columns.values())) == len(tree.nodes)
    for column in columns.values():
        for (_, end), (begin, _) in itertools.pairwise(sorted(column)):
            assert begin >= end
