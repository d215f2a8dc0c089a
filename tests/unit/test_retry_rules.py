"""Retries by result, each with its interval, under one shared cap."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.retry_rules import (
    DEFAULT_RULES,
    FINAL,
    MOST_CALLS,
    RESULTS,
    InvalidRules,
    Retry,
    RetryRules,
    parse_rules,
)

retried = st.sampled_from([result for result in RESULTS if result not in FINAL])
rules = st.dictionaries(
    retried,
    st.builds(
        Retry, st.integers(0, 99), st.integers(1, 9999).map(lambda count: timedelta(minutes=count))
    ),
)


@given(rules, st.integers(1, MOST_CALLS))
def test_rules_are_read_as_they_are_written(by_result: dict, cap: int) -> None:
    """Text and rules are the same thing twice."""
    written = RetryRules(by_result, cap)
    assert parse_rules(str(written), cap) == written


@pytest.mark.parametrize(
    "text",
    [
        "busy",
        "busy=3",
        "busy=3@10",
        "busy=3@0m",
        "busy=-1@1m",
        "nonsense=1@1m",
        "heard=1@1m",
        "busy=1@1m,busy=2@1m",
        "busy=1@9999d",
        "busy=1@1m;DROP",
    ],
)
def test_wrong_rules_are_refused(text: str) -> None:
    """The error repeats the part that is wrong."""
    with pytest.raises(InvalidRules):
        parse_rules(text, 4)


@pytest.mark.parametrize("cap", [0, MOST_CALLS + 1])
def test_a_wrong_cap_is_refused(cap: int) -> None:
    """Nobody is called a hundred times."""
    with pytest.raises(InvalidRules):
        parse_rules(DEFAULT_RULES, cap)


@given(rules, st.integers(1, MOST_CALLS), st.lists(retried, max_size=40))
def test_no_course_of_calls_exceeds_cap_or_rule(by_result: dict, cap: int, results: list) -> None:
    """Whatever the results and their order: never more calls than the cap, never more retries
    after a result than its rule, and always its own interval."""
    given_rules = RetryRules(by_result, cap)
    calls = 0
    retries: dict[str, int] = {}
    seen: dict[str, int] = {}
    for result in results:
        calls += 1
        interval = given_rules.interval_after(result, seen.get(result, 0), calls)
        seen[result] = seen.get(result, 0) + 1
        if interval is None:
            break
        assert interval == by_result[result].interval
        retries[result] = retries.get(result, 0) + 1
    assert calls <= cap
    assert all(count <= by_result[result].times for result, count in retries.items())


def test_the_cap_is_shared() -> None:
    """Three busy and three unanswered retries under a cap of four are three retries together."""
    both = parse_rules("busy=3@10m,no_answer=3@60m", 4)
    assert both.interval_after("busy", 0, 1) == timedelta(minutes=10)
    assert both.interval_after("no_answer", 0, 2) == timedelta(minutes=60)
    assert both.interval_after("busy", 1, 3) == timedelta(minutes=10)
    assert both.interval_after("no_answer", 1, 4) is None
