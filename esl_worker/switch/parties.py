"""`bridge` to simulated subscribers: several called at once, whispered to, the first one connected.

Words, variables and order are those measured on FreeSWITCH 1.10.12; see docs/event-socket.md.
"""

from __future__ import annotations

import uuid as uuids
from typing import TYPE_CHECKING

from esl_worker.switch.originate import RING_S, ring
from esl_worker.switch.player import Played, play
from esl_worker.switch.profile import Profile
from esl_worker.switch.talk import failed, talk
from esl_worker.switch.values import integer

if TYPE_CHECKING:
    from esl_worker.switch.channel import Channel
    from esl_worker.switch.subscribers import Reaction


def call_parties(channel: Channel, dial: str) -> str:
    """Call all of ``[options]endpoint,[options]endpoint`` and talk with the first to take it.

    Options heeded: origination_uuid, leg_timeout, group_confirm_key and group_confirm_file,
    execute_on_pre_bridge. Returns "SUCCESS" after a talk, else the cause of the failure.
    """
    legs = [_Leg(channel, *_parsed(each)) for each in _split(dial)]
    if channel.get("instant_ringback"):
        channel.caller.event("ringback", {"file": channel.get("transfer_ringback") or ""})
    while channel.ready:
        taken = next((leg for leg in legs if leg.taken), None)
        if taken is not None or all(leg.far.down for leg in legs):
            break
        if not channel.inbox.run() and not channel.inbox.take_break():
            channel.wait()
    else:
        taken = None
    for leg in legs:
        if leg is not taken and not leg.far.down:
            leg.far.hangup("LOSE_RACE" if taken else "ORIGINATOR_CANCEL")
    if not channel.ready:
        return "ORIGINATOR_CANCEL"
    if taken is not None:
        return talk(channel, taken.far, taken.number)
    cause = ""
    for leg in legs:
        cause = leg.far.hangup_cause or "NO_ANSWER"
        failed(channel, leg.far.uuid, leg.number, cause)
    channel.set("last_bridge_hangup_cause", cause)
    return cause


class _Leg:
    """A subscriber who is being called for somebody."""

    def __init__(self, caller: Channel, options: dict[str, str], number: str) -> None:
        switch = caller.switch
        assert switch.subscribers is not None
        self.number = number
        self.taken = False
        self._caller = caller
        self._options = options
        self._reaction: Reaction = switch.subscribers.called(number)
        profile = Profile(
            uuid=options.get("origination_uuid") or str(uuids.uuid4()),
            caller_number=caller.profile.caller_number,
            caller_name=caller.profile.caller_name,
            destination=number,
            context=caller.profile.context,
            channel_name=f"sofia/embedded/{number}",
            direction="outbound",
        )
        self.far = switch.originate(profile, self._reaction.caller(), options, self._opening)
        self.far.machine = self._reaction.machine
        self.far.watchers.append(caller.signal.set)

    def _opening(self, far: Channel) -> None:
        limit = integer(self._options.get("leg_timeout", "")) or RING_S
        # It ends who takes the call and does not confirm, too, as does a time limit.
        timer = far.clock.later(limit, self._too_late)
        ring(far, self._reaction, float(limit) + 1.0)
        if far.down:
            timer.kill(block=False)
            return
        far.answer()
        far.state = far.running_state = "CS_EXECUTE"
        self.taken = self._confirmed(far)
        timer.kill(block=False)
        self._caller.signal.set()
        while far.ready:
            if not far.inbox.run():
                far.wait()

    def _too_late(self) -> None:
        if not self.taken:
            self.far.hangup("ALLOTTED_TIMEOUT")

    def _confirmed(self, far: Channel) -> bool:
        """Whisper; whether who answered takes the call."""
        key = self._options.get("group_confirm_key", "")
        file = self._options.get("group_confirm_file", "")
        if not key:
            return far.ready
        if key == "exec":
            application, _, argument = file.partition(" ")
            far.execute(application, argument)
            return far.ready
        pressed: list[str] = []
        while far.ready:
            if play(far, file, keys="answer", buffer=pressed) is Played.BREAK and pressed:
                if pressed.pop() == key:
                    return True
                continue
            while far.ready and not far.digits:
                far.wait()
            if far.digits and far.take_digit() == key:
                return far.ready
        return False


def _split(dial: str) -> list[str]:
    """The legs, at the commas that are in no brackets."""
    legs, depth, start = [], 0, 0
    for at, char in enumerate(dial):
        depth += (char == "[") - (char == "]")
        if char == "," and not depth:
            legs.append(dial[start:at])
            start = at + 1
    return [*legs, dial[start:]]


def _parsed(leg: str) -> tuple[dict[str, str], str]:
    """Options and number of a leg."""
    block, _, endpoint = leg.strip(" ").removeprefix("[").partition("]")
    options: dict[str, str] = {}
    for pair in block.split(","):
        name, separator, value = pair.partition("=")
        if separator:
            options[name.strip(" ")] = value[1:-1] if value.startswith("'") else value
    return options, endpoint.rpartition("/")[2].partition("@")[0]
