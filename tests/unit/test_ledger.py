"""The ledger: keyed, immutable, balanced, and totals that the entries bear out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from billing import ledger
from billing.database import Database
from billing.errors import KeyConflict
from billing.ledger import Posting, Transfer

START = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
ACCOUNTS = ("cash:bank", "receivable:line:1", "revenue", "suspense")

_examples = itertools.count()

transfers = st.builds(
    Transfer,
    debit=st.sampled_from(ACCOUNTS),
    credit=st.sampled_from(ACCOUNTS),
    amount=st.integers(min_value=1, max_value=10**12),
).filter(lambda transfer: transfer.debit != transfer.credit)


def test_a_posting_moves_money_from_credit_to_debit(database: Database) -> None:
    """Balances are debits less credits; an account never posted to has none."""
    with database.begin() as conn:
        assert ledger.post(conn, "k", "payment", [Transfer("cash:bank", "revenue", 17_000)], START)
    with database.read() as conn:
        assert ledger.balance(conn, "cash:bank") == 17_000
        assert ledger.balance(conn, "revenue") == -17_000
        assert ledger.balance(conn, "suspense") == 0
        assert ledger.audit(conn) == []


def test_the_same_key_posts_once(database: Database) -> None:
    """A retry answers False and changes nothing."""
    for expected in (True, False, False):
        with database.begin() as conn:
            posted = ledger.post(conn, "k", "payment", [Transfer("a", "b", 5)], START)
            assert posted is expected
    with database.read() as conn:
        assert ledger.balance(conn, "a") == 5


@pytest.mark.parametrize(
    ("kind", "transfer"),
    [
        ("payment", Transfer("a", "b", 6)),
        ("payment", Transfer("b", "a", 5)),
        ("refund", Transfer("a", "b", 5)),
    ],
)
def test_a_key_used_for_something_else_is_an_error(
    database: Database, kind: str, transfer: Transfer
) -> None:
    """Amount, accounts and kind belong to the key; the other posting leaves no trace."""
    with database.begin() as conn:
        ledger.post(conn, "k", "payment", [Transfer("a", "b", 5)], START)
    with pytest.raises(KeyConflict), database.begin() as conn:
        ledger.post(conn, "k", kind, [transfer], START)
    with database.read() as conn:
        assert ledger.balance(conn, "a") == 5
        assert ledger.audit(conn) == []


@pytest.mark.parametrize("bad", [[], [Transfer("a", "a", 5)], [Transfer("a", "b", 0)]])
def test_a_posting_that_moves_nothing_is_refused(database: Database, bad: list[Transfer]) -> None:
    """No transfer, one account on both sides, an amount that is not positive."""
    with pytest.raises(ValueError, match="transfer"), database.begin() as conn:
        ledger.post(conn, "k", "payment", bad, START)


def test_transfers_of_a_posting_fail_together(database: Database) -> None:
    """A good transfer beside a bad one is not posted."""
    with pytest.raises(ValueError, match="positive"), database.begin() as conn:
        ledger.post(conn, "k", "x", [Transfer("a", "b", 5), Transfer("a", "b", -5)], START)
    with database.read() as conn:
        assert ledger.balance(conn, "a") == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    groups=st.lists(st.lists(transfers, min_size=1, max_size=4), min_size=1, max_size=5),
    repeats=st.lists(st.integers(min_value=0, max_value=4), max_size=4),
)
def test_the_audit_holds_after_any_operations(
    database: Database,
    groups: list[list[Transfer]],
    repeats: list[int],
) -> None:
    """Whatever is posted, in batches or singly, once or again: the entries bear out every total,
    and debits equal credits."""
    prefix = next(_examples)  # the examples share a database, but no keys
    postings = [Posting(f"{prefix}:{i}", "random", group) for i, group in enumerate(groups)]
    with database.begin() as conn:
        assert ledger.post_many(conn, postings, START) == {posting.key for posting in postings}
    for repeat in repeats:
        again = postings[repeat % len(postings)]
        with database.begin() as conn:
            assert not ledger.post(conn, again.key, again.kind, again.transfers, START)
    with database.read() as conn:
        assert ledger.audit(conn) == []
        assert conn.execute(text("SELECT sum(debits) - sum(credits) FROM accounts")).scalar() == 0


def test_the_audit_finds_a_total_that_was_tampered_with(database: Database) -> None:
    """A difference names the account and both sums."""
    with database.begin() as conn:
        ledger.post(conn, "k", "x", [Transfer("a", "b", 5)], START)
        conn.execute(text("UPDATE accounts SET debits = 7 WHERE code = 'a'"))
    with database.read() as conn:
        assert ledger.audit(conn) == [ledger.Difference("a", 7, 0, 5, 0)]


def test_simultaneous_postings_neither_get_lost_nor_doubled(
    database: Database, in_threads: Callable[..., list[object]]
) -> None:
    """Twelve threads, each key posted by two of them, accounts in either order: every key once."""

    def poster(number: int) -> Callable[[], object]:
        pair = ("a", "b") if number % 2 else ("b", "a")
        moves = [Transfer(*pair, 10 + number), Transfer("c", pair[0], 1)]
        return lambda: database.write(
            lambda conn: ledger.post(conn, f"k{number}", "x", moves, START)
        )

    results = in_threads([poster(number % 6) for number in range(12)])
    assert sorted(map(bool, results)) == [False] * 6 + [True] * 6
    assert all(isinstance(result, bool) for result in results)
    with database.read() as conn:
        assert ledger.audit(conn) == []
        assert ledger.balance(conn, "c") == 6
