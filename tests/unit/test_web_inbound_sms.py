"""POST /sms/inbound: the answer to "which e-mail address?" (A8)."""

import json

import pytest

from tests.web_house import FIXED, MOBILE, PAYMENT_KEY, PRIVATE, SMS_KEY, house


@pytest.fixture
def home(tmp_path):
    with house(tmp_path) as it:
        yield it


def sms(home, text, /, key=SMS_KEY, **changes):
    fields = {
        "id": "m-1",
        "from": MOBILE,
        "text": text,
        "received_at": "2026-11-21T09:30:00Z",
        **changes,
    }
    body = json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()
    return home.post_signed("/sms/inbound", body, key)


def kinds(home):
    return [job.kind for job in home.jobs()]


def test_answer_with_an_address(home):
    """An address in the answer promises the mail and the confirming SMS, and wakes the relay."""
    home.ask()
    response = sms(home, "نشانی من: me@example.com")
    assert (response.status_code, response.json) == (200, {"status": "accepted"})
    assert kinds(home) == ["sms.email_link", "email.bill", "sms.email_accepted"]
    assert home.nudges == 1


@pytest.mark.parametrize("form", ["09123456789", "00989123456789", "+98 912 345 6789"])
def test_sender_in_any_form(home, form):
    """Gateways write numbers as they like."""
    home.ask()
    assert sms(home, "me@example.com", **{"from": form}).json == {"status": "accepted"}


def test_delivered_twice(home):
    """A message delivered twice is answered once, with 200 so that the gateway stops."""
    home.ask()
    sms(home, "me@example.com")
    response = sms(home, "me@example.com")
    assert (response.status_code, response.json) == (200, {"status": "repeated"})
    assert kinds(home).count("email.bill") == 1
    assert home.nudges == 1


def test_not_an_address_and_no_request(home):
    """Other texts, and texts out of the blue, are 200 too: the subscriber is told by SMS."""
    assert sms(home, "hello").json == {"status": "no_request"}
    home.ask()
    assert sms(home, "hello", id="m-2").json == {"status": "not_an_address"}
    assert sms(home, "", id="m-3").json == {"status": "not_an_address"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": ...}, "id"),
        ({"id": ""}, "id"),
        ({"id": "x" * 129}, "id"),
        ({"from": FIXED}, "from"),
        ({"from": "Operator"}, "from"),
        ({"from": 912}, "from"),
        ({"text": ...}, "text"),
        ({"text": "x" * 2001}, "text"),
        ({"text": None}, "text"),
        ({"received_at": "now"}, "received_at"),
        ({"to": "2000"}, "to"),
    ],
)
def test_wrong_field_is_named(home, changes, field):
    """A field that is missing, wrong or unknown is 422 and named."""
    response = sms(home, "me@example.com", **changes)
    assert response.status_code == 422
    assert response.json["error"]["field"] == field


def test_only_the_gateway(home):
    """The payment system's key does not open this door."""
    assert sms(home, "me@example.com", key=PAYMENT_KEY).status_code == 401
    assert kinds(home) == []


def test_nothing_private_comes_back_or_is_logged(home, caplog):
    """A9: neither answers nor logs hold the text, the number or the subscriber's data."""
    caplog.set_level("DEBUG")
    home.ask()
    texts = [sms(home, "me@example.com").text, sms(home, "x", **{"from": "0912"}).text]
    for secret in (*PRIVATE, "me@example.com", "9123456789"):
        assert secret not in caplog.text
        assert all(secret not in text for text in texts)
