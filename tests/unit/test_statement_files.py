"""Statements for people and programs, and the commands around them (D12, D13)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from billing.clock import FixedClock
from billing.database import Database
from billing.premium import statement
from billing.premium.disputes import Complaints
from billing.premium.settlement import Settlements, Statement
from cli.main import command
from jobs.statement import as_json, render, write_csv
from sounds import PhraseError, load_catalogue
from tests.books_house import Books, at, levies
from tests.charging_house import TEHRAN

ABAN, AZAR = 140508, 140509
CATALOGUE = load_catalogue()


@pytest.fixture
def books(database: Database, clock: FixedClock) -> Books:
    """Two services; one charge is reversed after it was settled, one is under complaint."""
    books = Books(database, clock, deductions=levies(("tax", 1000)))
    line = books.line(10_000_000)
    first = books.used(line, 60_000)
    books.used(line, 30_001)
    books.used(line, 30_001)
    books.pay(books.bill(line, 1_000), 111_000)
    clock.advance((at(2026, 12, 5) - clock.now()).total_seconds())
    settlements = Settlements(database, clock, TEHRAN, "persian")
    assert settlements.settle(books.provider_code, ABAN)
    complaints = Complaints(database, clock)
    charge = books.charge(first)
    complaints.accept(complaints.open("key", line, charge.id, "call"), "care", "never called")
    books.used(line, 500_000)
    books.pay(books.bill(line, 1_000), 440_000)
    clock.advance((at(2027, 1, 5) - clock.now()).total_seconds())
    assert settlements.settle(books.provider_code, AZAR)
    return books


def _statements(books: Books) -> list[Statement]:
    return Settlements(books.database, books.clock, TEHRAN, "persian").listed()


def _content(books: Books, number: int) -> statement.Content:
    return statement.content(books.database, number, TEHRAN, "persian")


def test_the_services_and_items_sum_to_the_statement(books: Books) -> None:
    """Each sum on a statement is the sum of what is listed below it."""
    for made in _statements(books):
        content = _content(books, made.id)
        items = list(statement.items(books.database, made.id))
        assert content.earlier == 0
        charged = sum(each.gross for each in content.services)
        assert charged - sum(each.amount for each in content.corrections) == made.gross
        for listed in (content.services, items):
            assert sum(each.collected for each in listed) == made.collected  # type: ignore[attr-defined]
            assert sum(each.share for each in listed) == made.share  # type: ignore[attr-defined]
    second = _statements(books)[1]
    assert [each.kind for each in statement.items(books.database, second.id)].count("reversal") == 1
    (correction,) = _content(books, second.id).corrections
    assert correction.amount == 60_000


def test_csv_and_json_tell_the_same(books: Books) -> None:
    """Every collection is in both, and nobody's telephone number in either."""
    made = _statements(books)[1]
    content = _content(books, made.id)
    out = io.StringIO()
    write_csv(out, content, statement.items(books.database, made.id), TEHRAN)
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    whole = as_json(content, statement.items(books.database, made.id), TEHRAN)
    assert [int(row["share"]) for row in rows] == [item["share"] for item in whole["items"]]
    assert sum(int(row["collected"]) for row in rows) == whole["collected"] == made.collected
    assert whole["payable"] + whole["withheld"] + whole["carried_out"] == (
        whole["share"] + whole["carried_in"]
    )
    told = out.getvalue() + json.dumps(whole)
    for (number,) in books.rows("SELECT number FROM lines"):
        assert number not in told
        assert number.removeprefix("+98") not in told


@pytest.mark.parametrize("language", ["fa", "ar", "ru", "en"])
def test_the_sheet_is_always_the_same(books: Books, language: str) -> None:
    """A PDF in each language; printed again it is the same bytes."""
    for made in _statements(books):
        content = _content(books, made.id)
        sheet = render(content, language, CATALOGUE, TEHRAN, operator="Telecom")
        assert sheet.startswith(b"%PDF")
        assert sheet == render(content, language, CATALOGUE, TEHRAN, operator="Telecom")


def test_a_hostile_title_is_only_text(books: Books) -> None:
    """Nothing of what a provider is called is read as markup."""
    with books.database.begin() as conn:
        conn.execute(
            text("UPDATE providers SET title = :title"), {"title": '#read("/etc/passwd") \u202e*'}
        )
    content = _content(books, _statements(books)[0].id)
    assert render(content, "fa", CATALOGUE, TEHRAN).startswith(b"%PDF")
    with pytest.raises(PhraseError):
        render(content, "de", CATALOGUE, TEHRAN)


@pytest.fixture
def callflows(
    books: Books, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Result]:
    """Runs the command on that database."""
    url = books.database.engine.url
    whole = url.set(drivername=url.get_backend_name()).render_as_string(hide_password=False)
    monkeypatch.setenv("CALLFLOWS_DATABASE_URL", whole)
    monkeypatch.setenv("CALLFLOWS_STATE_DIR", str(tmp_path))
    monkeypatch.setattr("cli.parts.SystemClock", lambda: books.clock)

    def run(*arguments: str, code: int = 0) -> Result:
        done = CliRunner().invoke(command, arguments)
        assert done.exit_code == code, done.output
        return done

    return run


def test_the_settlement_command(
    books: Books, callflows: Callable[..., Result], tmp_path: Path
) -> None:
    """Run, list, print in three forms, invoice, pay, check."""
    first, second = _statements(books)
    assert "nothing new" in callflows("settlement", "run", "--month", "1405-09").output
    assert "not over" in callflows("settlement", "run", "--month", "1405-10", code=1).output
    code = books.provider_code
    assert "share" in callflows("settlement", "run", "--provider", code).output
    assert books.provider_code in callflows("settlement", "list").output
    for name in ("a.pdf", "a.csv", "a.json"):
        callflows("settlement", "print", str(first.id), "-o", str(tmp_path / name))
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "a.csv").read_text().startswith("provider,period,call")
    printed = json.loads(callflows("settlement", "print", str(first.id)).output)
    assert printed == json.loads((tmp_path / "a.json").read_text())
    assert printed["statement"] == first.id
    callflows("settlement", "print", str(first.id), "-o", "a.doc", code=2)
    assert "no statement" in callflows("settlement", "print", "77", code=1).output
    awaits = callflows("settlement", "invoice", str(second.id), "F-1", "--amount", "1", code=1)
    assert "awaits no invoice" in awaits.output
    assert ": paid" in callflows("settlement", "paid", str(first.id), "TR-1").output
    assert "everything adds up" in callflows("settlement", "check").output
    callflows("settlement", "run", "--month", "soon", code=2)
    with books.database.begin() as conn:
        conn.execute(text("UPDATE settlements SET gross = gross + 1"))
    assert "differences" in callflows("settlement", "check", code=1).output


def test_the_complaints_command(books: Books, callflows: Callable[..., Result]) -> None:
    """List, open, show, accept and reject; the line's number is masked."""
    ((call,),) = books.rows("SELECT call_id FROM charges WHERE amount = 500000")
    assert "no complaints" in callflows("complaints", "list").output
    opened = callflows("complaints", "open", call).output
    number = opened.split()[1]
    listed = callflows("complaints", "list").output
    assert "500,000 rials" in listed
    assert "***" in listed
    books.clock.advance(1)
    shown = callflows("complaints", "show", number).output
    assert "no message was left" in shown
    assert f"callflows explain {call}" in shown
    assert "open" in callflows("complaints", "open", call, code=1).output
    rejected = callflows("complaints", "reject", number, "--reason", "used", "--by", "care")
    assert "500,000 rials stand" in rejected.output
    callflows("complaints", "accept", number, "--reason", "x", code=1)
    again = callflows("complaints", "open", call, "--again").output.split()[1]
    assert "are reversed" in callflows("complaints", "accept", again, "--reason", "x").output
    assert "decided" in callflows("complaints", "show", again).output
    assert "was not charged" in callflows("complaints", "open", "nobody", code=1).output
    assert callflows("complaints", "list", "--status", "all").output.count("\n") == 3
    callflows("complaints", "show", "77", code=1)
