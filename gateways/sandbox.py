"""A folder that plays the outside world: what would have been sent lies there to be read.

For trying and testing only: the files hold what a real message holds (numbers, names), so the
folder is made for its owner alone (mode 0700).
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

INDEX = "messages.jsonl"


def utc_now() -> datetime:
    """Wall clock as an aware UTC time; the default of every gateway that stamps a time."""
    return datetime.now(UTC)


class SandboxFolder:
    """One file per message, and `messages.jsonl` with one line per message in order of arrival.

    Several processes may write at once: a lock file makes each message one step, files appear
    whole (written aside, then renamed), and a message whose key was seen before changes nothing,
    as with a gateway that honours idempotency keys.
    """

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        self._folder = folder
        self._now = now
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, name: str, content: bytes, record: Mapping[str, Any]) -> bool:
        """Keep a message under a file name made from its key; False if it was there before.

        `record` becomes the line of the index, with `at` (time) and `file` (name) added.
        Raises OSError if the folder cannot be written.
        """
        with open(self._folder / ".lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            path = self._folder / name
            line = {"at": self._now().isoformat(), "file": name, **record}
            if path.exists():
                # A writer killed between file and line left the index one short: make it good.
                if not any(entry["file"] == name for entry in read_index(self._folder)):
                    self._append(line)
                return False
            handle, aside = tempfile.mkstemp(dir=self._folder, prefix=".new-")
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.rename(aside, path)
            self._append(line)
            return True

    def _append(self, line: Mapping[str, Any]) -> None:
        with open(self._folder / INDEX, "a", encoding="utf-8") as index:
            index.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_index(folder: Path) -> list[dict[str, Any]]:
    """The messages of a sandbox folder in order of arrival; empty if there are none yet."""
    try:
        text = (folder / INDEX).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    # A last line without its end is still being written.
    return [json.loads(line) for line in text.split("\n")[:-1] if line]
