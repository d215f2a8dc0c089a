"""Making synthesised speech fit for the telephone: resampled, trimmed, levelled.

Plain Python on purpose: a few hundred words take seconds, and nothing has to be installed.
"""

from __future__ import annotations

import functools
import math
from array import array
from collections.abc import Sequence
from operator import mul

from sounds.wav import RATE_HZ

TAPS = 48
"""Length of the low-pass filter per output sample: -6 dB at 3.5 kHz, gone at 4.3 kHz."""
CUTOFF_HZ = 3500.0
TARGET_RMS = 3277
"""-20 dBFS over the part that is speech."""
PEAK = 29_500
"""Greatest sample after levelling, 0.9 of full scale."""
SILENCE_BELOW = 0.015
"""Samples under this part of the peak count as silence at either end."""
LEAD_MS, TAIL_MS, FADE_MS = 10, 30, 5


def resample(samples: Sequence[float], rate_hz: int) -> list[float]:
    """``samples`` at 8 kHz: a windowed-sinc low-pass evaluated only where a sample is needed."""
    up, down, banks = _filter(rate_hz)
    half = TAPS // 2
    padded = [0.0] * half + list(samples) + [0.0] * (half + 1)
    count = len(samples) * up // down
    out = []
    position = phase = 0
    step, rest = divmod(down, up)
    for _ in range(count):
        out.append(sum(map(mul, banks[phase], padded[position + 1 : position + 1 + TAPS])))
        position += step
        phase += rest
        if phase >= up:
            phase -= up
            position += 1
    return out


@functools.lru_cache(maxsize=4)
def _filter(rate_hz: int) -> tuple[int, int, list[list[float]]]:
    """Polyphase banks: rate * up / down = 8 kHz, one bank of TAPS for each of ``up`` phases."""
    divisor = math.gcd(rate_hz, RATE_HZ)
    up, down = RATE_HZ // divisor, rate_hz // divisor
    cutoff = CUTOFF_HZ / rate_hz
    half = TAPS // 2
    banks = []
    for phase in range(up):
        taps = []
        for tap in range(TAPS):
            distance = tap - half + 1 - phase / up
            x = 2 * cutoff * distance
            sinc = 1.0 if x == 0 else math.sin(math.pi * x) / (math.pi * x)
            window = 0.54 + 0.46 * math.cos(math.pi * distance / half)
            taps.append(2 * cutoff * sinc * window)
        gain = sum(taps)
        banks.append([tap / gain for tap in taps])
    return up, down, banks


def trim(samples: Sequence[float], rate_hz: int) -> Sequence[float]:
    """Without the silence at both ends, but for a short breath."""
    if not samples:
        return samples
    threshold = max(max(samples), -min(samples)) * SILENCE_BELOW
    loud = [place for place, sample in enumerate(samples) if abs(sample) > threshold]
    if not loud:
        return samples[:0]
    start = max(0, loud[0] - rate_hz * LEAD_MS // 1000)
    return samples[start : loud[-1] + 1 + rate_hz * TAIL_MS // 1000]


def level(samples: Sequence[float]) -> array[int]:
    """16-bit samples at -20 dBFS RMS, quieter only where the peak would clip; ends faded."""
    if not samples:
        return array("h")
    rms = math.sqrt(sum(map(mul, samples, samples)) / len(samples))
    peak = max(max(samples), -min(samples))
    if not peak:
        return array("h", bytes(2 * len(samples)))
    gain = min(TARGET_RMS / rms, PEAK / peak)
    out = [sample * gain for sample in samples]
    fade = min(RATE_HZ * FADE_MS // 1000, len(out) // 2)
    for place in range(fade):
        out[place] *= place / fade
        out[-1 - place] *= place / fade
    return array("h", map(round, out))
