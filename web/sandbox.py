"""/sandbox: what a subscriber's phone and mailbox would show, where the gateways are sandboxes.

For trying the service on one's own machine only. The pages answer to this machine alone: to its
loopback address, under a loopback name (else a foreign site could reach them by DNS rebinding),
and their form only to themselves.
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request
from markupsafe import Markup, escape
from werkzeug.wrappers import Response as AnyResponse

from billing.errors import InvalidNumber, Unavailable
from billing.numbers import parse_number
from gateways.sandbox import read_index
from web.email_page import style_policy
from web.inbound_sms import LONGEST_TEXT, InboundSms

_NEWEST_SMS = 200
_NEWEST_MAILS = 20
_STYLE = (Path(__file__).parent / "templates" / "sandbox.css").read_text(encoding="utf-8")
_SHOWN_TYPES = frozenset(("image/png", "application/pdf"))


@dataclass(frozen=True, slots=True)
class SentSms:
    """An SMS that the sandbox gateway took."""

    at: datetime
    to: str
    text: str

    @property
    def linked(self) -> Markup:
        """The text as HTML, its web addresses made links, as a phone does."""
        words = (
            Markup('<a href="{0}" dir="ltr">{0}</a>').format(word)
            if word.startswith(("http://", "https://"))
            else escape(word)
            for word in re.split(r"(\s+)", self.text)
        )
        return Markup("").join(words)


@dataclass(frozen=True, slots=True)
class SentMail:
    """A mail that the sandbox gateway took; `number` counts the mails of all folders from 0."""

    number: int
    at: datetime
    to: str
    subject: str
    text: str
    language: str
    attachments: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Phone:
    """All SMS to one number, oldest first."""

    number: str
    messages: list[SentSms] = field(default_factory=list)


class Sandbox:
    """The pages. `folders` are those of `gateways` sandboxes; one may hold SMS and mail."""

    def __init__(self, folders: Sequence[Path], inbound: InboundSms) -> None:
        self._folders = folders
        self._inbound = inbound
        self._policy = style_policy(_STYLE, images="'self'")

    def blueprint(self) -> Blueprint:
        """The routes, to be registered."""
        blueprint = Blueprint("sandbox", __name__, template_folder="templates")
        blueprint.before_request(_only_this_machine)
        rules = (
            ("/sandbox", self.overview, "GET"),
            ("/sandbox/sms", self.answer, "POST"),
            ("/sandbox/mail/<int:number>/<int:part>", self.attachment, "GET"),
        )
        for rule, view, method in rules:
            blueprint.add_url_rule(rule, view_func=view, methods=[method])
        return blueprint

    def overview(self) -> Response:
        """Every phone with its SMS, every mail with its pictures; the newest first."""
        return self._page()

    def answer(self) -> AnyResponse:
        """Send an SMS as if from the phone `from`; on to the overview."""
        text = request.form.get("text", "")[:LONGEST_TEXT]
        try:
            mobile = parse_number(request.form.get("from", ""), kind="mobile")
            self._inbound.answer(mobile, text, f"sandbox-{uuid.uuid4()}")
        except InvalidNumber as error:
            return self._page(f"from: {error}", 422)
        except Unavailable:
            return self._page("the database is busy: nothing was recorded; please try again", 503)
        return redirect("/sandbox", 303)

    def attachment(self, number: int, part: int) -> Response:
        """One attachment of one mail."""
        records = self._records("subject")
        if number >= len(records):
            abort(404)
        attachments = list(_message(records[number]).iter_attachments())
        if part >= len(attachments) or attachments[part].get_content_type() not in _SHOWN_TYPES:
            abort(404)
        response = make_response(attachments[part].get_content())
        response.content_type = attachments[part].get_content_type()
        return response

    def _page(self, problem: str | None = None, status: int = 200) -> Response:
        page = render_template(
            "sandbox.html",
            style=_STYLE,
            phones=self._phones(),
            mails=self._mails(),
            problem=problem,
            longest=LONGEST_TEXT,
        )
        response = make_response(page, status)
        response.headers["Content-Security-Policy"] = self._policy
        return response

    def _phones(self) -> list[Phone]:
        phones: dict[str, Phone] = {}
        for record in self._records("text")[-_NEWEST_SMS:]:
            number = record["to"]
            # Taken out and put back, so that the phone that got a message last comes last.
            phone = phones.pop(number, Phone(number))
            at = datetime.fromisoformat(record["at"])
            phone.messages.append(SentSms(at, number, record["text"]))
            phones[number] = phone
        return list(reversed(phones.values()))

    def _mails(self) -> list[SentMail]:
        records = self._records("subject")
        first = max(0, len(records) - _NEWEST_MAILS)
        return [_mail(number, records[number]) for number in range(len(records) - 1, first - 1, -1)]

    def _records(self, kind: str) -> list[dict[str, Any]]:
        """Index entries with a member `kind` (SMS have a text, mails a subject), oldest first."""
        records = [
            {**record, "folder": folder}
            for folder in self._folders
            for record in read_index(folder)
            if kind in record
        ]
        return sorted(records, key=lambda record: str(record["at"]))


def _message(record: dict[str, Any]) -> EmailMessage:
    folder: Path = record["folder"]
    message = message_from_bytes((folder / Path(record["file"]).name).read_bytes(), policy=modern)
    assert isinstance(message, EmailMessage)  # the policy's own message class
    return message


def _mail(number: int, record: dict[str, Any]) -> SentMail:
    message = _message(record)
    body = message.get_body(("plain",))
    attachments = message.iter_attachments()
    return SentMail(
        number,
        datetime.fromisoformat(record["at"]),
        record["to"],
        record["subject"],
        body.get_content() if body else "",
        str(message.get("Content-Language", "")),
        [(part.get_filename() or "", part.get_content_type()) for part in attachments],
    )


FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")


def _only_this_machine() -> None:
    name = urlsplit(f"//{request.host}").hostname or ""
    if not (_is_loopback(request.remote_addr) and (name == "localhost" or _is_loopback(name))):
        abort(404)
    if any(header in request.headers for header in FORWARDED):
        # A proxy on this machine asks for somebody elsewhere.
        abort(404)
    # Not the Origin: under our Referrer-Policy browsers send it as "null".
    if request.method == "POST" and request.headers.get("Sec-Fetch-Site", "none") not in (
        "same-origin",
        "none",
    ):
        abort(403)


def _is_loopback(address: str | None) -> bool:
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False
