"""Connections to Redis."""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis_sentinel_url import connect as connect_url  # type: ignore[import-untyped]


def connect(redis_url: str, *, timeout_s: float = 5.0, answer_s: float | None = None) -> Redis:
    """A client for redis://, rediss://, unix:// or redis+sentinel:// (which finds the master).

    Connecting is left to the first command. `timeout_s`: seconds for connecting; `answer_s`: for
    each answer, which must be longer than any blocking command of the user waits (None: RQ's
    workers choose their own). No command is repeated behind our back: a push done twice is two
    pushes, and whoever uses the connection must notice that the server was away.

    Raises ValueError for another kind of URL.
    """
    options: dict[str, Any] = {
        "socket_connect_timeout": timeout_s,
        "socket_timeout": answer_s,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
    }
    _, client = connect_url(redis_url, client_options=options)
    if client is None:
        raise ValueError("a redis+sentinel URL must name its service: redis+sentinel://host/name")
    redis: Redis = client
    return redis
