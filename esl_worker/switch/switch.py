"""The embedded switch: places calls, runs their dialplan, hands them to workers."""

from __future__ import annotations

import uuid as uuids
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from esl_worker.switch.api import run_api
from esl_worker.switch.applications import APPLICATIONS
from esl_worker.switch.caller import Caller
from esl_worker.switch.channel import Channel
from esl_worker.switch.clock import Clock
from esl_worker.switch.dialplan import Dialplan
from esl_worker.switch.events import EventBus
from esl_worker.switch.media import Sounds
from esl_worker.switch.profile import Profile, sip_variables
from esl_worker.switch.subscribers import Subscribers


class Switch:
    """A switch in this (gevent) process.

    Args:
        dialplan: what to do with dialled numbers.
        sounds_dir: where prompts are looked up.
        clock: how fast time goes.
        core_uuid: the switch's identity in events; a new one if None.
        missing_s: seconds that a missing sound file is taken to last (it is counted either
            way); None skips it as FreeSWITCH does.
        subscribers: who can be called with `originate` and `bridge`; nobody if None.
        recordings_dir: where `record` writes files; elsewhere it writes none.

    Attributes:
        channels: the live calls by uuid.
        missing: how often each missing sound file was asked for.
        calls_total: calls since the switch was made.
        globals: variables that every channel has unless it sets its own.
    """

    hostname = "embedded"
    applications = APPLICATIONS

    def __init__(
        self,
        dialplan: Dialplan,
        sounds_dir: Path,
        clock: Clock,
        *,
        core_uuid: str | None = None,
        missing_s: float | None = None,
        subscribers: Subscribers | None = None,
        recordings_dir: Path | None = None,
    ) -> None:
        self.recordings_dir = recordings_dir
        self.subscribers = subscribers
        self.dialplan = dialplan
        self.clock: Clock = clock
        self.sounds = Sounds(sounds_dir, missing_s)
        self.bus = EventBus(core_uuid or str(uuids.uuid4()), self.hostname, clock.epoch)
        self.channels: dict[str, Channel] = {}
        self.missing: Counter[str] = Counter()
        self.calls_total = 0
        self.globals = {"hostname": self.hostname, "sound_prefix": str(sounds_dir)}

    def call(
        self,
        destination: str,
        caller_number: str,
        *,
        caller: Caller,
        caller_name: str = "",
        variables: Mapping[str, str] | None = None,
        context: str = "public",
    ) -> Channel:
        """Place a call; it runs in a greenlet of its own.

        Args:
            destination: the number dialled.
            caller_number: the caller's number, as the network says it; may be anything.
            caller: who listens and presses keys.
            caller_name: the display name; may be anything.
            variables: further channel variables.
            context: where the dialplan begins.

        Returns:
            The channel; ``join()`` waits for the end of the call.
        """
        profile = Profile(
            uuid=str(uuids.uuid4()),
            caller_number=caller_number,
            caller_name=caller_name,
            destination=destination,
            context=context,
            channel_name=f"sofia/embedded/{caller_number}@127.0.0.1",
        )
        channel = Channel(self, profile, caller)
        channel.variables = sip_variables(profile, channel.times.created)
        return self._start(channel, variables or {})

    def originate(
        self,
        profile: Profile,
        caller: Caller,
        variables: Mapping[str, str],
        opening: Callable[[Channel], None] | None = None,
    ) -> Channel:
        """Start an outbound leg: the far one of a bridge, or a call to a subscriber."""
        channel = Channel(self, profile, caller, opening)
        channel.variables = {
            "direction": profile.direction,
            "uuid": profile.uuid,
            "channel_name": profile.channel_name,
        }
        return self._start(channel, variables)

    def api(self, command: str) -> str:
        """Run an API command from outside, e.g. "uuid_break <uuid>"; returns what it prints."""
        return run_api(self, command)

    def _start(self, channel: Channel, variables: Mapping[str, str]) -> Channel:
        for name, value in variables.items():
            channel.set(name, value)
        self.channels[channel.uuid] = channel
        self.calls_total += 1
        channel.start()
        return channel
