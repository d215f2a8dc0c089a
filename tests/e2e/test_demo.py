"""`callflows demo`, and what it leaves: the whole house from a call to a paid bill."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import COMMAND

ROOT = Path(__file__).parents[2]
# The database is where personal data belongs.
TRUTH = re.compile(r"callflows\.db")


@pytest.fixture(scope="module")
def demo(tmp_path_factory, sounds_dir):
    """The demo, run once in a folder of its own."""
    folder = tmp_path_factory.mktemp("demo")
    shutil.copytree(ROOT / "conf" / "sample", folder / "conf" / "sample")
    # As after `make sounds`, and with no configuration at all.
    (folder / "var").mkdir()
    (folder / "var" / "sounds").symlink_to(sounds_dir)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CALLFLOWS_")}
    done = subprocess.run(
        [*COMMAND, "demo"],
        cwd=folder,
        env=clean,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return folder, done.stdout


@pytest.mark.xdist_group("demo")
def test_forty_calls_are_told_as_they_happen(demo):
    """Five ways to pay, a fixed and a mobile line, four languages; each with its transcript."""
    _, printed = demo
    assert "[40/40] mobile line" in printed
    assert printed.count("pressed  5") >= 8
    assert "40 calls" in printed
    assert "8 bills paid" in printed
    assert "event    missing" not in printed


@pytest.mark.xdist_group("demo")
def test_what_is_left_for_a_person_to_look_at(demo):
    """SMSs, e-mails with image and PDF, the images, a summary."""
    folder, _ = demo
    left = folder / "var" / "demo"
    assert len(list((left / "sms").glob("*.txt"))) == 36
    assert len(list((left / "mail").glob("*.eml"))) == 8
    pictures = list((left / "images").glob("*.png"))
    assert len(pictures) == 8
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in pictures)
    assert len(list((left / "images").glob("*.pdf"))) == 8
    summary = (left / "summary.md").read_text()
    assert "bills paid: 8" in summary
    assert "What is wrong" not in summary


@pytest.mark.xdist_group("demo")
def test_address_and_postal_code_are_nowhere(demo):
    """A9: not in SMS, e-mail, image name, page, log or transcript; only in the database."""
    folder, printed = demo
    with (folder / "conf" / "sample" / "lines.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    secrets = {row[name] for row in rows for name in ("address", "postal_code", "email")} - {""}
    assert len(secrets) > 20
    texts = {"what was printed": printed.encode()}
    for file in (folder / "var" / "demo").rglob("*"):
        if file.is_file() and not TRUTH.search(file.name):
            texts[str(file)] = file.read_bytes()
    for where, content in texts.items():
        for secret in secrets:
            assert secret.encode() not in content, where


@pytest.mark.xdist_group("demo")
def test_logs_are_json_without_numbers_and_addresses(demo):
    """Each line is JSON; no telephone number of anybody, no mailbox, no link token."""
    folder, _ = demo
    lines = (folder / "var" / "demo" / "log.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert {record["logger"] for record in records} >= {"esl_worker.worker", "jobs.consumers"}
    assert any("call" in record for record in records)
    whole = "\n".join(lines)
    assert not re.search(r"(\+98|\b0)9\d{9}\b", whole)
    assert "subscriber@example.com" not in whole
    sms = (folder / "var" / "demo" / "sms" / "messages.jsonl").read_text()
    tokens = re.findall(r"/e/([A-Za-z0-9_-]{20,})", sms)
    assert len(tokens) == 8
    assert not any(token in whole for token in tokens)
