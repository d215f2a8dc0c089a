"""What is played: sound files, silence and tones, and how long each lasts.

The switch moves no audio; it knows durations. A file's duration is read from its WAV header
once, then remembered.
"""

from __future__ import annotations

import re
import wave
from dataclasses import dataclass
from pathlib import Path

from esl_worker.switch.values import integer

RATE = 8000  # samples a second of the telephone channel
FOREVER = float("inf")

# mod_dptools plays a quarter of a second of silence before the first piece of a file string
# (capture 15: 55,266 samples for three files of together 53,266), unless that piece is missing
# (measured: 2,400 samples for a missing file and one of 2,400).
FILE_STRING_LEAD_S = 0.25

_TONE = re.compile(r"%\((\d+)\s*,\s*(\d+)[^)]*\)")
_LOOPS = re.compile(r"loops=(-?\d+)")


@dataclass(frozen=True, slots=True)
class Prompt:
    """Something to play.

    Attributes:
        files: what is heard, in order; a file by its name relative to the sounds directory,
            a stream by its URL.
        duration: seconds from start to end; infinite for an endless stream.
        found: False when nothing of it can be played.
        missing: the names that were asked for and are not there.
        chunked: True where FreeSWITCH reads ahead in blocks of 16,384 samples, which shows in
            `playback_samples` (not so for file strings).
    """

    files: tuple[str, ...]
    duration: float
    found: bool = True
    missing: tuple[str, ...] = ()
    chunked: bool = True


class Sounds:
    """The sounds directory.

    Args:
        directory: where relative names are looked up.
        missing_s: seconds that a missing file is taken to last; None (as FreeSWITCH does):
            it is skipped, and nothing is played if no file is there.
    """

    def __init__(self, directory: Path, missing_s: float | None = None) -> None:
        self.directory = Path(directory)
        self._missing_s = missing_s
        self._seconds: dict[str, float] = {}

    def prompt(self, argument: str, prefix: str | None = None) -> Prompt:
        """What the argument of `playback` (or a prompt file of a question) stands for.

        Args:
            argument: a file, file_string://a!b, silence_stream://ms or tone_stream://…
            prefix: the channel's `sound_prefix`, if it has one.
        """
        text = argument
        while text.startswith("{") and "}" in text:  # {parameters}file
            text = text.partition("}")[2].lstrip(" ")
        if not text.startswith("file_string://"):
            return self._piece(text, prefix)
        pieces = [self._piece(piece, prefix) for piece in _pieces(text[14:])]
        found = [piece for piece in pieces if piece.found]
        lead = FILE_STRING_LEAD_S if found[:1] == pieces[:1] else 0.0
        return Prompt(
            files=tuple(name for piece in found for name in piece.files),
            duration=lead + sum(piece.duration for piece in found),
            found=bool(found),
            missing=tuple(name for piece in pieces for name in piece.missing),
            chunked=False,
        )

    def _piece(self, text: str, prefix: str | None) -> Prompt:
        scheme, separator, rest = text.partition("://")
        if separator:
            if scheme == "silence_stream":
                milliseconds = integer(rest.split(",")[0])
                return Prompt((text,), FOREVER if milliseconds < 0 else milliseconds / 1000)
            if scheme == "tone_stream":
                return Prompt((text,), _tone_seconds(rest))
            return Prompt((), 0.0, found=False, missing=(text,))
        name = self._relative(text, prefix)
        seconds = self.seconds(name)
        if seconds is None:
            if self._missing_s is None:
                return Prompt((), 0.0, found=False, missing=(name,))
            return Prompt((name,), self._missing_s, missing=(name,))
        return Prompt((name,), seconds)

    def _relative(self, name: str, prefix: str | None) -> str:
        """The name relative to the sounds directory (absolute if it lies outside)."""
        path = name if name.startswith("/") else f"{prefix}/{name}" if prefix else name
        if "." not in path.rpartition("/")[2]:
            path += ".wav"
        root = f"{self.directory}/"
        return path.removeprefix(root)

    def seconds(self, name: str) -> float | None:
        """How long the file lasts, or None if it is not there or no sound file."""
        try:
            return self._seconds[name]
        except KeyError:
            pass
        try:
            with wave.open(str(self.directory / name), "rb") as sound:
                seconds = sound.getnframes() / sound.getframerate()
        except (OSError, EOFError, wave.Error, ZeroDivisionError, ValueError):
            # ValueError: a NUL in the name, which no file can have. What is missing is not
            # remembered: the sounds may be built while the switch runs.
            return None
        self._seconds[name] = seconds
        return seconds


def _pieces(text: str) -> list[str]:
    """A file string's pieces; FreeSWITCH takes 128 and leaves the rest together in the last."""
    return [piece for piece in text.split("!", 127) if piece]


def _tone_seconds(text: str) -> float:
    """Sum of sounds and pauses, times the loops; a tone that cannot be read lasts a second."""
    loops = _LOOPS.search(text)
    times = int(loops[1]) if loops else 1
    if times < 0:
        return FOREVER
    once = sum(int(on) + int(off) for on, off in _TONE.findall(text)) / 1000
    return (once or 1.0) * max(1, times)
