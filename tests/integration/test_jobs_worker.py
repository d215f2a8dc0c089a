"""Consumers as processes of their own, with a real relay and Redis, and what kills them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from redis import Redis
from rq import Queue as RqQueue
from rq import SimpleWorker
from sqlalchemy import select

from billing import outbox, schema
from billing.clock import SystemClock
from jobs.dashboard import create_dashboard
from jobs.handover import job_id, rq_queue
from jobs.redis_server import EmbeddedRedis
from jobs.relay import Relay
from jobs.worker import run_consumer

ATTEMPTS = select(schema.outbox.c.attempts)


@pytest.fixture
def running_relay(outbox_database, redis_url) -> Iterator[Relay]:
    relay = Relay(outbox_database, redis_url, SystemClock(), poll_s=0.1, recheck_s=1.0)
    thread = threading.Thread(target=relay.run)
    thread.start()
    yield relay
    relay.stop()
    thread.join(10)


def put(database, texts, kind="text", **payload) -> list[int]:
    """Put rows; gives the ids of all that are due."""
    now = datetime.now(UTC)
    with database.begin() as conn:
        for text in texts:
            outbox.put(conn, f"key-{text}", "sms", kind, {"text": text, **payload}, now)
    return [row.id for row in due(database)]


def due(database):
    return outbox.due(database, datetime.now(UTC))


def depth(database):
    return outbox.depths(database, datetime.now(UTC))["sms"]


def test_three_consumers_send_each_message_once(
    outbox_database, redis_url, running_relay, consumers, poll
):
    """A hundred rows, three processes: each row is sent, and tried only once."""
    for _ in range(3):
        consumers.start(redis_url)
    texts = [f"m{n}" for n in range(100)]
    put(outbox_database, texts)
    poll(lambda: depth(outbox_database).pending == 0, "all rows are done", 30)
    assert Counter(consumers.sent()) == Counter(texts)
    assert Counter(consumers.attempts()) == Counter(texts)


def test_a_consumer_killed_in_the_middle_of_a_batch(
    outbox_database, redis_url, running_relay, consumers, poll
):
    """kill -9 between sending and marking: when the lease ends another consumer finishes. The
    message in hand goes out again under the same key, which the gateway recognises; all others
    are tried once.
    """
    victim = consumers.start(redis_url, lease_s=2)
    put(outbox_database, ["a", "b"])
    put(outbox_database, ["hangs"], "text.hang")
    put(outbox_database, ["c", "d"])
    poll((consumers.folder / "hanging").exists, "the consumer hangs after sending")
    victim.kill()
    victim.wait(10)
    assert depth(outbox_database).pending == 3
    consumers.start(redis_url, lease_s=30)
    poll(lambda: depth(outbox_database).pending == 0, "another consumer finishes", 30)
    assert Counter(consumers.sent()) == Counter(["a", "b", "hangs", "c", "d"])
    assert Counter(consumers.attempts()) == Counter(["a", "b", "hangs", "hangs", "c", "d"])


def test_sigterm_finishes_the_row_in_hand(
    outbox_database, redis_url, running_relay, consumers, poll
):
    """A consumer asked to stop ends what it has begun, gives back the rest, and exits cleanly."""
    first = consumers.start(redis_url)
    put(outbox_database, ["in hand"], "text.wait")
    poll((consumers.folder / "waiting").exists, "the consumer is at work")
    put(outbox_database, ["later"])
    first.send_signal(signal.SIGTERM)
    (consumers.folder / "go").touch()
    assert first.wait(10) == 0
    assert consumers.sent() == ["in hand"]
    consumers.start(redis_url)
    poll(lambda: len(consumers.sent()) == 2, "the next consumer does the rest", 30)
    assert consumers.attempts() == ["in", "hand", "later"]


def test_sigterm_in_the_middle_of_a_request(
    outbox_database, redis_url, running_relay, consumers, sms_server, poll
):
    """The gateway's answer is read to its end, the message is sent once and counted once."""
    process = consumers.start(redis_url)
    put(outbox_database, ["in hand"], "text.http", url=f"{sms_server.url}/trickle/body")
    record = sms_server.folder / "requests.jsonl"
    poll(lambda: record.exists() and sms_server.requests(), "the gateway answers")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    assert depth(outbox_database).pending == 0
    assert len(sms_server.requests()) == 1
    (attempts,) = outbox_database.query(lambda conn: list(conn.scalars(ATTEMPTS)))
    assert attempts == 1


def test_two_sigterms_are_one(outbox_database, redis_url, running_relay, consumers, poll):
    """Whoever is impatient does not take the message in hand with him."""
    process = consumers.start(redis_url)
    put(outbox_database, ["in hand"], "text.wait")
    poll((consumers.folder / "waiting").exists, "the consumer is at work")
    process.send_signal(signal.SIGTERM)
    # RQ takes a second one for "end at once" when it comes more than a second later.
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.2)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    (consumers.folder / "go").touch()
    assert process.wait(10) == 0
    assert consumers.sent() == ["in hand"]
    assert depth(outbox_database).pending == 0


@pytest.mark.parametrize("silence", ["stopped", "hanging"])
def test_sigterm_while_redis_is_away_finishes_the_row_in_hand(
    outbox_database, tmp_path, consumers, poll, silence
):
    """Redis is gone, or accepts and does not answer: the message is sent and marked, the rest of
    the batch is given back uncounted, and the process ends.
    """
    server = EmbeddedRedis(tmp_path / "redis")
    relay = Relay(outbox_database, server.start(), SystemClock())
    try:
        process = consumers.start(server.url)
        put(outbox_database, ["in hand"], "text.wait")
        put(outbox_database, ["b", "c"])
        relay.look()
        poll((consumers.folder / "waiting").exists, "the consumer is at work")
        poll(lambda: due(outbox_database) == [], "the batch is claimed")
        if silence == "stopped":
            server.stop()
        else:
            os.kill(server.pid, signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        (consumers.folder / "go").touch()
        assert process.wait(15) == 0
        assert consumers.sent() == ["in hand"]
        assert [row.attempts for row in due(outbox_database)] == [0, 0]
    finally:
        if server.pid is not None:
            os.kill(server.pid, signal.SIGCONT)
        server.stop()


@pytest.mark.parametrize("silence", ["stopped", "hanging"])
def test_sigterm_while_idle_and_redis_is_away(tmp_path, database, consumers, poll, silence):
    """It does not wait for Redis to end."""
    server = EmbeddedRedis(tmp_path / "redis")
    url = server.start()
    process = consumers.start(url)
    try:
        with Redis.from_url(url) as redis:
            poll(lambda: SimpleWorker.count(connection=redis), "the consumer is listed")
        if silence == "stopped":
            server.stop()
        else:
            os.kill(server.pid, signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(12) == 0
    finally:
        if server.pid is not None:
            os.kill(server.pid, signal.SIGCONT)
        server.stop()


def test_sigterm_while_a_row_is_marked(outbox_database, redis_url, running_relay, consumers, poll):
    """The database is locked when the message has left: the consumer waits for it, is told to stop
    meanwhile, and the row is done all the same.
    """
    if not outbox_database.is_sqlite:
        pytest.skip("a writer locks out all others on SQLite only")
    process = consumers.start(redis_url)
    put(outbox_database, ["in hand"], "text.wait")
    poll((consumers.folder / "waiting").exists, "the consumer is at work")
    with outbox_database.begin():
        (consumers.folder / "go").touch()
        poll(lambda: consumers.sent() == ["in hand"], "the message is sent")
        process.send_signal(signal.SIGTERM)
        # Longer than a transaction waits by itself.
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(outbox_database.deadline + 1)
    assert process.wait(10) == 0
    assert depth(outbox_database).pending == 0
    assert consumers.attempts() == ["in", "hand"]


def test_a_job_taken_while_told_to_stop_goes_back(outbox_database, redis_url, monkeypatch):
    """A signal while the wait for a job ends: the job is the first of the queue again."""
    rows = put(outbox_database, ["a", "b"])
    Relay(outbox_database, redis_url, SystemClock()).look()
    take = RqQueue.dequeue_any

    def told_meanwhile(*arguments, **rest):
        taken = take(*arguments, **rest)
        os.kill(os.getpid(), signal.SIGTERM)
        return taken

    monkeypatch.setattr(RqQueue, "dequeue_any", told_meanwhile)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        run_consumer(
            ["sms"], database=outbox_database, redis_url=redis_url, clock=SystemClock(), handlers={}
        )
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
    with Redis.from_url(redis_url) as redis:
        assert rq_queue(redis, "sms").get_job_ids() == [job_id(row) for row in rows]
        assert redis.llen(rq_queue(redis, "sms").intermediate_queue_key) == 0
        assert SimpleWorker.count(connection=redis) == 0
    assert [row.attempts for row in due(outbox_database)] == [0, 0]


def test_a_redis_that_lost_its_memory_lists_the_consumers_again(redis_url, consumers, poll):
    """Within seconds, whole, and once."""
    consumers.start(redis_url, "sms", "email")
    with Redis.from_url(redis_url) as redis:
        count = lambda: SimpleWorker.count(queue=rq_queue(redis, "email"))  # noqa: E731
        poll(count, "the consumer is listed")
        redis.flushall()
        poll(count, "the consumer is listed again")
        (worker,) = SimpleWorker.all(connection=redis)
        assert worker.queue_names() == ["sms", "email"]
        assert worker.get_state() == "idle"
        assert worker.birth_date is not None
        assert redis.ttl(worker.key) > 60


def test_a_consumer_whose_entry_is_there_begins_all_the_same(redis_url, database):
    """A container restarted after kill -9 has the same host name and process id as before."""
    name = f"sms-{socket.gethostname()}-{os.getpid()}"
    with Redis.from_url(redis_url) as redis:
        SimpleWorker(["sms"], name=name, connection=redis).register_birth()
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        try:
            run_consumer(
                ["sms"], database=database, redis_url=redis_url, clock=SystemClock(), handlers={}
            )
        finally:
            signal.signal(signal.SIGTERM, before[0])
            signal.signal(signal.SIGINT, before[1])
        assert SimpleWorker.count(connection=redis) == 0


def test_sigterm_while_idle(redis_url, consumers, poll):
    """An idle consumer ends at once, and is not listed any more."""
    process = consumers.start(redis_url)
    with Redis.from_url(redis_url) as redis:
        poll(lambda: SimpleWorker.count(connection=redis), "the consumer is listed")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert SimpleWorker.count(connection=redis) == 0


def test_redis_restarted_empty_under_everybody(outbox_database, tmp_path, consumers, poll):
    """Redis is killed with jobs in it and comes back without them, while rows are written: relay
    and consumers find it again by themselves, nothing is lost and nothing tried twice.
    """
    server = EmbeddedRedis(tmp_path / "redis")
    url = server.start()
    relay = Relay(outbox_database, url, SystemClock(), poll_s=0.1)
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        put(outbox_database, ["before"])
        consumers.start(url)
        poll(lambda: consumers.sent() == ["before"], "the first message is sent", 30)
        server.stop()
        for file in (tmp_path / "redis").glob("*.aof"):
            file.unlink()
        put(outbox_database, [f"m{n}" for n in range(30)])
        server.start()
        poll(lambda: depth(outbox_database).pending == 0, "all rows are done", 40)
        assert Counter(consumers.attempts()) == Counter(["before", *(f"m{n}" for n in range(30))])
    finally:
        relay.stop()
        thread.join(10)
        server.stop()


def test_redis_restarted_with_its_memory_while_a_row_is_in_hand(
    outbox_database, tmp_path, consumers, poll
):
    """The row is done once, the consumer is listed once, and its job does not linger: RQ would
    show it as failed.
    """
    server = EmbeddedRedis(tmp_path / "redis")
    relay = Relay(outbox_database, server.start(), SystemClock())
    try:
        consumers.start(server.url)
        put(outbox_database, ["in hand"], "text.wait")
        relay.look()
        poll((consumers.folder / "waiting").exists, "the consumer is at work")
        server.stop()
        (consumers.folder / "go").touch()
        poll(lambda: depth(outbox_database).pending == 0, "the row is done")
        with Redis.from_url(server.start()) as redis:
            poll(lambda: SimpleWorker.count(connection=redis), "the consumer is listed")
            put(outbox_database, ["next"])
            relay.look()
            poll(lambda: consumers.sent() == ["in hand", "next"], "the next one is sent")
            poll(lambda: not list(redis.scan_iter("rq:job:*")), "no job lingers")
            assert SimpleWorker.count(connection=redis) == 1
            assert rq_queue(redis, "sms").started_job_registry.get_job_ids(cleanup=False) == []
    finally:
        server.stop()


def test_consumers_wait_for_a_redis_that_is_not_there_yet(
    outbox_database, tmp_path, consumers, poll
):
    """Started before Redis, as happens when a machine boots."""
    server = EmbeddedRedis(tmp_path / "redis")
    url = server.start()
    server.stop()
    consumers.start(url)
    server.start()
    relay = Relay(outbox_database, url, SystemClock())
    try:
        put(outbox_database, ["a"])
        relay.look()
        poll(lambda: consumers.sent() == ["a"], "the message is sent", 30)
    finally:
        server.stop()


def test_a_failure_is_seen_and_mended_on_the_dashboard(
    outbox_database, redis_url, running_relay, consumers, poll
):
    """A permanent failure is among RQ's failed jobs with its reason; the requeue button sends it,
    once the cause is mended.
    """
    consumers.start(redis_url)
    put(outbox_database, ["m"], "fault", **{"raise": "permanent"})
    dashboard = create_dashboard(redis_url).test_client()
    with Redis.from_url(redis_url) as redis:
        registry = rq_queue(redis, "sms").failed_job_registry
        (job,) = poll(lambda: registry.get_job_ids(), "the job is among the failed", 30)
        shown = dashboard.get(f"/0/data/job/{job}.json").json
        assert "JobFailed: no such mobile" in shown["exc_info"]
        assert shown["description"] == "sms #1"
        (consumers.folder / "mended").touch()
        assert dashboard.post(f"/job/{job}/requeue").json == {"status": "OK"}
        poll(lambda: consumers.sent() == ["m"], "the message is sent", 30)
        poll(lambda: not registry.get_job_ids(), "no job is failed any more")
    assert depth(outbox_database).failed == 0


def test_a_bug_shows_no_personal_data_on_the_dashboard(
    outbox_database, redis_url, running_relay, consumers, poll
):
    """An exception whose text is a number: neither reason nor traceback repeat it."""
    consumers.start(redis_url)
    put(outbox_database, ["m"], "fault", **{"raise": "bug"})
    poll(lambda: depth(outbox_database).failed == 1, "the row is given up after three tries", 30)
    with Redis.from_url(redis_url) as redis:
        registry = rq_queue(redis, "sms").failed_job_registry
        poll(lambda: registry.get_job_ids() == [job_id(1)], "the job is among the failed")
    shown = create_dashboard(redis_url).test_client().get(f"/0/data/job/{job_id(1)}.json")
    assert "KeyError" in shown.json["exc_info"]
    assert "9121234" not in shown.text


def test_whatever_is_killed_each_message_is_sent_once(
    outbox_database, redis_url, running_relay, consumers, poll
):
    """Consumers are killed with -9 one after the other and Redis is emptied, all while rows are
    written and sent: in the end every message is there, none twice.
    """
    texts: list[str] = []
    with Redis.from_url(redis_url) as redis:
        for round_ in range(4):
            victim = consumers.start(redis_url, lease_s=1)
            consumers.start(redis_url, lease_s=1)
            before = len(consumers.sent())
            new = [f"r{round_}.{n}" for n in range(40)]
            texts += new
            put(outbox_database, new)
            poll(lambda before=before: len(consumers.sent()) > before + 5, "some are sent", 30)
            victim.kill()
            if round_ % 2:
                redis.flushall()
    poll(lambda: depth(outbox_database).pending == 0, "all rows are done", 60)
    assert Counter(consumers.sent()) == Counter(texts)
