"""WAV files as telephone switches play them: 8 kHz, mono, 16-bit PCM."""

from __future__ import annotations

import contextlib
import os
import tempfile
import wave
from array import array
from collections.abc import Iterator
from pathlib import Path
from sys import byteorder

from sounds.errors import RecordingError

RATE_HZ = 8000
"""Sample rate of every recording; the telephone network's own."""


def write(path: Path, samples: array[int]) -> None:
    """Write 16-bit samples to ``path``, whole or not at all; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if byteorder == "big":
        samples = array("h", samples)
        samples.byteswap()
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file, wave.open(file, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(RATE_HZ)
            out.writeframes(samples.tobytes())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def read(path: Path) -> array[int]:
    """The samples of a recording. Raises RecordingError naming file and fault."""
    with _open(path) as source:
        frames = source.readframes(source.getnframes())
        promised = source.getnframes()
    if len(frames) < promised * 2:
        raise RecordingError(f"{path}: cut off: {len(frames) // 2} of {promised} samples")
    samples = array("h", frames)
    if byteorder == "big":
        samples.byteswap()
    return samples


def duration_ms(path: Path) -> int:
    """Length by the file's header, in milliseconds. Raises RecordingError."""
    with _open(path) as source:
        return round(source.getnframes() * 1000 / RATE_HZ)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[wave.Wave_read]:
    try:
        source = wave.open(str(path), "rb")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        raise RecordingError(f"{path}: missing") from None
    except (wave.Error, EOFError, OSError) as error:
        raise RecordingError(f"{path}: not a PCM WAV file ({error})") from None
    with source:
        found = (source.getframerate(), source.getnchannels(), source.getsampwidth())
        if found != (RATE_HZ, 1, 2):
            rate, channels, width = found
            raise RecordingError(
                f"{path}: {rate} Hz, {channels} channels, {width * 8} bits;"
                f" needs {RATE_HZ} Hz, 1 channel, 16 bits"
            )
        if not source.getnframes():
            raise RecordingError(f"{path}: empty")
        yield source
