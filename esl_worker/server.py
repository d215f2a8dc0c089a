"""The worker's listening socket: one greenlet for each call that a switch connects.

Accepting is event-driven (no polling), bounded and cheap to refuse. Refusing means closing the
connection at once: the dialplan then tries the next host of its ``socket`` list, and the caller
notices nothing.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable
from typing import Any, Protocol

import gevent
from gevent.server import StreamServer
from gevent.socket import socket as GeventSocket

from callflows.call import CallerGone
from esl_worker.metrics import WorkerMetrics
from esl_worker.session import ConnectionLost, ReplyTimeout, Session

log = logging.getLogger(__name__)

_BACKLOG = 1024
# A worker that leaves connections to its siblings looks again after so many seconds; a full one
# refuses what is still there after so many in all.
SIBLING_S = 0.01
SIBLINGS_LIMIT_S = 1.0


class Siblings(Protocol):
    """What processes that accept from one socket know of each other."""

    def tell(self, free: int) -> None:
        """This process can take so many more calls."""

    def roomier(self, free: int) -> bool:
        """Whether another one has notably more room than ``free``; than none at all: any room."""


_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class WorkerServer(StreamServer):
    """Accepts event-socket connections and runs ``handler(session)`` for each, connected.

    ``listener`` is ``(host, port)`` or a listening gevent socket. At ``max_calls`` running calls,
    and when the process has no file descriptor left, further ones are refused. ``handler`` runs in
    the call's own greenlet; whatever it raises ends only its own call and is logged with the call
    id. The session is closed when it returns.
    """

    def __init__(
        self,
        listener: Any,
        handler: Callable[[Session], None],
        *,
        max_calls: int = 2000,
        connect_timeout_s: float = 5.0,
        reply_timeout_s: float = 30.0,
        metrics: WorkerMetrics | None = None,
        siblings: Siblings | None = None,
    ) -> None:
        self.max_calls = max_calls
        self.connect_timeout_s = connect_timeout_s
        self.reply_timeout_s = reply_timeout_s
        self.refused = 0
        """How many calls have been refused since the start."""
        self.served = 0
        """How many connections have been taken since the start."""
        self._siblings = siblings
        self._standing_back: Any = None
        self._stood_back_s = 0.0
        self._takes_all_until = 0.0
        self._handler = handler
        self._metrics = metrics or WorkerMetrics()
        self._metrics.watch(lambda: self.active, max_calls)
        self._running: set[gevent.Greenlet[..., None]] = set()
        self._spare = -1
        self._unreported: dict[str, int] = {}
        own = not hasattr(listener, "accept")
        super().__init__(listener, self._serve, backlog=_BACKLOG if own else None)
        if siblings is not None:
            self.max_accept = 1
            siblings.tell(max_calls)

    @property
    def active(self) -> int:
        """How many calls are running."""
        return len(self._running)

    def start(self) -> None:
        """Listen and accept. Raises OSError when the address is taken."""
        super().start()
        self._keep_spare()

    def close(self) -> None:
        """Stop accepting: further connections are refused by the kernel. Calls go on."""
        if self._standing_back is not None:
            self._standing_back.close()
            self._standing_back = None
        if self._siblings is not None:
            self._siblings.tell(0)
        super().close()
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1

    def drain(self, limit_s: float) -> int:
        """Stop accepting, wait up to ``limit_s`` seconds for the running calls to end.

        Returns how many still run. Those are not ended: when the process exits, their connections
        close, and the dialplan hands each live call to another worker.
        """
        if not self.closed:
            self.close()
        gevent.joinall(list(self._running), timeout=limit_s)
        return len(self._running)

    # gevent calls these two in its event loop: neither may block, nor log (a log handler may).

    def do_read(self) -> tuple[GeventSocket, Any] | None:  # type: ignore[override]
        """Accept one connection, or refuse it. (Hook of gevent's BaseServer.)"""
        if self._siblings is not None and self._leaves_it():
            self._stand_back()
            return None
        return self._accept()

    def _accept(self) -> tuple[GeventSocket, Any] | None:
        try:
            accepted = super().do_read()
        except OSError as error:
            if error.errno not in _EXHAUSTED or not self._refuse_with_spare():
                raise
            self._refused("no file descriptor left")
            return None
        if accepted is not None and len(self._running) >= self.max_calls:
            accepted[0].close()
            self._refused(f"{self.max_calls} calls running")
            return None
        return accepted

    def do_handle(self, *args: Any) -> None:
        """Start the call's greenlet. (Hook of gevent's BaseServer.)"""
        greenlet = gevent.spawn(self._serve, *args)
        self._running.add(greenlet)
        self.served += 1
        greenlet.rawlink(self._gone)
        if self._siblings is not None:
            self._siblings.tell(self.max_calls - len(self._running))

    def _serve(self, sock: GeventSocket, address: Any) -> None:
        session = Session(
            address,
            sock,
            connect_timeout_s=self.connect_timeout_s,
            reply_timeout_s=self.reply_timeout_s,
        )
        try:
            session.connect()
            self._handler(session)
        except ConnectionLost as end:
            # Closing without a word is a look whether somebody listens, as balancers take.
            look = not session.uuid and not end.reason.startswith("protocol error")
            level = logging.INFO if look else logging.WARNING
            log.log(level, "call %s from %s: %s", session.uuid or "?", address, end)
            if not look:
                self._metrics.error("connect")
        except CallerGone:
            log.debug("call %s: the caller has gone", session.uuid)
        except ReplyTimeout as end:
            log.warning("call %s from %s: %s", session.uuid or "?", address, end)
            if not session.uuid:
                self._metrics.error("connect")
        except (Exception, gevent.Timeout):
            log.exception("call %s: the conversation failed", session.uuid)
            self._metrics.error("handler")
        finally:
            session.close()

    def _gone(self, greenlet: gevent.Greenlet[..., None]) -> None:
        self._running.discard(greenlet)
        if self._siblings is not None and not self.closed:
            self._siblings.tell(self.max_calls - len(self._running))

    def _leaves_it(self) -> bool:
        assert self._siblings is not None
        free = self.max_calls - len(self._running)
        if free > 0 and time.monotonic() < self._takes_all_until:
            return False
        return self._siblings.roomier(free)

    def _stand_back(self) -> None:
        """Leave what waits to a sibling that has more room, and look again in a moment."""
        self.stop_accepting()
        self._standing_back = self.loop.timer(SIBLING_S)
        self._standing_back.start(self._look_again)

    def _look_again(self) -> None:
        self._standing_back.close()
        self._standing_back = None
        self._stood_back_s += SIBLING_S
        assert self._siblings is not None
        if len(self._running) < self.max_calls:
            still = self._siblings.roomier(self.max_calls - len(self._running))
            accepted = self._accept()
            if accepted is not None:
                if still:
                    # Whoever has so much room does not take it: it may have hung.
                    self._takes_all_until = time.monotonic() + SIBLINGS_LIMIT_S
                self.do_handle(*accepted)
        elif self._siblings.roomier(0) and self._stood_back_s < SIBLINGS_LIMIT_S:
            self._stand_back()
            return
        else:
            self._refuse_waiting()
        self._stood_back_s = 0.0
        self.start_accepting()

    def _refuse_waiting(self) -> None:
        try:
            while (accepted := super().do_read()) is not None:
                accepted[0].close()
                self._refused(f"{self.max_calls} calls running")
        except OSError:
            log.debug("nothing to refuse")  # no descriptor left, for instance: do_read's affair

    def _keep_spare(self) -> None:
        """Hold one descriptor back, to be able to refuse when there is none left: a connection
        that is only left waiting keeps its caller in silence for the switch's 25 s."""
        if self._spare < 0:
            try:
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                self._spare = -1

    def _refuse_with_spare(self) -> bool:
        if self._spare < 0:
            self._keep_spare()
            return False
        os.close(self._spare)
        self._spare = -1
        try:
            accepted = super().do_read()
            if accepted is not None:
                accepted[0].close()
        except OSError:
            return False
        finally:
            self._keep_spare()
        return True

    def _refused(self, reason: str) -> None:
        self.refused += 1
        if not self._unreported:
            gevent.spawn(self._report)
        self._unreported[reason] = self._unreported.get(reason, 0) + 1

    def _report(self) -> None:
        """Log refusals: the first at once, then a sum each second while there are any."""
        while any(self._unreported.values()):
            for reason, count in self._unreported.items():
                if count:
                    log.warning("refused %d calls: %s", count, reason)
                    self._metrics.ended("refused", count)
            self._unreported = dict.fromkeys(self._unreported, 0)
            gevent.sleep(1.0)
        self._unreported = {}
