"""POST /payments: signed, strict, idempotent; money that came in is never turned away."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.errors import Unavailable
from tests.web_house import PAYMENT_KEY, PRIVATE, SMS_KEY, house
from web.signing import signed_headers


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with house(tmp_path_factory.mktemp("payments")) as it:
        yield it


@pytest.fixture
def home(tmp_path):
    with house(tmp_path) as it:
        yield it


def report(home, **changes):
    fields = {
        "reference": "PAY-1",
        "bill_id": home.bill.bill_id,
        "payment_id": home.bill.payment_id,
        "amount": 129_000,
        "channel": "transfer",
        "paid_at": "2026-11-21T13:00:00+03:30",
    }
    fields.update(changes)
    return {name: value for name, value in fields.items() if value is not ...}


def post(home, body, key=PAYMENT_KEY, **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return home.post_signed("/payments", raw, key, **headers)


def posted(home):
    return [job for job in home.jobs() if job.kind == "post_payment"]


def test_payment_is_recorded_and_posted_by_a_job(home):
    """A report is answered with 202 and our number; the job that posts it waits, and is woken."""
    response = post(home, report(home))
    assert response.status_code == 202
    assert response.json == {
        "status": "recorded",
        "reference": "PAY-1",
        "payment": posted(home)[0].payload["payment"],
    }
    assert home.nudges == 1
    outcome = home.desk.post_payment(response.json["payment"])
    assert (outcome.status, outcome.result) == ("posted", "full")


def test_repeated_report_changes_nothing(home):
    """The same reference and content again: 200, the same body, no second job."""
    first = post(home, report(home))
    again = [post(home, report(home)) for _ in range(3)]
    assert {response.status_code for response in again} == {200}
    assert {response.text for response in again} == {first.text}
    assert len(posted(home)) == 1
    assert home.nudges == 1


def test_same_moment_in_another_time_zone_is_no_conflict(home):
    """A repetition may write the same time in UTC."""
    post(home, report(home))
    assert post(home, report(home, paid_at="2026-11-21T09:30:00Z")).status_code == 200


@pytest.mark.parametrize(
    "changes", [{"amount": 128_000}, {"payment_id": "12908190"}, {"channel": "app"}]
)
def test_conflicting_report(home, changes):
    """A reference used again for something else is 409, and nothing is changed."""
    post(home, report(home))
    response = post(home, report(home, **changes))
    assert response.status_code == 409
    assert response.json["error"]["code"] == "conflict"
    assert response.json["error"]["field"] == "reference"
    assert len(posted(home)) == 1


@pytest.mark.parametrize(
    "ids",
    [
        {"bill_id": "7748317800142", "payment_id": "1770160"},
        {"bill_id": "2234322344613"},
        {"payment_id": "1"},
        {"bill_id": "00000000000000000000"},
    ],
)
def test_unknown_bill_is_taken_and_parked(home, ids):
    """Money for no bill of ours is recorded with 202, and parked for a person."""
    response = post(home, report(home, **ids))
    assert response.status_code == 202
    assert home.desk.post_payment(response.json["payment"]).status == "parked"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"reference": ...}, "reference"),
        ({"reference": ""}, "reference"),
        ({"reference": "x" * 65}, "reference"),
        ({"reference": "a b"}, "reference"),
        ({"reference": 7}, "reference"),
        ({"reference": "a\u0000b"}, "reference"),
        ({"bill_id": 9174639504124}, "bill_id"),
        ({"bill_id": "917463950412a"}, "bill_id"),
        ({"bill_id": "۹۱۷۴"}, "bill_id"),
        ({"bill_id": "1" * 33}, "bill_id"),
        ({"payment_id": None}, "payment_id"),
        ({"amount": "129000"}, "amount"),
        ({"amount": 129_000.0}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": 0}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": 10**30}, "amount"),
        ({"channel": "By Post"}, "channel"),
        ({"channel": []}, "channel"),
        ({"paid_at": "2026-11-21T13:00:00"}, "paid_at"),
        ({"paid_at": "yesterday"}, "paid_at"),
        ({"paid_at": "2026-11-21"}, "paid_at"),
        ({"paid_at": 1_700_000_000}, "paid_at"),
        ({"paid_at": "2026-11-21T10:31:00Z"}, "paid_at"),
        ({"paid_at": "0001-01-01T00:00:00+14:00"}, "paid_at"),
        ({"note": "x"}, "note"),
    ],
)
def test_wrong_field_is_named(home, changes, field):
    """A field that is missing, wrong or unknown is 422 and named; its value is not repeated."""
    response = post(home, report(home, **changes))
    assert response.status_code == 422, response.text
    assert response.json["error"]["field"] == field
    assert response.json["error"]["message"].startswith(f"{field}: ")
    assert posted(home) == []


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b"7", b"{", b"\xff{}", b'{"amount": NaN}', b"[" * 16_000,
        b'{"amount": 1, "amount": 2}', b'{"a": {"b": 1, "b": 2}}', b"9" * 10_000,
    ],
)  # fmt: skip
def test_not_a_json_object(shared, body):
    """Anything but a JSON object with each member once is 400."""
    response = post(shared, body)
    assert response.status_code == 400
    assert response.json["error"]["code"] == "not_json"


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.dictionaries(
        st.sampled_from(("reference", "bill_id", "payment_id", "amount", "channel", "paid_at")),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
        | st.lists(st.integers(), max_size=2),
        min_size=1,
    )
)  # fmt: skip
def test_no_content_is_an_error_of_ours(shared, changes):
    """Whatever a signed body holds, the answer is the sender's fault or success, never 500."""
    response = post(shared, {**report(shared), "reference": "fuzz", **changes})
    assert response.status_code in (200, 202, 400, 409, 422)


def test_unsigned_or_wrongly_signed(home):
    """Without a good signature nothing is even read: 401 for no header, other key, other body."""
    good = json.dumps(report(home)).encode()
    now = home.clock.now()
    for body, headers in (
        (good, {}),
        (good, signed_headers("guess", good, now)),
        (good, signed_headers(SMS_KEY, good, now)),
        (good + b" ", signed_headers(PAYMENT_KEY, good, now)),
        (b"{", signed_headers("guess", b"{", now)),
    ):
        response = home.client.post("/payments", data=body, headers=headers)
        assert response.status_code == 401
        assert response.json["error"]["code"] == "bad_signature"
    assert posted(home) == []


def test_old_request_cannot_be_played_again(home):
    """Ten minutes later the same signed request is refused."""
    body = json.dumps(report(home)).encode()
    headers = signed_headers(PAYMENT_KEY, body, home.clock.now())
    home.clock.advance(600)
    assert home.client.post("/payments", data=body, headers=headers).status_code == 401


def test_next_key_is_accepted(home):
    """While a key is changed, old and new are both good."""
    assert post(home, report(home), key="next-payment-key").status_code == 202


def test_long_body(shared):
    """A body over 16 KiB is 413, in JSON, before anything is done with it."""
    response = post(shared, b" " * 20_000)
    assert response.status_code == 413
    assert response.json["error"]["code"] == "request_entity_too_large"


def test_other_methods(shared):
    """Reading payments is not possible here: 405 with the method that is."""
    response = shared.client.get("/payments")
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]
    assert response.json["error"]["code"] == "method_not_allowed"


def test_database_away(home, monkeypatch):
    """A busy database is 503 with a time to come back: the payment system sends it again."""

    def busy(*_arguments):
        raise Unavailable("busy")

    monkeypatch.setattr(home.desk, "receive_payment", busy)
    response = post(home, report(home))
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert home.nudges == 0


def test_logs_hold_no_payment(home, caplog):
    """Neither reference nor IDs nor signature are logged."""
    caplog.set_level("DEBUG")
    post(home, report(home))
    post(home, report(home, amount=1))
    post(home, report(home), key="guess")
    assert "POST /payments 202" in caplog.text
    for secret in ("PAY-1", home.bill.bill_id, home.bill.payment_id, PAYMENT_KEY, *PRIVATE):
        assert secret not in caplog.text


def test_a_house_needs_keys(tmp_path):
    """An application without a key, or with an empty one, does not start."""
    for keys in ([], [""], ["good", ""]):
        with pytest.raises(ValueError, match="payment_keys"):
            from_keys(keys)


def from_keys(keys):
    from web.app import create_app

    return create_app(
        desk=None, catalogue=None, clock=None, nudge=print, payment_keys=keys, sms_keys=["k"]
    )
