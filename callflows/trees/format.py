"""The nodes of a menu tree, and the tree.

What may stand in a node is here; what makes nodes a usable tree is in `callflows.trees.validate`.
The format knows no telephone beyond its keys: a menu on a screen (USSD) is the same tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from billing.entities import LANGUAGES
from sounds import Recording

LONGEST_TEXT = 1200
"""Characters of one recording: about a minute and a half of speech."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069\ufeff]")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_KEYS = frozenset("0123456789*#")


def _texts(value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
    languages = (info.context or {}).get("languages", LANGUAGES)
    for language in value:
        if language not in languages:
            raise ValueError(f"language {language[:20]!r}: there are {', '.join(languages)}")
    if missing := [language for language in languages if language not in value]:
        raise ValueError(f"no text in {', '.join(missing)}")
    return {language: _text(language, text) for language, text in value.items()}


def _text(language: str, text: str) -> str:
    if _CONTROLS.search(text):
        raise ValueError(f"{language}: control characters")
    text = " ".join(text.split())
    if not any(char.isalnum() for char in text):
        raise ValueError(f"{language}: nothing that can be said")
    if len(text) > LONGEST_TEXT:
        raise ValueError(
            f"{language}: {len(text):,} characters are too long for one recording"
            f" ({LONGEST_TEXT:,} at most): make it several nodes"
        )
    return text


def _key(value: str) -> str:
    if value not in _KEYS:
        raise ValueError("one key of the telephone: 0-9, * or #")
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("a name of a-z, 0-9, _ and -, 32 at most, a letter first")
    return value


def _address(value: str) -> str:
    if len(value) > 500 or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("an address such as https://crm.example.com/calls")
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - reading it checks it
    except ValueError as error:
        raise ValueError(f"not an address: {error}") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("an address such as https://crm.example.com/calls")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("an address without user, password and fragment")
    return value


Texts = Annotated[dict[str, str], AfterValidator(_texts)]
"""What is said, by language; each a recording of its own."""
Key = Annotated[str, AfterValidator(_key)]
Name = Annotated[str, AfterValidator(_name)]
Address = Annotated[str, AfterValidator(_address)]
Target = Annotated[str, Field(max_length=64)]
"""The id of a node."""


@dataclass(frozen=True, slots=True)
class Exit:
    """A way out of a node: the field that names it, where it leads, whether the caller chose it."""

    field: str
    target: str
    chosen: bool


class Node(BaseModel):
    """What all nodes have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def exits(self) -> Iterator[Exit]:
        """Every way out, in the order of the file."""
        target = getattr(self, "next", None)
        if target is not None:
            yield Exit("next", target, self.asks)

    def parts(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """What is said, by the name of the part: "" for the node's own text."""
        said = getattr(self, "say", None)
        if said is not None:
            yield "", said

    @property
    def asks(self) -> bool:
        """Whether nobody gets past this node without pressing a key."""
        return False


class Prompt(Node):
    """Says something and goes on."""

    type: Literal["prompt"]
    say: Texts
    next: Target | None = None


class _Keyed(Node):
    """A question answered with one key; * goes back and 9 repeats unless the node says otherwise.

    ``false`` means no such key; a default gives way to an answer that takes its key.
    """

    say: Texts
    back: Key | Literal[False] | None = None
    repeat: Key | Literal[False] | None = None

    @property
    def answers(self) -> frozenset[str]:
        """The keys that are answers."""
        raise NotImplementedError

    @property
    def back_key(self) -> str | None:
        """The key that goes back to the menu before."""
        return self._control(self.back, "*")

    @property
    def repeat_key(self) -> str | None:
        """The key that says it again."""
        return self._control(self.repeat, "9")

    @property
    def asks(self) -> bool:
        """Whether nobody gets past this node without pressing a key."""
        return True

    def _control(self, given: str | Literal[False] | None, usual: str) -> str | None:
        if given is None:
            return None if usual in self.answers else usual
        return given or None

    @model_validator(mode="after")
    def _distinct(self) -> _Keyed:
        for name, key in (("back", self.back), ("repeat", self.repeat)):
            if key and key in self.answers:
                raise ValueError(f"{name}: key {key} is an answer already")
        if self.back_key is not None and self.back_key == self.repeat_key:
            raise ValueError(f"repeat: key {self.back_key} goes back already")
        return self


class Menu(_Keyed):
    """A menu; ``silence`` is where a caller goes who presses nothing."""

    type: Literal["menu"]
    keys: Annotated[dict[Key, Target], Field(min_length=1)]
    silence: Target | None = None

    @property
    def answers(self) -> frozenset[str]:
        """The keys that are answers."""
        return frozenset(self.keys)

    def exits(self) -> Iterator[Exit]:
        """Every way out, in the order of the file."""
        for key, target in self.keys.items():
            yield Exit(f"keys.{key}", target, True)
        if self.silence is not None:
            yield Exit("silence", self.silence, False)


class Poll(_Keyed):
    """A poll: each key is a choice; ``once`` counts a line's first vote only."""

    type: Literal["poll"]
    choices: Annotated[dict[Key, Name], Field(min_length=1)]
    once: bool = False
    next: Target | None = None

    @property
    def answers(self) -> frozenset[str]:
        """The keys that are answers."""
        return frozenset(self.choices)


class OrderField(BaseModel):
    """One field of an order form; ``least`` and ``most`` are numbers of digits."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Name
    say: Texts
    kind: Literal["digits", "amount", "phone", "date"] = "digits"
    least: Annotated[int, Field(ge=1, le=20)] = 1
    most: Annotated[int, Field(ge=1, le=20)] = 12

    @model_validator(mode="after")
    def _ordered(self) -> OrderField:
        if self.least > self.most:
            raise ValueError("least: more than most")
        return self


class Order(Node):
    """An order form, keyed in field by field, each read back."""

    type: Literal["order"]
    fields: Annotated[tuple[OrderField, ...], Field(min_length=1, max_length=10, strict=False)]
    next: Target | None = None

    def parts(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """What is said: a question for each field."""
        for field in self.fields:
            yield field.name, field.say

    @property
    def asks(self) -> bool:
        """Whether nobody gets past this node without pressing a key."""
        return True

    @model_validator(mode="after")
    def _distinct(self) -> Order:
        names = [field.name for field in self.fields]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"fields: two are named {name}")
        return self


class Record(Node):
    """Records a message of the caller: seconds at most, and seconds of silence that end it."""

    type: Literal["record"]
    say: Texts
    most_s: Annotated[int, Field(ge=1, le=300)] = 60
    silence_s: Annotated[int, Field(ge=1, le=10)] = 3
    next: Target | None = None


class Random(Node):
    """Says one of its items: drawn for each call, or the day's own, the same for all callers."""

    type: Literal["random"]
    items: Annotated[tuple[Texts, ...], Field(min_length=1, max_length=400, strict=False)]
    pick: Literal["call", "day"] = "call"
    next: Target | None = None

    def parts(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """What is said: each item, numbered from 1."""
        for place, item in enumerate(self.items, 1):
            yield str(place), item


class Callout(Node):
    """Asks the provider's CRM which way to go; ``fallback`` where it does not say in time."""

    type: Literal["callout"]
    url: Address
    timeout_s: Annotated[float, Field(ge=0.1, le=5, strict=False)] = 2.0
    say: Texts | None = None
    results: Annotated[dict[Name, Target], Field(min_length=1, max_length=50)]
    fallback: Target

    def exits(self) -> Iterator[Exit]:
        """Every way out, in the order of the file."""
        for result, target in self.results.items():
            yield Exit(f"results.{result}", target, False)
        yield Exit("fallback", self.fallback, False)


class Consultants(Node):
    """Connects with one of the service's consultants; ``next`` follows when they have spoken."""

    type: Literal["consultants"]
    next: Target | None = None


class Goto(Node):
    """Goes on elsewhere."""

    type: Literal["goto"]
    to: Target

    def exits(self) -> Iterator[Exit]:
        """Every way out, in the order of the file."""
        yield Exit("to", self.to, False)


class End(Node):
    """The end, with last words or without."""

    type: Literal["end"]
    say: Texts | None = None


NODES: dict[str, type[Node]] = {
    "prompt": Prompt,
    "menu": Menu,
    "poll": Poll,
    "order": Order,
    "record": Record,
    "random": Random,
    "callout": Callout,
    "consultants": Consultants,
    "goto": Goto,
    "end": End,
}
"""The kinds of nodes by the name that ``type`` gives."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A valid tree: its nodes by id, where it starts, its languages (the first is the usual one).

    ``folder`` is where its recordings are, below the sounds folder.
    """

    start: str
    nodes: Mapping[str, Any]
    languages: tuple[str, ...]
    folder: str

    def language(self, wanted: str) -> str:
        """The language to speak to somebody who wants ``wanted``."""
        return wanted if wanted in self.languages else self.languages[0]

    def recording(self, node: str, part: str, language: str) -> Recording:
        """The recording of a part of a node; "" is its own text."""
        for name, texts in self.nodes[node].parts():
            if name == part:
                return Recording(self._file(node, part, language), texts[language])
        raise KeyError(f"node {node} says no {part!r}")

    def recordings(self) -> Iterator[tuple[str, Recording]]:
        """Every recording of the tree, with its language."""
        for node_id, node in self.nodes.items():
            for part, texts in node.parts():
                for language in self.languages:
                    yield (
                        language,
                        Recording(self._file(node_id, part, language), texts[language]),
                    )

    def _file(self, node: str, part: str, language: str) -> str:
        # A node's id has no slash: its parts lie in a folder that no other node can name.
        return f"{self.folder}/{language}/tree/{node}{f'/{part}' if part else ''}.wav"
