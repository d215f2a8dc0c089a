"""The web application over real HTTP, in another process."""

import json
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from sounds import Phrase, load_catalogue
from tests.web_house import PAYMENT_KEY, PRIVATE
from web.signing import signed_headers

HERE = Path(__file__).parent


class Server:
    """The process, its address, and the tokens of the requests that are open there."""

    def __init__(self, folder):
        self.folder = folder
        self.log = open(folder / "log", "w+")  # noqa: SIM115 - closed by stop
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gevent.monkey", str(HERE / "web_server.py"), str(folder)],
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            cwd=HERE.parent.parent,
            env={"PYTHONPATH": str(HERE.parent.parent)},
        )
        port, *self.tokens = self.process.stdout.readline().split()
        self.port = int(port)
        self.url = f"http://127.0.0.1:{port}"

    def stop(self):
        """Ask it to stop; its exit code, last words and log."""
        self.process.send_signal(signal.SIGTERM)
        words = self.process.communicate(timeout=15)[0]
        self.log.seek(0)
        log = self.log.read()
        self.log.close()
        return self.process.returncode, words, log


@pytest.fixture
def server(tmp_path):
    it = Server(tmp_path)
    yield it
    if it.process.poll() is None:
        it.process.kill()
        it.process.communicate()
    it.log.close()


def test_from_link_and_payment_to_outbox(server):
    """Page, form and payment report work over HTTP; SIGTERM ends the server in order; the log
    of all that holds no token, address, body or anything of the subscriber's.
    """
    with requests.Session() as session:
        link = f"{server.url}/e/{server.tokens[0]}"
        page = session.get(link, timeout=10)
        assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        done = session.post(link, data={"address": "me@example.com"}, timeout=10)
        assert load_catalogue().text(Phrase("page_done"), "fa") in done.text

        now = datetime.now(UTC)
        body = json.dumps(
            {
                "reference": "PAY-7",
                "bill_id": "7748317800142",
                "payment_id": "1770160",
                "amount": 17_000,
                "channel": "bank",
                "paid_at": now.isoformat(),
            }
        ).encode()
        answers = [
            session.post(
                f"{server.url}/payments",
                data=body,
                headers=signed_headers(PAYMENT_KEY, body, now),
                timeout=10,
            )
            for _ in range(2)
        ]
        assert [answer.status_code for answer in answers] == [202, 200]
        assert session.get(f"{server.url}/healthz", timeout=10).json() == {"status": "ok"}
    code, words, log = server.stop()
    assert code == 0, log
    assert words.split() == ["nudges", "2", "mails", "1"]
    assert "POST /payments 202" in log
    for secret in (*server.tokens, "me@example.com", "PAY-7", "7748317800142", *PRIVATE):
        assert secret not in log


def test_many_presses_at_once_send_one_mail(server):
    """Twelve simultaneous submissions of one form promise one mail, and none is an error."""

    def press(_number):
        return requests.post(
            f"{server.url}/e/{server.tokens[1]}", data={"address": "me@example.com"}, timeout=20
        ).status_code

    with ThreadPoolExecutor(12) as pool:
        codes = set(pool.map(press, range(12)))
    assert codes <= {200, 410}
    assert 200 in codes
    _, words, _ = server.stop()
    assert words.split()[-2:] == ["mails", "1"]


def test_silent_clients_are_let_go(server):
    """Clients that stop speaking are closed after the idle time, and their paths not logged."""
    openings = (b"", b"GET /e/secret-token HT", b"POST /payments HTTP/1.1\r\n")
    clients = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in openings]
    for client, opening in zip(clients, openings, strict=True):
        client.sendall(opening)
    for client in clients:
        with client:
            while client.recv(4096):
                pass  # whatever it says, it then closes
    assert requests.get(f"{server.url}/healthz", timeout=10).ok
    assert "secret-token" not in server.stop()[2]


def test_nonsense_on_the_wire(server):
    """Bytes that are no HTTP are refused and neither logged nor harmful."""
    for noise in (
        b"\x16\x03\x01\x02\x00\x01\x00secret-token\r\n\r\n",
        b"GET /e/secret-token HTTP/9.9\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(noise)
            assert client.recv(4096).startswith(b"HTTP/1.1 400")
    assert requests.get(f"{server.url}/healthz", timeout=10).ok
    assert "secret-token" not in server.stop()[2]
