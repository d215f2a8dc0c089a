"""The recordings of services on this machine: which are wanted, which are missing, made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from billing.premium.supervision import Supervision
from callflows.config import Settings
from callflows.trees.services import Checked, check_service
from sounds.errors import SoundsError
from sounds.library import Made

if TYPE_CHECKING:
    from cli.parts import Parts


def heard(supervision: Supervision, settings: Settings) -> Iterator[tuple[int, Checked]]:
    """What callers can hear: the published version of each service, and its number."""
    for each in supervision.listed():
        if each.published is not None and each.status in ("published", "suspended"):
            definition = supervision.definition(each.number, each.published)
            yield each.published, check_service(definition, settings.zone, settings.region)


def missing(sounds_dir: Path, found: Checked, version: int) -> list[str]:
    """Names of the version's recordings that are not there."""
    return [
        recording.name
        for _, recording in found.recordings(version)
        if not (sounds_dir / recording.name).is_file()
    ]


def make(
    parts: Parts, found: Checked, version: int, given: Path | None, *, keep: bool = False
) -> Made:
    """Make a version's recordings; with ``keep`` only those that are not there.

    Raises ClickException for a recording in ``given`` of wrong format, or a text without a sound.
    """
    wanted = list(found.recordings(version))
    # services/<number>/<version>/<language>/name.wav
    folder = "/".join(wanted[0][1].name.split("/")[:3])
    if keep:
        absent = set(missing(Path(parts.settings.sounds_dir), found, version))
        wanted = [(language, each) for language, each in wanted if each.name in absent]
    columns = (TextColumn("recordings"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("recordings", total=None)
        try:
            return parts.library.make(
                folder,
                [recording for _, recording in wanted],
                {recording.name: language for language, recording in wanted},
                given,
                lambda done, total, _: progress.update(task, completed=done, total=total),
            )
        except SoundsError as error:
            raise click.ClickException(str(error)) from error
