"""What a call may do beside talking: be recorded, be connected to somebody, wait for something.

The words of `Call.record`, `Call.bridge` and `Call.wait_for`, and of the `Channel` port for them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from sounds import Phrase
from sounds.music import WAITING

# The bridge ended because its time was over.
TIME_OVER = "ALLOTTED_TIMEOUT"
# Music for waiting, in pieces: between two of them a call may look whether it still has to wait.
MUSIC = WAITING

_RECORDING = re.compile(r"(?!.*(?:^|/)\.)[a-z0-9_/.\-]{1,200}\.wav\Z")


def recording_name(name: str) -> str:
    """`name` if a recording may be called so, below the recordings folder; else ValueError."""
    if not _RECORDING.match(name) or name.startswith("/"):
        raise ValueError(f"not the name of a recording: {name!r}")
    return name


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a caller has said.

    Attributes:
        name: the file, below the recordings folder.
        seconds: how long it is.
    """

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Recording:
    """How a recording ends, seconds: after `most_s`, or after `silence_s` without a word.

    Any key ends it too. What is shorter than `least_s` is nothing.
    """

    most_s: int = 120
    silence_s: int = 5
    least_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Leg:
    """Somebody who is called for the caller.

    Attributes:
        number: E.164.
        code: who that is, for the journal.
        whisper: said to who answers, before the caller is on the line, in `language`.
    """

    number: str
    code: str
    whisper: tuple[Phrase, ...] = ()
    language: str = "fa"


@dataclass(frozen=True, slots=True)
class Terms:
    """How somebody is called, and for how long at most the two talk.

    Attributes:
        limit_s: whole seconds from the connection to its end at the switch; None for no end.
        farewell_s: how much longer the caller's own leg lives, should nobody look after it.
        ring_s: seconds until who does not answer is given up.
        accept: the key with which who answers takes the call, so that no answering machine does;
            "" for whoever answers.
        music: what the caller hears meanwhile, below the recordings folder.
    """

    limit_s: int | None
    farewell_s: int = 20
    ring_s: int = 25
    accept: str = ""
    music: str = MUSIC[0]


@dataclass(frozen=True, slots=True)
class Bridged:
    """How a connection went, by the switch's own clock.

    Attributes:
        cause: how it ended, or why nobody answered (Q.850 names).
        code: of the leg that answered; None where nobody did.
        connected_at, ended_at: when the two could hear each other; both None where nobody answered.
    """

    cause: str
    code: str | None = None
    connected_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def answered(self) -> bool:
        """Whether somebody was connected."""
        return self.connected_at is not None

    @property
    def time_over(self) -> bool:
        """Whether the limit has ended it."""
        return self.answered and self.cause == TIME_OVER

    @property
    def seconds(self) -> float:
        """How long the two were connected."""
        if self.connected_at is None or self.ended_at is None:
            return 0.0
        return max(0.0, (self.ended_at - self.connected_at).total_seconds())
