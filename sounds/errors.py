"""What can go wrong with phrases and their recordings."""


class SoundsError(Exception):
    """Base of every error of this package."""


class CatalogueError(SoundsError, ValueError):
    """The catalogue's data is wrong: the text names file, phrase key and language."""


class PhraseError(SoundsError, ValueError):
    """A phrase does not fit the catalogue: unknown key or language, slots missing or wrong."""


class RecordingError(SoundsError, ValueError):
    """A sound file is not 8 kHz mono 16-bit PCM WAV, is empty, or carries an unknown name."""


class VoiceError(SoundsError, RuntimeError):
    """The speech synthesiser is missing or refused a text."""
