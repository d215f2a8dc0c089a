"""Building the sounds folder: incremental, reproducible, studio recordings first."""

from __future__ import annotations

import csv
import datetime
import io
import json
import time
import wave
from array import array
from pathlib import Path

import pytest

from sounds import LANGUAGES, Phrase, PhraseError, RecordingError, ScriptLine, load_catalogue, wav
from sounds.build import Problem, build, check, durations, script_csv
from sounds.catalogue import PAUSES_MS
from sounds.music import WAITING


class SmallCatalogue:
    """Three words in two languages instead of thirteen hundred."""

    languages = ("fa", "en")

    def __init__(self, thanks: str = "Thank you.") -> None:
        self.lines = {
            "fa": [ScriptLine("fa/hello/1.wav", "سلام.", "")],
            "en": [
                ScriptLine("en/thanks/1.wav", thanks, ""),
                ScriptLine("en/digit/5.wav", "five", ""),
            ],
        }

    def script(self, language: str) -> list[ScriptLine]:
        return self.lines[language]

    def needed(self, language: str) -> list[str]:
        return [*(line.key for line in self.lines[language]), *UNSPOKEN]


UNSPOKEN = [*(f"silence/{ms:04d}.wav" for ms in PAUSES_MS), *WAITING]
EVERYTHING = {"fa/hello/1.wav", "en/thanks/1.wav", "en/digit/5.wav", *UNSPOKEN}


def files(folder: Path) -> dict[str, bytes]:
    """All files of a folder with their content."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def test_build_makes_every_recording_once(tmp_path: Path) -> None:
    """The first build makes everything, the second nothing; progress counts to the end."""
    seen: list[tuple[int, int, str]] = []
    catalogue = SmallCatalogue()
    report = build(tmp_path, jobs=1, catalogue=catalogue, progress=lambda *step: seen.append(step))
    assert set(report.built) == EVERYTHING
    assert [step[0] for step in seen] == list(range(1, len(EVERYTHING) + 1))
    assert {step[1] for step in seen} == {len(EVERYTHING)}
    assert report.seconds_of_sound > 3
    assert check(tmp_path, "fa", catalogue) == check(tmp_path, "en", catalogue) == []
    before = files(tmp_path)
    again = build(tmp_path, jobs=1, catalogue=catalogue)
    assert again.built == []
    assert set(again.unchanged) == EVERYTHING
    assert files(tmp_path) == before


def test_parallel_build_gives_the_same_files(tmp_path: Path) -> None:
    """Two processes make byte for byte what one makes."""
    catalogue = SmallCatalogue()
    # More than one chunk, so that two processes really work.
    catalogue.lines["en"] += [ScriptLine(f"en/n/{n}.wav", f"number {n}", "") for n in range(20)]
    build(tmp_path / "one", jobs=1, catalogue=catalogue)
    build(tmp_path / "two", jobs=2, catalogue=catalogue)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_only_what_changed_is_built_again(tmp_path: Path) -> None:
    """A changed text, a lost file: just these are made; what nobody needs any more goes."""
    build(tmp_path, jobs=1, catalogue=SmallCatalogue())
    (tmp_path / "fa/hello/1.wav").unlink()
    changed = SmallCatalogue("Thanks a lot.")
    changed.lines["en"].pop()
    report = build(tmp_path, jobs=1, catalogue=changed)
    assert set(report.built) == {"fa/hello/1.wav", "en/thanks/1.wav"}
    assert report.removed == ["en/digit/5.wav"]
    assert not (tmp_path / "en/digit/5.wav").exists()


def test_one_language_leaves_the_others_alone(tmp_path: Path) -> None:
    """Building one language neither builds nor removes recordings of another."""
    build(tmp_path, jobs=1, catalogue=SmallCatalogue())
    report = build(tmp_path, ["fa"], jobs=1, catalogue=SmallCatalogue())
    assert report.built == report.removed == []
    assert "en/thanks/1.wav" in durations(tmp_path)


def test_unknown_language_is_refused(tmp_path: Path) -> None:
    """A typing mistake builds nothing."""
    with pytest.raises(PhraseError, match="'de'"):
        build(tmp_path, ["de"])
    assert files(tmp_path) == {}


def test_damaged_index_means_building_anew(tmp_path: Path) -> None:
    """An index that cannot be read is no reason to fail."""
    build(tmp_path, jobs=1, catalogue=SmallCatalogue())
    good = files(tmp_path)
    for damage in ("{", '{"recordings": {"fa/hello/1.wav": {}}}', "[]"):
        (tmp_path / "index.json").write_text(damage)
        assert set(build(tmp_path, jobs=1, catalogue=SmallCatalogue()).built) == EVERYTHING
        assert files(tmp_path) == good


def write_wav(
    path: Path, rate: int = 8000, channels: int = 1, width: int = 2, n: int = 800
) -> None:
    """A WAV file as some studio might deliver it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as out:
        out.setframerate(rate)
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.writeframes(b"\1" * n * channels * width)


def test_studio_recording_wins(tmp_path: Path) -> None:
    """A studio file takes the synthesiser's place, again when it changes, and back when it goes."""
    out, studio = tmp_path / "out", tmp_path / "studio"
    catalogue = SmallCatalogue()
    build(out, jobs=1, catalogue=catalogue)
    synthetic = (out / "fa/hello/1.wav").read_bytes()
    write_wav(studio / "fa/hello/1.wav")
    report = build(out, studio_dir=studio, jobs=1, catalogue=catalogue)
    assert report.studio == ["fa/hello/1.wav"]
    assert report.built == []
    assert durations(out)["fa/hello/1.wav"] == 100
    assert build(out, studio_dir=studio, jobs=1, catalogue=catalogue).studio == []
    write_wav(studio / "fa/hello/1.wav", n=1600)
    assert build(out, studio_dir=studio, jobs=1, catalogue=catalogue).studio == ["fa/hello/1.wav"]
    assert build(out, jobs=1, catalogue=catalogue).built == ["fa/hello/1.wav"]
    assert (out / "fa/hello/1.wav").read_bytes() == synthetic


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"rate": 44_100}, "44100 Hz, 1 channels, 16 bits; needs 8000 Hz, 1 channel, 16 bits"),
        ({"channels": 2}, "8000 Hz, 2 channels"),
        ({"width": 1}, "8 bits; needs"),
        ({"n": 0}, "empty"),
    ],
)
def test_wrong_studio_file_is_named_before_anything_is_built(
    tmp_path: Path, fault: dict[str, int], reason: str
) -> None:
    """A studio file of another format is an error that names it and what it should be."""
    write_wav(tmp_path / "studio/fa/hello/1.wav", **fault)
    with pytest.raises(RecordingError, match=reason) as caught:
        build(tmp_path / "out", studio_dir=tmp_path / "studio", catalogue=SmallCatalogue())
    assert "studio/fa/hello/1.wav" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_check_names_what_cannot_be_played(tmp_path: Path) -> None:
    """Missing and wrong files are named with the reason; the rest is fine."""
    catalogue = SmallCatalogue()
    build(tmp_path, jobs=1, catalogue=catalogue)
    (tmp_path / "en/thanks/1.wav").unlink()
    (tmp_path / "en/digit/5.wav").write_bytes(b"ID3 this is an MP3")
    write_wav(tmp_path / "silence/0300.wav", rate=16_000)
    problems = check(tmp_path, "en", catalogue)
    assert [problem.name for problem in problems] == [
        "en/thanks/1.wav",
        "en/digit/5.wav",
        "silence/0300.wav",
    ]
    assert problems[0] == Problem("en/thanks/1.wav", "missing")
    assert str(problems[2]).startswith("silence/0300.wav: 16000 Hz")


def test_durations_come_from_index_or_header(tmp_path: Path) -> None:
    """Lengths in milliseconds; a file put there by hand counts, a broken one does not."""
    build(tmp_path, jobs=1, catalogue=SmallCatalogue())
    (tmp_path / "index.json").unlink()
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    lengths = durations(tmp_path)
    assert lengths["silence/0900.wav"] == 900
    assert set(lengths) == EVERYTHING
    assert durations(tmp_path / "nowhere") == {}


def test_index_says_what_each_file_holds(tmp_path: Path) -> None:
    """The index holds text, source and length of each recording."""
    build(tmp_path, jobs=1, catalogue=SmallCatalogue())
    index = json.loads((tmp_path / "index.json").read_text(encoding="utf-8"))["recordings"]
    assert index["fa/hello/1.wav"]["text"] == "سلام."
    assert index["fa/hello/1.wav"]["source"] == "synthesiser"
    assert index["silence/0300.wav"]["ms"] == 300


def test_broken_off_build_keeps_what_is_done(tmp_path: Path) -> None:
    """A build that is interrupted goes on where it was, and leaves no half files."""

    def stop(done: int, _total: int, _name: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, jobs=1, catalogue=SmallCatalogue(), progress=stop)
    report = build(tmp_path, jobs=1, catalogue=SmallCatalogue())
    assert len(report.unchanged) == 2
    assert len(report.built) == len(EVERYTHING) - 2
    assert not list(tmp_path.rglob("*.part"))


def test_write_replaces_whole_files_only(tmp_path: Path) -> None:
    """A recording is written next to its place and then moved there; it reads back the same."""
    samples = array("h", range(-400, 400))
    wav.write(tmp_path / "a/b.wav", samples)
    assert wav.read(tmp_path / "a/b.wav") == samples
    assert wav.duration_ms(tmp_path / "a/b.wav") == 100
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.wav"]


def test_cut_off_recording_is_noticed(tmp_path: Path) -> None:
    """A file shorter than its header says is an error."""
    wav.write(tmp_path / "a.wav", array("h", range(800)))
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-100])
    with pytest.raises(RecordingError, match="cut off: 750 of 800"):
        wav.read(tmp_path / "a.wav")


@pytest.mark.parametrize("language", LANGUAGES)
def test_script_is_a_csv_for_the_studio(language: str) -> None:
    """Every recording is one row of key, text and context, as a spreadsheet opens it."""
    file = io.StringIO(newline="")
    count = script_csv(language, file)
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert len(rows) == count == len(load_catalogue().script(language))
    assert list(rows[0]) == ["key", "text", "context"]
    assert all(row["key"].startswith(f"{language}/") and row["text"] for row in rows)


def test_compiling_a_phrase_is_fast() -> None:
    """Choosing the recordings costs next to nothing in a call's CPU budget (1.5 ms)."""
    catalogue = load_catalogue()
    phrase = Phrase(
        "bill_summary",
        number="+982188776655",
        amount=899_999_999_999,
        period=3,
        year=1405,
        due=datetime.date(2026, 12, 5),
    )
    best = 1.0
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(20):
            catalogue.recordings(phrase, "ar")
        best = min(best, (time.perf_counter() - start) / 20)
    assert best < 30e-6
