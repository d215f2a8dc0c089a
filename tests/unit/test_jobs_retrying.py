"""When a job is tried again."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from jobs.retrying import Retrying

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


@given(st.integers(1, 11))
def test_waits_double_and_half_is_random(attempts):
    """Between half of the doubled wait and all of it, never beyond the longest."""
    retrying = Retrying(attempts=12, first_s=5, longest_s=1800)
    at = retrying.next_at(NOW, attempts)
    assert at is not None
    full = min(5 * 2 ** (attempts - 1), 1800)
    assert full / 2 <= (at - NOW).total_seconds() <= full


def test_the_last_try_is_the_last():
    """After as many tries as allowed there is no next time."""
    assert Retrying(attempts=3).next_at(NOW, 2) is not None
    assert Retrying(attempts=3).next_at(NOW, 3) is None


@given(st.floats(0, 1e9))
def test_a_wait_asked_for_is_granted_up_to_the_longest(asked):
    """A gateway cannot make us wait for a day."""
    at = Retrying(first_s=5, longest_s=1800).next_at(NOW, 1, at_least_s=asked)
    assert at is not None
    wait = (at - NOW).total_seconds()
    assert min(asked, 1800) - 1e-6 <= wait <= max(5, min(asked, 1800)) + 1e-6
