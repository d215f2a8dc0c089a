"""Stock greenswitch as its README shows it: async full, myevents, linger, blocking questions."""

import socket

import gevent
import ready
from greenswitch import OutboundESLServer
from steps import PROMPT, QUESTIONS, VARIABLE


class Conversation:
    """The steps; the server makes one for each call."""

    def __init__(self, session):
        self.session = session

    def run(self):
        session = self.session
        session.myevents()
        session.linger()
        session.answer()
        for _ in range(QUESTIONS):
            digit = session.play_and_get_digits(
                "1", "1", "1", "7000", "none", PROMPT, "silence_stream://1",
                VARIABLE, "[0-9*#]+", "4000", None, block=True, response_timeout=900,
            )  # fmt: skip
            assert digit == "1"
        session.hangup()
        session.stop()


with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]  # it cannot find a free one itself
server = OutboundESLServer(
    bind_address="127.0.0.1",
    bind_port=port,
    application=Conversation,
    max_connections=5000,
)
gevent.spawn(server.listen)
while server.bound_port is None:
    gevent.sleep(0.01)
watcher = ready.watch_with_gevent()
ready.say(port)
gevent.wait()
