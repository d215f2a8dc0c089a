"""`callflows service`, `provider` and `tree` as they are used, with wrong input, too."""

from __future__ import annotations

import csv
import json
import shutil
from array import array
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from click.testing import CliRunner, Result

from billing.clock import FixedClock
from billing.database import Database
from billing.premium.answers import Answers
from billing.premium.book import ServiceBook
from callflows.config import Settings
from callflows.trees.services import check_service
from callflows.trees.yaml_file import read_yaml
from cli.checks import HouseChecks
from cli.findings import Finding
from cli.main import command
from sounds import Library, load_catalogue, wav
from tests.service_house import NUMBER, ZONE, service

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "conf" / "sample" / "premium").glob("*.yaml"))
HAFEZ = ROOT / "conf" / "sample" / "premium" / "hafez.yaml"
Run = Callable[..., Result]


@pytest.fixture
def database(tmp_path: Path, migrated_sqlite: Path) -> Iterator[Database]:
    """A database of the command's own."""
    shutil.copy(migrated_sqlite, tmp_path / "callflows.db")
    found = Database(f"sqlite:///{tmp_path / 'callflows.db'}")
    yield found
    found.close()


@pytest.fixture
def run(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `callflows` with words, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    environment = {
        "CALLFLOWS_STATE_DIR": str(tmp_path),
        "CALLFLOWS_CALENDARS_DIR": str(ROOT / "conf" / "calendars"),
    }

    def invoke(*words: str, code: int = 0, typed: str | None = None) -> Result:
        done = CliRunner().invoke(command, words, env=environment, input=typed)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code == code, done.output
        return done

    return invoke


def written(folder: Path, **changes: object) -> str:
    """A service's file."""
    path = folder / "service.yaml"
    path.write_text(yaml.safe_dump(service(**changes), allow_unicode=True, sort_keys=False))
    return str(path)


def hafez(run: Run) -> None:
    """The provider and its contract."""
    run("provider", "add", "hafez", "Hafez Institute")
    run("provider", "contract", "hafez", "--kind", "b", "--share", "80", "--from", "1405/08/01")


def test_from_a_file_to_the_callers(run: Run, database: Database, tmp_path: Path) -> None:
    """Submitted, approved, shown, suspended, resumed; the recordings are there when it is heard."""
    hafez(run)
    path = written(tmp_path)
    done = run("service", "submit", path, "--by", "provider")
    assert f"{NUMBER}: version 1 is pending; 8 recordings built" in done.output
    assert "8 unchanged" in run("service", "submit", path).output
    book = ServiceBook(database, FixedClock(datetime.now(UTC)), ZONE, kept_s=0)
    assert book.at(NUMBER) is None
    assert "version 1 is published" in run("service", "approve", NUMBER, "--by", "op").output
    found = book.at(NUMBER)
    assert found is not None
    library = Library(tmp_path / "sounds")
    for language in found.languages:
        assert library.ms(found.recording("name", language)) > 200
    assert library.text(found.recording("name", "en")) == "The Oracle of Hafez"
    shown = run("service", "show", NUMBER).output
    assert "approved" in shown
    assert "by op" in shown
    assert "The Oracle of Hafez" in shown
    assert NUMBER in run("service", "list").output
    assert "suspended" in run("service", "suspend", NUMBER).output
    assert "was not published" in run("service", "suspend", NUMBER).output
    assert "published" in run("service", "resume", NUMBER).output
    assert "withdrawn" in run("service", "withdraw", NUMBER, "--yes").output
    assert book.at(NUMBER) is None


def test_recordings_that_are_gone_are_built_before_the_approval(run: Run, tmp_path: Path) -> None:
    """Nobody hears silence where a text was approved."""
    hafez(run)
    run("service", "submit", written(tmp_path))
    gone = tmp_path / "sounds" / "services" / NUMBER / "1" / "fa" / "name.wav"
    gone.unlink()
    run("service", "approve", NUMBER)
    assert gone.is_file()


def test_a_providers_own_recordings(run: Run, tmp_path: Path) -> None:
    """A WAV of the right name is used; one of a wrong format is named."""
    hafez(run)
    given = tmp_path / "given"
    wav.write(given / "fa" / "tree" / "poem.wav", array("h", [100] * 8000))
    done = run("service", "submit", written(tmp_path), "--recordings", str(given))
    assert "7 recordings built, 1 given" in done.output
    played = f"services/{NUMBER}/1/fa/tree/poem.wav"
    assert Library(tmp_path / "sounds").ms(played) == 1000
    (given / "en").mkdir()
    (given / "en" / "name.wav").write_bytes(b"no sound")
    done = run("service", "submit", written(tmp_path), "--recordings", str(given), code=1)
    assert "en/name.wav: not a PCM WAV file" in done.output


def test_an_approver_sees_what_changes(run: Run, tmp_path: Path) -> None:
    """The difference to what callers get is shown, line by line."""
    hafez(run)
    run("service", "submit", written(tmp_path))
    assert "+category: poetry" in run("service", "diff", NUMBER).output
    run("service", "approve", NUMBER)
    run("service", "submit", written(tmp_path, category="stories"))
    shown = run("service", "diff", NUMBER).output.splitlines()
    changed = [line for line in shown if line[0] in "+-" and line[:3] not in ("+++", "---")]
    assert changed == ["-category: poetry", "+category: stories"]
    assert "no service" in run("service", "diff", "9090000000", code=1).output


def test_another_machine_builds_what_it_lacks(run: Run, tmp_path: Path) -> None:
    """The doctor names missing recordings of published services; one command makes them."""
    settings = Settings(state_dir=tmp_path, worker_listen="127.0.0.1:1", web_listen="127.0.0.1:2")

    def found() -> Finding:
        checks = HouseChecks(settings, load_catalogue())
        return next(each for each in checks.run() if each.subject == "services' recordings")

    assert found().state == "pass"
    hafez(run)
    run("service", "submit", written(tmp_path))
    run("service", "approve", NUMBER)
    assert found().state == "pass"
    folder = tmp_path / "sounds" / "services"
    shutil.rmtree(folder / NUMBER / "1" / "ru")
    assert found().state == "FAIL"
    assert f"2 missing in {tmp_path / 'sounds'}" in found().text
    assert "2 recordings built" in run("service", "sounds").output
    assert found().state == "pass"
    assert "0 recordings built" in run("service", "sounds").output


def test_a_refusal_needs_a_reason(run: Run, tmp_path: Path) -> None:
    """The provider is told why; there is then nothing to approve."""
    hafez(run)
    run("service", "submit", written(tmp_path))
    run("service", "refuse", NUMBER, code=2)
    assert "is refused" in run("service", "refuse", NUMBER, "--reason", "too dear").output
    assert "version 1 is refused" in run("service", "approve", NUMBER, code=1).output
    assert "too dear" in run("service", "show", NUMBER).output


def test_every_fault_names_the_file(run: Run, tmp_path: Path) -> None:
    """File, node and field; the exit code is 1, and nothing is submitted."""
    hafez(run)
    tree = {"nodes": {"a": {"type": "prompt", "say": {"fa": "سلام"}, "next": "b"}}}
    path = written(
        tmp_path,
        category="Poetry!",
        holidays={"calendar": "mars", "open": False},
        content={"tree": tree},
    )
    for what in ("check", "submit"):
        found = run("service", what, path, code=1).output
        assert f"{path}: field category: " in found
        assert f"{path}: node a, field say: no text in ar, ru, en" in found
        assert f"{path}: node a, field next: no node 'b'" in found
    path = written(tmp_path, holidays={"calendar": "mars", "open": False})
    assert f"{path}: field holidays.calendar: " in run("service", "check", path, code=1).output
    assert "there is no service" in run("service", "list").output
    (tmp_path / "bad.yaml").write_text("a: [")
    assert "line 1" in run("service", "check", str(tmp_path / "bad.yaml"), code=1).output


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_samples_are_whole(run: Run, path: Path) -> None:
    """What we ship as an example is right, as a service and as a tree."""
    assert "whole" in run("service", "check", str(path)).output
    found = check_service(read_yaml(path), ZONE)
    done = run("tree", "check", str(path), code=0 if found.tree is not None else 1)
    assert ("whole" if found.tree is not None else "there is no tree in it") in done.output
    assert {language for language, _ in found.recordings(1)} == {"fa", "ar", "ru", "en"}


def test_answers_are_counted_listed_and_exported(
    run: Run, database: Database, tmp_path: Path
) -> None:
    """Votes in per cent, orders and messages one by one; all of them as CSV and JSON."""
    hafez(run)
    run("service", "submit", written(tmp_path))
    run("service", "approve", NUMBER)
    answers = Answers(database, FixedClock(datetime(2026, 11, 22, 9, 0, tzinfo=UTC)))
    common = {"service": 1, "version": 1, "call_id": "c", "line": None}
    for place, choice in enumerate(["yes", "yes", "no"]):
        answers.put(
            str(place),
            node="vote",
            kind="poll",
            answer={"choice": choice},
            **common,  # type: ignore[arg-type]
        )
    answers.put(
        "o",
        node="order",
        kind="order",
        answer={"item": "77", "day": "2026-12-01"},
        **common,  # type: ignore[arg-type]
    )
    shown = run("service", "answers", NUMBER).output
    assert "vote  yes: 2 (67%)" in shown
    assert "2026-11-22 09:00  order  item: 77, day: 2026-12-01" in shown
    rows = list(csv.DictReader(run("service", "answers", NUMBER, "--csv").output.splitlines()))
    assert [row["value"] for row in rows] == ["yes", "yes", "no", "77", "2026-12-01"]
    only = run("service", "answers", NUMBER, "--node", "order", "--json").output.splitlines()
    assert [json.loads(line)["answer"]["item"] for line in only] == ["77"]
    assert "no service" in run("service", "answers", "9090000000", code=1).output


def test_providers(run: Run) -> None:
    """Added, listed with their terms, suspended; what makes no sense is said."""
    assert "there is no provider" in run("provider", "list").output
    hafez(run)
    assert "was there before" in run("provider", "add", "hafez", "Hafez Institute").output
    assert "another provider's" in run("provider", "add", "hafez", "Other", code=1).output
    shown = run("provider", "list").output
    assert "80 %" in shown
    assert "2026-10-23" in shown
    terms = ("provider", "contract", "hafez", "--kind", "a", "--from", "1499/01/01")
    done = run(*terms, "--share", "95", "--levy", "vat=9", code=1)
    assert "share: with the levies" in done.output
    assert "write it as vat=9" in run(*terms, "--share", "80", "--levy", "vat", code=1).output
    assert "77.5 %" in run(*terms, "--share", "77.5", "--deduct", "tax=3").output
    assert "expected a day" in run(*terms[:-1], "soon", "--share", "1", code=2).output
    assert "is suspended" in run("provider", "suspend", "hafez").output
    assert "is active" in run("provider", "resume", "hafez").output
    assert "no provider" in run("provider", "suspend", "saadi", code=1).output
    key = run("provider", "key", "hafez").output.strip()
    assert len(bytes.fromhex(key)) == 32
    assert key == run("provider", "key", "hafez").output.strip()


def test_a_tree_is_drawn_into_a_file(run: Run, tmp_path: Path) -> None:
    """The picture is SVG, in the language that is asked for."""
    run("tree", "draw", str(HAFEZ), "-o", "hafez.svg", "--language", "en")
    picture = (tmp_path / "hafez.svg").read_text()
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    assert "Welcome to the oracle of" in picture
    assert run("tree", "draw", str(HAFEZ)).output.startswith("<svg")


def test_a_tree_is_tried_in_the_terminal(run: Run) -> None:
    """Typed keys or prepared ones lead through the tree; what would be kept is told."""
    heard = run("tree", "try", str(HAFEZ), "--language", "en", "--keys", "1,2,1,h").output
    assert "Welcome to the oracle of Hafez." in heard
    assert "Your vote has been counted. Thank you." in heard
    assert "would be kept: poll of after.2: choice: liked" in heard
    assert "over: hung up" in heard
    heard = run("tree", "try", str(HAFEZ), "--language", "en", typed="3\n*\n4\nh\n").output
    assert heard.count("For the verse of the day") == 4
    assert "would be kept: recording of message" in heard
    assert "over: hung up" in run("tree", "try", str(HAFEZ), typed="").output


def test_a_tree_is_tried_with_little_money(run: Run) -> None:
    """The content ends where the next prompt would not end in time, also with no recordings."""
    heard = run("tree", "try", str(HAFEZ), "--keys", "3", "--money", "5").output
    assert "over: no_time" in heard


def test_a_crm_is_pretended(run: Run) -> None:
    """Both ways of a call-out can be tried, and nobody is asked."""
    path = str(ROOT / "conf" / "sample" / "premium" / "family-advice.yaml")
    tried = ("tree", "try", path, "--language", "en", "--keys", "h")
    assert "calling us again" in run(*tried, "--crm", "client").output
    assert "calling us again" not in run(*tried).output
    assert "[asks https://crm.mehr.example/calls: no answer]" in run(*tried).output


def test_a_tree_of_its_own_file(run: Run, tmp_path: Path) -> None:
    """A file may hold a tree alone, with the languages it has."""
    tree = {"languages": ["en"], "nodes": {"a": {"type": "end", "say": {"en": "hello"}}}}
    path = tmp_path / "tree.yaml"
    path.write_text(yaml.safe_dump(tree))
    assert "  hello" in run("tree", "try", str(path)).output
    assert "has no fa" in run("tree", "try", str(path), "--language", "fa", code=1).output
    path.write_text(yaml.safe_dump(tree | {"languages": ["de"]}))
    assert "languages: a list of" in run("tree", "check", str(path), code=1).output
    path.write_text("number: 5")
    assert "there is no tree in it" in run("tree", "check", str(path), code=1).output
