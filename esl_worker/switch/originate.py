"""API `originate`: call a simulated subscriber, then run an application or the dialplan.

Words, order of events and answers are those measured on FreeSWITCH 1.10.12.
"""

from __future__ import annotations

import math
import re
import uuid as uuids
from typing import TYPE_CHECKING

from gevent.event import Event

from esl_worker.switch.arguments import separate
from esl_worker.switch.causes import cause as cause_named
from esl_worker.switch.profile import Profile
from esl_worker.switch.values import integer

if TYPE_CHECKING:
    from esl_worker.switch.channel import Channel
    from esl_worker.switch.subscribers import Reaction
    from esl_worker.switch.switch import Switch

USAGE = (
    "-USAGE: <call url> <exten>|&<application_name>(<app_args>) [<dialplan>] [<context>] "
    "[<cid_name>] [<cid_num>] [<timeout_sec>]\n"
)
RING_S = 60

_COMMA = re.compile(r"(?<!\\),")


def originate(switch: Switch, argument: str) -> str:
    """Run `originate {name=value,…}endpoint exten|&app(args) [dialplan] [context] …`.

    Endpoints: `sofia/gateway/<any>/<number>` and `sofia/<any>/<number>@<any>` reach the simulated
    subscribers, `error/<CAUSE>` fails.

    Returns:
        "+OK <uuid>" when the call was answered, else "-ERR <CAUSE>"; comes as late as that.
    """
    variables, rest = _variables(argument.strip(" "))
    words = separate(rest, 7)
    if len(words) < 2:
        return USAGE
    endpoint, then = words[0], words[1]
    kind, _, target = endpoint.partition("/")
    if kind == "error":
        return f"-ERR {cause_named(target)}\n"
    if kind != "sofia":
        return "-ERR CHAN_NOT_IMPLEMENTED\n"
    if switch.subscribers is None:
        return "-ERR NORMAL_TEMPORARY_FAILURE\n"
    number = target.rpartition("/")[2].partition("@")[0]
    uuid = variables.get("origination_uuid") or ""
    if not uuid or uuid in switch.channels:
        # An id that is in use is replaced, and the call is placed all the same (measured).
        uuid = str(uuids.uuid4())
    reaction = switch.subscribers.called(number)
    profile = Profile(
        uuid=uuid,
        caller_number=variables.get("origination_caller_id_number") or _word(words, 5),
        caller_name=variables.get("origination_caller_id_name") or _word(words, 4),
        destination=number,
        context=_word(words, 3) or "default",
        channel_name=f"sofia/embedded/{number}",
        direction="outbound",
    )
    limit = integer(variables.get("originate_timeout") or _word(words, 6)) or RING_S
    settled = Event()

    def opening(channel: Channel) -> None:
        ring(channel, reaction, float(limit))
        if channel.down:
            return
        _answered(channel)
        settled.set()
        _run(channel, then)

    channel = switch.originate(profile, reaction.caller(), variables, opening)
    channel.machine = reaction.machine
    channel.watchers.append(settled.set)
    settled.wait()
    if channel.times.answered:
        return f"+OK {uuid}\n"
    channel.join()  # the end is told before the answer (measured)
    return f"-ERR {channel.hangup_cause}\n"


def _variables(text: str) -> tuple[dict[str, str], str]:
    """The variables in braces, and what follows them."""
    if not text.startswith("{"):
        return {}, text
    block, _, rest = text[1:].partition("}")
    found = {}
    for pair in _COMMA.split(block):
        name, _, value = pair.partition("=")
        value = value.replace("\\,", ",")
        if len(value) > 1 and value.startswith("'"):
            value = value[1:].removesuffix("'")
        found[name.strip(" ")] = value
    return found, rest.lstrip(" ")


def _word(words: list[str], index: int) -> str:
    return words[index] if index < len(words) else ""


def ring(channel: Channel, reaction: Reaction, limit: float) -> None:
    """Let the subscriber react; who does not within `limit` seconds is hung up (NO_ANSWER)."""
    channel.state = channel.running_state = "CS_CONSUME_MEDIA"
    until = channel.clock.now() + min(reaction.after_s, limit)
    while not channel.down and (left := until - channel.clock.now()) > 0:
        channel.wait(left if math.isfinite(left) else None)
    if channel.down:
        return
    if reaction.after_s > limit:
        channel.hangup("NO_ANSWER", by="application")
    elif reaction.cause:
        channel.hangup(reaction.cause, by="caller")


def _answered(channel: Channel) -> None:
    channel.answer()
    channel.state = channel.running_state = "CS_EXECUTE"
    application, _, argument = (channel.get("execute_on_answer") or "").partition(" ")
    if application:
        channel.execute(application, argument)


def _run(channel: Channel, then: str) -> None:
    """The application of an answered call; for an extension the dialplan has the next word."""
    profile = channel.profile
    if not then.startswith("&"):
        profile.destination = then
        return
    # The caller ID is turned round: from here on the subscriber is the caller (measured).
    profile.callee_name, profile.callee_number = profile.caller_name, profile.caller_number
    profile.caller_name = profile.caller_number = profile.destination
    name, _, argument = then[1:].partition("(")
    channel.execute(name, argument.partition(")")[0])
    if channel.ready:
        channel.hangup("NORMAL_CLEARING", by="application")
