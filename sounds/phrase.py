"""One thing to be said or written, independent of language."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


class Phrase:
    """A catalogue key and the values of its slots; immutable, hashable, comparable.

    ``Phrase("bill_part_paid", paid=100_000, amount=29_000)``. Whether key and slots fit is
    checked by the catalogue when it renders the phrase (``PhraseError``).
    """

    __slots__ = ("key", "language", "slots")

    key: str
    language: str | None
    """A language that overrides the call's own; None for the call's language."""
    slots: Mapping[str, Any]
    """Slot values by name (read only)."""

    def __init__(self, key: str, /, **slots: Any) -> None:
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "language", None)
        object.__setattr__(self, "slots", MappingProxyType(slots))

    def spoken_in(self, language: str) -> Phrase:
        """The same phrase said in ``language`` whatever the call's language (the language menu)."""
        copy = Phrase(self.key, **self.slots)
        object.__setattr__(copy, "language", language)
        return copy

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Phrase is immutable: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Phrase is immutable: {name}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Phrase):
            return NotImplemented
        return (self.key, self.language, self.slots) == (other.key, other.language, other.slots)

    def __hash__(self) -> int:
        return hash((self.key, self.language, tuple(sorted(self.slots.items()))))

    def __repr__(self) -> str:
        slots = "".join(f", {name}={value!r}" for name, value in self.slots.items())
        spoken = f".spoken_in({self.language!r})" if self.language else ""
        return f"Phrase({self.key!r}{slots}){spoken}"

    # Pickled through the constructor, because __setattr__ refuses everything else.
    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self.key, self.language, dict(self.slots)))


def _rebuild(key: str, language: str | None, slots: dict[str, Any]) -> Phrase:
    phrase = Phrase(key, **slots)
    return phrase.spoken_in(language) if language else phrase
