"""`callflows journal` as operations read it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from billing.database import Database
from billing.journal import CallHeader, Journal
from cli.main import command


def test_a_caller_without_a_number_has_one_name(
    tmp_path: Path, migrated_sqlite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Withheld, empty or no number at all is one word, in both forms; a number is masked."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "calls.db").write_bytes(migrated_sqlite.read_bytes())
    url = f"sqlite:///{tmp_path / 'calls.db'}"
    database = Database(url)
    header = CallHeader("c", datetime.now(UTC), None, None, "2000", None, "fa", "completed")
    callers = {None: "anonymous", "anonymous": "anonymous", "": "anonymous", "a'b": "anonymous",
               "02188776655": "021887***6655"}  # fmt: skip
    for place, caller in enumerate(callers):
        Journal(database).write(replace(header, call_id=f"c{place}", caller=caller), [])
    database.close()
    environment = {"CALLFLOWS_DATABASE_URL": url, "CALLFLOWS_STATE_DIR": str(tmp_path)}
    shown = CliRunner().invoke(command, ["journal"], env=environment).stdout.splitlines()
    told = {line.split()[0]: line.split()[3] for line in shown}
    listed = json.loads(CliRunner().invoke(command, ["journal", "--json"], env=environment).stdout)
    expected = {f"c{place}": word for place, word in enumerate(callers.values())}
    assert told == {each["call_id"]: each["caller"] for each in listed} == expected
