"""A FreeSWITCH of the tests' own: conf/freeswitch on loopback, in a folder that is thrown away.

CALLFLOWS_TEST_FREESWITCH names the program (default: the one in PATH), and
CALLFLOWS_TEST_FREESWITCH_MODULES a folder of modules other than its own. Only values of vars.xml
are changed, as a site does it.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from cli.switch_api import EventSocket, SwitchAway

CONFIGURATION = Path(__file__).parents[2] / "conf" / "freeswitch"
BINARY_VARIABLE = "CALLFLOWS_TEST_FREESWITCH"
MODULES_VARIABLE = "CALLFLOWS_TEST_FREESWITCH_MODULES"
PASSWORD = "only-for-this-test"
START_S = 30.0


def binary() -> str | None:
    """The program to test with."""
    return shutil.which(os.environ.get(BINARY_VARIABLE) or "freeswitch")


class PrivateSwitch:
    """Started on entering, ended on leaving; `values` replace those of vars.xml."""

    def __init__(self, folder: Path, **values: str) -> None:
        self.folder = folder
        self.control_port, self.sip_port, nobody = _free_ports(3)
        self.missed = folder / "missed"
        self.records = folder / "cdr"
        self._values = {
            "callflows_missed_spool": str(self.missed),
            "callflows_cdr_spool": str(self.records),
            "callflows_cdr_url": f"http://127.0.0.1:{nobody}/cdr",
            "callflows_cdr_password": "own",
            "callflows_control_port": str(self.control_port),
            "callflows_control_password": PASSWORD,
            "callflows_sip_ip": "127.0.0.1",
            "callflows_rtp_ip": "127.0.0.1",
            "callflows_sip_port": str(self.sip_port),
        } | values
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PrivateSwitch:
        configuration = self.folder / "conf"
        shutil.copytree(CONFIGURATION, configuration)
        variables = configuration / "callflows" / "vars.xml"
        text = variables.read_text("utf-8")
        for name, value in self._values.items():
            text, count = re.subn(rf'data="{name}=[^"]*"', f'data="{name}={value}"', text)
            assert count == 1, name
        variables.write_text(text, "utf-8")
        words = ["-nf", "-nc", "-nonat", "-np", "-cfgname", "callflows.xml"]
        for name in ("log", "db", "run", "missed", "cdr"):
            (self.folder / name).mkdir()
        for name in ("conf", "log", "db", "run"):
            words += [f"-{name}", str(self.folder / name)]
        words += ["-scripts", str(configuration / "scripts")]
        if modules := os.environ.get(MODULES_VARIABLE):
            words += ["-mod", modules]
        with (self.folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [str(binary()), *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def api(self, command: str) -> str:
        """The answer to an API command."""
        with EventSocket("127.0.0.1", self.control_port, PASSWORD) as switch:
            return switch.api(command)

    def log(self) -> str:
        """Everything it has logged."""
        file = self.folder / "log" / "freeswitch.log"
        return file.read_text(errors="replace") if file.is_file() else ""

    def _wait(self) -> None:
        assert self._process is not None
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._process.poll() is None:
            try:
                if "RUNNING" in self.api("sofia status"):
                    return
            except SwitchAway:
                pass
            time.sleep(0.05)
        raise RuntimeError(f"FreeSWITCH does not start:\n{self.log()[-3000:]}")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
