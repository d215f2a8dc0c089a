"""Several worker processes on one listening socket: forked, watched, replaced, reloaded, drained.

The parent imports everything, opens the listening socket and forks; a worker is there some 20 ms
later and shares the parent's memory. The parent never runs a gevent loop, starts no thread and
opens no database, because none of that survives a fork: it only waits for signals.

All workers accept from the one socket, each in its own loop. While a worker lives or is about to,
a connection that nobody has accepted yet waits in the socket's queue: a killed worker takes only
the calls with it that it carries, and those come back, by the dialplan's next `socket` action,
through the same port.

Signals to the parent:

* SIGTERM, SIGINT: no new calls (the port is closed, so that the switch takes the next worker), the
  running ones are finished, at most `drain_s` seconds. Once more: whatever still runs is killed,
  and the switch hands those calls on.
* SIGHUP: the parent becomes the newest release by `exec`, with the same process id and the same
  socket; new workers start, and only when they serve the old ones drain.
"""

from __future__ import annotations

import gc
import json
import logging
import mmap
import os
import signal
import socket as stdlib_socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal, NoReturn

from gevent import hub as gevent_hub
from gevent import monkey
from gevent._hub_local import get_hub_if_exists
from gevent.event import Event
from gevent.socket import socket as GeventSocket

log = logging.getLogger(__name__)

State = Literal["starting", "serving", "draining"]

# The unpatched ones: gevent's would start the loop in the parent, and watch children with it.
_fork: Callable[[], int] = monkey.get_original("os", "fork")
_waitpid: Callable[[int, int], tuple[int, int]] = monkey.get_original("os", "waitpid")
_socket: Any = monkey.get_original("socket", "socket")

_SIGNALS = (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
BACKLOG = 1024
# The parent looks at its workers' reports that often; a death wakes it at once.
_LOOK_S = 0.2
REPORT_S = 0.5
# A worker that lived this long did not die of starting: its successor starts at once.
_STEADY_S = 2.0
_BACKOFF_S = (0.0, 0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
# When Python looks for cyclic garbage (see gc.set_threshold). A full look at 2,000 calls stands the
# loop still for 0.15 s, and by default came every three seconds at 250 new calls a second. What a
# call leaves is freed by its reference counts, nearly all of it.
_GARBAGE = (20_000, 50, 100)
# A worker with so many calls more than another leaves new ones to it. The one that accepts first
# would else be the same one again and again, as long as it is not busy.
UNEVEN = 8
# How long new workers may take to start before the old ones go all the same.
_RELIEF_S = 30.0
# A worker that does not end after its limit has this long to store its journals.
_MARGIN_S = 10.0
# What a parent that becomes its successor hands to it: "socket;pid:number:link;pid:number:link".
HANDOVER = "WORKER_CREW_HANDOVER"


@dataclass(slots=True)
class Member:
    """A worker process as its parent sees it; `link` is the parent's end of a socket pair."""

    pid: int
    number: int
    link: int
    state: State = "starting"
    calls: int = 0
    served: int = 0
    refused: int = 0
    relieved: bool = False

    def told(self) -> dict[str, Any]:
        """What is known of it, for people."""
        facts = asdict(self)
        del facts["link"], facts["relieved"]
        return facts


class Room:
    """How many more calls each worker of a crew can take, in memory that all of them share.

    Made before the fork.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._memory = mmap.mmap(-1, 8 * size)

    def tell(self, number: int, free: int) -> None:
        """Worker `number` has room for so many more."""
        struct.pack_into("q", self._memory, 8 * number, free)

    def roomier(self, number: int, free: int) -> bool:
        """Whether another worker than `number` has notably more room than `free`."""
        wanted = free + UNEVEN if free > 0 else 1
        told = struct.unpack_from(f"{self._size}q", self._memory)
        return any(each >= wanted for place, each in enumerate(told) if place != number)


class Seat:
    """A worker's place in its crew, in the worker's own process.

    `number` is 0 for the first worker, and a successor takes over its predecessor's. `listener` is
    the shared socket. `stop` is set when the worker is to drain: told by SIGTERM or SIGINT, or by
    the parent's death. The workers tell each other how many more calls each of them can take.
    """

    def __init__(self, number: int, listener: int, link: int, drain_s: float, room: Room) -> None:
        self.number = number
        self.drain_s = drain_s
        self._room = room
        self.stop = Event()
        self.listener = GeventSocket(fileno=listener)
        self._link = link
        self._told: tuple[object, ...] = ()
        hub = gevent_hub.get_hub()
        self._watchers = [hub.loop.signal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        # Nothing ever comes down the link: it can be read when the parent is gone.
        self._watchers.append(hub.loop.io(link, 1))
        for watcher in self._watchers:
            watcher.start(self._stop)

    def tell(self, free: int) -> None:
        """See `esl_worker.server.Siblings`."""
        self._room.tell(self.number, free)

    def roomier(self, free: int) -> bool:
        """See `esl_worker.server.Siblings`."""
        return self._room.roomier(self.number, free)

    def report(self, state: State, calls: int, served: int, refused: int) -> None:
        """Tell the parent how this worker is; what is no news is not sent."""
        news = (state, calls, served, refused)
        if news == self._told:
            return
        self._told = news
        with suppress(OSError):
            os.write(self._link, json.dumps(news).encode())

    def _stop(self) -> None:
        self._watchers[-1].stop()
        self.stop.set()


class Crew:
    """The parent of `size` workers on one socket.

    Args:
        listener: a listening socket, made by `listen`.
        size: how many workers.
        serve: what a worker does; called in its own process, returns when it has drained.
        drain_s: seconds that running calls have once a worker was told to stop.
        told: called with every member's facts when they have changed, in the parent.
        successor: a command that says by its exit code whether a reload would succeed; without
            one SIGHUP is ignored.
    """

    def __init__(
        self,
        listener: stdlib_socket.socket,
        size: int,
        serve: Callable[[Seat], None],
        *,
        drain_s: float,
        told: Callable[[list[dict[str, Any]], bool], None] = lambda members, stopping: None,
        successor: Sequence[str] = (),
    ) -> None:
        if size < 1:
            raise ValueError(f"a crew needs a worker, not {size}")
        self._listener = listener
        self._size = size
        self._room = Room(size)
        self._serve = serve
        self._drain_s = drain_s
        self._told = told
        self._successor = successor
        self._members: dict[int, Member] = {}
        self._started: dict[int, float] = {}
        self._deaths = [0] * size
        self._due = [0.0] * size
        self._deadlines: dict[int, float] = {}
        self._stopping = False
        self._reloading: float | None = None
        self._last: object = None

    def run(self) -> None:
        """Keep the workers running until SIGTERM or SIGINT; returns when all of them have ended.

        In a forked worker this does not return.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        no_loop()
        for member in handed_over():
            self._members[member.pid] = member
            member.relieved = True
            self._reloading = time.monotonic() + _RELIEF_S
        gc.collect()
        # What is there now stays in pages that no worker's garbage collection touches.
        gc.freeze()
        while not self._stopping or self._members:
            self._fill()
            self._tell()
            self._heed(signal.sigtimedwait(_SIGNALS, self._patience()))
            self._bury()
            self._listen()
            self._relieve()
            self._end_late()
        self._tell()

    # -- one turn of the loop -----------------------------------------------------------------

    def _patience(self) -> float:
        now = time.monotonic()
        vacant = set(range(self._size)) - {each.number for each in self._present()}
        return min([_LOOK_S, *(max(0.0, self._due[number] - now) for number in vacant)])

    def _fill(self) -> None:
        """Fork a worker for each place that is empty, at once unless they die of starting."""
        if self._stopping:
            return
        taken = {each.number for each in self._present()}
        for number in range(self._size):
            if number not in taken and time.monotonic() >= self._due[number]:
                self._enlist(number)

    def _heed(self, info: signal.struct_siginfo | None) -> None:
        if info is None or info.si_signo == signal.SIGCHLD:
            return
        if info.si_signo == signal.SIGHUP:
            self._reload()
        elif self._stopping:
            log.warning("told to stop again: %d workers are killed", len(self._members))
            self._send(signal.SIGKILL, list(self._members.values()))
        else:
            log.info("stopping; running calls have %g s to end", self._drain_s)
            self._stopping = True
            self._listener.close()
            self._dismiss(list(self._members.values()))

    def _bury(self) -> None:
        """Take note of workers that have ended."""
        while self._members:
            try:
                pid, status = _waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            member = self._members.pop(pid, None)
            if member is None:
                continue
            os.close(member.link)
            if not member.relieved:
                self._room.tell(member.number, 0)
            self._deadlines.pop(pid, None)
            lived = time.monotonic() - self._started.pop(pid, 0.0)
            code = os.waitstatus_to_exitcode(status)
            if member.relieved:
                log.info("worker %d has ended", pid)
                continue
            log.error("worker %d died (%s); the next one starts", pid, _cause(code))
            deaths = 0 if lived > _STEADY_S else self._deaths[member.number] + 1
            self._deaths[member.number] = deaths
            wait = _BACKOFF_S[min(max(0, deaths - 1), len(_BACKOFF_S) - 1)]
            self._due[member.number] = time.monotonic() + wait

    def _listen(self) -> None:
        """Read what workers report."""
        links = {member.link: member for member in self._members.values()}
        readable, _, _ = _select(list(links))
        for link in readable:
            with suppress(OSError, ValueError):
                member = links[link]
                state, calls, served, refused = json.loads(os.read(link, 4096))
                member.calls, member.served, member.refused = calls, served, refused
                if member.state != "draining":
                    member.state = state

    def _relieve(self) -> None:
        """Once all new workers serve, those of before the reload may go."""
        if self._reloading is None or self._stopping:
            return
        ready = sum(each.state == "serving" for each in self._present())
        if ready < self._size and time.monotonic() < self._reloading:
            return
        self._reloading = None
        self._dismiss([each for each in self._members.values() if each.relieved])

    def _end_late(self) -> None:
        late = [pid for pid, end in self._deadlines.items() if time.monotonic() > end]
        for pid in late:
            log.error("worker %d does not end; it is killed", pid)
            del self._deadlines[pid]
            self._send(signal.SIGKILL, [self._members[pid]])

    def _tell(self) -> None:
        news = [each.told() for each in sorted(self._members.values(), key=lambda m: m.number)]
        if (news, self._stopping) != self._last:
            self._last = (news, self._stopping)
            self._told(news, self._stopping)

    def _present(self) -> list[Member]:
        return [each for each in self._members.values() if not each.relieved]

    # -- processes ----------------------------------------------------------------------------

    def _enlist(self, number: int) -> None:
        ours, theirs = stdlib_socketpair()
        _flush()
        pid = _fork()
        if pid == 0:
            self._be_worker(number, ours, theirs)
        os.close(theirs)
        self._members[pid] = Member(pid, number, ours)
        self._started[pid] = time.monotonic()

    def _be_worker(self, number: int, ours: int, theirs: int) -> NoReturn:
        code = 1
        try:
            os.close(ours)
            for member in self._members.values():
                # Else the parent's death would not be seen while a brother lives.
                os.close(member.link)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            gc.set_threshold(*_GARBAGE)
            self._room.tell(number, 0)
            listener = os.dup(self._listener.fileno())
            self._listener.close()
            self._serve(Seat(number, listener, theirs, self._drain_s, self._room))
            code = 0
        except BaseException:
            log.exception("a worker failed")
        finally:
            _flush()
            # Not by way of the parent's own clean-up.
            os._exit(code)

    def _dismiss(self, members: list[Member]) -> None:
        for member in members:
            member.relieved = True
            member.state = "draining"
            self._deadlines.setdefault(member.pid, time.monotonic() + self._drain_s + _MARGIN_S)
        self._send(signal.SIGTERM, members)

    def _send(self, number: signal.Signals, members: list[Member]) -> None:
        for member in members:
            with suppress(ProcessLookupError):
                os.kill(member.pid, number)

    def _reload(self) -> None:
        """Become the newest release; stay what we are where that would not start."""
        if self._stopping or not self._successor:
            return
        if not _succeeds(self._successor):
            log.error("not reloaded: the new configuration or release does not start")
            return
        log.info("reloading")
        descriptors = [self._listener.fileno(), *(each.link for each in self._members.values())]
        for descriptor in descriptors:
            os.set_inheritable(descriptor, True)
        members = (f"{each.pid}:{each.number}:{each.link}" for each in self._members.values())
        os.environ[HANDOVER] = ";".join([str(self._listener.fileno()), *members])
        _flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - ourselves


def listen(address: tuple[str, int]) -> stdlib_socket.socket:
    """The crew's socket: the one that the predecessor or systemd hands over, else a new one.

    Raises:
        OSError: the address is taken, or not this machine's.
    """
    handed = os.environ.get(HANDOVER, "").partition(";")[0]
    if not handed and os.environ.get("LISTEN_PID") == str(os.getpid()):
        handed = "3"  # sd_listen_fds(3)
    if handed:
        given: stdlib_socket.socket = _socket(fileno=int(handed))
        os.set_inheritable(given.fileno(), False)
        return given
    family = stdlib_socket.AF_INET6 if ":" in address[0] else stdlib_socket.AF_INET
    made: stdlib_socket.socket = _socket(family, stdlib_socket.SOCK_STREAM)
    try:
        made.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def handed_over() -> list[Member]:
    """The workers of the predecessor, which are this process's children as they were its."""
    _, *members = os.environ.pop(HANDOVER, "").split(";")
    found = []
    for each in members:
        pid, number, link = (int(part) for part in each.split(":"))
        os.set_inheritable(link, False)
        found.append(Member(pid, number, link))
    return found


def no_loop() -> None:
    """Make sure that no gevent loop exists before a fork: a library may have made one on import."""
    hub = get_hub_if_exists()
    if hub is not None:
        hub.destroy(destroy_loop=True)


def in_child(work: Callable[[], None]) -> int:
    """Do something in a forked process and wait for it; returns its exit code, 0 for success.

    For what would make connections or a loop in a process that is going to fork workers.
    """
    _flush()
    pid = _fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            log.exception("failed")
        finally:
            _flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(_waitpid(pid, 0)[1])


def stdlib_socketpair() -> tuple[int, int]:
    """Two connected ends that keep the borders of messages; neither blocks, neither is inherited
    by another program."""
    pair = stdlib_socket._socket.socketpair(  # type: ignore[attr-defined]
        stdlib_socket.AF_UNIX, stdlib_socket.SOCK_SEQPACKET
    )
    ends = []
    for end in pair:
        os.set_blocking(end.fileno(), False)
        ends.append(end.detach())
    return ends[0], ends[1]


def _select(links: list[int]) -> tuple[list[int], list[int], list[int]]:
    original = monkey.get_original("select", "select")
    found: tuple[list[int], list[int], list[int]] = original(links, [], [], 0)
    return found


def _succeeds(command: Sequence[str]) -> bool:
    pid = _fork()
    if pid == 0:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1)
            os.execv(command[0], list(command))  # noqa: S606 - our own interpreter
        finally:
            os._exit(127)
    return os.waitstatus_to_exitcode(_waitpid(pid, 0)[1]) == 0


def _cause(code: int) -> str:
    if code >= 0:
        return f"code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
