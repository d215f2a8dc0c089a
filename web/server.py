"""Serving the application over HTTP with gevent's WSGI server."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import gevent
from flask import Flask
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

CONNECTIONS = 1_000
"""Connections served at once; further ones wait in the listen queue."""

IDLE_S = 30.0
"""How long a client may say nothing, before or between its bytes."""

_STOP_S = 5.0
_log = logging.getLogger(__name__)


class _Handler(WSGIHandler):
    """A connection that a slow or silent client cannot hold for ever."""

    def handle(self) -> None:
        self.socket.settimeout(IDLE_S)
        super().handle()


def make_server(app: WSGIApplication, listen: tuple[str, int]) -> WSGIServer:
    """A server for `app` on (host, port); port 0 lets the system choose. Not yet started.

    It keeps no access log of its own: that would hold the tokens in the paths; the application
    logs its routes instead.
    """
    return WSGIServer(
        listen, app, handler_class=_Handler, spawn=Pool(CONNECTIONS), log=None, error_log=None
    )


def serve(
    app: Flask, listen: tuple[str, int], on_ready: Callable[[str, int], None] | None = None
) -> None:
    """Serve `app` until SIGTERM or SIGINT; requests under way then get 5 seconds to end.

    `on_ready` is called with host and port once connections are taken. Raises OSError when the
    address cannot be bound. gevent's monkey patching must have come first in this process, so
    that a slow database stops one request and not all.
    """
    server = make_server(app, listen)
    server.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, server.close)
    host, port = server.server_host, server.server_port
    assert host is not None and port is not None  # started  # noqa: PT018
    _log.info("listening on %s port %s", host, port)
    if on_ready is not None:
        on_ready(host, port)
    server.serve_forever(stop_timeout=_STOP_S)
