"""SMS over HTTP, against a real server in another process."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from gateways.errors import Permanent, Temporary
from gateways.http_sms import HttpSms
from gateways.keys import message_token

CERT = Path(__file__).parent.parent / "data" / "tls" / "test-only-cert.pem"
TO = "+989121234567"
TEXT = "مبلغ ۱۷٬۰۰۰ ریال & {to} = 100%"
FORM = {"recipient": "{to}", "body": "{text}", "ref": "{key}", "from": "2000"}


def test_a_form_is_filled_in(sms_server):
    """Number, text and key arrive exactly; braces within the text are not placeholders."""
    gateway = HttpSms(
        sms_server.url + "/ok",
        form=FORM,
        headers={"Authorization": "Bearer secret"},
        reference_field="id",
    )
    receipt = gateway.send(TO, TEXT, "call-1/sms")
    (request,) = sms_server.requests()
    assert request["method"] == "POST"
    token = message_token("call-1/sms")
    assert parse_qs(request["body"]) == {
        "recipient": [TO],
        "body": [TEXT],
        "ref": [token],
        "from": ["2000"],
    }
    assert request["headers"]["Idempotency-Key"] == token
    assert request["headers"]["Authorization"] == "Bearer secret"
    assert (receipt.reference, receipt.parts) == ("1", 1)


def test_json_of_any_nesting_is_filled_in(sms_server):
    """Lists and objects are followed; what is not text stays as it is."""
    body = {"messages": [{"to": ["{to}"], "text": "«{text}»", "flash": False}]}
    HttpSms(sms_server.url + "/ok", json=body, basic_auth=("u", "p")).send(TO, TEXT, "k")
    (request,) = sms_server.requests()
    assert json.loads(request["body"]) == {
        "messages": [{"to": [TO], "text": f"«{TEXT}»", "flash": False}]
    }
    assert request["headers"]["Authorization"].startswith("Basic ")


def test_a_url_is_filled_in_percent_encoded(sms_server):
    """A text with & and = stays one parameter."""
    HttpSms(sms_server.url + "/ok?to={to}&text={text}", method="GET").send(TO, TEXT, "k")
    (request,) = sms_server.requests()
    assert parse_qs(urlsplit(request["path"]).query) == {"to": [TO], "text": [TEXT]}


@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_refused_message_is_permanent(sms_server, code):
    """The codes that are about this message end its attempts."""
    with pytest.raises(Permanent) as caught:
        HttpSms(f"{sms_server.url}/status/{code}", form=FORM).send(TO, TEXT, "k")
    assert caught.value.reason == f"SMS gateway: HTTP {code}"


@pytest.mark.parametrize(
    ("code", "maybe_sent"),
    [(500, True), (503, False), (429, False), (401, False), (404, False), (405, False)],
)
def test_any_other_code_is_temporary(sms_server, code, maybe_sent):
    """Also what our settings are to blame for (password, address, method): the message is good.
    Retry-After is handed on.
    """
    with pytest.raises(Temporary) as caught:
        HttpSms(f"{sms_server.url}/status/{code}", form=FORM).send(TO, TEXT, "k")
    assert caught.value.reason == f"SMS gateway: HTTP {code}"
    assert caught.value.retry_after_s == 7
    assert caught.value.maybe_sent is maybe_sent


def test_the_retry_carries_the_same_key(sms_server):
    """The gateway recognises the repetition of a message it failed on."""
    gateway = HttpSms(sms_server.url + "/once/500", form=FORM)
    with pytest.raises(Temporary):
        gateway.send(TO, TEXT, "k")
    gateway.send(TO, TEXT, "k")
    first, second = sms_server.requests()
    assert first["headers"]["Idempotency-Key"] == second["headers"]["Idempotency-Key"]


def test_which_codes_mean_what_can_be_set(sms_server):
    """An operator that says 200 for queued and 500 for a bad number."""
    gateway = HttpSms(sms_server.url + "/status/500", form=FORM, permanent={500})
    with pytest.raises(Permanent):
        gateway.send(TO, TEXT, "k")
    HttpSms(sms_server.url + "/status/418", form=FORM, success={418}).send(TO, TEXT, "k2")


def test_no_answer_in_time_may_have_been_sent(sms_server):
    """The message is tried again, at this gateway only."""
    with pytest.raises(Temporary, match="no answer in time") as caught:
        HttpSms(sms_server.url + "/hang", form=FORM, timeout_s=0.2).send(TO, TEXT, "k")
    assert caught.value.maybe_sent


@pytest.mark.parametrize("where", ["line", "headers"])
def test_an_answer_that_trickles_is_given_up(sms_server, where):
    """A byte now and then does not hold a consumer: the whole answer has its time."""
    begun = time.monotonic()
    with pytest.raises(Temporary, match="no answer in time") as caught:
        HttpSms(f"{sms_server.url}/trickle/{where}", form=FORM, timeout_s=0.3).send(TO, TEXT, "k")
    assert time.monotonic() - begun < 3
    assert caught.value.maybe_sent


def test_an_encrypted_answer_that_trickles_is_given_up(trickling_server):
    """The same through TLS."""
    port = trickling_server(b"HTTP/1.1 200 OK\r\nX-Filler: ", b"x", tls=True)
    gateway = HttpSms(f"https://localhost:{port}", form=FORM, timeout_s=0.5, ca_file=str(CERT))
    begun = time.monotonic()
    with pytest.raises(Temporary, match="no answer in time"):
        gateway.send(TO, TEXT, "k")
    assert time.monotonic() - begun < 5


def test_a_body_that_trickles_is_given_up(sms_server):
    """The code says success, and nothing in the body is asked for: the message is sent. Where the
    body must say it, nobody knows.
    """
    begun = time.monotonic()
    url = f"{sms_server.url}/trickle/body"
    HttpSms(url, form=FORM, timeout_s=0.3).send(TO, TEXT, "k")
    with pytest.raises(Temporary, match="means success") as caught:
        HttpSms(url, form=FORM, timeout_s=0.3, success_pattern="fine").send(TO, TEXT, "k2")
    assert caught.value.maybe_sent
    assert time.monotonic() - begun < 5


def test_a_connection_serves_again_with_a_deadline_of_its_own(sms_server):
    """Two messages, one after the other's time has passed, over one connection."""
    gateway = HttpSms(sms_server.url + "/ok", form=FORM, timeout_s=0.5, reference_field="id")
    ports = set()
    for key in ("k1", "k2"):
        gateway.send(TO, TEXT, key)
        (pool,) = gateway._session.get_adapter(sms_server.url).poolmanager.pools._container.values()
        ports.add(pool.pool.queue[-1].sock.getsockname()[1])
        threading.Event().wait(0.6)
    assert len(ports) == 1


def test_a_200_that_says_no_is_not_sent(sms_server):
    """A pattern that the body must show; the reason repeats nothing of the answer."""
    pattern = r'"status":\s*(0|"ok")'
    gateway = HttpSms(sms_server.url + '/says/{"status": "ok"}', form=FORM, success_pattern=pattern)
    gateway.send(TO, TEXT, "k")
    no = sms_server.url + '/says/{"status": 13, "to": "+989121234567"}'
    with pytest.raises(Temporary) as caught:
        HttpSms(no, form=FORM, success_pattern=pattern).send(TO, TEXT, "k")
    assert "HTTP 200" in caught.value.reason
    assert "912" not in caught.value.reason
    # The gateway has said no, so another one may be asked.
    assert not caught.value.maybe_sent


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ({"return": {"status": 200}, "entries": [{"id": 7}]}, True),
        ({"return": {"status": "200"}, "entries": [{"id": 7}]}, False),
        ({"return": {"status": 411}, "entries": None}, False),
        ({"return": 200}, False),
        ([], False),
        ("<fine>", False),
    ],
)
def test_members_of_the_answer_that_must_be_right(sms_server, body, sent):
    """Named with dots, compared as JSON values; the reference is found the same way."""
    text = body if isinstance(body, str) else json.dumps(body)
    gateway = HttpSms(
        f"{sms_server.url}/says/{text}",
        form=FORM,
        success_fields={"return.status": 200},
        reference_field="entries.0.id",
    )
    if sent:
        assert gateway.send(TO, TEXT, "k").reference == "7"
    else:
        with pytest.raises(Temporary, match="means success"):
            gateway.send(TO, TEXT, "k")


def test_true_is_not_one(sms_server):
    """JSON's true and 1 are different values."""
    gateway = HttpSms(sms_server.url + '/says/{"ok": 1}', form=FORM, success_fields={"ok": True})
    with pytest.raises(Temporary, match="means success"):
        gateway.send(TO, TEXT, "k")


def test_an_answer_that_breaks_off(sms_server):
    """Half an answer says neither yes nor no."""
    gateway = HttpSms(sms_server.url + '/cut/{"ok"', form=FORM, success_fields={"ok": True})
    with pytest.raises(Temporary, match="means success") as caught:
        gateway.send(TO, TEXT, "k")
    assert caught.value.maybe_sent


def test_a_dropped_connection_may_have_been_sent(sms_server):
    """As with an answer that does not come."""
    with pytest.raises(Temporary, match="connection failed") as caught:
        HttpSms(sms_server.url + "/drop", form=FORM).send(TO, TEXT, "k")
    assert caught.value.maybe_sent


def test_a_refused_connection_was_surely_not_sent():
    """Nobody listens: another gateway may send it. The reason names no number and no text."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/?to={{to}}&text={{text}}"
    with pytest.raises(Temporary) as caught:
        HttpSms(url).send(TO, TEXT, "k")
    assert not caught.value.maybe_sent
    assert caught.value.reason == "SMS gateway: connection failed"
    assert caught.value.__suppress_context__


def test_a_redirect_is_not_followed(sms_server):
    """A message is not handed to whomever an answer names."""
    with pytest.raises(Temporary, match="HTTP 302"):
        HttpSms(sms_server.url + "/redirect", form=FORM).send(TO, TEXT, "k")
    assert len(sms_server.requests()) == 1


def test_an_odd_answer_is_still_a_sent_message(sms_server):
    """Success is the code; without a reference the key stands in for it."""
    gateway = HttpSms(sms_server.url + "/odd", form=FORM, reference_field="id")
    assert gateway.send(TO, TEXT, "k").reference == message_token("k")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "ftp://x/{to}{text}"}, "http://"),
        ({"url": "http://x", "form": {"to": "{to}"}}, "{text}"),
        ({"url": "http://x", "form": FORM, "json": {}}, "not both"),
        ({"url": "http://x", "form": FORM, "timeout_s": 0}, "timeout"),
        ({"url": "http://x", "form": FORM, "success": {200}, "permanent": {200}}, "both"),
        ({"url": "http://x", "form": FORM, "success_pattern": "("}, "success_pattern"),
        ({"url": "http://x", "form": FORM, "ca_file": "/nowhere.pem"}, "ca_file"),
    ],
)
def test_wrong_settings_are_named_at_once(settings, words):
    """Nothing starts with a gateway that could never work."""
    with pytest.raises(ValueError, match=words):
        HttpSms(**settings)
