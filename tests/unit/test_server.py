"""The worker's server: admission, draining, and calls that end only themselves."""

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import gevent
import gevent.event
import gevent.socket
import pytest
from esl_peer import NOTICE, UUID, Peer, reply

from esl_worker.crew import UNEVEN, Room
from esl_worker.server import WorkerServer
from esl_worker.session import Session


@pytest.fixture
def servers() -> Iterator[list[WorkerServer]]:
    started: list[WorkerServer] = []
    yield started
    for server in started:
        server.drain(5)


@pytest.fixture
def serve(servers):
    def start(handler: Any = lambda session: session.wait(30), **options: Any) -> WorkerServer:
        server = WorkerServer(("127.0.0.1", 0), handler, **options)
        server.start()
        servers.append(server)
        return server

    return start


def call(server: WorkerServer) -> Peer:
    return Peer(server.server_port, make_socket=gevent.socket.socket)


def until(true: Any, limit_s: float = 5.0) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, "did not come true in time"
        gevent.sleep(0.005)


def test_a_call_is_connected_handled_and_closed(serve):
    """The handler gets a connected session without Nagle's delay; when it returns the socket is
    closed and the place is free."""
    seen = []

    def handler(session: Session) -> None:
        seen.append(session.uuid)
        seen.append(session.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        session.hangup()

    server = serve(handler)
    with call(server) as peer:
        peer.connected()
        assert peer.command().headers["execute-app-name"] == "hangup"
        peer.send(reply() + NOTICE)
        assert peer.closed_by_worker()
    until(lambda: server.active == 0)
    assert seen[0] == UUID
    assert seen[1]


def test_setting_up_a_call_adds_less_than_two_ms(serve):
    """From the switch's connection to our `connect`; the median of 50, in one process with the
    switch."""
    server = serve()
    seconds = []
    for _ in range(50):
        started = time.monotonic()
        with call(server) as peer:
            assert peer.command().command == "connect"
        seconds.append(time.monotonic() - started)
    assert sorted(seconds)[25] < 0.002


def test_calls_over_the_limit_are_refused_at_once_and_logged_by_the_second(serve, caplog):
    """The switch sees its connection closed, without a command, and tries its next host; fifty
    refusals are two lines of log; a freed place is taken again."""
    server = serve(max_calls=2)
    with call(server) as first, call(server) as second:
        first.connected()
        second.connected()
        for _ in range(50):
            with call(server) as refused:
                assert refused.closed_by_worker()
        assert server.refused == 50
        assert server.active == 2
        until(lambda: len(caplog.messages) == 2)
        assert caplog.messages[0] == "refused 1 calls: 2 calls running"
        assert caplog.messages[1] == "refused 49 calls: 2 calls running"
        first.send(NOTICE)
        assert first.closed_by_worker()
        until(lambda: server.active == 1)
        with call(server) as third:
            third.connected()
            until(lambda: server.active == 2)
    until(lambda: server.active == 0)


def test_a_burst_does_not_pass_the_limit(serve):
    """Connections accepted in the same turn of the loop are counted before their greenlets run."""
    server = serve(max_calls=5)
    peers = [call(server) for _ in range(20)]
    commands = [peer.command() for peer in peers]
    assert sum(command is not None for command in commands) == 5
    for peer in peers:
        peer.sock.close()
    until(lambda: server.active == 0)


def test_a_handlers_exception_ends_its_own_call_only(serve, caplog):
    """It is logged with the call's id; the next call is served; a gevent.Timeout, which is no
    Exception, is treated alike."""
    errors: list[BaseException] = [RuntimeError("a mistake"), gevent.Timeout(1), ValueError("x")]
    server = serve(lambda session: (_ for _ in ()).throw(errors.pop(0)))
    for _ in range(3):
        with call(server) as peer:
            peer.connected()
            assert peer.closed_by_worker()
    until(lambda: server.active == 0)
    failed = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [UUID in record.getMessage() for record in failed] == [True] * 3
    assert all(record.exc_info for record in failed)


@pytest.mark.parametrize(
    "rubbish",
    [
        b"GET /02188776655 HTTP/1.1\r\n\r\n\n\n",
        b"Content-Length: 99999999999\n\n",
        b"X-Number: 02188776655\n" * 10_000,
        b"\x00\xff" * 50_000,
        b"",
    ],
)
def test_a_hostile_peer_loses_only_its_own_call(serve, caplog, rubbish):
    """Garbage, giant lengths, endless headers, silence: that connection is closed within its
    time limit, another call goes on, and the log tells without quoting what was sent."""
    server = serve(connect_timeout_s=0.3)
    with call(server) as good, call(server) as bad:
        good.connected()
        bad.command()
        feeding = gevent.spawn(bad.send, rubbish)
        assert bad.closed_by_worker()
        feeding.join(5)
        until(lambda: server.active == 1)
        good.send(NOTICE)
        assert good.closed_by_worker()
    until(lambda: server.active == 0)
    (line,) = [message for message in caplog.messages if "127.0.0.1" in message]
    assert "8776655" not in line
    assert "lost" in line or "did not answer" in line


def test_a_hangup_is_no_event_of_the_log(serve, caplog):
    """Callers hang up all day: nothing above debug."""
    caplog.set_level(logging.INFO)
    server = serve()
    with call(server) as peer:
        peer.connected().send(NOTICE)
        assert peer.closed_by_worker()
    until(lambda: server.active == 0)
    assert caplog.messages == []


def test_draining_refuses_new_calls_and_waits_for_the_running_ones(serve):
    """Connections are refused by the kernel from then on; drain returns when the last call has
    ended, or tells at its limit how many have not. Running calls are not ended."""
    server = serve()
    port = server.server_port
    with call(server) as peer:
        peer.connected()
        started = time.monotonic()
        assert server.drain(0.05) == 1
        assert time.monotonic() - started < 2
        with pytest.raises(ConnectionRefusedError):
            Peer(port, make_socket=gevent.socket.socket)
        draining = gevent.spawn(server.drain, 30)
        peer.send(NOTICE)
        assert draining.get(timeout=5) == 0
    assert server.drain(1) == 0


def test_a_taken_address_is_an_error_at_the_start(serve):
    """Not a process that listens to nothing."""
    server = serve()
    second = WorkerServer(("127.0.0.1", server.server_port), print)
    with pytest.raises(OSError, match="in use"):
        second.start()


def test_a_listening_socket_may_be_handed_in(servers):
    """For socket activation and for tests: the server takes a socket that listens already."""
    listener = gevent.socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    served = gevent.event.Event()
    server = WorkerServer(listener, lambda session: served.set())
    servers.append(server)
    server.start()
    with call(server) as peer:
        peer.connected()
        assert served.wait(5)


class Brother:
    """A process's view of the room that all have."""

    def __init__(self, room: Room, number: int) -> None:
        self._room, self._number = room, number

    def tell(self, free: int) -> None:
        self._room.tell(self._number, free)

    def roomier(self, free: int) -> bool:
        return self._room.roomier(self._number, free)


@pytest.fixture
def brothers(servers):
    """Two servers on one socket, as two processes have it, with room for so many calls."""

    def start(first: int, second: int) -> list[WorkerServer]:
        listener = gevent.socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        shared = gevent.socket.socket(fileno=os.dup(listener.fileno()))
        room = Room(2)
        for number, (places, sock) in enumerate(((first, listener), (second, shared))):
            server = WorkerServer(
                sock,
                lambda session: session.wait(30),
                max_calls=places,
                siblings=Brother(room, number),
            )
            server.start()
            servers.append(server)
        return servers

    return start


def test_a_full_worker_leaves_calls_to_its_siblings(brothers):
    """No call is refused as long as any process has room; then each is, soon and cleanly, and
    those that run are untouched; a freed place is taken again."""
    small, large = brothers(1, 3)
    with ExitStack() as stack:
        peers = [stack.enter_context(call(small)) for _ in range(4)]
        for peer in peers:
            peer.connected()
        until(lambda: (small.active, large.active) == (1, 3))
        assert small.refused + large.refused == 0
        for _ in range(3):
            with call(small) as refused:
                assert refused.closed_by_worker()
        assert small.refused + large.refused == 3
        assert (small.active, large.active) == (1, 3)
        peers[0].send(NOTICE)
        assert peers[0].closed_by_worker()
        until(lambda: small.active + large.active == 3)
        with call(small) as again:
            again.connected()
            until(lambda: small.active + large.active == 4)


def test_calls_are_spread_over_the_workers(brothers):
    """A worker that is first each time does not take all: nobody has many more than another."""
    first, second = brothers(100, 100)
    with ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(call(first)).connected()
        until(lambda: first.active + second.active == 60)
        assert abs(first.active - second.active) <= 2 * UNEVEN


def test_a_worker_that_hangs_does_not_slow_the_others_down(brothers):
    """It has more room, as it was, and takes nobody: after a first look the others take all."""
    lively, hung = brothers(100, 100)
    hung.stop_accepting()
    begun = time.monotonic()
    with ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(call(lively)).connected()
        assert lively.active == 60
    assert time.monotonic() - begun < 3


def test_room_that_is_only_said_to_be_there_does_not_hold_calls_for_ever(brothers):
    """A brother that has died with room left takes nobody: after a moment the call is refused."""
    full, dead = brothers(1, 1)
    dead.stop_accepting()
    with call(full) as first:
        first.connected()
        begun = time.monotonic()
        with call(full) as second:
            assert second.closed_by_worker()
        assert 0.5 < time.monotonic() - begun < 5
        assert full.refused == 1


def test_a_worker_that_stands_back_can_be_drained(brothers):
    """Stopping in the moment in which it leaves a call to its siblings is no error."""
    full, dead = brothers(1, 1)
    dead.stop_accepting()
    with call(full) as first:
        first.connected()
        with call(full):
            until(lambda: full._standing_back is not None)
            full.close()
            assert full._standing_back is None
            first.send(NOTICE)
            until(lambda: full.active == 0)
