"""The application side of test_greenswitch_inbound_defects: one scenario on stock or on ours.

Run as ``python inbound_defect_application.py stock|ours SCENARIO PORT``. The scenarios use the
methods of greenswitch's InboundESL, which both connections have. Observations go to standard
output, one JSON value a line.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import gevent
from greenswitch.esl import InboundESL

from esl_worker.inbound import InboundConnection

kind, scenario, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


def report(**seen: Any) -> None:
    print(json.dumps(seen), flush=True)


def heard(event: Any) -> None:
    """An event reached the application."""
    names = ("Event-Name", "Unique-ID", "Content-Type")
    report(event={name: event.headers.get(name) for name in names})


def watched(act: Callable[[], Any]) -> None:
    """Run ``act`` and report how it ended."""
    try:
        act()
        report(ended="returned")
    except BaseException as error:
        report(ended=type(error).__name__)


def tick() -> None:
    while True:
        report(tick=time.monotonic())
        gevent.sleep(0.05)


def make(password: Any = "ClueCon") -> Any:
    if kind == "stock":
        made = InboundESL("127.0.0.1", port, password)
        made.register_handle("*", heard)
        made.register_handle("DISCONNECT", heard)
        return made
    return InboundConnection("127.0.0.1", port, password, 1.0, reply_timeout_s=0.5, on_event=heard)


def connected() -> Any:
    made = make()
    made.connect()
    report(connected=True)
    return made


def send(text: str = "api status") -> None:
    connection = connected()
    watched(lambda: connection.send(text))


def refused() -> None:
    connection = make("wrong")
    watched(connection.connect)
    gevent.sleep(0.1)
    report(open=connection.sock.fileno() >= 0)


SCENARIOS: dict[str, Callable[[], None]] = {
    "connect": lambda: watched(connected),
    "send": send,
    "inject": lambda: send("api status\n\napi hupall"),
    "long": lambda: send("api " + "x" * 20_000_000),
    "none": lambda: watched(lambda: make(None).connect()),
    "refused": refused,
}
report(ready=True)
gevent.spawn(SCENARIOS[scenario])
if scenario == "send":
    gevent.spawn(tick)
gevent.sleep(100)
