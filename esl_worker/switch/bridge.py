"""`bridge`: connect the caller to another extension of this switch, and report how it went."""

from __future__ import annotations

import re
import uuid as uuids
from collections.abc import Mapping
from typing import TYPE_CHECKING

from esl_worker.switch.causes import cause as cause_named
from esl_worker.switch.channel import forwards_left
from esl_worker.switch.profile import Profile

if TYPE_CHECKING:
    from esl_worker.switch.caller import Collect
    from esl_worker.switch.channel import Channel

_OPTIONS = re.compile(r"^\s*[{\[<]([^}\]>]*)[}\]>]")


class _FarEnd:
    """The B leg's listener: what is played there is heard by the caller of the A leg."""

    def __init__(self, a_leg: Channel) -> None:
        self._a_leg = a_leg

    def attached(self, channel: Channel) -> None:
        """See `Caller`."""

    def heard(self, files: tuple[str, ...], duration: float, collecting: Collect | None) -> None:
        """See `Caller`."""
        if not self._a_leg.down:
            self._a_leg.caller.heard(files, duration, collecting)

    def prompt_ended(
        self, files: tuple[str, ...], seconds: float, collecting: Collect | None
    ) -> None:
        """See `Caller`."""
        if not self._a_leg.down:
            self._a_leg.caller.prompt_ended(files, seconds, collecting)

    def event(self, name: str, data: Mapping[str, str]) -> None:
        """See `Caller`."""
        if name in ("answered", "hangup"):
            self._a_leg.signal.set()


def bridge(channel: Channel, argument: str) -> None:
    """Try the dial strings in order (`|`) until one answers; talk until one side hangs up.

    Dial strings: ``loopback/extension[/context]``, ``error/CAUSE``; anything else is a network
    that this switch does not have (NORMAL_TEMPORARY_FAILURE, capture 06).

    Variables heeded: continue_on_fail, hangup_after_bridge, call_timeout, and in front of a
    dial string ``{call_timeout=30}``. Variables set: those of the captures; above all
    originate_disposition, bridge_hangup_cause, last_bridge_hangup_cause.
    """
    cause = "DESTINATION_OUT_OF_ORDER"
    for dial in argument.split("|"):
        options, dial = _options(dial)
        cause = _try(channel, dial, options)
        if cause == "SUCCESS" or not channel.ready:
            break
    if channel.ready and cause != "SUCCESS":
        wanted = channel.get("continue_on_fail") or ""
        if wanted.lower() == "true" or cause in re.split(r"[,\s]+", wanted.upper()):
            return
        channel.hangup(cause, by="application")


def _options(dial: str) -> tuple[dict[str, str], str]:
    options: dict[str, str] = {}
    while (match := _OPTIONS.match(dial)) is not None:
        for pair in match[1].split(","):
            name, _, value = pair.partition("=")
            options[name.strip()] = value
        dial = dial[match.end() :]
    return options, dial.strip()


def _try(channel: Channel, dial: str, options: Mapping[str, str]) -> str:
    """One dial string; "SUCCESS" after a talk, else the cause of the failure."""
    kind, _, rest = dial.partition("/")
    b_uuid = str(uuids.uuid4())
    if kind == "loopback" and rest:
        extension, _, context = rest.partition("/")
        context = context.partition("/")[0] or channel.profile.context
        if forwards_left(channel) <= 0:
            return _failed(channel, b_uuid, extension, "EXCHANGE_ROUTING_ERROR")
        if channel.switch.dialplan.find(context, extension) is not None:
            return _talk(channel, b_uuid, extension, context, options)
        return _failed(channel, b_uuid, extension, "NO_ROUTE_DESTINATION")
    callee = rest.rpartition("/")[2].partition("@")[0]
    if kind == "error":
        return _failed(channel, b_uuid, callee, cause_named(rest))
    channel.set("originate_signal_bond", b_uuid)
    channel.set("sip_invite_failure_status", "503")
    channel.set("sip_invite_failure_phrase", "Service Unavailable")
    channel.set("sip_hangup_phrase", "Service Unavailable")
    # Only a far end that was reached leaves a last cause; error/… has none.
    channel.set("last_bridge_hangup_cause", "NORMAL_TEMPORARY_FAILURE")
    channel.set("last_bridge_proto_specific_hangup_cause", "sip:503")
    return _failed(channel, b_uuid, callee, "NORMAL_TEMPORARY_FAILURE")


def _failed(channel: Channel, uuid: str, callee: str, cause: str) -> str:
    _append(channel, "originated_legs", f"{uuid};Outbound Call;{callee}")
    _append(channel, "originate_causes", f"{uuid};{cause}")
    channel.set("originate_disposition", cause)
    channel.set("DIALSTATUS", cause)
    channel.set("originate_failed_cause", cause)
    return cause


def _append(channel: Channel, name: str, value: str) -> None:
    """Add to a variable that may hold several values, in FreeSWITCH's form of an array."""
    known = channel.variables.get(name)
    if known is None:
        channel.set(name, value)
    elif known.startswith("ARRAY::"):
        channel.set(name, f"{known}|:{value}")
    else:
        channel.set(name, f"ARRAY::{known}|:{value}")


def _talk(
    channel: Channel, uuid: str, extension: str, context: str, options: Mapping[str, str]
) -> str:
    switch, clock = channel.switch, channel.clock
    profile = Profile(
        uuid=uuid,
        caller_number=channel.profile.caller_number,
        caller_name=channel.profile.caller_name,
        destination=extension,
        context=context,
        channel_name=f"loopback/{extension}-a",
        direction="outbound",
        source="mod_loopback",
        callee_name="Outbound Call",
        callee_number=context,
    )
    exported = {
        name: value
        for name in (channel.get("export_vars") or "").split(",")
        if name and (value := channel.variables.get(name)) is not None
    }
    forwards = {"max_forwards": str(forwards_left(channel))}
    far = switch.originate(profile, _FarEnd(channel), {**exported, **options, **forwards})
    timeout = options.get("call_timeout") or channel.get("call_timeout") or "60"
    until = clock.now() + (int(timeout[:9]) if timeout.isdecimal() else 60)
    while channel.ready and not far.down and far.answer_state != "answered":
        if clock.now() >= until:
            far.hangup("NO_ANSWER")
            break
        channel.wait(until - clock.now())
    if not channel.ready:
        far.hangup("ORIGINATOR_CANCEL")
        return "ORIGINATOR_CANCEL"
    if far.answer_state != "answered" and not far.times.answered:
        cause = far.hangup_cause or "NO_ANSWER"
        return _failed(channel, uuid, extension, cause)
    _bridged(channel, far, uuid, context)
    while channel.ready and not far.down:
        if not channel.inbox.run() and not channel.inbox.take_break():
            channel.wait()
    channel.partner = far.partner = None
    cause = far.hangup_cause or "NORMAL_CLEARING"
    if not far.down:
        far.hangup("NORMAL_CLEARING")
    channel.set("last_bridge_to", uuid)
    channel.set("bridge_channel", far.profile.channel_name)
    channel.set("bridge_uuid", uuid)
    channel.set("last_sent_callee_id_name", "Outbound Call")
    channel.set("last_sent_callee_id_number", context)
    channel.set("last_bridge_hangup_cause", cause)
    channel.set("bridge_hangup_cause", cause)
    switch.bus.fire("CHANNEL_UNBRIDGE", channel, first=_legs(channel, uuid))
    channel.caller.event("unbridge", {"cause": cause})
    if channel.ready and (channel.get("hangup_after_bridge") or "").lower() == "true":
        channel.hangup(cause, by="application")
    return "SUCCESS"


def _bridged(channel: Channel, far: Channel, uuid: str, context: str) -> None:
    now = int(channel.clock.epoch() * 1e6)
    channel.times.bridged = now
    channel.profile.callee_name = "Outbound Call"
    channel.profile.callee_number = context
    channel.other_leg = [
        ("Other-Type", "originatee"),
        *far.profile.headers("Other-Leg", far.times),
    ]
    _append(channel, "originated_legs", f"{uuid};Outbound Call;{context}")
    channel.set("originate_disposition", "SUCCESS")
    channel.set("DIALSTATUS", "SUCCESS")
    _append(channel, "originate_causes", f"{uuid};NONE")
    channel.set("signal_bond", uuid)
    channel.partner, far.partner = far, channel
    channel.caller.event("bridge", {"extension": far.profile.destination, "context": context})
    channel.switch.bus.fire("CHANNEL_BRIDGE", channel, first=_legs(channel, uuid))


def _legs(channel: Channel, uuid: str) -> list[tuple[str, str]]:
    return [("Bridge-A-Unique-ID", channel.uuid), ("Bridge-B-Unique-ID", uuid)]
