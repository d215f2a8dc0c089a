"""A private FreeSWITCH on loopback, with nothing but its event socket and a few numbers to call.

Found by CALLFLOWS_TEST_FREESWITCH (a binary) or on PATH.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

PASSWORD = "ClueCon"
MODULES = ("event_socket", "commands", "dptools", "loopback", "dialplan_xml", "tone_stream")

# What each number does, in the words of the dialplan. Kept like NUMBERS of the embedded switch.
DIALPLAN = {
    "answers": [("answer", ""), ("playback", "tone_stream://%(30000,0,440)")],
    "late": [("ring_ready", ""), ("sleep", "700"), ("answer", ""), ("sleep", "30000")],
    "never": [("ring_ready", ""), ("sleep", "30000")],
    "busy": [("hangup", "USER_BUSY")],
    "rejects": [("hangup", "CALL_REJECTED")],
    "unallocated": [("hangup", "UNALLOCATED_NUMBER")],
}

_CONFIG = """<?xml version="1.0"?>
<document type="freeswitch/xml">
  <section name="configuration">
    <configuration name="modules.conf"><modules>{modules}</modules></configuration>
    <configuration name="switch.conf"><settings>
      <param name="max-sessions" value="500"/>
      <param name="sessions-per-second" value="500"/>
      <param name="loglevel" value="err"/>
    </settings></configuration>
    <configuration name="event_socket.conf"><settings>
      <param name="nat-map" value="false"/>
      <param name="listen-ip" value="127.0.0.1"/>
      <param name="listen-port" value="{port}"/>
      <param name="password" value="{password}"/>
      {acl}
    </settings></configuration>
    <configuration name="acl.conf"><network-lists>
      <list name="nobody" default="deny"/>
    </network-lists></configuration>
    <configuration name="post_load_modules.conf"><modules/></configuration>
    <configuration name="pre_load_modules.conf"><modules/></configuration>
    <configuration name="timezones.conf"><timezones/></configuration>
  </section>
  <section name="dialplan"><context name="subscribers">{dialplan}</context></section>
  <section name="directory"/>
</document>
"""


def binary() -> str | None:
    """The FreeSWITCH to be used, None where there is none."""
    return os.environ.get("CALLFLOWS_TEST_FREESWITCH") or shutil.which("freeswitch")


class FreeSwitch:
    """One instance in `folder`; `start` may be called again after `stop` or `kill`."""

    def __init__(self, folder: Path, *, deny: bool = False) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        extensions = "".join(
            f'<extension name="{number}"><condition field="destination_number" '
            f'expression="^{number}$">'
            + "".join(f'<action application="{name}" data="{data}"/>' for name, data in actions)
            + "</condition></extension>"
            for number, actions in DIALPLAN.items()
        )
        for name in ("conf", "log", "db", "run"):
            (folder / name).mkdir()
        (folder / "conf" / "freeswitch.xml").write_text(
            _CONFIG.format(
                modules="".join(f'<load module="mod_{name}"/>' for name in MODULES),
                port=self.port,
                password=PASSWORD,
                acl='<param name="apply-inbound-acl" value="nobody"/>' if deny else "",
                dialplan=extensions,
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> FreeSwitch:
        """Start it and wait until its event socket listens."""
        folders = ("conf", "log", "db", "run")
        found = binary()
        assert found is not None
        self._process = subprocess.Popen(
            [found, "-nf", "-nc", "-nonat", "-nosql"]
            + [word for name in folders for word in (f"-{name}", str(self.folder / name))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                assert time.monotonic() < until, "FreeSWITCH does not listen"
                assert self._process.poll() is None, "FreeSWITCH has ended"
                time.sleep(0.05)

    def stop(self) -> None:
        """Tell it to go, as an operator does."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None
