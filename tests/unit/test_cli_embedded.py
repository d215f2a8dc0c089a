"""The command line's embedded switch: what is heard when nobody serves the call."""

from __future__ import annotations

from pathlib import Path

import pytest

from callflows.config import load
from cli.embedded import _apology
from cli.parts import Parts


@pytest.mark.parametrize("language", ["fa", "ar", "ru", "en"])
def test_the_apology_is_made_of_recordings_that_are_built(language, tmp_path, monkeypatch):
    """Without any worker a caller hears the sentence in the default language, not silence."""
    monkeypatch.chdir(tmp_path)
    parts = Parts(load(language=language))
    names = _apology(parts, Path("/sounds")).removeprefix("file_string://").split("!")
    needed = {f"/sounds/{name}" for name in parts.catalogue.needed(language)}
    assert len(names) > 1
    assert set(names) <= needed
