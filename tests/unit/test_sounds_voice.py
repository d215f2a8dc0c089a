"""The voice generator, listened to by machine: loud enough, not clipped, words and not letters."""

from __future__ import annotations

import math
from array import array

import pytest

from sounds import LANGUAGES, VoiceError, load_catalogue, loudness, voice
from sounds.respelling import respell
from sounds.wav import RATE_HZ

CATALOGUE = load_catalogue()


def rms_dbfs(samples: array[int]) -> float:
    """Level of some samples, in dB below full scale."""
    return 20 * math.log10(math.sqrt(sum(s * s for s in samples) / len(samples)) / 32768)


@pytest.mark.parametrize("language", LANGUAGES)
def test_recordings_are_levelled_and_of_plausible_length(language: str) -> None:
    """A sample of the script: about -20 dBFS, peaks below full scale, quick but clear."""
    for line in CATALOGUE.script(language)[::14]:
        samples = voice.say(line.text, language)
        assert -24 < rms_dbfs(samples) < -19.5, line.key
        assert max(map(abs, samples)) <= loudness.PEAK, line.key
        letters = sum(char.isalpha() for char in CATALOGUE.text_of(line.key))
        digits = sum(char.isdigit() for char in line.text)
        ms = len(samples) * 1000 / RATE_HZ
        # From a hurried to a solemn speaker.
        assert 35 * letters < ms < 260 * (letters + 4 * digits) + 250, (line.key, ms)


@pytest.mark.parametrize(
    ("language", "word"),
    [
        ("fa", "پرداخت"),
        ("fa", "قبض"),
        ("fa", "شناسه"),
        ("fa", "میلیارد"),
        ("ar", "الفاتورَة"),
        ("ar", "اِضغَطوا"),
        ("ar", "خَمسَة"),
        ("ar", "مِلْيون"),
        ("ru", "решётка"),
    ],
)
def test_words_are_pronounced_not_spelled(language: str, word: str) -> None:
    """A word takes far less time than the names of its letters."""
    letters = [char for char in word if char.isalpha()]
    spelled = sum(len(voice.say(char, language)) for char in letters)
    assert len(voice.say(word, language)) < 0.7 * spelled


def test_same_text_gives_the_same_samples() -> None:
    """What was said before leaves no trace: builds are reproducible, in any order."""
    first = voice.say("شناسهٔ قبض", "fa")
    voice.say("Спасибо за звонок.", "ru")
    assert voice.say("شناسهٔ قبض", "fa") == first


def test_digits_to_be_written_down_are_slower() -> None:
    """A digit of an ID takes longer than the same word in running speech (A7)."""
    assert len(voice.say("چهار", "fa", slow=True)) > 1.15 * len(voice.say("چهار", "fa"))


def test_text_without_sound_is_an_error() -> None:
    """An empty recording is never made."""
    with pytest.raises(VoiceError, match="makes no sound"):
        voice.say(" ", "fa")


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("fa", "صد و", "صدُ"),
        ("fa", "بیست و یک", "بیستُ یک"),
        ("fa", "و برای بازگشت", "و برای بازگشت"),
        ("ar", "الرَّقَم", "الرَقَم"),
        ("ar", "بِالرَّقَم", "بِر\u0651\u064eقَم"),
        ("ar", "بِالبَريد", "بِلبَرِيد"),
        ("ar", "عِشرون", "عِشرُونْ"),
        ("ar", "اِضغَطوا", "اِضغَطوا"),
        ("ar", "خَمسَة", "خَمسَه"),
        ("ar", "خَمسَة وَعِشرون", "خَمسَة وَعِشرُونْ"),
        ("ru", "счёт", "счёт"),
        ("ru", "сорок два", "[[s'orVk]] два"),
        ("ru", "сорокового", "сорокового"),
    ],
)
def test_respelling_helps_the_synthesiser(language: str, text: str, expected: str) -> None:
    """Persian «و», the Arabic article, long vowels and pausal endings, Russian stress."""
    assert respell(text, language) == expected


def tone(hertz: float, rate: int, seconds: float = 0.2) -> list[float]:
    """A sine of amplitude 10,000."""
    return [10_000 * math.sin(2 * math.pi * hertz * n / rate) for n in range(int(rate * seconds))]


def amplitude(samples: list[float]) -> float:
    """Amplitude of a steady tone, its ends left out."""
    middle = samples[200:-200]
    return math.sqrt(2 * sum(s * s for s in middle) / len(middle))


@pytest.mark.parametrize("hertz", [300, 1000, 2500])
def test_resampling_keeps_the_telephone_band(hertz: float) -> None:
    """Speech frequencies pass unchanged from 22,050 to 8,000 Hz, and the length is right."""
    out = loudness.resample(tone(hertz, 22_050), 22_050)
    assert len(out) == 1600
    assert amplitude(out) == pytest.approx(10_000, rel=0.03)


@pytest.mark.parametrize("hertz", [4600, 5000, 7000, 10_000])
def test_resampling_removes_what_would_alias(hertz: float) -> None:
    """Above half the new rate everything is 40 dB down instead of folding into the speech."""
    assert amplitude(loudness.resample(tone(hertz, 22_050), 22_050)) < 100


def test_trimming_leaves_only_a_breath() -> None:
    """Silence at both ends goes; words can be joined without gaps."""
    speech = tone(500, 8000, 0.1)
    trimmed = loudness.trim([0.0] * 4000 + speech + [0.0] * 4000, 8000)
    assert len(speech) < len(trimmed) <= len(speech) + 8 * (loudness.LEAD_MS + loudness.TAIL_MS)
    assert len(loudness.trim([0.0] * 100, 8000)) == 0


def test_peaky_sound_is_not_clipped() -> None:
    """Where -20 dBFS would clip, the peak decides; silence stays silence."""
    clicks = [0.0] * 2000
    clicks[1000] = 20_000.0
    assert max(loudness.level(clicks)) <= loudness.PEAK
    assert set(loudness.level([0.0] * 50)) == {0}
    assert len(loudness.level([])) == 0
