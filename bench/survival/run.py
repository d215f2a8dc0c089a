"""One run: a crew of workers, a switch, a caller, the killing; then the verdict."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gevent
from gevent import monkey
from sqlalchemy import select

from bench.survival.caller import SteadfastCaller
from bench.survival.doom import Doom, DoomedDatabase, doom_sessions
from bench.survival.plan import Plan
from billing.database import Database
from billing.journal import Call as StoredCall
from billing.journal import Journal as Store
from billing.schema import outbox
from callflows.bill_flow import BillFlow
from callflows.scripted import HangsUp, IsTransferred, Presses
from esl_worker import crew
from esl_worker.journal import JournalWriter
from esl_worker.journal_spool import take_in
from esl_worker.server import WorkerServer
from esl_worker.session import Session
from esl_worker.switch import listener as switch_listener
from esl_worker.switch.channel import Channel
from esl_worker.switch.clock import Clock
from esl_worker.switch.dialplan import service_dialplan
from esl_worker.switch.switch import Switch
from esl_worker.worker import Worker
from sounds import Catalogue
from tests.calls.scenario import Scenario
from tests.calls.world import ORDERS, World

SPEED = 250.0
# Virtual seconds of each recording: none are there, and a prompt must last long enough to die in.
RECORDING_S = 0.3
PROMPT_S = 8.0
# The worker's time is never compressed: what it has to connect in is not, either.
CONNECT_S = 25.0
CALL_S = 40.0
STOP_S = 10.0
JOURNAL_S = 0.05
PROMISES = {
    "sms.bill": "bill_sms_promised",
    "sms.app_links": "app_sms_promised",
    "sms.email_link": "email_sms_promised",
}
OUTCOMES = {"completed", "transferred", "caller_gone"}

_fork: Any = monkey.get_original("os", "fork")
_waitpid: Any = monkey.get_original("os", "waitpid")


@dataclass
class Verdict:
    """What became of a run; a fault begins with "dropped", "duplicate", "lost" or "journal"."""

    index: int
    kills: int = 0
    repeats: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """For the pipe between processes."""
        return json.dumps(asdict(self))


def carry_out(plan: Plan, folder: Path, catalogue: Catalogue) -> Verdict:
    """Do a run in `folder`, which holds its database `calls.db`, and judge it.

    The process must have no gevent loop yet: workers are forked from it.
    """
    begun = time.monotonic()
    doom = Doom(plan.moments)
    url = f"sqlite:///{folder}/calls.db"
    listener = crew.listen(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def serve(seat: crew.Seat) -> None:
        _serve(seat, plan, folder, catalogue, doom, url)

    pid = _fork()
    if pid == 0:
        code = 1
        try:
            crew.Crew(listener, plan.workers, serve, drain_s=STOP_S / 2).run()
            code = 0
        finally:
            os._exit(code)
    listener.close()
    caller, channel = _call(plan, folder, port, doom)
    os.kill(pid, signal.SIGTERM)
    verdict = Verdict(plan.index, doom.killed, caller.repeats)
    if not _ends(pid):
        verdict.faults.append("the workers do not end")
    verdict.faults += _conversation(plan, caller, channel, doom.killed)
    database = Database(url)
    verdict.faults += _orders(plan.scenario, caller, database)
    store = Store(database)
    # As the next worker to start would: one may have died when the others had stopped looking.
    take_in(folder / "journals", store)
    stored = store.read(channel.uuid)
    verdict.faults += _journal(plan.scenario, caller, stored, carried=doom.carried)
    database.close()
    verdict.seconds = time.monotonic() - begun
    return verdict


# -- the worker's process ---------------------------------------------------------------------


class _DoomedServer(WorkerServer):
    doom: Doom

    def _serve(self, sock: Any, address: Any) -> None:
        self.doom.carry()
        self.doom.tick("accepted")
        super()._serve(sock, address)


def _serve(
    seat: crew.Seat, plan: Plan, folder: Path, catalogue: Catalogue, doom: Doom, url: str
) -> None:
    world = World(folder, plan.scenario, furnished=DoomedDatabase(url, doom))
    doom_sessions(doom)
    journals = JournalWriter(
        Store(Database(url)), interval_s=JOURNAL_S, spool_dir=folder / "journals"
    )
    worker = Worker(
        world.services,
        {BillFlow.name: BillFlow},
        {"2000": "bill"},
        catalogue,
        folder,
        journals,
    )

    def handle(session: Session) -> None:
        worker(session)

    server = _DoomedServer(seat.listener, handle, siblings=seat)
    server.doom = doom
    journals.start()
    server.start()
    seat.report("serving", 0, 0, 0)
    seat.stop.wait()
    server.drain(seat.drain_s)
    journals.stop()


# -- the switch's process ---------------------------------------------------------------------


def _call(plan: Plan, folder: Path, port: int, doom: Doom) -> tuple[SteadfastCaller, Channel]:
    """Place the call and wait for its end."""
    switch_listener.FIRST_COMMAND_S = CONNECT_S * SPEED
    clock = Clock(SPEED)
    switch = Switch(service_dialplan([f"127.0.0.1:{port}"]), folder, clock, missing_s=RECORDING_S)

    def told(kind: str, seconds: float) -> None:
        for moment in doom.count(kind):
            if moment.kind == "key":
                doom.strike()
            else:
                clock.later(moment.share * seconds, doom.strike)

    obey = switch_listener.Listener._obey

    def watched(self: switch_listener.Listener, command: Any) -> bytes:
        if doom.count("frame"):
            doom.strike()
        return obey(self, command)

    switch_listener.Listener._obey = watched  # type: ignore[method-assign]
    world = World(folder, plan.scenario, furnished=Database(f"sqlite:///{folder}/calls.db"))
    caller = SteadfastCaller(plan.scenario, barge=plan.barge, told=told, happens=world.heard)
    for moment in doom.count("time"):
        clock.later(moment.share * len(caller.expected) * PROMPT_S, doom.strike)
    channel = switch.call(
        plan.scenario.dialled,
        plan.scenario.caller,
        variables=plan.scenario.variables,
        caller=caller,
    )
    channel.join(CALL_S)
    world.close()
    return caller, channel


def _ends(pid: int) -> bool:
    deadline = time.monotonic() + STOP_S
    while time.monotonic() < deadline:
        ended, _ = _waitpid(pid, os.WNOHANG)
        if ended:
            return True
        gevent.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    _waitpid(pid, 0)
    return False


# -- the verdict ------------------------------------------------------------------------------


def _conversation(plan: Plan, caller: SteadfastCaller, channel: Channel, kills: int) -> list[str]:
    """The call was not dropped, and went on in its state.

    Where a bill is paid meanwhile, a worker that takes over may find it paid before the caller asks
    for it: then only how the call ends is known.
    """
    if plan.scenario.meanwhile:
        heard = {key for prompt in caller.prompts for key in prompt}
        gone = channel.hangup_cause != "NORMAL_CLEARING" or "technical_trouble" in heard
        return [f"dropped: ended with {channel.hangup_cause}"] if gone else []
    faults = [f"dropped: the caller heard {astray}" for astray in caller.astray]
    if not caller.done:
        heard = " / ".join("+".join(prompt) for prompt in caller.prompts)[:2000]
        faults.append(f"dropped: the conversation did not reach its end; heard: {heard}")
    last = plan.scenario.script[-1]
    by = channel.hung_up_by
    if isinstance(last, IsTransferred):
        if channel.variables.get("arrived") != last.destination:
            faults.append(f"dropped: not transferred to {last.destination}")
    elif (by, channel.hangup_cause) != (
        "caller" if isinstance(last, HangsUp) else "application",
        "NORMAL_CLEARING",
    ):
        faults.append(f"dropped: ended by {by} with {channel.hangup_cause}")
    if caller.repeats > kills and not plan.scenario.counts_tries:
        faults.append(f"dropped: {caller.repeats} questions asked again after {kills} deaths")
    return faults


def _orders(scenario: Scenario, caller: SteadfastCaller, database: Database) -> list[str]:
    """What was promised is in the outbox, once."""
    statement = select(outbox.c.kind, outbox.c.payload).where(
        outbox.c.kind.in_(ORDERS), outbox.c.key.not_like("earlier:%")
    )
    with database.read() as connection:
        found = [(row.kind, json.loads(row.payload)["to"]) for row in connection.execute(statement)]
    expected = [(sent.kind, sent.to) for sent in scenario.sent]
    heard = {key for prompt in caller.prompts for key in prompt}
    faults = []
    for order in {*found, *expected}:
        more = found.count(order) - expected.count(order)
        if more < 0 and scenario.meanwhile and PROMISES[order[0]] not in heard:
            continue  # not promised, because it had been paid
        if more > 0:
            faults.append(f"duplicate: {order[0]} is there {found.count(order)} times")
        if more < 0:
            faults.append(f"lost: {order[0]} was promised and is not there")
    return faults


def _journal(
    scenario: Scenario, caller: SteadfastCaller, call: StoredCall | None, *, carried: bool
) -> list[str]:
    """Everything that was heard and pressed is there, in its order, and how the call ended.

    A call that no worker carried when it ended has nobody who could note that; its switch does.
    """
    if call is None:
        return ["journal: the call is not there"]
    faults = []
    outcome = call.header.outcome
    outcomes = OUTCOMES if scenario.meanwhile else {scenario.outcome}
    if outcome not in outcomes and (carried or outcome is not None):
        faults.append(f"journal: ended as {outcome}, not {scenario.outcome}")
    told = [
        tuple(phrase[0] for phrase in step.data["phrases"])
        for step in call.steps
        if step.kind == "heard"
    ]
    if not _holds(told, caller.prompts):
        faults.append(f"journal: heard {caller.prompts}, journal {told}")
    keys = [step.data["keys"] for step in call.steps if step.kind == "pressed"]
    pressed = [
        step.keys.rstrip("#") if len(step.keys) > 1 else step.keys
        for step in scenario.script
        if isinstance(step, Presses) and step.keys
    ]
    if not scenario.meanwhile and not _holds(keys, pressed):
        faults.append(f"journal: pressed {pressed}, journal {keys}")
    chosen = {step.data["method"] for step in call.steps if step.data.get("event") == "chose"}
    if outcome is not None and chosen != set(call.header.methods):
        faults.append(f"journal: ways to pay {call.header.methods}, steps {sorted(chosen)}")
    times = [step.at_ms for step in call.steps]
    if times != sorted(times):
        faults.append("journal: its times go back")
    return faults


def _holds(whole: list[Any], part: list[Any]) -> bool:
    """Whether `part` is in `whole`, in this order."""
    rest = iter(whole)
    return all(each in rest for each in part)


def quiet(folder: Path) -> Path:
    """Send this process's log into the run's folder."""
    path = folder / "log"
    logging.basicConfig(
        filename=path,
        level=logging.INFO,
        format="%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
        force=True,
    )
    return path
