"""Building, checking and measuring the sounds folder.

``<folder>/fa/payment_menu/1.wav``, ``<folder>/silence/0300.wav`` and ``<folder>/index.json``, which
holds for each recording its fingerprint, text, source and length in milliseconds.
"""

from __future__ import annotations

import contextlib
import csv
import multiprocessing
import os
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from sounds import voice, wav
from sounds.catalogue import PAUSES_MS, Catalogue, ScriptLine, load_catalogue
from sounds.errors import PhraseError, RecordingError, VoiceError
from sounds.index import fingerprint, read_index, write_index
from sounds.music import WAITING, piece
from sounds.respelling import respell
from sounds.speech import silence

_CHUNK = 16

Progress = Callable[[int, int, str], None]
"""Called with recordings done, recordings in all, and the name of the last one."""


@dataclass(slots=True)
class BuildReport:
    """What a build did; names of recordings."""

    built: list[str] = field(default_factory=list)
    """Made by the synthesiser."""
    studio: list[str] = field(default_factory=list)
    """Copied from the studio folder."""
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    """Files of an earlier build that no phrase uses any more."""
    seconds_of_sound: float = 0.0


@dataclass(frozen=True, slots=True)
class Problem:
    """A recording that cannot be played."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True, slots=True)
class _Task:
    name: str
    text: str
    language: str
    slow: bool


def build(
    output_dir: Path | str,
    languages: Sequence[str] | None = None,
    studio_dir: Path | str | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
    catalogue: Catalogue | None = None,
) -> BuildReport:
    """Make every recording of ``languages`` (default: all) in ``output_dir``.

    A recording whose text, voice and studio file have not changed is left alone. A file of the
    same name in ``studio_dir`` is taken instead of the synthesiser. ``jobs`` processes work side
    by side (default: one per CPU). Raises RecordingError for a studio file of wrong format (before
    anything is built), VoiceError if the synthesiser fails, PhraseError for an unknown language.
    """
    catalogue = catalogue or load_catalogue()
    root = Path(output_dir)
    studio = Path(studio_dir) if studio_dir else None
    wanted = _wanted(catalogue, languages or catalogue.languages)
    index = read_index(root)
    report = BuildReport()
    fresh: dict[str, dict[str, Any]] = {}
    copies: list[tuple[str, Path]] = []
    tasks: list[_Task] = []
    for name, line in wanted.items():
        source = studio / name if studio and (studio / name).is_file() else None
        language = name.split("/")[0]
        slow = name.startswith(f"{language}/digit/")
        if source:
            wav.duration_ms(source)
            mark = fingerprint("studio", source.read_bytes())
        elif language == "silence":
            mark = fingerprint("silence", name.encode())
        elif language == "music":
            mark = fingerprint("music 1", name.encode())
        else:
            said = respell(line.text, language)
            mark = fingerprint(voice.settings(language, slow), said.encode())
        fresh[name] = {"fingerprint": mark, "text": line.text}
        fresh[name]["source"] = "studio" if source else "synthesiser"
        old = index.get(name)
        if old and old["fingerprint"] == mark and (root / name).is_file():
            fresh[name]["ms"] = old["ms"]
            report.unchanged.append(name)
        elif source:
            copies.append((name, source))
        else:
            tasks.append(_Task(name, line.text, language, slow))

    total = len(copies) + len(tasks)
    done = dict(index)
    try:
        for name, source in copies:
            samples = wav.read(source)
            wav.write(root / name, samples)
            _enter(done, fresh, name, len(samples))
            report.studio.append(name)
            _tell(progress, report, total, name)
        for name, count in _synthesise(root, tasks, jobs):
            _enter(done, fresh, name, count)
            report.built.append(name)
            _tell(progress, report, total, name)
    finally:
        # What is finished stays finished when the build is broken off.
        done |= {name: fresh[name] for name in report.unchanged}
        report.removed = _remove_unused(root, done, catalogue)
        if done != index:
            write_index(root, done)
    report.seconds_of_sound = sum(done[name]["ms"] for name in wanted) / 1000
    return report


def check(
    directory: Path | str, language: str, catalogue: Catalogue | None = None
) -> list[Problem]:
    """Recordings of ``language`` that are missing or of wrong format, in the script's order."""
    root = Path(directory)
    problems = []
    for name in (catalogue or load_catalogue()).needed(language):
        try:
            wav.duration_ms(root / name)
        except RecordingError as error:
            problems.append(Problem(name, str(error).removeprefix(f"{root / name}: ")))
    return problems


def durations(directory: Path | str) -> dict[str, int]:
    """Length of every recording in the folder, in milliseconds, by name.

    From the index; for files that are not in it (recordings put there by hand), from their WAV
    header. Files that cannot be read are left out: ``check`` names them.
    """
    root = Path(directory)
    lengths = {name: int(entry["ms"]) for name, entry in read_index(root).items()}
    for path in sorted(root.rglob("*.wav")):
        name = path.relative_to(root).as_posix()
        if name not in lengths:
            with contextlib.suppress(RecordingError):
                lengths[name] = wav.duration_ms(path)
    return lengths


def script_csv(language: str, file: TextIO, catalogue: Catalogue | None = None) -> int:
    """Write the recording script for a studio as CSV (key, text, context); number of lines.

    The key is the file name the recording must have in the studio folder.
    """
    writer = csv.writer(file)
    writer.writerow(("key", "text", "context"))
    lines = (catalogue or load_catalogue()).script(language)
    writer.writerows((line.key, line.text, line.context) for line in lines)
    return len(lines)


def _wanted(catalogue: Catalogue, languages: Iterable[str]) -> dict[str, ScriptLine]:
    wanted: dict[str, ScriptLine] = {}
    for language in languages:
        if language not in catalogue.languages:
            raise PhraseError(f"no language {language!r}; there are {catalogue.languages}")
        wanted |= {line.key: line for line in catalogue.script(language)}
    unspoken = (*(silence(ms) for ms in PAUSES_MS), *WAITING)
    return wanted | {name: ScriptLine(name, "", "") for name in unspoken}


def _enter(
    done: dict[str, dict[str, Any]], fresh: Mapping[str, dict[str, Any]], name: str, count: int
) -> None:
    fresh[name]["ms"] = round(count * 1000 / wav.RATE_HZ)
    done[name] = fresh[name]


def _tell(progress: Progress | None, report: BuildReport, total: int, name: str) -> None:
    if progress:
        progress(len(report.built) + len(report.studio), total, name)


def _synthesise(root: Path, tasks: list[_Task], jobs: int | None) -> Iterable[tuple[str, int]]:
    """Make the recordings; yields name and number of samples as they get ready."""
    if not tasks:
        return
    chunks = [tasks[start : start + _CHUNK] for start in range(0, len(tasks), _CHUNK)]
    workers = min(jobs or os.cpu_count() or 1, len(chunks))
    if workers == 1:
        for chunk in chunks:
            yield from _make(root, chunk)
        return
    # Spawned, not forked: the progress bar's thread may hold a lock.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = [pool.submit(_make, root, chunk) for chunk in chunks]
        try:
            for future in futures:
                yield from future.result()
        except BrokenProcessPool:
            raise VoiceError("a synthesiser process died") from None
        finally:
            for future in futures:
                future.cancel()


def _make(root: Path, tasks: list[_Task]) -> list[tuple[str, int]]:
    """Make some recordings in this process."""
    made = []
    for task in tasks:
        if task.language == "silence":
            ms = int(Path(task.name).stem)
            samples = array("h", bytes(2 * wav.RATE_HZ * ms // 1000))
        elif task.language == "music":
            samples = piece(task.name)
        else:
            samples = voice.say(task.text, task.language, slow=task.slow)
        wav.write(root / task.name, samples)
        made.append((task.name, len(samples)))
    return made


def _remove_unused(root: Path, done: dict[str, dict[str, Any]], catalogue: Catalogue) -> list[str]:
    """Remove what an earlier build made and no language needs any more."""
    needed = {name for language in catalogue.languages for name in catalogue.needed(language)}
    unused = [name for name in done if name not in needed]
    for name in unused:
        del done[name]
        (root / name).unlink(missing_ok=True)
    return unused
