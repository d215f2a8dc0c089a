"""`callflows credit` and `callflows owner` as operations use them, with wrong input too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from billing.clock import SystemClock
from billing.database import Database
from cli.main import command
from tests.owner_house import OwnerHouse

Run = Callable[..., Result]
LINE = "02188776655"
PRIVATE = ("Maryam", "Rezaei", "Yaghoubi", "1415893411", "9121112233")


@pytest.fixture
def house(tmp_path: Path, migrated_sqlite: Path) -> Iterator[OwnerHouse]:
    (tmp_path / "calls.db").write_bytes(migrated_sqlite.read_bytes())
    database = Database(f"sqlite:///{tmp_path / 'calls.db'}")
    yield OwnerHouse(database, SystemClock())
    database.close()


@pytest.fixture
def run(house: OwnerHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `callflows` with words, in a folder of its own; nothing private is ever shown."""
    monkeypatch.chdir(tmp_path)
    environment = {
        "CALLFLOWS_DATABASE_URL": str(house.database.engine.url),
        "CALLFLOWS_STATE_DIR": str(tmp_path),
    }

    def invoke(*words: str) -> Result:
        done = CliRunner().invoke(command, words, env=environment)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert not [each for each in PRIVATE if each in done.output]
        return done

    return invoke


def test_credit(run, house):
    """Set, shown, and listed with its reason."""
    assert "nothing was asked for" in run("credit", "requests", LINE).output
    assert "2,000,000" in run("credit", "set", LINE, "2000000", "--reason", "a letter").output
    shown = run("credit", "show", LINE).output
    assert "available        2,000,000 rials" in shown
    assert "by policy          500,000 rials" in shown
    listed = run("credit", "requests", LINE).output
    assert "operations" in listed
    assert "a letter" in listed


def test_credit_is_set_anew_each_time(run, house):
    """Two decisions are two, also with one amount."""
    for _ in range(2):
        run("credit", "set", LINE, "2000000", "--reason", "a letter")
    assert len(house.credit_requests.requests(house.line().id)) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("credit", "show", "02199999999"), "no such line"),
        (("credit", "show", "abc"), "LINE"),
        (("credit", "set", LINE, "-1", "--reason", "x"), "Error"),
        (("credit", "set", LINE, "1.5", "--reason", "x"), "Error"),
        (("credit", "set", LINE, "1000"), "--reason"),
        (("owner", "revoke", LINE, "17"), "no approval 17"),
        (("owner", "revoke", LINE, "99999999999999999999"), "Error"),
    ],
)
def test_wrong_words(run, words, says):
    """A clear end, nothing written."""
    done = run(*words)
    assert done.exit_code
    assert says in done.output


def test_owner(run, house):
    """Shown, blocked, unblocked; approvals revoked; PIN forgotten."""
    request = house.ask()
    shown = run("owner", "show", LINE).output
    assert "blocked     no" in shown
    assert "request     9091234567" in shown
    assert request.number not in shown
    house.approvals.answer_by_phone(house.line().id, request.id, True, "phone")
    (approval,) = house.approvals.of_line(house.line().id)
    assert f"approval    {approval.id}: 9091234567, 500,000" in run("owner", "show", LINE).output
    assert "revoked" in run("owner", "revoke", LINE, str(approval.id)).output
    assert house.approvals.of_line(house.line().id) == []
    run("owner", "block", LINE)
    assert "by the operator" in run("owner", "show", LINE).output
    run("owner", "unblock", LINE)
    assert house.owners.view(house.line().id).blocked_by is None
    assert "no PIN was set" in run("owner", "forget-pin", LINE).output
