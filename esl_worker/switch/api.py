"""API commands: what mod_commands offers, as far as a call's worker has use for it."""

from __future__ import annotations

import math
import re
import uuid as uuids
from collections.abc import Callable
from typing import TYPE_CHECKING

from esl_worker.switch.arguments import separate
from esl_worker.switch.events import serialize
from esl_worker.switch.inbox import Message
from esl_worker.switch.originate import originate

if TYPE_CHECKING:
    from esl_worker.switch.channel import Channel
    from esl_worker.switch.switch import Switch

_NO_CHANNEL = "-ERR No such channel!\n"
_SETVARS_USAGE = "<uuid> <var>=<value>;<var>=<value>..."
# switch_string_var_check: such a value is not set.
_HOLDS_VARIABLE = re.compile(r"\$\\*\{")


def run_api(switch: Switch, text: str) -> str:
    """Run one API command.

    Args:
        switch: on which.
        text: command and arguments, e.g. "uuid_break <uuid> all".

    Returns:
        What the command prints, in FreeSWITCH's words.
    """
    name, _, argument = text.strip(" ").partition(" ")
    plain = _PLAIN.get(name)
    if plain is not None:
        return plain(switch, argument)
    about_channel = _CHANNEL.get(name)
    if about_channel is None:
        return f"-ERR {name} Command not found!\n"
    uuid, _, rest = argument.strip(" ").partition(" ")
    if not uuid:
        return f"-USAGE: {_USAGE[name]}\n"
    channel = switch.channels.get(uuid)
    if channel is None:
        return _NO_CHANNEL
    return about_channel(channel, rest)


def _getvar(channel: Channel, name: str) -> str:
    return channel.get(name.strip(" ")) or "_undef_"


def _setvar(channel: Channel, text: str) -> str:
    name, _, value = text.partition(" ")
    if not name:
        return f"-USAGE: {_USAGE['uuid_setvar']}\n"
    channel.set(name, value or None)
    return "+OK\n"


def _setvars(switch: Switch, argument: str) -> str:
    uuid, blank, text = argument.strip(" ").partition(" ")
    if not uuid:
        return f"-USAGE: {_SETVARS_USAGE}\n"
    if not blank:
        return ""
    channel = switch.channels.get(uuid)
    if channel is None:
        return f"{_NO_CHANNEL}-USAGE: {_SETVARS_USAGE}\n"
    delimiter = ";"
    if text.startswith("^^") and len(text) > 3:
        delimiter, text = text[2], text[3:]
    printed, done = "", False
    for assignment in separate(text, 64, delimiter):
        name, _, value = assignment.partition("=")
        if not name:
            printed += "-ERR No variable specified\n"
            continue
        if not _HOLDS_VARIABLE.search(value):  # else refused, without a word
            channel.set(name, value or None)
        done = True
    return printed + ("+OK\n" if done else f"-USAGE: {_SETVARS_USAGE}\n")


def _break(channel: Channel, flags: str) -> str:
    channel.inbox.interrupt(everything="all" in flags)
    return "+OK\n"


def _kill(channel: Channel, cause: str) -> str:
    channel.hangup(cause or "NORMAL_CLEARING")
    return "+OK\n"


def _broadcast(channel: Channel, text: str) -> str:
    path, _, leg = text.partition(" ")
    if not path:
        return f"-USAGE: {_USAGE['uuid_broadcast']}\n"
    application, separator, argument = path.partition("::")
    if not separator:
        application, argument = "playback", path
    headers = {
        "call-command": "execute",
        "execute-app-name": application,
        "execute-app-arg": argument,
        "lead-frames": "5",  # switch_ivr_broadcast waits five frames (capture 18: 120 ms)
    }
    if leg != "bleg":
        channel.inbox.queue(Message(headers))
    if leg in ("bleg", "both") and channel.partner is not None:
        channel.partner.inbox.queue(Message(headers))
    return "+OK Message sent\n"


def _transfer(channel: Channel, text: str) -> str:
    words = text.split()
    if not words:
        return f"-USAGE: {_USAGE['uuid_transfer']}\n"
    channel.transfer(*words[:3])
    return "+OK\n"


def _receive_dtmf(channel: Channel, keys: str) -> str:
    try:
        channel.press(keys.partition("@")[0])
    except ValueError:
        return "-ERR DTMF not valid\n"
    return "+OK\n"


def _schedule_hangup(switch: Switch, text: str) -> str:
    words = text.split()
    if len(words) < 2 or not words[0].lstrip("+").isdecimal():
        return "-USAGE: [+]<time> <uuid> [<cause>]\n"
    channel = switch.channels.get(words[1])
    if channel is None:
        return _NO_CHANNEL
    channel.hangup_later(
        seconds_until(channel, words[0]), words[2] if len(words) > 2 else "ALLOTTED_TIMEOUT"
    )
    return "+OK\n"


def seconds_until(channel: Channel, text: str) -> float:
    """Seconds from now that "+5" or a time since 1970 means; never negative.

    The scheduler knows whole seconds of the day only: "+5" is up to a second less (measured).
    """
    number = float(text.lstrip("+")[:12])
    now = channel.clock.epoch()
    if text.startswith("+"):
        return max(0.0, math.floor(now) + number - now)
    return max(0.0, number - now)


def _unschedule(switch: Switch, group: str) -> str:
    """`sched_del`: by group, which is the call's id. Numbered tasks are not known here."""
    channel = switch.channels.get(group.strip(" "))
    return f"+OK Deleted: {0 if channel is None else channel.unschedule()}\n"


def _displace(channel: Channel, text: str) -> str:
    """`uuid_displace <uuid> start <path> [<limit>] [mux]`: heard by this leg alone (measured)."""
    words = text.split()
    if len(words) < 2 or words[0] not in ("start", "stop"):
        return f"-USAGE: {_USAGE['uuid_displace']}\n"
    if words[0] == "start":
        prompt = channel.switch.sounds.prompt(words[1], channel.variables.get("sound_prefix"))
        channel.caller.event("displace", {"files": ",".join(prompt.files)})
    return "+OK Success\n"


def _exists(switch: Switch, uuid: str) -> str:
    return "true" if uuid.strip(" ") in switch.channels else "false"


def _status(switch: Switch, _: str) -> str:
    up = int(switch.clock.now())
    return (
        f"UP 0 years, 0 days, {up // 3600} hours, {up // 60 % 60} minutes, {up % 60} seconds\n"
        "callflows embedded switch is ready\n"
        f"{switch.calls_total} session(s) since startup\n"
        f"{len(switch.channels)} session(s)\n"
    )


def _global_getvar(switch: Switch, name: str) -> str:
    name = name.strip(" ")
    return switch.bus.core_uuid if name == "core_uuid" else switch.globals.get(name, "")


def _dump(channel: Channel, _: str) -> str:
    headers = channel.switch.bus.base("CHANNEL_DATA") + channel.headers()
    return serialize(headers).decode("utf-8", "surrogateescape")


def _hang_up_all(switch: Switch, cause: str) -> str:
    cause = cause.strip(" ") or "MANAGER_REQUEST"
    for channel in list(switch.channels.values()):
        channel.hangup(cause)
    return f"+OK hangup all channels with cause {cause}\n"


_PLAIN: dict[str, Callable[[Switch, str], str]] = {
    "create_uuid": lambda _, __: str(uuids.uuid4()),
    "echo": lambda _, text: text,
    "global_getvar": _global_getvar,
    "hostname": lambda switch, _: switch.hostname,
    "hupall": _hang_up_all,
    "originate": originate,
    "sched_del": _unschedule,
    "sched_hangup": _schedule_hangup,
    "status": _status,
    "strmicroepoch": lambda switch, _: str(int(switch.clock.epoch() * 1e6)),
    "switchname": lambda switch, _: switch.hostname,
    "uptime": lambda switch, _: f"{int(switch.clock.now())}\n",
    "uuid_exists": _exists,
    "uuid_setvar_multi": _setvars,
    "version": lambda _, __: "callflows embedded switch, speaking as FreeSWITCH 1.10.12\n",
}
_CHANNEL: dict[str, Callable[[Channel, str], str]] = {
    "uuid_break": _break,
    "uuid_broadcast": _broadcast,
    "uuid_displace": _displace,
    "uuid_dump": _dump,
    "uuid_getvar": _getvar,
    "uuid_kill": _kill,
    "uuid_recv_dtmf": _receive_dtmf,
    "uuid_setvar": _setvar,
    "uuid_transfer": _transfer,
}
_USAGE = {
    "uuid_break": "<uuid> [all]",
    "uuid_broadcast": "<uuid> <path> [aleg|bleg|holdb|both]",
    "uuid_displace": "<uuid> [start|stop] <path> [<limit>] [mux]",
    "uuid_dump": "<uuid> [format]",
    "uuid_getvar": "<uuid> <var>",
    "uuid_kill": "<uuid> [cause]",
    "uuid_recv_dtmf": "<uuid> <dtmf_data>",
    "uuid_setvar": "<uuid> <var> [value]",
    "uuid_transfer": "<uuid> [-bleg|-both] <dest-exten> [<dialplan>] [<context>]",
}
