"""Message limits: per caller, per destination, per hour, per day; exact under pressure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from billing.clock import FixedClock
from billing.database import Database
from billing.errors import Limited
from billing.limits import Counter, Limits

A, B, C = "+989120000001", "+989120000002", "+989120000003"
NONE = Limits(None, None, None, None, anonymous_per_day=None)


def _count(
    database: Database, counter: Counter, clock: FixedClock, caller: str | None, to: str
) -> str:
    try:
        database.write(lambda conn: counter.count(conn, caller, to, clock.now()))
    except Limited as limited:
        return limited.scope
    return "ok"


@pytest.mark.parametrize(
    ("limits", "requests", "expected"),
    [
        (Limits(2, None, None), [(A, B), (A, C), (A, B), (B, A)], ["ok", "ok", "caller", "ok"]),
        (
            Limits(None, 2, None),
            [(A, C), (B, C), (C, C), (C, A)],
            ["ok", "ok", "destination", "ok"],
        ),
        (Limits(None, None, 1), [(A, C), (B, C), (B, A)], ["ok", "hour", "ok"]),
        (Limits(None, 2, 1), [(A, C), (B, C)], ["ok", "hour"]),
        (Limits(None, 1, 1), [(A, C), (B, C)], ["ok", "destination"]),
        (Limits(None, None, None, 2), [(A, B), (B, C), (C, A)], ["ok", "ok", "day"]),
        (Limits(1, 1, 1, 1), [(A, B), (A, B)], ["ok", "caller"]),
        (Limits(0, None, None), [(A, B)], ["caller"]),
        (NONE, [(A, B)] * 30, ["ok"] * 30),
        (NONE, [(None, B)] * 30, ["ok"] * 30),
    ],
)
def test_each_limit_holds_and_names_itself(
    database: Database,
    clock: FixedClock,
    limits: Limits,
    requests: list[tuple[str | None, str]],
    expected: list[str],
) -> None:
    """The message after the last allowed one is refused, with the scope that refused it."""
    counter = Counter(limits)
    assert [_count(database, counter, clock, *request) for request in requests] == expected


def test_callers_without_a_number_share_one_limit(database: Database, clock: FixedClock) -> None:
    """Hiding the number does not lift the limit; it has one of its own, whatever a caller's is."""
    counter = Counter(Limits(1, None, None, anonymous_per_day=2))
    assert _count(database, counter, clock, A, B) == "ok"
    results = [_count(database, counter, clock, None, to) for to in (A, B, C)]
    assert results == ["ok", "ok", "caller"]
    assert [_count(database, counter, clock, caller, C) for caller in (A, B)] == ["caller", "ok"]


def test_callers_without_a_number_are_many(database: Database, clock: FixedClock) -> None:
    """By default more than ten of them a day are served, and one mobile is guarded all the same."""
    counter = Counter(Limits())
    mobiles = [f"+9891200001{number:02d}" for number in range(30)]
    assert {_count(database, counter, clock, None, to) for to in mobiles} == {"ok"}
    most = Limits().destination_per_hour
    assert most is not None
    results = [_count(database, counter, clock, None, A) for _ in range(most + 1)]
    assert results == ["ok"] * most + ["hour"]


@pytest.mark.parametrize("anonymous", [0, 3])
def test_the_limit_of_callers_without_a_number_is_exact(
    database: Database,
    clock: FixedClock,
    in_threads: Callable[..., list[object]],
    anonymous: int,
) -> None:
    """Ten at once against a limit of three, or of none at all."""
    counter = Counter(Limits(anonymous_per_day=anonymous))
    mobiles = [f"+9891200001{number:02d}" for number in range(10)]
    results = in_threads(
        [lambda to=to: _count(database, counter, clock, None, to) for to in mobiles]
    )
    assert sorted(map(str, results)) == ["caller"] * (10 - anonymous) + ["ok"] * anonymous


def test_hours_are_the_clocks(database: Database) -> None:
    """What 10:59 has used up is there again at 11:00 (Tehran: half past in UTC)."""
    counter = Counter(Limits(None, None, 1))
    clock = FixedClock(datetime(2026, 11, 21, 7, 29, tzinfo=UTC))
    assert [_count(database, counter, clock, A, B) for _ in range(2)] == ["ok", "hour"]
    clock.advance(60)
    assert _count(database, counter, clock, A, B) == "ok"


def test_a_refused_message_is_not_counted(database: Database, clock: FixedClock) -> None:
    """Being refused for one destination does not use up the caller's own limit."""
    counter = Counter(Limits(2, 1, None))
    results = [_count(database, counter, clock, A, to) for to in (B, B, B, C)]
    assert results == ["ok", "destination", "destination", "ok"]


def test_days_begin_at_midnight_in_the_limits_time_zone(database: Database) -> None:
    """23:59 and 00:00 in Tehran (20:29 and 20:30 UTC) are two days."""
    counter = Counter(Limits(1, None, None))
    clock = FixedClock(datetime(2026, 11, 21, 20, 29, tzinfo=UTC))
    assert _count(database, counter, clock, A, B) == "ok"
    assert _count(database, counter, clock, A, B) == "caller"
    clock.advance(60)
    assert _count(database, counter, clock, A, B) == "ok"


def test_a_limit_that_is_lowered_or_raised_holds_at_once(
    database: Database, clock: FixedClock
) -> None:
    """Counts made under another limit neither break the table nor the new limit."""
    for limit, expected in ((5, "ok"), (5, "ok"), (1, "caller"), (3, "ok"), (3, "caller")):
        assert _count(database, Counter(Limits(limit, None, None)), clock, A, B) == expected


def test_limits_are_never_exceeded_at_the_same_moment(
    database: Database, clock: FixedClock, in_threads: Callable[..., list[object]]
) -> None:
    """Twenty simultaneous requests against a limit of five: exactly five pass."""
    counter = Counter(Limits(None, 5, None))
    callers = [f"+9891200000{number:02d}" for number in range(20)]
    results = in_threads(
        [lambda caller=caller: _count(database, counter, clock, caller, A) for caller in callers]
    )
    assert sorted(map(str, results)) == ["destination"] * 15 + ["ok"] * 5
    with database.read() as conn:
        counts = conn.execute(text("SELECT count, ceiling FROM sms_counters")).all()
    assert [tuple(row) for row in counts] == [(5, 5)]


@pytest.mark.parametrize(
    "bad", [Limits(-1), Limits(anonymous_per_day=-1), Limits(timezone="Asia/Nowhere")]
)
def test_impossible_limits_are_refused_before_anything_starts(bad: Limits) -> None:
    """A negative limit, an unknown time zone."""
    with pytest.raises(ValueError, match=r"limit|time zone"):
        Counter(bad)
