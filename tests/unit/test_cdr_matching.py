"""Journals and call records are compared; what differs is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from billing import cdrs, reports
from billing.cdr_document import Cdr, parse
from billing.cdr_matching import KINDS, Mismatches, mismatches
from billing.database import Database
from billing.journal import CallHeader, Journal
from tests import cdr_forms

DAY = datetime(2026, 11, 21, 21, 0, tzinfo=UTC)
NOW = DAY + timedelta(hours=6)
SECOND = timedelta(seconds=1)


def _cdr(name: str, **changes: Any) -> Cdr:
    return replace(parse(cdr_forms.body(name)), **changes)


@pytest.fixture
def compare(database: Database) -> Callable[..., Mismatches]:
    """Compares all that is there, a day around the records' hour."""

    def run(**options: Any) -> Mismatches:
        return mismatches(database, DAY - timedelta(hours=12), NOW, NOW, **options)

    return run


@pytest.fixture
def keep(database: Database) -> Callable[..., None]:
    """Stores a record, received when its call ended."""

    def run(cdr: Cdr) -> None:
        cdrs.store(database, cdr, cdr.ended_at)

    return run


@pytest.fixture
def write(database: Database) -> Callable[..., None]:
    """Writes the journal that a worker writes of a record's call, with changes."""

    def run(cdr: Cdr, outcome: str | None = "caller_gone", **changes: Any) -> None:
        header = CallHeader(
            call_id=cdr.uuid,
            started_at=cdr.started_at,
            ended_at=cdr.ended_at,
            caller=cdr.caller,
            dialled=cdr.dialled,
            line=None,
            language="fa",
            outcome=outcome,
        )
        Journal(database).write(replace(header, **changes), [])

    return run


def _kinds(found: Mismatches) -> list[str]:
    assert {kind: n for kind, n in found.counts.items() if n} == {
        kind: [each.kind for each in found.items].count(kind)
        for kind in {each.kind for each in found.items}
    }
    return [each.kind for each in found.items]


def test_real_calls_agree(compare: Any, keep: Any, write: Any) -> None:
    """A transfer (journal ends there, record later), a hangup in the menu, one during the last
    words, the far leg of a bridge and calls that are not ours: nothing to report.
    """
    for name in cdr_forms.NAMES:
        keep(_cdr(name))
    transferred = _cdr("transferred")
    write(transferred, "transferred", ended_at=transferred.handovers[0] + SECOND)
    write(_cdr("caller-hung-up"), "caller_gone")
    write(_cdr("gave-up"), "completed")
    write(_cdr("two-talks"), "completed")
    found = compare()
    assert found.items == []
    assert found.counts == dict.fromkeys(KINDS, 0)
    assert found.since == _cdr("transferred").started_at


def test_a_record_without_journal(compare: Any, keep: Any) -> None:
    """A call that a worker had is told from one that no worker took."""
    cdr = _cdr("caller-hung-up")
    keep(cdr)
    keep(replace(cdr, uuid="lone", flow=None))
    found = compare()
    assert [(each.kind, each.call_id) for each in found.items] == [
        ("no_journal", cdr.uuid),
        ("not_served", "lone"),
    ]
    assert "flow bill" in found.items[0].detail


@pytest.mark.parametrize(
    "changes",
    [
        {"offered": False},
        {"answered_at": None},
        {"hangup_cause": "UNALLOCATED_NUMBER"},
        {"leg": "b"},
    ],
)
def test_records_that_need_no_journal(compare: Any, keep: Any, changes: dict[str, Any]) -> None:
    """Never offered, hung up before the answer, refused by the worker, a far leg."""
    keep(_cdr("caller-hung-up", flow=None, **changes))
    assert compare().items == []


def test_a_journal_without_record_after_the_grace_time(
    compare: Any, keep: Any, write: Any, database: Database
) -> None:
    """A switch may be late; calls from before the first record are not asked about."""
    keep(_cdr("no-route"))
    cdr = _cdr("gave-up")
    write(cdr, "completed")
    write(replace(cdr, uuid="before"), started_at=DAY - timedelta(hours=1))
    assert _kinds(compare()) == ["no_cdr"]
    at = cdr.ended_at + timedelta(minutes=14)
    assert mismatches(database, DAY, NOW, at).items == []
    keep(cdr)
    assert compare().items == []


def test_without_any_record_nothing_is_compared(compare: Any, write: Any) -> None:
    """Where no switch sends records (the embedded one does not), journals are not all wrong."""
    write(_cdr("gave-up"))
    found = compare()
    assert (found.since, found.items) == (None, [])


def test_a_journal_that_was_never_closed(compare: Any, keep: Any, write: Any) -> None:
    """The switch says that the call is over; its worker never said so, whichever came first."""
    cdr = _cdr("gave-up")
    keep(cdr)
    write(cdr, None, ended_at=None)
    other = replace(cdr, uuid="other", started_at=cdr.started_at + SECOND)
    write(other, None, ended_at=None)
    keep(other)
    assert _kinds(compare()) == ["open_journal"] * 2
    assert compare(grace=timedelta(hours=24)).items == []


def test_a_record_closes_the_journal_that_nobody_closed(
    database: Database, compare: Any, keep: Any, write: Any
) -> None:
    """A call that ended while no worker had it is not in progress for ever: its end is the
    record's, its outcome one of its own. A far leg ends nobody's conversation."""
    cdr, journal = _cdr("gave-up"), Journal(database)
    write(cdr, None, ended_at=None)
    keep(replace(cdr, leg="b"))
    (header,) = journal.recent()
    assert (header.ended_at, header.outcome) == (None, None)
    keep(cdr)
    (header,) = journal.recent()
    assert (header.ended_at, header.outcome) == (cdr.ended_at, "ended_without_us")
    keep(cdr)
    assert journal.recent() == [header]


def test_a_worker_knows_better_than_the_record(
    database: Database, compare: Any, keep: Any, write: Any
) -> None:
    """Records overtake journals: what a worker writes later of the end counts, also out of the
    spool of one that died; what it wrote before is not touched."""
    cdr, journal = _cdr("gave-up"), Journal(database)
    ended = cdr.ended_at - SECOND
    write(cdr, None, ended_at=None)
    keep(cdr)
    write(cdr, None, ended_at=None)
    assert journal.recent()[0].outcome == "ended_without_us"
    write(cdr, "completed", ended_at=ended)
    assert (journal.recent()[0].outcome, journal.recent()[0].ended_at) == ("completed", ended)
    keep(cdr)
    assert (journal.recent()[0].outcome, journal.recent()[0].ended_at) == ("completed", ended)
    dead = replace(cdr, uuid="dead")
    write(dead, None, ended_at=None)
    keep(dead)
    known = journal.read("dead")
    assert known is not None
    journal.add_all([(replace(known.header, outcome="completed", ended_at=ended), [])])
    known = journal.read("dead")
    assert known is not None
    assert (known.header.outcome, known.header.ended_at) == ("completed", ended)
    assert compare().items == []


def test_a_journal_that_a_dead_worker_left_finds_its_record(
    database: Database, keep: Any, write: Any
) -> None:
    """Taken in from the spool after the record had come, it is closed at once."""
    cdr, journal = _cdr("gave-up"), Journal(database)
    keep(cdr)
    write(replace(cdr, uuid="known"), None, ended_at=None)
    known = journal.read("known")
    assert known is not None
    for uuid in (cdr.uuid, "without-record"):
        journal.add_all([(replace(known.header, call_id=uuid), [])])
    closed = {header.call_id: header.outcome for header in journal.recent()}
    assert closed == {cdr.uuid: "ended_without_us", "without-record": None, "known": None}


@pytest.mark.parametrize(
    ("begins", "ends", "detail"),
    [
        (0, 4.9, None),
        (4.9, 0, None),
        (0, -30, "the journal ends -30.0 s from the record's"),
        (8, 0, "the journal begins +8.0 s from the record's"),
        (-20, 9, "the journal begins -20.0 s from the record's, ends +9.0 s from the record's"),
    ],
)
def test_times_that_differ(
    compare: Any, keep: Any, write: Any, begins: float, ends: float, detail: str | None
) -> None:
    """Beyond the tolerance a difference is told in seconds, within it is none."""
    cdr = _cdr("gave-up")
    keep(cdr)
    write(
        cdr,
        "completed",
        started_at=cdr.started_at + begins * SECOND,
        ended_at=cdr.ended_at + ends * SECOND,
    )
    assert [each.detail for each in compare().items] == ([detail] if detail else [])
    assert compare(tolerance=timedelta(minutes=1)).items == []


def test_a_conversation_may_begin_at_answer_or_after_a_transfer(
    compare: Any, keep: Any, write: Any
) -> None:
    """Calls that rang long, and calls that came to the flow by a transfer, begin late."""
    cdr = _cdr("gave-up")
    late = cdr.started_at + 20 * SECOND
    rang = replace(cdr, uuid="rang", answered_at=late)
    moved = replace(cdr, uuid="moved", handovers=(late,))
    for each in (rang, moved):
        keep(each)
        write(each, "completed", started_at=late + SECOND)
    assert compare().items == []


@pytest.mark.parametrize(
    ("outcome", "changes", "wrong"),
    [
        ("completed", {"answered_at": None}, True),
        ("caller_gone", {"answered_at": None}, False),
        ("caller_gone", {"hung_up_by": "switch"}, True),
        ("caller_gone", {"hung_up_by": None}, False),
        ("completed", {"hung_up_by": "switch"}, False),
        ("trouble", {"hung_up_by": "switch"}, False),
        ("transferred", {}, True),
    ],
)
def test_outcomes_that_cannot_both_be_true(
    compare: Any, keep: Any, write: Any, outcome: str, changes: dict[str, Any], wrong: bool
) -> None:
    """What the journal says about the end is held against who hung up, and whether at all."""
    cdr = _cdr("gave-up", **changes)
    keep(cdr)
    write(cdr, outcome)
    assert _kinds(compare()) == (["outcome"] if wrong else [])


def test_transferred_by_somebody_else(compare: Any, keep: Any, write: Any) -> None:
    """For its worker the caller is gone at a transfer by operations; that is no contradiction,
    but a journal that goes on to the end and blames the caller for the switch's hangup is.
    """
    cdr = _cdr("transferred")
    keep(cdr)
    write(cdr, "caller_gone", ended_at=cdr.handovers[0])
    assert compare().items == []
    other = replace(cdr, uuid="came-back", ended_at=cdr.ended_at + 60 * SECOND)
    keep(other)
    write(other, "caller_gone")
    assert _kinds(compare()) == ["outcome"]


def test_counts_are_whole_and_the_list_is_cut(compare: Any, keep: Any) -> None:
    """The first of the list, in order of time; every one is counted."""
    cdr = _cdr("gave-up")
    for number in range(20):
        keep(replace(cdr, uuid=f"c{number:02}", started_at=cdr.started_at + number * SECOND))
    found = compare(limit=3)
    assert [each.call_id for each in found.items] == ["c00", "c01", "c02"]
    assert found.counts["no_journal"] == 20


def test_the_span_is_of_beginnings(database: Database, keep: Any) -> None:
    """A call belongs to the span that it began in."""
    cdr = _cdr("gave-up")
    keep(cdr)
    begin = cdr.started_at
    assert len(mismatches(database, begin, begin + SECOND, NOW).items) == 1
    assert mismatches(database, begin + SECOND, NOW, NOW).items == []
    assert mismatches(database, DAY, begin, NOW).items == []


def test_the_daily_report_counts_records_and_mismatches(
    database: Database, keep: Any, write: Any
) -> None:
    """The record's evening in UTC is the next morning in Tehran, where the day is counted."""
    keep(_cdr("gave-up"))
    keep(_cdr("far-leg"))
    report = reports.daily(database, date(2026, 11, 22), now=NOW)
    assert report["cdrs"] == {"count": 2, "mismatches": {"no_journal": 1}}
    assert reports.daily(database, date(2026, 11, 21), now=NOW)["cdrs"]["count"] == 0
