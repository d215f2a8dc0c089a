"""The page behind the link in an approval request: allow or not, up to how much, how long (D9).

As with the e-mail page, opening it changes nothing, for previewers open links too; only one of the
two buttons does, once. The link is signed and expires; whoever has it holds the owner's mobile.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, make_response, render_template, request

from billing.clock import Clock
from billing.errors import Unavailable
from billing.premium.approval_requests import ApprovalPage
from billing.premium.approvals import Approvals
from sounds import Catalogue, Phrase
from web.email_page import style_policy
from web.throttle import Throttle

CEILINGS = (100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000)
"""Rials; the operator's own default is always among the choices."""
DAYS = (7, 30, 90, 180, 365)

_LANGUAGES = ("fa", "ar", "ru", "en")
_RTL = frozenset(("fa", "ar"))
_RETRY_AFTER_S = 10
_STYLE = (Path(__file__).parent / "templates" / "page.css").read_text(encoding="utf-8")


class ApprovalPages:
    """GET and POST /a/<token>."""

    def __init__(
        self,
        approvals: Approvals,
        clock: Clock,
        catalogue: Catalogue,
        nudge: Callable[[], None],
        language: str,
        zone: ZoneInfo,
        *,
        per_address: Throttle,
        per_token: Throttle,
    ) -> None:
        self._approvals = approvals
        self._clock = clock
        self._catalogue = catalogue
        self._nudge = nudge
        self._language = language
        self._zone = zone
        self._per_address = per_address
        self._per_token = per_token
        self._policy = style_policy(_STYLE)

    def blueprint(self) -> Blueprint:
        """The routes, to be registered."""
        blueprint = Blueprint("approval_page", __name__, template_folder="templates")
        blueprint.add_url_rule("/a/<token>", view_func=self.show, methods=["GET"])
        blueprint.add_url_rule("/a/<token>", view_func=self.answer, methods=["POST"])
        return blueprint

    def show(self, token: str) -> Response:
        """The question, or how it was answered. Changes nothing."""
        if wait_s := self._wait_s(token):
            return self._trouble(429, wait_s)
        try:
            page = self._approvals.page(token)
        except Unavailable:
            return self._trouble(503, _RETRY_AFTER_S)
        if page is None:
            return self._said(404, None, "page_invalid")
        if page.standing == "open":
            return self._form(page)
        return self._said(410, page, "page_approval_over")

    def answer(self, token: str) -> Response:
        """Take the answer; the first one counts, and a second press of the same button is one."""
        if wait_s := self._wait_s(token):
            return self._trouble(429, wait_s)
        wanted = request.form.get("answer")
        ceiling, days = _chosen("ceiling"), _chosen("days")
        offered = ceiling in self._ceilings() and days in self._days()
        if wanted not in ("yes", "no") or not (offered or wanted == "no"):
            return self._said(422, None, "page_invalid")
        try:
            page = self._approvals.page(token)
            decision = self._approvals.answer_by_link(
                token,
                wanted == "yes",
                ceiling if offered else None,
                days if offered else None,
                whole_category="category" in request.form,
            )
        except Unavailable:
            return self._trouble(503, _RETRY_AFTER_S)
        if page is None or decision == "unknown":
            return self._said(404, None, "page_invalid")
        if decision in ("approved", "refused"):
            self._nudge()
            return self._said(200, page, f"page_approval_{decision}", good=decision == "approved")
        # Pressed twice: what stands is what was wanted.
        if page.standing == {"yes": "approved", "no": "refused"}[wanted]:
            return self._said(200, page, f"page_approval_{page.standing}")
        return self._said(410, page, "page_approval_over")

    def _ceilings(self) -> list[int]:
        return sorted({*CEILINGS, self._approvals.terms.ceiling})

    def _days(self) -> list[int]:
        return sorted({*DAYS, self._approvals.terms.days})

    def _wait_s(self, token: str) -> int:
        return self._per_address.wait_s(request.remote_addr or "") or self._per_token.wait_s(token)

    def _form(self, page: ApprovalPage) -> Response:
        today = self._clock.now().astimezone(self._zone).date()
        text, language = self._catalogue.text, page.language
        terms = self._approvals.terms
        return self._render(
            language,
            200,
            explain=text(
                Phrase(
                    "page_approval_explain",
                    number=page.line_number,
                    service=page.names.get(language)
                    or next(iter(page.names.values()), page.service),
                    code=page.service,
                ),
                language,
            ),
            ceilings=[
                (each, text(Phrase("page_approval_amount", amount=each), language))
                for each in self._ceilings()
            ],
            days=[
                (
                    each,
                    text(
                        Phrase("page_approval_until", until=today + timedelta(days=each)), language
                    ),
                )
                for each in self._days()
            ],
            ceiling=terms.ceiling,
            chosen_days=terms.days,
        )

    def _said(
        self, status: int, page: ApprovalPage | None, message: str, *, good: bool = False
    ) -> Response:
        language = page.language if page is not None else self._browsers()
        return self._render(language, status, message=message, good=good)

    def _trouble(self, status: int, wait_s: int) -> Response:
        response = self._said(status, None, "page_trouble")
        response.headers["Retry-After"] = str(wait_s)
        return response

    def _browsers(self) -> str:
        return request.accept_languages.best_match(_LANGUAGES) or self._language

    def _render(self, language: str, status: int, **values: object) -> Response:
        def words(key: str) -> str:
            return self._catalogue.text(Phrase(key), language)

        message = values.pop("message", None)
        response = make_response(
            render_template(
                "approval_page.html",
                language=language,
                direction="rtl" if language in _RTL else "ltr",
                style=_STYLE,
                words=words,
                message=words(str(message)) if message else None,
                **values,
            ),
            status,
        )
        response.headers["Content-Language"] = language
        response.headers["Content-Security-Policy"] = self._policy
        return response


def _chosen(name: str) -> int | None:
    """A number out of a list that was offered; None for anything else."""
    text = request.form.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 12 else None
