"""The parts of the house, put together from the configuration."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click
from prometheus_client import CollectorRegistry

from billing.announcing import Announcements
from billing.calendars import Calendars
from billing.clock import SystemClock
from billing.database import Database
from billing.desk import Desk
from billing.errors import Unavailable
from billing.grouped import GroupedDatabase
from billing.limits import Limits
from billing.links import Links
from billing.premium.answers import Answers
from billing.premium.history import Histories
from callflows.call import Timers
from callflows.config import ConfigError, Settings
from callflows.services import Numbers, Services
from callflows.trees.ports import TreeServices
from cli.premium_parts import InThread, PremiumParts
from gateways.crm import Crm
from gateways.http_sms import HttpSms
from gateways.mail import MailGateway, SandboxMail
from gateways.sms import SandboxSms, SmsGateway
from gateways.smtp_mail import SmtpMail
from jobs.cdr_spool import CdrSpool
from jobs.daily_report import DailyReport
from jobs.nudge import Nudger
from jobs.retention import Retention
from sounds import Catalogue, Library, load_catalogue

if TYPE_CHECKING:
    from esl_worker.switches import Switches


def address(listen: str) -> tuple[str, int]:
    """Host and port of a `host:port` key."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


class Parts:
    """Makes each part once, when it is first asked for.

    `migrated` says that the database has this release's schema already; `aside` is where it
    commits (see `Database`).
    """

    def __init__(
        self,
        settings: Settings,
        *,
        migrated: bool = False,
        aside: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        # Database, logs, sandbox and reports hold names, addresses and numbers (A9).
        os.umask(0o077)
        self.settings = settings
        self.clock = SystemClock()
        # Does long computations beside the calls, in a process that serves any.
        self.in_thread: InThread | None = None
        self._migrated = migrated
        self._aside = aside

    @cached_property
    def database(self) -> Database:
        """The database, migrated to this release's schema."""
        url = self.settings.database_url
        if url.startswith("sqlite:///"):
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        database = GroupedDatabase(url, deadline=self.settings.resend_limit_s, aside=self._aside)
        if self._migrated:
            return database
        try:
            database.migrate()
        except Unavailable as error:
            raise click.ClickException(
                f"database_url: the database does not answer: {error}\n"
                "Is the server running, and does the account have access?"
            ) from error
        return database

    @cached_property
    def links(self) -> Links:
        """Signs the links of e-mail requests (A8)."""
        secret = self.settings.secret("link_key").encode()
        return Links(secret, lifetime=timedelta(hours=self.settings.link_hours))

    @cached_property
    def limits(self) -> Limits:
        """The limits on messages."""
        settings = self.settings
        return Limits(
            caller_per_day=settings.sms_per_caller_day,
            anonymous_per_day=settings.sms_anonymous_day,
            destination_per_day=settings.sms_per_destination_day,
            destination_per_hour=settings.sms_per_destination_hour,
            total_per_day=settings.sms_per_day,
            timezone=settings.timezone,
        )

    @cached_property
    def desk(self) -> Desk:
        """Billing, as conversations and pages see it."""
        return Desk(self.database, self.clock, limits=self.limits, links=self.links)

    @cached_property
    def premium(self) -> PremiumParts:
        """Premium-rate lines."""
        return PremiumParts(self, self.limits)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The phrases in four languages."""
        return load_catalogue().with_library(self.library)

    @cached_property
    def library(self) -> Library:
        """The recordings of services and callers: lengths and texts."""
        return Library(Path(self.settings.sounds_dir).resolve())

    @cached_property
    def services(self) -> Services:
        """What conversations may use."""
        settings = self.settings
        return Services(
            desk=self.desk,
            clock=self.clock,
            numbers=Numbers(
                payment_fixed=settings.payment_fixed,
                payment_mobile=settings.payment_mobile,
                payment_context=settings.payment_context,
                care=settings.care_number,
                care_context=settings.care_context,
            ),
            region=settings.region,
            timezone=settings.zone,
            pen_and_paper_s=settings.pen_and_paper_s,
            announcements=Announcements(self.database, self.clock),
            premium=self.premium.desk(self.in_thread),
            nudge=self.nudge,
        )

    def nudge(self) -> None:
        """Wake the relay; where no Redis is known, it finds the row at its next look."""
        if self._nudger is not None:
            self._nudger.nudge()

    @cached_property
    def _nudger(self) -> Nudger | None:
        try:
            return Nudger(self.settings.redis())
        except ConfigError:
            return None

    @cached_property
    def sms_folder(self) -> Path:
        """Where the sandbox puts SMS."""
        return self.settings.state_dir / "sandbox" / "sms"

    @cached_property
    def mail_folder(self) -> Path:
        """Where the sandbox puts mail."""
        return self.settings.state_dir / "sandbox" / "mail"

    @cached_property
    def sms(self) -> SmsGateway:
        """The gateway that SMS leave by."""
        settings = self.settings
        if settings.sms_gateway == "sandbox" or settings.sms_http_url is None:
            return SandboxSms(self.sms_folder)
        headers = {}
        if settings.sms_http_token is not None:
            headers["Authorization"] = f"Bearer {settings.sms_http_token.get_secret_value()}"
        url, json, form = settings.sms_http_url, settings.sms_http_json, settings.sms_http_form
        if json is None and form is None and "{text}" not in url:
            json = {"to": "{to}", "text": "{text}", "id": "{key}"}
        user, password = settings.sms_http_user, settings.sms_http_password
        return HttpSms(
            url,
            method=settings.sms_http_method,
            json=json,
            form=form,
            headers=headers,
            basic_auth=(user, password.get_secret_value()) if user and password else None,
            success_pattern=settings.sms_http_success,
            reference_field=settings.sms_http_reference,
            ca_file=str(settings.sms_http_ca_file) if settings.sms_http_ca_file else None,
        )

    @cached_property
    def mail(self) -> MailGateway:
        """The gateway that mail leaves by."""
        settings = self.settings
        if settings.mail_gateway == "sandbox" or settings.smtp_host is None:
            return SandboxMail(self.mail_folder, settings.mail_from)
        password = settings.smtp_password
        return SmtpMail(
            settings.smtp_host,
            settings.smtp_port,
            sender=settings.mail_from,
            tls=settings.smtp_tls,
            user=settings.smtp_user,
            password=password.get_secret_value() if password else None,
            ca_file=str(settings.smtp_ca_file) if settings.smtp_ca_file else None,
        )

    @cached_property
    def switches(self) -> Switches:
        """The control connections; none where control_addresses is empty."""
        # Here, because gevent is loaded only in the processes that need it.
        from esl_worker.metrics import SwitchMetrics
        from esl_worker.switches import Switches

        settings = self.settings
        password = settings.control_password
        if settings.control_addresses and not (password and password.get_secret_value()):
            raise ConfigError("control_password: needed where control_addresses are given")
        return Switches(
            [address(each) for each in settings.control_addresses],
            password.get_secret_value() if password else "",
            metrics=SwitchMetrics(self.registry),
        )

    @cached_property
    def calendars(self) -> Calendars:
        """The calendars that campaigns keep to."""
        return Calendars(self.settings.calendars_dir)

    @cached_property
    def daily_report(self) -> DailyReport:
        """The report of each day, into state_dir/reports."""
        folder = self.settings.state_dir / "reports"
        return DailyReport(self.database, self.clock, folder, self.settings.timezone)

    @cached_property
    def retention(self) -> Retention:
        """The daily forgetting."""
        return Retention(self.database, self.clock, self.settings.keep_days)

    @cached_property
    def cdr_spool(self) -> CdrSpool:
        """Takes in the switch's disk spool of call records, where one is configured."""
        return CdrSpool(
            self.database, self.clock, self.settings.cdr_spool_dir, self.charge_tolerance
        )

    @property
    def charge_tolerance(self) -> timedelta:
        """How much a premium charge may differ from the call's record."""
        return timedelta(seconds=self.settings.premium_cdr_tolerance_s)

    @cached_property
    def crm(self) -> Crm:
        """Providers' CRM, which menu trees ask."""
        settings = self.settings
        ca_file = settings.premium_crm_ca_file
        return Crm(
            self._crm_secret,
            private=settings.premium_crm_hosts,
            ca_file=None if ca_file is None else str(ca_file),
        )

    @cached_property
    def histories(self) -> Histories:
        """Earlier calls to a provider, for its CRM and its consultants."""
        return Histories(self.database, self._crm_secret)

    @cached_property
    def trees(self) -> TreeServices:
        """What menu trees use."""
        return TreeServices(
            answers=Answers(self.database, self.clock),
            crm=self.crm,
            histories=self.histories,
            catalogue=self.catalogue,
            library=self.library,
            clock=self.clock,
            zone=self.settings.zone,
            region=self.settings.region,
        )

    @property
    def _crm_secret(self) -> bytes:
        return self.settings.secret("premium_crm_key").partition(",")[0].strip().encode()

    def chores(self) -> None:
        """What the relay sees to between its looks."""
        self.daily_report.ask()
        self.retention.ask()
        self.cdr_spool.look()
        self.premium.look()

    @cached_property
    def registry(self) -> CollectorRegistry:
        """The metrics of this process."""
        return CollectorRegistry()

    @cached_property
    def timers(self) -> Timers:
        """The waiting times of questions."""
        settings = self.settings
        return Timers(settings.first_digit_s, settings.next_digit_s, settings.tries)
