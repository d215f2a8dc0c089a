"""Providers' CRM asked over real sockets: signed, in time, and only where that is allowed."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from gateways.crm import LONGEST_ANSWER, Crm

SECRET = b"a secret only for tests"
QUESTION = {"service": "9091234567", "caller": {"calls": 3}, "language": "fa", "name": "حافظ"}
TLS = Path(__file__).parents[1] / "data" / "tls"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A server's URL, and the file of the requests it got."""
    folder = tmp_path_factory.mktemp("crm")
    program = Path(__file__).with_name("sms_http_server.py")
    server = subprocess.Popen(
        [sys.executable, str(program), str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    try:
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}", folder / "requests.jsonl"
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def crm() -> Crm:
    """A CRM client that may ask this machine."""
    return Crm(SECRET, private=["127.0.0.1", "localhost"])


def says(body: str) -> str:
    """The path of an answer with this body."""
    return "/says/" + quote(body, safe="")


def test_a_result_comes_back(house: tuple[str, Path], crm: Crm) -> None:
    """The question is posted as JSON, signed under the provider's key, with a key of its own."""
    url, requests = house
    assert crm.ask(url + says('{"result": "gold"}') + "?x=1", "hafez", QUESTION, "k1", 5) == "gold"
    assert crm.ask(url + says('{"result": "gold"}'), "hafez", QUESTION, "k1", 5) == "gold"
    first, again = (json.loads(line) for line in requests.read_text().splitlines()[-2:])
    assert (first["method"], first["path"].partition("?")[2]) == ("POST", "x=1")
    assert json.loads(first["body"]) == QUESTION
    headers = first["headers"]
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == again["headers"]["Idempotency-Key"]
    stamp = headers["X-Callflows-Timestamp"]
    assert abs(int(stamp) - time.time()) < 60
    signed = f"{stamp}.".encode() + first["body"].encode()
    expected = hmac.new(crm.key("hafez").hex().encode(), signed, hashlib.sha256).hexdigest()
    assert headers["X-Callflows-Signature"] == expected
    assert crm.key("hafez") != crm.key("mehr")


@pytest.mark.parametrize(
    "path",
    [
        "/status/500",
        "/status/204",
        "/redirect",
        "/drop",
        "/odd",
        '/cut/{"result"',
        says(""),
        says("null"),
        says("[]"),
        says('{"result": 5}'),
        says('{"result": "../x"}'),
        says('{"result": "Gold"}'),
        says('{"result": ["gold"]}'),
        says('{"outcome": "gold"}'),
        says("[" * 5000),
        says('{"result": "' + "a" * 40 + '"}'),
        says('{"result": "gold", "x": "' + "a" * LONGEST_ANSWER + '"}'),
    ],
    ids=lambda path: path[:30],
)
def test_whatever_is_no_result_is_none(house: tuple[str, Path], crm: Crm, path: str) -> None:
    """Errors, redirects and odd answers lead to the fallback, and never to an exception."""
    assert crm.ask(house[0] + path, "hafez", QUESTION, "k", 5) is None


@pytest.mark.parametrize("path", ["/hang", "/trickle/line", "/trickle/headers", "/trickle/body"])
def test_a_slow_crm_is_not_waited_for(house: tuple[str, Path], crm: Crm, path: str) -> None:
    """The time is for the whole answer: a byte now and then does not hold a caller."""
    began = time.monotonic()
    assert crm.ask(house[0] + path, "hafez", QUESTION, "k", 0.4) is None
    assert time.monotonic() - began < 1.5


def test_nobody_there_is_none(crm: Crm) -> None:
    """A refused connection and an unknown host lead to the fallback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert crm.ask(f"http://127.0.0.1:{port}/", "hafez", QUESTION, "k", 2) is None
    assert crm.ask("https://crm.invalid/", "hafez", QUESTION, "k", 2) is None


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "localhost",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
        "0.0.0.0",
        "2130706433",
        "0x7f.1",
        "224.0.0.1",
        "100.64.0.1",
    ],
)
def test_no_inner_address_is_asked(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A provider's address cannot reach the operator's own machines, however it is written."""

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("connected")

    monkeypatch.setattr(socket, "create_connection", never)
    assert Crm(SECRET).ask(f"https://{address}/", "hafez", QUESTION, "k", 1) is None
    assert "not public" in caplog.text or "gaierror" in caplog.text or "ValueError" in caplog.text


def test_a_name_with_an_inner_address_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One name with a public and an inner address is refused whole; looked up once only."""
    looked: list[str] = []

    def lookup(host: str, port: int, **_: Any) -> list[Any]:
        looked.append(host)
        return [(2, 1, 6, "", ("93.184.216.34", port)), (2, 1, 6, "", ("10.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert Crm(SECRET).ask("https://crm.example/", "hafez", QUESTION, "k", 1) is None
    assert "not public" in caplog.text
    assert looked == ["crm.example"]


def test_without_tls_only_where_that_is_configured(
    house: tuple[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Callers' histories do not go over the wire in the clear."""
    assert Crm(SECRET).ask(house[0] + "/ok", "hafez", QUESTION, "k", 1) is None
    assert "TLS only" in caplog.text


@pytest.fixture
def tls_server() -> Iterator[int]:
    """A TLS server that answers each connection with a result; its certificate is the tests'."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "test-only-cert.pem", TLS / "test-only-key.pem")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(plain, server_side=True) as sock:
                    # Head and body may come apart, and closing on unread bytes resets.
                    asked = b""
                    while not asked.endswith(b"}"):
                        part = sock.recv(65536)
                        if not part:
                            break
                        asked += part
                    body = b'{"result": "gold"}'
                    sock.sendall(
                        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                    )
            except OSError:
                continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.close()


def test_the_certificate_is_checked(tls_server: int, caplog: pytest.LogCaptureFixture) -> None:
    """A trusted certificate of that name is talked to; another is not told anything."""
    ask: Callable[..., str | None] = Crm(
        SECRET, private=["localhost"], ca_file=str(TLS / "test-only-cert.pem")
    ).ask
    assert ask(f"https://localhost:{tls_server}/", "hafez", QUESTION, "k", 5) == "gold"
    untrusting = Crm(SECRET, private=["localhost"])
    assert untrusting.ask(f"https://localhost:{tls_server}/", "hafez", QUESTION, "k", 5) is None
    assert "SSLCertVerificationError" in caplog.text
