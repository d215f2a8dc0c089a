"""What is measured: each group of figures, in rounds, everything beside its peers."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

from bench import house
from bench.premium import credit_pairs
from bench.process import Child, Server, SwitchProcess
from jobs.redis_server import EmbeddedRedis

Say = Callable[[str], None]

TRANSPORT = ["1"] * 6
SCRIPTS = {
    "worker": "our whole call",
    "transport": "our bare session",
    "stock": "stock greenswitch",
    "genesis_outbound": "genesis",
    "floor": "bare gevent",
}
OURS = {"worker", "crew"}
ASYNCHRONOUS = {"stock", "genesis_outbound"}


@dataclass
class Figure:
    """One line of the table. `limit` is the issue's: at most, or at least where `floor`."""

    title: str
    unit: str
    values: list[float] = field(default_factory=list)
    limit: float | None = None
    at_least: bool = False

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def passed(self) -> bool | None:
        """Whether the median keeps the limit; None without one."""
        if self.limit is None:
            return None
        return self.median >= self.limit if self.at_least else self.median <= self.limit


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    rounds: int = 5
    # What is still done when the last call is over: journals each second, stock's time-outs.
    settle_s: float = 1.4
    subscribers: int = 1000
    calls: int = 400
    at_once: int = 32
    media_s: float = 0.004
    parked: int = 2000
    parked_rounds: int = 3
    setups: int = 15
    rate: float = 60.0
    paced: int = 360
    pace_s: float = 1.2
    load_rounds: int = 3
    images: int = 8
    credit_callers: int = 64
    credit_pairs: int = 12_000
    accepted: int = 100
    crowd: int = 2000
    crowd_rate: float = 250.0
    crowd_s: float = 60.0
    # Six questions of that many seconds each: 2,000 calls at once when 250 begin each second.
    crowd_media_s: float = 1.2
    surplus: int = 300


QUICK = Scale(
    rounds=1,
    settle_s=0.1,
    subscribers=20,
    calls=20,
    at_once=8,
    parked=30,
    parked_rounds=1,
    setups=3,
    rate=20.0,
    paced=10,
    pace_s=0.05,
    load_rounds=1,
    images=1,
    credit_callers=8,
    credit_pairs=40,
    accepted=2,
    crowd=20,
    crowd_rate=40.0,
    crowd_s=1.0,
    crowd_media_s=0.1,
    surplus=5,
)


class Bench:
    """Starts what is measured and takes the figures."""

    def __init__(self, scale: Scale, peers: str | None, say: Say) -> None:
        self._scale = scale
        self._peers = peers
        self._say = say
        self._stack = ExitStack()

    def __enter__(self) -> Bench:
        self._folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="callflows-")))
        self._redis = EmbeddedRedis(self._folder / "redis")
        self._stack.callback(self._redis.stop)
        self._switch = SwitchProcess()
        self._stack.callback(self._switch.close)
        self._first = 0
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def cpu(self) -> list[Figure]:
        """CPU time a call costs its server: ours, the peers, the floor; round by round."""
        limits = {"worker": 1.5, "transport": 0.35}
        figures = {
            script: Figure(f"CPU a call, {SCRIPTS[script]}", "ms", limit=limits.get(script))
            for script in self._scripts("worker", "transport", "stock", "genesis_outbound", "floor")
        }
        with ExitStack() as stack:
            servers = {script: stack.enter_context(self._server(script)) for script in figures}
            for script, server in servers.items():
                self._say(f"warming up {script}")
                self._calls(server, calls=max(8, self._scale.calls // 4))
            for turn in range(self._scale.rounds):
                for script, server in servers.items():
                    self._say(f"CPU of a call, round {turn + 1} of {self._scale.rounds}: {script}")
                    # The slowest peer needs no more calls than that for the same precision.
                    calls = self._scale.calls // (4 if script == "genesis_outbound" else 1)
                    figures[script].values.append(self._cpu_ms(server, calls=calls))
        taken = list(figures.values())
        if "stock" in figures:
            pairs = zip(figures["worker"].values, figures["stock"].values, strict=True)
            share = [whole / bare for whole, bare in pairs]
            taken.append(Figure("our whole call / stock's bare", "", share, limit=1.0))
        return taken

    def memory(self) -> list[Figure]:
        """Memory of a call that waits in the menu, each round in fresh processes."""
        figures = {
            script: Figure(
                f"waiting call, {SCRIPTS[script]}",
                "KiB",
                limit=40.0 if script == "worker" else None,
            )
            for script in self._scripts("worker", "stock")
        }
        for turn in range(self._scale.parked_rounds):
            for script, figure in figures.items():
                self._say(
                    f"{self._scale.parked} waiting calls, "
                    f"round {turn + 1} of {self._scale.parked_rounds}: {script}"
                )
                with self._server(script) as server:
                    self._calls(server, calls=20, at_once=5)
                    time.sleep(self._scale.settle_s)
                    before = server.memory_kib()
                    self._calls(server, calls=self._scale.parked, park=True)
                    time.sleep(self._scale.settle_s)
                    figure.values.append((server.memory_kib() - before) / self._scale.parked)
                    self._switch.release()
        return list(figures.values())

    def setup(self) -> list[Figure]:
        """Time our side adds before the first prompt, one call after the other."""
        figures = {
            script: Figure(
                f"set-up p50, {SCRIPTS[script]}",
                "ms",
                limit=2.0 if script == "worker" else None,
            )
            for script in self._scripts("worker", "stock", "genesis_outbound")
        }
        with ExitStack() as stack:
            servers = {script: stack.enter_context(self._server(script)) for script in figures}
            for script, server in servers.items():
                self._say(f"warming up {script}")
                self._calls(server, calls=20)
            for turn in range(self._scale.rounds):
                for script, server in servers.items():
                    self._say(f"set-up, round {turn + 1} of {self._scale.rounds}: {script}")
                    # The gaps make calls come at any point of a polling loop's sleep.
                    result = self._calls(
                        server, calls=self._scale.setups, at_once=1, media_s=0.0, gap_s=0.2
                    )
                    figures[script].values.append(median(result.setup_ms))
        return list(figures.values())

    def load(self) -> list[Figure]:
        """The whole call at the pace of people: so many begin each second, each plays and waits."""
        rate = Figure("moderate load, calls", "1/s")
        step = Figure("moderate load, step p95", "ms")
        cpu = Figure("moderate load, CPU a call", "ms")
        with self._server("worker") as server:
            self._calls(server, calls=20)
            for turn in range(self._scale.load_rounds):
                self._say(f"moderate load, round {turn + 1} of {self._scale.load_rounds}")
                calls = self._scale.paced
                begun = server.cpu_s()
                result = self._calls(
                    server, calls=calls, rate=self._scale.rate, media_s=self._scale.pace_s
                )
                time.sleep(self._scale.settle_s)
                rate.values.append(self._scale.rate)
                step.values.append(quantiles(result.step_ms, n=20)[-1])
                cpu.values.append((server.cpu_s() - begun) * 1000 / calls)
        return [rate, step, cpu]

    def scale(self) -> list[Figure]:
        """Many calls at once on two cores: with one worker process and with two, and too many."""
        taken: list[Figure] = []
        for workers in (1, 2):
            judged = workers == 2
            name = f"scale, {workers} worker{'s' if judged else ''}"
            took = Figure(f"{name}: new calls", "1/s")
            most = Figure(
                f"{name}: calls at once",
                "",
                limit=self._scale.crowd if judged else None,
                at_least=True,
            )
            failed = Figure(f"{name}: failed", "", limit=0 if judged else None)
            step = Figure(f"{name}: step p95", "ms", limit=50.0 if judged else None)
            cpu = Figure(f"{name}: CPU a call", "ms")
            load = Figure(f"{name}: load generator's CPU a call", "ms")
            taken += [took, most, failed, step, cpu, load]
            with self._server("crew", workers, 5000) as server:
                self._calls(server, calls=40)
                self._say(f"{self._scale.crowd_rate:g} calls a second, {workers} workers")
                calls = round(self._scale.crowd_rate * self._scale.crowd_s)
                before = server.family_cpu_s(), self._switch.cpu_s()
                result = self._calls(
                    server,
                    calls=calls,
                    rate=self._scale.crowd_rate,
                    media_s=self._scale.crowd_media_s,
                    tolerant=True,
                )
                time.sleep(self._scale.settle_s)
                cpu.values.append((server.family_cpu_s() - before[0]) * 1000 / calls)
                load.values.append((self._switch.cpu_s() - before[1]) * 1000 / calls)
                took.values.append(calls / result.spawned_s)
                most.values.append(result.most_at_once)
                failed.values.append(calls - result.completed)
                step.values.append(quantiles(result.step_ms, n=20)[-1])
        return taken + self._admission()

    def _admission(self) -> list[Figure]:
        """Past the limit new calls are refused at once, and those that run go on to their end."""
        refusal = Figure("past the limit: refused after, p95", "ms", limit=100.0)
        wrong = Figure("past the limit: not refused", "", limit=0)
        failed = Figure("past the limit: running calls failed", "", limit=0)
        each = self._scale.crowd // 2
        with self._server("crew", 2, each) as server:
            self._say(f"{2 * each} calls wait, {self._scale.surplus} more come")
            self._calls(server, calls=2 * each, park=True, rate=self._scale.crowd_rate)
            result = self._calls(
                server, calls=self._scale.surplus, rate=100.0, refused=True, tolerant=True
            )
            refusal.values.append(quantiles(result.setup_ms, n=20)[-1])
            wrong.values.append(self._scale.surplus - result.refused)
            result = self._calls(server, calls=0, finish=True, media_s=4.0, tolerant=True)
            failed.values.append(2 * each - result.completed)
        return [wrong, refusal, failed]

    def images(self) -> list[Figure]:
        """Bill images of one core."""
        figure = Figure("bill images (PNG and PDF)", "1/s", limit=20.0, at_least=True)
        for turn in range(self._scale.rounds):
            self._say(f"bill images, round {turn + 1} of {self._scale.rounds}")
            child = Child(
                "bill images", [sys.executable, "-m", "bench.images", str(self._scale.images)]
            )
            try:
                figure.values.append(float(child.line(60.0)))
            finally:
                child.close()
        return [figure]

    def premium(self) -> list[Figure]:
        """Credit of premium calls, reserved and committed, everything on the disk."""
        rates = credit_pairs(
            self._folder,
            self._scale.credit_callers,
            self._scale.credit_pairs,
            self._scale.rounds,
            self._say,
        )
        limits = {"SQLite": 2000.0, "PostgreSQL": 1000.0}
        return [
            *(
                Figure(
                    f"credit reserve + commit, {name}", "1/s", values, limits[name], at_least=True
                )
                for name, values in rates.items()
            ),
            self._acceptance(),
        ]

    def _acceptance(self) -> Figure:
        """Our own time from dialling to the content, the digit pressed at once: p95 of a round."""
        figure = Figure("premium call, dial to content: own time, p95", "ms", limit=300.0)
        for turn in range(self._scale.rounds):
            self._say(f"acceptance of a premium call, round {turn + 1} of {self._scale.rounds}")
            count = self._scale.accepted
            child = Child("acceptance", [sys.executable, "-m", "bench.acceptance", str(count)])
            try:
                times = [float(child.line(60.0)) for _ in range(count)]
                figure.values.append(quantiles(times, n=20)[-1])
            finally:
                child.close()
        return figure

    def _scripts(self, *scripts: str) -> list[str]:
        return [each for each in scripts if self._peers or each not in ASYNCHRONOUS]

    @contextmanager
    def _server(self, script: str, *options: int) -> Iterator[Server]:
        if script in OURS:
            if not self._redis.url:
                self._say("a database with subscribers, a Redis")
                house.build(self._folder, self._scale.subscribers)
                self._redis.start()
            words = map(str, options)
            server = Server(script, sys.executable, str(self._folder), self._redis.url, *words)
        elif script in ASYNCHRONOUS:
            assert self._peers is not None
            server = Server(script, self._peers)
        else:
            server = Server(script)
        try:
            yield server
        finally:
            server.close()

    def _calls(self, server: Server, *, calls: int, **order: Any) -> Any:
        whole = server.name in OURS
        order = {"at_once": self._scale.at_once, "media_s": self._scale.media_s} | order
        result = self._switch.run(
            port=server.port,
            calls=calls,
            first=self._first,
            digits=house.CONVERSATION if whole else TRANSPORT,
            lines=self._scale.subscribers if whole else 1,
            asynchronous=server.name in ASYNCHRONOUS,
            **order,
        )
        self._first += calls
        return result

    def _cpu_ms(self, server: Server, *, calls: int) -> float:
        begun = server.cpu_s()
        self._calls(server, calls=calls)
        time.sleep(self._scale.settle_s)
        return (server.cpu_s() - begun) * 1000 / calls


GROUPS: dict[str, Callable[[Bench], list[Figure]]] = {
    "cpu": Bench.cpu,
    "memory": Bench.memory,
    "setup": Bench.setup,
    "load": Bench.load,
    "images": Bench.images,
    "premium": Bench.premium,
    "scale": Bench.scale,
}
