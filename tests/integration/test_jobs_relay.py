"""From the outbox to RQ: nothing lost, nothing twice, whatever happens to Redis."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest
from redis import Redis
from rq.job import Job as RqJob
from rq.serializers import JSONSerializer

from billing import outbox
from billing.clock import FixedClock, SystemClock
from jobs.handover import job_id, rq_queue, show_failed
from jobs.nudge import LIST, Nudger, send_nudge
from jobs.redis_server import EmbeddedRedis
from jobs.relay import Relay

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
MOBILE = "+989121234567"


@pytest.fixture
def clock():
    return FixedClock(NOW)


@pytest.fixture
def redis(redis_url):
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def relay(outbox_database, redis_url, clock):
    return Relay(outbox_database, redis_url, clock)


def put(database, *keys, queue="sms", now=NOW, available_at=None) -> list[int]:
    payload = {"to": MOBILE, "text": "x"}
    with database.begin() as conn:
        for key in keys:
            outbox.put(conn, key, queue, "text", payload, now, available_at)
    ids = {row.id for row in outbox.due(database, datetime(2100, 1, 1, tzinfo=UTC), 10000)}
    return sorted(ids)


def waiting(redis, queue="sms") -> list[str]:
    return rq_queue(redis, queue).get_job_ids()


def test_each_due_row_becomes_one_job(outbox_database, redis, relay):
    """In the row's queue, in order, and once however often the relay looks."""
    ids = put(outbox_database, "a", "b")
    (last,) = set(put(outbox_database, "c", queue="email")) - set(ids)
    assert relay.look() == 3
    assert relay.look() == 0
    assert waiting(redis) == [job_id(n) for n in ids]
    assert waiting(redis, "email") == [job_id(last)]


def test_nothing_personal_is_in_redis(outbox_database, redis, relay):
    """A job holds the id of its row and nothing else: no number in any key or value."""
    (row,) = put(outbox_database, "a")
    relay.look()
    job = RqJob.fetch(job_id(row), connection=redis, serializer=JSONSerializer)
    assert job.args == [row]
    assert job.kwargs == {}
    assert job.description == f"sms #{row}"
    for key in redis.scan_iter():
        held = redis.hgetall(key) if redis.type(key) == b"hash" else {}
        assert b"912123" not in b"".join([key, *held.keys(), *held.values()])


def test_a_row_that_is_not_due_waits(outbox_database, redis, relay, clock):
    """It is handed over when its time has come."""
    put(outbox_database, "a", available_at=datetime(2026, 11, 21, 9, 0, tzinfo=UTC))
    assert relay.look() == 0
    clock.advance(3600)
    assert relay.look() == 1


def test_a_new_relay_finds_the_jobs_of_the_old_one(outbox_database, redis, relay, redis_url, clock):
    """A restart hands over nothing twice."""
    put(outbox_database, "a", "b")
    relay.look()
    relay.stop()
    relay.run()
    put(outbox_database, "c")
    assert Relay(outbox_database, redis_url, clock).look() == 1
    assert len(waiting(redis)) == 3


def test_one_relay_works_the_others_stand_by(outbox_database, redis, relay, redis_url, clock):
    """Two relays never hand over together; one that ends lets the other begin at once."""
    second = Relay(outbox_database, redis_url, clock)
    relay.look()
    put(outbox_database, "a")
    assert second.look() == 0
    relay.stop()
    relay.run()
    assert second.look() == 1


def test_a_redis_that_lost_everything_is_filled_again(outbox_database, redis, relay):
    """After FLUSHALL every row that is due has its job again, once."""
    ids = put(outbox_database, "a", "b")
    relay.look()
    redis.flushall()
    assert relay.look() == 2
    assert relay.look() == 0
    assert waiting(redis) == [job_id(n) for n in ids]


def test_a_row_whose_consumer_died_gets_a_new_job(outbox_database, redis, relay, clock):
    """The lease has ended, the old job is still "started": it is replaced."""
    (row,) = put(outbox_database, "a")
    relay.look()
    outbox.claim(outbox_database, "w", NOW, 60, queue="sms")
    rq_queue(redis, "sms").empty()
    redis.hset(RqJob.key_for(job_id(row)), mapping={"status": "started", "data": b"x"})
    assert relay.look() == 0
    clock.advance(61)
    assert relay.look() == 1
    assert waiting(redis) == [job_id(row)]


def test_a_job_lost_before_its_row_was_claimed_is_noticed(outbox_database, redis_url, redis, clock):
    """A consumer killed right after taking the job: after the recheck time there is a new one."""
    relay = Relay(outbox_database, redis_url, clock, recheck_s=0.0)
    put(outbox_database, "a")
    assert relay.look() == 1
    redis.lpop(rq_queue(redis, "sms").key)
    assert relay.look() == 1
    assert len(waiting(redis)) == 1


def test_a_job_being_taken_is_left_alone(outbox_database, redis, relay):
    """Between taking a job and claiming its row a consumer is not overtaken."""
    (row,) = put(outbox_database, "a")
    relay.look()
    redis.lpop(rq_queue(redis, "sms").key)
    redis.hset(RqJob.key_for(job_id(row)), "status", "started")
    put(outbox_database, "b")
    assert relay.look() == 1
    assert job_id(row) not in waiting(redis)


def test_a_row_tried_again_replaces_its_failed_job(outbox_database, redis, relay):
    """`retry` makes the failed job vanish from RQ's failed ones and wait again."""
    (row,) = put(outbox_database, "a")
    (job,) = outbox.claim(outbox_database, "w", NOW, 60, queue="sms")
    outbox.fail(outbox_database, job, "no such mobile", NOW)
    show_failed(redis, "sms", row, "no such mobile")
    assert rq_queue(redis, "sms").failed_job_registry.get_job_ids() == [job_id(row)]
    outbox.retry_failed(outbox_database, NOW)
    assert relay.look() == 1
    assert rq_queue(redis, "sms").failed_job_registry.get_job_ids() == []
    assert waiting(redis) == [job_id(row)]


def run_in_thread(relay: Relay) -> threading.Thread:
    thread = threading.Thread(target=relay.run)
    thread.start()
    return thread


def test_redis_away_when_the_row_is_written(outbox_database, tmp_path, poll, caplog):
    """Redis is killed before the relay could enqueue, and comes back without its memory: the row
    is handed over, once; the log says once that it is away and once that it is back.
    """
    server = EmbeddedRedis(tmp_path / "redis")
    url = server.start()
    relay = Relay(outbox_database, url, SystemClock(), poll_s=0.1)
    caplog.set_level(logging.INFO, "jobs.relay")
    thread = run_in_thread(relay)
    try:
        server.stop()
        (row,) = put(outbox_database, "a")
        poll(lambda: "Redis is away" in caplog.text, "the relay says that Redis is away")
        for file in (tmp_path / "redis").glob("*.aof"):
            file.unlink()
        server.start()
        with Redis.from_url(url) as redis:
            poll(lambda: waiting(redis), "the row has its job")
            poll(lambda: "is back" in caplog.text, "the relay says that Redis is back")
            assert waiting(redis) == [job_id(row)]
        assert caplog.text.count("Redis is away") == 1
        assert caplog.text.count("is back") == 1
    finally:
        relay.stop()
        thread.join(10)
        server.stop()


def test_a_nudge_wakes_the_relay(outbox_database, redis, redis_url, poll):
    """A relay that looks every 20 s by itself hands over at once when nudged."""
    relay = Relay(outbox_database, redis_url, SystemClock(), poll_s=20)
    nudger = Nudger(redis_url)
    thread = run_in_thread(relay)
    try:
        poll(
            lambda: redis.client_list() and any(c["cmd"] == "brpop" for c in redis.client_list()),
            "the relay waits",
        )
        put(outbox_database, "a")
        nudger.nudge()
        poll(lambda: waiting(redis), "the row has its job", 5)
    finally:
        relay.stop()
        nudger.nudge()
        thread.join(10)
        nudger.close()
    assert not thread.is_alive()


def test_a_relay_that_stands_by_takes_no_nudge(outbox_database, redis, redis_url, poll):
    """Nudges are for the relay that works."""
    works = Relay(outbox_database, redis_url, SystemClock())
    works.look()
    stands_by = Relay(outbox_database, redis_url, SystemClock(), poll_s=0.05)
    thread = run_in_thread(stands_by)
    try:
        send_nudge(redis)
        looks = redis.info("commandstats")["cmdstat_get"]["calls"]
        poll(
            lambda: redis.info("commandstats")["cmdstat_get"]["calls"] > looks + 5,
            "the second relay looks a few times",
        )
        assert redis.llen(LIST) == 1
    finally:
        stands_by.stop()
        thread.join(10)


def test_a_nudge_under_gevent_does_not_block_calls(tmp_path):
    """In a patched worker a Redis that accepts and never answers holds up no other greenlet."""
    script = (
        "from gevent import monkey; monkey.patch_all()\n"
        "import sys, time, gevent\n"
        "from jobs.nudge import Nudger\n"
        "nudger = Nudger(sys.argv[1]); longest = 0.0\n"
        "for _ in range(50):\n"
        "    begun = time.monotonic(); nudger.nudge(); gevent.sleep(0.005)\n"
        "    longest = max(longest, time.monotonic() - begun)\n"
        "print(longest)\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        ended = subprocess.run(
            [sys.executable, "-c", script, url], capture_output=True, text=True, timeout=30
        )
    assert float(ended.stdout) < 0.5, ended.stderr


def test_a_nudge_without_redis_costs_nothing(tmp_path, caplog, poll):
    """No exception, no wait; one line in the log for many nudges."""
    with EmbeddedRedis(tmp_path) as server:
        nudger = Nudger(server.url)
    for _ in range(1000):
        nudger.nudge()
    poll(lambda: "Redis is away" in caplog.text, "the log says so")
    nudger.close()
    assert caplog.text.count("Redis is away") == 1


def test_a_thousand_nudges_are_few_commands(redis, redis_url, poll):
    """Coalesced, and the list never grows."""
    before = redis.info("commandstats").get("cmdstat_lpush", {}).get("calls", 0)
    nudger = Nudger(redis_url)
    for _ in range(1000):
        nudger.nudge()
    poll(lambda: redis.llen(LIST), "a nudge arrives")
    nudger.close()
    assert redis.llen(LIST) == 1
    assert redis.info("commandstats")["cmdstat_lpush"]["calls"] - before <= 3


def test_a_chore_is_done_at_each_look(outbox_database, redis_url, clock):
    """What the chore puts into the outbox is handed over in the same look."""

    def chore() -> None:
        with outbox_database.begin() as conn:
            outbox.put(conn, "daily", "reports", "daily", {}, NOW)

    assert Relay(outbox_database, redis_url, clock, chores=chore).look() == 1
