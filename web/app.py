"""The Flask application: pages for subscribers, end points for machines, the sandbox to try it.

What runs here is short: the decisions are billing's, the words the catalogue's. Responses carry
headers that keep them out of caches, frames and referrers; logs hold the route's pattern, never
a path, a token or a body (A9).
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from billing.clock import Clock
from billing.desk import Desk
from billing.errors import Unavailable
from billing.premium.approvals import Approvals
from billing.premium.owner_sms import OwnerSms
from sounds import Catalogue
from web.api import ApiError
from web.approval_page import ApprovalPages
from web.cdr import CdrIntake
from web.email_page import EmailPages
from web.inbound_sms import InboundSms
from web.metrics import WebMetrics
from web.payments import Payments
from web.sandbox import Sandbox
from web.signing import BadSignature
from web.throttle import Throttle

MAX_BODY_BYTES = 16 * 1024
"""No request that we answer needs more, save a switch's call record, which has its own limit."""

_RETRY_AFTER_S = 10
_log = logging.getLogger(__name__)


def create_app(
    *,
    desk: Desk,
    catalogue: Catalogue,
    clock: Clock,
    nudge: Callable[[], None],
    payment_keys: Sequence[str],
    sms_keys: Sequence[str],
    owner_sms: OwnerSms | None = None,
    approvals: Approvals | None = None,
    timezone: str = "Asia/Tehran",
    cdr: CdrIntake | None = None,
    metrics: WebMetrics | None = None,
    language: str = "fa",
    sandbox: Sequence[Path] = (),
    trusted_proxies: int = 0,
    monotonic: Callable[[], float] = time.monotonic,
) -> Flask:
    """Build the application.

    Args:
        desk: what may be done with bills, requests and payments.
        catalogue: the words of the pages.
        clock: the time that signatures are checked against.
        nudge: called after something was put in the outbox (`jobs.nudge.Nudger.nudge`).
        payment_keys: HMAC keys of the payment system, more than one while they are changed.
        sms_keys: HMAC keys of the SMS gateway, likewise.
        owner_sms: obeys what lines' owners order by SMS; None: nobody does.
        approvals: what the page behind an approval request answers; None: no such page.
        timezone: the operator's.
        cdr: takes the call records of switches; None: no such end point.
        metrics: counts the requests; None: nothing does.
        language: of pages whose request is not known, where the browser asks for none of ours.
        sandbox: folders of sandbox gateways to show under /sandbox; empty: no such page.
        trusted_proxies: how many reverse proxies in front of us set X-Forwarded-For; with the
            default, 0, that header is not believed.
        monotonic: seconds for the rate limits.

    Raises:
        ValueError: no key, or an empty one.
    """
    for name, keys in (("payment_keys", payment_keys), ("sms_keys", sms_keys)):
        if not keys or not all(keys):
            raise ValueError(f"{name}: at least one key is needed, and none may be empty")
    app = Flask("web", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    if trusted_proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=trusted_proxies, x_proto=0, x_host=0
        )

    if metrics is not None:
        # First, so that its time is the whole request's.
        metrics.watch(app)
    inbound = InboundSms(desk, clock, nudge, sms_keys, owner_sms)
    app.register_blueprint(Payments(desk, clock, nudge, payment_keys).blueprint())
    app.register_blueprint(inbound.blueprint())
    app.register_blueprint(
        EmailPages(
            desk,
            catalogue,
            nudge,
            language,
            per_address=Throttle(60, 60, monotonic),
            per_token=Throttle(20, 600, monotonic),
        ).blueprint()
    )
    if approvals is not None:
        app.register_blueprint(
            ApprovalPages(
                approvals,
                clock,
                catalogue,
                nudge,
                language,
                ZoneInfo(timezone),
                per_address=Throttle(60, 60, monotonic),
                per_token=Throttle(20, 600, monotonic),
            ).blueprint()
        )
    if cdr is not None:
        app.register_blueprint(cdr.blueprint())
    if sandbox:
        app.register_blueprint(Sandbox(tuple(sandbox), inbound).blueprint())

    @app.get("/healthz")
    def healthz() -> Response:
        """Says that this process answers; its database has its own watch."""
        return jsonify(status="ok")

    app.after_request(_harden)
    app.after_request(_access_log)
    app.register_error_handler(ApiError, ApiError.response)
    app.register_error_handler(BadSignature, _bad_signature)
    app.register_error_handler(Unavailable, _unavailable)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _failed)
    return app


def _harden(response: Response) -> Response:
    headers = response.headers
    headers["Cache-Control"] = "no-store"
    headers["Referrer-Policy"] = "no-referrer"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Robots-Tag"] = "noindex, nofollow"
    # Pages with a style or images of their own have said so already.
    headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    return response


def _access_log(response: Response) -> Response:
    rule = request.url_rule.rule if request.url_rule else "(no route)"
    _log.info("%s %s %s", request.method, rule, response.status_code)
    return response


def _bad_signature(error: BadSignature) -> Response:
    return ApiError(401, "bad_signature", str(error)).response()


def _unavailable(_error: Unavailable) -> Response:
    answer = ApiError(503, "unavailable", "nothing was recorded; please send it again").response()
    answer.headers["Retry-After"] = str(_RETRY_AFTER_S)
    return answer


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    answer = ApiError(status, error.name.lower().replace(" ", "_"), error.name).response()
    if status == 405 and (allowed := error.get_response().headers.get("Allow")):
        answer.headers["Allow"] = allowed
    return answer


def _failed(error: Exception) -> Response:
    # Neither message nor local values: a database error repeats its parameters.
    frames = traceback.extract_tb(error.__traceback__)
    where = " < ".join(f"{frame.name} {Path(frame.filename).name}:{frame.lineno}"
                       for frame in reversed(frames[-6:]))  # fmt: skip
    _log.error("unexpected %s in %s", type(error).__name__, where)
    return ApiError(500, "internal_error", "an error on our side; it has been noted").response()
