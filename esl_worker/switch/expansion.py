"""Expansion of ``${variable}`` and ``${api(arguments)}`` in application arguments.

As switch_channel_expand_variables does it, except that hardly any API command is run: it is
recorded and expands to nothing. A test of hostile input asks the record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

_MAX_DEPTH = 100  # FreeSWITCH's own limit
_MAX_EXPANSIONS = 1000  # in one argument; FreeSWITCH has none and would not come back


class Expansion(NamedTuple):
    """One expansion that an argument asked for.

    Attributes:
        kind: "variable" or "api".
        name: of the variable or API command.
        argument: of the API command.
    """

    kind: str
    name: str
    argument: str = ""


def expand(
    text: str,
    value_of: Callable[[str], str | None],
    record: Callable[[Expansion], None],
    run: Callable[[str], str] = lambda _: "",
) -> str:
    """The text with its variables replaced by their values.

    Args:
        text: the argument as the application (or the dialplan) wrote it.
        value_of: a variable's value, None if it is not set.
        record: is told of every expansion.
        run: what an API command prints that may be run, "" for all others.
    """
    if "${" not in text and not _escaped(text):
        return text
    return _Expander(value_of, record, run).expand(text, 0)


class _Expander:
    """One expansion run; its budget ends values that contain themselves twice."""

    def __init__(
        self,
        value_of: Callable[[str], str | None],
        record: Callable[[Expansion], None],
        run: Callable[[str], str],
    ) -> None:
        self._value_of = value_of
        self._record = record
        self._run = run
        self._left = _MAX_EXPANSIONS

    def expand(self, text: str, depth: int) -> str:
        if depth > _MAX_DEPTH or ("${" not in text and not _escaped(text)):
            return text
        out: list[str] = []
        at, end = 0, len(text)
        while at < end:
            char = text[at]
            if char == "\\" and at + 1 < end and text[at + 1] in "$'\\":
                # An escaped dollar or backslash stands for itself, an escaped quote goes.
                out.append("" if text[at + 1] == "'" else text[at + 1])
                at += 2
                continue
            if char == "$":
                start = at + (2 if text.startswith("$${", at) else 1)
                if start < end and text[start] == "{":
                    inner, at = _braces(text, start + 1)
                    out.append(self._value(inner, depth + 1))
                    continue
            out.append(char)
            at += 1
        return "".join(out)

    def _value(self, inner: str, depth: int) -> str:
        self._left -= 1
        if self._left < 0:
            return ""
        for at, char in enumerate(inner):
            if char in " (":
                name = self.expand(inner[:at], depth).rstrip(" ")
                argument = inner[at + 1 :]
                if char == "(" and argument.endswith(")"):
                    argument = argument[:-1]
                self._record(Expansion("api", name, self.expand(argument, depth)))
                return self._run(name)
        name, _, offsets = self.expand(inner, depth).partition(":")
        self._record(Expansion("variable", name))
        value = self._value_of(name)
        if value is None:
            return ""
        value = self.expand(value, depth)
        if offsets:
            offset, _, length = offsets.partition(":")
            value = value[_integer(offset) :]
            if _integer(length) > 0:
                value = value[: _integer(length)]
        return value


def _escaped(text: str) -> bool:
    return any(f"\\{char}" in text for char in "\\ns'")


def _braces(text: str, start: int) -> tuple[str, int]:
    """The text up to the closing brace of the one before `start`, and where it ends."""
    depth = 1
    for at in range(start, len(text)):
        if text[at] == "{":
            depth += 1
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return text[start:at], at + 1
    return text[start:], len(text)


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0
