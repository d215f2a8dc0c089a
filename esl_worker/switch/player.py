"""Playing a prompt: by the clock, with keys, breaks and commands from outside heeded."""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING, Literal

from esl_worker.switch.media import RATE

if TYPE_CHECKING:
    from esl_worker.switch.caller import Collect
    from esl_worker.switch.channel import Channel

FRAME_S = 0.02  # one packet of audio
READ_AHEAD = 16384  # samples that FreeSWITCH reads from a file at a time


class Played(Enum):
    """How a prompt ended."""

    DONE = "played to its end"
    BREAK = "interrupted by a key or a break"
    NOT_FOUND = "nothing to play"
    GONE = "the channel went away"


def play(
    channel: Channel,
    file: str,
    *,
    keys: Literal["keep", "swallow", "answer"] = "keep",
    buffer: list[str] | None = None,
    collecting: Collect | None = None,
) -> Played:
    """Play a file (see `Sounds.prompt`) to the caller.

    Args:
        channel: the call.
        file: what to play.
        keys: what a key does: "keep" leaves it for later; "swallow" drops it, except that a
            terminator ends the prompt (application `playback`); "answer" puts the first
            one into `buffer` and ends the prompt.
        buffer: for "answer".
        collecting: what the caller is told of the question.
    """
    if not file or not channel.ready or not channel.media:
        return Played.GONE
    prompt = channel.switch.sounds.prompt(file, channel.variables.get("sound_prefix"))
    for name in prompt.missing:
        channel.switch.missing[name] += 1
        channel.caller.event("missing", {"file": name})
    if not prompt.found:
        return Played.NOT_FOUND
    bus = channel.switch.bus
    path = ("Playback-File-Path", file)
    if bus.wants("PLAYBACK_START"):
        bus.fire("PLAYBACK_START", channel, path)
    channel.caller.heard(prompt.files, prompt.duration, collecting)
    position = 0.0
    ended = Played.DONE
    while True:
        if not channel.ready:
            ended = Played.GONE
            break
        if channel.inbox.take_break():
            ended = Played.BREAK
            break
        if channel.inbox.run():
            # What ran inside has taken the line; a frame of this prompt follows it.
            if channel.ready:
                channel.clock.sleep(FRAME_S)
                position = min(prompt.duration, position + FRAME_S)
            elif channel.hung_up_by != "caller":
                break  # FreeSWITCH's read fails while all is well: FILE PLAYED (capture 07)
            continue
        if keys != "keep" and channel.digits:
            digit = channel.take_digit()
            if keys == "answer" and buffer is not None:
                buffer.append(digit)
                ended = Played.BREAK
                break
            if digit in channel.terminators():
                channel.set("playback_terminator_used", digit)
                ended = Played.BREAK
                break
            continue
        left = prompt.duration - position
        if left <= 0:
            break
        began = channel.clock.now()
        channel.wait(left)
        position = min(prompt.duration, position + channel.clock.now() - began)
        if channel.down and channel.hung_up_by != "caller":
            break  # as above (capture 13)
    samples = math.floor(position * RATE / 160) * 160
    if position >= prompt.duration:
        samples = round(prompt.duration * RATE)
    channel.set("playback_last_offset_pos", str(samples))
    read = samples
    if prompt.chunked:
        whole = prompt.duration * RATE
        read = round(min(whole, math.ceil(max(1, samples) / READ_AHEAD) * READ_AHEAD))
    channel.set("playback_seconds", str(read // RATE))
    channel.set("playback_ms", str(read * 1000 // RATE))
    channel.set("playback_samples", str(read))
    if bus.wants("PLAYBACK_STOP"):
        status = "done" if ended is Played.DONE else "break"
        bus.fire("PLAYBACK_STOP", channel, path, ("Playback-Status", status))
    channel.caller.prompt_ended(prompt.files, position, collecting)
    return ended
