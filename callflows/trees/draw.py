"""A menu tree as a picture: boxes in layers, an arrow for each way out.

The layout is the usual one for layered graphs (Sugiyama, Tagawa and Toda 1981) at its simplest:
layers by distance from the start, an order within each by the mean place of the neighbours, boxes
pushed apart. Trees in languages written right to left run from right to left.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

from callflows.trees.format import Callout, Exit, Node, Order, Poll, Random, Record, Tree
from sounds import written

_WIDTH, _GAP_X, _GAP_Y, _MARGIN = 240, 90, 26, 30
_LINE, _PAD = 18, 10
_LETTERS = 31
"""Letters in a line of a box."""
_MOST_LINES = 4
_SWEEPS = 8
_COLOURS = {
    "prompt": "#e8f1fb",
    "menu": "#fff4d6",
    "poll": "#e7f7e7",
    "order": "#e7f7e7",
    "record": "#e7f7e7",
    "random": "#e8f1fb",
    "callout": "#f3e8fb",
    "consultants": "#fbe8e8",
    "goto": "#f2f2f2",
    "end": "#f2f2f2",
}


@dataclass(slots=True)
class _Box:
    """A node's box; places are of its left upper corner, pixels."""

    name: str
    node: Node
    lines: list[tuple[str, bool]]
    """What stands in it, and whether that is a text in the language drawn."""
    exits: list[Exit]
    layer: int = 0
    x: float = 0.0
    y: float = 0.0
    parents: list[_Box] = field(default_factory=list)

    @property
    def height(self) -> float:
        return 2 * _PAD + _LINE * (1 + len(self.lines) + len(self.exits))

    @property
    def middle(self) -> float:
        return self.y + self.height / 2

    def port(self, place: int) -> float:
        """Where the arrow of an exit begins, from above."""
        return self.y + _PAD + _LINE * (1.5 + len(self.lines) + place)


def draw(tree: Tree, language: str) -> str:
    """The tree as SVG, its texts in ``language``. Raises ValueError for one that it has not."""
    if language not in tree.languages:
        raise ValueError(f"the tree has no {language}; there are {', '.join(tree.languages)}")
    boxes = {
        name: _Box(name, node, list(_lines(node, language)), list(node.exits()))
        for name, node in tree.nodes.items()
    }
    layers = _layers(boxes, tree.start)
    _place(layers)
    width = _MARGIN * 2 + len(layers) * (_WIDTH + _GAP_X) - _GAP_X
    height = _MARGIN * 2 + max(box.y + box.height for box in boxes.values())
    right_to_left = language in written.RIGHT_TO_LEFT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
        f' viewBox="0 0 {width:.0f} {height:.0f}"'
        " font-family=\"'Noto Sans', 'Noto Sans Arabic', sans-serif\" font-size=\"13\">",
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7"'
        ' markerHeight="7" orient="auto-start-reverse"><path d="M0 0L10 5L0 10z"'
        ' fill="#555"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="white"/>',
    ]
    pen = _Pen(width, right_to_left)
    for box in boxes.values():
        for place, way in enumerate(box.exits):
            # An arrow goes to the next layer only: the ways back are named, else nobody could
            # follow the lines.
            if boxes[way.target].layer > box.layer:
                parts.append(pen.arrow(box, place, way, boxes[way.target]))
    for box in boxes.values():
        back = {way.target for way in box.exits if boxes[way.target].layer <= box.layer}
        parts += pen.box(box, back, is_start=box.name == tree.start)
    return "\n".join([*parts, "</svg>", ""])


class _Pen:
    """Draws at the mirrored place where the language runs from right to left."""

    def __init__(self, width: float, right_to_left: bool) -> None:
        self._width = width
        self._mirrored = right_to_left

    def _x(self, x: float) -> float:
        return self._width - _MARGIN - x if self._mirrored else _MARGIN + x

    def arrow(self, box: _Box, place: int, way: Exit, target: _Box) -> str:
        y1, y2 = _MARGIN + box.port(place), _MARGIN + target.y + _PAD + _LINE / 2
        x1, x2 = box.x + _WIDTH, target.x
        bend = (x2 - x1) / 2
        style = "" if way.chosen else ' stroke-dasharray="5 4"'
        return (
            f'<path d="M{self._x(x1):.1f} {y1:.1f}C{self._x(x1 + bend):.1f} {y1:.1f}'
            f' {self._x(x2 - bend):.1f} {y2:.1f} {self._x(x2):.1f} {y2:.1f}" fill="none"'
            f' stroke="#555"{style} marker-end="url(#tip)"><title>{escape(box.name)}'
            f" {escape(way.field)} → {escape(way.target)}</title></path>"
        )

    def box(self, box: _Box, back: set[str], *, is_start: bool) -> Iterator[str]:
        left = self._x(box.x + _WIDTH) if self._mirrored else self._x(box.x)
        top = _MARGIN + box.y
        kind = str(getattr(box.node, "type", ""))
        yield (
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{_WIDTH}" height="{box.height:.1f}" rx="8"'
            f' fill="{_COLOURS[kind]}" stroke="#555" stroke-width="{2.5 if is_start else 1}"/>'
        )
        y = top + _PAD + _LINE * 0.75
        yield self._text(left + _PAD, y, f"{box.name}  ({kind})", bold=True)
        for line, is_said in box.lines:
            y += _LINE
            yield self._said(left, y, line) if is_said else self._text(left + _PAD, y, line)
        for way in box.exits:
            y += _LINE
            label = _label(way.field)
            if way.target in back:
                label += f" ↩ {way.target}"
            if self._mirrored:
                yield self._text(left + _PAD, y, label, colour="#a33")
            else:
                x = left + _WIDTH - _PAD
                yield self._text(x, y, label, anchor="end", colour="#a33")

    def _said(self, left: float, y: float, line: str) -> str:
        if not self._mirrored:
            return self._text(left + _PAD, y, line)
        # With this direction a text's start is its right end.
        return self._text(left + _WIDTH - _PAD, y, line, direction="rtl")

    def _text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        bold: bool = False,
        anchor: str = "start",
        colour: str = "#222",
        direction: str = "ltr",
    ) -> str:
        weight = ' font-weight="bold"' if bold else ""
        return (
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill={quoteattr(colour)}'
            f' direction="{direction}"{weight}>{escape(text)}</text>'
        )


def _label(name: str) -> str:
    first, _, second = name.partition(".")
    return second if first in ("keys", "results") else first


def _lines(node: Node, language: str) -> Iterator[tuple[str, bool]]:
    """What stands in the box besides the ways out, and whether it is in the language."""
    parts = list(node.parts())
    if isinstance(node, Random):
        yield f"{len(parts)} × {node.pick}", False
        parts = parts[:1]
    if isinstance(node, Callout):
        yield node.url if len(node.url) <= _LETTERS else node.url[: _LETTERS - 1] + "…", False
    if isinstance(node, Record):
        yield f"≤ {node.most_s} s", False
    for name, texts in parts:
        if isinstance(node, Order):
            yield name, False
        lines = list(_wrapped(written.plain(texts[language])))
        yield from ((line, True) for line in lines[:_MOST_LINES])
        if len(lines) > _MOST_LINES:
            yield "…", True
    if isinstance(node, Poll):
        for key, choice in node.choices.items():
            yield f"{key}  {choice}", False


def _wrapped(text: str) -> Iterator[str]:
    line, length = "", 0
    for word in text.split():
        # Marks above and below letters take no place.
        letters = sum(1 for char in word if not unicodedata.combining(char))
        if line and length + 1 + letters > _LETTERS:
            yield line
            line, length = "", 0
        while letters > _LETTERS:
            yield word[:_LETTERS]
            word = word[_LETTERS:]
            letters = len(word)
        line = f"{line} {word}" if line else word
        length += letters + 1
    if line:
        yield line


def _layers(boxes: dict[str, _Box], start: str) -> list[list[_Box]]:
    """The boxes by distance from the start."""
    layers = [[boxes[start]]]
    seen = {start}
    while True:
        following: list[_Box] = []
        for box in layers[-1]:
            for way in box.exits:
                target = boxes[way.target]
                if way.target not in seen:
                    seen.add(way.target)
                    target.layer = len(layers)
                    following.append(target)
                if target.layer == len(layers):
                    target.parents.append(box)
        if not following:
            return layers
        layers.append(following)


def _place(layers: list[list[_Box]]) -> None:
    for place, layer in enumerate(layers):
        for box in layer:
            box.x = place * (_WIDTH + _GAP_X)
        _push_apart(layer)
    for _ in range(_SWEEPS):
        for layer in layers[1:]:
            wanted = {
                box.name: sum(parent.middle for parent in box.parents) / len(box.parents)
                for box in layer
                if box.parents
            }
            layer.sort(key=lambda box: wanted.get(box.name, box.middle))
            for box in layer:
                box.y = wanted.get(box.name, box.middle) - box.height / 2
            _push_apart(layer)
        # And whoever leads somewhere is drawn towards it.
        for layer in reversed(layers[:-1]):
            for box in layer:
                children = [
                    child
                    for other in layers[box.layer + 1 : box.layer + 2]
                    for child in other
                    if box in child.parents
                ]
                if children:
                    box.y = sum(child.middle for child in children) / len(children)
                    box.y -= box.height / 2
            _push_apart(layer)
    highest = min(box.y for layer in layers for box in layer)
    for layer in layers:
        for box in layer:
            box.y -= highest


def _push_apart(layer: list[_Box]) -> None:
    """Move boxes down so that none overlaps the one before, the layer's middle staying in place."""
    before = sum(box.middle for box in layer) / len(layer)
    lowest = float("-inf")
    for box in layer:
        box.y = max(box.y, lowest)
        lowest = box.y + box.height + _GAP_Y
    shift = before - sum(box.middle for box in layer) / len(layer)
    for box in layer:
        box.y += shift
