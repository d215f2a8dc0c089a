"""The throttle of the public pages."""

from web.throttle import Throttle


class Seconds:
    """A clock to be set."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_limit_per_key_and_window():
    """A key passes `limit` times, then waits for the rest of the window, then passes again."""
    clock = Seconds()
    throttle = Throttle(2, 60, clock)
    assert [throttle.wait_s("a"), throttle.wait_s("a")] == [0, 0]
    clock.now += 45
    assert throttle.wait_s("a") == 15
    assert throttle.wait_s("b") == 0
    clock.now += 15
    assert throttle.wait_s("a") == 0


def test_wait_is_never_zero_when_refused():
    """At the last instant of the window a refused visitor is still told to wait a second."""
    clock = Seconds()
    throttle = Throttle(1, 60, clock)
    throttle.wait_s("a")
    clock.now += 59.999
    assert throttle.wait_s("a") == 1


def test_memory_is_bounded():
    """A flood of keys forgets the longest unseen ones; a key that keeps knocking stays known."""
    throttle = Throttle(1, 60, Seconds(), capacity=100)
    throttle.wait_s("loud")
    for number in range(1000):
        throttle.wait_s(f"key {number}")
        assert throttle.wait_s("loud") > 0
    assert len(throttle._windows) == 100
