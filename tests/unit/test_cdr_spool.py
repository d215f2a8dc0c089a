"""The disk spool of a switch is taken in, and nothing of it is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from billing import cdrs
from billing.cdr_document import LONGEST, parse
from billing.cdr_spool import take_in
from billing.database import Database
from billing.errors import Unavailable
from tests import cdr_forms

NOW = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """A spool as mod_json_cdr leaves it: one record in each dress, and other files."""
    folder = tmp_path / "spool"
    folder.mkdir()
    dresses = cdr_forms.dresses(cdr_forms.body("far-leg"))
    (folder / "a_1.cdr.json").write_bytes(cdr_forms.body("transferred") + b"\n")
    (folder / "2.cdr.json").write_bytes(dresses["spool of form"][1])
    (folder / "3.cdr.json").write_bytes(dresses["spool of base64"][1])
    (folder / "notes.txt").write_text("not ours")
    rotated = folder / "2026-11-21-21-00-00"
    rotated.mkdir()
    (rotated / "a_4.cdr.json").write_bytes(cdr_forms.body("gave-up"))
    return folder


def _all(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def _old(file: Path) -> None:
    moment = (NOW - timedelta(hours=1)).timestamp()
    os.utime(file, (moment, moment))


def test_every_record_is_taken_and_moved(database: Database, spool: Path) -> None:
    """In whatever dress and subfolder; a record that lies there twice is there once."""
    result = take_in(database, spool, NOW)
    assert (result.stored, result.repeated, result.waiting, result.rejected) == (3, 1, 0, [])
    assert _all(spool) == [
        "notes.txt",
        "taken/2.cdr.json",
        "taken/3.cdr.json",
        "taken/a_1.cdr.json",
        "taken/a_4.cdr.json",
    ]
    assert (spool / "taken").stat().st_mode & 0o777 == 0o700
    again = take_in(database, spool, NOW)
    assert (again.stored, again.repeated) == (0, 0)


def test_taken_files_can_be_removed(database: Database, spool: Path) -> None:
    """They hold what callers pressed; whoever does not want them has them removed."""
    assert take_in(database, spool, NOW, remove=True).stored == 3
    assert _all(spool) == ["notes.txt"]


def test_bad_files_are_put_aside_and_named(database: Database, spool: Path) -> None:
    """With the reason and under their names, each; the others are taken all the same."""
    (spool / "bad1.cdr.json").write_text("{nonsense")
    (spool / "bad2.cdr.json").write_bytes(b"{" + b" " * LONGEST)
    conflict = cdr_forms.document("transferred")
    conflict["variables"]["billsec"] = "99"
    (spool / "a_9.cdr.json").write_bytes(cdr_forms.dumped(conflict))
    for name in ("bad1", "bad2", "a_9"):
        _old(spool / f"{name}.cdr.json")
    result = take_in(database, spool, NOW)
    assert result.stored == 3
    assert {each.file.name: each.reason.split(";")[0] for each in result.rejected} == {
        "bad1.cdr.json": "not JSON",
        "bad2.cdr.json": f"longer than {LONGEST} bytes",
        "a_9.cdr.json": "call 42a1c748-e8c7-4e56-b95a-bc4b642ddd12 has a record with other content",
    }
    assert [name for name in _all(spool) if name.startswith("bad/")] == [
        "bad/a_9.cdr.json",
        "bad/bad1.cdr.json",
        "bad/bad2.cdr.json",
    ]


def test_a_file_that_is_being_written_waits(database: Database, tmp_path: Path) -> None:
    """The switch writes in place: half a record of just now is left for the next time."""
    file = tmp_path / "1.cdr.json"
    file.write_bytes(cdr_forms.body("gave-up")[:500])
    os.utime(file, (NOW.timestamp(), NOW.timestamp()))
    result = take_in(database, tmp_path, NOW)
    assert (result.waiting, result.rejected, file.exists()) == (1, [], True)
    file.write_bytes(cdr_forms.body("gave-up"))
    assert take_in(database, tmp_path, NOW).stored == 1


def test_a_name_that_is_taken_overwrites_nothing(database: Database, tmp_path: Path) -> None:
    """A file of the same name that was taken before stays beside the new one."""
    for name in ("gave-up", "transferred", "gave-up"):
        (tmp_path / "1.cdr.json").write_bytes(cdr_forms.body(name))
        take_in(database, tmp_path, NOW)
    kept = [(tmp_path / "taken" / name).read_bytes() for name in os.listdir(tmp_path / "taken")]
    assert sorted(kept) == sorted(map(cdr_forms.body, ("gave-up", "transferred", "gave-up")))


def test_only_plain_files_are_opened(database: Database, tmp_path: Path) -> None:
    """Neither a link that leads elsewhere nor a pipe that never ends is read."""
    elsewhere = tmp_path / "secret"
    elsewhere.write_bytes(cdr_forms.body("gave-up"))
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / "link.cdr.json").symlink_to(elsewhere)
    os.mkfifo(spool / "pipe.cdr.json")
    result = take_in(database, spool, NOW)
    assert result.stored == 0
    assert [each.file.name for each in result.rejected] == ["link.cdr.json", "pipe.cdr.json"]
    assert elsewhere.exists()


def test_a_file_that_cannot_be_moved_ends_it(
    database: Database, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One error rather than the same thousand records again each minute; all are still there."""
    before = _all(spool)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refused)
        with pytest.raises(PermissionError):
            take_in(database, spool, NOW)
    assert _all(spool) == before
    assert take_in(database, spool, NOW).repeated == 2


def test_the_limit_leaves_the_rest(database: Database, spool: Path) -> None:
    """A chore takes a few at a time; the next goes on."""
    assert take_in(database, spool, NOW, limit=1).stored == 1
    assert take_in(database, spool, NOW).stored == 2


def test_a_folder_that_is_not_there(database: Database, tmp_path: Path) -> None:
    """Says so, rather than finding nothing."""
    with pytest.raises(FileNotFoundError):
        take_in(database, tmp_path / "nowhere", NOW)


def test_files_stay_while_the_database_is_away(
    open_database: Callable[..., Database], spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file is moved before its record is stored; next time all are taken."""
    database = open_database()
    before = _all(spool)

    def away(*_: object) -> bool:
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(cdrs, "store", away)
        with pytest.raises(Unavailable):
            take_in(database, spool, NOW)
    assert _all(spool) == before
    # Killed between storing and moving: taken again, and there once.
    cdrs.store(database, parse(cdr_forms.body("transferred")), NOW)
    result = take_in(database, spool, NOW)
    assert (result.stored, result.repeated) == (2, 2)
