"""The benchmark keeps working: every group of figures, with far too few calls to judge by."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import report
from bench.figures import Figure

ROOT = Path(__file__).parents[2]


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *options],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_every_group_of_figures_is_taken():
    """A quick run ends well and shows each group; the conversation is still the one that the load
    generator knows, or its calls would fail."""
    done = run("--quick")
    assert done.returncode == 0, done.stderr
    told = ("our whole call", "our bare session", "waiting call", "set-up", "p95", "images")
    for each in (*told, "credit"):
        assert each in done.stdout


def test_a_table_is_written_only_from_a_whole_run():
    """--write refuses a run that leaves something out: the page would show half a table."""
    assert run("--quick", "--write").returncode == 2


def test_a_missed_target_is_a_failure():
    """At most and at least are told apart, and a figure without a target has no verdict."""
    assert Figure("cost", "ms", [1.4, 1.6, 1.45], limit=1.5).passed is True
    assert Figure("cost", "ms", [1.6, 1.7, 1.4], limit=1.5).passed is False
    assert Figure("rate", "1/s", [19.0], limit=20.0, at_least=True).passed is False
    assert Figure("peer", "ms", [9.0]).passed is None


def test_the_table_goes_between_its_marks(tmp_path):
    """Only the generated section of the page changes, and a page without one is refused."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    section = report.section([Figure("cost", "ms", [1.4, 1.6, 1.45], limit=1.5)], ["a machine"])
    report.write(page, section)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| cost | ms | 1.45 | 1.40 to 1.60 | ≤ 1.5 | pass |" in text
    assert "old" not in text
    page.write_text("nothing here")
    with pytest.raises(ValueError, match="no place"):
        report.write(page, section)
