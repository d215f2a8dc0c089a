"""Two legs connected, to the last word; and what the caller's leg then knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esl_worker.switch.channel import Channel


def failed(channel: Channel, uuid: str, callee: str, cause: str) -> str:
    """Note on the caller's leg that a far end was not reached; returns the cause."""
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


def talk(channel: Channel, far: Channel, callee: str) -> str:
    """Connect the caller with a far end that has answered, until one of the two hangs up."""
    switch, uuid = channel.switch, far.uuid
    _bridged(channel, far, uuid, callee)
    channel.set("last_bridge_to", uuid)
    for leg in (far, channel):
        run_hooks(leg, "execute_on_pre_bridge")
    while channel.ready and not far.down:
        if not channel.inbox.run() and not channel.inbox.take_break():
            channel.wait()
    channel.partner = far.partner = None
    run_hooks(channel, "execute_on_post_bridge")
    cause = far.hangup_cause or "NORMAL_CLEARING"
    if not far.down:
        far.hangup("NORMAL_CLEARING")
    channel.set("last_bridge_to", uuid)
    channel.set("bridge_channel", far.profile.channel_name)
    channel.set("bridge_uuid", uuid)
    channel.set("last_sent_callee_id_name", "Outbound Call")
    channel.set("last_sent_callee_id_number", callee)
    if not channel.down:  # whoever has hung up on the other leg does not learn its cause
        channel.set("last_bridge_hangup_cause", cause)
        channel.set("bridge_hangup_cause", cause)
    switch.bus.fire("CHANNEL_UNBRIDGE", channel, first=_legs(channel, uuid))
    channel.caller.event("unbridge", {"cause": cause})
    if channel.ready and (channel.get("hangup_after_bridge") or "").lower() == "true":
        channel.hangup(cause, by="application")
    return "SUCCESS"


def run_hooks(channel: Channel, prefix: str) -> None:
    """Run the applications in all variables whose names begin so, inside whatever runs now."""
    for name in [name for name in channel.variables if name.startswith(prefix)]:
        application, _, argument = (channel.get(name) or "").partition(" ")
        channel.execute(application, argument)


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
