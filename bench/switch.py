"""The load generator: a process that plays the switch's side of many calls at once.

It reads orders from standard input, one JSON object a line, and answers each with one. It connects
to the server under test as FreeSWITCH does, serves whatever commands come, and keeps time. There is
no media: an application that plays takes `media_s` seconds, during which other calls go on.
"""

from __future__ import annotations

import gc
import itertools
import json
import random
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gevent
from gevent import socket
from gevent.pool import Pool

from bench.frames import API_OK, BYE, OK, Call, Recording, value_reply

RECORDING = Recording()
CALL_LIMIT_S = 60.0


@dataclass
class Order:
    """What to do: `calls` calls, `at_once` at a time or `rate` a second, pressing `digits`.

    `park` leaves each call at its first question; `finish` takes those up again and brings them to
    their end; with `refused` every call has to be refused: closed at once, without a word.
    """

    port: int
    digits: list[str]
    calls: int = 1
    at_once: int = 1
    rate: float = 0.0
    media_s: float = 0.0
    gap_s: float = 0.0
    asynchronous: bool = False
    park: bool = False
    finish: bool = False
    refused: bool = False
    lines: int = 1
    first: int = 0


@dataclass
class Result:
    """What became of an order; times in milliseconds."""

    completed: int = 0
    refused: int = 0
    most_at_once: int = 0
    parked: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    wall_s: float = 0.0
    spawned_s: float = 0.0
    setup_ms: list[float] = field(default_factory=list)
    step_ms: list[float] = field(default_factory=list)


class Failed(Exception):
    """The server did not do what a conversation should."""


class Leg:
    """One call: its socket, and what the switch knows of it."""

    def __init__(self, order: Order, index: int, result: Result) -> None:
        self.order = order
        self.result = result
        line = index % order.lines
        self.call = Call(str(uuid.uuid4()), f"02188{line:06d}", "2000")
        self.digits = [each.format(mobile=f"0912{index % 10**7:07d}") for each in order.digits]
        self.keyed = ""
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._setup = 0.0
        self._since = 0.0

    def play(self) -> None:
        """Serve the call to its end, or to the menu where it is to stay."""
        begun = time.perf_counter()
        self.socket.connect(("127.0.0.1", self.order.port))
        if self.order.refused:
            if self.socket.recv(1):
                raise Failed("the call was not refused")
            self.result.refused += 1
            self.result.setup_ms.append((time.perf_counter() - begun) * 1000)
            return
        begun = time.perf_counter()
        if self.command() != "connect":
            raise Failed("the first command is not connect")
        self._setup = time.perf_counter() - begun
        self.send(RECORDING.channel_data(self.call, asynchronous=self.order.asynchronous))
        self._since = time.perf_counter()
        serve = self.asynchronous if self.order.asynchronous else self.synchronous
        while serve(self.command()):
            pass

    def resume(self) -> None:
        """Go on with a parked call: its first question is answered now."""
        gevent.sleep(random.uniform(0, self.order.media_s))
        self.keyed = self.digits.pop(0)
        self.send(OK)
        while self.synchronous(self.command()):
            pass

    def command(self) -> str:
        """The next command's headers. Raises Failed at the end."""
        while (end := self._buffer.find(b"\n\n")) < 0:
            self._read_on()
        command, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        _, has_body, length = command.partition(b"\ncontent-length: ")
        if has_body:
            size = int(length)
            while len(self._buffer) < size:
                self._read_on()
            self._buffer = self._buffer[size:]
        return command.decode()

    def _read_on(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise Failed("the server closed the connection")
        self._buffer += data

    def send(self, data: bytes) -> None:
        """Send one frame as one write, as the switch does."""
        self.socket.sendall(data)

    def asked(self) -> bool:
        """A question begins to play: note how long the server took. False to leave it there."""
        took = (time.perf_counter() - self._since) * 1000
        if self._setup:
            self.result.setup_ms.append(self._setup * 1000 + took)
            self._setup = 0.0
        else:
            self.result.step_ms.append(took)
        if self.order.park:
            return False
        if not self.digits:
            raise Failed("more questions than the conversation has")
        gevent.sleep(self.order.media_s)
        self.keyed = self.digits.pop(0)
        return True

    def over(self) -> bool:
        """The call has ended as it should."""
        if self.digits:
            raise Failed("hung up before the last question")
        self.result.completed += 1
        return False

    def synchronous(self, command: str) -> bool:
        """Do a command and answer it when it is done; False when the call is over."""
        if command.startswith("getvar "):
            self.send(value_reply(self.keyed))
            self._since = time.perf_counter()
            return True
        if command.startswith(f"api uuid_setvar_multi {self.call.uuid} "):
            self.send(API_OK)
            return True
        application, _ = named(command)
        if application == "play_and_get_digits":
            if not self.asked():
                return False
        elif application == "playback":
            gevent.sleep(self.order.media_s)
        elif application == "hangup":
            self.send(OK)
            self.send(RECORDING.gone(self.call))
            self.socket.close()
            return self.over()
        elif application not in ("answer", "set", "unset"):
            raise Failed(f"unexpected command: {command[:60]!r}")
        self.send(OK)
        return True

    def asynchronous(self, command: str) -> bool:
        """Answer a command at once and send the events of what it does."""
        application, event_id = named(command)
        if not application:
            return self.other(command)
        self.send(OK)
        call = self.call
        if application not in RECORDING.begun:
            raise Failed(f"unexpected application: {application}")
        self.send(RECORDING.begun[application].bytes_for(call, event_id))
        if application == "answer":
            self.send(RECORDING.answered.bytes_for(call))
        elif application == "play_and_get_digits":
            if not self.asked():
                return False
            for key in self.keyed:
                self.send(RECORDING.key.bytes_for(call, digits=key))
        else:
            for event in RECORDING.after_hangup:
                self.send(event.bytes_for(call, event_id))
            self.send(RECORDING.lingering(call))
            return True
        self.send(RECORDING.ended[application].bytes_for(call, event_id, self.keyed))
        self._since = time.perf_counter()
        return True

    def other(self, command: str) -> bool:
        """Commands of an async session that run no application."""
        if command == "exit":
            self.send(BYE)
            self.send(RECORDING.gone(self.call))
            self.socket.close()
            return self.over()
        if not command.startswith(("myevents", "linger", "filter ", "event ")):
            raise Failed(f"unexpected command: {command[:60]!r}")
        self.send(OK)
        if command.startswith("linger"):
            self.send(RECORDING.parked.bytes_for(self.call))
        return True


def named(command: str) -> tuple[str, str]:
    """Application and Event-UUID (else one of the switch's own) of a sendmsg; "" for others."""
    if not command.startswith("sendmsg"):
        return "", ""
    headers = dict(line.split(": ", 1) for line in command.split("\n")[1:] if ": " in line)
    return headers.get("execute-app-name", ""), headers.get("Event-UUID") or str(uuid.uuid4())


def run(order: Order, kept: list[Leg]) -> Result:
    """Carry out an order; parked calls are added to `kept`."""
    result = Result()
    at_once = 0
    numbers = itertools.count(order.first)

    def one(index: int) -> None:
        carry(Leg(order, index, result), Leg.play)

    def carry(leg: Leg, do: Callable[[Leg], None]) -> None:
        nonlocal at_once
        at_once += 1
        result.most_at_once = max(result.most_at_once, at_once)
        try:
            with gevent.Timeout(CALL_LIMIT_S, Failed("took too long")):
                do(leg)
        except (Failed, OSError) as error:
            # A server that does not say exit closes when it has the last event.
            if (
                order.asynchronous
                and not leg.digits
                and ("closed" in str(error) or isinstance(error, ConnectionError))
            ):
                result.completed += 1
            else:
                reason = str(error)
                result.failures[reason] = result.failures.get(reason, 0) + 1
        at_once -= 1
        if order.park:
            kept.append(leg)
            result.parked += 1
        else:
            leg.socket.close()

    def one_after_another(count: int) -> None:
        for _ in range(count):
            one(next(numbers))
            if order.gap_s:
                gevent.sleep(random.uniform(0, order.gap_s))

    started = time.perf_counter()
    pool = Pool()
    if order.finish:
        parked, kept[:] = list(kept), []
        for leg in parked:
            leg.order, leg.result = order, result
            pool.spawn(carry, leg, Leg.resume)
    elif order.rate:
        for place in range(order.calls):
            gevent.sleep(max(0.0, started + place / order.rate - time.perf_counter()))
            pool.spawn(one, next(numbers))
        # Whether the generator itself could keep the pace.
        result.spawned_s = time.perf_counter() - started
    else:
        lanes = min(order.at_once, order.calls)
        for lane in range(lanes):
            pool.spawn(one_after_another, len(range(lane, order.calls, lanes)))
    pool.join()
    result.wall_s = time.perf_counter() - started
    return result


def main() -> None:
    """Serve orders until standard input ends."""
    kept: list[Leg] = []
    # A look for garbage among thousands of legs would be taken for the server's time.
    gc.disable()
    for line in sys.stdin:
        wanted: dict[str, Any] = json.loads(line)
        if wanted.pop("release", False):
            for leg in kept:
                leg.socket.close()
            kept.clear()
            answer = Result()
        else:
            answer = run(Order(**wanted), kept)
        print(json.dumps(answer.__dict__), flush=True)


if __name__ == "__main__":
    main()
