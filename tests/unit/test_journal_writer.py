"""The journal writer: beside the calls, patient with the database, complete at the end."""

from __future__ import annotations

import gevent
import pytest

from billing.errors import Unavailable
from callflows.call import Call
from callflows.journal import Journal
from callflows.scripted import ScriptedChannel
from esl_worker.journal import TOGETHER, JournalWriter


class Store:
    """A store that remembers, and is away when told to be."""

    def __init__(self):
        self.rounds = []
        self.away = False

    def write_all(self, batches):
        if self.away:
            raise Unavailable("away")
        self.rounds.append(
            [(header.call_id, len(steps), header.outcome) for header, steps in batches]
        )


def calls(count):
    return [Call(ScriptedChannel([], call_id=f"call-{n}"), Journal()) for n in range(count)]


@pytest.fixture
def writer():
    store = Store()
    return JournalWriter(store, interval_s=0.01), store


def test_new_steps_of_live_calls_are_stored_and_stored_once(writer, clock):
    """A live call's steps go in as they come, each once; its end brings the outcome."""
    journals, store = writer
    (call,) = calls(1)
    journals.begin(call, clock.now())
    call.journal.event("one")
    journals._round()
    journals._round()
    call.journal.event("two")
    call.journal.event("three")
    journals.end(call, clock.now(), "completed", None)
    journals._round()
    journals._round()
    assert store.rounds == [[("call-0", 1, None)], [("call-0", 2, "completed")]]


def test_many_calls_share_transactions_and_let_others_run(writer, clock):
    """So many calls to a transaction, and between two of them other greenlets get their turn."""
    journals, store = writer
    for call in calls(2 * TOGETHER + 1):
        journals.begin(call, clock.now())
        call.journal.event("step")
    turns = []
    gevent.spawn(lambda: turns.append(len(store.rounds)))
    journals._round()
    assert [len(batch) for batch in store.rounds] == [TOGETHER, TOGETHER, 1]
    assert turns == [1]


def test_a_database_that_is_away_loses_nothing(writer, clock):
    """What could not be written waits, with what has come meanwhile."""
    journals, store = writer
    (call,) = calls(1)
    journals.begin(call, clock.now())
    call.journal.event("one")
    store.away = True
    journals._round()
    call.journal.event("two")
    journals.end(call, clock.now(), "caller_gone", None)
    journals._round()
    store.away = False
    journals._round()
    assert store.rounds == [[("call-0", 2, "caller_gone")]]


def test_stopping_stores_the_rest(writer, clock):
    """The last steps are there when the worker has ended."""
    journals, store = writer
    journals.start()
    (call,) = calls(1)
    journals.begin(call, clock.now())
    call.journal.event("last")
    journals.end(call, clock.now(), "completed", 7)
    journals.stop()
    assert [entry for batch in store.rounds for entry in batch] == [("call-0", 1, "completed")]
