"""The web application in a process of its own, over the database of a folder.

Usage: python -m gevent.monkey web_server.py FOLDER. Prints "port token token" (of two requests for
a bill by e-mail) once it takes connections. Its log goes to standard error, unmasked, so that a
test can see what the application itself would let out.
"""

import logging
import sys
from pathlib import Path

from billing.clock import SystemClock
from tests.web_house import house
from web import server

logging.basicConfig(level="DEBUG", stream=sys.stderr)
server.IDLE_S = 1.0

with house(Path(sys.argv[1]), clock=SystemClock()) as it:
    tokens = [it.ask(), it.ask()]

    def ready(host: str, port: int) -> None:
        print(port, *tokens, flush=True)

    server.serve(it.app, ("127.0.0.1", 0), ready)
    print("nudges", it.nudges, "mails", sum(job.kind == "email.bill" for job in it.jobs()))
