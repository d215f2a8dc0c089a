"""From a promise in a call to the outside: outbox, consumer, handlers, real servers."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from redis import Redis

from billing import outbox
from billing.clock import FixedClock
from billing.desk import Desk
from billing.importing import import_bills, import_lines
from billing.links import Links
from gateways.http_sms import HttpSms
from gateways.smtp_mail import SmtpMail
from jobs.consumers import Consumer, JobFailed
from jobs.messages import Messages
from jobs.queues import Queues
from sounds import load_catalogue

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
CERT = str(Path(__file__).parent.parent / "data" / "tls" / "test-only-cert.pem")
MOBILE = "+989123456789"
LINES = """number,kind,first_name,last_name,language,mobile,email,address,postal_code
09123456789,mobile,Zahra,Ahmadi,fa,,,,
"""
BILLS = """number,period,year,amount,bill_id,payment_id,due_date
09123456789,8,1405,129000,,,1405/09/14
"""


class Chain:
    """A line with a bill, and a consumer whose gateways are servers in other processes."""

    def __init__(self, database, redis_url: str, sms_url: str, smtp_port: int) -> None:
        import_lines(database, io.StringIO(LINES))
        import_bills(database, io.StringIO(BILLS))
        self.database = database
        self.clock = FixedClock(NOW)
        links = Links(b"0123456789abcdef")
        self.desk = Desk(database, self.clock, links=links)
        self.queues = Queues(database, redis_url, self.clock)
        messages = Messages(
            self.desk,
            self.clock,
            load_catalogue(),
            links,
            sms=HttpSms(sms_url, form={"to": "{to}", "text": "{text}"}),
            mail=SmtpMail("localhost", smtp_port, sender="bills@example.net", ca_file=CERT),
            link_base="https://pay.example",
            android_url="https://app.example/a",
            ios_url="https://app.example/i",
        )
        self.redis = Redis.from_url(redis_url)
        self.consumer = Consumer(
            database, self.clock, self.redis, messages.handlers(), name="chain"
        )

    def deliver_due(self) -> None:
        for row in outbox.due(self.database, self.clock.now(), 100):
            self.consumer.deliver(row.id)

    def ask_for_mail_to(self, address: str) -> None:
        bill = self.desk.opening(MOBILE).open_bills[0]
        self.desk.ask_email("call-1/5", bill, MOBILE, "fa", True, MOBILE, "call-1")
        self.deliver_due()
        self.desk.answer_email_by_sms(MOBILE, address, "m1")


@pytest.fixture
def chain(outbox_database, redis_url, sms_server, smtp_server):
    server = smtp_server("starttls")
    chain = Chain(outbox_database, redis_url, sms_server.url + "/once/503", server.port)
    chain.smtp = server
    yield chain
    chain.redis.close()


def test_an_sms_through_a_gateway_that_stumbles(chain, sms_server):
    """503 with Retry-After, then 200: the same text under the same key, after the asked wait."""
    bill = chain.desk.opening(MOBILE).open_bills[0]
    chain.desk.send_bill("call-1/2", bill, MOBILE, "fa", True, MOBILE, "call-1")
    chain.deliver_due()
    chain.clock.advance(6.9)
    chain.deliver_due()
    assert len(sms_server.requests()) == 1
    chain.clock.advance(0.2)
    chain.deliver_due()
    first, second = sms_server.requests()
    assert first["body"] == second["body"]
    assert first["headers"]["Idempotency-Key"] == second["headers"]["Idempotency-Key"]
    assert bill.payment_id in parse_qs(second["body"])["text"][0]
    assert outbox.depths(chain.database, NOW)["sms"].pending == 0


def test_a_mail_through_a_server_that_stumbles(chain):
    """4xx, then taken: one mail, with the image."""
    chain.ask_for_mail_to("once-451.a@example.org")
    chain.deliver_due()
    assert chain.smtp.mails() == []
    chain.clock.advance(10)
    chain.deliver_due()
    (mail,) = chain.smtp.mails()
    assert b"image/png" in mail
    assert b"application/pdf" in mail


def test_a_mailbox_that_does_not_exist(chain):
    """5xx: in the failed list with the server's code, without the address."""
    chain.ask_for_mail_to("rcpt-550.zahra@example.org")
    with pytest.raises(JobFailed):
        chain.deliver_due()
    (failure,) = chain.queues.failures("email")
    assert failure.reason == "mail server: recipient refused 550 5.1.1"
    assert "zahra" not in repr(failure)
