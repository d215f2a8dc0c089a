"""The calls recorded from a real FreeSWITCH 1.10.12 (tests/captures/), as records.

Eighteen in async mode (``NAMES``), the nineteenth in sync mode (``SYNC``).

A record is ``(direction, seconds, data)``: direction ">" is application to switch, "<" switch to
application. See tests/captures/README.md for what happens in each call.
"""

import gzip
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "captures"
ALL = tuple(sorted(path.name.removesuffix(".esl.gz") for path in FOLDER.glob("*.esl.gz")))
NAMES = tuple(name for name in ALL if "-sync-" not in name)
(SYNC,) = tuple(name for name in ALL if "-sync-" in name)


class Record(NamedTuple):
    """Bytes that went one way in one piece."""

    direction: str
    seconds: float
    data: bytes


def records(name: str) -> list[Record]:
    """All records of one capture, by its full name or its number ("03")."""
    full = next(known for known in ALL if known == name or known.split("-")[0] == name)
    raw = gzip.decompress((FOLDER / f"{full}.esl.gz").read_bytes())
    found = []
    position = 0
    while position < len(raw):
        line_end = raw.index(b"\n", position)
        direction, seconds, length = raw[position:line_end].decode("ascii").split(" ")
        start = line_end + 1
        position = start + int(length)
        if raw[position : position + 1] != b"\n":
            raise ValueError(f"{full}: record at byte {line_end} does not end with a newline")
        found.append(Record(direction, float(seconds), raw[start:position]))
        position += 1
    return found


def stream(name: str, direction: str) -> bytes:
    """Everything that went one way in a capture, in one piece."""
    return b"".join(record.data for record in records(name) if record.direction == direction)
