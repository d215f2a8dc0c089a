"""The migrations build the schema that the code uses, and it refuses what must never happen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

import billing.premium.schema  # noqa: F401  # its tables belong to the metadata, too
from billing import ledger
from billing.database import Database
from billing.schema import Instant, metadata, to_microseconds

START = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


def _describe(conn: Connection) -> dict[str, object]:
    """Everything that the two ways of building a schema could do differently."""
    inspector = sqlalchemy.inspect(conn)
    if conn.dialect.name == "sqlite":
        triggers = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
    else:
        triggers = (
            "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger"
            " WHERE NOT tgisinternal ORDER BY tgname"
        )
    described: dict[str, object] = {
        "triggers": [tuple(row) for row in conn.execute(text(triggers))]
    }
    for table in sorted(set(inspector.get_table_names()) - {"alembic_version"}):
        described[table] = {
            "columns": [
                (c["name"], str(c["type"]), c["nullable"], c["default"])
                for c in inspector.get_columns(table)
            ],
            "checks": sorted(
                (c["name"], c["sqltext"]) for c in inspector.get_check_constraints(table)
            ),
            "primary": inspector.get_pk_constraint(table),
            "unique": sorted(map(str, inspector.get_unique_constraints(table))),
            "foreign": sorted(map(str, inspector.get_foreign_keys(table))),
            "indexes": sorted(
                (
                    index["name"],
                    index["column_names"],
                    index["unique"],
                    sorted((k, str(v)) for k, v in index.get("dialect_options", {}).items()),
                )
                for index in inspector.get_indexes(table)
            ),
        }
    return described


def test_the_migrated_schema_is_the_one_of_the_code(
    database: Database, empty_database_url: str
) -> None:
    """Migrations and `schema.metadata` build the same tables, constraints, indexes, triggers."""
    created = Database(empty_database_url)
    with created.begin() as conn:
        metadata.create_all(conn)
    with database.read() as migrated_conn, created.read() as created_conn:
        migrated, expected = _describe(migrated_conn), _describe(created_conn)
        context = MigrationContext.configure(migrated_conn, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)
    created.close()
    assert len(expected) > 15
    assert expected["triggers"]
    assert migrated == expected
    assert differences == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    """A start of the service on a database that is up to date leaves it alone."""
    with database.read() as conn:
        before = _describe(conn)
    database.migrate()
    with database.read() as conn:
        assert _describe(conn) == before


def test_two_processes_may_migrate_at_once(
    empty_database_url: str, in_threads: Callable[..., list[object]]
) -> None:
    """Worker and jobs start together: both find the schema built, neither fails."""
    databases = [Database(empty_database_url, deadline=20.0) for _ in range(3)]
    assert in_threads([database.migrate for database in databases]) == [None] * 3
    with databases[0].read() as conn:
        assert "bills" in sqlalchemy.inspect(conn).get_table_names()
    for database in databases:
        database.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET amount = amount + 1",
        "DELETE FROM entries",
        "UPDATE postings SET kind = 'x'",
        "DELETE FROM postings",
    ],
)
def test_ledger_rows_are_immutable(database: Database, statement: str) -> None:
    """No statement changes or removes what was posted, whoever sends it."""
    with database.begin() as conn:
        ledger.post(conn, "k", "test", [ledger.Transfer("a", "b", 5)], START)
    with pytest.raises(DBAPIError, match="immutable"), database.begin() as conn:
        conn.execute(text(statement))


_LINE = (
    "INSERT INTO lines (id, number, kind, language, first_name, last_name)"
    " VALUES (1, '+982188776655', 'fixed', 'fa', '', '')"
)
_BILL = (
    "INSERT INTO bills (id, line_id, year, period, amount, paid, carried_out, bill_id, payment_id,"
    " due_date, status, settled_at) VALUES (1, 1, 1405, {period}, {amount}, {paid}, {carried}, '1',"
    " '1', '2026-12-05', '{status}', {settled})"
)


def _bill(**values: object) -> str:
    given = {
        "period": 1,
        "amount": 5000,
        "paid": 0,
        "carried": 0,
        "status": "open",
        "settled": "NULL",
    }
    return _BILL.format(**(given | values))


@pytest.mark.parametrize(
    "statement",
    [
        _bill(amount=0),
        _bill(amount=-5000),
        _bill(paid=-1),
        _bill(carried=-1),
        _bill(period=0),
        _bill(period=100),
        _bill(paid=5001, status="paid", settled="1"),
        _bill(paid=4500, carried=501, status="paid", settled="1"),
        _bill(paid=4001, status="open"),
        _bill(paid=4000, status="paid", settled="1"),
        _bill(paid=5000, status="paid"),
        _bill(status="void"),
        "INSERT INTO lines (number, kind, language, first_name, last_name)"
        " VALUES ('02188776655', 'fixed', 'fa', '', '')",
        "INSERT INTO lines (number, kind, language, first_name, last_name)"
        " VALUES ('+982188776656', 'fixed', 'xx', '', '')",
        "INSERT INTO entries (posting, seq, debit, credit, amount) VALUES (1, 0, 1, 2, 0)",
        "INSERT INTO entries (posting, seq, debit, credit, amount) VALUES (1, 0, 1, 1, 5)",
        "INSERT INTO sms_counters (scope, key, span, count, ceiling) VALUES ('a', 'b', 'c', 3, 2)",
        "INSERT INTO payments (reference, bill_id, payment_id, amount, channel, paid_at,"
        " received_at) VALUES ('r', '1', '1', 0, 'bank', 1, 1)",
        "INSERT INTO payments (reference, bill_id, payment_id, amount, channel, paid_at,"
        " received_at, status) VALUES ('r', '1', '1', 5, 'bank', 1, 1, 'posted')",
        "INSERT INTO payments (reference, bill_id, payment_id, amount, channel, paid_at,"
        " received_at, status) VALUES ('r', '1', '1', 5, 'bank', 1, 1, 'parked')",
        "INSERT INTO outbox (key, queue, kind, payload, available_at, created_at)"
        " VALUES ('k', 'fax', 'x', '{}', 1, 1)",
        "INSERT INTO outbox (key, queue, kind, payload, available_at, created_at, status, done_at)"
        " VALUES ('k', 'sms', 'x', '{}', 1, 1, 'failed', 1)",
    ],
)
def test_the_database_refuses_what_must_never_happen(database: Database, statement: str) -> None:
    """Constraints hold also against code that is wrong: each statement breaks one."""
    with database.begin() as conn:
        conn.execute(text(_LINE))
        conn.execute(text("INSERT INTO bill_ids (bill_id, line_id) VALUES ('1', 1)"))
        conn.execute(text("INSERT INTO accounts (id, code, debits, credits) VALUES (1, 'a', 0, 0)"))
        conn.execute(text("INSERT INTO accounts (id, code, debits, credits) VALUES (2, 'b', 0, 0)"))
        conn.execute(
            text("INSERT INTO postings (id, key, kind, content, at) VALUES (1, 'p', 'x', '', 1)")
        )
    with pytest.raises(DBAPIError, match=r"(?i)check constraint"), database.begin() as conn:
        conn.execute(text(statement.replace(":", r"\:")))


def test_a_bill_that_is_right_is_taken(database: Database) -> None:
    """The statement that the refused ones vary is itself accepted."""
    with database.begin() as conn:
        conn.execute(text(_LINE))
        conn.execute(text("INSERT INTO bill_ids (bill_id, line_id) VALUES ('1', 1)"))
        conn.execute(text(_bill()))
        conn.execute(text("DELETE FROM bills"))
        conn.execute(text(_bill(paid=4001, status="paid", settled="1")))


def test_a_moment_without_time_zone_is_refused() -> None:
    """A naive datetime never reaches a column: it could be anybody's local time."""
    with pytest.raises(TypeError):
        to_microseconds(START.replace(tzinfo=None))
    assert Instant().process_bind_param(START, None) == to_microseconds(START)  # type: ignore[arg-type]
