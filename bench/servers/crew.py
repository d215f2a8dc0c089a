"""Our workers as `callflows run --only worker --workers N` runs them.

Arguments: folder, Redis URL, number of processes, calls at once for each.
"""

from gevent import monkey

monkey.patch_all()

import ctypes  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import ready  # noqa: E402

from bench.house import open_settings  # noqa: E402
from callflows import logs  # noqa: E402
from cli import worker_state  # noqa: E402
from cli.worker import run_workers  # noqa: E402
from esl_worker import crew  # noqa: E402

PAUSE = monkey.get_original("time", "sleep")


def members(folder: Path, port: int) -> list[dict[str, object]]:
    """The workers, as they report themselves."""
    found = [each for each in worker_state.read(folder) if each["listen"].endswith(f":{port}")]
    return found[0]["workers"] if found else []


def end_with_parent() -> None:
    """Have the system tell this process to stop when its parent has gone, however that went."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def main(folder: Path, redis_url: str, workers: int, max_calls: int) -> None:
    """Serve until the parent ends."""
    probe = crew.listen(("127.0.0.1", 0))
    port = probe.getsockname()[1]
    probe.close()
    settings = open_settings(
        folder,
        redis_url,
        worker_listen=f"127.0.0.1:{port}",
        workers=workers,
        max_calls=max_calls,
        drain_s=0.1,
    )
    logs.configure(settings.log_format, settings.log_level)
    crew.no_loop()
    pid = monkey.get_original("os", "fork")()
    if pid == 0:
        end_with_parent()
        run_workers(settings)
        os._exit(0)
    while sum(each["state"] == "serving" for each in members(folder, port)) < workers:
        PAUSE(0.05)
    ready.say(port)
    os.read(sys.stdin.fileno(), 1)
    os.kill(pid, signal.SIGTERM)


main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
