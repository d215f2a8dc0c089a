"""The phrase catalogue: what can be said and written, in every language.

Its data are the YAML files in ``sounds/phrases/``, one per area::

    written_only: false          # true: SMS, e-mail, image and page texts, which need no voice
    phrases:
      bill_part_paid:
        context: After the sum of the bill ...          # a note for the speaker
        slots: {paid: amount, amount: amount}           # see SLOT_TYPES
        fa: ...                                         # one template per language; or
        ru: {spoken: ..., written: ...}                 # two, where ear and eye differ

Templates are explained in sounds/template.py. A phrase that is said becomes fixed fragments
``<language>/<key>/<n>.wav``, words (``<language>/number/21.wav``) and pauses
(``silence/0300.wav``).
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sounds import speech as speech_rules
from sounds import written
from sounds.arabic import Arabic
from sounds.english import English
from sounds.errors import CatalogueError, PhraseError, RecordingError
from sounds.library import Library
from sounds.music import WAITING
from sounds.persian import Persian
from sounds.phrase import Phrase
from sounds.recording import Recording
from sounds.russian import Russian
from sounds.speech import Names, Speech, silence
from sounds.template import Part, Pause, Slot, Text, parse, spoken

_SPEECHES: dict[str, type[Speech]] = {"fa": Persian, "ar": Arabic, "ru": Russian, "en": English}
DEFAULT_PHRASES = Path(__file__).parent / "phrases"

MAX_RECORDINGS = 120
"""Recordings in one phrase; FreeSWITCH's file_string takes 128 pieces."""
PAUSES_MS = (100, 200, 300, 600, 900)
"""The silences there are recordings of."""

_WRITTEN_TYPES = frozenset({"text", "id"})
SLOT_TYPES = frozenset(
    {"amount", "count", "digits", "phone", "date", "time", "key", "period", "year", "recording"}
    | _WRITTEN_TYPES
)
"""What a slot can hold; ``text`` and ``id`` only in written phrases."""

_KEY = re.compile(r"[a-z][a-z0-9_]*")
# Folders of word recordings; a phrase of that name would mix its fragments with them.
_WORD_FOLDERS = frozenset(
    {"digit", "key", "number", "noun", "day", "month", "year", "period", "time"}
)
_DIGITS = re.compile(r"[0-9]{1,26}")
_KEYPAD = frozenset("0123456789*#")


@dataclass(frozen=True, slots=True)
class ScriptLine:
    """One recording a speaker has to make."""

    key: str
    """File name of the recording, relative to the sounds folder."""
    text: str
    """What is said, with the vowel and stress marks that help to say it right."""
    context: str
    """Where it is heard, and how to say it."""


@dataclass(frozen=True, slots=True)
class _Template:
    """One phrase in one language, compiled."""

    slots: Mapping[str, str]
    written: tuple[str | Slot, ...]
    """Text as it is shown, and slots."""
    pieces: tuple[str | Slot, ...]
    """Recording names and slots in order; empty for written phrases."""
    fixed: Names | None
    """All recordings, if the phrase has no slots."""


class Catalogue:
    """All phrases of the service. Made by ``load_catalogue``; read only, safe to share."""

    def __init__(self, definitions: Mapping[str, tuple[str, bool, Mapping[str, Any]]]) -> None:
        """``definitions``: key -> (file name, written only, the YAML mapping)."""
        self._speech = {language: kind() for language, kind in _SPEECHES.items()}
        self._templates: dict[tuple[str, str], _Template] = {}
        self._script: dict[str, dict[str, ScriptLine]] = {lang: {} for lang in _SPEECHES}
        self._slots: dict[str, dict[str, str]] = {}
        self._spoken_keys: list[str] = []
        self._library: Library | None = None
        for key, (file, written_only, definition) in definitions.items():
            self._add_phrase(key, file, written_only, definition)
        for language, words in self._speech.items():
            for name, text in words.words.items():
                self._script[language][name] = ScriptLine(name, text, words.context(name))

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the catalogue, the default one first."""
        return tuple(_SPEECHES)

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of all phrases in the order of the files."""
        return tuple(self._slots)

    @property
    def spoken_keys(self) -> tuple[str, ...]:
        """Keys of the phrases that have recordings."""
        return tuple(self._spoken_keys)

    def slots(self, key: str) -> Mapping[str, str]:
        """Slot types by name. Raises PhraseError for an unknown key."""
        try:
            return self._slots[key]
        except KeyError:
            raise PhraseError(f"no phrase {key!r} in the catalogue") from None

    def text(self, phrase: Phrase, language: str) -> str:
        """The phrase as it is written (SMS, page, transcript).

        Numerals are the language's own; IDs always 0-9, so that they can be copied into a bank's
        form. Raises PhraseError.
        """
        language = phrase.language or language
        template = self._template(phrase, language)
        return "".join(
            part
            if isinstance(part, str)
            else self._written(phrase, part, template.slots[part.name], language)
            for part in template.written
        )

    def recordings(self, phrase: Phrase, language: str) -> Names:
        """Names of the recordings that say the phrase, in order. Raises PhraseError."""
        language = phrase.language or language
        template = self._template(phrase, language)
        if template.fixed is not None:
            return template.fixed
        if not template.pieces:
            raise PhraseError(f"{phrase.key} is a written text: it has no recordings")
        words = self._speech[language]
        values = phrase.slots
        names: list[str] = []
        for piece in template.pieces:
            if isinstance(piece, str):
                names.append(piece)
                continue
            value = values[piece.name]
            kind = template.slots[piece.name]
            try:
                names += _SAY[kind](words, value, piece.noun)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise _slot_error(phrase, piece.name, kind, error) from None
        if len(names) > MAX_RECORDINGS:
            raise PhraseError(f"{phrase.key}, {language}: {len(names)} recordings in one phrase")
        return tuple(names)

    def with_library(self, library: Library) -> Catalogue:
        """This catalogue, which also knows what the recordings say that no phrase holds."""
        known = copy.copy(self)
        known._library = library
        return known

    def text_of(self, recording: str) -> str:
        """What one recording says, as it is written; a silence says nothing.

        One that no phrase holds says what the library knows of it, or only its name. Raises
        RecordingError for a name that no phrase uses.
        """
        if recording in WAITING:
            return "♪"
        if recording.startswith("silence/"):
            return ""
        language = recording.partition("/")[0]
        if self._library is not None and language not in self._script:
            said = self._library.text(recording)
            return f"[{recording}]" if said is None else written.plain(said)
        line = self._script.get(language, {}).get(recording)
        if line is None:
            raise RecordingError(f"no phrase uses a recording {recording!r}")
        return written.numerals(written.plain(line.text), recording[:2])

    def script(self, language: str) -> list[ScriptLine]:
        """Every recording the language needs: phrases first, then words; no silences."""
        return list(self._script_of(language).values())

    def needed(self, language: str) -> tuple[str, ...]:
        """All files that must be there to speak the language, silences and music included."""
        return (*self._script_of(language), *(silence(ms) for ms in PAUSES_MS), *WAITING)

    def missing(self, directory: Path | str, language: str) -> list[str]:
        """Names of recordings that are not in ``directory`` (the sounds folder)."""
        root = Path(directory)
        return [name for name in self.needed(language) if not (root / name).is_file()]

    def _script_of(self, language: str) -> dict[str, ScriptLine]:
        try:
            return self._script[language]
        except KeyError:
            raise PhraseError(_no_language(language)) from None

    def _template(self, phrase: Phrase, language: str) -> _Template:
        template = self._templates.get((phrase.key, language))
        if template is None:
            self.slots(phrase.key)
            raise PhraseError(_no_language(language))
        if phrase.slots.keys() != template.slots.keys():
            needs = ", ".join(sorted(template.slots)) or "none"
            given = ", ".join(sorted(phrase.slots)) or "none"
            raise PhraseError(f"{phrase.key}: its slots are {needs}; given: {given}")
        return template

    def _written(self, phrase: Phrase, slot: Slot, kind: str, language: str) -> str:
        value = phrase.slots[slot.name]
        try:
            return _WRITE[kind](value, slot.noun, language)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _slot_error(phrase, slot.name, kind, error) from None

    def _add_phrase(
        self, key: str, file: str, written_only: bool, definition: Mapping[str, Any]
    ) -> None:
        where = f"{file}: {key}"
        slots = dict(definition.get("slots") or {})
        for name, kind in slots.items():
            if kind not in SLOT_TYPES:
                raise CatalogueError(f"{where}: slot {name} has unknown type {kind!r}")
            if kind in _WRITTEN_TYPES and not written_only:
                raise CatalogueError(f"{where}: slot {name} of type {kind} cannot be spoken")
        unknown = definition.keys() - {"context", "slots", *_SPEECHES}
        if unknown:
            raise CatalogueError(f"{where}: unknown entries {', '.join(sorted(unknown))}")
        context = str(definition.get("context") or "").strip()
        if not context:
            raise CatalogueError(f"{where}: no context note")
        for language in _SPEECHES:
            if language not in definition:
                raise CatalogueError(f"{where}: no text in {language}")
            source = definition[language]
            both = source if isinstance(source, dict) else {"spoken": source, "written": source}
            allowed = {"written"} if written_only else {"spoken", "written"}
            if isinstance(source, dict) and set(source) != allowed:
                raise CatalogueError(f"{where}, {language}: needs {' and '.join(sorted(allowed))}")
            at = f"{where}, {language}"
            parts = _parse(str(both["written"]), slots, at)
            voice: tuple[Part, ...] | None = None
            if not written_only:
                voice = spoken(_parse(str(both["spoken"]), slots, at))
            self._check_nouns(at, language, parts, voice)
            self._templates[key, language] = self._compile(
                key, language, slots, parts, voice, context
            )
        self._slots[key] = slots
        if not written_only:
            self._spoken_keys.append(key)

    def _check_nouns(
        self, at: str, language: str, parts: tuple[Part, ...], voice: tuple[Part, ...] | None
    ) -> None:
        for part in parts:
            if isinstance(part, Slot) and part.noun and not written.has_noun(part.noun, language):
                raise CatalogueError(f"{at}: no written forms of the noun {part.noun}")
        for part in voice or ():
            if isinstance(part, Slot) and part.noun:
                try:
                    self._speech[language].counted(3, part.noun)
                except KeyError:
                    raise CatalogueError(f"{at}: no recordings of the noun {part.noun}") from None
            if isinstance(part, Pause) and part.ms not in PAUSES_MS:
                raise CatalogueError(f"{at}: no silence of {part.ms} ms; there are {PAUSES_MS}")

    def _compile(
        self,
        key: str,
        language: str,
        slots: Mapping[str, str],
        parts: tuple[Part, ...],
        voice: tuple[Part, ...] | None,
        context: str,
    ) -> _Template:
        pieces: list[str | Slot] = []
        fragment = 0
        for part in voice or ():
            if isinstance(part, Text):
                fragment += 1
                name = f"{language}/{key}/{fragment}.wav"
                self._script[language][name] = ScriptLine(name, part.text, context)
                pieces.append(name)
            elif isinstance(part, Pause):
                pieces.append(silence(part.ms))
            else:
                pieces.append(part)
        names = tuple(piece for piece in pieces if isinstance(piece, str))
        fixed = names if pieces and len(names) == len(pieces) else None
        return _Template(slots, _shown(parts, language), tuple(pieces), fixed)


def load_catalogue(directory: Path | str | None = None) -> Catalogue:
    """The catalogue from a folder of YAML files; without one, the shipped catalogue (loaded once).

    Raises CatalogueError naming file, key and language.
    """
    return _shipped() if directory is None else _load(Path(directory))


@functools.lru_cache(maxsize=1)
def _shipped() -> Catalogue:
    return _load(DEFAULT_PHRASES)


def _load(directory: Path) -> Catalogue:
    definitions: dict[str, tuple[str, bool, Mapping[str, Any]]] = {}
    files = sorted(directory.glob("*.yaml"))
    if not files:
        raise CatalogueError(f"no phrase files (*.yaml) in {directory}")
    for path in files:
        for key, written_only, definition in _read(path):
            if key in definitions:
                raise CatalogueError(f"{path.name}: {key} is also in {definitions[key][0]}")
            definitions[key] = (path.name, written_only, definition)
    return Catalogue(definitions)


def _read(path: Path) -> Iterator[tuple[str, bool, Mapping[str, Any]]]:
    """The phrases of one file."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CatalogueError(f"{path.name}: {error}") from None
    if not isinstance(data, dict) or set(data) != {"written_only", "phrases"}:
        raise CatalogueError(f"{path.name}: needs exactly the entries written_only and phrases")
    for key, definition in data["phrases"].items():
        if not isinstance(key, str) or not _KEY.fullmatch(key) or key in _WORD_FOLDERS:
            raise CatalogueError(f"{path.name}: {key!r} cannot be a phrase key")
        if not isinstance(definition, dict):
            raise CatalogueError(f"{path.name}: {key}: not a mapping")
        yield key, bool(data["written_only"]), definition


def _parse(template: str, slots: Mapping[str, str], at: str) -> tuple[Part, ...]:
    try:
        parts = parse(template.strip())
    except ValueError as error:
        raise CatalogueError(f"{at}: {error}") from None
    used = {part.name for part in parts if isinstance(part, Slot)}
    if extra := used - slots.keys():
        raise CatalogueError(f"{at}: unknown slot {', '.join(sorted(extra))}")
    if absent := slots.keys() - used:
        raise CatalogueError(f"{at}: slot {', '.join(sorted(absent))} is not in the text")
    return parts


def _shown(parts: tuple[Part, ...], language: str) -> tuple[str | Slot, ...]:
    """The written parts: no pauses, no speaker's marks, the language's numerals."""
    out: list[str | Slot] = []
    for part in parts:
        if isinstance(part, Slot):
            out.append(part)
        elif isinstance(part, Text):
            text = written.numerals(written.plain(part.text), language)
            if out and isinstance(out[-1], str):
                # A pause stood between: one space is enough.
                out[-1] = out[-1].rstrip() + " " + text.lstrip()
            else:
                out.append(text)
    return tuple(out)


def _no_language(language: str) -> str:
    return f"no language {language!r}; there are {', '.join(_SPEECHES)}"


def _slot_error(phrase: Phrase, slot: str, kind: str, error: Exception) -> PhraseError:
    # The value itself stays out: it may be a telephone number, and errors are logged.
    reason = error if isinstance(error, ValueError) else f"wrong type for {kind}"
    return PhraseError(f"{phrase.key}: slot {slot} ({kind}): {reason}")


def _whole(value: Any) -> int:
    # bool is an int to isinstance, but not an amount.
    if type(value) is int:
        return value
    raise TypeError("not an integer")


def _number(value: Any) -> int:
    number = _whole(value)
    speech_rules.check_number(number)
    return number


def _id(value: Any) -> str:
    if not _DIGITS.fullmatch(value):
        raise ValueError("not a string of 1 to 26 digits 0-9")
    return str(value)


def _recording(value: Any) -> Recording:
    if isinstance(value, Recording):
        return value
    raise TypeError("not a recording")


def _key(value: Any) -> str:
    if value not in _KEYPAD:
        raise ValueError("not a key of the telephone")
    return str(value)


def _period(value: Any) -> int:
    period = _whole(value)
    speech_rules.check_period(period)
    return period


_SAY: dict[str, Callable[[Speech, Any, str | None], Names]] = {
    "amount": lambda words, value, noun: words.amount(_whole(value)),
    "count": lambda words, value, noun: (
        words.counted(_whole(value), noun) if noun else words.count(_whole(value))
    ),
    "digits": lambda words, value, noun: words.digits(_id(value)),
    "phone": lambda words, value, noun: words.phone(value),
    "date": lambda words, value, noun: words.date(value),
    "time": lambda words, value, noun: words.time(value),
    "key": lambda words, value, noun: words.key(_key(value)),
    "period": lambda words, value, noun: words.period(_whole(value)),
    "year": lambda words, value, noun: words.year(_whole(value)),
    "recording": lambda words, value, noun: (_recording(value).name,),
}

_WRITE: dict[str, Callable[[Any, str | None, str], str]] = {
    "amount": lambda value, noun, language: written.counted(_number(value), "rial", language),
    "count": lambda value, noun, language: (
        written.counted(_number(value), noun, language)
        if noun
        else written.number(_number(value), language)
    ),
    "digits": lambda value, noun, language: _id(value),
    "id": lambda value, noun, language: _id(value),
    "phone": lambda value, noun, language: written.phone(value, language),
    "date": lambda value, noun, language: written.date(value, language),
    "time": lambda value, noun, language: written.time(value, language),
    "key": lambda value, noun, language: written.key(_key(value), language),
    "period": lambda value, noun, language: written.numerals(str(_period(value)), language),
    "year": lambda value, noun, language: written.numerals(str(_whole(value)), language),
    "text": lambda value, noun, language: written.embedded(value, language),
    "recording": lambda value, noun, language: written.embedded(
        written.plain(_recording(value).text), language
    ),
}
