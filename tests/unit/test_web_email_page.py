"""The page behind the link: what each visitor sees, and what never leaves (A8, A9)."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from billing.errors import Unavailable
from sounds import LANGUAGES, Phrase, load_catalogue
from tests.web_house import PRIVATE, house

WORDS = load_catalogue()


@pytest.fixture
def home(tmp_path):
    with house(tmp_path) as it:
        yield it


class Page(HTMLParser):
    """Elements with their attributes, and the visible text, of a page."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text, self.style = [], "", ""
        self._within_style = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._within_style = tag == "style"

    def handle_endtag(self, tag):
        self._within_style = False

    def handle_data(self, data):
        if self._within_style:
            self.style += data
        else:
            self.text += data

    def one(self, tag):
        found = [attributes for name, attributes in self.elements if name == tag]
        assert len(found) == 1, f"{len(found)} <{tag}>"
        return found[0]

    def has(self, tag):
        return any(name == tag for name, _ in self.elements)


def said(key, language="fa", **slots):
    return WORDS.text(Phrase(key, **slots), language)


def mails(home):
    return [job.payload for job in home.jobs() if job.kind == "email.bill"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_page_speaks_the_language_of_the_request(tmp_path, language):
    """Words, lang and direction are those of the request, whatever the browser prefers."""
    with house(tmp_path, language=language) as home:
        response = home.client.get(f"/e/{home.ask()}", headers={"Accept-Language": "de, en;q=0.5"})
    page = Page(response.text)
    assert response.status_code == 200
    assert page.one("html") == {
        "lang": language,
        "dir": "rtl" if language in ("fa", "ar") else "ltr",
    }
    assert said("page_explain", language, number="+982188776655") in page.text
    assert said("page_address", language) in page.text
    assert response.headers["Content-Language"] == language


def test_form_works_with_keyboard_reader_and_no_script(home):
    """One labelled field for an address, left to right, one button, and not a line of script."""
    page = Page(home.client.get(f"/e/{home.ask()}").text)
    field = page.one("input")
    assert page.one("label")["for"] == field["id"]
    assert (field["type"], field["dir"], field["autocomplete"]) == ("email", "ltr", "email")
    assert page.one("form")["method"] == "post"
    assert "action" not in page.one("form")  # the token stays out of the markup
    assert page.has("button")
    assert not page.has("script")
    assert not [name for _, attributes in page.elements for name in attributes if name[:2] == "on"]


def test_style_is_the_only_thing_the_policy_allows(home):
    """The CSP names exactly the page's style; no script, image, frame, or other host."""
    response = home.client.get(f"/e/{home.ask()}")
    digest = hashlib.sha256(Page(response.text).style.encode()).digest()
    policy = response.headers["Content-Security-Policy"]
    assert f"style-src 'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert not any("style" in attributes for _, attributes in Page(response.text).elements)


@pytest.mark.parametrize("path", ["/e/nonsense", "/healthz", "/payments", "/nowhere"])
def test_headers_of_every_answer(home, path):
    """No answer, good or bad, is cached, sniffed, indexed, or tells its address to others."""
    headers = home.client.get(path).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "noindex" in headers["X-Robots-Tag"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_looking_never_uses_the_link_up(home):
    """Previewers and scanners may GET and HEAD as they like: the subscriber can still send."""
    token = home.ask()
    for _ in range(5):
        assert home.client.get(f"/e/{token}").status_code == 200
        assert home.client.head(f"/e/{token}").status_code == 200
    response = home.client.post(f"/e/{token}", data={"address": "a@example.com"})
    assert said("page_done") in Page(response.text).text


def test_address_is_accepted_once(home):
    """Sending an address promises the mail and wakes the relay; the link is then used up."""
    token = home.ask()
    response = home.client.post(f"/e/{token}", data={"address": "  me@example.com "})
    assert response.status_code == 200
    assert said("page_done") in Page(response.text).text
    assert [mail["to"] for mail in mails(home)] == ["me@example.com"]
    assert home.nudges == 1
    later = home.client.get(f"/e/{token}")
    assert later.status_code == 410
    assert said("page_used") in Page(later.text).text
    assert not Page(later.text).has("form")


def test_double_press_gets_the_same_friendly_answer(home):
    """The form sent twice in a hurry is thanked twice and mailed once."""
    token = home.ask()
    answers = [home.client.post(f"/e/{token}", data={"address": "me@example.com"}) for _ in "12"]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].text == answers[1].text
    assert len(mails(home)) == 1
    assert home.nudges == 1


def test_another_address_later_is_not_thanked(home):
    """A second address for a used link is told so, and nothing is sent to it."""
    token = home.ask()
    home.client.post(f"/e/{token}", data={"address": "me@example.com"})
    response = home.client.post(f"/e/{token}", data={"address": "thief@example.com"})
    assert response.status_code == 410
    assert said("page_used") in Page(response.text).text
    assert [mail["to"] for mail in mails(home)] == ["me@example.com"]


@pytest.mark.parametrize(
    "address", ["", "nonsense", "a@b", "a@example.com\nBcc: b@example.com", "x" * 300 + "@a.ir"]
)
def test_not_an_address_can_be_corrected(home, address):
    """A wrong address is named at its field, announced to screen readers; the link stays good."""
    token = home.ask()
    response = home.client.post(f"/e/{token}", data={"address": address})
    page = Page(response.text)
    assert response.status_code == 422
    assert page.one("input")["aria-invalid"] == "true"
    assert page.one("input")["aria-describedby"] == "problem"
    assert ("p", {"class": "problem", "id": "problem", "role": "alert"}) in page.elements
    assert said("page_not_an_address") in page.text
    assert mails(home) == []
    assert home.client.post(f"/e/{token}", data={"address": "a@example.com"}).status_code == 200


def test_what_was_typed_is_only_text(home):
    """Markup in the field comes back as text."""
    evil = '"><script>alert(1)</script>'
    response = home.client.post(f"/e/{home.ask()}", data={"address": evil})
    assert Page(response.text).one("input")["value"] == evil
    assert "<script" not in response.text


def test_expired_link(home):
    """After its day the link says that its time is over, to readers and senders."""
    token = home.ask()
    home.clock.advance(24 * 3600 + 1)
    for response in (
        home.client.get(f"/e/{token}"),
        home.client.post(f"/e/{token}", data={"address": "a@example.com"}),
    ):
        assert response.status_code == 410
        assert said("page_expired") in Page(response.text).text
    assert mails(home) == []


@pytest.mark.parametrize("change", ["swap", "short", "long", "nonsense"])
def test_forged_link(home, change):
    """A token that we did not sign is invalid, in the language the browser asks for."""
    token = home.ask()
    forged = {
        "swap": token[:-1] + ("A" if token[-1] != "A" else "B"),
        "short": token[:-4],
        "long": token + "AAAA",
        "nonsense": "%D9%86%00%F0%9F",
    }[change]
    response = home.client.get(f"/e/{forged}", headers={"Accept-Language": "ru"})
    assert response.status_code == 404
    assert said("page_invalid", "ru") in Page(response.text).text
    sent = home.client.post(f"/e/{forged}", data={"address": "a@example.com"})
    assert sent.status_code == 404
    assert mails(home) == []


def test_database_away(home, monkeypatch):
    """A busy database is a sentence with the form kept, and a time to come back."""

    def busy(*_arguments):
        raise Unavailable("busy")

    token = home.ask()
    monkeypatch.setattr(home.desk, "answer_email_by_link", busy)
    response = home.client.post(f"/e/{token}", data={"address": "a@example.com"})
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert said("page_trouble") in Page(response.text).text
    assert Page(response.text).one("input")["value"] == "a@example.com"
    monkeypatch.setattr(home.desk, "email_request", busy)
    response = home.client.get(f"/e/{token}")
    assert response.status_code == 503
    assert said("page_trouble") in Page(response.text).text


def test_hammering_a_link_is_slowed_down(home):
    """Twenty visits to one link in ten minutes, then a wait; other links stay open."""
    token, other = home.ask(), home.ask()
    for _ in range(20):
        assert home.client.get(f"/e/{token}").status_code == 200
    refused = home.client.post(f"/e/{token}", data={"address": "a@example.com"})
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 600
    assert home.client.get(f"/e/{other}").status_code == 200
    home.seconds += 600
    assert home.client.get(f"/e/{token}").status_code == 200


def test_guessing_from_one_address_is_slowed_down(home):
    """Sixty visits a minute from one address, whatever the links; another address goes on."""
    for number in range(60):
        assert home.client.get(f"/e/guess{number}").status_code == 404
    assert home.client.get("/e/guess60").status_code == 429
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    assert home.client.get("/e/guess61", environ_base=elsewhere).status_code == 404


def test_forwarded_address_is_believed_only_behind_a_proxy(tmp_path):
    """X-Forwarded-For does not get around the limit, unless a proxy of ours set it."""
    for proxies, last in ((0, 429), (1, 404)):
        folder = tmp_path / str(proxies)
        folder.mkdir()
        with house(folder, trusted_proxies=proxies) as home:
            for number in range(61):
                response = home.client.get(
                    f"/e/guess{number}", headers={"X-Forwarded-For": f"192.0.2.{number}"}
                )
        assert response.status_code == last


def test_nothing_private_in_any_answer(home):
    """A9: no name, address, postal code, mailbox, mobile or amount on any page or error."""
    token = home.ask()
    answers = [
        home.client.get(f"/e/{token}"),
        home.client.post(f"/e/{token}", data={"address": "nonsense"}),
        home.client.post(f"/e/{token}", data={"address": "new@example.com"}),
        home.client.get(f"/e/{token}"),
        home.client.get("/e/other"),
        home.client.delete(f"/e/{token}"),
        home.client.get("/healthz"),
        home.client.get("/sandbox"),
        home.client.post("/payments", data=b"{}"),
    ]
    for answer in answers:
        for secret in (*PRIVATE, "9123456789", "129", "۱۲۹", "new@example.com"):
            assert secret not in answer.text
        assert token not in answer.text
        assert token not in str(answer.headers)


def test_logs_hold_neither_tokens_nor_bodies(home, caplog, monkeypatch):
    """The log of good, bad and failing requests has routes and codes, nothing of a visitor's."""
    caplog.set_level("DEBUG")
    token = home.ask()
    home.client.get(f"/e/{token}")
    home.client.post(f"/e/{token}", data={"address": "me@example.com"})

    def broken(*_arguments):
        raise RuntimeError(f"parameters: {token} me@example.com")

    monkeypatch.setattr(home.desk, "email_request", broken)
    response = home.client.get(f"/e/{token}")
    assert response.status_code == 500
    assert "RuntimeError" not in response.text
    log = caplog.text
    assert "GET /e/<token> 200" in log
    assert "unexpected RuntimeError in" in log
    assert "broken test_web_email_page.py" in log
    assert token not in log
    assert not re.search(r"me@example", log)
