"""The proof by ear can fail: what was not played is never taken for heard."""

from __future__ import annotations

import numpy as np
import pytest

from tests.calls.audio import (
    CODES,
    FRAME,
    RATE_HZ,
    Ear,
    Library,
    NotHeard,
    Part,
    code,
    prove,
    read,
    resampled,
    write,
)

NAMES = [f"{language}/menu/{number}.wav" for language in ("fa", "en") for number in range(1, 7)]
PAUSE = "silence/0300.wav"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    for name in NAMES:
        write(folder / name, code(name))
    write(folder / PAUSE, np.zeros(6 * FRAME, np.float32))
    return Library(folder)


def played(library, names, *, before=0.4, after=0.4):
    """What a caller records of `names` through PCMU: louder or softer steps, a little noise."""
    quiet = np.random.default_rng(1).normal(0, 4, RATE_HZ * 2)
    sound = [library.get(name) for name in names]
    whole = np.concatenate([quiet[: int(before * RATE_HZ)], *sound, quiet[: int(after * RATE_HZ)]])
    level = np.sign(whole) * np.log1p(255 * np.abs(whole) / 32768) / np.log(256)
    coarse = np.round(level * 127) / 127
    return (np.sign(coarse) * (np.power(256, np.abs(coarse)) - 1) / 255 * 32768).astype(np.float32)


PROMPT = (NAMES[0], PAUSE, NAMES[1], NAMES[2], NAMES[3])


def test_what_was_played_is_heard(library):
    """All recordings in order, with a pause among them, score near 1 after PCMU."""
    scores = prove(played(library, PROMPT), [Part(PROMPT)], library, CODES)
    assert len(scores) == 4
    assert min(scores) > 0.95


def test_two_prompts_with_waiting_between(library):
    """Between two prompts any time may pass."""
    heard = np.concatenate([played(library, PROMPT), played(library, NAMES[4:6], before=2.0)])
    prove(heard, [Part(PROMPT), Part(tuple(NAMES[4:6]))], library, CODES)


@pytest.mark.parametrize(
    ("actual", "named"),
    [
        (tuple(name.replace("fa/", "en/") for name in PROMPT), "there is en/menu/1.wav"),
        ((*PROMPT[:3], *PROMPT[4:]), "other than fa/menu/3.wav"),
        (PROMPT[1:], "other than fa/menu/1.wav"),
        (PROMPT[:-1], "other than fa/menu/4.wav"),
        ((PROMPT[0], *PROMPT[2:]), "other than fa/menu/2.wav"),
        ((*PROMPT[:2], PROMPT[3], PROMPT[2], PROMPT[4]), "a sound before fa/menu/2.wav"),
        ((*PROMPT[:3], NAMES[8], *PROMPT[3:]), "fa/menu/3.wav"),
        ((*PROMPT, NAMES[8]), "a sound after the end"),
        ((), "silence"),
    ],
    ids=[
        "wrong language",
        "fragment missing",
        "first missing",
        "last missing",
        "pause missing",
        "order",
        "additional",
        "more at the end",
        "nothing",
    ],
)
def test_what_was_not_played_is_noticed(library, actual, named):
    """Each way to be wrong fails, and the message names the recording."""
    with pytest.raises(NotHeard, match=named):
        prove(played(library, actual), [Part(PROMPT)], library, CODES)


@pytest.mark.parametrize("slip", [-FRAME, FRAME], ids=["dropped", "repeated"])
def test_a_frame_more_or_less_does_not_matter(library, slip):
    """A jitter buffer that drops or repeats a frame changes nothing about what was played."""
    heard = played(library, PROMPT)
    middle = int(0.4 * RATE_HZ) + len(library.get(NAMES[0])) // 2
    heard = np.concatenate([heard[:middle], heard[middle - min(slip, 0) - max(slip, 0) :]])
    prove(heard, [Part(PROMPT)], library, CODES)


def test_an_interrupted_prompt(library):
    """After a cut the rest of the old prompt may sound for a moment, then the next must come."""
    heard = played(library, (*PROMPT[:4], *NAMES[6:8]))
    prove(heard, [Part(PROMPT[:3]), Part(tuple(NAMES[6:8]), cut=True)], library, CODES)
    with pytest.raises(NotHeard):
        prove(heard, [Part(PROMPT[:3]), Part(tuple(NAMES[6:8]))], library, CODES)


def test_following_while_it_grows(library):
    """A caller on the line knows within a moment that the prompt is over."""
    heard = played(library, PROMPT)
    so_far = 0
    ear = Ear(library, CODES, lambda: heard[:so_far])
    ear.expect(Part(PROMPT))
    while not ear.follow():
        so_far += FRAME
    over = int(0.4 * RATE_HZ) + sum(len(library.get(name)) for name in PROMPT)
    assert over <= so_far <= over + 4 * FRAME


def test_other_sample_rates(tmp_path):
    """A recording at 16 kHz is the same sound at 8 kHz."""
    sound = code("x", 0.5)
    finer = np.fft.irfft(np.pad(np.fft.rfft(sound), (0, len(sound) // 2)), 2 * len(sound)) * 2
    again = resampled(finer.astype(np.float32), 16000)
    assert np.corrcoef(sound, again)[0, 1] > 0.999
    write(tmp_path / "x.wav", sound)
    assert np.corrcoef(sound, read(tmp_path / "x.wav"))[0, 1] > 0.999
