"""`callflows missed` as a person uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import command

SETTINGS = """
state_dir = "var"
missed_spool = "spool"
"""


@pytest.fixture
def spool(tmp_path, monkeypatch) -> Path:
    """A configured house whose switch has noted two calls of one line, and an anonymous one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "callflows.toml").write_text(SETTINGS)
    folder = tmp_path / "spool"
    folder.mkdir()
    for number, caller in enumerate(("02188776655", "+982188776655", "anonymous")):
        note = {
            "format": 1,
            "call_id": f"call-{number}",
            "at": f"2026-11-21T08:0{number}:00+00:00",
            "caller": caller,
            "dialled": "2000",
            "language": "ru",
            "state": "menu",
        }
        (folder / f"call-{number}.json").write_text(json.dumps(note))
    return folder


def run(*words: str):
    return CliRunner().invoke(command, ["missed", *words])


def test_the_list_takes_new_notes_in_and_masks_numbers(spool):
    """One line for the caller of two calls, in local time; no whole number anywhere."""
    done = run()
    assert done.exit_code == 0
    header, row, rest = done.output.splitlines()
    assert header.split()[:2] == ["id", "caller"]
    assert row.split()[1:3] == ["+98218***6655", "2"]
    assert "2026-11-21 11:30" in row
    assert row.split()[-4:] == ["ru", "2000", "menu", "-"]
    assert rest == "and 1 missed calls without a number"
    assert "2188776655" not in done.output
    assert list(spool.iterdir()) == []


def test_whole_numbers_only_when_asked_for(spool):
    """Whoever calls back needs them."""
    assert "+982188776655" in run("--full").output


def test_done_takes_a_caller_off_the_list(spool):
    """By the id of the line; an unknown id is an error with the way out."""
    row = run().output.splitlines()[1]
    assert run("done", row.split()[0]).output == "2 missed calls are done\n"
    assert "nobody is to be called back" in run().output
    wrong = run("done", "4711")
    assert wrong.exit_code == 1
    assert "callflows missed" in wrong.output


def test_take_in_counts_and_names_what_is_wrong(spool):
    """Exit code 1 for a timer's mail; again, nothing is new."""
    (spool / "torn.json").write_text("{")
    first = run("take-in", str(spool))
    assert first.exit_code == 1
    assert "torn.json: not a JSON object" in first.output
    assert "3 taken in, 0 known, 1 rejected" in first.output
    again = run("take-in")
    assert again.exit_code == 0
    assert "0 taken in" in again.output


def test_a_spool_that_is_not_there_is_an_error(spool):
    """Not an empty list: the notes may be somewhere else."""
    for note in spool.iterdir():
        note.unlink()
    spool.rmdir()
    done = run()
    assert done.exit_code == 1
    assert "missed_spool" in done.output
