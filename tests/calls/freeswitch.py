"""A FreeSWITCH of our own for a test: conf/freeswitch on loopback, in a folder that is thrown away.

The configuration is the shipped one; only values of vars.xml are changed, as a site does it. Added
are the far ends: a SIP profile that stands for payment system and customer care, where a transfer
is answered and hears `arrived/<number>.wav`; and a header with which a test chooses the language
as a dialplan would.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from esl_worker.frames import Frame, FrameReader

ROOT = Path(__file__).parent.parent.parent
CONFIGURATION = ROOT / "conf" / "freeswitch"
BINARY_VARIABLE = "CALLFLOWS_TEST_FREESWITCH"
# A folder of modules other than the switch's own.
MODULES_VARIABLE = "CALLFLOWS_TEST_FREESWITCH_MODULES"
# What a call cannot do without (mod_event_socket, by which we would ask, aside).
MODULES = ("mod_commands", "mod_dialplan_xml", "mod_dptools", "mod_sndfile", "mod_sofia")
START_S = 40.0
STOP_S = 10.0
PASSWORD = "only-for-this-test"

# A block of ports below those that the system hands out, by process: two runs do not meet.
_FIRST_PORT = 20000 + os.getpid() % 11 * 1000
SWITCH_PORTS = (_FIRST_PORT, _FIRST_PORT + 999)

LANGUAGE_HEADER = "X-Callflows-Language"
WORLD_HEADER = "X-Callflows-World"

_LANGUAGE = f"""
    <extension name="test_language" continue="true">
      <condition field="${{sip_h_{LANGUAGE_HEADER}}}" expression="^(fa|ar|ru|en)$">
        <action application="set" data="callflows_language=$1"/>
      </condition>
    </extension>
"""
_ARRIVALS = """
  <context name="arrivals">
    <extension name="arrived">
      <condition field="destination_number" expression="^([0-9]+)$">
        <action application="answer"/>
        <action application="playback" data="$${callflows_sounds_dir}/arrived/$1.wav"/>
        <action application="hangup" data="NORMAL_CLEARING"/>
      </condition>
    </extension>
  </context>
"""
_FAR_END = """
        <profile name="far_end">
          <settings>
            <param name="context" value="arrivals"/>
            <param name="dialplan" value="XML"/>
            <param name="sip-ip" value="127.0.0.1"/>
            <param name="sip-port" value="{port}"/>
            <param name="rtp-ip" value="127.0.0.1"/>
            <param name="rtp-timer-name" value="soft"/>
            <param name="inbound-codec-prefs" value="PCMU,PCMA"/>
            <param name="auth-calls" value="false"/>
          </settings>
        </profile>
"""


class SwitchError(RuntimeError):
    """The switch did not start or does not answer; the text says what its log says."""


class ModulesMissing(SwitchError):
    """The switch is there, but not all of it; the text names the modules."""


def find_binary() -> Path | None:
    """The freeswitch to test with: CALLFLOWS_TEST_FREESWITCH, else the one in PATH."""
    named = os.environ.get(BINARY_VARIABLE)
    found = shutil.which(named or "freeswitch")
    if named and not found:
        raise SwitchError(f"{BINARY_VARIABLE}: {named} is no program")
    return Path(found) if found else None


def free_ports(count: int) -> list[int]:
    """Ports that are free for TCP and UDP on loopback now."""
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            stream = stack.enter_context(socket.socket())
            stream.bind(("127.0.0.1", 0))
            port = stream.getsockname()[1]
            datagrams = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            try:
                datagrams.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    return found


class Freeswitch:
    """One switch.

    Args:
        binary: the program.
        folder: an empty folder for everything it writes.
        workers: addresses of its workers, as vars.xml has them.
        sounds: the folder of recordings.
        modules: further modules to load; names, or files.
        values: further values of vars.xml.
        dialplan: XML to put at the beginning of the context of incoming calls.
        arrivals: XML to put at the beginning of the context of the far ends.
    """

    def __init__(
        self,
        binary: Path,
        folder: Path,
        *,
        workers: str,
        sounds: Path,
        modules: tuple[str, ...] = (),
        values: Mapping[str, str] | None = None,
        dialplan: str = "",
        arrivals: str = "",
    ) -> None:
        self._binary = binary
        self._folder = folder
        self.missed = folder / "missed"
        self.records = folder / "cdr"
        self.sip_port, self.far_port, self.control_port, dead_port = free_ports(4)
        self._process: subprocess.Popen[bytes] | None = None
        self._configure(
            {
                "callflows_workers": workers,
                "callflows_sounds_dir": str(sounds),
                "callflows_missed_spool": str(self.missed),
                "callflows_payment_host": f"127.0.0.1:{self.far_port}",
                "callflows_care_host": f"127.0.0.1:{self.far_port}",
                "callflows_carrier_host": f"127.0.0.1:{self.far_port}",
                "callflows_sip_ip": "127.0.0.1",
                "callflows_rtp_ip": "127.0.0.1",
                "callflows_sip_port": str(self.sip_port),
                "callflows_trunks": "127.0.0.0/8",
                "callflows_trusted_trunks": "127.0.0.0/8",
                "callflows_from_trunks": "127.0.0.0/8",
                "callflows_control_port": str(self.control_port),
                "callflows_control_password": PASSWORD,
                "callflows_cdr_url": f"http://127.0.0.1:{dead_port}/cdr",
                "callflows_cdr_password": "own",
                "callflows_cdr_spool": str(self.records),
                "callflows_rtp_start_port": str(SWITCH_PORTS[0]),
                "callflows_rtp_end_port": str(SWITCH_PORTS[1]),
                **(values or {}),
            },
            modules,
            dialplan,
            arrivals,
        )

    def __enter__(self) -> Freeswitch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def address(self, number: str) -> str:
        """The SIP URI at which `number` is dialled."""
        return f"sip:{number}@127.0.0.1:{self.sip_port}"

    def start(self) -> None:
        """Start it and wait until it takes calls. Raises SwitchError, among them ModulesMissing."""
        folders = [
            word
            for name in ("conf", "log", "db", "run", "recordings", "temp")
            for word in (f"-{name}", str(self._folder / name))
        ]
        modules = os.environ.get(MODULES_VARIABLE)
        with (self._folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [
                    str(self._binary), "-nf", "-nc", "-nonat", "-np", *folders,
                    "-cfgname", "callflows.xml", "-scripts", str(self._folder / "conf/scripts"),
                    *(("-mod", modules) if modules else ()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        limit = time.monotonic() + START_S
        profiles = ("callflows", "far_end")
        while time.monotonic() < limit and self._process.poll() is None:
            try:
                states = [self.api(f"sofia status profile {name}") for name in profiles]
            except (OSError, SwitchError):
                states = []
            if states and all("URL" in state for state in states):
                return
            if states:
                self._check_modules()
            time.sleep(0.1)
        error = SwitchError(f"FreeSWITCH does not take calls:\n{self.log()[-3000:]}")
        self.stop()
        raise error

    def stop(self) -> None:
        """End it, calls and all."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def log(self) -> str:
        """Its log, or what it said before it had one."""
        for name in ("log/freeswitch.log", "output"):
            path = self._folder / name
            if path.is_file() and path.stat().st_size:
                return path.read_text(errors="replace")
        return ""

    def api(self, command: str) -> str:
        """Run a command through the event socket and return its answer."""
        reader = FrameReader()
        frames: list[Frame] = []
        with socket.create_connection(("127.0.0.1", self.control_port), timeout=5.0) as connection:

            def answer() -> Frame:
                while not frames:
                    data = connection.recv(65536)
                    if not data:
                        raise SwitchError("the event socket was closed")
                    frames.extend(reader.feed(data))
                return frames.pop(0)

            answer()
            connection.sendall(f"auth {PASSWORD}\n\n".encode())
            if not (answer().get("Reply-Text") or "").startswith("+OK"):
                raise SwitchError("the event socket refuses the password")
            connection.sendall(f"api {command}\n\n".encode())
            return answer().body.decode()

    def _check_modules(self) -> None:
        missing = [each for each in MODULES if self.api(f"module_exists {each}") != "true"]
        if missing and "is ready" in self.api("status"):
            self.stop()
            raise ModulesMissing(f"this FreeSWITCH has no {', '.join(missing)}")

    def _configure(
        self, values: Mapping[str, str], modules: tuple[str, ...], dialplan: str, arrivals: str
    ) -> None:
        folder = self._folder / "conf"
        shutil.copytree(CONFIGURATION, folder)
        for name in ("missed", "cdr", "log", "db", "run", "recordings", "temp"):
            (self._folder / name).mkdir()
        for name, value in values.items():
            _replace(
                folder / "callflows/vars.xml", rf'data="{name}=[^"]*"', f'data="{name}={value}"'
            )
        whole = folder / "callflows.xml"
        loads = [
            f'<load module="{Path(each).stem}" path="{Path(each).parent}"/>'
            if "/" in each
            else f'<load module="{each}"/>'
            for each in modules
        ]
        _replace(whole, r"(?=</modules>)", "".join(loads))
        _replace(
            whole,
            r'(?=<X-PRE-PROCESS cmd="include" data="sip_profiles/callflows.xml"/>)',
            _FAR_END.format(port=self.far_port),
        )
        _replace(whole, r'(?<=<section name="dialplan">)', _ARRIVALS)
        _replace(whole, r'(?<=<context name="arrivals">)', arrivals)
        _replace(
            folder / "dialplan/00_callflows.xml",
            r'(?<=<context name="callflows">)',
            _LANGUAGE + dialplan,
        )


def _replace(path: Path, pattern: str, text: str) -> None:
    """Replace the first place that matches; there must be one."""
    changed, count = re.subn(pattern, lambda _: text, path.read_text(encoding="utf-8"), count=1)
    if not count:
        raise SwitchError(f"{path.name} has no {pattern}")
    path.write_text(changed, encoding="utf-8")
