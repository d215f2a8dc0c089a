"""`record`: what the caller says becomes a file; how it ends, and what is said of it.

Nothing is heard here, so the caller says when there is speech (`Channel.speaks_s`); the file holds
silence of that length. Variables and ends are those of FreeSWITCH (capture 08, and measured).
"""

from __future__ import annotations

import wave
from pathlib import Path
from typing import TYPE_CHECKING

from esl_worker.switch.media import RATE

if TYPE_CHECKING:
    from esl_worker.switch.channel import Channel

LONGEST_S = 3600.0


def record(channel: Channel, path: str, limit_s: int, silence_hits: int) -> None:
    """Record until a terminator, a break, the limit, the hangup, or so many seconds of silence.

    A file that the caller hangs up on is kept. Without its folder the call ends (measured).
    """
    clock = channel.clock
    root = channel.switch.recordings_dir
    file = Path(path) if root is not None and Path(path).is_relative_to(root) else None
    if file is not None and not file.parent.is_dir():
        channel.hangup("DESTINATION_OUT_OF_ORDER", by="application")
        return
    channel.caller.event("record", {"path": path})
    spoken_s, channel.speaks_s = channel.speaks_s, 0.0
    limit = float(limit_s or LONGEST_S)
    seconds = min(spoken_s + silence_hits, limit) if silence_hits > 0 else limit
    began = clock.now()
    channel.set("silence_hits_exhausted", "false")
    channel.set("playback_terminator_used", None)
    while channel.ready and not channel.inbox.take_break():
        if channel.inbox.run():
            continue
        if channel.digits:
            digit = channel.take_digit()
            if digit in channel.terminators():
                channel.set("playback_terminator_used", digit)
                break
            continue
        left = began + seconds - clock.now()
        if left <= 0:
            if silence_hits > 0 and seconds < limit:
                channel.set("silence_hits_exhausted", "true")
            break
        channel.wait(left)
    samples = int(min(seconds, clock.now() - began) * RATE) // 160 * 160
    size = str(44 + 2 * samples)
    channel.set("record_record_file_size", size)
    channel.set("record_file_size", size)
    channel.set("record_seconds", str(samples // RATE))
    channel.set("record_ms", str(samples // 8))
    channel.set("record_samples", str(samples))
    if file is not None:
        _write(file, samples)


def _write(path: Path, samples: int) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(bytes(2 * samples))
