"""E-mail over SMTP, against a real server with STARTTLS in another process."""

from __future__ import annotations

import email
import email.policy
import socket
import time
from pathlib import Path

import pytest

from gateways.errors import Permanent, Temporary
from gateways.mail import Attachment, Mail
from gateways.smtp_mail import SmtpMail

CERT = str(Path(__file__).parent.parent / "data" / "tls" / "test-only-cert.pem")
PNG = bytes(range(256)) * 300


def mail(to: str = "who@example.org") -> Mail:
    return Mail(to, "قبض تلفن", "متن\n", "fa", [Attachment("bill.png", "image/png", PNG)])


def gateway(port: int, **settings) -> SmtpMail:
    settings = {"host": "localhost", "ca_file": CERT, "sender": "bills@example.net"} | settings
    return SmtpMail(port=port, **settings)


def test_a_mail_arrives_encrypted_and_whole(smtp_server):
    """STARTTLS with a valid certificate by default; subject, body and attachment arrive."""
    server = smtp_server("starttls")
    message_id = gateway(server.port).send(mail(), "k")
    message = email.message_from_bytes(server.mails()[0], policy=email.policy.default)
    assert message["Subject"] == "قبض تلفن"
    assert message["From"] == "bills@example.net"
    assert message["Message-ID"] == message_id
    assert message.get_body().get_content().strip() == "متن"
    assert next(message.iter_attachments()).get_content() == PNG


def test_tls_from_the_first_byte(smtp_server):
    """Port 465's way."""
    server = smtp_server("implicit")
    gateway(server.port, tls="implicit").send(mail(), "k")
    assert len(server.mails()) == 1


def test_a_relay_without_tls_must_be_asked_for(smtp_server):
    """In clear only where the setting says so."""
    server = smtp_server("plain")
    gateway(server.port, tls="none").send(mail(), "k")
    assert len(server.mails()) == 1


def test_logging_in(smtp_server):
    """User and password after TLS; a wrong password is our fault, so the mail stays good."""
    server = smtp_server("auth")
    gateway(server.port, user="bills", password="right").send(mail(), "k")
    assert len(server.mails()) == 1
    with pytest.raises(Temporary, match="log-in refused 535"):
        gateway(server.port, user="bills", password="wrong").send(mail(), "k2")


def test_a_server_without_starttls_gets_nothing(smtp_server):
    """A stripped STARTTLS offer must not make us speak in clear."""
    server = smtp_server("no-starttls")
    with pytest.raises(Temporary, match="does not offer"):
        gateway(server.port).send(mail(), "k")
    assert server.mails() == []


def test_a_certificate_nobody_vouches_for_gets_nothing(smtp_server):
    """Self-signed and not configured: refused."""
    server = smtp_server("starttls")
    with pytest.raises(Temporary, match="certificate not trusted"):
        gateway(server.port, ca_file=None).send(mail(), "k")
    assert server.mails() == []


def test_a_certificate_of_another_host_gets_nothing(smtp_server):
    """The certificate says localhost; the setting says 127.0.0.1."""
    server = smtp_server("starttls")
    with pytest.raises(Temporary, match="certificate not trusted"):
        gateway(server.port, host="127.0.0.1").send(mail(), "k")
    assert server.mails() == []


def test_tls_spoken_to_a_plain_server(smtp_server):
    """Implicit TLS where there is none: temporary, nothing sent."""
    server = smtp_server("plain")
    with pytest.raises(Temporary, match="TLS refused"):
        gateway(server.port, tls="implicit").send(mail(), "k")


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("rcpt-550.a@example.org", "mail server: recipient refused 550 5.1.1"),
        ("data-554.a@example.org", "mail server: message refused 554"),
    ],
)
def test_5xx_is_permanent(smtp_server, to, reason):
    """The reason holds codes, not the address that the server's words hold."""
    server = smtp_server("starttls")
    with pytest.raises(Permanent) as caught:
        gateway(server.port).send(mail(to), "k")
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("rcpt-450.a@example.org", "mail server: recipient refused 450 5.1.1"),
        ("data-451.a@example.org", "mail server: message refused 451"),
    ],
)
def test_4xx_is_temporary(smtp_server, to, reason):
    """Greylisting and full queues pass."""
    server = smtp_server("starttls")
    with pytest.raises(Temporary) as caught:
        gateway(server.port).send(mail(to), "k")
    assert caught.value.reason == reason


def test_4xx_then_ok(smtp_server):
    """The second attempt of the same mail arrives, once, with the same Message-ID."""
    server = smtp_server("starttls")
    mails = gateway(server.port)
    with pytest.raises(Temporary):
        mails.send(mail("once-451.a@example.org"), "k")
    message_id = mails.send(mail("once-451.a@example.org"), "k")
    (sent,) = server.mails()
    assert message_id.encode() in sent


def test_nobody_listens():
    """Connection refused is temporary."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(Temporary, match="no connection"):
        gateway(port).send(mail(), "k")


def test_a_silent_server():
    """A server that accepts and says nothing costs the time-out, no more."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(Temporary, match="no answer"),
    ):
        gateway(silent.getsockname()[1], host="127.0.0.1", timeout_s=0.2).send(mail(), "k")


@pytest.mark.parametrize("tls", ["none", "starttls", "implicit"])
def test_a_server_that_trickles(trickling_server, tls):
    """A line now and then, for ever: the conversation has its time, in clear and encrypted."""
    begun = time.monotonic()
    port = trickling_server(b"220-", b"wait a little\r\n220-", tls=tls == "implicit")
    with pytest.raises(Temporary, match="no answer"):
        gateway(port, tls=tls, timeout_s=0.5).send(mail(), "k")
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tls": "maybe"}, "tls must be one of"),
        ({"user": "u"}, "both user and password"),
        ({"tls": "none", "host": "mail.example.org", "user": "u", "password": "p"}, "in clear"),
        ({"sender": "nobody"}, "sender"),
    ],
)
def test_wrong_settings_are_named_at_once(settings, words):
    """Nothing starts with a mail gateway that could never work, or would not be safe."""
    with pytest.raises(ValueError, match=words):
        gateway(25, **settings)
