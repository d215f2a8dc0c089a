"""The Redis server of our own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from jobs import redis_server
from jobs.redis_client import connect
from jobs.redis_server import EmbeddedRedis, RedisServerError, running_url

WHOLE = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n"
"""A file of Redis that sets `a` to `b`."""


def test_it_answers_and_ends(tmp_path):
    """Ready when `start` returns, gone when `stop` returns."""
    server = EmbeddedRedis(tmp_path / "redis")
    with Redis.from_url(server.start()) as client:
        assert client.ping()
    assert running_url(tmp_path / "redis") == server.url
    server.stop()
    assert server.pid is None
    assert running_url(tmp_path / "redis") is None


def test_it_is_for_its_owner_alone(tmp_path):
    """Loopback, a password, and a folder that others cannot read."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        assert (tmp_path / "redis").stat().st_mode & 0o777 == 0o700
        for path in (tmp_path / "redis").iterdir():
            assert path.stat().st_mode & 0o077 == 0, path
        with Redis.from_url(server.url) as client:
            assert client.config_get("bind")["bind"] == "127.0.0.1"
            port = client.config_get("port")["port"]
        with connect(f"redis://127.0.0.1:{port}") as stranger, pytest.raises(AuthenticationError):
            stranger.ping()


def test_what_it_holds_survives_a_restart(tmp_path):
    """Also under the same URL, for those who hold it."""
    server = EmbeddedRedis(tmp_path)
    url = server.start()
    with Redis.from_url(url) as client:
        client.set("a", "1")
    server.stop()
    assert server.start() == url
    with Redis.from_url(url) as client:
        assert client.get("a") == b"1"
    server.stop()


def test_a_server_that_died_is_started_again(tmp_path, poll):
    """`pid` tells that it died; `start` brings it back."""
    with EmbeddedRedis(tmp_path) as server:
        os.kill(server.pid, signal.SIGKILL)
        poll(lambda: server.pid is None, "the server's death is noticed")
        with Redis.from_url(server.start()) as client:
            assert client.ping()


def test_two_servers_never_share_a_folder(tmp_path):
    """The second start says who is in the way."""
    with (
        EmbeddedRedis(tmp_path),
        pytest.raises(RedisServerError, match="another process runs Redis") as caught,
    ):
        EmbeddedRedis(tmp_path).start()
    assert caught.value.in_use


def test_a_server_whose_owner_was_killed_makes_room(tmp_path):
    """After kill -9 of the owner the next start takes over, with all data."""
    script = (
        "import sys, pathlib, threading; from jobs.redis_server import EmbeddedRedis\n"
        "print(EmbeddedRedis(pathlib.Path(sys.argv[1])).start(), flush=True)\n"
        "threading.Event().wait()\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    with Redis.from_url(owner.stdout.readline().strip()) as orphan:
        orphan.set("a", "1")
        owner.kill()
        owner.wait()
        owner.stdout.close()
        assert orphan.ping()
        with EmbeddedRedis(tmp_path) as server, Redis.from_url(server.url) as client:
            assert client.get("a") == b"1"


def test_a_port_that_is_taken_is_named(tmp_path):
    """The error names the port and where the server says more."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "appendonly.aof").write_bytes(WHOLE)
        with pytest.raises(RedisServerError, match=rf"port {port}; see .*redis.log") as caught:
            EmbeddedRedis(tmp_path, port=port).start()
    assert not caught.value.in_use
    assert (tmp_path / "appendonly.aof").read_bytes() == WHOLE


@pytest.mark.parametrize(
    "content", [b"hello\r\nworld\r\n", b"REDIS0009 and then nonsense", WHOLE + b"XXXX\r\n"]
)
def test_a_file_that_redis_cannot_read_is_moved_aside(tmp_path, caplog, content):
    """Redis begins empty, and the log says where the file is, with all that is in it."""
    (tmp_path / "appendonly.aof").write_bytes(content)
    with EmbeddedRedis(tmp_path) as server, Redis.from_url(server.url) as client:
        assert client.dbsize() == 0
        client.set("a", "1")
    (aside,) = tmp_path.glob("appendonly.aof.unreadable-*")
    assert aside.read_bytes() == content
    (line,) = [record.getMessage() for record in caplog.records]
    assert str(aside) in line
    with EmbeddedRedis(tmp_path) as server, Redis.from_url(server.url) as client:
        assert client.get("a") == b"1"


def test_a_file_without_its_end_is_read(tmp_path):
    """What a crash cuts off is the last command only; nothing is moved."""
    (tmp_path / "appendonly.aof").write_bytes(WHOLE + b"*3\r\n$3\r\nSE")
    with EmbeddedRedis(tmp_path) as server, Redis.from_url(server.url) as client:
        assert client.get("a") == b"b"
    assert not list(tmp_path.glob("*unreadable*"))


def test_a_file_that_is_not_to_blame_is_put_back(tmp_path, monkeypatch):
    """A server that does not start without its file either leaves everything as it was."""
    (tmp_path / "appendonly.aof").write_bytes(WHOLE)
    monkeypatch.setattr(redis_server, "REDIS_SERVER_PATH", "/bin/false")
    with pytest.raises(RedisServerError) as caught:
        EmbeddedRedis(tmp_path).start()
    assert not caught.value.in_use
    assert (tmp_path / "appendonly.aof").read_bytes() == WHOLE
    assert not list(tmp_path.glob("*unreadable*"))


def test_a_folder_that_cannot_be_is_named(tmp_path):
    """A file is where the folder should be."""
    (tmp_path / "redis").write_text("")
    with pytest.raises(RedisServerError, match=f"{tmp_path / 'redis'}: File exists") as caught:
        EmbeddedRedis(tmp_path / "redis").start()
    assert not caught.value.in_use
