"""`bridge`: connect the caller to another extension of this switch, and report how it went."""

from __future__ import annotations

import re
import uuid as uuids
from collections.abc import Mapping
from typing import TYPE_CHECKING

from esl_worker.switch.causes import cause as cause_named
from esl_worker.switch.channel import forwards_left
from esl_worker.switch.parties import call_parties
from esl_worker.switch.profile import Profile
from esl_worker.switch.talk import failed, talk

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

    Dial strings: ``loopback/extension[/context]``, ``error/CAUSE``; ``[…]sofia/…/number`` calls the
    simulated subscribers, where there are any (see `parties`); anything else is a network that
    this switch does not have (NORMAL_TEMPORARY_FAILURE, capture 06).

    Variables heeded: continue_on_fail, hangup_after_bridge, call_timeout, and in front of a
    dial string ``{call_timeout=30}``. Variables set: those of the captures; above all
    originate_disposition, bridge_hangup_cause, last_bridge_hangup_cause.
    """
    cause = "DESTINATION_OUT_OF_ORDER"
    for dial in argument.split("|"):
        if channel.switch.subscribers is not None and "]sofia/" in dial:
            cause = call_parties(channel, dial)
        else:
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
            return failed(channel, b_uuid, extension, "EXCHANGE_ROUTING_ERROR")
        if channel.switch.dialplan.find(context, extension) is not None:
            return _talk(channel, b_uuid, extension, context, options)
        return failed(channel, b_uuid, extension, "NO_ROUTE_DESTINATION")
    callee = rest.rpartition("/")[2].partition("@")[0]
    if kind == "error":
        return failed(channel, b_uuid, callee, cause_named(rest))
    channel.set("originate_signal_bond", b_uuid)
    channel.set("sip_invite_failure_status", "503")
    channel.set("sip_invite_failure_phrase", "Service Unavailable")
    channel.set("sip_hangup_phrase", "Service Unavailable")
    # Only a far end that was reached leaves a last cause; error/… has none.
    channel.set("last_bridge_hangup_cause", "NORMAL_TEMPORARY_FAILURE")
    channel.set("last_bridge_proto_specific_hangup_cause", "sip:503")
    return failed(channel, b_uuid, callee, "NORMAL_TEMPORARY_FAILURE")


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
        return failed(channel, uuid, extension, cause)
    return talk(channel, far, context)
