"""Recordings that no phrase holds: as a slot's value, made, measured, told."""

from __future__ import annotations

import json
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.journal import Step
from callflows.call import Prompt
from callflows.journal import Journal, phrase_of
from sounds import (
    LANGUAGES,
    Library,
    Phrase,
    PhraseError,
    Recording,
    RecordingError,
    load_catalogue,
    wav,
)

CATALOGUE = load_catalogue()
NAME = "services/9091234567/1/fa/name.wav"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_recording_is_said_and_written(language: str) -> None:
    """A slot of type recording plays its file and shows its text, without the speaker's marks."""
    phrase = Phrase("said", what=Recording(NAME, "فالِ حافظ"))
    assert CATALOGUE.recordings(phrase, language) == (NAME, "silence/0300.wav")
    assert CATALOGUE.text(phrase, language) == "فال حافظ"


@pytest.mark.parametrize("value", ["a/b.wav", None, 3, ("a/b.wav", "x")])
def test_only_a_recording_fits_the_slot(value: object) -> None:
    """A bare name is no recording: the error names phrase and slot."""
    for render in (CATALOGUE.text, CATALOGUE.recordings):
        with pytest.raises(PhraseError, match=r"said: slot what \(recording\)"):
            render(Phrase("said", what=value), "fa")


@pytest.mark.parametrize(
    "name",
    [
        "name.wav",
        "/etc/name.wav",
        "../name.wav",
        "a/../name.wav",
        "a/..wav",
        "a//b.wav",
        "a/.hidden/b.wav",
        "a/b.mp3",
        "a/b!c.wav",
        "a/b c.wav",
        "a/b.wav\n",
        "a/فال.wav",
        "a/B.wav",
        "a/$b.wav",
        "a/" + "b" * 200 + ".wav",
    ],
)
def test_a_name_that_is_more_than_a_name_is_refused(name: str) -> None:
    """No path out of the sounds folder and no sign that a switch's command could mistake."""
    with pytest.raises(ValueError, match="recording's name"):
        Recording(name, "text")


@given(st.text(max_size=30))
def test_no_name_leaves_the_folder(name: str) -> None:
    """Whatever is taken for a name lies below the sounds folder."""
    try:
        recording = Recording(f"a/{name}.wav", "")
    except ValueError:
        return
    assert Path("/sounds", recording.name).resolve().is_relative_to("/sounds/a")


def test_the_journal_keeps_recordings() -> None:
    """A journal's step is JSON, and its phrase is made again from it, recording and all."""
    journal = Journal()
    phrase = Phrase("said", what=Recording(NAME, "فال حافظ"))
    journal.heard(Prompt((phrase,), "fa"))
    step: Step = journal.steps[0]
    (key, language, slots) = json.loads(json.dumps(step.data))["phrases"][0]
    assert phrase_of(key, language, slots) == phrase.spoken_in("fa")


def recording(name: str, text: str) -> Recording:
    return Recording(f"services/9091234567/1/{name}.wav", text)


def test_a_library_makes_measures_and_tells(tmp_path: Path) -> None:
    """What is made has a length and a text; made again, nothing changes; a new text is made."""
    library = Library(tmp_path)
    wanted = [recording("fa/name", "فال حافظ"), recording("en/name", "Hafez")]
    languages = {item.name: item.name.split("/")[3] for item in wanted}
    made = library.make("services/9091234567/1", wanted, languages)
    assert made.built == [item.name for item in wanted]
    for item in wanted:
        assert library.ms(item.name) == made.ms[item.name] > 200
        assert library.text(item.name) == item.text
    again = library.make("services/9091234567/1", wanted, languages)
    assert (again.built, again.unchanged, again.ms) == ([], made.built, made.ms)
    changed = [wanted[0], recording("en/name", "The oracle of Hafez")]
    third = library.make("services/9091234567/1", changed, languages)
    assert third.built == [changed[1].name]
    assert library.ms(changed[1].name) > made.ms[changed[1].name]
    assert CATALOGUE.with_library(library).text_of(changed[1].name) == "The oracle of Hafez"


def test_a_providers_recordings_are_taken(tmp_path: Path) -> None:
    """A WAV in the provider's folder is used; one of a wrong format is an error, before all."""
    folder = tmp_path / "given"
    wanted = [recording("fa/name", "فال حافظ")]
    languages = {wanted[0].name: "fa"}
    wav.write(folder / "fa/name.wav", array("h", [0] * 4000))
    library = Library(tmp_path / "sounds")
    made = library.make("services/9091234567/1", wanted, languages, folder)
    assert made.given == [wanted[0].name]
    assert library.ms(wanted[0].name) == 500
    (folder / "fa/name.wav").write_bytes(b"ID3 not a wav")
    with pytest.raises(RecordingError, match="not a PCM WAV"):
        library.make("services/9091234567/1", wanted, languages, folder)


def test_a_link_out_of_the_providers_folder_is_refused(tmp_path: Path) -> None:
    """A provider's folder cannot make us publish a file of ours."""
    wav.write(tmp_path / "secret.wav", array("h", [0] * 800))
    (tmp_path / "given/fa").mkdir(parents=True)
    (tmp_path / "given/fa/name.wav").symlink_to(tmp_path / "secret.wav")
    wanted = [recording("fa/name", "x")]
    with pytest.raises(RecordingError, match="outside"):
        Library(tmp_path / "sounds").make(
            "services/9091234567/1", wanted, {wanted[0].name: "fa"}, tmp_path / "given"
        )


def test_a_recording_that_nobody_knows_is_told_by_its_name(tmp_path: Path) -> None:
    """A caller's message has no text: a transcript shows which file played."""
    catalogue = CATALOGUE.with_library(Library(tmp_path))
    assert catalogue.text_of("messages/1/2.wav") == "[messages/1/2.wav]"
    with pytest.raises(RecordingError):
        catalogue.text_of("fa/none/1.wav")
    assert Library(tmp_path).prompt_ms(["messages/1/2.wav"]) == 0
