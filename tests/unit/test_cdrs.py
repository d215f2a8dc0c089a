"""Call records are kept once each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing import cdrs
from billing.cdr_document import Cdr, parse
from billing.database import Database
from billing.errors import CdrConflict
from billing.schema import cdrs as table
from tests import cdr_forms

NOW = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)


def _cdr(name: str = "transferred") -> Cdr:
    return parse(cdr_forms.body(name))


def _rows(database: Database) -> list[Any]:
    with database.read() as conn:
        return list(conn.execute(select(table)).mappings())


def test_a_record_comes_back_as_it_was(database: Database) -> None:
    """Every column holds what the record says, times to the microsecond."""
    cdr = _cdr()
    assert cdrs.store(database, cdr, NOW)
    (row,) = _rows(database)
    assert {name: row[name] for name in ("uuid", "core_uuid", "leg", "caller", "dialled")} == {
        "uuid": cdr.uuid,
        "core_uuid": cdr.core_uuid,
        "leg": "a",
        "caller": "02188776655",
        "dialled": "2000",
    }
    assert (row["started_at"], row["answered_at"], row["ended_at"], row["received_at"]) == (
        cdr.started_at,
        cdr.answered_at,
        cdr.ended_at,
        NOW,
    )
    assert (row["handovers"], row["billsec"], row["raw"]) == ("1795296098069289", 12, cdr.raw)


def test_a_repetition_changes_nothing(database: Database) -> None:
    """Delivered again, perhaps in another dress and later, it is there once."""
    assert cdrs.store(database, _cdr(), NOW)
    before = _rows(database)
    for _type, body in cdr_forms.dresses(cdr_forms.body("transferred")).values():
        assert not cdrs.store(database, parse(body), NOW + timedelta(hours=1))
    assert _rows(database) == before


def test_another_record_of_the_same_leg_is_refused(database: Database) -> None:
    """The first one stays, and the error names the call."""
    cdr = _cdr()
    cdrs.store(database, cdr, NOW)
    with pytest.raises(CdrConflict, match=cdr.uuid):
        cdrs.store(database, replace(cdr, billsec=99, digest="other"), NOW)
    assert [row["billsec"] for row in _rows(database)] == [12]


def test_a_switch_that_restarted_may_use_a_uuid_again(database: Database) -> None:
    """Core UUID and leg are part of the identity."""
    cdr = _cdr()
    for each in (cdr, replace(cdr, core_uuid="other"), replace(cdr, leg="b")):
        assert cdrs.store(database, each, NOW)
    assert len(_rows(database)) == 3


def test_many_deliveries_at_once_store_one(
    database: Database, in_threads: Callable[[list[Callable[[], object]]], list[object]]
) -> None:
    """Of simultaneous deliveries one is new, the others are repetitions."""
    cdr = _cdr()
    results = in_threads([lambda: cdrs.store(database, cdr, NOW)] * 8)
    assert sorted(map(str, results)) == ["False"] * 7 + ["True"]


def test_hostile_text_is_stored(database: Database) -> None:
    """NUL and half surrogate pairs in numbers and names do not stop a record."""
    record = cdr_forms.document("no-route")
    record["switchname"] = "fs\0\ud800"
    record["callflow"][0]["caller_profile"]["caller_id_number"] = "\0\udfff" * 100
    record["variables"]["hangup_cause"] = "\0"
    body = json.dumps(record).encode()
    assert cdrs.store(database, parse(body), NOW)


def test_counting_a_span(database: Database) -> None:
    """Legs are counted by their beginning."""
    for name in ("transferred", "far-leg", "gave-up"):
        cdrs.store(database, _cdr(name), NOW)
    begin = _cdr("far-leg").started_at
    assert cdrs.count(database, begin, NOW) == 2
    assert cdrs.count(database, begin, begin + timedelta(microseconds=1)) == 1
    assert cdrs.count(database, NOW, NOW) == 0
