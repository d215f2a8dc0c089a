"""Music for waiting: a quiet tune in pieces, each of which fades away at its end.

Between two pieces a call may look whether it still has to wait, and nobody hears the seam. Whoever
has better music puts it under the same names into the studio folder.
"""

from __future__ import annotations

import math
from array import array

from sounds.wav import RATE_HZ

WAITING = tuple(f"music/waiting/{piece}.wav" for piece in range(1, 9))
"""The pieces, in order; after the last one the first follows."""

_NOTE_S = 0.5
_NOTES = 8
_LEVEL = 5000
# The pentatonic scale of C, in semitones above A at 440 Hz; each piece is a walk on it.
_SCALE = (-9, -7, -5, -2, 0, 3)
_WALKS = ((0, 2, 4, 2), (1, 3, 4, 3), (0, 2, 3, 5), (1, 2, 4, 2))


def piece(name: str) -> array[int]:
    """The samples of a piece (8 kHz). Raises ValueError for a name that is none."""
    number = WAITING.index(name)
    walk = _WALKS[number // 2]
    order = walk * 2 if number % 2 == 0 else (*walk, *reversed(walk))
    samples = array("h", bytes(round(_NOTES * _NOTE_S * RATE_HZ) * 2))
    for place, step in enumerate(order):
        _pluck(samples, place * _NOTE_S, 440.0 * 2 ** (_SCALE[step] / 12))
    return samples


def _pluck(samples: array[int], begin_s: float, hz: float) -> None:
    """Add a note that dies away, to the end of the piece at the latest."""
    begin = round(begin_s * RATE_HZ)
    end = min(len(samples), begin + round(3 * _NOTE_S * RATE_HZ))
    left = len(samples)
    for at in range(begin, end):
        t = (at - begin) / RATE_HZ
        fade = min(1.0, t / 0.01) * math.exp(-4.0 * t) * min(1.0, (left - at) / (0.1 * RATE_HZ))
        tone = math.sin(2 * math.pi * hz * t) + 0.3 * math.sin(4 * math.pi * hz * t)
        samples[at] += round(_LEVEL * fade * tone)
