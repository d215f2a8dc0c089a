"""What subscribers get: the text of each SMS, the mail with the bill's image, and no more."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from billing import outbox
from billing.clock import FixedClock
from billing.database import Database
from billing.desk import Desk
from billing.importing import import_bills, import_lines
from billing.links import Links
from billing.outbox import Job
from gateways.errors import Permanent, Temporary
from gateways.mail import Mail
from gateways.sms import SmsReceipt
from jobs.bill_image import BillView, render
from jobs.daily_report import DailyReport
from jobs.messages import Messages
from jobs.postings import Postings
from sounds import Phrase, load_catalogue
from tests.migrated import migrated

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
FIXED = "+982188776655"
TO = "+989121234567"
LINES = """number,kind,first_name,last_name,language,mobile,email,address,postal_code
02188776655,fixed,Zahra,Ahmadi,fa,09121234567,zahra@example.org,Valiasr 12 Tehran,1966733411
"""
BILLS = """number,period,year,amount,bill_id,payment_id,due_date
02188776655,8,1405,1234567,,,2026-12-05
"""


class Outbox:
    """Plays both gateways, and keeps what it was given."""

    def __init__(self) -> None:
        self.sms: list[tuple[str, str, str]] = []
        self.mails: list[tuple[Mail, str]] = []

    def send(self, *message):
        if isinstance(message[0], Mail):
            self.mails.append(message)
            return "<id>"
        self.sms.append(message)
        return SmsReceipt("r", 1)


class House:
    """One line with one open bill, and the handlers of all queues."""

    def __init__(self, folder) -> None:
        path = Path(folder) / "messages.db"
        path.write_bytes(migrated())
        self.database = Database(f"sqlite:///{path}")
        self.clock = FixedClock(NOW)
        assert import_lines(self.database, io.StringIO(LINES)).loaded == 1
        assert import_bills(self.database, io.StringIO(BILLS)).loaded == 1
        self.links = Links(b"0123456789abcdef")
        self.desk = Desk(self.database, self.clock, links=self.links)
        self.sent = Outbox()
        self.nudges = 0
        messages = Messages(
            self.desk,
            self.clock,
            load_catalogue(),
            self.links,
            sms=self.sent,
            mail=self.sent,
            link_base="https://pay.example/",
            android_url="https://app.example/android",
            ios_url="https://app.example/ios",
        )
        self.report = DailyReport(self.database, self.clock, folder / "reports", "Asia/Tehran")
        self.handlers = {
            **messages.handlers(),
            **Postings(self.desk, self.nudge).handlers(),
            **self.report.handlers(),
        }

    def nudge(self) -> None:
        self.nudges += 1

    @property
    def bill(self):
        return self.desk.opening(FIXED).open_bills[0]

    def claim(self, queue) -> Job:
        (job,) = outbox.claim(self.database, "t", self.clock.now(), 60, queue=queue)
        return job

    def run(self, queue) -> Job:
        """Do the one row of a queue."""
        job = self.claim(queue)
        self.handlers[job.kind](job)
        outbox.done(self.database, [job], self.clock.now())
        return job

    def pay(self, bill, amount=None) -> None:
        """Post a payment of the bill: so many rials, or all that is to pay."""
        amount = amount or bill.payable
        self.desk.receive_payment("p1", bill.bill_id, bill.payment_id, amount, "app", NOW)
        self.run("billing")

    def text(self) -> str:
        return self.sent.sms[-1][1]


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    yield house
    house.database.close()


def test_the_bill_by_sms_holds_what_a5_lists(house):
    """Number, names, amount, IDs that can be copied, due date; key and mobile reach the gateway."""
    bill = house.bill
    house.desk.send_bill("call-1/sms", bill, TO, "en", True, FIXED, "call-1")
    house.run("sms")
    ((to, text, key),) = house.sent.sms
    text = text.replace("\u00a0", " ")
    assert (to, key) == (TO, "call-1/sms")
    for part in ("02188776655", "Zahra Ahmadi", "1,234,000", bill.bill_id, bill.payment_id):
        assert part in text
    assert "5 December 2026" in text


@pytest.mark.parametrize("language", ["fa", "ar", "ru", "en"])
def test_a_stranger_gets_no_names(house, language):
    """A caller whose number is not the line's own: amount and IDs, never names (A9)."""
    house.desk.send_bill("k", house.bill, TO, language, False, None, "call-1")
    house.run("sms")
    assert house.bill.payment_id in house.text()
    assert "Zahra" not in house.text()
    assert "Ahmadi" not in house.text()


@pytest.mark.parametrize("language", ["fa", "ar", "ru", "en"])
def test_a_bill_paid_meanwhile_is_not_sent(house, language):
    """IDs sent after the payment would only be paid once more: an SMS says that it is paid."""
    bill = house.bill
    house.desk.send_bill("k", bill, TO, language, True, FIXED, "call-1")
    house.desk.ask_email("k2", bill, TO, language, True, FIXED, "call-1")
    house.pay(bill)
    for job in outbox.claim(house.database, "t", NOW, 60, queue="sms"):
        house.handlers[job.kind](job)
    sms, link, confirmation = house.sent.sms
    paid = {"number": FIXED, "period": 8, "year": 1405, "amount": 1_234_000}
    text = load_catalogue().text(Phrase("sms_bill_paid", **paid), language)
    assert (sms, link) == ((TO, text, "k"), (TO, text, "k2"))
    assert confirmation[2] == "payment_confirmation:1"
    for _, message, _ in house.sent.sms:
        assert bill.payment_id not in message
        assert bill.bill_id not in message
        assert "Ahmadi" not in message


@pytest.mark.parametrize("language", ["fa", "ar", "ru", "en"])
def test_the_image_of_a_bill_paid_meanwhile_is_not_mailed(house, language):
    """The link was answered after the payment: a mail without picture, IDs and barcode says so."""
    bill = house.bill
    house.desk.ask_email("k", bill, TO, language, True, FIXED, "call-1")
    house.run("sms")
    house.pay(bill)
    house.desk.answer_email_by_sms(TO, "who@example.org", "m1")
    job = house.run("email")
    ((mail, key),) = house.sent.mails
    assert (mail.to, mail.language, key) == ("who@example.org", language, job.key)
    assert mail.attachments == ()
    assert bill.payment_id not in mail.text
    assert bill.bill_id not in mail.text
    paid = {"number": FIXED, "period": 8, "year": 1405, "amount": 1_234_000}
    assert mail.text == load_catalogue().text(Phrase("email_paid", **paid), language)


def test_the_image_of_a_bill_paid_in_part_asks_for_the_rest(house, monkeypatch):
    """The picture and the mail hold the new IDs, and what has been paid."""
    shown = []
    monkeypatch.setattr(
        "jobs.messages.render",
        lambda view, *args, **kwargs: shown.append(view) or render(view, *args, **kwargs),
    )
    bill = house.bill
    house.desk.ask_email("k", bill, TO, "en", True, FIXED, "call-1")
    house.pay(bill, 234_000)
    house.desk.answer_email_by_sms(TO, "who@example.org", "m1")
    house.run("email")
    ((mail, _),) = house.sent.mails
    ((view,), rest) = (shown, house.bill)
    assert rest.payment_id != bill.payment_id
    assert rest.payment_id in mail.text
    assert bill.payment_id not in mail.text
    assert (view.paid, view.payable, view.barcode) == (234_000, 1_000_000, rest.barcode)


def test_the_app_links(house):
    """A6: both stores."""
    house.desk.send_app_links("k", None, TO, "ru", None, "call-1")
    house.run("sms")
    assert "https://app.example/android" in house.text()
    assert "https://app.example/ios" in house.text()


def test_the_email_link_opens_the_request(house):
    """A8: the link in the SMS is the one that the desk accepts, and says how long."""
    house.desk.ask_email("k", house.bill, TO, "en", True, FIXED, "call-1")
    house.run("sms")
    token = re.search(r"https://pay\.example/e/(\S+)", house.text())
    assert token
    assert house.desk.email_request(token[1]).answer.name == "OPEN"
    assert re.search(r"\b24\b", house.text())


def test_an_expired_link_is_not_sent(house):
    """After a day of outage the link would only disappoint: given up, with its reason."""
    house.desk.ask_email("k", house.bill, TO, "fa", True, FIXED, "call-1")
    house.clock.advance(timedelta(hours=25).total_seconds())
    job = house.claim("sms")
    with pytest.raises(Permanent, match="expired"):
        house.handlers[job.kind](job)
    assert house.sent.sms == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [("a@example.org", "accepted"), ("hello", "not_an_address")],
)
def test_an_answer_by_sms_is_answered(house, text, kind):
    """Each outcome has its words, and the accepted one mails the bill."""
    house.desk.ask_email("k", house.bill, TO, "fa", True, FIXED, "call-1")
    house.run("sms")
    house.desk.answer_email_by_sms(TO, text, "m1")
    assert house.run("sms").kind == f"sms.email_{kind}"
    depth = outbox.depths(house.database, NOW)["email"]
    assert depth.pending == (1 if kind == "accepted" else 0)


@pytest.mark.parametrize("language", ["fa", "ar", "ru", "en"])
def test_the_mail_holds_the_image_twice(house, language):
    """A8: PNG and PDF of the bill, subject and body in the subscriber's language."""
    house.desk.ask_email("k", house.bill, TO, language, True, FIXED, "call-1")
    house.run("sms")
    house.desk.answer_email_by_sms(TO, "who@example.org", "m1")
    job = house.run("email")
    ((mail, key),) = house.sent.mails
    assert (mail.to, mail.language, key) == ("who@example.org", language, job.key)
    assert house.bill.payment_id in mail.text
    png, pdf = mail.attachments
    assert (png.name, png.media_type) == ("bill-1405-08.png", "image/png")
    assert (pdf.name, pdf.media_type) == ("bill-1405-08.pdf", "application/pdf")
    assert png.content.startswith(b"\x89PNG")
    assert pdf.content.startswith(b"%PDF")


def announce(house, queue, kind, to):
    """A campaign's row for a line that no call reached."""
    with house.database.begin() as conn:
        facts = {"to": to, "language": "en", "bill": house.bill.id}
        outbox.put(conn, f"campaign:1:1:{queue}", queue, kind, {**facts, "names": True}, NOW)


def test_the_debt_is_announced_by_sms(house):
    """A2: number, amount, IDs and due date, and no names."""
    announce(house, "sms", "sms.debt_notice", TO)
    house.run("sms")
    text = house.text().replace("\u00a0", " ")
    for part in ("02188776655", "unpaid", "1,234,000", house.bill.bill_id, house.bill.payment_id):
        assert part in text
    assert "Zahra" not in text


def test_the_debt_is_announced_by_email_with_its_image(house):
    """A3: the bill's data and picture; it does not claim that anybody asked for it."""
    announce(house, "email", "email.debt_notice", "zahra@example.org")
    house.run("email")
    ((mail, _),) = house.sent.mails
    assert mail.to == "zahra@example.org"
    assert "Unpaid bill" in mail.subject
    assert house.bill.payment_id in mail.text
    assert "request" not in mail.text
    assert [part.media_type for part in mail.attachments] == ["image/png", "application/pdf"]


@pytest.mark.parametrize(
    ("queue", "kind"), [("sms", "sms.debt_notice"), ("email", "email.debt_notice")]
)
def test_no_debt_is_announced_that_is_paid(house, queue, kind):
    """A3, A2: paid while the notice waited for the morning, nothing is sent."""
    announce(house, queue, kind, TO if queue == "sms" else "zahra@example.org")
    bill = house.bill
    house.desk.receive_payment("p1", bill.bill_id, bill.payment_id, bill.payable, "app", NOW)
    house.run("billing")
    sent = len(house.sent.sms)
    (job,) = (
        job for job in outbox.claim(house.database, "t", NOW, 60, queue=queue) if job.kind == kind
    )
    house.handlers[kind](job)
    assert (len(house.sent.sms), house.sent.mails) == (sent, [])


def test_no_message_holds_address_or_postal_code(house):
    """A9: nothing that is sent can hold them, because nothing that renders gets them."""
    house.desk.send_bill("k", house.bill, TO, "en", True, FIXED, "call-1")
    house.run("sms")
    house.desk.ask_email("k2", house.bill, TO, "en", True, FIXED, "call-1")
    house.run("sms")
    house.desk.answer_email_by_sms(TO, "who@example.org", "m1")
    house.run("sms")
    house.run("email")
    everything = repr(house.sent.sms) + repr(house.sent.mails)
    for secret in ("Valiasr", "1966733411", "zahra@example.org"):
        assert secret not in everything


def test_the_image_gets_names_only_where_they_may_leave(house):
    """Two views of one bill: the lines of the bill add up to its amount."""
    bill = replace(house.bill, carried=567)
    line = house.desk.opening(FIXED).line
    own, other = BillView.of(line, bill, names=True), BillView.of(line, bill, names=False)
    assert own.name == "Zahra Ahmadi"
    assert other.name is None
    assert sum(rials for _, rials in own.lines) == own.amount == 1234567
    assert own.payable == 1234000
    assert own.due_date == date(2026, 12, 5)


@pytest.mark.parametrize(
    ("amount", "phrase", "balance"),
    [
        (1234000, "sms_payment_full", 567),
        (1000000, "sms_payment_partial", 234000),
        (2000000, "sms_payment_over", 765433),
    ],
)
def test_a_payment_is_confirmed(house, amount, phrase, balance):
    """E4: paid what, new balance, and whether the debt is fully paid; the relay is nudged."""
    bill = house.bill
    house.desk.receive_payment("ref-7", bill.bill_id, bill.payment_id, amount, "app", NOW)
    house.run("billing")
    assert house.nudges == 1
    house.run("sms")
    slots = {"amount": amount, "number": FIXED, "reference": "ref-7", "balance": balance}
    assert house.text() == load_catalogue().text(Phrase(phrase, **slots), "fa")


def test_a_payment_without_a_bill_is_parked_not_failed(house, caplog):
    """It waits for a person with its reason; the job is done."""
    house.desk.receive_payment("ref-8", "9174639504124", "12908190", 129000, "app", NOW)
    house.run("billing")
    assert "is parked" in caplog.text


def test_a_gateway_that_is_away_reaches_the_consumer(house):
    """Handlers add nothing to the gateways' verdicts."""

    def away(*_):
        raise Temporary("away")

    house.sent.send = away
    house.desk.send_app_links("k", None, TO, "fa", None, "call-1")
    job = house.claim("sms")
    with pytest.raises(Temporary):
        house.handlers[job.kind](job)


def test_the_days_report_is_asked_for_once_and_written(house, tmp_path):
    """After midnight in Tehran, yesterday's figures; asking again changes nothing."""
    house.report.ask()
    DailyReport(house.database, house.clock, tmp_path / "reports", "Asia/Tehran").ask()
    house.run("reports")
    report = json.loads((tmp_path / "reports" / "2026-11-20.json").read_text())
    assert report["day"] == "2026-11-20"
    assert (tmp_path / "reports").stat().st_mode & 0o777 == 0o700
    # 20:29 UTC is 23:59 in Tehran, a minute later the next day has begun.
    house.clock.advance((12 * 60 + 29) * 60)
    house.report.ask()
    assert outbox.depths(house.database, house.clock.now())["reports"].pending == 0
    house.clock.advance(60)
    house.report.ask()
    # The records of its last calls may still be on their way.
    assert outbox.depths(house.database, house.clock.now())["reports"].due == 0
    house.clock.advance(15 * 60)
    assert house.run("reports").payload == {"day": "2026-11-21"}
