"""The index of a folder of recordings: fingerprint, text, source and length of each."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

INDEX = "index.json"

Entry = dict[str, Any]
"""``fingerprint``, ``text``, ``source`` and ``ms`` (milliseconds) of a recording."""


def fingerprint(settings: str, content: bytes) -> str:
    """What a recording was made of, in short: the same means that it need not be made again."""
    return hashlib.sha256(settings.encode() + b"\0" + content).hexdigest()[:24]


def read_index(root: Path) -> dict[str, Entry]:
    """The index; empty if there is none or it is damaged (everything is then built anew)."""
    try:
        data = json.loads((root / INDEX).read_text(encoding="utf-8"))
        entries: dict[str, Entry] = data["recordings"]
        for entry in entries.values():
            entry["fingerprint"], entry["text"], entry["ms"] + 0
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return entries


def write_index(root: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the index, whole or not at all; the folder is made."""
    root.mkdir(parents=True, exist_ok=True)
    ordered = {name: entries[name] for name in sorted(entries)}
    handle, temporary = tempfile.mkstemp(dir=root, suffix=".part")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({"recordings": ordered}, file, ensure_ascii=False, indent=0)
        file.write("\n")
    os.chmod(temporary, 0o644)
    os.replace(temporary, root / INDEX)
