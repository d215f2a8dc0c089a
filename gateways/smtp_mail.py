"""E-mail through an SMTP server (RFC 5321), encrypted by default."""

from __future__ import annotations

import re
import smtplib
import ssl
import time
from collections.abc import Callable
from datetime import datetime
from email.message import EmailMessage
from ipaddress import ip_address
from typing import Any, Literal

from gateways.deadline import incoming
from gateways.errors import Permanent, Temporary
from gateways.mail import Mail, compose, parse_address
from gateways.sandbox import utc_now

TlsMode = Literal["starttls", "implicit", "none"]
TLS_MODES: tuple[TlsMode, ...] = ("starttls", "implicit", "none")

# RFC 3463 status code at the beginning of a reply's text; the rest may name the recipient.
_ENHANCED = re.compile(rb"\s*([245]\.\d{1,3}\.\d{1,3})\b")


class SmtpMail:
    """Sends each mail over a connection of its own.

    `tls`: "starttls" (RFC 3207; the default: no mail leaves unless the server offers it and its
    certificate is valid for `host`), "implicit" (TLS from the first byte, port 465) or "none"
    (for a relay on the same machine). `ca_file`: certificates to trust instead of the system's.
    `timeout_s` holds for connecting, and twice that for the whole conversation, however slowly the
    server speaks.

    A refusal of this recipient or this message (5xx to RCPT or DATA) is permanent. Everything
    else is temporary, wrong password and wrong certificate included: the fault is then with the
    connection, and the mail itself is still good.
    """

    def __init__(
        self,
        host: str,
        port: int = 587,
        *,
        sender: str,
        tls: TlsMode = "starttls",
        user: str | None = None,
        password: str | None = None,
        timeout_s: float = 20.0,
        ca_file: str | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        if tls not in TLS_MODES:
            raise ValueError(f"the mail server's tls must be one of {', '.join(TLS_MODES)}")
        if (user is None) != (password is None):
            raise ValueError("the mail server needs both user and password, or neither")
        if tls == "none" and password is not None and not _is_loopback(host):
            raise ValueError("a password would cross the network in clear: tls must not be none")
        try:
            parse_address(sender)
        except Permanent:
            raise ValueError("the mail's sender is not an e-mail address") from None
        self._host = host
        self._port = port
        self._sender = sender
        self._tls = tls
        self._login = None if user is None or password is None else (user, password)
        self._timeout_s = timeout_s
        self._context = ssl.create_default_context(cafile=ca_file)
        self._now = now

    def send(self, mail: Mail, key: str) -> str:
        message = compose(mail, self._sender, key, self._now())
        try:
            server = self._connect()
        except smtplib.SMTPNotSupportedError:
            raise Temporary("mail server: does not offer what is configured") from None
        except smtplib.SMTPAuthenticationError as fault:
            raise Temporary(f"mail server: log-in refused {_code(fault)}") from None
        except smtplib.SMTPResponseException as fault:
            raise Temporary(f"mail server: connection refused {_code(fault)}") from None
        except ssl.SSLCertVerificationError:
            raise Temporary("mail server: certificate not trusted") from None
        except ssl.SSLError:
            raise Temporary("mail server: TLS refused") from None
        except (OSError, smtplib.SMTPException):
            raise Temporary("mail server: no connection or no answer") from None
        try:
            self._transmit(server, message)
        finally:
            # QUIT is a courtesy; the mail is taken once DATA is answered.
            server.close()
        return str(message["Message-ID"])

    def _connect(self) -> smtplib.SMTP:
        if self._tls == "implicit":
            server: smtplib.SMTP = _TlsConversation(
                self._host, self._port, timeout=self._timeout_s, context=self._context
            )
        else:
            server = _Conversation(self._host, self._port, timeout=self._timeout_s)
        try:
            if self._tls == "starttls":
                server.starttls(context=self._context)
            if self._login is not None:
                server.login(*self._login)
        except BaseException:
            server.close()
            raise
        return server

    def _transmit(self, server: smtplib.SMTP, message: EmailMessage) -> None:
        """MAIL, RCPT and DATA for one recipient, each refusal turned into what it means."""
        try:
            server.send_message(message)
        except smtplib.SMTPRecipientsRefused as fault:
            ((code, text),) = fault.recipients.values()
            raise _refusal("recipient", code, text) from None
        except smtplib.SMTPSenderRefused as fault:
            # The sender is our own setting: the mail is still good.
            raise Temporary(f"mail server: sender refused {_code(fault)}") from None
        except smtplib.SMTPResponseException as fault:
            raise _refusal("message", fault.smtp_code, fault.smtp_error) from None
        except (OSError, smtplib.SMTPException):
            raise Temporary("mail server: connection lost", maybe_sent=True) from None


class _Conversation(smtplib.SMTP):
    """smtplib with a deadline: its own timeout begins anew with each byte of an answer."""

    _deadline = 0.0

    def connect(self, *arguments: Any, **options: Any) -> tuple[int, bytes]:
        self._deadline = time.monotonic() + 2 * self.timeout
        return super().connect(*arguments, **options)

    def getreply(self) -> tuple[int, bytes]:
        # After STARTTLS smtplib wants another file, of the encrypted socket.
        if self.file is None and self.sock is not None:
            self.file = incoming(self.sock, self._deadline)
        return super().getreply()


class _TlsConversation(_Conversation, smtplib.SMTP_SSL):
    """The same, encrypted from the first byte."""


def _refusal(what: str, code: int, text: bytes | str) -> Permanent | Temporary:
    reason = f"mail server: {what} refused {_codes(code, text)}"
    return Permanent(reason) if 500 <= code < 600 else Temporary(reason)


def _code(fault: smtplib.SMTPResponseException) -> str:
    return _codes(fault.smtp_code, fault.smtp_error)


def _codes(code: int, text: bytes | str) -> str:
    """The codes of a reply, such as "550 5.1.1"; its words are left out."""
    found = _ENHANCED.match(text.encode("utf-8", "replace") if isinstance(text, str) else text)
    return f"{code} {found[1].decode()}" if found else str(code)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
