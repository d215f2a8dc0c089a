"""A recording that no phrase of the catalogue holds: a service's name, a poem, a caller's message.

It is the value of a slot of type ``recording``::

    Phrase("said", what=Recording("services/9091234567/1/fa/name.wav", "فالِ حافظ"))
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"(?:[a-z0-9_-][a-z0-9_.-]*/)+[a-z0-9_-][a-z0-9_.-]*\.wav")
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Recording:
    """A file below the sounds folder, and what it says.

    ``name`` is relative to the sounds folder and holds nothing that a folder or a switch's command
    could take for more than a name: no ``..``, no space, no ``!``; it lies in a folder. ``text`` is
    shown where the recording cannot be heard (SMS, transcripts, journal). Raises ValueError.
    """

    name: str
    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not isinstance(self.text, str):
            raise ValueError("a recording has a name and a text")
        if len(self.name) > _LONGEST_NAME or not _NAME.fullmatch(self.name):
            raise ValueError("a recording's name is like folder/name.wav: a-z, 0-9, _ - . only")

    def plain(self) -> dict[str, str]:
        """The recording as JSON can hold it (the journal's form)."""
        return {"name": self.name, "text": self.text}

    @classmethod
    def restored(cls, plain: object) -> Recording:
        """The recording of its plain form. Raises ValueError."""
        if not isinstance(plain, dict) or set(plain) != {"name", "text"}:
            raise ValueError("not a recording: needs name and text")
        return cls(plain["name"], plain["text"])
