"""What others want of a call while it runs: messages (`sendmsg`) and breaks.

The messages of an async socket and of `uuid_broadcast` wait here until the application that
runs looks for them, and are then done inside it (capture 05: three prompts inside each other).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from esl_worker.switch.player import FRAME_S
from esl_worker.switch.values import integer, true

if TYPE_CHECKING:
    from esl_worker.switch.channel import Channel


class Message(NamedTuple):
    """A `sendmsg` on its way to the channel: header names in lower case, and the body."""

    headers: Mapping[str, str]
    body: str = ""


class Inbox:
    """Messages and breaks for one channel.

    Args:
        channel: whose they are.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._messages: deque[Message] = deque()
        self._break = False
        self._stop_broadcast = False
        self._broadcast = False
        self._event_lock = 0

    def queue(self, message: Message) -> None:
        """Hand over a message that another greenlet has for this call."""
        self._messages.append(message)
        self._channel.signal.set()

    @property
    def queued(self) -> bool:
        """Whether a message waits that may be taken now."""
        return bool(self._messages) and not self._event_lock

    def run(self) -> bool:
        """Do what the waiting messages say, inside whatever runs now; True if any was done."""
        ran = False
        if self._channel.too_deep:
            return False
        while self.queued:
            ran = True
            self.obey(self._messages.popleft())
            if self._break:
                break
        return ran

    def obey(self, message: Message) -> None:
        """Do what a `sendmsg` says (switch_ivr_parse_event)."""
        headers = message.headers
        locked = true(headers.get("event-lock"))
        self._event_lock += locked
        try:
            self._obey(headers, message.body)
        finally:
            self._event_lock -= locked

    def _obey(self, headers: Mapping[str, str], body: str) -> None:
        channel = self._channel
        command = headers.get("call-command", "")
        frames = integer(headers.get("lead-frames", "0"))
        if frames > 0 and channel.media:
            channel.clock.sleep(min(frames, 500) * FRAME_S)
        if command == "execute":
            name = headers.get("execute-app-name")
            if name:
                self._execute_loops(name, headers, body)
        elif command == "hangup":
            channel.hangup(headers.get("hangup-cause", "NORMAL_CLEARING"), by="application")
        # "nomedia", "unicast" and "xferext" are accepted and mean nothing here: there is no
        # audio to take away, and the service does not use inline extensions.

    def _execute_loops(self, name: str, headers: Mapping[str, str], body: str) -> None:
        channel = self._channel
        argument = headers.get("execute-app-arg", "")
        if not argument and headers.get("content-type", "").lower() == "text/plain":
            argument = body
        loops = integer(headers["loops"]) if "loops" in headers else 1
        self._stop_broadcast = False
        outermost, self._broadcast = not self._broadcast, True
        done = 0
        while done < loops or loops < 0:
            began = channel.clock.now()
            if headers.get("event-uuid"):
                channel.set("app_uuid", headers["event-uuid"])
            channel.set("current_loop", str(done + 1))
            channel.set("total_loops", str(loops))
            if not channel.execute(name, argument):
                break
            done += 1
            if not channel.ready or self._stop_broadcast or channel.clock.now() - began < 0.5:
                break
        channel.set("current_loop", None)
        channel.set("total_loops", None)
        if outermost:
            self._broadcast = False
        if self._stop_broadcast:
            self._broadcast = False
            self._break = True

    def interrupt(self, *, everything: bool = False) -> None:
        """End the running prompt (`uuid_break`); with `everything`, those around it too."""
        if everything:
            self._messages.clear()
        if self._broadcast:
            self._stop_broadcast = True
        self._break = True
        self._channel.signal.set()

    def take_break(self) -> bool:
        """Whether a break was asked for; asking takes it."""
        asked, self._break = self._break, False
        return asked
