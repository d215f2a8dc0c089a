"""The floor: the same bytes as transport.py, made once, on gevent's bare server.

Answers are counted, not read. Nothing that speaks the event socket in Python can cost less.
"""

import gevent
import ready
from gevent.server import StreamServer
from steps import PLACE, PROMPT, QUESTIONS, VARIABLE

EXECUTE = "sendmsg\ncall-command: execute\nexecute-app-name: {}\nexecute-app-arg: {}\n\n"
PLACES = "^^|" + "|".join(f"{name}={value}" for name, value in PLACE.items())
DIGITS = f"1 1 1 7000 none {PROMPT} silence_stream://1 {VARIABLE} [0-9*#]+ 4000"
QUESTION = (
    EXECUTE.format("multiset", PLACES)
    + EXECUTE.format("play_and_get_digits", DIGITS)
    + f"getvar {VARIABLE}\n\n"
).encode()
ANSWER = b"sendmsg\ncall-command: execute\nexecute-app-name: answer\n\n"
HANGUP = EXECUTE.format("hangup", "NORMAL_CLEARING").encode()


def converse(sock, address):
    """Write each piece and wait until as many empty lines have come as it has commands."""

    def exchange(data: bytes, replies: int) -> None:
        sock.sendall(data)
        seen = b""
        while replies > 0:
            data = sock.recv(16384)
            if not data:
                return
            seen = seen[-1:] + data
            replies -= seen.count(b"\n\n")

    exchange(b"connect\n\n", 1)
    exchange(ANSWER, 1)
    for _ in range(QUESTIONS):
        exchange(QUESTION, 3)
    exchange(HANGUP, 1)


server = StreamServer(("127.0.0.1", 0), converse, backlog=1024)
server.start()
watcher = ready.watch_with_gevent()
ready.say(server.server_port)
gevent.wait()
