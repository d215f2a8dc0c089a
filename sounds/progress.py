"""A progress bar for builds in a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sounds.build import Progress as Callback


@contextlib.contextmanager
def progress_bar(console: Console | None = None) -> Iterator[Callback]:
    """A callback for ``build(progress=...)`` that draws a bar (to stderr) until the block ends."""
    columns = (
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console or Console(stderr=True)) as bar:
        task = bar.add_task("sounds", total=None)

        def show(done: int, total: int, name: str) -> None:
            bar.update(task, completed=done, total=total, description=f"{name:<32.32}")

        yield show
