"""The parts as the configuration wants them."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from callflows.config import ConfigError, load
from cli.parts import Parts
from gateways.errors import Temporary


@pytest.fixture
def gateway():
    """An HTTP gateway that remembers what it got and answers as it is told."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        answer = b'{"result": {"id": 17}, "status": "ok"}'

        def _serve(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            got.append((self.command, self.path, self.headers.get("Authorization"), body))
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.answer)))
            self.end_headers()
            self.wfile.write(self.answer)

        do_GET = do_POST = _serve

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", got, Handler
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_http_gateway_with_the_settings_of_an_operator(gateway):
    """JSON template, basic authentication, what a good answer says, what names the message."""
    url, got, handler = gateway
    settings = load(
        sms_gateway="http",
        sms_http_url=url,
        sms_http_json={"dst": "{to}", "body": {"msg": "{text}"}},
        sms_http_user="me",
        sms_http_password="secret",
        sms_http_success='"status": "ok"',
        sms_http_reference="result.id",
    )
    receipt = Parts(settings).sms.send("+989121234567", "سلام", "k1")
    method, _, authorization, body = got[0]
    assert (method, json.loads(body)) == ("POST", {"dst": "+989121234567", "body": {"msg": "سلام"}})
    assert authorization.startswith("Basic ")
    assert receipt.reference == "17"
    handler.answer = b'{"status": "error", "message": "no credit"}'
    with pytest.raises(Temporary):
        Parts(settings).sms.send("+989121234567", "سلام", "k2")


def test_http_gateway_with_everything_in_the_url(gateway):
    """A gateway that wants a GET."""
    url, got, _ = gateway
    settings = load(
        sms_gateway="http", sms_http_url=f"{url}/send?to={{to}}&m={{text}}", sms_http_method="GET"
    )
    Parts(settings).sms.send("+989121234567", "a b&c", "k1")
    assert got[0][:2] == ("GET", "/send?to=%2B989121234567&m=a%20b%26c")


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"sms_http_json": {"a": "b"}}, "sms_http_json"),
        ({"sms_http_user": "x"}, "sms_http_password"),
        ({"sms_http_success": "("}, "sms_http_success"),
        ({"smtp_user": "x"}, "smtp_password"),
        ({"dashboard_listen": "0.0.0.0:9181"}, "dashboard_password"),
        ({"payment_key": "short"}, "payment_key"),
        ({"payment_key": "0123456789abcdef,short"}, "payment_key"),
        ({"payment_context": "a b"}, "payment_context"),
        ({"region": "ZZ"}, "region"),
        ({"services": {}}, "services"),
        ({"mail_from": "nonsense"}, "mail_from"),
        ({"smtp_ca_file": "/nope.pem"}, "smtp_ca_file"),
        ({"database_url": "sqlite://"}, "database_url"),
        ({"redis_url": "redis://:pw@[bad"}, "redis_url"),
    ],
)
def test_what_would_only_fail_later_is_named_now(wrong, key):
    """Nothing starts with a setting that its part would refuse; the key is named."""
    with pytest.raises(ConfigError, match=key):
        load(**wrong)


def test_an_empty_key_is_no_key(monkeypatch):
    """An empty variable means "not set": a secret is then generated, not empty."""
    monkeypatch.setenv("CALLFLOWS_LINK_KEY", "")
    assert len(load().secret("link_key")) == 64


def test_everything_is_under_state_dir(tmp_path):
    """One folder holds database and recordings unless they are configured apart."""
    settings = load(state_dir=tmp_path / "there")
    assert settings.database_url == f"sqlite:///{tmp_path}/there/callflows.db"
    assert settings.sounds_dir == tmp_path / "there" / "sounds"
