"""A crew of small workers, run by tests: each says its number and answers every line with it.

Arguments: port, size, seconds to drain, "good" or "bad" (what a reload would find).
A worker answers "leave" by dying, and "who" with its process id.
"""

from gevent import monkey

monkey.patch_all()

import logging  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402

from gevent._hub_local import get_hub_if_exists  # noqa: E402

from esl_worker import crew  # noqa: E402
from esl_worker.server import WorkerServer  # noqa: E402


def serve(seat):
    """Answer lines until told to stop; then until the last connection is closed."""
    if os.environ.get("CREW_TEST_DIES"):
        raise RuntimeError("dies of starting")

    def converse(sock, address):
        lines = sock.makefile("rw")
        for line in lines:
            if line.strip() == "leave":
                os._exit(3)
            lines.write(f"{os.getpid()}\n")
            lines.flush()

    server = WorkerServer(seat.listener, None, siblings=seat)
    server._serve = converse
    server.start()
    seat.report("serving", 0, 0, 0)
    seat.stop.wait()
    server.drain(seat.drain_s)


def told(members, stopping):
    """Show what the parent knows."""
    assert get_hub_if_exists() is None, "the parent has a loop"
    states = " ".join(f"{each['pid']}={each['state']}" for each in members)
    print(f"{'stopping' if stopping else 'running'} {states}", flush=True)


logging.basicConfig(level=logging.INFO, stream=sys.stderr)
port, size, drain_s, release = sys.argv[1:]
successor = ["/bin/true" if release == "good" else "/bin/false"]
listener = crew.listen(("127.0.0.1", int(port)))
crew.Crew(listener, int(size), serve, drain_s=float(drain_s), told=told, successor=successor).run()
