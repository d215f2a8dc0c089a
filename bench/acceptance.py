"""Our own time in the acceptance part of a premium call, ms a call: from dialling to the content.

The embedded switch has no recordings to play, and what its player takes nevertheless (as a real
one's does, a quarter of a second each) is taken off; its caller presses the digit at once. So what
is left is ours: database, conversation, event socket, the switch's answers. Prints one number a
call. Run as a process of its own.
"""

from gevent import monkey

monkey.patch_all()

import io  # noqa: E402
import re  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from tempfile import TemporaryDirectory  # noqa: E402

from billing.importing import import_lines  # noqa: E402
from billing.premium.providers import Providers  # noqa: E402
from billing.premium.supervision import Supervision  # noqa: E402
from billing.premium.tariffs import parse_tariffs  # noqa: E402
from callflows import config, logs  # noqa: E402
from cli.parts import Parts  # noqa: E402
from cli.worker import make_server  # noqa: E402
from esl_worker.switch.caller import Collect, SilentCaller  # noqa: E402
from esl_worker.switch.channel import Channel  # noqa: E402
from esl_worker.switch.clock import Clock  # noqa: E402
from esl_worker.switch.dialplan import service_dialplan  # noqa: E402
from esl_worker.switch.switch import Switch  # noqa: E402

NUMBER = "9091234567"
LINES = "number,kind,first_name,last_name,language,mobile,email,address,postal_code\n"
CREDIT = 10**12
_DIGIT = re.compile(r"/number/([0-9])\.wav$")
_WORDS = {language: f"{language} 1" for language in ("fa", "ar", "ru", "en")}
SERVICE = {
    "number": NUMBER,
    "provider": "hafez",
    "category": "poetry",
    "names": _WORDS,
    "conditions": _WORDS,
    "tariffs": [
        {
            "from": "2026-01-01",
            "model": "per_minute",
            "price": 6000,
            "bands": [{"from": "08:00", "to": "20:00", "price": 9000}],
        }
    ],
    "content": {"tree": {"nodes": {"poem": {"type": "end", "say": _WORDS}}}},
}


class Keen(SilentCaller):
    """Presses the digit as soon as it is named, and hangs up when the content begins."""

    def __init__(self) -> None:
        self.connected_at = 0.0
        self.played_s = 0.0
        self._channel: Channel | None = None

    def attached(self, channel: Channel) -> None:
        """See `Caller`."""
        self._channel = channel

    def heard(self, files: tuple[str, ...], duration: float, collecting: Collect | None) -> None:
        """See `Caller`."""
        assert self._channel is not None
        if any("/tree/" in name for name in files):
            self.connected_at = time.monotonic()
            self._channel.hang_up()
            return
        named = [match[1] for name in files if (match := _DIGIT.search(name))]
        if collecting is not None and collecting.question and named:
            self._channel.press(named[-1])

    def prompt_ended(
        self, files: tuple[str, ...], seconds: float, collecting: Collect | None
    ) -> None:
        """See `Caller`."""
        if not self.connected_at:
            self.played_s += seconds


def furnish(parts: Parts, calls: int) -> None:
    """A line with credit for each call, and a published service."""
    database, clock, zone = parts.database, parts.clock, parts.settings.zone
    rows = "".join(f"{number_of(call)},fixed,A,B,fa,,,,\n" for call in range(calls))
    assert not import_lines(database, io.StringIO(LINES + rows)).rejected
    providers = Providers(database, clock)
    providers.add("hafez", "Hafez")
    (began,) = parse_tariffs([{"from": "2026-01-01", "model": "per_call", "price": 1}], zone)
    providers.agree("hafez", valid_from=began.valid_from, kind="b", share_bp=8000)
    supervision = Supervision(database, clock, zone)
    version = supervision.submit(SERVICE, "bench").version
    supervision.approve(NUMBER, version, "bench")
    credit, now = parts.premium.credit, clock.now()
    for call in range(calls):
        line = parts.premium.owner.owners.line_of(f"+98{number_of(call)[1:]}")
        assert line is not None
        database.write(lambda conn, of=line.id: credit.set_standing(conn, of, CREDIT, now))


def number_of(call: int) -> str:
    """The line of a call, as dialled."""
    return f"02188{call:06d}"


def measure(folder: Path, calls: int) -> list[float]:
    """The times of so many calls, one after the other, ms; the first ones warm everything up."""
    settings = config.load(
        state_dir=folder,
        database_url=f"sqlite:///{folder}/calls.db",
        worker_listen="127.0.0.1:0",
        log_level="ERROR",
    )
    logs.configure(settings.log_format, settings.log_level)
    parts = Parts(settings)
    warm = max(2, calls // 10)
    furnish(parts, calls + warm)
    server, journals = make_server(parts)
    journals.start()
    server.start()
    dialplan = service_dialplan([f"127.0.0.1:{server.server_port}"])
    switch = Switch(dialplan, folder, Clock(1.0), missing_s=0.0)
    times = []
    for call in range(calls + warm):
        caller = Keen()
        dialled_at = time.monotonic()
        switch.call(NUMBER, number_of(call), caller=caller).join()
        if not caller.connected_at:
            raise RuntimeError(f"call {call} did not reach the content")
        times.append((caller.connected_at - dialled_at - caller.played_s) * 1000)
    server.drain(5.0)
    journals.stop()
    return times[warm:]


if __name__ == "__main__":
    with TemporaryDirectory(prefix="callflows-") as name:
        for ms in measure(Path(name), int(sys.argv[1])):
            print(f"{ms:.1f}", flush=True)
