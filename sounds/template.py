"""The templates of the catalogue: running text with slots and pauses.

``"Line {number} has {count:bill}. [300] The sum is {total}."`` - a slot in braces, optionally with
the noun it counts; a pause in milliseconds in square brackets (spoken only).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(r"\{(?P<slot>[a-z_]+)(?::(?P<noun>[a-z]+))?\}|\[(?P<pause>\d{2,4})\]")
_SENTENCE = re.compile(r"(?<=[.!?؟])\s+")
_SENTENCE_END = ".!?؟"
_BREATH = ",،;؛:—–"

SENTENCE_PAUSE_MS = 300
"""Silence after each sentence, so that phrases queued one after the other sound natural."""
BREATH_PAUSE_MS = 100
"""Silence where a comma, colon or dash stands between a fixed fragment and a slot."""


@dataclass(frozen=True, slots=True)
class Text:
    """Fixed running text."""

    text: str


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for a value; ``noun`` is what a count counts."""

    name: str
    noun: str | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence, in milliseconds."""

    ms: int


Part = Text | Slot | Pause


def parse(template: str) -> tuple[Part, ...]:
    """The template's parts in order.

    Raises ValueError naming the place if a brace or bracket is left over.
    """
    parts: list[Part] = []
    end = 0
    for match in _TOKEN.finditer(template):
        _add_text(parts, template[end : match.start()])
        if match["slot"]:
            parts.append(Slot(match["slot"], match["noun"]))
        else:
            parts.append(Pause(int(match["pause"])))
        end = match.end()
    _add_text(parts, template[end:])
    return tuple(parts)


def _add_text(parts: list[Part], text: str) -> None:
    if stray := re.search(r"[{}\[\]]", text):
        raise ValueError(f"stray {stray[0]!r} near {text.strip()[:40]!r}")
    if text:
        parts.append(Text(text))


def spoken(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts as they are recorded: one text per sentence, pauses where the punctuation stands.

    A fixed text becomes a fragment only if it holds a letter or digit; punctuation at its edges
    turns into a pause, and what stays of it guides the speaker's voice.
    """
    out: list[Part] = []
    for part in parts:
        if isinstance(part, Text):
            for sentence in _SENTENCE.split(part.text):
                _add_sentence(out, sentence.strip())
        elif isinstance(part, Pause):
            # A pause that is written out replaces the one the punctuation gave.
            if out and isinstance(out[-1], Pause):
                out.pop()
            out.append(part)
        else:
            out.append(part)
    if out and isinstance(out[-1], Slot):
        out.append(Pause(SENTENCE_PAUSE_MS))
    return tuple(out)


def _add_sentence(out: list[Part], text: str) -> None:
    if not text:
        return
    lead = text[: len(text) - len(text.lstrip(_SENTENCE_END + _BREATH + " "))]
    if lead and out:
        out.append(_pause_of(lead))
    body = text[len(lead) :]
    if not any(char.isalnum() for char in body):
        return
    out.append(Text(body))
    if body[-1] in _SENTENCE_END + _BREATH:
        out.append(_pause_of(body[-1]))


def _pause_of(punctuation: str) -> Pause:
    sentence = any(char in _SENTENCE_END for char in punctuation)
    return Pause(SENTENCE_PAUSE_MS if sentence else BREATH_PAUSE_MS)
