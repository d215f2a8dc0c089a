"""conf/freeswitch, the apology script and the doctor on a real FreeSWITCH.

Skipped, and said so, where there is none (see tests/calls/freeswitch.py for how to name one).
"""

from __future__ import annotations

import json
import socket
import threading
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing import missed
from callflows.config import Settings
from cli.doctor import examine
from esl_worker.frames import FrameReader
from sounds import load_catalogue
from tests.calls.freeswitch import BINARY_VARIABLE, PASSWORD, Freeswitch, find_binary


class HangingUp:
    """A worker that reads a call's data, keeps it, and ends the call."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.calls: list[dict[str, str]] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer:
                peer.sendall(b"connect\n\n")
                reader, frames = FrameReader(), []
                while not frames:
                    frames = reader.feed(peer.recv(65536))
                self.calls.append(frames[0].headers)
                peer.sendall(b"sendmsg\ncall-command: hangup\nhangup-cause: UNALLOCATED_NUMBER\n\n")
                while peer.recv(65536):
                    pass

    def call_to(self, number: str) -> dict[str, str] | None:
        """The data of a call to this number, if there was one."""
        called = (each for each in self.calls if each["Caller-Destination-Number"] == number)
        return next(called, None)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """The apology's recordings, each a tenth of a second of silence."""
    folder = tmp_path_factory.mktemp("sounds")
    for language in ("fa", "ar", "ru", "en"):
        for name in load_catalogue().script(language):
            if "technical_trouble" in name.key:
                _silence(folder / name.key)
    _silence(folder / "silence/0300.wav")
    _silence(folder / "arrived/02188776655.wav")
    return folder


def _silence(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(file), "wb") as recording:
        recording.setparams((1, 2, 8000, 0, "NONE", ""))
        recording.writeframes(bytes(1600))


@pytest.fixture(scope="module")
def worker() -> Iterator[HangingUp]:
    taking = HangingUp()
    yield taking
    taking.close()


@pytest.fixture(scope="module")
def binary() -> Path:
    """The program."""
    found = find_binary()
    if found is None:
        pytest.skip(f"no freeswitch in PATH or {BINARY_VARIABLE}: nothing was tried on a real one")
    return found


@pytest.fixture(scope="module")
def switch(binary, tmp_path_factory, recordings, worker) -> Iterator[Freeswitch]:
    """One with a worker, whose payment system is always busy."""
    with Freeswitch(
        binary,
        tmp_path_factory.mktemp("switch"),
        workers=worker.address,
        sounds=recordings,
        values={"callflows_payment_route": "error/USER_BUSY"},
    ) as running:
        yield running


@pytest.fixture(scope="module")
def alone(binary, tmp_path_factory, recordings) -> Iterator[Freeswitch]:
    """One whose workers are all away."""
    with Freeswitch(
        binary, tmp_path_factory.mktemp("alone"), workers="127.0.0.1:1", sounds=recordings
    ) as running:
        yield running


def test_the_configuration_loads_without_an_error(switch):
    """No variable is missing, no file is not found, nothing of ours is refused."""
    said = [
        line
        for line in switch.log().splitlines()
        if ("[ERR]" in line or "[CRIT]" in line) and "mod_python3" not in line
    ]
    assert [
        line for line in said if "Socket Error" not in line and "mod_json_cdr" not in line
    ] == []


def test_the_doctor_finds_it_well(switch, recordings, tmp_path, poll):
    """On the real thing: every check of a switch passes, but for a module that is not installed."""
    settings = Settings(
        state_dir=tmp_path,
        sounds_dir=recordings,
        control_addresses=[f"127.0.0.1:{switch.control_port}"],
        control_password=PASSWORD,
    )
    before = switch.api("show calls count")
    found = [
        finding
        for finding in examine(settings, load_catalogue())
        if finding.subject.startswith("127.0.0.1:")
    ]
    failed = {
        finding.subject.partition(": ")[2]: finding.text
        for finding in found
        if finding.state == "FAIL"
    }
    # The tests give nobody to call for customer care.
    failed.pop("gateway callflows_care", None)
    if switch.api("module_exists mod_python3") != "true":
        assert failed.pop("modules").startswith("mod_python3")
    assert failed == {}
    assert len(found) >= 15
    # The list of calls is written down a little later than they end.
    poll(lambda: switch.api("show calls count") == before, "none of its channels is left")
    assert "callflows_doctor" not in switch.api("global_getvar")


def test_a_campaigns_call_leaves_by_the_carrier(switch):
    """The default dial_string is a gateway of the shipped configuration; somebody answers there."""
    endpoint = Settings().dial_string.format(national="02188776655")
    answer = switch.api(f"originate {{process_cdr=false}}{endpoint} &hangup")
    assert answer.startswith("+OK"), answer
    # By which the dialer knows whether it died with a call (`Originator.up_s`).
    assert switch.api("uptime s").strip().isdecimal()


def test_a_call_reaches_the_worker_without_a_number_that_nobody_asserts(switch, worker, poll):
    """What an originator claims to be is removed; the dialled number is kept."""
    switch.api(
        "bgapi originate {origination_caller_id_number=02188776655,process_cdr=false}"
        "loopback/2000/callflows &park"
    )
    call = poll(lambda: worker.call_to("2000"), "the worker gets the call")
    assert call["variable_callflows_dialled"] == "2000"
    assert call["Caller-Caller-ID-Number"] == "anonymous"


def test_a_failed_transfer_comes_back_to_a_worker(switch, worker, poll):
    """The payment system is busy: the same channel is offered to the worker again."""
    switch.api("bgapi originate {process_cdr=false}loopback/9990/payment &park")
    call = poll(lambda: worker.call_to("9990"), "the call comes back")
    assert call["Caller-Context"] == "payment"
    assert call["variable_originate_disposition"] == "USER_BUSY"


def test_without_a_worker_the_caller_hears_an_apology(alone, poll):
    """The call is answered, told so and ended, and its record waits on the disk."""
    alone.api("bgapi originate loopback/2000/callflows &park")
    record = poll(
        lambda: next(iter(sorted(alone.records.glob("*.cdr.json"))), None), "a call record", 20.0
    )
    poll(lambda: record.read_text().endswith("}\n"), "the whole record")
    said = json.loads(record.read_text())
    assert said["variables"]["hangup_cause"] == "NORMAL_TEMPORARY_FAILURE"
    assert int(said["variables"]["billmsec"]) > 0


def test_without_a_worker_the_call_is_noted_and_taken_in(alone, poll, database):
    """mod_python3's script writes the note; `callflows missed` takes it in."""
    if alone.api("module_exists mod_python3") != "true":
        pytest.skip("this FreeSWITCH has no mod_python3: the note of a missed call was not tried")
    alone.api(
        "bgapi originate {process_cdr=false,callflows_language=ru,callflows_state=menu}"
        "loopback/2000/callflows &park"
    )
    note = poll(
        lambda: next(
            (
                file
                for file in alone.missed.glob("*.json")
                if json.loads(file.read_text())["dialled"] == "2000"
            ),
            None,
        ),
        "the note",
        20.0,
    )
    assert set(json.loads(note.read_text())) >= {"call_id", "at", "caller", "language", "state"}
    intake = missed.take_in(database, alone.missed)
    assert intake.taken >= 1
    assert intake.rejected == []
    assert missed.anonymous(database) >= 1
