"""Seeing to rows: claims, verdicts, retries, and what operations see of failures."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis
from rq.job import Job as RqJob
from rq.serializers import JSONSerializer

from billing import outbox
from billing.clock import FixedClock
from billing.errors import Unavailable
from gateways.errors import Permanent, Temporary
from jobs.consumers import Consumer, JobFailed, deliver
from jobs.handover import job_id, rq_queue, show_failed
from jobs.queues import Queues
from jobs.redis_client import connect
from jobs.relay import Relay
from jobs.retrying import Retrying

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


class Outside:
    """A handler that does what the row's payload says, and remembers the keys it was given."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.mended = False

    def __call__(self, job) -> None:
        self.keys.append(job.key)
        if self.mended:
            return
        match job.payload.get("raise"):
            case "permanent":
                raise Permanent("no such mobile")
            case "temporary":
                raise Temporary("away")
            case "wait":
                raise Temporary("away", retry_after_s=600)
            case "bug":
                raise ValueError("+989121234567 is odd")


class Desk:
    """Everything a consumer needs, in one process, on a clock that stands still."""

    def __init__(self, database, redis_url: str) -> None:
        self.database = database
        self.redis_url = redis_url
        self.redis = Redis.from_url(redis_url)
        self.clock = FixedClock(NOW)
        self.outside = Outside()
        self.relay = Relay(database, redis_url, self.clock)
        self.queues = Queues(database, redis_url, self.clock)
        self.retrying = Retrying(attempts=3, first_s=10)

    def consumer(self, name: str = "c1", **settings) -> Consumer:
        settings = {"retrying": self.retrying} | settings
        handlers = {"text": self.outside}
        return Consumer(self.database, self.clock, self.redis, handlers, name=name, **settings)

    def put(self, key: str, kind: str = "text", **payload) -> int:
        with self.database.begin() as conn:
            outbox.put(conn, key, "sms", kind, payload, self.clock.now())
        return max(row.id for row in outbox.due(self.database, self.clock.now(), 1000))

    def waiting(self) -> list[str]:
        return rq_queue(self.redis, "sms").get_job_ids()

    def failed_jobs(self) -> list[str]:
        return rq_queue(self.redis, "sms").failed_job_registry.get_job_ids()

    def depth(self):
        return outbox.depths(self.database, self.clock.now())["sms"]


@pytest.fixture
def desk(outbox_database, redis_url):
    desk = Desk(outbox_database, redis_url)
    yield desk
    desk.redis.close()


def test_a_row_is_done_once(desk):
    """Its key reaches the gateway; its job again does nothing."""
    row = desk.put("call-1/sms")
    desk.consumer().deliver(row)
    desk.consumer().deliver(row)
    assert desk.outside.keys == ["call-1/sms"]
    assert desk.depth().pending == 0


def test_one_job_sees_to_a_batch(desk):
    """Further due rows of the queue are done with it, and their jobs leave the queue."""
    rows = [desk.put(f"k{n}") for n in range(5)]
    desk.relay.look()
    desk.redis.lpop(rq_queue(desk.redis, "sms").key)
    desk.consumer().deliver(rows[0])
    assert desk.outside.keys == [f"k{n}" for n in range(5)]
    assert desk.waiting() == []
    assert not list(desk.redis.scan_iter(f"rq:job:{job_id(rows[1])}"))


def test_a_temporary_fault_is_tried_again_later(desk):
    """Waits double, up to the last try; then the row is given up with the last reason."""
    row = desk.put("k", **{"raise": "temporary"})
    desk.consumer().deliver(row)
    assert outbox.due(desk.database, desk.clock.now() + timedelta(seconds=4.9), 10) == []
    desk.clock.advance(10)
    assert desk.relay.look() == 1
    desk.consumer().deliver(row)
    assert outbox.due(desk.database, desk.clock.now() + timedelta(seconds=9.9), 10) == []
    desk.clock.advance(20)
    with pytest.raises(JobFailed, match=r"^away$"):
        desk.consumer().deliver(row)
    (failure,) = desk.queues.failures()
    assert (failure.id, failure.reason, failure.attempts) == (row, "away", 3)
    assert desk.outside.keys == ["k"] * 3


def test_a_gateway_may_ask_for_a_longer_wait(desk):
    """Retry-After is granted."""
    row = desk.put("k", **{"raise": "wait"})
    desk.consumer().deliver(row)
    assert outbox.due(desk.database, desk.clock.now() + timedelta(seconds=599), 10) == []
    assert len(outbox.due(desk.database, desk.clock.now() + timedelta(seconds=600), 10)) == 1


def test_a_permanent_fault_is_given_up_at_once(desk):
    """The row is in the failed list with its reason, the job fails with the same words."""
    row = desk.put("k", **{"raise": "permanent"})
    with pytest.raises(JobFailed, match=r"^no such mobile$"):
        desk.consumer().deliver(row)
    assert [failure.reason for failure in desk.queues.failures("sms")] == ["no such mobile"]
    assert desk.depth().failed == 1


def test_a_failure_within_a_batch_is_shown_too(desk):
    """A row given up in another job's batch is among RQ's failed jobs with its reason; the job
    that brought the batch is fine.
    """
    good, bad = desk.put("good"), desk.put("bad", **{"raise": "permanent"})
    desk.relay.look()
    desk.redis.lpop(rq_queue(desk.redis, "sms").key)
    desk.consumer().deliver(good)
    assert desk.failed_jobs() == [job_id(bad)]
    assert desk.waiting() == []
    job = RqJob.fetch(job_id(bad), connection=desk.redis, serializer=JSONSerializer)
    assert job.latest_result().exc_string == "no such mobile"
    assert job.get_status() == "failed"


def test_a_failed_job_put_back_by_hand_is_tried_again(desk):
    """What rq-dashboard's requeue button does makes the row be tried anew."""
    good, bad = desk.put("good"), desk.put("bad", **{"raise": "permanent"})
    desk.relay.look()
    desk.redis.lpop(rq_queue(desk.redis, "sms").key)
    desk.consumer().deliver(good)
    desk.outside.mended = True
    rq_queue(desk.redis, "sms").failed_job_registry.requeue(job_id(bad))
    assert desk.waiting() == [job_id(bad)]
    desk.consumer().deliver(bad)
    assert desk.outside.keys == ["good", "bad", "bad"]
    assert desk.depth().failed == 0


def test_retry_by_queue_or_id(desk):
    """`retry` makes failed rows due, and the relay hands them over again."""
    rows = [desk.put(f"k{n}", **{"raise": "permanent"}) for n in range(3)]
    with pytest.raises(JobFailed):
        desk.consumer().deliver(rows[0])
    assert desk.depth().failed == 3
    assert desk.queues.retry(ids=[rows[1]]) == 1
    assert desk.queues.retry(queue="email") == 0
    assert desk.queues.retry(ids=[rows[1], 10**30]) == 0
    assert desk.queues.not_failed([rows[2], 10**30, rows[1], 77, 77]) == [10**30, rows[1], 77]
    assert desk.queues.not_failed([]) == []
    assert desk.queues.retry(queue="sms") == 2
    assert desk.relay.look() == 3
    assert desk.failed_jobs() == []
    assert desk.redis.llen("callflows:nudge") == 1


def test_a_row_retried_in_another_jobs_batch_leaves_the_failed_jobs(desk):
    """Tried again by `retry` and done before the relay looked: nothing failed is shown any more."""
    bad, good = desk.put("bad", **{"raise": "permanent"}), desk.put("good")
    desk.relay.look()
    desk.redis.lpop(rq_queue(desk.redis, "sms").key, 2)
    outbox.claim(desk.database, "other", desk.clock.now(), 60, ids=[good])
    with pytest.raises(JobFailed):
        desk.consumer().deliver(bad)
    show_failed(desk.redis, "sms", bad, "no such mobile")
    desk.outside.mended = True
    desk.queues.retry(ids=[bad])
    desk.clock.advance(61)
    desk.consumer().deliver(good)
    assert desk.depth().pending == 0
    assert desk.failed_jobs() == []


def test_a_bug_is_retried_without_its_words(desk, caplog):
    """An unexpected exception keeps its kind and place; its text, which may be personal, is
    neither in the outbox nor in the log.
    """
    row = desk.put("k", **{"raise": "bug"})
    for wait in (10, 20):
        desk.consumer().deliver(row)
        desk.clock.advance(wait)
    with pytest.raises(JobFailed, match=r"^ValueError in __call__ \(test_jobs_consumers.py:\d+\)"):
        desk.consumer().deliver(row)
    assert "912" not in caplog.text
    assert "912" not in desk.queues.failures()[0].reason


def test_a_kind_that_nobody_knows_is_given_up(desk):
    """Named in the failed list, not retried for hours."""
    row = desk.put("k", kind="sms.unheard")
    with pytest.raises(JobFailed, match=r"nothing sees to sms\.unheard"):
        desk.consumer().deliver(row)


def test_a_row_that_kills_its_consumers_is_set_aside(desk):
    """Claimed again and again without a verdict: given up without another try."""
    row = desk.put("k")
    for _ in range(6):
        assert outbox.claim(desk.database, "dead", desk.clock.now(), 60, ids=[row])
        desk.clock.advance(61)
    with pytest.raises(JobFailed, match="consumers died"):
        desk.consumer().deliver(row)
    assert desk.outside.keys == []


def test_two_consumers_and_one_row(desk):
    """Both get the job at the same moment; the row is sent once."""
    rows = [desk.put(f"k{n}") for n in range(10)]
    barrier = threading.Barrier(4)

    def work(name: str) -> None:
        consumer = desk.consumer(name)
        for row in rows:
            barrier.wait(10)
            consumer.deliver(row)

    threads = [threading.Thread(target=work, args=(f"c{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(desk.outside.keys) == [f"k{n}" for n in range(10)]


def test_a_row_under_a_live_lease_is_left_alone(desk):
    """Until the lease ends; then the next consumer sends with the same key."""
    row = desk.put("k")
    outbox.claim(desk.database, "slow", desk.clock.now(), 60, ids=[row])
    desk.consumer().deliver(row)
    assert desk.outside.keys == []
    desk.clock.advance(61)
    desk.consumer().deliver(row)
    assert desk.outside.keys == ["k"]


def test_a_stopped_consumer_gives_back_its_batch(desk):
    """The row in hand is finished; the others are due at once for others."""
    rows = [desk.put(f"k{n}") for n in range(3)]
    consumer = desk.consumer()
    consumer._handlers = {"text": lambda job: (desk.outside(job), consumer.stop())}
    consumer.deliver(rows[0])
    assert desk.outside.keys == ["k0"]
    assert [row.id for row in outbox.due(desk.database, desk.clock.now(), 10)] == rows[1:]
    desk.consumer("c2").deliver(rows[1])
    assert desk.outside.keys == ["k0", "k1", "k2"]


def test_rows_given_back_keep_their_tries(desk, monkeypatch):
    """Claimed in batch after batch whose first row takes long: a row that was never begun has all
    its tries left when its turn comes.
    """
    rows = [desk.put(f"k{n}", **{"raise": "temporary"}) for n in range(8)]
    monkeypatch.setattr("jobs.consumers._BATCH_S", -1.0)
    for row in rows[:7]:
        desk.consumer().deliver(row)
    assert desk.outside.keys == [f"k{n}" for n in range(7)]
    (last,) = outbox.due(desk.database, desk.clock.now(), 10)
    assert (last.id, last.attempts) == (rows[7], 0)
    desk.consumer().deliver(last.id)
    assert desk.depth().failed == 0


def test_a_row_given_back_is_handed_over_at_once(desk, monkeypatch):
    """Claimed and given back between two looks of the relay: its job was used up, it gets one."""
    rows = [desk.put(f"k{n}") for n in range(2)]
    desk.relay.look()
    desk.redis.lpop(rq_queue(desk.redis, "sms").key)
    monkeypatch.setattr("jobs.consumers._BATCH_S", -1.0)
    desk.consumer().deliver(rows[0])
    assert desk.waiting() == []
    assert desk.relay.look() == 1
    assert desk.waiting() == [job_id(rows[1])]


def test_told_to_stop_before_it_begins(desk):
    """The row whose job was taken is done, and no other is claimed for it."""
    rows = [desk.put(f"k{n}") for n in range(2)]
    consumer = desk.consumer()
    consumer.stop()
    consumer.deliver(rows[0])
    assert desk.outside.keys == ["k0"]
    (other,) = outbox.due(desk.database, desk.clock.now(), 10)
    assert (other.id, other.attempts) == (rows[1], 0)


def test_a_database_away_loses_nothing(desk):
    """The consumer does not fail the job; the row waits for its lease."""
    row = desk.put("k")

    def away(job) -> None:
        raise Unavailable("away")

    consumer = desk.consumer()
    consumer._handlers = {"text": away}
    other = desk.put("other")
    consumer.deliver(row)
    assert desk.depth().pending == 2
    assert desk.depth().failed == 0
    # The other row of the batch was not begun: due at once, its try not used.
    (waits,) = outbox.due(desk.database, desk.clock.now())
    assert (waits.id, waits.attempts) == (other, 0)


def test_a_database_away_after_the_sending_is_waited_for(desk, monkeypatch):
    """What has left is not forgotten: marking it done is tried again."""
    row = desk.put("k")
    done = outbox.done
    answers = [Unavailable("locked"), Unavailable("locked")]

    def sometimes(*arguments):
        if answers:
            raise answers.pop()
        return done(*arguments)

    monkeypatch.setattr(outbox, "done", sometimes)
    desk.consumer().deliver(row)
    assert desk.outside.keys == ["k"]
    assert desk.depth().pending == 0


def test_redis_away_does_not_stop_a_batch(desk):
    """Rows are done though the queues cannot be tidied."""
    rows = [desk.put(f"k{n}") for n in range(3)]
    with connect("redis://127.0.0.1:1/0") as nowhere:
        desk.redis = nowhere
        desk.consumer().deliver(rows[0])
    assert desk.outside.keys == ["k0", "k1", "k2"]


def test_states_with_and_without_redis(desk):
    """Depths come from the database; what Redis would say is None while it is away."""
    desk.put("k")
    desk.relay.look()
    desk.clock.advance(5)
    state = next(state for state in desk.queues.states() if state.name == "sms")
    assert (state.pending, state.due, state.oldest_age_s, state.failed) == (1, 1, 5.0, 0)
    assert (state.waiting, state.consumers) == (1, 0)
    away = Queues(desk.database, "redis://127.0.0.1:1/0", desk.clock)
    state = next(state for state in away.states() if state.name == "sms")
    assert (state.pending, state.waiting, state.consumers) == (1, None, None)


def test_deliver_outside_a_consumer_says_so():
    """A bare `rq worker` cannot see to rows, and is told how."""
    with pytest.raises(RuntimeError, match="callflows run"):
        deliver(1)
