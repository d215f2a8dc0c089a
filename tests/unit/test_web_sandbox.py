"""The sandbox's pages: what a phone and a mailbox would show, on this machine only."""

import pytest

from gateways.mail import Attachment, Mail, SandboxMail
from gateways.sms import SandboxSms
from tests.web_house import MOBILE, house

PNG = b"\x89PNG\r\n\x1a\nnot really"


@pytest.fixture(params=["one folder", "two folders"])
def home(tmp_path, request):
    folders = [tmp_path / "out"]
    if request.param == "two folders":
        folders = [tmp_path / "sms", tmp_path / "mail"]
    with house(tmp_path, sandbox=folders) as it:
        it.sms = SandboxSms(folders[0])
        it.mail = SandboxMail(folders[-1])
        yield it


def bill_mail(**changes):
    fields = {
        "to": "me@example.com",
        "subject": "قبض خط ۰۲۱۸۸۷۷۶۶۵۵",
        "text": "مشترک گرامی\nتصویر قبض",
        "language": "fa",
        "attachments": [
            Attachment("bill.png", "image/png", PNG),
            Attachment("bill.pdf", "application/pdf", b"%PDF-1.7"),
        ],
    }
    return Mail(**{**fields, **changes})


def test_off_unless_asked_for(tmp_path):
    """Without sandbox gateways there is no such page."""
    with house(tmp_path) as home:
        assert home.client.get("/sandbox").status_code == 404
        assert home.client.post("/sandbox/sms").status_code == 404


def test_empty_sandbox(home):
    """Before anything was sent the page says so."""
    page = home.client.get("/sandbox").text
    assert "No SMS yet." in page
    assert "No mail yet." in page


def test_sms_as_a_phone_shows_them(home):
    """Each SMS has its own direction, its links can be tapped, and markup in it is only text."""
    home.sms.send(MOBILE, "برای دریافت قبض:\nhttp://127.0.0.1:8085/e/abc", "k1")
    home.sms.send(MOBILE, "<script>alert(1)</script> http://x/\"onclick='y'", "k2")
    page = home.client.get("/sandbox").text
    assert (
        '<div class="sms" dir="auto">برای دریافت قبض:\n<a href="http://127.0.0.1:8085/e/abc"'
        in page
    )
    assert "<script>" not in page
    assert "onclick='y'" not in page
    assert page.count(f'value="{MOBILE}"') == 1


def test_mail_with_its_pictures(home):
    """A mail shows subject, text and picture; its attachments can be fetched, typed and whole."""
    home.mail.send(bill_mail(), "k1")
    page = home.client.get("/sandbox").text
    assert "قبض خط ۰۲۱۸۸۷۷۶۶۵۵" in page
    assert "مشترک گرامی" in page
    assert '<img src="/sandbox/mail/0/0" alt="bill.png"' in page
    picture = home.client.get("/sandbox/mail/0/0")
    assert (picture.data, picture.content_type) == (PNG, "image/png")
    assert home.client.get("/sandbox/mail/0/1").content_type == "application/pdf"


def test_attachments_that_are_not_there_or_not_harmless(home):
    """Other numbers are 404, and so is any type a browser might run."""
    page = Attachment("x.html", "text/html", b"<script>alert(1)</script>")
    home.mail.send(bill_mail(attachments=[page]), "k1")
    for path in ("/sandbox/mail/0/0", "/sandbox/mail/0/1", "/sandbox/mail/1/0"):
        assert home.client.get(path).status_code == 404


def test_answering_an_sms(home):
    """The form answers as the phone: the mail with the bill is promised, the page comes back."""
    home.ask()
    response = home.client.post("/sandbox/sms", data={"from": MOBILE, "text": "me@example.com"})
    assert (response.status_code, response.headers["Location"]) == (303, "/sandbox")
    assert "email.bill" in [job.kind for job in home.jobs()]
    assert home.nudges == 1


def test_answering_from_no_phone(home):
    """A number that is none is named on the page."""
    response = home.client.post("/sandbox/sms", data={"from": "12", "text": "x"})
    assert response.status_code == 422
    assert "from:" in response.text


@pytest.mark.parametrize("path", ["/sandbox", "/sandbox/mail/0/0"])
def test_only_for_this_machine(home, path):
    """Another machine, or a foreign name that points here (DNS rebinding), sees nothing."""
    home.mail.send(bill_mail(), "k1")
    assert home.client.get(path).status_code == 200
    assert home.client.get(path, headers={"Host": "[::1]:8085"}).status_code == 200
    assert home.client.get(path, headers={"Host": "evil.example"}).status_code == 404
    assert home.client.get(path, environ_base={"REMOTE_ADDR": "192.0.2.7"}).status_code == 404


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_only_its_own_form(home, site):
    """Another site's page cannot send SMS through the visitor's browser."""
    home.ask()
    response = home.client.post(
        "/sandbox/sms",
        data={"from": MOBILE, "text": "thief@example.com"},
        headers={"Sec-Fetch-Site": site},
    )
    assert response.status_code == 403
    assert [job.kind for job in home.jobs()] == ["sms.email_link"]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_not_through_a_proxy(home, header):
    """A reverse proxy on this machine asks for somebody elsewhere: there is no such page."""
    assert home.client.get("/sandbox", headers={header: "203.0.113.9"}).status_code == 404
