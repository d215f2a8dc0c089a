"""Our session and server alone: the steps without flow, database and journal."""

import gevent
import ready
from steps import PLACE, PROMPT, QUESTIONS, VARIABLE

from esl_worker.server import WorkerServer
from esl_worker.session import (
    Session,
    execute_command,
    getvar_command,
    setvars_command,
    variable_of,
)


def converse(session: Session) -> None:
    """The steps, each question in one write."""
    session.execute("answer")
    for _ in range(QUESTIONS):
        replies = session.exchange(
            [
                setvars_command(session.uuid, PLACE),
                execute_command(
                    "play_and_get_digits",
                    f"1 1 1 7000 none {PROMPT} silence_stream://1 {VARIABLE} [0-9*#]+ 4000",
                ),
                getvar_command(VARIABLE),
            ],
            timeout_s=900.0,
        )
        assert variable_of(replies[-1]) == "1"
    session.execute("hangup", "NORMAL_CLEARING")


server = WorkerServer(("127.0.0.1", 0), converse, max_calls=5000)
server.start()
watcher = ready.watch_with_gevent()
ready.say(server.server_port)
gevent.wait()
