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
CALL_ID = b"00000000-0000-0000-0000-000000000000"
QUESTION = (
    f"api uuid_setvar_multi {CALL_ID.decode()} {PLACES}\n\n"
    "sendmsg\ncall-command: execute\nexecute-app-name: play_and_get_digits\n"
    f"content-type: text/plain\ncontent-length: {len(DIGITS)}\n\n{DIGITS}"
    f"getvar {VARIABLE}\n\n"
).encode()
ID_HEADER = b"\nUnique-ID: "
ANSWER = b"sendmsg\ncall-command: execute\nexecute-app-name: answer\n\n"
HANGUP = EXECUTE.format("hangup", "NORMAL_CLEARING").encode()


def converse(sock, address):
    """Write each piece and wait until as many empty lines have come as it has commands."""

    def exchange(data: bytes, replies: int) -> bytes:
        sock.sendall(data)
        seen = b""
        while replies > 0:
            data = sock.recv(16384)
            if not data:
                break
            replies -= (seen[-1:] + data).count(b"\n\n")
            seen += data
        return seen

    told = exchange(b"connect\n\n", 1)
    id_at = told.index(ID_HEADER) + len(ID_HEADER)
    question = QUESTION.replace(CALL_ID, told[id_at : id_at + len(CALL_ID)])
    exchange(ANSWER, 1)
    for _ in range(QUESTIONS):
        exchange(question, 3)
    exchange(HANGUP, 1)


server = StreamServer(("127.0.0.1", 0), converse, backlog=1024)
server.start()
watcher = ready.watch_with_gevent()
ready.say(server.server_port)
gevent.wait()
