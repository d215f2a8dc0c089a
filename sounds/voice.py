"""The speech synthesiser: espeak-ng, library and data from the wheel ``espeakng-loader``.

Not for threads: the library keeps its state in globals.
"""

from __future__ import annotations

import _ctypes
import ctypes
from array import array

import espeakng_loader  # type: ignore[import-untyped]

from sounds import loudness
from sounds.errors import VoiceError
from sounds.respelling import respell

VERSION = "1"
"""Part of each recording's fingerprint: raise it when the sound made of the same text changes."""

_VOICES = {"fa": "fa", "ar": "ar", "ru": "ru", "en": "en"}
_WORDS_PER_MINUTE = {"fa": 185, "ar": 190, "ru": 150, "en": 155}
_SLOW = 0.75
"""Pace of single digits that a caller writes down (A7)."""

# speak_lib.h
_SYNCHRONOUS = 2
_RATE = 1
_UTF8 = 1
_PHONEMES = 0x100
_CHARACTERS = 1
_DONT_EXIT = 0x8000
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def settings(language: str, slow: bool) -> str:
    """What the sound depends on besides the text; part of a recording's fingerprint."""
    pace = _pace(language, slow)
    return f"espeak-ng {_VOICES[language]} {pace} v{VERSION}"


def _pace(language: str, slow: bool) -> int:
    return round(_WORDS_PER_MINUTE[language] * (_SLOW if slow else 1.0))


def say(text: str, language: str, *, slow: bool = False) -> array[int]:
    """``text`` as 8 kHz 16-bit samples, trimmed and levelled; the same text, the same samples.

    Raises VoiceError if library or voice data are missing or the text makes no sound.
    """
    samples, rate_hz = _synthesise(respell(text, language), language, _pace(language, slow))
    trimmed = loudness.trim(samples, rate_hz)
    if not trimmed:
        raise VoiceError(f"espeak-ng makes no sound of {text!r} in {language}")
    return loudness.level(loudness.resample(trimmed, rate_hz))


def _synthesise(text: str, language: str, pace: int) -> tuple[array[int], int]:
    """Samples and their rate, from a library loaded for this one text.

    The library's flutter and wave position run on from text to text, so that a recording would
    depend on those made before it. Unloading resets them (a few milliseconds); espeak_Terminate
    does not.
    """
    samples = array("h")

    def take(wave: ctypes._Pointer[ctypes.c_short], count: int, _events: int | None) -> int:
        if count > 0:
            samples.frombytes(ctypes.string_at(wave, count * 2))
        return 0

    try:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
    except OSError as error:
        raise VoiceError(f"espeak-ng cannot be loaded: {error}") from None
    try:
        # The library keeps only a pointer: the name holds the callback until the end.
        callback = _CALLBACK(take)
        data_path = espeakng_loader.get_data_path().encode()
        rate_hz = int(library.espeak_Initialize(_SYNCHRONOUS, 0, data_path, _DONT_EXIT))
        if rate_hz <= 0:
            raise VoiceError("espeak-ng finds no voice data")
        library.espeak_SetSynthCallback(callback)
        data = text.encode() + b"\0"
        failed = (
            library.espeak_SetVoiceByName(_VOICES[language].encode())
            or library.espeak_SetParameter(_RATE, pace, 0)
            or library.espeak_Synth(
                data, len(data), 0, _CHARACTERS, 0, _UTF8 | _PHONEMES, None, None
            )
        )
        if failed:
            raise VoiceError(f"espeak-ng refuses {text!r} in {language} (error {failed})")
        library.espeak_Terminate()
    finally:
        _ctypes.dlclose(library._handle)
    return samples, rate_hz
