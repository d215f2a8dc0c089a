"""The phrase catalogue in four languages, the recording script, the voice generator."""

from sounds.catalogue import Catalogue, ScriptLine, load_catalogue
from sounds.errors import CatalogueError, PhraseError, RecordingError, SoundsError, VoiceError
from sounds.library import Library
from sounds.phrase import Phrase
from sounds.recording import Recording

LANGUAGES = ("fa", "ar", "ru", "en")
"""Languages of the service, the default one first."""

__all__ = [
    "LANGUAGES",
    "Catalogue",
    "CatalogueError",
    "Library",
    "Phrase",
    "PhraseError",
    "Recording",
    "RecordingError",
    "ScriptLine",
    "SoundsError",
    "VoiceError",
    "load_catalogue",
]
