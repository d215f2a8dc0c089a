"""The `callflows` command, used from outside as a user would, with bad input too."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

COMMANDS = [
    "call", "campaign", "cdr", "completion", "config", "dashboard", "doctor", "demo", "import",
    "journal", "missed", "payments", "phone", "queues", "report", "run", "sounds", "workers",
]  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        [],
        *([name] for name in COMMANDS),
        ["sounds", "build"],
        ["cdr", "take-in"],
        ["cdr", "mismatches"],
        ["queues", "retry"],
        ["campaign", "create"],
        ["campaign", "dnc", "add"],
        ["payments", "parked"],
    ],
)
def test_help_everywhere(house, words):
    """Every command explains itself; the main ones with examples."""
    done = house.run(*words, "--help")
    assert done.returncode == 0
    assert "Usage: callflows" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(house, shell):
    """The completion script of each shell is printed."""
    done = house.run("completion", shell)
    assert done.returncode == 0
    assert "_CALLFLOWS_COMPLETE" in done.stdout


def test_completion_completes(house):
    """The shell gets the names of the commands."""
    done = house.run(
        _CALLFLOWS_COMPLETE="bash_complete", COMP_WORDS="callflows jour", COMP_CWORD="1"
    )
    assert "journal" in done.stdout


def test_import_names_bad_rows_and_loads_good_ones(house):
    """Wrong check digit, impossible number, duplicate: named with line and reason; exit code 1."""
    with (house.folder / "lines.csv").open("a", encoding="utf-8") as file:
        file.write("12,fixed,a,b,fa,,,,\n02188776655,fixed,x,y,fa,,,,\n")
    with (house.folder / "bills.csv").open("a", encoding="utf-8") as file:
        file.write("02166554433,4,1405,129000,2234322344613,12908190,2026-12-05\n")
        file.write("02199999999,4,1405,129000,,,2026-12-05\n")
    done = house.run("import", "--lines", "lines.csv", "--bills", "bills.csv")
    assert done.returncode == 1
    assert "lines: 7 loaded, 0 unchanged, 2 rejected" in done.stdout
    assert "bills: 6 loaded, 0 unchanged, 2 rejected" in done.stdout
    assert "lines.csv:9: number" in done.stderr
    assert "lines.csv:10: duplicate" in done.stderr
    assert "bills.csv:8: bill ID: check digit C is 3, should be 7" in done.stderr
    assert "bills.csv:9:" in done.stderr
    again = house.run("import", "--lines", "lines.csv", "--bills", "bills.csv")
    assert "lines: 0 loaded, 7 unchanged, 2 rejected" in again.stdout
    assert "bills: 0 loaded, 6 unchanged, 2 rejected" in again.stdout


def test_import_of_a_file_without_the_columns(house):
    """A file of another kind is refused as a whole, with exit code 2."""
    (house.folder / "x.csv").write_text("a,b\n1,2\n")
    done = house.run("import", "--lines", "x.csv")
    assert done.returncode == 2
    assert "x.csv" in done.stderr
    assert "number" in done.stderr


def test_call_prints_what_is_heard_and_pressed(furnished):
    """The issue's example: keys in order, a comma lets a question pass unanswered."""
    done = furnished.run(
        "call", "2000", "--from", "02188776655", "--keys", "4,,9", "--speed", "200"
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any("menu" in line and "pressed  4" in line for line in lines)
    assert sum("read_ids" in line and "heard" in line for line in lines) == 2
    assert any("read_ids" in line and "pressed  9" in line for line in lines)


def test_call_as_json(furnished):
    """Steps with phrase keys, text, recordings, keys, state and time."""
    done = furnished.run(
        "call", "2000", "--from", "02188776655", "--keys", "2,09121234567#,1,3", "--json",
        "--language", "ar", "--speed", "200",
    )  # fmt: skip
    steps = json.loads(done.stdout)
    heard = [step["heard"] for step in steps if "heard" in step]
    assert heard[0]["phrases"] == ["welcome", "bill_summary", "payment_menu"]
    assert heard[0]["recordings"][0].startswith("ar/")
    assert heard[0]["text"].startswith("أهل")
    assert [step["pressed"] for step in steps if "pressed" in step] == [
        "2",
        "09121234567#",
        "1",
        "3",
    ]
    assert {"menu", "ask_mobile", "confirm_mobile", "anything_else"} <= {
        step["state"] for step in steps
    }
    times = [step["at"] for step in steps]
    assert times == sorted(times)


def test_type_ahead_through_the_whole_menu(furnished):
    """Somebody who knows the menus presses at once and hears almost nothing."""
    slow, quick = (
        json.loads(
            furnished.run(
                "call", "2000", "--from", "02188776655", "--keys", "2,09121234567#,1,3",
                "--json", "--speed", "100", *words,
            ).stdout
        )
        for words in ([], ["--barge"])
    )  # fmt: skip
    assert slow[-1]["at"] > 3 * quick[-1]["at"]
    assert [step["pressed"] for step in quick if "pressed" in step] == [
        step["pressed"] for step in slow if "pressed" in step
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["call", "2000", "--keys", "4,x"], "answer 2 is 'x'"),
        (["call", "2000", "--language", "de"], "'de' is not one of"),
        (["call"], "Missing argument"),
        (["cdr", "take-in", "nowhere"], "nowhere"),
        (["import"], "--lines"),
        (["import", "--lines", "nowhere.csv"], "nowhere.csv"),
        (["queues", "retry"], "--queue"),
        (["run", "--queue", "sms"], "--only jobs"),
        (["journal", "no-such-call"], "no-such-call"),
        (["nonsense"], "No such command"),
        (["report", "--day", "yesterday"], "yesterday"),
        (["payments", "retry", "17"], "17"),
    ],
)
def test_wrong_words_get_a_clear_error(house, words, says):
    """No traceback; the error names what is wrong; the exit code says so."""
    done = house.run(*words)
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_configuration_is_named_before_anything_starts(house):
    """Every wrong key at once, and where to look."""
    done = house.run("run", CALLFLOWS_WORKER_LISTEN="here", CALLFLOWS_TRIES="0")
    assert done.returncode == 1
    assert "worker_listen: expected host:port" in done.stderr
    assert "tries" in done.stderr
    assert not (house.folder / "var").exists()


def test_config_lists_every_key_without_secrets(house):
    """Keys, variables and meanings; no secret, no password."""
    done = house.run(
        "config",
        CALLFLOWS_PAYMENT_KEY="sesame-open-sesame",
        CALLFLOWS_DATABASE_URL="postgresql://app:hunter2@db/x",
    )
    assert "CALLFLOWS_WORKER_LISTEN" in done.stdout
    assert "sesame-open-sesame" not in done.stdout
    assert "hunter2" not in done.stdout
    assert "app:***@db/x" in done.stdout


def test_missing_recordings_are_named(furnished, tmp_path):
    """Without recordings a call says what to do; `sounds check` names what is missing."""
    empty = str(tmp_path / "empty")
    call = furnished.run("call", "2000", CALLFLOWS_SOUNDS_DIR=empty)
    assert call.returncode == 1
    assert "callflows sounds build" in call.stderr
    check = furnished.run("sounds", "check", "--language", "ru", CALLFLOWS_SOUNDS_DIR=empty)
    assert check.returncode == 1
    assert "ru/welcome/1.wav" in check.stderr


def test_recording_script_for_a_studio(house):
    """A CSV with key, text and context for each recording, that a spreadsheet opens."""
    done = house.run("sounds", "script", "--language", "fa", "--output", "script.csv")
    assert done.returncode == 0
    text = (house.folder / "script.csv").read_bytes().decode("utf-8-sig")
    assert text.splitlines()[0] == "key,text,context"
    assert "fa/payment_menu/1.wav" in text


def test_phone_takes_keys_and_hangs_up(furnished):
    """The text phone, driven through a pipe: keys reach the menu, `h` hangs up."""
    import subprocess

    phone = furnished.start(
        "phone", "--from", "02188776655", "--speed", "50",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert phone.stdin is not None
    assert phone.stdout is not None
    phone.stdin.write("4")
    phone.stdin.flush()
    heard = ""
    while "شناسه" not in heard.rpartition("> 4")[2]:
        line = phone.stdout.readline()
        assert line, phone.stderr and phone.stderr.read()
        heard += line
    phone.stdin.write("h")
    phone.stdin.flush()
    rest, _ = phone.communicate(timeout=20)
    assert "The call is over" in rest
    assert phone.returncode == 0


def test_times_are_those_of_the_configured_zone(furnished):
    """Journals as missed calls and records: whoever compares them has one clock."""
    assert furnished.run("call", "2000", "--keys", "hangup", "--speed", "200").returncode == 0
    shown = [
        datetime.fromisoformat(furnished.run("journal", CALLFLOWS_TIMEZONE=zone).stdout[38:57])
        for zone in ("Asia/Tehran", "UTC")
    ]
    assert shown[0] - shown[1] == timedelta(hours=3, minutes=30)


def test_the_database_s_file_is_shown_as_it_is_given(house):
    """A path that is absolute has four slashes; a password is not shown."""
    shown = house.run("config", CALLFLOWS_DATABASE_URL="sqlite:////tmp/a.db").stdout
    assert "database_url = sqlite:////tmp/a.db\n" in shown
    shown = house.run("config", CALLFLOWS_DATABASE_URL="postgresql://me:secret@db/calls").stdout
    assert "database_url = postgresql://me:***@db/calls\n" in shown
