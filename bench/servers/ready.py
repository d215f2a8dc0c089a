"""What every server under test does: say its port, and end when its parent does."""

import os
import sys


def say(port: int) -> None:
    """Tell the parent that calls are taken at `port`."""
    print(port, flush=True)


def end_with_parent() -> None:
    """Called when standard input can be read, which is when the parent has gone."""
    if not os.read(sys.stdin.fileno(), 1):
        os._exit(0)


def watch_with_gevent() -> object:
    """Let gevent's loop wait for the parent's end; keep the answer."""
    from gevent import get_hub

    watcher = get_hub().loop.io(sys.stdin.fileno(), 1)
    watcher.start(end_with_parent)
    return watcher
