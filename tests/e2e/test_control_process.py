"""`callflows run --only worker` with control_addresses: one connection to each switch."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager

import gevent

from esl_worker.switch import Clock, InboundServer, SilentCaller, Switch, service_dialplan
from tests.half_open import HalfOpen


def eventually(condition, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "not in time"
        gevent.sleep(0.02)


@contextmanager
def worker(house):
    """The process, and what it has logged so far."""
    log = house.folder / "worker.log"
    with log.open("w") as file:
        process = house.start("run", "--only", "worker", stderr=file)
    try:
        yield process, log.read_text
    finally:
        process.kill()
        process.wait()


def test_a_worker_ends_calls_that_the_switch_has_lost(furnished):
    """The control port opens late; the connection comes all the same; a conversation whose call
    has gone without a word ends; SIGTERM then finds nothing to wait for."""
    host, _, port = furnished.environment["CALLFLOWS_WORKER_LISTEN"].rpartition(":")
    switch = Switch(service_dialplan(["127.0.0.1:1"]), furnished.folder, Clock(1.0), missing_s=60)
    control = InboundServer(switch, "pass word")
    control.init_socket()  # the port is ours, nobody answers yet
    furnished.environment["CALLFLOWS_CONTROL_ADDRESSES"] = f'["127.0.0.1:{control.server_port}"]'
    furnished.environment["CALLFLOWS_CONTROL_PASSWORD"] = "pass word"
    network = HalfOpen((host, int(port)))
    network.start()
    switch.dialplan = service_dialplan([f"127.0.0.1:{network.server_port}"])
    with worker(furnished) as (process, logged):
        eventually(lambda: "worker takes calls" in logged())
        channel = switch.call("2000", "02188776655", caller=SilentCaller())
        eventually(lambda: channel.answer_state == "answered")
        network.deaf = True
        channel.hang_up()
        control.start()
        eventually(lambda: "has no such call any more" in logged())
        eventually(lambda: "call ended, caller_gone" in logged())
        assert f"switch 127.0.0.1:{control.server_port}: connected" in logged()
        assert "pass word" not in logged()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    network.close()
    control.stop()


def test_addresses_without_a_password(house):
    """A clear error that names the key, at once."""
    done = house.run("run", "--only", "worker", CALLFLOWS_CONTROL_ADDRESSES='["127.0.0.1:8021"]')
    assert done.returncode == 1
    assert "control_password" in done.stderr
