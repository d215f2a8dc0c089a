"""Sending e-mail: the port, a message, and a sandbox that writes .eml files.

Real servers are reached through `gateways.smtp_mail.SmtpMail`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.errors import HeaderParseError, MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Protocol

from gateways.errors import Permanent, Temporary
from gateways.keys import message_token
from gateways.sandbox import SandboxFolder, utc_now


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file in a mail: its name as shown, its media type such as "image/png", its bytes."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Mail:
    """What is sent, and to whom: `to` is one address, `text` the plain-text body."""

    to: str
    subject: str
    text: str
    language: str
    attachments: Sequence[Attachment] = field(default=())


class MailGateway(Protocol):
    """Whatever can carry an e-mail."""

    def send(self, mail: Mail, key: str) -> str:
        """Hand over a mail; gives its Message-ID.

        The same key again gives the same Message-ID, so that servers and readers can drop the
        repetition. Raises `Temporary` (try again with the same key) or `Permanent`.
        """
        ...


class SandboxMail:
    """Writes each mail as an .eml file that any mail program opens, and a line in
    messages.jsonl.
    """

    def __init__(
        self,
        folder: Path,
        sender: str = "bills@callflows.invalid",
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._folder = SandboxFolder(folder, now)
        self._sender = sender
        self._now = now

    def send(self, mail: Mail, key: str) -> str:
        message = compose(mail, self._sender, key, self._now())
        record = {
            "to": mail.to,
            "subject": mail.subject,
            "message_id": str(message["Message-ID"]),
            "attachments": [attachment.name for attachment in mail.attachments],
        }
        try:
            self._folder.put(f"mail-{message_token(key)}.eml", message.as_bytes(), record)
        except OSError as fault:
            raise Temporary(f"sandbox folder: {fault.strerror}") from None
        return str(message["Message-ID"])


def compose(mail: Mail, sender: str, key: str, now: datetime) -> EmailMessage:
    """The mail as a message (RFC 5322, MIME), ready to be written or sent.

    Headers are set through `EmailMessage`, which refuses line breaks, so nothing in an address
    or a subject can add a header. Raises Permanent if the address is not one, or the subject
    cannot be a header.
    """
    recipient = parse_address(mail.to)
    message = EmailMessage(policy=SMTP)
    try:
        message["From"] = sender
        message["To"] = recipient
        message["Subject"] = mail.subject
    except (ValueError, MessageError):
        raise Permanent("mail: subject cannot be a header") from None
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{message_token(key)}@{parse_address(sender).domain}>"
    message["Content-Language"] = mail.language
    # A machine wrote this: no out-of-office answers, please (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    for attachment in mail.attachments:
        main, _, sub = attachment.media_type.partition("/")
        message.add_attachment(
            attachment.content, maintype=main, subtype=sub, filename=attachment.name
        )
    return message


def parse_address(text: str) -> Address:
    """One e-mail address (RFC 5321 addr-spec), its domain in ASCII (IDNA).

    Raises Permanent without repeating the text, which is personal data.
    """
    try:
        address = Address(addr_spec=text)
        domain = address.domain.encode("idna").decode("ascii")
    except (ValueError, HeaderParseError, IndexError, TypeError):
        raise Permanent("mail: not an e-mail address") from None
    if not address.username or not domain or any(c.isspace() or c < " " for c in text):
        raise Permanent("mail: not an e-mail address")
    return Address(username=address.username, domain=domain)
