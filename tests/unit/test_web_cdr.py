"""POST /cdr: what a switch delivers is stored once and acknowledged only then."""

import base64

import pytest
from sqlalchemy import func, select

from billing.cdr_document import LONGEST
from billing.errors import Unavailable
from billing.schema import cdrs
from tests import cdr_forms
from tests.web_house import house
from web.app import MAX_BODY_BYTES
from web.cdr import CdrIntake

PASSWORD = "pass:word é"


@pytest.fixture
def at_home(tmp_path):
    """A house whose switches may deliver."""
    counted = []

    def intake(house_):
        return CdrIntake(house_.database, house_.clock, [PASSWORD, "next"], counted.append)

    with house(tmp_path, cdr=intake) as it:
        it.counted = counted
        yield it


def authorization(user="callflows", password=PASSWORD):
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


def deliver(it, body, content_type="application/json", headers=None):
    return it.client.post(
        "/cdr?uuid=whatever",
        data=body,
        content_type=content_type,
        headers=authorization() if headers is None else headers,
    )


def stored(it):
    with it.database.read() as conn:
        return conn.execute(select(func.count()).select_from(cdrs)).scalar_one()


@pytest.mark.parametrize("dress", sorted(cdr_forms.dresses(cdr_forms.body("gave-up"))))
def test_every_dress_is_taken(at_home, dress):
    """201 for a new record in whatever encoding and content type, 200 for its repetition."""
    content_type, body = cdr_forms.dresses(cdr_forms.body("gave-up"))[dress]
    answers = [deliver(at_home, body, content_type) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[1].json == {
        "status": "repeated",
        "uuid": "18f2efd9-2594-42b5-9d5d-e372f0048b30",
    }
    assert stored(at_home) == 1
    assert at_home.counted == ["stored", "repeated"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        authorization(password="wrong"),
        authorization(user="root"),
        authorization(password=""),
        {"Authorization": "Basic !!!"},
        {"Authorization": "Bearer " + PASSWORD.encode().hex()},
        {"Authorization": "Digest username=callflows"},
    ],
)
def test_without_the_password_nothing_is_read(at_home, headers):
    """401 with the challenge that curl needs; not even a look at the body."""
    answer = deliver(at_home, cdr_forms.body("gave-up"), headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert (stored(at_home), at_home.counted) == (0, ["unauthorized"])


def test_the_next_password_is_taken_too(at_home):
    """Two are accepted while they are changed."""
    headers = authorization(password="next")
    assert deliver(at_home, cdr_forms.body("gave-up"), headers=headers).status_code == 201


def test_what_is_no_record_is_refused(at_home):
    """422 with the reason; the switch then keeps it on its disk."""
    answer = deliver(at_home, b'{"variables": {"my_pin": "4711"}}')
    assert answer.status_code == 422
    assert (
        answer.json["error"]["message"]
        == "variables.uuid: must be 1 to 128 visible ASCII characters"
    )
    assert "4711" not in answer.text
    assert at_home.counted == ["invalid"]


def test_another_record_of_the_same_call_is_a_conflict(at_home):
    """409: neither may vanish, so the second one goes to the switch's disk."""
    deliver(at_home, cdr_forms.body("gave-up"))
    other = cdr_forms.body("gave-up").replace(b'"billsec":"60"', b'"billsec":"61"')
    assert deliver(at_home, other).status_code == 409
    assert (stored(at_home), at_home.counted) == (1, ["stored", "conflict"])


def test_its_own_size_limit(at_home):
    """A record may be far longer than any other request, and not endless."""
    record = cdr_forms.document("gave-up")
    record["variables"]["padding"] = "x" * (4 * MAX_BODY_BYTES)
    assert deliver(at_home, cdr_forms.dumped(record)).status_code == 201
    assert deliver(at_home, b"{" + b" " * LONGEST).status_code == 413
    too_long = b"x" * (MAX_BODY_BYTES + 1)
    assert at_home.post_signed("/payments", too_long, "payment-key").status_code == 413


def test_a_database_that_is_away_is_no_acknowledgement(at_home, monkeypatch):
    """503: nothing was stored, so the switch tries again or spools."""

    def away(*_):
        raise Unavailable("away")

    monkeypatch.setattr(at_home.database, "write", away)
    answer = deliver(at_home, cdr_forms.body("gave-up"))
    assert (answer.status_code, at_home.counted) == (503, [])


def test_logs_hold_no_number(at_home, caplog):
    """Neither what is taken nor what is refused leaves a trace of the caller in the log."""
    caplog.set_level("DEBUG")
    deliver(at_home, cdr_forms.body("gave-up"))
    deliver(at_home, cdr_forms.body("gave-up").replace(b'"60"', b'"61"'))
    deliver(at_home, cdr_forms.body("gave-up")[:-2])
    assert "POST /cdr 201" in caplog.text
    assert "2188776655" not in caplog.text
    assert PASSWORD not in caplog.text


def test_only_post(at_home):
    """There is nothing to read here."""
    assert at_home.client.get("/cdr", headers=authorization()).status_code == 405


def test_a_password_is_needed():
    """An end point that anybody may write to is not made."""
    for passwords in ([], [""]):
        with pytest.raises(ValueError, match="cdr_password"):
            CdrIntake(None, None, passwords)
