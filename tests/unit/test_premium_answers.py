"""What callers leave in trees, and what is told of their earlier calls."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from billing.clock import FixedClock
from billing.database import Database
from billing.desk import Desk
from billing.premium.answers import Answers
from billing.premium.book import Service
from billing.premium.history import Histories, History
from billing.premium.schema import consents, premium_calls, tree_answers
from billing.schema import lines
from tests.service_house import NUMBER, ServiceHouse


@pytest.fixture
def published(database: Database, clock: FixedClock, desk: Desk) -> Service:
    """A published service, and two lines."""
    return ServiceHouse(database, clock).publish()


def left(service: Service, **changes: Any) -> dict[str, Any]:
    """An answer to that service."""
    return {
        "service": service.id,
        "version": 1,
        "node": "vote",
        "call_id": "call-1",
        "line": None,
        "kind": "poll",
        "answer": {"choice": "yes"},
    } | changes


def test_an_answer_is_kept_once(database: Database, clock: FixedClock, published: Service) -> None:
    """The first of a key counts; what is kept is told as it was given."""
    answers = Answers(database, clock)
    assert answers.put("k1", **left(published))
    assert not answers.put("k1", **left(published, answer={"choice": "no"}))
    clock.advance(60)
    assert answers.put("k2", **left(published, kind="order", node="o", answer={"نام": "سارا"}))
    first, second = answers.of(NUMBER)
    assert (first.node, first.kind, first.answer) == ("vote", "poll", {"choice": "yes"})
    assert second.answer == {"نام": "سارا"}
    assert second.at - first.at == timedelta(seconds=60)
    assert [each.node for each in answers.of(NUMBER, "o")] == ["o"]
    assert list(answers.of("9090000000")) == []
    assert answers.counts(NUMBER) == {("vote", "poll"): 1, ("o", "order"): 1}


def test_simultaneous_votes_of_a_line_are_one(
    database: Database,
    clock: FixedClock,
    published: Service,
    in_threads: Callable[..., list[object]],
) -> None:
    """Eight calls of a line in the same moment have one vote."""
    answers = Answers(database, clock)
    votes = in_threads([lambda: answers.put("same", **left(published))] * 8)
    assert sorted(map(bool, votes)) == [False] * 7 + [True]


def test_only_an_empty_message_is_withdrawn(
    database: Database, clock: FixedClock, published: Service
) -> None:
    """Votes and orders stay whatever key is named."""
    answers = Answers(database, clock)
    answers.put("vote", **left(published))
    answers.put("said", **left(published, kind="recording", answer={"name": "a/b.wav"}))
    answers.withdraw("vote")
    answers.withdraw("said")
    answers.withdraw("said")
    assert [each.kind for each in answers.of(NUMBER)] == ["poll"]


def test_long_lists_are_read_in_portions(
    database: Database, clock: FixedClock, published: Service
) -> None:
    """All are there, each once, in order, however many there are."""
    answers = Answers(database, clock)
    rows = [
        {
            "key": f"k{place}",
            **left(published, answer=json.dumps({"choice": str(place)})),
            "at": clock.now(),
        }
        for place in range(2500)
    ]
    with database.begin() as conn:
        conn.execute(insert(tree_answers), rows)
    assert [each.answer["choice"] for each in answers.of(NUMBER)] == [str(n) for n in range(2500)]


def called(
    database: Database, clock: FixedClock, service: Service, line: int, seconds: int | None
) -> None:
    """A call of a line to the service; None: it was never connected."""
    now = clock.now()
    with database.begin() as conn:
        place = len(conn.execute(select(consents.c.id)).all()) + 1
        consent = conn.execute(
            insert(consents)
            .values(
                call_id=f"call-{place}",
                line=line,
                place=place,
                service=service.id,
                version=1,
                tariffs="[]",
                language="fa",
                heard="[]",
                named_digit="5",
                pressed_digit="5",
                heard_at=now,
                pressed_at=now,
                previous=str(place - 1),
                hash=str(place),
            )
            .returning(consents.c.id)
        ).scalar_one()
        connected = {} if seconds is None else {"connected_at": now, "seconds": seconds}
        conn.execute(
            insert(premium_calls).values(
                call_id=f"call-{place}",
                line=line,
                service=service.id,
                consent=consent,
                caller="+982188776655",
                status="free",
                reason="test",
                begun_at=now,
                ended_at=now + timedelta(seconds=seconds or 0),
                **connected,
            )
        )


def test_a_history_counts_connected_calls_to_the_provider(
    database: Database, clock: FixedClock, published: Service
) -> None:
    """How often, how long, when last; other lines, other providers, no connection: not counted."""
    with database.read() as conn:
        first, second = conn.execute(select(lines.c.id).order_by(lines.c.id)).scalars()
    histories = Histories(database, b"a secret only for tests")
    assert histories.of(published.provider, first) == History()
    called(database, clock, published, first, 60)
    clock.advance(3600)
    called(database, clock, published, first, 90)
    last = clock.now()
    called(database, clock, published, first, None)
    called(database, clock, published, second, 600)
    assert histories.of(published.provider, first) == History(2, 150, last, NUMBER)
    assert histories.of(published.provider + 1, first) == History()
    assert histories.of(published.provider, None) == History()


def test_a_crm_is_told_no_number(database: Database, clock: FixedClock, published: Service) -> None:
    """The number is masked; the token is the caller's at this provider, and only there."""
    histories = Histories(database, b"a secret only for tests")
    told = histories.told(published.provider, None, "+989123456789")
    assert json.loads(json.dumps(told)) == told
    assert "3456" not in json.dumps(told)
    assert told["calls"] == 0
    assert told["token"] == histories.told(published.provider, None, "+989123456789")["token"]
    others = {
        histories.told(published.provider + 1, None, "+989123456789")["token"],
        histories.told(published.provider, None, "+989123456780")["token"],
        Histories(database, b"another").told(published.provider, None, "+989123456789")["token"],
    }
    assert len(others | {told["token"]}) == 4
    assert histories.told(published.provider, None, "")["token"] is None
