"""Our worker, put together as `callflows run --only worker` does; arguments: folder, Redis URL."""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402
import ready  # noqa: E402

from callflows import config, logs  # noqa: E402
from cli.parts import Parts  # noqa: E402
from cli.worker import make_server  # noqa: E402

MANY = 1_000_000


def main(folder: Path, redis_url: str) -> None:
    """Serve until the parent ends. The limits on SMS count, and are out of reach."""
    settings = config.load(
        state_dir=folder,
        database_url=f"sqlite:///{folder}/calls.db",
        redis_url=redis_url,
        worker_listen="127.0.0.1:0",
        max_calls=5000,
        services={"2000": "bill"},
        sms_per_caller_day=MANY,
        sms_per_destination_day=MANY,
        sms_per_destination_hour=MANY,
        sms_per_day=MANY,
    )
    logs.configure(settings.log_format, settings.log_level)
    server, journals = make_server(Parts(settings))
    journals.start()
    server.start()
    watcher = ready.watch_with_gevent()
    ready.say(server.server_port)
    gevent.wait()
    del watcher


main(Path(sys.argv[1]), sys.argv[2])
