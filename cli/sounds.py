"""`callflows sounds`: recordings, the studio's script, what is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from callflows.config import LANGUAGES
from cli.main import settings_of
from sounds import build as builder
from sounds.errors import SoundsError

LANGUAGE = click.Choice(LANGUAGES)


@click.group("sounds")
def command() -> None:
    """Build the recordings, print the recording script, check what is missing."""


@command.command("build")
@click.option("--language", "languages", type=LANGUAGE, multiple=True, help="Only this language.")
@click.option("--jobs", type=click.IntRange(1, 64), help="Processes at once. Default: one a core.")
def build(languages: tuple[str, ...], jobs: int | None) -> None:
    """Build every recording that is missing or out of date (8 kHz, mono, 16 bit, levelled).

    Recordings from a studio (studio_dir) are taken as they are; the others are spoken by
    espeak-ng.

    \b
    Examples:
      callflows sounds build
      callflows sounds build --language fa --language ar
    """
    settings = settings_of()
    columns = (
        TextColumn("recordings"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("recordings", total=None)
        try:
            report = builder.build(
                settings.sounds_dir,
                languages or LANGUAGES,
                studio_dir=settings.studio_dir,
                jobs=jobs,
                progress=lambda done, total, _: progress.update(task, completed=done, total=total),
            )
        except SoundsError as error:
            raise click.ClickException(str(error)) from error
    click.echo(
        f"{settings.sounds_dir}: {len(report.built)} built, {len(report.studio)} from the studio, "
        f"{len(report.unchanged)} unchanged; {report.seconds_of_sound / 60:.1f} minutes of sound"
    )


@command.command("script")
@click.option("--language", type=LANGUAGE, required=True, help="The speaker's language.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="File; default: the screen."
)
def print_script(language: str, output: Path | None) -> None:
    """Print the recording script for a studio: a CSV with key, text and context.

    \b
    Example:
      callflows sounds script --language fa --output script-fa.csv
    """
    if output is None:
        builder.script_csv(language, sys.stdout)
        return
    # A byte-order mark, because studios open the file in a spreadsheet.
    with output.open("w", encoding="utf-8-sig", newline="") as file:
        builder.script_csv(language, file)
    click.echo(f"written: {output}", err=True)


@command.command("check")
@click.option("--language", "languages", type=LANGUAGE, multiple=True, help="Only this language.")
def check(languages: tuple[str, ...]) -> None:
    """Name every recording that is missing or in the wrong format; exit code 1 if there is any."""
    settings = settings_of()
    faults = 0
    for language in languages or LANGUAGES:
        found = builder.check(settings.sounds_dir, language)
        for fault in found:
            click.echo(str(fault), err=True)
        faults += len(found)
        click.echo(f"{language}: {len(found)} missing or wrong" if found else f"{language}: whole")
    if faults:
        click.echo("Build them with `callflows sounds build`.", err=True)
        sys.exit(1)
