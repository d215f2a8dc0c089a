"""The phrase catalogue in four languages, the recording script, the voice generator."""
