"""The embedded switch for the command line, and a worker of its own where none runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from callflows.config import LANGUAGES
from cli.parts import Parts
from cli.run import answers
from cli.worker import make_server
from esl_worker.switch.clock import Clock
from esl_worker.switch.dialplan import service_dialplan
from esl_worker.switch.subscribers import Everybody
from esl_worker.switch.switch import Switch
from sounds import Phrase
from sounds.build import check


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
    running = answers(settings.worker_listen)
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
        dialplan = service_dialplan(
            workers,
            apology=_apology(parts, sounds_dir),
            payment=settings.payment_context,
            payment_numbers=[settings.payment_fixed, settings.payment_mobile],
            care=settings.care_context,
        )
        yield Switch(
            dialplan,
            sounds_dir,
            Clock(speed),
            subscribers=Everybody(),
            recordings_dir=Path(settings.recordings_dir).resolve(),
        )
    finally:
        if server is not None and journals is not None:
            server.drain(10.0)
            journals.stop()


def _apology(parts: Parts, sounds_dir: Path) -> str:
    """What a caller hears when no worker is left, as a playback's argument."""
    names = parts.catalogue.recordings(Phrase("technical_trouble"), parts.settings.language)
    return "file_string://" + "!".join(f"{sounds_dir}/{name}" for name in names)
