"""Reading a provider's YAML file: hostile input, so less is allowed than YAML allows.

No anchors and aliases (a few lines can unfold into gigabytes), no key twice (YAML silently takes
the last), no file over a megabyte, no nesting without end, no tags that make objects.
"""

from __future__ import annotations

from collections.abc import Hashable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import yaml

from callflows.trees.errors import Fault, InvalidTree

LARGEST_FILE = 1_000_000
"""Bytes."""

_DEEPEST = 60


class _Loader(yaml.SafeLoader):
    """YAML without aliases, duplicate keys and endless depth."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse aliases and what is nested too deeply; see `yaml.composer.Composer`."""
        if self.check_event(yaml.AliasEvent):
            raise _error("aliases (*name) cannot be used: quote a text that begins so", self)
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:
            raise _error("anchors (&name) cannot be used: quote a text that begins so", self)
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _error("nested too deeply", self)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a key that comes twice."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(
                    None, None, "a name is needed", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{str(key)[:60]!r} stands here twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _error(reason: str, loader: Any) -> yaml.MarkedYAMLError:
    return yaml.composer.ComposerError(None, None, reason, loader.peek_event().start_mark)


def read_yaml(path: Path) -> dict[str, Any]:
    """The file's content: mappings, lists, texts, numbers, truth values.

    Raises InvalidTree naming line and fault; OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise _refused(f"larger than {LARGEST_FILE:,} bytes")
    try:
        content = parse_yaml(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise _refused("not UTF-8") from None
    return content


def parse_yaml(text: str) -> dict[str, Any]:
    """The same of a text. Raises InvalidTree."""
    try:
        content = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader with less
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise _refused(f"{where}{error.problem}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise _refused(str(error).splitlines()[0]) from None
    except RecursionError:
        raise _refused("nested too deeply") from None
    if not isinstance(content, dict):
        raise _refused("a mapping with named entries is needed")
    return {str(name): _plain(value) for name, value in content.items()}


def _plain(value: Any) -> Any:
    """What JSON can hold as well: dates as texts; depth is bounded by the loader."""
    if isinstance(value, dict):
        return {
            name if isinstance(name, str | int | bool) else str(name): _plain(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat(" ", "minutes") if value.tzinfo is None else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _refused(reason: str) -> InvalidTree:
    return InvalidTree([Fault("", "", reason)])
