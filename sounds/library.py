"""The recordings that belong to no phrase: made for a service when it is published.

Each service version has a folder of its own, ``services/<number>/<version>/<language>/<name>.wav``,
with an index of its own, so that a build of the phrases' recordings leaves it alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sounds import voice, wav
from sounds.errors import RecordingError
from sounds.index import Entry, fingerprint, read_index, write_index
from sounds.recording import Recording
from sounds.respelling import respell

Progress = Callable[[int, int, str], None]
"""Called with recordings done, recordings in all, and the name of the last one."""


@dataclass(slots=True)
class Made:
    """What `Library.make` did; names relative to the sounds folder."""

    built: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    """Taken from the provider's folder."""
    unchanged: list[str] = field(default_factory=list)
    ms: dict[str, int] = field(default_factory=dict)
    """Length of each recording, milliseconds."""


class Library:
    """Recordings below a sounds folder: how long each is, and what those without a phrase say."""

    def __init__(self, sounds_dir: Path | str) -> None:
        self._root = Path(sounds_dir)
        # A recording is replaced by one of a new name, never in place while calls run.
        self._length = functools.lru_cache(maxsize=65_536)(self._read_length)
        self._texts = functools.lru_cache(maxsize=1024)(self._read_texts)

    def ms(self, name: str) -> int:
        """Length of one recording, milliseconds. Raises RecordingError if it cannot be played."""
        return self._length(name)

    def prompt_ms(self, names: Iterable[str]) -> int:
        """Length of a row of recordings, milliseconds; one that is missing counts nothing."""
        total = 0
        for name in names:
            try:
                total += self._length(name)
            except RecordingError:
                continue
        return total

    def text(self, name: str) -> str | None:
        """What a recording without a phrase says; None if nobody knows."""
        for folder in Path(name).parents[:-1]:
            texts = self._texts(folder.as_posix())
            if texts is not None:
                return texts.get(Path(name).relative_to(folder).as_posix())
        return None

    def make(
        self,
        folder: str,
        recordings: Iterable[Recording],
        languages: Mapping[str, str],
        given: Path | None = None,
        progress: Progress | None = None,
    ) -> Made:
        """Make the recordings of one folder, those that are not there yet.

        ``languages`` says by name in which language each is spoken. A WAV of the same name (below
        ``folder``) in ``given`` is taken rather than the synthesiser. Raises RecordingError for a
        given file of wrong format, before anything is made; VoiceError where a text has no sound.
        """
        root = self._root / folder
        index = read_index(root)
        made = Made()
        todo: list[tuple[Recording, str, Path | None, Entry]] = []
        for recording in recordings:
            short = recording.name.removeprefix(f"{folder}/")
            language = languages[recording.name]
            source = _given(given, short)
            if source:
                wav.duration_ms(source)
                mark = fingerprint("given", source.read_bytes())
            else:
                said = respell(recording.text, language)
                mark = fingerprint(voice.settings(language, False), said.encode())
            entry: Entry = {
                "fingerprint": mark,
                "text": recording.text,
                "source": "given" if source else "synthesiser",
            }
            old = index.get(short)
            if old and old["fingerprint"] == mark and (root / short).is_file():
                index[short] = entry | {"ms": old["ms"]}
                made.unchanged.append(recording.name)
                made.ms[recording.name] = int(old["ms"])
            else:
                todo.append((recording, short, source, entry))
        for recording, short, source, entry in todo:
            if source:
                samples = wav.read(source)
                made.given.append(recording.name)
            else:
                samples = voice.say(recording.text, languages[recording.name])
                made.built.append(recording.name)
            wav.write(root / short, samples)
            entry["ms"] = made.ms[recording.name] = round(len(samples) * 1000 / wav.RATE_HZ)
            index[short] = entry
            if progress is not None:
                progress(len(made.built) + len(made.given), len(todo), recording.name)
        if todo:
            write_index(root, index)
            self._length.cache_clear()
            self._texts.cache_clear()
        return made

    def _read_length(self, name: str) -> int:
        return wav.duration_ms(self._root / name)

    def _read_texts(self, folder: str) -> Mapping[str, str] | None:
        entries = read_index(self._root / folder)
        return {name: str(entry["text"]) for name, entry in entries.items()} or None


def _given(folder: Path | None, short: str) -> Path | None:
    if folder is None or not (folder / short).is_file():
        return None
    found = (folder / short).resolve()
    if not found.is_relative_to(folder.resolve()):
        raise RecordingError(f"{folder / short}: lies outside of the folder")
    return found
