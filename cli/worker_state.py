"""What the worker processes of this machine are doing: told to systemd, kept for people."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gevent import monkey

log = logging.getLogger(__name__)

FOLDER = "workers"


class WorkerState:
    """Writes the state of one port's workers to `state_dir/workers/`, and to systemd.

    Used by a process that must not run gevent's loop, so its socket is the unpatched one.
    """

    def __init__(self, state_dir: Path, listen: str) -> None:
        self._listen = listen
        self._file = state_dir / FOLDER / f"{listen.rpartition(':')[2]}.json"
        self._ready = False

    def tell(self, members: Sequence[dict[str, Any]], stopping: bool) -> None:
        """The members' facts have changed, or the stop has begun.

        A disk that is full is no reason to end: the workers go on, only `callflows workers` is not
        told.
        """
        facts = {
            "pid": os.getpid(),
            "listen": self._listen,
            "stopping": stopping,
            "workers": list(members),
        }
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            draft = self._file.with_suffix(".new")
            draft.write_text(json.dumps(facts, indent=1))
            draft.replace(self._file)
        except OSError as error:
            log.error("the state of the workers is not written: %s", error)
        serving = sum(each["state"] == "serving" for each in members)
        calls = sum(each["calls"] for each in members)
        lines = [f"STATUS={serving} of {len(members)} workers serve, {calls} calls"]
        if stopping:
            lines.append("STOPPING=1")
        elif serving and not self._ready:
            self._ready = True
            lines.append("READY=1")
        _notify("\n".join(lines))

    def forget(self) -> None:
        """The workers have ended."""
        with suppress(OSError):
            self._file.unlink()


def read(state_dir: Path) -> list[dict[str, Any]]:
    """The state of each port whose workers run on this machine."""
    found = []
    for file in sorted((state_dir / FOLDER).glob("*.json")):
        with suppress(OSError, ValueError):
            facts = json.loads(file.read_text())
            if _lives(facts["pid"]):
                found.append(facts)
    return found


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _notify(text: str) -> None:
    """sd_notify(3), where systemd listens."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if not name:
        return
    made = monkey.get_original("socket", "socket")
    with suppress(OSError), made(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.connect("\0" + name[1:] if name.startswith("@") else name)
        out.send(text.encode())
