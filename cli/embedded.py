"""The embedded switch for the command line, and a worker of its own where none runs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from callflows.config import LANGUAGES
from cli.parts import Parts, address
from cli.worker import make_server
from esl_worker.switch.clock import Clock
from esl_worker.switch.dialplan import service_dialplan
from esl_worker.switch.switch import Switch
from sounds.build import check

CONNECT_S = 1.0


@contextmanager
def switch(parts: Parts, speed: float) -> Iterator[Switch]:
    """A switch whose calls go to the running worker, or to one made for the occasion."""
    settings = parts.settings
    sounds_dir = Path(settings.sounds_dir).resolve()
    missing = sum(len(check(sounds_dir, language, parts.catalogue)) for language in LANGUAGES)
    if missing:
        raise click.ClickException(
            f"sounds_dir: {missing} recordings are missing or wrong in {settings.sounds_dir}\n"
            "Build them with `callflows sounds build`."
        )
    running = _answers(settings.worker_listen)
    if running:
        workers = [settings.worker_listen]
        server = journals = None
    else:
        alone = Parts(settings.model_copy(update={"worker_listen": "127.0.0.1:0"}))
        server, journals = make_server(alone)
        journals.start()
        server.start()
        workers = [f"127.0.0.1:{server.server_port}"]
    try:
        yield Switch(service_dialplan(workers), sounds_dir, Clock(speed))
    finally:
        if server is not None and journals is not None:
            server.drain(10.0)
            journals.stop()


def _answers(listen: str) -> bool:
    try:
        with socket.create_connection(address(listen), CONNECT_S):
            return True
    except OSError:
        return False
