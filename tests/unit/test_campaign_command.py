"""`callflows campaign` as operations use it, with wrong input too: clear words, no traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from billing import campaigns
from billing.clock import SystemClock
from billing.database import Database
from cli.main import command
from tests.campaign_house import CALENDARS, House, number

Run = Callable[..., Result]
CREATE = ("create", "--name", "october", "--overdue", "10", "--window", "00:00-24:00")


@pytest.fixture
def house(tmp_path: Path, migrated_sqlite: Path) -> Iterator[House]:
    """Five lines that owe since three weeks."""
    (tmp_path / "calls.db").write_bytes(migrated_sqlite.read_bytes())
    database = Database(f"sqlite:///{tmp_path / 'calls.db'}")
    house = House(database, SystemClock(), 0)
    due = (datetime.now(UTC) - timedelta(days=21)).date()
    house.add(
        [f"{number(place)},fixed,,,fa,,,," for place in range(5)],
        [f"{number(place)},8,1405,100000,,,{due}" for place in range(5)],
    )
    yield house
    database.close()


@pytest.fixture
def run(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `callflows campaign` with words, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    environment = {
        "CALLFLOWS_DATABASE_URL": str(house.database.engine.url),
        "CALLFLOWS_STATE_DIR": str(tmp_path),
        "CALLFLOWS_CALENDARS_DIR": str(CALENDARS),
    }

    def invoke(*words: str) -> Result:
        done = CliRunner().invoke(command, ["campaign", *words], env=environment)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return invoke


def test_the_life_of_a_campaign(run: Run, house: House, tmp_path: Path) -> None:
    """Create, start, pause, resume, show, list, watch and stop, each with a word of what is."""
    (tmp_path / "staff.txt").write_text(f"# ours\n{number(0)}\n")
    made = run(
        *CREATE, "--dnc", "staff.txt", "--cps", "5", "--simultaneous", "100",
        "--per-switch-cps", "2", "--per-switch-simultaneous", "50", "--caller-id", "02188776655",
        "--retries", "no_answer=2@60m,busy=3@10m", "--cap", "4", "--machine", "message",
        "--sms-not-reached", "--email-not-reached",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    assert "list staff: 1 added" in made.output
    assert "october: 4 lines to call, 1 on do-not-call lists" in made.output
    rules = campaigns.find(house.database, "october").rules
    assert (rules.cps, rules.simultaneous, rules.switch_cps) == (5, 100, 2)
    assert (rules.switch_simultaneous, rules.caller_id, rules.cap) == (50, "02188776655", 4)
    assert (rules.machine, rules.sms_not_reached, rules.lists) == ("message", True, ("staff",))
    for word, status in (("start", "running"), ("pause", "paused"), ("resume", "running")):
        assert f"campaign october is {status}" in run(word, "october").output
    shown = run("show", "october").output
    for fact in ("no_answer=2@1h,busy=3@10m; 4 calls at most", "SMS, e-mail", "opt-out, staff"):
        assert fact in shown
    assert "ETA unknown yet" in shown
    assert "october" in run("list").output
    assert "campaign october is stopped" in run("stop", "october").output
    watched = run("watch", "october")
    assert watched.exit_code == 0
    for row in ("lines", "dialled", "answered", "not reached", "paid"):
        assert row in watched.output


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--window", "9-20"), "write it as 09:00-20:00"),
        (("--calendar", "mars"), "there: arab, iran, russia"),
        (("--calendar", "../iran"), "lower case letters"),
        (("--dnc", "nobody.txt"), "no such file, and no such list"),
        (("--caller-id", "x"), "caller ID"),
        (("--cps", "0"), "calls per second"),
        (("--simultaneous", "0"), "simultaneous calls"),
        (("--retries", "busy=often"), "write it as busy=3@10m"),
        (("--retries", "heard=1@1m"), "the result is one of"),
        (("--cap", "0"), "cap 0"),
        (("--zone", "Mars"), "unknown time zone"),
        (("--name", "a b"), "name: 1 to 64 letters"),
        (("--overdue", "-1"), "--overdue"),
        (("--language", "tlh"), "--language"),
        (("--machine", "shout"), "--machine"),
        (("--ring", "1"), "ringing time"),
    ],
)
def test_wrong_options_are_explained(
    run: Run, house: House, words: tuple[str, ...], why: str
) -> None:
    """The message names the option's value and what is expected; no campaign is made."""
    done = run(*CREATE, *words)
    assert done.exit_code != 0
    assert why in done.output
    assert campaigns.listed(house.database) == []


def test_a_list_with_a_wrong_number_makes_no_campaign(
    run: Run, house: House, tmp_path: Path
) -> None:
    """Better no campaign than one that calls somebody whose number was misread."""
    (tmp_path / "staff.txt").write_text(f"{number(0)}\n12345\n")
    done = run(*CREATE, "--dnc", "staff.txt")
    assert done.exit_code == 1
    assert "staff.txt:2: " in done.output
    assert campaigns.listed(house.database) == []


@pytest.mark.parametrize("word", ["start", "pause", "resume", "stop", "show", "watch"])
def test_an_unknown_campaign_is_named(run: Run, word: str) -> None:
    """A slip of the pen is no traceback."""
    done = run(word, "octber")
    assert done.exit_code == 1
    assert "campaign octber: there is none of that name" in done.output


def test_a_wrong_move_says_how_it_stands(run: Run) -> None:
    """A campaign that was never started cannot be paused."""
    run(*CREATE)
    done = run("pause", "october")
    assert done.exit_code == 1
    assert "october is planned: it cannot pause" in done.output


def test_do_not_call_lists(run: Run, tmp_path: Path) -> None:
    """Numbers are added by hand or from a file, listed, and taken off again."""
    assert "there is no do-not-call list" in run("dnc", "list").output
    added = run("dnc", "add", "opt-out", "02188776655", "۰۹۱۲۳۴۵۶۷۸۹")
    assert "list opt-out: 2 added, 0 there before" in added.output
    (tmp_path / "more.txt").write_text("02188776655\n")
    assert "1 added" in run("dnc", "add", "staff", "--file", "more.txt").output
    assert run("dnc", "list", "opt-out").output.split() == ["+982188776655", "+989123456789"]
    assert "2  opt-out" in run("dnc", "list").output
    assert run("dnc", "remove", "opt-out", "02188776655").exit_code == 0
    assert "is not on list opt-out" in run("dnc", "remove", "opt-out", "02188776655").output
    wrong = run("dnc", "add", "opt-out", "12")
    assert wrong.exit_code == 1
    assert "12: not a" in wrong.output
    assert run("dnc", "add", "opt-out").exit_code == 2
    assert "not a telephone number" in run("dnc", "remove", "opt-out", "x").output


def test_a_campaign_tells_when_it_calls_again(run: Run, house: House) -> None:
    """Outside its hours the view shows their next beginning instead of an ETA."""
    hour = (datetime.now(UTC) + timedelta(hours=3)).hour
    run("create", "--name", "later", "--overdue", "10", "--window", f"{hour:02d}:00-{hour:02d}:59",
        "--zone", "Etc/UTC")  # fmt: skip
    run("start", "later")
    assert "calls again" in run("show", "later").output


def test_a_list_that_is_no_text_is_told(run: Run, tmp_path: Path) -> None:
    """A do-not-call list as a spreadsheet may export it, UTF-16: named, and no campaign made."""
    (tmp_path / "regulator.txt").write_bytes(f"{number(0)}\n".encode("utf-16"))
    for words in (
        (*CREATE, "--dnc", "regulator.txt"),
        ("dnc", "add", "x", "--file", "regulator.txt"),
    ):
        done = run(*words)
        assert done.exit_code == 1
        assert "regulator.txt: not text in UTF-8" in done.output
    assert "there is no campaign" in run("list").output


@pytest.mark.parametrize("option", ["--overdue", "--min-amount"])
def test_a_number_that_no_database_holds_is_refused(run: Run, option: str) -> None:
    """Clear words rather than an overflow."""
    done = run(*CREATE, option, "9" * 20)
    assert done.exit_code == 2
    assert option in done.output


def test_rules_are_shown_whole(run: Run) -> None:
    """In a narrow terminal, too: the rules of retries are one long word."""
    retries = "no_answer=2@60m,busy=3@10m,machine=1@4h,unreachable=2@2h,failed=3@5m,unknown=2@10m"
    run(*CREATE, "--retries", retries)
    shown = "".join(run("show", "october").output.split())
    for rule in ("failed=3@5m", "unknown=2@10m"):
        assert rule in shown
    assert "\u2026" not in shown
