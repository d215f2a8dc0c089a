"""Proof by ear: which recordings a caller heard, in order, by correlating audio.

What a caller recorded is compared with the recordings that were to be played. Each recording is
cut into short pieces, and each piece is looked for where it must be: at once after the one before
it, give or take what a jitter buffer does. The score of a piece is the normalised
cross-correlation (1.0: the same but for loudness), so a missing, foreign or additional recording
is noticed even where it has the right length.
"""

from __future__ import annotations

import hashlib
import wave
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 8000
FRAME = RATE_HZ // 50
"""Samples in 20 ms: one RTP packet, and one frame of the switch."""

Samples = NDArray[np.float32]

# Below this root mean square a frame of 16-bit samples is quiet: comfort noise and the steps of
# PCMU around zero are under it, the softest sound of a recording is above.
QUIET = 40.0
# A recording may begin this much before its time (a dropped frame) or after it: the switch waits a
# second between the parts of a long prompt (esl_worker/call.py). What fills a delay must be quiet.
EARLY = RATE_HZ * 60 // 1000
LATE = RATE_HZ * 1500 // 1000
# Where a packet came too late, a telephone makes up some sound of its own (RFC 3389 and G.711
# appendix I): so many loud frames prove nothing. Every recording is longer.
MADE_UP = 3
# From piece to piece a jitter buffer inserts or drops a few frames at most.
SLIP = 4 * FRAME
# The next prompt after an interrupted one: when a dozen keys have been pressed.
CUT = RATE_HZ * 6


class NotHeard(AssertionError):
    """The caller did not hear what was to be heard; says which recording, where, and what else."""


@dataclass(frozen=True, slots=True)
class Hearing:
    """How strictly recordings are compared.

    Args:
        piece: samples in a piece.
        score: correlation from which a piece counts as heard.
        share: how much of a recording (by its sounding pieces) must be heard.
    """

    piece: int
    score: float
    share: float


CODES = Hearing(piece=2 * FRAME, score=0.5, share=0.5)
"""For coded noise, where 40 ms are unmistakable: chance stays under 0.3."""
SPEECH = Hearing(piece=4 * FRAME, score=0.85, share=0.6)
"""For voices: one voice says all, so that a longer piece and a higher score are a proof."""


def code(name: str, seconds: float = 0.16) -> Samples:
    """A short sound that only the recording `name` has: noise of the telephone band, by its hash.

    Two codes correlate by chance only, and survive PCMU with a correlation of 0.99.
    """
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    count = round(seconds * RATE_HZ)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    hertz = np.fft.rfftfreq(count, 1 / RATE_HZ)
    spectrum[(hertz < 300) | (hertz > 3400)] = 0
    sound = np.fft.irfft(spectrum, count)
    sound *= 5000 / np.sqrt(np.mean(sound**2))
    return np.clip(sound, -20000, 20000).astype(np.float32)


def read(path: Path) -> Samples:
    """A mono 16-bit WAV file at 8 kHz; other rates are resampled (its band is the telephone's)."""
    with wave.open(str(path), "rb") as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            raise ValueError(f"{path}: not mono 16-bit PCM")
        rate = file.getframerate()
        frames = file.readframes(file.getnframes())
    return resampled(np.frombuffer(frames, "<i2").astype(np.float32), rate)


def write(path: Path, samples: Samples) -> None:
    """Write samples as a mono 16-bit WAV file at 8 kHz; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.astype("<i2").tobytes())


def resampled(samples: Samples, rate: int) -> Samples:
    """Samples of `rate` Hz at 8 kHz, by cutting the spectrum (no aliases)."""
    if rate == RATE_HZ or not len(samples):
        return samples
    count = round(len(samples) * RATE_HZ / rate)
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]
    return (np.fft.irfft(spectrum, count) * (count / len(samples))).astype(np.float32)


class Library:
    """The recordings of a sounds folder, by their names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.get: Callable[[str], Samples] = lru_cache(maxsize=None)(self._read)

    def _read(self, name: str) -> Samples:
        return read(self.folder / name)

    def names(self) -> list[str]:
        """Every recording there is."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*.wav"))

    def recognise(self, heard: Samples, hearing: Hearing, among: Iterable[str] = ()) -> str:
        """The recording whose beginning the beginning of `heard` resembles most; for messages."""
        best, best_score = "nothing known", 0.0
        for name in among or self.names():
            sound = self.get(name)
            start = _loud_from(sound, 0)
            if start is None:
                continue
            piece = sound[start : start + hearing.piece]
            _, score = _find(heard[: len(piece) + 2 * EARLY], piece)
            if score > best_score:
                best, best_score = name, score
        return f"{best} ({best_score:.2f})"


@dataclass(frozen=True, slots=True)
class Part:
    """What is heard in one go: recordings in order, each to its end.

    Args:
        names: the recordings; silences among them are waited for, not looked for.
        cut: the caller interrupted what was before, which may still play for a moment.
    """

    names: tuple[str, ...]
    cut: bool = False


class Ear:
    """Follows recordings through audio, also while it is still growing.

    `heard` returns all samples so far. `follow` moves on until a part has been heard wholly.
    """

    def __init__(self, library: Library, hearing: Hearing, heard: Callable[[], Samples]) -> None:
        self.library = library
        self.hearing = hearing
        self.position = 0
        self.scores: list[float] = []
        self._heard = heard
        self._part = Part(())
        self._next = 0
        self._first = True
        self._quiet = 0

    def expect(self, part: Part) -> None:
        """What is to be heard from now on."""
        self._part, self._next, self._first, self._quiet = part, 0, True, 0

    def follow(self, *, over: bool = False) -> bool:
        """Whether all of the part has been heard; False: more audio is needed.

        With `over` no more audio comes. Raises NotHeard at the first difference.
        """
        while self._next < len(self._part.names):
            name = self._part.names[self._next]
            sound = self.library.get(name)
            if _loud_from(sound, 0) is None:
                self._quiet += len(sound)
            else:
                found = self._find(name, sound, over)
                if found is None:
                    return False
                self.position, self._quiet, self._first = found, 0, False
            self._next += 1
        return True

    def rest_is_quiet(self) -> None:
        """Check that nothing sounds after what was heard last. Raises NotHeard."""
        heard = self._heard()
        loud = _loud_from(heard, self._after())
        if loud is not None:
            raise NotHeard(self._message("a sound after the end", loud, heard))

    def _find(self, name: str, sound: Samples, over: bool) -> int | None:
        """Where `name` ends in what was heard; None while too little has been heard."""
        heard = self._heard()
        window = self._window(heard, sound)
        if window is None:
            if over:
                raise NotHeard(self._message(f"silence, not {name}", len(heard), heard))
            return None
        first, last = window
        known = last if over else min(last, len(heard) - len(sound))
        place = self._match(heard, sound, first, known) if known >= first else None
        if place is None:
            if known < last:
                return None
            raise NotHeard(self._message(f"something other than {name}", first, heard))
        if not self._first:
            before = heard[self.position + FRAME : place[0] - FRAME]
            if len(_loud_frames(before)) > MADE_UP:
                raise NotHeard(self._message(f"a sound before {name}", self.position, heard))
        return place[1]

    def _window(self, heard: Samples, sound: Samples) -> tuple[int, int] | None:
        """First and last sample where a recording may begin; None while nothing sounds."""
        if not self._first:
            start = self.position + self._quiet
            return max(0, start - EARLY), start + LATE
        if self._part.cut:
            return self.position, self.position + CUT
        loud = _loud_from(heard, self._after())
        if loud is None:
            return None
        start = loud - (_loud_from(sound, 0) or 0)
        return max(0, start - EARLY), start + EARLY

    def _after(self) -> int:
        """From where on a sound is a new one."""
        return self.position + (1 + MADE_UP) * FRAME if self.position else 0

    def _match(
        self, heard: Samples, sound: Samples, first: int, last: int
    ) -> tuple[int, int] | None:
        """Start and end of the recording that begins between two samples; None for another one.

        Its beginning may be damaged, and it may come twice: so each of its first pieces says where
        it could be, and the first place counts where enough of all pieces follow.
        """
        size = self.hearing.piece
        pieces = [
            (offset, piece)
            for offset in range(0, len(sound), size)
            for piece in [sound[offset : offset + size]]
            if len(piece) >= size // 2 and _loud_from(piece, 0) is not None
        ]
        starts = {
            first + int(place)
            for offset, piece in pieces[:4]
            for place in _places(
                heard[first + offset : last + offset + len(piece)], piece, self.hearing.score
            )
        }
        before = -FRAME
        for start in sorted(starts):
            if start - before >= FRAME:
                before = start
                end = self._track(heard, pieces, start)
                if end is not None:
                    return start, end + len(sound)
        return None

    def _track(self, heard: Samples, pieces: list[tuple[int, Samples]], start: int) -> int | None:
        """Follow the pieces from `start` on; what it has become by the end, None if too few."""
        scores = []
        for offset, piece in pieces:
            begin = max(0, start + offset - SLIP)
            at, score = _find(heard[begin : start + offset + len(piece) + SLIP], piece)
            scores.append(score)
            if score >= self.hearing.score:
                start = begin + at - offset
        good = sum(score >= self.hearing.score for score in scores)
        if good < self.hearing.share * len(pieces):
            return None
        self.scores.append(float(np.median(scores)))
        return start

    def _message(self, what: str, at: int, heard: Samples) -> str:
        done = ", ".join(self._part.names[max(0, self._next - 3) : self._next])
        loud = _loud_from(heard, max(0, at))
        instead = "silence"
        if loud is not None:
            instead = self.library.recognise(heard[max(0, loud - EARLY) :], self.hearing)
        return (
            f"heard {what} at {at / RATE_HZ:.2f} s of {len(heard) / RATE_HZ:.2f} s"
            f" (recording {self._next + 1} of {len(self._part.names)}"
            f"{', after ' + done if done else ''}); there is {instead}"
        )


def prove(
    heard: Samples, parts: Sequence[Part], library: Library, hearing: Hearing, *, ends: bool = True
) -> list[float]:
    """Prove that exactly the recordings of `parts` were heard, in order.

    Returns the median score of each. `ends`: nothing may sound afterwards. Raises NotHeard.
    """
    ear = Ear(library, hearing, lambda: heard)
    for part in parts:
        ear.expect(part)
        ear.follow(over=True)
    if ends:
        ear.rest_is_quiet()
    return ear.scores


def _find(heard: Samples, piece: Samples) -> tuple[int, float]:
    """Where `piece` resembles `heard` most, and the score there."""
    scores = _scores(heard, piece)
    if not len(scores):
        return 0, 0.0
    best = int(np.argmax(scores))
    return best, float(scores[best])


def _places(heard: Samples, piece: Samples, score: float) -> NDArray[np.intp]:
    """Every place with at least this score."""
    return np.flatnonzero(_scores(heard, piece) >= score)


def _scores(heard: Samples, piece: Samples) -> NDArray[np.float64]:
    """The normalised cross-correlation of `piece` with each place of `heard`."""
    if len(heard) < len(piece):
        return np.zeros(0)
    size = 1 << (len(heard) + len(piece)).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(piece, size))
    products = np.fft.irfft(spectrum, size)[: len(heard) - len(piece) + 1]
    power = np.concatenate(([0.0], np.cumsum(heard.astype(np.float64) ** 2)))
    local = power[len(piece) :] - power[: -len(piece)]
    # Quiet places must not divide by nearly nothing.
    floor = len(piece) * QUIET**2
    scores: NDArray[np.float64] = products / np.sqrt(
        np.maximum(local, floor) * float(np.sum(piece**2))
    )
    return scores


def _loud_from(samples: Samples, start: int) -> int | None:
    """Where the first frame at or after `start` begins that is not quiet."""
    start = max(0, start)
    loud = _loud_frames(samples[start:])
    return start + int(loud[0]) * FRAME if len(loud) else None


def _loud_frames(samples: Samples) -> NDArray[np.intp]:
    """The numbers of the frames that are not quiet."""
    whole = len(samples) // FRAME
    frames = samples[: whole * FRAME].reshape(whole, FRAME)
    return np.flatnonzero(np.mean(frames**2, axis=1) > QUIET**2)
