"""The script inside the switch for calls that found no worker, with a fake `freeswitch` module."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import types
from datetime import UTC, datetime
from pathlib import Path

import pytest

from callflows.phrases import TECHNICAL_TROUBLE
from sounds import load_catalogue

SCRIPT = Path(__file__).parents[2] / "conf" / "freeswitch" / "scripts" / "callflows_apology.py"
CALL_ID = "212f90fe-1c39-4d64-918c-e87eeecd96a8"


class Session:
    """What mod_python3 hands to a script, as far as this one uses it; notes what was done."""

    def __init__(self, variables: dict[str, str]) -> None:
        self.variables = variables
        self.done: list[tuple[str, ...]] = []
        self.noted_first = False

    def getVariable(self, name: str) -> str | None:
        value = self.variables.get(name)
        if value == "not UTF-8":
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid")
        return value

    def answer(self) -> None:
        self.noted_first = bool(list(Path(self.variables["callflows_missed_spool"]).glob("*.json")))
        self.done.append(("answer",))

    def execute(self, application: str, argument: str) -> None:
        self.done.append((application, argument))

    def hangup(self, cause: str) -> None:
        self.done.append(("hangup", cause))


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def script(monkeypatch, log, tmp_path):
    """The script as a module; its `freeswitch` notes log lines and has no global variables."""
    freeswitch = types.ModuleType("freeswitch")
    freeswitch.consoleLog = lambda level, text: log.append(f"{level} {text}")
    freeswitch.getGlobalVariable = {
        "callflows_missed_spool": str(tmp_path / "spool"),
        "callflows_sounds_dir": str(tmp_path / "sounds"),
        "callflows_default_language": "fa",
    }.get
    monkeypatch.setitem(sys.modules, "freeswitch", freeswitch)
    spec = importlib.util.spec_from_file_location("callflows_apology", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def session(tmp_path) -> Session:
    """A call to 2000, with recordings in four languages and a spool."""
    (tmp_path / "spool").mkdir()
    catalogue = load_catalogue()
    for language in ("fa", "ar", "ru", "en"):
        for name in catalogue.recordings(TECHNICAL_TROUBLE, language):
            file = tmp_path / "sounds" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"RIFF")
    return Session(
        {
            "uuid": CALL_ID,
            "caller_id_number": "02188776655",
            "destination_number": "9990",
            "callflows_dialled": "2000",
            "callflows_missed_spool": str(tmp_path / "spool"),
            "callflows_sounds_dir": str(tmp_path / "sounds"),
            "callflows_default_language": "fa",
        }
    )


def played(session: Session, folder: Path) -> list[str]:
    (argument,) = [each[1] for each in session.done if each[0] == "playback"]
    files = argument.removeprefix("file_string://").split("!")
    return [str(Path(file).relative_to(folder / "sounds")) for file in files]


def test_a_call_is_noted_then_apologised_to_then_ended(script, session, tmp_path):
    """The note comes first: who hangs up at the first word is on the list, too."""
    script.handler(session, "")
    assert [each[0] for each in session.done] == ["answer", "playback", "hangup"]
    assert session.noted_first
    assert played(session, tmp_path) == list(load_catalogue().recordings(TECHNICAL_TROUBLE, "fa"))


def test_the_note_says_who_called_what_and_when(script, session, tmp_path):
    """One complete JSON file with the call's id, a UTC time, and the number first dialled."""
    before = datetime.now(UTC)
    script.handler(session, "")
    (file,) = (tmp_path / "spool").iterdir()
    assert file.name == f"{CALL_ID}.json"
    note = json.loads(file.read_text())
    at = datetime.fromisoformat(note.pop("at"))
    assert (at - before).total_seconds() < 10
    assert note == {
        "format": 1,
        "call_id": CALL_ID,
        "caller": "02188776655",
        "dialled": "2000",
        "language": "",
        "flow": "",
        "state": "",
    }


@pytest.mark.parametrize("language", ["ar", "ru", "en"])
def test_the_callers_language_is_kept(script, session, tmp_path, language):
    """A conversation that had begun ends in its language (peers: the language holds everywhere)."""
    session.variables["callflows_language"] = language
    script.handler(session, "")
    assert {name.split("/")[0] for name in played(session, tmp_path)} == {language, "silence"}


def test_in_the_middle_of_a_conversation_nothing_false_is_said(script, session, tmp_path):
    """ "Nothing has been charged or sent" may be wrong by then: that sentence is left out."""
    session.variables |= {"callflows_state": "promise", "callflows_flow": "bill"}
    script.handler(session, "")
    names = played(session, tmp_path)
    assert "fa/technical_trouble/3.wav" not in names
    assert "fa/technical_trouble/4.wav" in names
    note = json.loads(next((tmp_path / "spool").glob("*.json")).read_text())
    assert (note["flow"], note["state"]) == ("bill", "promise")


def test_the_sentence_that_is_left_out_is_the_claim():
    """The script counts sentences: a reworded phrase must keep its order."""
    texts = [
        load_catalogue().text_of(f"en/technical_trouble/{sentence}.wav") for sentence in (2, 3, 4)
    ]
    assert "cannot serve" in texts[0]
    assert "charged" in texts[1]
    assert "call again" in texts[2]


def test_an_unknown_language_is_the_default(script, session, tmp_path):
    """A variable that names no language of ours does no harm, and is not written down."""
    session.variables["callflows_language"] = "../../etc"
    script.handler(session, "")
    assert played(session, tmp_path)[0] == "fa/technical_trouble/1.wav"
    assert json.loads(next((tmp_path / "spool").glob("*.json")).read_text())["language"] == ""


def test_a_language_without_recordings_falls_back(script, session, tmp_path):
    """Half an apology is none: the next language that is whole is taken."""
    (tmp_path / "sounds/fa/technical_trouble/2.wav").unlink()
    script.handler(session, "")
    assert played(session, tmp_path)[0] == "ar/technical_trouble/1.wav"


def test_without_recordings_the_dialplan_goes_on(script, session, tmp_path, log):
    """The script does not hang up: the dialplan's own sentence follows. The call is noted."""
    for file in (tmp_path / "sounds").rglob("1.wav"):
        file.unlink()
    script.handler(session, "")
    assert session.done == []
    assert len(list((tmp_path / "spool").glob("*.json"))) == 1
    assert "callflows_sounds_dir" in log[0]


@pytest.mark.parametrize(
    "change",
    [
        {"callflows_missed_spool": ""},
        {"callflows_missed_spool": "/nowhere/at/all"},
        {"uuid": "../../escape"},
        {"uuid": ""},
    ],
)
def test_a_note_that_cannot_be_written_costs_nobody_the_apology(
    script, session, tmp_path, log, change
):
    """A full disk, a wrong folder or an odd call id: logged, and the caller hears the words."""
    folder = session.variables["callflows_missed_spool"]
    session.variables |= change
    if change.get("callflows_missed_spool") is not None:
        session.answer = lambda: session.done.append(("answer",))
    script.handler(session, "")
    assert session.done[-1] == ("hangup", "NORMAL_TEMPORARY_FAILURE")
    assert "not noted" in log[0]
    assert list(Path(folder).iterdir()) == []


def test_a_write_that_fails_leaves_nothing_behind(script, session, tmp_path, monkeypatch):
    """The note is complete or not there: a crash before the rename leaves no half file."""

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    script.handler(session, "")
    assert list((tmp_path / "spool").iterdir()) == []


def test_text_that_is_not_utf8_is_left_out(script, session, tmp_path):
    """A caller's equipment can put any byte into a header."""
    session.variables["caller_id_number"] = "not UTF-8"
    script.handler(session, "")
    assert json.loads(next((tmp_path / "spool").glob("*.json")).read_text())["caller"] == ""


def test_the_doctors_question_is_answered(script, session, tmp_path):
    """+OK where everything is at hand; else which variable is wrong."""
    answers: list[str] = []
    stream = types.SimpleNamespace(write=answers.append)
    script.fsapi("na", stream, None, "check")
    (tmp_path / "spool").rmdir()
    script.fsapi("na", stream, None, "check")
    (tmp_path / "spool").mkdir()
    for file in (tmp_path / "sounds").rglob("1.wav"):
        file.unlink()
    script.fsapi("na", stream, None, "check")
    assert answers[0] == "+OK"
    assert answers[1].startswith("callflows_missed_spool: no such folder")
    assert answers[2].startswith("callflows_sounds_dir:")
