"""A real HTTP SMS gateway for the tests, in a process of its own: `sms_http_server.py FOLDER`.

Prints its port. Every request becomes a line of FOLDER/requests.jsonl. The path says what shall
happen: /ok, /status/NNN (with Retry-After: 7), /once/NNN (that code at the first sight of a key),
/redirect, /hang (no answer), /drop (closes after the request), /odd (200 with a body that is no
JSON), /says/BODY (200 with that body), /trickle/line, /trickle/headers and /trickle/body (a byte
now and then, without end, from there on), /cut/BODY (closes before the promised end of it).
Answers of /ok hold {"id": "<number of distinct keys>"}.
"""

import json
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

BEFORE = {
    "line": b"HTTP/1.1 200 ",
    "headers": b"HTTP/1.1 200 OK\r\nX-Filler: ",
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
}

record = Path(sys.argv[1]) / "requests.jsonl"
lock = threading.Lock()
keys: list[str] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        key = self.headers.get("Idempotency-Key", "")
        with lock:
            first = key not in keys
            if first:
                keys.append(key)
            with record.open("a") as file:
                line = {"method": self.command, "path": self.path, "body": body}
                file.write(json.dumps(line | {"headers": dict(self.headers)}) + "\n")
        kind, _, rest = self.path.partition("?")[0].strip("/").partition("/")
        if kind == "hang":
            threading.Event().wait(30)
        elif kind == "drop":
            self.close_connection = True
        elif kind == "says":
            self.answer(200, unquote(rest).encode(), {})
        elif kind == "cut":
            self.close_connection = True
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            self.wfile.write(unquote(rest).encode())
        elif kind == "trickle":
            self.close_connection = True
            self.wfile.write(BEFORE[rest])
            with suppress(OSError):
                while True:
                    self.wfile.write(b"x")
                    threading.Event().wait(0.02)
        elif kind == "status" or (kind == "once" and first):
            self.answer(int(rest), b"", {"Retry-After": "7"})
        elif kind == "redirect":
            self.answer(302, b"", {"Location": "/ok"})
        else:
            self.answer(200, b"<fine>" if kind == "odd" else b'{"id": "%d"}' % len(keys), {})

    do_GET = do_POST = do_PUT = handle_any

    def answer(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_port, flush=True)
server.serve_forever()
