"""What each process of `callflows run` does."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Sequence

from callflows.config import ConfigError, Settings
from cli import metrics
from cli.parts import Parts, address
from cli.worker import run_workers

log = logging.getLogger(__name__)


def worker(settings: Settings) -> None:
    """Calls, in one or several processes. This process is patched by gevent, and only watches."""
    run_workers(settings)


def dialer(settings: Settings) -> None:
    """Campaigns' calls. The process is patched by gevent."""
    from cli.dialer import run_dialer

    if not settings.control_addresses:
        raise ConfigError("control_addresses: a dialer needs the event socket of a switch")
    run_dialer(Parts(settings), log.info)


def web(settings: Settings) -> None:
    """Pages and end points. The process is patched by gevent."""
    from web.app import create_app
    from web.cdr import CdrIntake
    from web.metrics import WebMetrics
    from web.server import serve

    parts = Parts(settings)
    measured = WebMetrics(parts.registry)
    metrics.serve_in_greenlet(settings, "web", parts.registry)
    app = create_app(
        desk=parts.desk,
        catalogue=parts.catalogue,
        clock=parts.clock,
        nudge=parts.nudge,
        payment_keys=keys_of(settings, "payment_key"),
        sms_keys=keys_of(settings, "sms_inbound_key"),
        owner_sms=parts.premium.owner.sms,
        approvals=parts.premium.owner.approvals,
        timezone=settings.timezone,
        cdr=CdrIntake(
            parts.database,
            parts.clock,
            keys_of(settings, "cdr_password"),
            measured.cdr,
            parts.charge_tolerance,
        ),
        metrics=measured,
        language=settings.language,
        # Whoever can answer an SMS here is believed to be its receiver: only where all is play.
        sandbox=[parts.sms_folder, parts.mail_folder]
        if settings.sms_gateway == settings.mail_gateway == "sandbox"
        else [],
        trusted_proxies=settings.trusted_proxies,
    )
    serve(app, address(settings.web_listen))


def dashboard(settings: Settings) -> None:
    """rq-dashboard."""
    from jobs.dashboard import serve_dashboard

    host, port = address(settings.dashboard_listen)
    password = settings.dashboard_password
    log.info("queue dashboard at http://%s", settings.dashboard_listen)
    serve_dashboard(
        host,
        port,
        settings.redis(),
        user="callflows" if password else None,
        password=password.get_secret_value() if password else None,
    )


def relay(settings: Settings) -> None:
    """Hands due outbox rows to RQ."""
    from jobs.metrics import QueueCollector
    from jobs.relay import Relay

    parts = Parts(settings)
    process = Relay(parts.database, settings.redis(), parts.clock, chores=parts.chores)
    parts.registry.register(QueueCollector(parts.database, parts.clock, lambda: process.leads))
    metrics.serve_in_thread(settings, "relay", parts.registry)
    _stop_on_signal(process.stop)
    log.info("relay hands over what is due")
    process.run()


def jobs(settings: Settings, queues: Sequence[str]) -> None:
    """Consumes some queues, the first one first."""
    from jobs.messages import Messages
    from jobs.metrics import JobMetrics
    from jobs.postings import Postings
    from jobs.retrying import Retrying
    from jobs.worker import run_consumer

    parts = Parts(settings)
    messages = Messages(
        parts.desk,
        parts.clock,
        parts.catalogue,
        parts.links,
        sms=parts.sms,
        mail=parts.mail,
        link_base=settings.public_url,
        android_url=settings.app_android_url,
        ios_url=settings.app_ios_url,
        operator=settings.operator_name,
    )
    postings = Postings(parts.desk, parts.nudge)
    metrics.serve_in_thread(settings, "jobs", parts.registry)
    run_consumer(
        queues,
        database=parts.database,
        redis_url=settings.redis(),
        clock=parts.clock,
        handlers={
            **messages.handlers(),
            **postings.handlers(),
            **parts.premium.owner.messages.handlers(),
            **parts.premium.charge_postings.handlers(),
            **parts.premium.charge_messages.handlers(),
            **parts.daily_report.handlers(),
            **parts.retention.handlers(),
        },
        retrying=Retrying(attempts=settings.max_attempts),
        metrics=JobMetrics(parts.registry),
    )


def redis(settings: Settings) -> None:
    """The embedded Redis on its own."""
    from threading import Event

    from jobs.redis_server import EmbeddedRedis

    if settings.redis_url is not None:
        raise ConfigError("redis_url: is configured, so there is no Redis of our own to run")
    stopped = Event()
    _stop_on_signal(stopped.set)
    with EmbeddedRedis(settings.redis_dir):
        log.info("Redis runs in %s", settings.redis_dir)
        stopped.wait()


def keys_of(settings: Settings, name: str) -> list[str]:
    """The HMAC keys of a sender: several, separated by commas, while one is being replaced."""
    return [key.strip() for key in settings.secret(name).split(",") if key.strip()]


def _stop_on_signal(stop: Callable[[], object]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())
