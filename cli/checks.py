"""What `callflows doctor` looks at on our side of the event socket. Nothing is changed or sent."""

from __future__ import annotations

import os
import shutil
import smtplib
import socket
import ssl
import stat
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import requests
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from billing.calendars import Calendars, InvalidCalendar, YearNotCovered
from billing.clock import SystemClock
from billing.database import Database
from billing.errors import BillingError, Unavailable
from billing.premium.supervision import Supervision
from callflows.config import CONFIG_FILE_VARIABLE, LANGUAGES, ConfigError, Settings
from cli.findings import Finding, failed, passed, skipped
from cli.service_sounds import heard, missing
from jobs.redis_client import connect
from sounds import Catalogue
from sounds.build import check

TIMEOUT_S = 5.0
CLOCKS_S = 2.0
FREE_BYTES = 1 << 30
"""Below this much free disk somebody should look: journals, spools and the database grow."""
OLD_SPOOL_S = 3600.0
"""Spool files are taken in by then; older ones say that nobody does."""
_SECRETS = ("_password", "_key", "_token")


class HouseChecks:
    """Looks at everything but the switches; ``now`` is our time, seconds since 1970."""

    def __init__(
        self, settings: Settings, catalogue: Catalogue, *, now: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._now = now

    def run(self) -> Iterator[Finding]:
        """Every check in turn."""
        yield from self._permissions()
        yield self._disk()
        yield from self._missed_spool()
        yield self._recordings()
        yield self._calendars()
        yield self._database()
        yield self._services()
        yield self._redis()
        yield self._worker()
        yield self._pages()
        yield self._public_url()
        yield self._mail()
        yield self._sms()

    # -- files --------------------------------------------------------------------------------

    def _permissions(self) -> Iterator[Finding]:
        folder = self._settings.state_dir
        if not _writable(folder):
            yield failed(
                "permissions",
                f"state_dir {folder} cannot be written",
                "Create it and give it to the account that runs `callflows run`.",
            )
            return
        problems = list(self._readable_by_all(folder))
        yield from problems
        if not problems:
            yield passed("permissions", f"state_dir {folder} is ours to write; secrets are private")

    def _readable_by_all(self, folder: Path) -> Iterator[Finding]:
        secrets = folder / "secrets"
        if secrets.is_dir() and stat.S_IMODE(secrets.stat().st_mode) & 0o077:
            yield failed(
                "permissions",
                f"{secrets} is open to other accounts",
                f"chmod -R go= {secrets}",
            )
        url = self._settings.database_url
        store = Path(url.removeprefix("sqlite:///"))
        if url.startswith("sqlite:///") and _open_to_all(store):
            yield failed(
                "permissions",
                f"{store} holds subscribers' data and everybody may read it",
                f"chmod o= {store.parent}",
            )
        file = Path(os.environ.get(CONFIG_FILE_VARIABLE, "callflows.toml"))
        if _open_to_all(file) and _names_secrets(file):
            yield failed(
                "permissions",
                f"{file} holds secrets and everybody may read it",
                f"chmod o= {file}",
            )

    def _disk(self) -> Finding:
        folder = _existing(self._settings.state_dir)
        free = shutil.disk_usage(folder).free
        shown = f"{free / (1 << 30):.1f} GiB free at {folder}"
        if free < FREE_BYTES:
            return failed("disk", shown, "Make room: nothing can be recorded on a full disk.")
        return passed("disk", shown)

    def _missed_spool(self) -> Iterator[Finding]:
        folder = self._settings.missed_spool
        if folder is None:
            yield skipped("missed calls", "missed_spool is not configured")
            return
        if not folder.is_dir() or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            yield failed(
                "missed calls",
                f"missed_spool {folder} is not there, or not readable and writable for us",
                f"install -d -o freeswitch -g callflows -m 2770 {folder}",
            )
            return
        spoilt = [each.name for each in folder.glob("*.bad")]
        if spoilt:
            yield failed(
                "missed calls",
                f"{len(spoilt)} notes in {folder} could not be used, such as {spoilt[0]}",
                "Look at them, then delete them.",
            )
        waiting = [each.stat().st_mtime for each in folder.glob("*.json")]
        if waiting and self._now() - min(waiting) > OLD_SPOOL_S:
            yield failed(
                "missed calls",
                f"{len(waiting)} notes wait in {folder}, the oldest "
                f"{(self._now() - min(waiting)) / 3600:.0f} h",
                "`callflows missed take-in` takes them in; let a timer do it (docs/freeswitch.md).",
            )
        elif not spoilt:
            yield passed("missed calls", f"{len(waiting)} notes wait in {folder}")

    def _recordings(self) -> Finding:
        folder = self._settings.sounds_dir
        wrong = {language: check(folder, language, self._catalogue) for language in LANGUAGES}
        counts = ", ".join(f"{language} {len(found)}" for language, found in wrong.items() if found)
        if counts:
            first = next(found[0] for found in wrong.values() if found)
            return failed(
                "recordings",
                f"missing or wrong in {folder}: {counts} (such as {first})",
                "`callflows sounds build` makes them; `callflows sounds check` names them all.",
            )
        return passed("recordings", f"whole in {len(LANGUAGES)} languages in {folder}")

    def _calendars(self) -> Finding:
        folder = self._settings.calendars_dir
        names = sorted(file.stem for file in folder.glob("*.yaml"))
        if not names:
            return failed(
                "calendars",
                f"none in calendars_dir {folder}: campaigns would not know the holidays",
                "Set calendars_dir to a copy of conf/calendars.",
            )
        today = datetime.fromtimestamp(self._now(), self._settings.zone).date()
        calendars = Calendars(folder)
        for name in names:
            try:
                calendars.get(name).is_working(today)
            except (InvalidCalendar, YearNotCovered) as error:
                return failed(
                    "calendars",
                    str(error),
                    f"Correct it: a campaign that keeps to {name} pauses.",
                )
        return passed("calendars", f"{', '.join(names)} in {folder} cover {today.year}")

    # -- servers ------------------------------------------------------------------------------

    def _database(self) -> Finding:
        url = self._settings.database_url
        file = url.removeprefix("sqlite:///")
        if url.startswith("sqlite:///") and not Path(file).is_file():
            return failed(
                "database", f"{file} is not there yet", "`callflows run` or `import` makes it."
            )
        database = Database(url, deadline=TIMEOUT_S)
        try:
            return self._migrated(database)
        except Unavailable as error:
            return failed(
                "database",
                str(error),
                "Is the server running, and does the account in database_url have access?",
            )
        finally:
            database.close()

    def _migrated(self, database: Database) -> Finding:
        kind = "SQLite" if database.is_sqlite else "PostgreSQL"
        current, newest = database.revisions()
        if current != newest:
            return failed(
                "database",
                f"{kind} has schema {current or 'none'}, this release needs {newest}",
                "Stop every part, then start `callflows run`: it migrates first.",
            )
        if not database.is_sqlite:
            with database.read() as connection:
                theirs = connection.execute(
                    text("SELECT extract(epoch FROM clock_timestamp())")
                ).scalar_one()
            apart = abs(float(theirs) - self._now())
            if apart > CLOCKS_S:
                return failed(
                    "database",
                    f"its clock is {apart:.0f} s from ours",
                    "Synchronise both machines' clocks (chrony, systemd-timesyncd).",
                )
        return passed("database", f"{kind}, schema {current}")

    def _services(self) -> Finding:
        name = "services' recordings"
        url = self._settings.database_url
        if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).is_file():
            return skipped(name, "there is no database yet")
        settings = self._settings
        database = Database(url, deadline=TIMEOUT_S)
        try:
            supervision = Supervision(database, SystemClock(), settings.zone)
            absent = [
                each
                for version, found in heard(supervision, settings)
                for each in missing(Path(settings.sounds_dir), found, version)
            ]
        except (BillingError, SQLAlchemyError):
            return skipped(name, "the database cannot be read")
        finally:
            database.close()
        if absent:
            return failed(
                name,
                f"{len(absent)} missing in {settings.sounds_dir} (such as {absent[0]})",
                "`callflows service sounds` builds them (docs/services.md).",
            )
        return passed(name, f"whole in {settings.sounds_dir}")

    def _redis(self) -> Finding:
        remedy = (
            "Start Redis, or correct redis_url; `callflows run` starts one of its own if unset."
        )
        try:
            url = self._settings.redis()
        except ConfigError as error:
            return failed("redis", str(error), remedy)
        try:
            client = connect(url, timeout_s=TIMEOUT_S, answer_s=TIMEOUT_S)
            version = str(client.info("server").get("redis_version", "?"))
            seconds, _ = client.time()
        except (RedisError, OSError, ValueError) as error:
            return failed("redis", f"does not answer: {type(error).__name__}", remedy)
        apart = abs(float(seconds) - self._now())
        if apart > CLOCKS_S:
            return failed(
                "redis", f"its clock is {apart:.0f} s from ours", "Synchronise the clocks."
            )
        return passed("redis", f"Redis {version}")

    def _worker(self) -> Finding:
        listen = self._settings.worker_listen
        host, _, port = listen.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S) as peer:
                peer.settimeout(TIMEOUT_S)
                greeting = peer.recv(64)
        except OSError as error:
            return failed(
                "worker",
                f"nobody takes calls at {listen}: {error.strerror or error}",
                "Start `callflows run`.",
            )
        if not greeting.startswith(b"connect"):
            return failed(
                "worker",
                f"{listen} is not a worker, or one that refuses calls",
                "Look at the log of `callflows run`; is another program at that port?",
            )
        return passed("worker", f"takes calls at {listen}")

    def _pages(self) -> Finding:
        url = f"http://{self._settings.web_listen}/healthz"
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.get(url, timeout=TIMEOUT_S, allow_redirects=False)
        except requests.RequestException as error:
            return failed(
                "pages", f"no answer at {url}: {type(error).__name__}", "Start `callflows run`."
            )
        if answer.status_code != 200:
            return failed(
                "pages", f"{url} answers {answer.status_code}", "Look at the log of the part web."
            )
        return passed("pages", f"answer at {self._settings.web_listen}")

    def _public_url(self) -> Finding:
        settings = self._settings
        host = urlsplit(settings.public_url).hostname or ""
        if settings.sms_gateway == "sandbox":
            return skipped("public_url", "no SMS with links leaves this machine")
        if host == "localhost" or host.startswith("127."):
            return failed(
                "public_url",
                f"links in SMS lead to {settings.public_url}, the subscriber's own telephone",
                "Set public_url to the address under which subscribers reach the pages.",
            )
        return passed("public_url", settings.public_url)

    # -- the outside world ----------------------------------------------------------------------

    def _mail(self) -> Finding:
        settings = self._settings
        host = settings.smtp_host
        if settings.mail_gateway == "sandbox" or host is None:
            return skipped("mail", "mail_gateway is the sandbox: no mail leaves this machine")
        where = f"{host}:{settings.smtp_port}"
        try:
            encrypted = self._log_in_to_mail(host)
        except smtplib.SMTPNotSupportedError as error:
            return failed("mail", f"{where}: {error}", "Correct smtp_tls or smtp_port.")
        except smtplib.SMTPAuthenticationError as error:
            return failed(
                "mail",
                f"{where} refuses the log-in ({error.smtp_code})",
                "Correct smtp_user and smtp_password.",
            )
        except ssl.SSLCertVerificationError as error:
            return failed(
                "mail",
                f"{where}: certificate not trusted: {error.verify_message}",
                "Name the server as in its certificate, or its authority in smtp_ca_file.",
            )
        except (OSError, smtplib.SMTPException) as error:
            return failed(
                "mail",
                f"{where} does not answer: {type(error).__name__}",
                "Correct smtp_host, smtp_port and smtp_tls; may this machine reach it?",
            )
        login = ", logged in" if settings.smtp_user else ""
        return passed("mail", f"{where} answers, {encrypted}{login}")

    def _log_in_to_mail(self, host: str) -> str:
        settings = self._settings
        ca_file = str(settings.smtp_ca_file) if settings.smtp_ca_file else None
        context = ssl.create_default_context(cafile=ca_file)
        server: smtplib.SMTP
        if settings.smtp_tls == "implicit":
            server = smtplib.SMTP_SSL(host, settings.smtp_port, timeout=TIMEOUT_S, context=context)
        else:
            server = smtplib.SMTP(host, settings.smtp_port, timeout=TIMEOUT_S)
        with server:
            if settings.smtp_tls == "starttls":
                server.starttls(context=context)
            if settings.smtp_user and settings.smtp_password is not None:
                server.login(settings.smtp_user, settings.smtp_password.get_secret_value())
            server.noop()
        return "not encrypted" if settings.smtp_tls == "none" else f"TLS ({settings.smtp_tls})"

    def _sms(self) -> Finding:
        settings = self._settings
        if settings.sms_gateway == "sandbox" or settings.sms_http_url is None:
            return skipped("sms", "sms_gateway is the sandbox: no SMS leaves this machine")
        parts = urlsplit(settings.sms_http_url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        remedy = "Correct sms_http_url; may this machine reach it?"
        try:
            with socket.create_connection((host, port), TIMEOUT_S) as plain:
                if parts.scheme == "https":
                    context = ssl.create_default_context()
                    with context.wrap_socket(plain, server_hostname=host):
                        pass
        except ssl.SSLError as error:
            return failed("sms", f"{host}:{port}: TLS refused: {error.reason}", remedy)
        except OSError as error:
            return failed("sms", f"{host}:{port}: {error.strerror or error}", remedy)
        return passed("sms", f"the gateway {host}:{port} is reached (nothing was sent)")


def _open_to_all(file: Path) -> bool:
    """Whether any account may read it: by its own mode and those of the folders above it."""
    if not file.is_file() or not file.stat().st_mode & stat.S_IROTH:
        return False
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in file.absolute().parents)


def _writable(folder: Path) -> bool:
    return os.access(_existing(folder), os.W_OK | os.X_OK)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())


def _names_secrets(file: Path) -> bool:
    keys = (
        line.partition("=")[0].strip() for line in file.read_text("utf-8", "replace").splitlines()
    )
    return any(key.endswith(_SECRETS) for key in keys)
