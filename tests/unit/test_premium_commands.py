"""`callflows explain`, `usage` and `premium`: every rial in plain words, in four languages."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import insert, text, update

from billing.clock import FixedClock
from billing.database import Database
from billing.premium.schema import premium_calls, premium_services, service_versions
from cli.main import command
from tests.charging_house import House, per_call, per_minute

Run = Callable[..., Result]
HEARD = [
    ["premium_price_minute", "fa", {"price": 6000}],
    ["premium_accept_key", "fa", {"key": "4"}],
]


@pytest.fixture
def house(tmp_path: Path, migrated_sqlite: Path, clock: FixedClock) -> Iterator[House]:
    """The operator, in a file that commands open, too."""
    (tmp_path / "calls.db").write_bytes(migrated_sqlite.read_bytes())
    database = Database(f"sqlite:///{tmp_path / 'calls.db'}")
    yield House(database, clock)
    database.close()


@pytest.fixture
def run(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `callflows` with words, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    environment = {
        "CALLFLOWS_DATABASE_URL": str(house.database.engine.url),
        "CALLFLOWS_STATE_DIR": str(tmp_path),
    }

    def invoke(*words: str) -> Result:
        done = CliRunner().invoke(command, words, env=environment)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return invoke


def named(house: House, service: int, **names: str) -> None:
    """Give a service its names."""
    definition = json.dumps({"names": names, "content": {"tree": {}}})
    with house.database.begin() as conn:
        conn.execute(
            insert(service_versions).values(
                service=service,
                version=1,
                definition=definition,
                digest="",
                submitted_at=house.clock.now(),
                submitted_by="provider",
            )
        )


def number_of(house: House, service: int) -> str:
    """The service's number."""
    with house.database.read() as conn:
        return str(
            conn.scalar(
                premium_services.select()
                .with_only_columns(premium_services.c.number)
                .where(premium_services.c.id == service)
            )
        )


def line_number(house: House, line: int) -> str:
    """The line's number, as its owner writes it."""
    with house.database.read() as conn:
        number = conn.execute(text("SELECT number FROM lines WHERE id = :id"), {"id": line})
        return "0" + str(number.scalar_one()).removeprefix("+98")


def called(
    house: House, name: str, line: int, service: tuple[int, tuple[Any, ...]], seconds: int
) -> None:
    """A call that was accepted, and charged for so many seconds."""
    consent = house.consent(name, line, *service, heard=HEARD)
    house.charging.begin(name, consent, service[0], line, None, "+982188776655")
    start = house.clock.now()
    house.charging.connected(name, start)
    for _ in range(seconds // 60):
        house.clock.advance(60)
        house.charging.extend(name)
    house.clock.advance(seconds % 60)
    house.charging.ended(name, start + timedelta(seconds=seconds))


def test_explained_in_english(house: House, run: Run) -> None:
    """What was heard, pressed, when it was connected, and how the amount came about."""
    line, service = house.line(100_000), house.service(per_minute(6000, minimum_s=120))
    named(house, service[0], en="Hafez", fa="فال حافظ")
    called(house, "a", line, service, 150)
    done = run("explain", "a", "--language", "en")
    assert done.exit_code == 0
    number = number_of(house, service[0])
    assert done.output.splitlines() == [
        "The call of 21 November 2026, 11:29, from line "
        f"{line_number(house, line)} to the service “Hafez” (number {number}).",
        "Before the acceptance, from 11:29 on, this was heard:",
        "  هزینهٔ هر دقیقه ۶٬۰۰۰ ریال است.",
        "  ۴.",
        "The digit named for accepting was 4; at 11:30 the digit 4 was pressed. "
        "The conditions were accepted.",
        "From 11:30, when the service was connected, to 11:32, when it ended, "
        "150 seconds were used. The time before costs nothing.",
        "Time is counted in steps of 60 seconds, a step that has begun in full; "
        "the least is 120 seconds.",
        "  From 11:30: 180 seconds at 6,000 rials a minute: 18,000 rials.",
        "This call cost 18,000 rials in all.",
        "This charge has not been posted yet.",
        "The credit of month 8 of 1405 is 100,000 rials; 18,000 rials of it has been used so far.",
        "This acceptance, no. 1 of the line, is sealed by a checksum "
        "and has not been altered since.",
    ]


@pytest.mark.parametrize(
    ("language", "says"),
    [
        ("fa", "۱۸٬۰۰۰ ریال"),
        ("ar", "١٨٬٠٠٠"),
        ("ru", "18\u00a0000 риалов"),
        ("en", "18,000 rials"),
    ],
)
def test_explained_in_four_languages(house: House, run: Run, language: str, says: str) -> None:
    """Every sentence exists in each of them; without a choice it is the call's own."""
    line, service = house.line(100_000), house.service()
    named(house, service[0], fa="فال حافظ")
    called(house, "a", line, service, 150)
    done = run("explain", "a", "--language", language)
    assert says in done.output
    assert len(done.output.splitlines()) == 12
    # In a language that the service does not speak, it is called as callers hear it.
    assert "فال حافظ" in done.output
    if language == "fa":
        assert run("explain", "a").output == done.output


def test_every_end_has_words(house: House, run: Run) -> None:
    """Free, parked, running, refused, by the call, disputed: each is told."""
    line, service = house.line(1_000_000), house.service()
    consent = house.consent("refused", line, *service, heard=HEARD)
    assert consent.place == 1
    assert "not connected to the service" in run("explain", "refused", "--language", "en").output
    house.connect("running", line, service)
    assert (
        "12,000 rials of the credit is held" in run("explain", "running", "--language", "en").output
    )
    house.begin("waiting", line, service)
    assert "not connected" in run("explain", "waiting", "--language", "en").output
    house.charging.abandoned("waiting", "left the queue")
    assert "not connected" in run("explain", "waiting", "--language", "en").output
    called(house, "parked", line, service, 60)
    with house.database.begin() as conn:
        conn.execute(
            update(premium_calls)
            .where(premium_calls.c.call_id == "parked")
            .values(status="parked", reason="x", cdr_seconds=20)
        )
    assert "confirm 20 seconds, and a person" in run("explain", "parked", "--language", "en").output
    assert run("premium", "waive", "parked", "--reason", "hung").exit_code == 0
    assert "this charge was waived" in run("explain", "parked", "--language", "en").output
    once = house.service(per_call(20_000))
    called(house, "once", line, once, 10)
    assert (
        "  The price of a call, however long: 20,000 rials."
        in run("explain", "once", "--language", "en").output
    )
    approval = house.approval(line, service[0], 50_000)
    house.connect("approved", line, service, approval=approval)
    assert (
        f"approval no. {approval} of 21 November 2026, up to 50,000 rials"
        in run("explain", "approved", "--language", "en").output
    )


def test_a_broken_chain_is_told(house: House, run: Run) -> None:
    """Evidence that does not hold is the first thing to know."""
    line, service = house.line(100_000), house.service()
    called(house, "a", line, service, 60)
    with house.database.begin() as conn:
        names = conn.execute(
            text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'consents'")
        )
        for name in list(names.scalars()):
            conn.execute(text(f"DROP TRIGGER {name}"))
        conn.execute(text("UPDATE consents SET heard = '[]'"))
    done = run("explain", "a", "--language", "en")
    assert done.exit_code == 1
    assert "Attention: this line's chain of acceptances does not hold from no. 1 on" in done.output
    done = run("premium", "verify")
    assert done.exit_code == 1
    assert "place 1: its content was changed (a)" in done.output
    assert run("explain", "a", "--json").exit_code == 1


def test_explained_as_json(house: House, run: Run) -> None:
    """All facts, for programs."""
    line, service = house.line(100_000), house.service()
    called(house, "a", line, service, 150)
    facts = json.loads(run("explain", "a", "--json").output)
    assert (facts["seconds"], facts["amount"], facts["status"]) == (150, 18_000, "charged")
    assert [each["amount"] for each in facts["segments"]] == [18_000]
    assert facts["consent"]["tariffs"][0]["price"] == 6000
    assert facts["broken"] == []


def test_a_call_without_consent(house: House, run: Run) -> None:
    """There is nothing to explain: nothing was charged."""
    done = run("explain", "nothing")
    assert done.exit_code == 1
    assert "has accepted no premium service, so nothing was charged" in done.output


@pytest.fixture
def used(house: House) -> tuple[str, str, str]:
    """A line with calls to two services; its number, and theirs."""
    line, first, second = house.line(1_000_000), house.service(), house.service(per_call())
    named(house, first[0], fa="=فال", en="Hafez")
    called(house, "b", line, second, 5)
    called(house, "a1", line, first, 60)
    called(house, "a2", line, first, 61)
    house.connect("brief", line, first)
    house.charging.ended("brief", house.clock.now())
    house.connect("running", line, first)
    return line_number(house, line), number_of(house, first[0]), number_of(house, second[0])


def test_usage_is_itemised(run: Run, used: tuple[str, str, str]) -> None:
    """Per service its calls and its sum; what is free or runs is listed and not added."""
    line, first, second = used
    lines = run("usage", line, "--month", "1405-08", "--language", "en").output.splitlines()
    assert lines[0] == f"{first}  Hafez: 121 s, 18,000 rials"
    assert [row.split()[-1] for row in lines[1:5]] == ["a1", "a2", "brief", "running"]
    assert [row.split()[-2] for row in lines[1:5]] == ["charged", "charged", "free", "running"]
    assert lines[5] == f"{second}  {second}: 5 s, 20,000 rials"
    assert lines[-1] == "1405-08: 38,000 rials"
    assert "no premium calls" in run("usage", line, "--month", "1405-07").output


def test_usage_as_csv_and_json(run: Run, used: tuple[str, str, str]) -> None:
    """A row for each call; a name that a spreadsheet would take for a formula is harmless."""
    line, first, _ = used
    rows = list(
        csv.DictReader(run("usage", line, "--month", "1405-08", "--csv").output.splitlines())
    )
    assert [row["call"] for row in rows] == ["a1", "a2", "brief", "running", "b"]
    assert rows[0] == {
        "service": first,
        "name": "'=فال",
        "call": "a1",
        "connected_at": "2026-11-21T11:30:05+03:30",
        "seconds": "60",
        "amount": "6000",
        "status": "charged",
    }
    content = json.loads(run("usage", line, "--month", "۱۴۰۵/۰۸", "--json").output)
    assert (content["amount"], len(content["calls"])) == (38_000, 5)


def test_wrong_words_for_usage(run: Run, used: tuple[str, str, str]) -> None:
    """A line or month that is none, or two formats at once: said, with what is wrong."""
    line = used[0]
    for words, says in (
        ((line, "--month", "1405-13"), "no month"),
        ((line, "--month", "soon"), "no month"),
        (("02166666666",), "no line of ours"),
        (("abc",), "not a telephone number"),
        ((line, "--csv", "--json"), "either"),
    ):
        done = run("usage", *words)
        assert done.exit_code != 0
        assert says in done.output


def test_a_person_decides_about_parked_charges(house: House, run: Run) -> None:
    """Listed with both lengths; released or waived, with a name."""
    line, service = house.line(1_000_000), house.service()
    assert "no charge is parked" in run("premium", "parked").output
    for name in ("a", "b"):
        called(house, name, line, service, 60)
    with house.database.begin() as conn:
        conn.execute(update(premium_calls).values(status="parked", reason="why", cdr_seconds=20))
    listed = run("premium", "parked").output
    assert "   60 s      20 s         6,000  parked   a\n    why" in listed
    assert [each["call_id"] for each in json.loads(run("premium", "parked", "--json").output)] == [
        "a",
        "b",
    ]
    assert (
        "6,000 rials are going to be posted" in run("premium", "release", "a", "--by", "s").output
    )
    assert "reason" in run("premium", "waive", "b").output
    waived = run("premium", "waive", "b", "--by", "s", "--reason", "hung")
    assert "6,000 rials are not charged" in waived.output
    again = run("premium", "release", "b")
    assert again.exit_code == 1
    assert "no charge of call b is parked" in again.output
    day = run("premium", "differences", "--day", "2026-11-21").output
    assert "released by s" in day
    assert "waived by s: hung" in day
    assert "no difference" in run("premium", "differences", "--day", "2026-11-20").output


def test_the_seal_over_all_consents(house: House, run: Run) -> None:
    """It is the same until there is a further consent; one line can be verified by itself."""
    line, service = house.line(100_000), house.service()
    house.consent("a", line, *service)
    output = run("premium", "verify").output
    assert "all consents hold" in output
    known = output.split("seal ")[1].strip()
    number = line_number(house, line)
    assert run("premium", "verify", number, "--seal", known).exit_code == 0
    house.consent("b", line, *service)
    assert run("premium", "verify", "--seal", known).exit_code == 1
    assert "no line of ours" in run("premium", "verify", "02166666666").output
