"""The small page behind the signed link in the SMS: type an e-mail address, get the bill (A8).

Opening the page never uses the link up: previewers in messengers and safe-browsing scanners open
it before the subscriber does. Only sending the form does, and the single-use token is also what
makes a forged form useless.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from flask import Blueprint, Response, make_response, render_template, request

from billing.desk import Desk
from billing.email_requests import Answer, EmailPage
from billing.errors import Unavailable
from sounds import Catalogue, Phrase
from web.throttle import Throttle

LONGEST_ADDRESS = 254
"""Characters of an e-mail address (RFC 5321, 4.5.3.1.3, less the angle brackets)."""

_LANGUAGES = ("fa", "ar", "ru", "en")
_RTL = frozenset(("fa", "ar"))
_REMEMBERED = 1_000
_RETRY_AFTER_S = 10

_STATUS = {
    Answer.OPEN: 200,
    Answer.ACCEPTED: 200,
    Answer.NOT_AN_ADDRESS: 422,
    Answer.EXPIRED: 410,
    Answer.USED: 410,
    Answer.INVALID: 404,
}
_WORDS = {
    Answer.ACCEPTED: "page_done",
    Answer.EXPIRED: "page_expired",
    Answer.USED: "page_used",
    Answer.INVALID: "page_invalid",
}

_STYLE = (Path(__file__).parent / "templates" / "page.css").read_text(encoding="utf-8")


def style_policy(style: str, images: str = "'none'") -> str:
    """A Content-Security-Policy that lets a page use this one style, no script, no other host."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src {images}; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


class EmailPages:
    """GET and POST /e/<token>."""

    def __init__(
        self,
        desk: Desk,
        catalogue: Catalogue,
        nudge: Callable[[], None],
        language: str,
        *,
        per_address: Throttle,
        per_token: Throttle,
    ) -> None:
        self._desk = desk
        self._catalogue = catalogue
        self._nudge = nudge
        self._language = language
        self._per_address = per_address
        self._per_token = per_token
        self._policy = style_policy(_STYLE)
        self._accepted = _Accepted()

    def blueprint(self) -> Blueprint:
        """The routes, to be registered."""
        blueprint = Blueprint("email_page", __name__, template_folder="templates")
        blueprint.add_url_rule("/e/<token>", view_func=self.show, methods=["GET"])
        blueprint.add_url_rule("/e/<token>", view_func=self.send, methods=["POST"])
        return blueprint

    def show(self, token: str) -> Response:
        """The form, or why there is none. Changes nothing."""
        if wait_s := self._wait_s(token):
            return self._trouble(429, None, wait_s)
        try:
            page = self._desk.email_request(token)
        except Unavailable:
            return self._trouble(503, None, _RETRY_AFTER_S)
        return self._page(page.answer, page)

    def send(self, token: str) -> Response:
        """Take the address; sent twice in a hurry, the same answer is given twice."""
        if wait_s := self._wait_s(token):
            return self._trouble(429, None, wait_s)
        address = request.form.get("address", "").strip()
        page: EmailPage | None = None
        try:
            page = self._desk.email_request(token)
            answer: Answer = page.answer
            if answer is Answer.OPEN and len(address) > LONGEST_ADDRESS:
                answer = Answer.NOT_AN_ADDRESS
            elif answer is Answer.OPEN:
                answer = self._desk.answer_email_by_link(token, address)
        except Unavailable:
            return self._trouble(503, page, _RETRY_AFTER_S, address)
        if answer is Answer.ACCEPTED:
            self._accepted.add(token, address)
            self._nudge()
        elif answer is Answer.USED and self._accepted.holds(token, address):
            answer = Answer.ACCEPTED
        return self._page(answer, page, address)

    def _wait_s(self, token: str) -> int:
        return self._per_address.wait_s(request.remote_addr or "") or self._per_token.wait_s(token)

    def _page(self, answer: Answer, page: EmailPage, address: str = "") -> Response:
        language = self._page_language(page)
        problem = "page_not_an_address" if answer is Answer.NOT_AN_ADDRESS else None
        return self._render(
            language,
            _STATUS[answer],
            message=_WORDS.get(answer),
            good=answer is Answer.ACCEPTED,
            problem=problem,
            number=page.number,
            address=address,
        )

    def _trouble(
        self, status: int, page: EmailPage | None, wait_s: int, address: str = ""
    ) -> Response:
        # Where we know the request, the form stays, so that sending it again is one press.
        form = page is not None and page.answer is Answer.OPEN
        response = self._render(
            self._page_language(page),
            status,
            message=None if form else "page_trouble",
            good=False,
            problem="page_trouble" if form else None,
            number=page.number if page else None,
            address=address,
        )
        response.headers["Retry-After"] = str(wait_s)
        return response

    def _page_language(self, page: EmailPage | None) -> str:
        if page is not None and page.language:
            return page.language
        return request.accept_languages.best_match(_LANGUAGES) or self._language

    def _render(
        self,
        language: str,
        status: int,
        *,
        message: str | None,
        good: bool,
        problem: str | None,
        number: str | None,
        address: str,
    ) -> Response:
        def words(key: str) -> str:
            return self._catalogue.text(Phrase(key), language)

        explain = (
            self._catalogue.text(Phrase("page_explain", number=number), language)
            if number and not message
            else None
        )
        response = make_response(
            render_template(
                "email_page.html",
                language=language,
                direction="rtl" if language in _RTL else "ltr",
                style=_STYLE,
                words=words,
                explain=explain,
                message=message and words(message),
                good=good,
                problem=problem and words(problem),
                address=address,
                longest=LONGEST_ADDRESS,
            ),
            status,
        )
        response.headers["Content-Language"] = language
        response.headers["Content-Security-Policy"] = self._policy
        return response


class _Accepted:
    """Which forms this process accepted lately, as keyed hashes: a double press looks like one.

    Only kindness depends on it: what is sent, and that it is sent once, is in the database.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)
        self._hashes: OrderedDict[bytes, None] = OrderedDict()

    def add(self, token: str, address: str) -> None:
        self._hashes[self._hash(token, address)] = None
        if len(self._hashes) > _REMEMBERED:
            self._hashes.popitem(last=False)

    def holds(self, token: str, address: str) -> bool:
        return self._hash(token, address) in self._hashes

    def _hash(self, token: str, address: str) -> bytes:
        text = f"{token}\n{address}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, text, "sha256").digest()
