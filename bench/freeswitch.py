"""What a call costs on a real FreeSWITCH, switch and worker together: `python -m bench.freeswitch`.

The five-step call of docs/event-socket.md, 20 calls a second, with SIP callers and real RTP: ours
(sync), the same steps in the switch (mod_lua), and stock greenswitch (async), in turns. Needs a
freeswitch binary (CALLFLOWS_TEST_FREESWITCH or PATH); peers without which it goes are left out.
"""

from __future__ import annotations

import array
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import click
from rich.console import Console

from bench import report
from bench.figures import Figure, Say
from bench.process import SERVERS, BenchError, Child, Server
from sounds import wav
from tests.calls.freeswitch import (
    BINARY_VARIABLE,
    Freeswitch,
    SwitchError,
    find_binary,
)

QUESTIONS = 5
PROMPT_NAMES = ("one_system", "two_sms", "three_app", "four_read", "five_mail", "nine_again")
FRAGMENT_S = 0.3
# A caller presses when more than half of a prompt has been heard.
GAP_S = 1.0
TARGET = 1.3
SETTLE_S = 2.0

OURS = "callflows, sync"
LUA = "in the switch, mod_lua"
STOCK = "stock greenswitch, async"
NUMBERS = {OURS: "3001", LUA: "3002", STOCK: "3003"}


def make_sounds(folder: Path) -> None:
    """The fragments that bench/servers/steps.py names, as tones."""
    for index, name in enumerate(PROMPT_NAMES):
        count = round(FRAGMENT_S * wav.RATE_HZ)
        tone = 2 * math.pi * (400 + 100 * index) / wav.RATE_HZ
        samples = array.array("h", (round(6000 * math.sin(tone * n)) for n in range(count)))
        wav.write(folder / f"fa/menu/{name}.wav", samples)


def extension(number: str, application: str, argument: str) -> str:
    """A number of the dialplan that runs one application."""
    return (
        f'<extension name="bench_{number}"><condition field="destination_number"'
        f' expression="^{number}$"><action application="{application}" data="{argument}"/>'
        "</condition></extension>"
    )


def cpu_s(pid: int) -> float:
    """CPU time of all threads of a process, seconds (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


class Place:
    """A switch, and the servers that its numbers lead to."""

    def __init__(self, folder: Path, binary: Path, lua: str | None, peers: str | None) -> None:
        self._stack = ExitStack()
        sounds = folder / "sounds"
        make_sounds(sounds)
        os.environ["BENCH_SOUNDS"] = str(sounds)
        os.environ["BENCH_QUESTIONS"] = str(QUESTIONS)
        self.servers: dict[str, Server | None] = {}
        try:
            self.servers[OURS] = self._server("transport", sys.executable)
            if peers:
                self.servers[STOCK] = self._server("stock", peers)
            if lua:
                self.servers[LUA] = None
            self.switch = Freeswitch(
                binary,
                folder / "switch",
                workers="127.0.0.1:9",
                # Call records to disk: sending them is no part of what is compared.
                values={"callflows_cdr_url": ""},
                sounds=sounds,
                modules=(lua,) if lua else (),
                dialplan="".join(self._extensions(sounds)),
            )
            self._stack.callback(self.switch.stop)
            self.switch.start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End everything."""
        self._stack.close()

    def cpu_s(self, variant: str) -> tuple[float, float]:
        """CPU time so far of the switch and of the variant's own process, seconds."""
        server = self.servers[variant]
        return cpu_s(self.switch.pid), server.cpu_s() if server else 0.0

    def idle(self, seconds: float) -> float:
        """CPU time a second of a switch that does nothing."""
        begun = cpu_s(self.switch.pid)
        time.sleep(seconds)
        return (cpu_s(self.switch.pid) - begun) / seconds

    def calls(self, variant: str, calls: int, rate: float) -> None:
        """Make calls and wait until all are over. Raises BenchError where one went wrong."""
        child = Child("callers", [sys.executable, "-m", "bench.callers"])
        try:
            order = {
                "host": "127.0.0.1",
                "port": self.switch.sip_port,
                "number": NUMBERS[variant],
                "calls": calls,
                "rate": rate,
                "keys": QUESTIONS,
                "gap_s": GAP_S,
            }
            child.write(json.dumps(order) + "\n")
            ended = json.loads(child.line(calls / rate + 60))
        finally:
            child.close()
        if ended != {"good": calls}:
            raise BenchError(f"{variant}: {ended}\n{self.switch.log()[-1500:]}")

    def _server(self, script: str, python: str) -> Server:
        server = Server(script, python)
        self._stack.callback(server.close)
        return server

    def _extensions(self, sounds: Path) -> Iterator[str]:
        for variant, server in self.servers.items():
            if server is not None:
                mode = "async full" if variant == STOCK else "full"
                yield extension(NUMBERS[variant], "socket", f"127.0.0.1:{server.port} {mode}")
            else:
                prompt = "!".join(f"{sounds}/fa/menu/{name}.wav" for name in PROMPT_NAMES)
                script = f"{SERVERS}/steps.lua {QUESTIONS} file_string://{prompt}"
                yield extension(NUMBERS[variant], "lua", script)


def measure(place: Place, rounds: int, calls: int, rate: float, say: Say) -> list[Figure]:
    """CPU of a call for each variant, in turns, without what an idle switch needs."""
    variants = list(place.servers)
    parts = {
        (variant, part): Figure(f"{part}: {variant}", "ms")
        for variant in variants
        for part in ("switch", "worker")
    }
    whole = {variant: Figure(f"switch and worker: {variant}", "ms") for variant in variants}
    ratio = Figure("callflows beside mod_lua", "times", limit=TARGET)
    for variant in variants:
        say(f"warming up: {variant}")
        place.calls(variant, max(4, calls // 8), rate)
    for turn in range(rounds):
        idle = place.idle(2.0)
        for variant in variants:
            say(f"round {turn + 1} of {rounds}: {variant}")
            before, begun = place.cpu_s(variant), time.monotonic()
            place.calls(variant, calls, rate)
            time.sleep(SETTLE_S)
            after, seconds = place.cpu_s(variant), time.monotonic() - begun
            switch = (after[0] - before[0] - idle * seconds) * 1000 / calls
            worker = (after[1] - before[1]) * 1000 / calls
            parts[variant, "switch"].values.append(switch)
            parts[variant, "worker"].values.append(worker)
            whole[variant].values.append(switch + worker)
        if LUA in whole:
            ratio.values.append(whole[OURS].values[-1] / whole[LUA].values[-1])
    return [*parts.values(), *whole.values(), *([ratio] if ratio.values else [])]


@click.command()
@click.option("--lua", metavar="FILE", type=click.Path(exists=True, dir_okay=False),
              help="mod_lua.so; default: the one beside the switch's other modules.")  # fmt: skip
@click.option("--peers", metavar="PYTHON", type=click.Path(exists=True, dir_okay=False),
              callback=lambda _context, _option, path: path and os.path.abspath(path),
              help="Python of an environment with stock greenswitch.")  # fmt: skip
@click.option("--rounds", default=5, show_default=True)
@click.option("--calls", default=200, show_default=True, help="Calls in each round.")
@click.option("--rate", default=20.0, show_default=True, help="Calls begun a second.")
def main(lua: str | None, peers: str | None, rounds: int, calls: int, rate: float) -> None:
    """Measure the CPU of a call on FreeSWITCH.

    Ends with 1 when the target is missed, with 2 when it could not measure.
    """
    console, progress = Console(), Console(stderr=True, highlight=False)
    binary = find_binary()
    if binary is None:
        progress.print(f"NOT MEASURED: no freeswitch in {BINARY_VARIABLE} or PATH")
        sys.exit(2)

    def say(text: str) -> None:
        progress.print(text, style="dim")

    try:
        with TemporaryDirectory(prefix="callflows-") as folder:
            place = Place(Path(folder), binary, lua or shipped_lua(binary), peers)
            try:
                if LUA not in place.servers:
                    progress.print("mod_lua is not there: no comparison", style="yellow")
                figures = measure(place, rounds, calls, rate, say)
            finally:
                place.close()
    except (BenchError, SwitchError) as error:
        progress.print(str(error), style="red", markup=False)
        sys.exit(2)
    console.print(report.table(figures))
    shares = [figure for figure in figures if figure.limit is not None]
    if any(figure.passed is False for figure in shares):
        console.print(f"missed: {median(shares[0].values):.2f} times, at most {TARGET}")
        sys.exit(1)


def shipped_lua(binary: Path) -> str | None:
    """mod_lua where packages and a source build put modules."""
    prefix = binary.resolve().parent.parent
    for folder in (prefix / "mod", prefix / "lib/freeswitch/mod"):
        if (folder / "mod_lua.so").is_file():
            return str(folder / "mod_lua.so")
    return None


if __name__ == "__main__":
    main()
