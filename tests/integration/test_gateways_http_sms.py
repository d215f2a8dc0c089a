"""SMS over HTTP, against a real server in another process."""

from __future__ import annotations

import json
import socket
from urllib.parse import parse_qs, urlsplit

import pytest

from gateways.errors import Permanent, Temporary
from gateways.http_sms import HttpSms
from gateways.keys import message_token

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


@pytest.mark.parametrize("code", [400, 404, 422])
def test_a_refused_message_is_permanent(sms_server, code):
    """The codes that are about this message end its attempts."""
    with pytest.raises(Permanent) as caught:
        HttpSms(f"{sms_server.url}/status/{code}", form=FORM).send(TO, TEXT, "k")
    assert caught.value.reason == f"SMS gateway: HTTP {code}"


@pytest.mark.parametrize(
    ("code", "maybe_sent"), [(500, True), (503, False), (429, False), (401, False), (418, False)]
)
def test_any_other_code_is_temporary(sms_server, code, maybe_sent):
    """Also a wrong password and a code nobody expected; Retry-After is handed on."""
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
    ],
)
def test_wrong_settings_are_named_at_once(settings, words):
    """Nothing starts with a gateway that could never work."""
    with pytest.raises(ValueError, match=words):
        HttpSms(**settings)
