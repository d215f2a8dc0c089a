"""The application side of test_greenswitch_defects: one scenario on stock greenswitch or on ours.

Run as ``python defect_application.py stock|ours SCENARIO PORT``. The scenarios are written against
the methods of greenswitch's OutboundSession, which both sessions have, so both sides run the very
same lines. Observations go to standard output, one JSON value a line.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import gevent
from greenswitch.esl import OutboundESLServer

from esl_worker.server import WorkerServer

kind, scenario, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
STARTED = time.monotonic()


def report(**seen: Any) -> None:
    print(json.dumps(seen), flush=True)


def watched(session: Any, act: Callable[[], Any]) -> None:
    """Run ``act`` and report how it ended and what it left behind."""
    try:
        act()
        report(ended="returned")
    except BaseException as error:
        report(
            ended=type(error).__name__,
            is_exception=isinstance(error, Exception),
            is_gevent_timeout=isinstance(error, gevent.Timeout),
            waiters_left=sum(map(len, getattr(session, "expected_events", {}).values())),
        )


def tick() -> None:
    while True:
        report(tick=time.monotonic())
        gevent.sleep(0.05)


def resident_kib() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


parked = 0


def park(session: Any) -> None:
    global parked
    parked += 1
    if parked % 100 == 0:
        report(parked=parked, resident_kib=resident_kib())
    session.call_command("playback", "x.wav")


def headers(session: Any) -> None:
    names = ("variable_owner_verified", "Caller-Caller-ID-Name", "Unique-ID")
    report(headers={name: session.session_data.get(name) for name in names})


def scarce(session: Any) -> None:
    session.call_command("playback", "x.wav")


SCENARIOS: dict[str, Callable[[Any], None]] = {
    "headers": headers,
    "answer": lambda session: watched(session, session.answer),
    "inject": lambda session: watched(
        session,
        lambda: session.call_command(
            "playback", "a.wav\n\nsendmsg\ncall-command: execute\nexecute-app-name: hangup"
        ),
    ),
    "playback": lambda session: watched(session, lambda: session.playback("one.wav")),
    "limited": lambda session: watched(
        session,
        lambda: session.call_command("playback", "x.wav", block=True, response_timeout=0.2),
    ),
    "send": lambda session: watched(session, lambda: session.send("linger")),
    "long": lambda session: watched(
        session, lambda: session.call_command("playback", "x" * 20_000_000)
    ),
    "none": lambda session: watched(
        session,
        lambda: session.play_and_get_digits(1, 4, 2, 3000, "#", "menu.wav", None, "choice"),
    ),
    "park": park,
    "scarce": scarce,
}


class Application:
    """What greenswitch's server wants: a class made with the session, with ``run``."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def run(self) -> None:
        SCENARIOS[scenario](self.session)


if scenario == "scarce":
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
most = {"playback": 1}.get(scenario, 5000)
if kind == "stock":
    stock = OutboundESLServer("127.0.0.1", port, Application, max_connections=most)
    gevent.spawn(stock.listen)
else:
    ours = WorkerServer(
        ("127.0.0.1", port),
        lambda session: Application(session).run(),
        max_calls=most,
        connect_timeout_s=1.0,
        reply_timeout_s=0.5 if scenario == "send" else 60.0,
    )
    ours.start()
if scenario == "answer":
    gevent.spawn(tick)
gevent.sleep(0)
report(ready=True)
gevent.sleep(100)
