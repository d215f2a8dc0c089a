"""The configuration: one flat list of keys, each also an environment variable.

A key `database_url` is read, the later the stronger, from the default below, from `callflows.toml`
(or the file that CALLFLOWS_CONFIG names), and from `CALLFLOWS_DATABASE_URL`. Everything is checked
before anything starts; an error names the key.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import tomllib
from dataclasses import fields
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
from pydantic import (
    AfterValidator,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from billing.premium.guard_limits import Limits

PREFIX = "CALLFLOWS_"
CONFIG_FILE_VARIABLE = "CALLFLOWS_CONFIG"
LANGUAGES = ("fa", "ar", "ru", "en")
SHORTEST_KEY = 16


class ConfigError(Exception):
    """A configuration value is wrong; the text names every wrong key and what is expected."""


def _host_port(value: str) -> str:
    match = re.fullmatch(r"(?:\[[0-9a-fA-F:]+\]|[^\s:\[\]]+):(\d{1,5})", value)
    if not match or int(match[1]) > 65535:
        raise ValueError("expected host:port, such as 127.0.0.1:8084")
    return value


def _url(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        if not value.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError(f"expected a URL that starts with one of {', '.join(schemes)}")
        return value

    return AfterValidator(check)


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("expected a time zone name such as Asia/Tehran") from None
    return value


def _extension(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,15}", value):
        raise ValueError("expected 1 to 15 digits")
    return value


def _guards(value: dict[str, int]) -> dict[str, int]:
    known = [field.name for field in fields(Limits)]
    wrong = sorted(set(value) - set(known))
    if wrong:
        raise ValueError(f"no such limit: {', '.join(wrong)}; there are {', '.join(known)}")
    return value


def _dial_string(value: str) -> str:
    if not re.search(r"\{(e164|national)\}", value) or re.search(r"[\s,|$\[\]]", value):
        raise ValueError(
            "expected an endpoint with {e164} or {national}: sofia/gateway/carrier/{national}"
        )
    return value


def _database(value: str) -> str:
    if value.startswith("sqlite") and not re.match(r"sqlite:///.+", value):
        raise ValueError("expected sqlite:///path/to/file.db")
    return _parsed(value)


def _parsed(value: str) -> str:
    try:
        urlsplit(value).port  # noqa: B018 - reading it checks it
    except ValueError as error:
        raise ValueError(f"not a URL: {error}") from None
    return value


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return value


def _region(value: str) -> str:
    if value not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError("expected a country with a numbering plan, such as IR (ISO 3166)")
    return value


METRICS_PORTS = 48
"""Ports from the one of `metrics_listen` on; which process has which is in docs/metrics.md."""


def _metrics_listen(value: str) -> str:
    if int(_host_port(value).rpartition(":")[2]) not in range(1, 65536 - METRICS_PORTS + 1):
        raise ValueError(f"expected a port of 1 to {65536 - METRICS_PORTS}: others follow it")
    return value


def _long_enough(value: SecretStr) -> SecretStr:
    # Several keys, separated by commas, while one is being replaced.
    for key in value.get_secret_value().split(","):
        if len(key.strip()) < SHORTEST_KEY:
            raise ValueError(f"each key needs at least {SHORTEST_KEY} characters")
    return value


HostPort = Annotated[str, AfterValidator(_host_port)]
Context = Annotated[str, Field(pattern=r"^[0-9A-Za-z_.\-]{1,64}$")]
HttpUrl = Annotated[str, _url("http", "https")]
Extension = Annotated[str, AfterValidator(_extension)]
Key = Annotated[SecretStr, AfterValidator(_long_enough)]
Seconds = Annotated[float, Field(gt=0, le=600)]


class Settings(BaseSettings):
    """Every key of the configuration, with its default."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        # An empty value is no value: a secret is then generated, not empty.
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        str_strip_whitespace=True,
    )

    # where things are kept
    state_dir: Path = Field(Path("var"), description="folder of everything that is written")
    database_url: Annotated[
        str, _url("sqlite", "postgresql", "postgresql+psycopg"), AfterValidator(_database)
    ] = Field(
        default_factory=lambda known: f"sqlite:///{known.get('state_dir', 'var')}/callflows.db",
        description="SQLite file or PostgreSQL server; default: in state_dir",
    )
    redis_url: Annotated[str, _url("redis", "rediss", "unix"), AfterValidator(_parsed)] | None = (
        Field(
            None, description="Redis of the RQ queues; default: the one that `callflows run` starts"
        )
    )
    sounds_dir: Path = Field(
        default_factory=lambda known: Path(known.get("state_dir", "var")) / "sounds",
        description="folder of the recordings; default: in state_dir",
    )
    cdr_spool_dir: Path | None = Field(
        None, description="the switch's disk spool of call records, taken in each minute"
    )
    studio_dir: Path | None = Field(None, description="folder of recordings made in a studio")

    # where we listen
    worker_listen: HostPort = Field("127.0.0.1:8084", description="event socket of the worker")
    web_listen: HostPort = Field("127.0.0.1:8085", description="pages and HTTP end points")
    dashboard_listen: HostPort = Field("127.0.0.1:9181", description="the queue dashboard")
    metrics_listen: Annotated[str, AfterValidator(_metrics_listen)] | None = Field(
        None, description="metrics: first of 48 ports, one for each process; default: none"
    )
    trusted_proxies: Annotated[int, Field(ge=0, le=9)] = Field(
        0, description="reverse proxies in front of the pages that set X-Forwarded-For"
    )
    public_url: HttpUrl = Field(
        "http://127.0.0.1:8085", description="how subscribers reach the pages (in SMS links)"
    )

    # the switches
    control_addresses: list[HostPort] = Field(
        [], description="event socket of each FreeSWITCH, host:port (JSON list)"
    )
    control_password: SecretStr | None = Field(None, description="password of those event sockets")
    missed_spool: Path | None = Field(
        None, description="folder where switches note calls that found no worker"
    )

    # campaigns
    dial_string: Annotated[str, AfterValidator(_dial_string)] = Field(
        "sofia/gateway/carrier/{national}",
        description="how campaigns dial: {e164} (digits, no +) or {national} is the number",
    )
    announce_number: Extension = Field(
        "2001", description="extension that serves the answered calls of campaigns"
    )
    announce_context: Annotated[str, Field(pattern=r"^[0-9A-Za-z_.-]+$")] = Field(
        "callflows_announce", description="dialplan context of that extension"
    )
    announce_caller_id: Extension = Field(
        "2000", description="number that campaigns show, where they name none"
    )
    dialer_lease_s: Annotated[float, Field(ge=1, le=600)] = Field(
        30.0, description="a dialer that died for so long has its calls looked after by another"
    )
    calendars_dir: Path = Field(
        Path("conf/calendars"), description="folder of the calendars with weekends and holidays"
    )

    # the operator
    operator_name: str = Field("", max_length=40, description="name in SMS and on bill images")
    region: Annotated[str, AfterValidator(_region)] = Field(
        "IR", description="country of keyed-in numbers without a country code (ISO 3166)"
    )
    timezone: Annotated[str, AfterValidator(_timezone)] = Field(
        "Asia/Tehran", description="time zone of due dates"
    )
    language: Literal["fa", "ar", "ru", "en"] = Field("fa", description="default language")
    services: Annotated[
        dict[Extension, Literal["bill", "premium", "complaint", "owner"]], Field(min_length=1)
    ] = Field(
        {"2000": "bill"},
        description="flow of each dialled number: bill, premium, complaint, owner (JSON)",
    )
    payment_fixed: Extension = Field("2000", description="payment system for fixed lines (A4)")
    payment_mobile: Extension = Field("9990", description="payment system for mobile lines (A4)")
    payment_context: Context = Field("payment", description="dialplan context of those numbers")
    care_number: Extension = Field("2020", description="customer care")
    care_context: Context = Field("care", description="dialplan context of the care line")
    app_android_url: HttpUrl = Field("https://example.com/app/android", description="app link")
    app_ios_url: HttpUrl = Field("https://example.com/app/ios", description="app link")

    # premium-rate lines
    premium_owner_number: Extension = Field(
        "2021", description="number that lines' owners dial: credit, PIN, approvals"
    )
    premium_complaints_number: Extension = Field(
        "2020", description="number for complaints about charges, as callers are told it (D12)"
    )
    premium_calendar: Literal["persian", "gregorian"] = Field(
        "persian", description="calendar of the months of premium credit and settlement"
    )
    premium_longest_call_s: Annotated[int, Field(ge=60, le=86_400)] = Field(
        7200, description="longest charged use of a premium service, seconds"
    )
    premium_slice_s: Annotated[int, Field(ge=30, le=86_400)] = Field(
        120, description="credit is reserved ahead for so many seconds of a running call"
    )
    premium_cdr_tolerance_s: Annotated[float, Field(ge=0, le=600)] = Field(
        2.0, description="charged seconds over the call record's; more waits for a person"
    )
    premium_cdr_wait_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        60.0, description="how long a charge waits for the call's record before it is posted"
    )
    premium_warning_s: Annotated[int, Field(ge=5, le=600)] = Field(
        30, description="how long before the end of the credit the caller is told, seconds"
    )
    premium_guards: Annotated[dict[str, Annotated[int, Field(ge=0)]], AfterValidator(_guards)] = (
        Field(
            {}, description='fraud guards\' limits that differ, {"line_calls": 50}; 0: none (JSON)'
        )
    )

    premium_crm_hosts: tuple[str, ...] = Field(
        (),
        description="providers' CRM hosts that may be internal, or without TLS (JSON list)",
    )
    premium_crm_ca_file: FilePath | None = Field(
        None, description="certificates of providers' CRM to trust, not the system's"
    )

    # how callers are asked
    first_digit_s: Seconds = Field(7.0, description="wait for the first key, seconds")
    next_digit_s: Seconds = Field(4.0, description="wait for each further key, seconds")
    tries: Annotated[int, Field(ge=1, le=9)] = Field(3, description="tries for each question")
    pen_and_paper_s: Seconds = Field(20.0, description="time to fetch pen and paper, seconds")
    drain_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        600.0, description="how long a worker that is told to stop lets its calls go on, seconds"
    )
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        1, description="worker processes on worker_listen"
    )
    max_calls: Annotated[int, Field(ge=1)] = Field(
        2000, description="calls at once per worker process"
    )
    connect_timeout_s: Seconds = Field(5.0, description="wait for the switch's first answer")
    resend_limit_s: Seconds = Field(3.0, description="how long a locked database is waited for")

    # what may be sent
    sms_per_caller_day: Annotated[int, Field(ge=1)] = Field(10, description="flood limit")
    sms_per_destination_day: Annotated[int, Field(ge=1)] = Field(5, description="flood limit")
    sms_per_destination_hour: Annotated[int, Field(ge=1)] = Field(3, description="flood limit")
    sms_anonymous_day: Annotated[int, Field(ge=1)] = Field(
        200, description="flood limit, all callers without a number together"
    )
    sms_per_day: Annotated[int, Field(ge=1)] = Field(1_000_000, description="flood limit, total")
    link_hours: Annotated[int, Field(ge=1, le=720)] = Field(
        24, description="life of the link in the e-mail request"
    )
    sms_gateway: Literal["sandbox", "http"] = Field("sandbox", description="how SMS leave")
    sms_http_url: HttpUrl | None = Field(None, description="URL of the SMS gateway")
    sms_http_json: dict[str, Any] | None = Field(
        None, description="JSON body (JSON; {to}, {text}, {key} are filled in)"
    )
    sms_http_form: dict[str, str] | None = Field(
        None, description="form fields instead of a JSON body (JSON; filled in likewise)"
    )
    sms_http_method: Literal["POST", "PUT", "GET"] = Field(
        "POST", description="with GET, or {to} and {text} in the URL, nothing is in the body"
    )
    sms_http_token: SecretStr | None = Field(None, description="bearer token of the SMS gateway")
    sms_http_user: str | None = Field(None, description="user, for basic authentication")
    sms_http_password: SecretStr | None = Field(None, description="password, likewise")
    sms_http_success: Annotated[str, AfterValidator(_pattern)] | None = Field(
        None, description="regular expression that a good answer's body holds; default: any body"
    )
    sms_http_reference: str | None = Field(
        None, description="member of the JSON answer that names the message (a.b for nested ones)"
    )
    sms_http_ca_file: FilePath | None = Field(
        None, description="certificates to trust, not the system's"
    )
    mail_gateway: Literal["sandbox", "smtp"] = Field("sandbox", description="how mail leaves")
    mail_from: Annotated[str, Field(pattern=r"^[^@\s<>]+@[^@\s<>]+\.[^@\s<>]+$")] = Field(
        "bills@example.com", description="sender address of bills"
    )
    smtp_host: str | None = Field(None, description="mail server")
    smtp_port: Annotated[int, Field(ge=1, le=65535)] = Field(587, description="its port")
    smtp_tls: Literal["starttls", "implicit", "none"] = Field(
        "starttls", description="STARTTLS, TLS from the first byte, or none (own machine only)"
    )
    smtp_ca_file: FilePath | None = Field(
        None, description="certificates to trust, not the system's"
    )
    smtp_user: str | None = Field(None, description="mail server's user")
    smtp_password: SecretStr | None = Field(None, description="mail server's password")
    max_attempts: Annotated[int, Field(ge=1)] = Field(
        12, description="tries of a job (over some hours) before it is in the failed list"
    )

    # premium-rate lines
    recordings_dir: Path = Field(
        default_factory=lambda known: Path(known.get("sounds_dir", "var/sounds")) / "recordings",
        description="folder of callers' recordings, on the switch; default: in sounds_dir",
    )
    premium_dial_string: Annotated[str, AfterValidator(_dial_string)] = Field(
        "sofia/gateway/carrier/{national}",
        description="how consultants are called: {e164} (digits, no +) or {national}",
    )
    premium_caller_id: Extension | Literal[""] = Field(
        "", description="number shown to consultants; default: the caller's"
    )
    premium_ring_s: Annotated[int, Field(ge=5, le=120)] = Field(
        25, description="how long a consultant's telephone rings, seconds"
    )
    premium_accept_key: Annotated[str, Field(pattern=r"^[0-9]?$")] = Field(
        "1", description="key with which a consultant takes a call; empty: whoever answers takes it"
    )
    premium_queue_s: Annotated[int, Field(ge=0, le=7200)] = Field(
        900, description="how long a caller waits for a consultant at most, seconds"
    )

    keep_days: Annotated[int, Field(ge=1)] = Field(
        90,
        description="days until destinations of messages and texts of call records are forgotten",
    )

    # premium-rate lines
    premium_approval_ceiling: Annotated[int, Field(ge=1, le=10**12)] = Field(
        500_000, description="rials that an owner approves who says nothing else"
    )
    premium_approval_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        90, description="for how long an approval holds, likewise"
    )
    premium_approval_hours: Annotated[int, Field(ge=1, le=720)] = Field(
        24, description="for how long owners may answer a request"
    )
    premium_approval_wait_s: Seconds = Field(
        180.0, description="how long a caller waits for the owner's answer, seconds"
    )
    premium_approval_call_s: Annotated[int, Field(ge=0, le=86_400)] = Field(
        60, description="owners who have not answered are called after so long; 0: never"
    )
    premium_approval_number: Extension = Field(
        "2022", description="extension of those calls, in announce_context"
    )
    premium_first_credit: Annotated[int, Field(ge=0, le=10**12)] = Field(
        500_000, description="most monthly credit of a line that has paid no bill yet, rials"
    )
    premium_most_credit: Annotated[int, Field(ge=0, le=10**12)] = Field(
        5_000_000, description="most monthly credit of a line that pays in time, rials"
    )
    premium_credit_bills: Annotated[int, Field(ge=1, le=99)] = Field(
        6, description="bills paid in time that it takes for the most credit"
    )

    # who may speak to us (generated into state_dir/secrets/ where empty)
    payment_key: Key | None = Field(None, description="HMAC key of POST /payments")
    sms_inbound_key: Key | None = Field(None, description="HMAC key of POST /sms/inbound")
    link_key: Key | None = Field(None, description="HMAC key of the links in SMS")
    premium_crm_key: Key | None = Field(
        None, description="of it are made the keys that sign what providers' CRM are asked"
    )
    cdr_password: Key | None = Field(
        None, description="password of POST /cdr (user: callflows), also in mod_json_cdr's `cred`"
    )
    dashboard_password: SecretStr | None = Field(
        None, description="password of the dashboard (user: callflows)"
    )

    log_format: Literal["text", "json"] = Field("text", description="log lines for people or jq")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="detail")

    # the embedded switch
    switch_speed: Annotated[float, Field(gt=0, le=1000)] = Field(
        1.0, description="the embedded switch's clock: 1 is real time"
    )

    @model_validator(mode="after")
    def _complete(self) -> Settings:
        """What only together is right or wrong; each fault names its key."""
        if self.sms_gateway == "http" and not self.sms_http_url:
            raise ValueError("sms_http_url: needed where sms_gateway is http")
        if self.sms_http_json is not None and self.sms_http_form is not None:
            raise ValueError("sms_http_form: give either this or sms_http_json")
        if (self.sms_http_user is None) != (self.sms_http_password is None):
            raise ValueError("sms_http_password: sms_http_user and sms_http_password go together")
        template = str(self.sms_http_json or self.sms_http_form or "{to}{text}")
        if "{to}" not in template or "{text}" not in template:
            key = "sms_http_json" if self.sms_http_json else "sms_http_form"
            raise ValueError(f"{key}: must hold {{to}} and {{text}}")
        if self.premium_first_credit > self.premium_most_credit:
            raise ValueError("premium_first_credit: not more than premium_most_credit")
        if self.mail_gateway == "smtp" and not self.smtp_host:
            raise ValueError("smtp_host: needed where mail_gateway is smtp")
        if (self.smtp_user is None) != (self.smtp_password is None):
            raise ValueError("smtp_password: smtp_user and smtp_password go together")
        if self.premium_slice_s > self.premium_longest_call_s:
            raise ValueError("premium_slice_s: not more than premium_longest_call_s")
        host = self.dashboard_listen.rpartition(":")[0].strip("[]")
        if self.dashboard_password is None and not _is_loopback(host):
            raise ValueError("dashboard_password: needed where others can reach dashboard_listen")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the file."""
        name = os.environ.get(CONFIG_FILE_VARIABLE, "callflows.toml")
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, name)

    @property
    def zone(self) -> ZoneInfo:
        """The operator's time zone."""
        return ZoneInfo(self.timezone)

    @property
    def redis_dir(self) -> Path:
        """Folder of the Redis that `callflows run` starts where no redis_url is configured."""
        return self.state_dir / "redis"

    def redis(self) -> str:
        """The URL of Redis. Raises ConfigError where none is configured and none was started."""
        if self.redis_url is not None:
            return self.redis_url
        try:
            return (self.redis_dir / "url").read_text().strip()
        except OSError:
            raise ConfigError(
                "redis_url: not configured, and no embedded Redis has been started in "
                f"{self.redis_dir}; start one with `callflows run`"
            ) from None

    def secret(self, key: str) -> str:
        """A secret: as configured, else one made once and kept in state_dir/secrets/."""
        configured = getattr(self, key)
        if configured is not None:
            return str(configured.get_secret_value())
        return _kept_secret(self.state_dir / "secrets", key)


def load(**overrides: Any) -> Settings:
    """Read and check the configuration. Raises ConfigError that names every wrong key."""
    named = os.environ.get(CONFIG_FILE_VARIABLE)
    if named and not Path(named).is_file():
        raise ConfigError(f"{CONFIG_FILE_VARIABLE}: no such file: {named}")
    unknown = sorted(
        name
        for name in os.environ
        if name.startswith(PREFIX)
        and name != CONFIG_FILE_VARIABLE
        and name.removeprefix(PREFIX).lower() not in Settings.model_fields
    )
    problems = [f"{name}: no such configuration key" for name in unknown]
    try:
        settings = Settings(**overrides)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{named or 'callflows.toml'}: not TOML: {error}") from error
    except ValidationError as error:
        problems += [
            _problem(item)
            for item in error.errors()
            # A default that follows a key which is wrong is no fault of its own.
            if item["type"] != "default_factory_not_called"
        ]
    except Exception as error:  # a source that cannot be parsed, such as services not being JSON
        problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return settings


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _problem(item: Any) -> str:
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "no such configuration key"
    key = ".".join(str(part) for part in item["loc"])
    return f"{key}: {message}" if key else message


def _kept_secret(folder: Path, key: str) -> str:
    """Read a generated secret, making it on first use; safe against two processes at once."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / key
    if not file.exists():
        draft = folder / f".{key}.{secrets.token_hex(8)}"
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_hex(32))
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)
        draft.unlink()
    return file.read_text()
