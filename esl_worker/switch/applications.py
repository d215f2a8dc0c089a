"""The applications of the dialplan and of `sendmsg … execute`, with FreeSWITCH's meaning."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import gevent
from gevent import socket

from esl_worker.switch import digits
from esl_worker.switch.api import seconds_until
from esl_worker.switch.arguments import separate
from esl_worker.switch.bridge import bridge
from esl_worker.switch.causes import cause as cause_named
from esl_worker.switch.channel import Channel
from esl_worker.switch.listener import Listener
from esl_worker.switch.player import FRAME_S, Played, play
from esl_worker.switch.recording import record
from esl_worker.switch.values import integer, true

log = logging.getLogger(__name__)

CONNECT_S = 30.0  # real; the switch itself sets no limit, the kernel's is two minutes
AMD_MACHINE_S = 5.0
AMD_HUMAN_S = 1.5


@dataclass(frozen=True, slots=True)
class Application:
    """An application.

    Attributes:
        run: does it, given the channel and the expanded argument ("" for none).
        needs_media: an unanswered call gets early media first.
        after_hangup: works on a call that is over.
    """

    run: Callable[[Channel, str], None]
    needs_media: bool = False
    after_hangup: bool = False


# -- the call ---------------------------------------------------------------------------------


def _answer(channel: Channel, _: str) -> None:
    channel.answer()


def _pre_answer(channel: Channel, _: str) -> None:
    channel.pre_answer()


def _hangup(channel: Channel, argument: str) -> None:
    channel.hangup(cause_named(argument), by="application")


def _transfer(channel: Channel, argument: str) -> None:
    words = argument.split()
    if words and words[0] in ("-bleg", "-both"):
        words = words[1:]
    if words:
        channel.transfer(*words[:3])


def _sched_hangup(channel: Channel, argument: str) -> None:
    words = argument.split()
    if words and words[0].lstrip("+").isdecimal():
        cause = words[1] if len(words) > 1 else "ALLOTTED_TIMEOUT"
        channel.hangup_later(seconds_until(channel, words[0]), cause)


def _park(channel: Channel, _: str) -> None:
    park(channel, lambda: True)


def park(channel: Channel, held: Callable[[], bool]) -> None:
    """Hold the call and do what messages say, as long as `held()`; keys are swallowed."""
    bus = channel.switch.bus
    limit, _, cause = (channel.get("park_timeout") or "").partition(":")
    until = None
    if limit.isdecimal():
        until = channel.clock.now() + int(limit[:9])
        channel.set("park_timeout", None)
    bus.fire("CHANNEL_PARK", channel)
    while channel.ready and held():
        if channel.inbox.queued:
            # Messages are looked for once in a frame, so the reply goes out before them.
            channel.clock.sleep(FRAME_S)
            channel.inbox.run()
            continue
        if channel.digits:
            channel.take_digit()
            continue
        left = None if until is None else until - channel.clock.now()
        if left is not None and left <= 0:
            channel.hangup(cause_named(cause), by="application")
            break
        channel.wait(left)
    bus.fire("CHANNEL_UNPARK", channel)


def _socket(channel: Channel, argument: str) -> None:
    """`socket host:port|host:port [async] [full]`: hand the call to a worker."""
    words = argument.split()
    if not words:
        return
    sock = _connect(channel, words[0].split("|"))
    if sock is None:
        return
    flags = {word.lower() for word in words[1:]}
    asynchronous = "async" in flags
    listener = Listener(channel, sock, asynchronous=asynchronous, full="full" in flags)
    if not asynchronous:
        listener.run()
        if channel.ready and true(channel.get("socket_resume")):
            # `resume` on a sync socket leaves the call in CS_RESET, where nothing goes on
            # (measured); who sends it loses the takeover by the next action.
            channel.state = "CS_RESET"
            while not channel.down:
                channel.wait()
        return
    gevent.spawn(listener.run)
    while channel.ready and not listener.connected and not listener.finished:
        channel.wait()
    # FreeSWITCH parks even if the worker has closed meanwhile, and then nothing but
    # park_timeout or a hangup ends it: the reason to set park_timeout.
    gone = listener.finished
    park(channel, lambda: gone or not listener.finished)
    channel.inbox.run()


def _connect(channel: Channel, addresses: list[str]) -> socket.socket | None:
    for address in addresses:
        host, _, port = address.rpartition(":")
        if not host:
            host, port = address, "8084"  # mod_event_socket's default
        channel.set("socket_host", host)
        if not port.isdecimal() or not 0 < int(port[:6]) < 65536:
            continue
        try:
            sock = socket.create_connection((host, int(port)), timeout=CONNECT_S)
        except OSError as why:
            log.info("worker %s not reachable: %s", address, why)
            continue
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    return None


# -- sound and keys ---------------------------------------------------------------------------


def _playback(channel: Channel, argument: str) -> None:
    file, _, _ = argument.partition("@@")
    channel.set("playback_terminator_used", None)
    response = {
        Played.DONE: "FILE PLAYED",
        Played.BREAK: "FILE PLAYED",
        Played.NOT_FOUND: "FILE NOT FOUND",
        Played.GONE: "PLAYBACK ERROR",
    }[play(channel, file, keys="swallow")]
    channel.set("current_application_response", response)


def _play_and_get_digits(channel: Channel, argument: str) -> None:
    words = separate(argument, 11)
    if not words:
        return
    least = max(0, _integer(words, 0))
    digits.ask(
        channel,
        digits.Question(
            min_digits=least,
            max_digits=max(least, _integer(words, 1)),
            tries=_integer(words, 2),
            timeout_ms=_integer(words, 3, digits.MIN_TIMEOUT_MS),
            terminators=_word(words, 4) or "#",
            prompt=_word(words, 5),
            invalid=_word(words, 6),
            variable=_word(words, 7),
            pattern=_word(words, 8),
            digit_timeout_ms=max(0, _integer(words, 9)),
            on_failure=_word(words, 10),
        ),
    )


def _read(channel: Channel, argument: str) -> None:
    words = separate(argument, 7)
    if not words:
        return
    least = max(1, _integer(words, 0))
    digits.read(
        channel,
        digits.Question(
            min_digits=least,
            max_digits=max(least, _integer(words, 1)),
            prompt=_word(words, 2),
            variable=_word(words, 3),
            timeout_ms=_integer(words, 4, digits.MIN_TIMEOUT_MS),
            terminators=_word(words, 5) or "#",
            digit_timeout_ms=max(0, _integer(words, 6)),
        ),
    )


def _say(channel: Channel, _: str) -> None:
    # No say module here, as in capture 01: the phrase catalogue composes numbers itself.
    channel.set("sound_prefix", str(channel.switch.sounds.directory))


def _sleep(channel: Channel, argument: str) -> None:
    """Sleep; a key ends it and stays waiting, unless `sleep_eat_digits` says to drop keys."""
    until = channel.clock.now() + _integer([argument], 0) / 1000
    eat = true(channel.get("sleep_eat_digits"))
    while channel.ready and not channel.inbox.take_break():
        if channel.inbox.run():
            continue
        if channel.digits and channel.media:
            if not eat or channel.take_digit() in channel.terminators():
                return
            continue
        left = until - channel.clock.now()
        if left <= 0:
            return
        channel.wait(left)


def _record(channel: Channel, argument: str) -> None:
    """`record path [limit_s [threshold [silence_hits]]]`: see `recording`."""
    words = argument.split()
    if words:
        record(channel, words[0], _integer(words, 1), _integer(words, 3))


def _amd(channel: Channel, _: str) -> None:
    """Listen to who has answered (the variables of mod_amd): a machine talks on, a human stops."""
    channel.set("amd_result", "MACHINE" if channel.machine else "HUMAN")
    channel.set("amd_cause", "TOOLONG" if channel.machine else "HUMAN")
    until = channel.clock.now() + (AMD_MACHINE_S if channel.machine else AMD_HUMAN_S)
    while channel.ready and (left := until - channel.clock.now()) > 0:
        channel.wait(left)


def _flush_dtmf(channel: Channel, _: str) -> None:
    channel.digits.clear()


def _break(channel: Channel, _: str) -> None:
    channel.inbox.interrupt()


def _nothing(_: Channel, __: str) -> None:
    """start_dtmf, stop_dtmf: keys never come as audio here."""


# -- variables --------------------------------------------------------------------------------


def _set(channel: Channel, argument: str) -> None:
    name, separator, value = argument.partition("=")
    if not separator:
        name, _, value = argument.partition(",")
    if name:
        channel.set(name, channel.expand(value))


def _multiset(channel: Channel, argument: str) -> None:
    delimiter = " "
    if argument.startswith("^^") and len(argument) > 2:
        delimiter, argument = argument[2], argument[3:]
    for assignment in separate(argument, 256, delimiter):
        if assignment:
            _set(channel, assignment)


def _unset(channel: Channel, argument: str) -> None:
    channel.set(argument, None)


def _export(channel: Channel, argument: str) -> None:
    name, _, value = argument.partition("=")
    local = not name.startswith("nolocal:")
    name = name.removeprefix("nolocal:").removeprefix("_nolocal_")
    if not name:
        return
    exported = [known for known in (channel.get("export_vars") or "").split(",") if known]
    if name not in exported:
        channel.set("export_vars", ",".join([*exported, name]))
    if local:
        channel.set(name, channel.expand(value))


def _log(channel: Channel, argument: str) -> None:
    channel.caller.event("log", {"text": argument})


def _info(channel: Channel, _: str) -> None:
    log.debug("info: channel %s has %d variables", channel.uuid, len(channel.variables))


# -- arguments --------------------------------------------------------------------------------


def _word(words: list[str], index: int) -> str:
    return words[index] if index < len(words) else ""


def _integer(words: list[str], index: int, default: int = 0) -> int:
    """The number at `index`; `default` if there is no such word."""
    if index >= len(words):
        return default
    return integer(words[index])


APPLICATIONS: dict[str, Application] = {
    "amd": Application(_amd, needs_media=True),
    "answer": Application(_answer),
    "break": Application(_break),
    "bridge": Application(bridge),
    "export": Application(_export, after_hangup=True),
    "flush_dtmf": Application(_flush_dtmf),
    "hangup": Application(_hangup),
    "info": Application(_info, after_hangup=True),
    "log": Application(_log, after_hangup=True),
    "multiset": Application(_multiset, after_hangup=True),
    "park": Application(_park),
    "play_and_get_digits": Application(_play_and_get_digits, needs_media=True),
    "playback": Application(_playback, needs_media=True),
    "pre_answer": Application(_pre_answer),
    "read": Application(_read, needs_media=True),
    "record": Application(_record, needs_media=True),
    "say": Application(_say, needs_media=True),
    "sched_hangup": Application(_sched_hangup),
    "set": Application(_set, after_hangup=True),
    "sleep": Application(_sleep),
    "socket": Application(_socket),
    "start_dtmf": Application(_nothing, needs_media=True),
    "stop_dtmf": Application(_nothing, needs_media=True),
    "transfer": Application(_transfer),
    "unset": Application(_unset, after_hangup=True),
}
