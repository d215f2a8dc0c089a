"""The outbox: written with its cause, claimed by one, done once, failures visible."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Connection

from billing import outbox
from billing.clock import FixedClock
from billing.database import Database
from billing.outbox import Depth, Job, Queue


@pytest.fixture
def put(database: Database, clock: FixedClock) -> Callable[..., bool]:
    """Puts one row in a transaction of its own."""

    def put_one(key: str, queue: Queue = "sms", delay_s: float = 0) -> bool:
        now = clock.now()
        with database.begin() as conn:
            return outbox.put(
                conn, key, queue, "sms.bill", {"bill": 1}, now, now + timedelta(seconds=delay_s)
            )

    return put_one


@pytest.fixture
def claim(database: Database, clock: FixedClock) -> Callable[..., list[Job]]:
    """Claims for 30 seconds."""

    def claim_some(worker: str = "w1", queue: Queue | None = "sms", **rest: object) -> list[Job]:
        return outbox.claim(database, worker, clock.now(), 30, queue=queue, **rest)  # type: ignore[arg-type]

    return claim_some


def test_a_key_is_put_once(put: Callable[..., bool], claim: Callable[..., list[Job]]) -> None:
    """The second put answers False; there is one row, as it was put first."""
    assert put("k")
    assert not put("k", queue="email")
    assert [(job.key, job.queue, job.payload, job.attempts) for job in claim(queue=None)] == [
        ("k", "sms", {"bill": 1}, 1)
    ]


def test_a_row_is_as_durable_as_its_cause(
    database: Database, clock: FixedClock, claim: Callable[..., list[Job]]
) -> None:
    """When the transaction fails, the row was never there."""

    def put_and_fail(conn: Connection) -> None:
        assert outbox.put(conn, "k", "sms", "sms.bill", {}, clock.now())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.write(put_and_fail)
    assert claim() == []


def test_a_claimed_row_is_nobody_elses_until_the_lease_ends(
    put: Callable[..., bool], claim: Callable[..., list[Job]], clock: FixedClock
) -> None:
    """A worker that died loses its rows after the lease, and only then."""
    put("k")
    assert len(claim("w1")) == 1
    clock.advance(29)
    assert claim("w2") == []
    clock.advance(1)
    assert [(job.claimed_by, job.attempts) for job in claim("w2")] == [("w2", 2)]


def test_rows_come_oldest_first_and_not_before_their_time(
    put: Callable[..., bool], claim: Callable[..., list[Job]], clock: FixedClock
) -> None:
    """Order is by availability; a row put for later waits; the limit holds."""
    put("later", delay_s=60)
    clock.advance(1)
    put("first")
    clock.advance(1)
    put("second")
    put("other queue", queue="email")
    assert [job.key for job in claim(limit=1)] == ["first"]
    assert [job.key for job in claim()] == ["second"]
    clock.advance(60)
    assert [job.key for job in claim(ids=[1])] == ["later"]


def test_a_done_row_stays_done(
    database: Database,
    put: Callable[..., bool],
    claim: Callable[..., list[Job]],
    clock: FixedClock,
) -> None:
    """Done once counts once, also when a worker says it after its lease has ended."""
    put("k")
    (job,) = claim("w1")
    clock.advance(60)
    (again,) = claim("w2")
    assert outbox.done(database, [job], clock.now()) == 1
    assert outbox.done(database, [again], clock.now()) == 0
    assert not outbox.fail(database, again, "too late", clock.now())
    clock.advance(60)
    assert claim() == []
    assert outbox.depths(database, clock.now())["sms"] == Depth(0, 0, None, 0)


def test_a_job_given_back_comes_again_at_its_time(
    database: Database,
    put: Callable[..., bool],
    claim: Callable[..., list[Job]],
    clock: FixedClock,
) -> None:
    """retry_later ends the claim, keeps the attempts, and is refused to one who lost the claim."""
    put("k")
    (job,) = claim("w1")
    assert outbox.retry_later(database, job, "gateway away", clock.now() + timedelta(seconds=5))
    assert not outbox.retry_later(database, job, "again", clock.now())
    assert claim() == []
    clock.advance(5)
    (again,) = claim("w1")
    assert again.attempts == 2
    assert not outbox.fail(database, job, "old claim", clock.now())
    assert not outbox.retry_later(database, job, "old claim", clock.now())
    assert outbox.fail(database, again, "held", clock.now())


def test_jobs_given_back_were_never_tried(
    database: Database,
    put: Callable[..., bool],
    claim: Callable[..., list[Job]],
    clock: FixedClock,
) -> None:
    """give_back takes back the count and keeps the order; a claim that was lost is left alone."""
    for key in ("a", "b", "c"):
        put(key)
        clock.advance(1)
    before = outbox.due(database, clock.now())
    a, b, c = claim("w1")
    assert outbox.retry_later(database, c, "away", clock.now())
    assert outbox.give_back(database, [a, b, c]) == 2
    assert outbox.give_back(database, [a, b]) == 0
    after = outbox.due(database, clock.now())
    assert [(row.id, row.attempts) for row in after] == [(a.id, 0), (b.id, 0), (c.id, 1)]
    assert not set(before) & set(after)
    claim("w2")
    clock.advance(30)
    (again,) = claim("w3", limit=1)
    assert (again.key, again.attempts) == ("a", 2)


def test_a_failed_job_is_listed_and_can_be_retried(
    database: Database,
    put: Callable[..., bool],
    claim: Callable[..., list[Job]],
    clock: FixedClock,
) -> None:
    """The list gives the reason and no payload; a retry starts with fresh attempts."""
    put("k")
    put("other", queue="email")
    (job,) = claim()
    assert outbox.fail(database, job, "no such number " + "x" * 1000, clock.now())
    (failure,) = outbox.failures(database, "sms")
    assert (failure.key, failure.attempts) == ("k", 1)
    assert failure.reason.startswith("no such number")
    assert len(failure.reason) == outbox.LONGEST_REASON
    assert not hasattr(failure, "payload")
    assert outbox.failures(database, "email") == []
    assert outbox.failed_among(database, [failure.id, 2, 99]) == {failure.id}
    assert outbox.retry_failed(database, clock.now(), queue="email") == 0
    assert outbox.retry_failed(database, clock.now(), ids=[failure.id]) == 1
    assert outbox.failures(database) == []
    assert [again.attempts for again in claim()] == [1]


def test_depths_tell_how_full_each_queue_is(
    database: Database,
    put: Callable[..., bool],
    claim: Callable[..., list[Job]],
    clock: FixedClock,
) -> None:
    """Pending, due now, age of the oldest, failed; an empty queue is there too."""
    put("a")
    clock.advance(10)
    put("b")
    put("c", delay_s=100)
    put("d", queue="email")
    (failed,) = claim(queue="email")
    outbox.fail(database, failed, "no", clock.now())
    claim(limit=1)
    assert outbox.depths(database, clock.now()) == {
        "sms": Depth(pending=3, due=1, oldest_age_s=10.0, failed=0),
        "email": Depth(0, 0, None, 1),
        "billing": Depth(0, 0, None, 0),
        "reports": Depth(0, 0, None, 0),
    }
    assert [(due.id, due.queue) for due in outbox.due(database, clock.now())] == [(2, "sms")]


def test_two_claimers_never_get_the_same_row(
    database: Database,
    clock: FixedClock,
    claim: Callable[..., list[Job]],
    in_threads: Callable[..., list[object]],
) -> None:
    """Eight workers claim 120 rows in small batches at once: each row goes to exactly one."""
    with database.begin() as conn:
        for number in range(120):
            outbox.put(conn, f"k{number}", "sms", "sms.bill", {}, clock.now())

    def worker(name: str) -> list[int]:
        claimed: list[int] = []
        while jobs := claim(name, limit=5):
            claimed += [job.id for job in jobs]
        return claimed

    results = in_threads([lambda n=n: worker(f"w{n}") for n in range(8)])
    claimed = [identity for result in results for identity in result]  # type: ignore[attr-defined]
    # A worker may stop early when the others hold all that is due: nothing is lost by that.
    claimed += [job.id for job in claim("last", limit=120)]
    assert sorted(claimed) == list(range(1, 121))


def test_one_key_at_the_same_moment_is_one_row(
    database: Database, clock: FixedClock, in_threads: Callable[..., list[object]]
) -> None:
    """Twenty threads put the same key: one of them wrote it."""

    def put_it() -> bool:
        return database.write(
            lambda conn: outbox.put(conn, "k", "sms", "sms.bill", {}, clock.now())
        )

    assert sorted(map(bool, in_threads([put_it] * 20))) == [False] * 19 + [True]
    assert outbox.depths(database, clock.now())["sms"].pending == 1
