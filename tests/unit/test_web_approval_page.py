"""The page behind the link in an approval request, and orders by SMS through the gateway (D9)."""

from __future__ import annotations

import json

import pytest

from billing.premium.approvals import Approvals
from tests.owner_house import NUMBER, OWNER, OwnerHouse
from tests.web_house import SMS_KEY, house

PRIVATE = ("Maryam", "Rezaei", "Yaghoubi", "1415893411", "maryam@private.example", "9121112233")
ANSWER = {"answer": "yes", "ceiling": "200000", "days": "30"}


@pytest.fixture
def pages(tmp_path):
    """A house of pages whose owners live in another one, over the same clock."""
    from billing.database import Database

    database = Database(f"sqlite:///{tmp_path}/owners.db")
    database.migrate()
    made: list[OwnerHouse] = []

    class Late:
        """The application wants its parts before their clock is there."""

        def __getattr__(self, name: str) -> object:
            return getattr(made[0].approvals, name)

    class LateSms:
        def answer(self, *arguments: object) -> object:
            return made[0].sms.answer(*arguments)

    with house(tmp_path, approvals=Late(), owner_sms=LateSms()) as it:
        made.append(OwnerHouse(database, it.clock))
        it.owners = made[0]
        yield it
    database.close()


def approvals(pages) -> Approvals:
    return pages.owners.approvals


def test_the_question(pages):
    """Line, service and choices; in the line's language; nobody's name; opening changes nothing."""
    request = pages.owners.ask()
    answer = pages.client.get(f"/a/{pages.owners.token()}")
    assert answer.status_code == 200
    assert answer.headers["Content-Language"] == "fa"
    assert "script" not in answer.text
    assert 'dir="rtl"' in answer.text
    assert "فالِ حافظ" in answer.text
    assert NUMBER in answer.text
    assert answer.text.count("<option") == 11
    assert not [each for each in PRIVATE if each in answer.text]
    assert approvals(pages).standing(request.id) == "open"
    assert "style-src 'sha256-" in answer.headers["Content-Security-Policy"]


def test_allowed(pages):
    """Up to the chosen sum, until the chosen day; a second press says the same."""
    pages.owners.ask()
    path = f"/a/{pages.owners.token()}"
    assert pages.client.post(path, data=ANSWER).status_code == 200
    (approval,) = approvals(pages).of_line(pages.owners.line().id)
    assert (approval.ceiling, approval.service) == (200_000, NUMBER)
    assert (approval.valid_until - approval.granted_at).days == 30
    assert pages.nudges == 1
    assert pages.client.post(path, data=ANSWER).status_code == 200
    assert pages.client.post(path, data={"answer": "no"}).status_code == 410
    assert pages.client.get(path).status_code == 410
    assert len(approvals(pages).of_line(pages.owners.line().id)) == 1


def test_whole_category(pages):
    """The box widens it to all services of the category."""
    pages.owners.ask()
    pages.client.post(f"/a/{pages.owners.token()}", data={**ANSWER, "category": "1"})
    (approval,) = approvals(pages).of_line(pages.owners.line().id)
    assert (approval.category, approval.service) == ("poetry", None)


def test_refused(pages):
    """Nothing is approved."""
    request = pages.owners.ask()
    path = f"/a/{pages.owners.token()}"
    assert pages.client.post(path, data={"answer": "no"}).status_code == 200
    assert approvals(pages).standing(request.id) == "refused"
    assert approvals(pages).of_line(pages.owners.line().id) == []
    assert pages.client.post(path, data=ANSWER).status_code == 410


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"answer": "perhaps"},
        {"answer": "yes"},
        {**ANSWER, "ceiling": "1000000000"},
        {**ANSWER, "ceiling": "-200000"},
        {**ANSWER, "days": "36500"},
        {**ANSWER, "days": "۳۰"},
        {**ANSWER, "ceiling": "9" * 500},
    ],
)
def test_forms_that_no_page_offers(pages, form):
    """Are refused, and nothing is decided."""
    request = pages.owners.ask()
    answer = pages.client.post(f"/a/{pages.owners.token()}", data=form)
    assert answer.status_code == 422
    assert approvals(pages).standing(request.id) == "open"


@pytest.mark.parametrize("token", ["x", "A" * 32, "%F0%9F%98%80"])
def test_links_that_are_not_genuine(pages, token):
    """Not found, whatever is posted."""
    pages.owners.ask()
    assert pages.client.get(f"/a/{token}").status_code == 404
    assert pages.client.post(f"/a/{token}", data=ANSWER).status_code == 404


def test_too_late(pages):
    """After its time the link says so."""
    pages.owners.ask()
    path = f"/a/{pages.owners.token()}"
    pages.clock.advance(24 * 3600)
    assert pages.client.get(path).status_code == 410
    assert pages.client.post(path, data=ANSWER).status_code == 410


def test_hammering(pages):
    """Is slowed down."""
    pages.owners.ask()
    path = f"/a/{pages.owners.token()}"
    statuses = [pages.client.get(path).status_code for _ in range(21)]
    assert statuses == [200] * 20 + [429]


# -- orders by SMS ---------------------------------------------------------------------------------


def post(pages, text: str, identity: str = "m1", sender: str = OWNER):
    body = json.dumps(
        {"id": identity, "from": sender, "text": text, "received_at": pages.clock.now().isoformat()}
    ).encode()
    return pages.post_signed("/sms/inbound", body, SMS_KEY)


def test_an_order_through_the_gateway(pages):
    """YES with the number approves; the same message again does not."""
    request = pages.owners.ask()
    text = f"YES {request.number}"
    assert post(pages, text).json == {"status": "approved"}
    assert post(pages, text).json == {"status": "repeated"}
    assert post(pages, text, "m2").json == {"status": "over"}
    assert len(approvals(pages).of_line(pages.owners.line().id)) == 1


def test_an_unsigned_order(pages):
    """Nobody but the gateway can say who has sent a message."""
    request = pages.owners.ask()
    body = json.dumps({"id": "m1", "from": OWNER, "text": f"YES {request.number}"}).encode()
    assert pages.client.post("/sms/inbound", data=body).status_code == 401
    assert pages.post_signed("/sms/inbound", body, "a forged key").status_code == 401
    assert approvals(pages).standing(request.id) == "open"


def test_an_address_is_still_an_address(pages):
    """What is no order goes where it went before."""
    pages.ask()
    assert post(pages, "sara@example.com", "m1", "+989123456789").json == {"status": "accepted"}
