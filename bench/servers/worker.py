"""Our worker, put together as `callflows run --only worker` does; arguments: folder, Redis URL."""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402
import ready  # noqa: E402

from bench.house import open_settings  # noqa: E402
from callflows import logs  # noqa: E402
from cli.parts import Parts  # noqa: E402
from cli.worker import make_server  # noqa: E402


def main(folder: Path, redis_url: str) -> None:
    """Serve until the parent ends."""
    settings = open_settings(folder, redis_url, worker_listen="127.0.0.1:0", max_calls=5000)
    logs.configure(settings.log_format, settings.log_level)
    server, journals = make_server(Parts(settings))
    journals.start()
    server.start()
    watcher = ready.watch_with_gevent()
    ready.say(server.server_port)
    gevent.wait()
    del watcher


main(Path(sys.argv[1]), sys.argv[2])
