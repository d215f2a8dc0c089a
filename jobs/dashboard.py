"""The queue dashboard that operations know (rq-dashboard), with a lock on its door."""

from __future__ import annotations

import hmac
from ipaddress import ip_address

import rq_dashboard
from flask import Flask, Response, request
from rq.serializers import JSONSerializer
from rq_dashboard import web as rq_web
from werkzeug.serving import make_server


def create_dashboard(
    redis_url: str, *, user: str | None = None, password: str | None = None
) -> Flask:
    """The dashboard as a Flask app; with user and password, behind HTTP basic authentication.

    Jobs hold outbox ids only (see handover), so no number, name or address can appear. A failed
    job can be put back into its queue here, which makes its row be tried again. Deleting is
    switched off: a job is only a nudge, and deleting it would seem to cancel a row that the
    relay then hands over again.
    """
    if (user is None) != (password is None):
        raise ValueError("the dashboard needs both user and password, or neither")
    app = Flask(__name__)
    app.config.from_object(rq_dashboard.default_settings)
    app.config["RQ_DASHBOARD_REDIS_URL"] = redis_url
    app.config["RQ_DASHBOARD_DISABLE_DELETE"] = True
    # The dashboard's own setting, and global like it.
    rq_web.config.serializer = JSONSerializer
    rq_web.setup_rq_connection(app)

    @app.before_request
    def guard() -> Response | None:
        if user is not None and password is not None and not _is_allowed(user, password):
            return Response("", 401, {"WWW-Authenticate": 'Basic realm="queues"'})
        # A page elsewhere must not press buttons here; the dashboard also requeues by GET.
        if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site") and (
            request.method != "GET" or "requeue" in request.path
        ):
            return Response("", 403)
        return None

    app.register_blueprint(rq_dashboard.blueprint)
    return app


def serve_dashboard(
    host: str, port: int, redis_url: str, *, user: str | None = None, password: str | None = None
) -> None:
    """Serve the dashboard until interrupted. Raises ValueError if it would stand open to others."""
    if password is None and not _is_loopback(host):
        raise ValueError("a dashboard that others can reach needs user and password")
    app = create_dashboard(redis_url, user=user, password=password)
    make_server(host, port, app, threaded=True).serve_forever()


def _is_allowed(user: str, password: str) -> bool:
    given = request.authorization
    if given is None or given.username is None or given.password is None:
        return False
    right_user = hmac.compare_digest(given.username.encode(), user.encode())
    right_password = hmac.compare_digest(given.password.encode(), password.encode())
    return right_user and right_password


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
