"""Missed calls: taken in once whatever happens, listed by caller, done when called back."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from billing import missed
from billing.errors import Unavailable
from billing.journal import CallHeader, Journal
from billing.schema import missed_calls


@pytest.fixture
def spool(tmp_path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


@pytest.fixture
def miss(spool, clock):
    """Leaves the note of a missed call, as the switch's script does."""

    def leave(call_id: str, **more: object) -> Path:
        note = {
            "format": 1,
            "call_id": call_id,
            "at": clock.now().isoformat(),
            "caller": "02188776655",
            "dialled": "2000",
            "language": "fa",
            "flow": "",
            "state": "",
        }
        file = spool / f"{call_id}.json"
        file.write_text(json.dumps(note | more))
        return file

    return leave


def count(database) -> int:
    with database.read() as conn:
        return conn.execute(select(func.count()).select_from(missed_calls)).scalar_one()


def test_notes_are_taken_in_and_removed(database, spool, miss, clock):
    """Each file becomes one row; the caller's number is kept in international form."""
    miss("a")
    miss("b", caller="+989123456789", language="ru", state="menu")
    intake = missed.take_in(database, spool)
    assert (intake.taken, intake.known, intake.rejected) == (2, 0, [])
    assert list(spool.iterdir()) == []
    first, second = sorted(missed.call_backs(database, 10), key=lambda entry: entry.caller)
    assert (first.caller, first.count, first.state) == ("+982188776655", 1, None)
    assert (second.caller, second.language, second.state) == ("+989123456789", "ru", "menu")
    assert first.first_at == first.last_at == clock.now()


def test_a_note_that_comes_again_counts_once(database, spool, miss):
    """A crash between commit and removal: the file is there again, the call is not."""
    miss("a")
    missed.take_in(database, spool)
    miss("a")
    intake = missed.take_in(database, spool)
    assert (intake.taken, intake.known) == (0, 1)
    assert list(spool.iterdir()) == []
    assert count(database) == 1


def test_two_may_take_in_at_once(database, spool, miss, in_threads):
    """A timer and a person: every call once, no error, nothing left."""
    for number in range(50):
        miss(f"call-{number}")
    results = in_threads([lambda: missed.take_in(database, spool) for _ in range(3)])
    assert all(isinstance(result, missed.Intake) for result in results)
    assert sum(result.taken for result in results) == count(database) == 50
    assert list(spool.iterdir()) == []


def test_nothing_is_removed_when_nothing_was_committed(database, spool, miss, monkeypatch):
    """A database that is away leaves the only note of a call where it is."""
    file = miss("a")

    def away(work):
        raise Unavailable("away")

    monkeypatch.setattr(database, "write", away)
    with pytest.raises(Unavailable):
        missed.take_in(database, spool)
    assert file.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "not a JSON object"),
        ("[1, 2]", "not a JSON object"),
        ("[" * 10_000, "not a JSON object"),
        (json.dumps({"format": 1, "call_id": "x" * 20_000}), "not a JSON object"),
        (json.dumps({"format": 2}), "format"),
        (json.dumps({"format": 1, "call_id": 7}), "no call_id"),
        (json.dumps({"format": 1, "call_id": "a'; --"}), "no call_id"),
        (json.dumps({"format": 1, "call_id": "a", "at": "yesterday"}), "no time"),
        (json.dumps({"format": 1, "call_id": "a", "at": "2026-11-21T08:00:00"}), "no time"),
        (json.dumps({"format": 1, "call_id": "a", "at": "9999-12-31T23:59:59-23:00"}), "no time"),
    ],
)
def test_a_file_that_is_no_note_is_set_aside(database, spool, miss, content, reason):
    """It is named with a reason, kept as *.bad, and keeps no good note from being taken in."""
    (spool / "0.json").write_text(content)
    miss("good")
    intake = missed.take_in(database, spool)
    assert intake.taken == 1
    ((name, why),) = intake.rejected
    assert name == "0.json"
    assert reason in why
    assert [file.name for file in spool.iterdir()] == ["0.json.bad"]
    assert missed.take_in(database, spool).rejected == []


def test_a_note_being_written_is_left_alone(database, spool):
    """The script writes aside and renames: what begins with a dot is not finished."""
    (spool / ".a.part").write_text("{")
    (spool / ".hidden.json").write_text("{")
    assert missed.take_in(database, spool) == missed.Intake()
    assert len(list(spool.iterdir())) == 2


def test_hostile_values_become_harmless(database, spool, miss):
    """Whatever a caller's equipment sends: no number, no language, NUL and surrogates cut out."""
    miss("a", caller="anonymous", dialled="20\x0000\udc80" + "9" * 100, language="xx", state=5)
    miss("b", caller={"a": 1}, dialled=None, language=None)
    assert missed.take_in(database, spool).taken == 2
    assert missed.call_backs(database, 10) == []
    assert missed.anonymous(database) == 2


def test_callers_are_listed_once_the_longest_waiting_first(database, spool, miss, clock):
    """Three calls of one caller are one call back, with the facts of the latest."""
    miss("z", state="")
    clock.advance(60)
    miss("m", caller="09123456789")
    clock.advance(60)
    miss("b", language="en", state="menu")
    clock.advance(60)
    # Names do not sort by time, and neither do intakes: an earlier call may come later.
    missed.take_in(database, spool)
    found = missed.call_backs(database, 10)
    assert [(each.caller, each.count) for each in found] == [
        ("+982188776655", 2),
        ("+989123456789", 1),
    ]
    assert (found[0].language, found[0].state) == ("en", "menu")
    assert found[0].last_at - found[0].first_at == timedelta(seconds=120)
    assert len(missed.call_backs(database, 1)) == 1


@pytest.mark.parametrize("caller", ["02188776655", "+982188776655"])
def test_who_has_been_served_since_is_marked(database, spool, miss, clock, caller):
    """A completed call after the missed one, in whichever form the network gives the number."""
    journal = Journal(database)

    def call(call_id: str, outcome: str | None) -> None:
        journal.write(
            CallHeader(call_id, clock.now(), None, caller, "2000", None, "fa", outcome), []
        )

    call("before", "completed")
    clock.advance(10)
    miss("a")
    missed.take_in(database, spool)
    clock.advance(10)
    call("failed", "trouble")
    assert missed.call_backs(database, 10)[0].served_at is None
    clock.advance(10)
    served = clock.now()
    call("good", "completed")
    clock.advance(10)
    call("another", "completed")
    assert missed.call_backs(database, 10)[0].served_at == served


def test_done_takes_the_earlier_calls_too_and_no_later_one(database, spool, miss, clock):
    """Who was called back about the second call is not called about the first; a third stays."""
    for call_id in ("a", "b"):
        miss(call_id)
        clock.advance(60)
    missed.take_in(database, spool)
    (entry,) = missed.call_backs(database, 10)
    miss("c")
    miss("d", caller="09123456789")
    missed.take_in(database, spool)
    assert missed.done(database, entry.id, clock.now()) == 2
    assert missed.done(database, entry.id, clock.now()) == 0
    assert sorted((each.caller, each.count) for each in missed.call_backs(database, 10)) == [
        ("+982188776655", 1),
        ("+989123456789", 1),
    ]


def test_done_with_an_unknown_id_is_an_error(database, clock):
    """A typing error must not look like success."""
    with pytest.raises(LookupError, match="17"):
        missed.done(database, 17, clock.now())


def test_a_folder_that_cannot_be_read_is_an_error(database, tmp_path):
    """Not "no missed calls"."""
    with pytest.raises(OSError, match="nowhere"):
        missed.take_in(database, tmp_path / "nowhere")
