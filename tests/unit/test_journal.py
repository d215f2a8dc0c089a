"""The journal: written in batches, idempotent, read in order."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from billing.clock import FixedClock
from billing.database import Database
from billing.journal import CallHeader, Journal, Step


@pytest.fixture
def journal(database: Database) -> Journal:
    """A journal in a fresh database."""
    return Journal(database)


@pytest.fixture
def header(clock: FixedClock) -> CallHeader:
    """A call that has begun."""
    return CallHeader("c1", clock.now(), None, "+982188776655", "2000", None, None, None)


def _steps(first: int, last: int, text: str = "سلام") -> list[Step]:
    return [Step(seq, seq * 100, "menu", "heard", {"text": text}) for seq in range(first, last + 1)]


def test_what_is_written_is_read(journal: Journal, header: CallHeader) -> None:
    """All of it, in order, with Persian text and the caller's keys."""
    steps = [*_steps(1, 3), Step(4, 900, "menu", "pressed", {"keys": "2"})]
    journal.write(header, steps)
    call = journal.read("c1")
    assert call is not None
    assert (call.header, call.steps) == (header, steps)


def test_a_hostile_caller_is_written_down_harmlessly(journal: Journal, header: CallHeader) -> None:
    """NUL, broken UTF-8 and endless text in caller ID and steps cost no journal."""
    hostile = "\x00\udcff'; DROP TABLE calls; --" + "x" * 10_000
    journal.write(replace(header, caller=hostile), _steps(1, 1, "\x00\udcffسلام"))
    call = journal.read("c1")
    assert call is not None
    assert call.header.caller is not None
    assert call.header.caller.startswith("?'; DROP")
    assert len(call.header.caller) <= 64
    assert call.steps[0].data == {"text": "\x00?سلام"}


def test_an_unknown_call_is_none(journal: Journal) -> None:
    """Nothing is made up."""
    assert journal.read("nobody") is None


def test_a_batch_written_again_changes_nothing(journal: Journal, header: CallHeader) -> None:
    """A retry after a lost answer leaves one copy of each step."""
    for _ in range(2):
        journal.write(header, _steps(1, 3))
    call = journal.read("c1")
    assert call is not None
    assert [step.seq for step in call.steps] == [1, 2, 3]


def test_batches_of_two_workers_overlap_without_doubling(
    journal: Journal, header: CallHeader
) -> None:
    """After a takeover the first written step stays, and the order is that of the call."""
    journal.write(header, _steps(4, 6))
    journal.write(header, _steps(1, 4, "other"))
    call = journal.read("c1")
    assert call is not None
    assert [(step.seq, step.data["text"]) for step in call.steps] == [
        (1, "other"),
        (2, "other"),
        (3, "other"),
        (4, "other"),
        (5, "سلام"),
        (6, "سلام"),
    ]


def test_what_is_known_later_is_added(
    journal: Journal, header: CallHeader, clock: FixedClock
) -> None:
    """The end, the outcome and the methods come with a later batch, and are not lost again."""
    journal.write(header, _steps(1, 1))
    ended = clock.now() + timedelta(seconds=90)
    full = replace(
        header, ended_at=ended, language="fa", outcome="goodbye", methods=("sms", "read")
    )
    journal.write(full, _steps(2, 2))
    journal.write(header, [])
    call = journal.read("c1")
    assert call is not None
    assert call.header == full


def test_the_latest_calls_come_first(
    journal: Journal, header: CallHeader, clock: FixedClock
) -> None:
    """recent() is for operations: newest first, no more than asked for."""
    for number in range(3):
        journal.write(
            replace(header, call_id=f"c{number}", started_at=clock.advance(1)), _steps(1, 1)
        )
    assert [call.call_id for call in journal.recent(2)] == ["c2", "c1"]


def test_batches_of_several_calls_go_together(journal: Journal, header: CallHeader) -> None:
    """Headers without steps, steps of several calls, a call twice (back from a transfer)."""
    journal.write_all(
        [
            (header, _steps(0, 2)),
            (replace(header, call_id="c2"), []),
            (replace(header, outcome="transferred", methods=("read",)), _steps(3, 3)),
        ]
    )
    journal.write_all([])
    first, second = journal.read("c1"), journal.read("c2")
    assert first is not None
    assert second is not None
    assert [step.seq for step in first.steps] == [0, 1, 2, 3]
    assert (first.header.outcome, first.header.methods) == ("transferred", ("read",))
    assert second.steps == []
