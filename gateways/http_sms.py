"""SMS through any operator's HTTP interface, described by a handful of settings."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from json import loads
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

from gateways.deadline import TimedAnswer
from gateways.errors import Permanent, Temporary
from gateways.keys import message_token
from gateways.sms import SmsReceipt
from gateways.sms_parts import segment

# An answer longer than this (bytes) is read no further: what it says stands at its beginning.
_ANSWER_LIMIT = 65536

SUCCESS = frozenset({200, 201, 202, 204})
# The message itself is refused. Not here is what our own settings are to blame for: a wrong
# password (401, 403), address (404, 410), method (405) or format (415). Every message would land
# in the failed list until somebody notices.
PERMANENT = frozenset({400, 413, 422})


class HttpSms:
    """One HTTP request per SMS.

    Settings, all of which may hold `{to}` (E.164), `{text}` and `{key}` in their values:

    - `url`: http(s); what is filled in is percent-encoded.
    - exactly one of `form` (sent as application/x-www-form-urlencoded), `json` (any nesting) or
      neither (everything is in the URL); `method` is POST unless given.
    - `headers`: for example an authorization; `{key}` only, since texts do not fit in headers.
    - `basic_auth`: user and password.
    - `key_header`: the header that carries the idempotency key (None for none).
    - `success`, `permanent`: status codes; every other one is temporary, because a retry that
      was not needed costs less than a message that is lost.
    - `success_pattern`: regular expression that must be found in the body of a success, for
      gateways that answer 200 and say in the body that they refused.
    - `success_fields`: members of a JSON answer and the values that they must have (as in JSON:
      200 is not "200"); with `success_pattern`, both must hold. An answer that does not meet
      them is temporary. Only the first 64 KiB of a body are looked at.
    - `reference_field`: member of a JSON answer that names the message at the operator.
    - `timeout_s`: for connecting to an address, and again for the whole answer, however slowly
      it comes.
    - `ca_file`: certificates to trust instead of the usual ones.

    A member within members is written with dots: `return.status`, `entries.0.id`.

    Redirects are not followed (a message is not handed to whom an answer names), and proxy or
    netrc settings of the environment are not used: what is configured here is what happens.
    """

    def __init__(
        self,
        url: str,
        *,
        method: str = "POST",
        form: Mapping[str, str] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        basic_auth: tuple[str, str] | None = None,
        key_header: str | None = "Idempotency-Key",
        success: Collection[int] = SUCCESS,
        permanent: Collection[int] = PERMANENT,
        success_pattern: str | None = None,
        success_fields: Mapping[str, Any] | None = None,
        reference_field: str | None = None,
        timeout_s: float = 10.0,
        ca_file: str | None = None,
    ) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("the SMS gateway's url must begin with http:// or https://")
        if form is not None and json is not None:
            raise ValueError("give the SMS gateway either form or json, not both")
        if overlap := set(success) & set(permanent):
            raise ValueError(f"status codes {sorted(overlap)} are both success and permanent")
        if not timeout_s > 0:
            raise ValueError("the SMS gateway's timeout must be above 0 seconds")
        if "{text}" not in f"{url}{form}{json}" or "{to}" not in f"{url}{form}{json}":
            raise ValueError("the SMS gateway's url, form or json must hold {to} and {text}")
        if ca_file is not None and not Path(ca_file).is_file():
            raise ValueError("the SMS gateway's ca_file is not there")
        try:
            pattern = None if success_pattern is None else re.compile(success_pattern)
        except re.error as fault:
            raise ValueError(f"the SMS gateway's success_pattern: {fault}") from None
        self._url = url
        self._method = method
        self._form = form
        self._json = json
        self._headers = dict(headers or {})
        self._key_header = key_header
        self._success = frozenset(success)
        self._permanent = frozenset(permanent)
        self._success_pattern = pattern
        self._success_fields = dict(success_fields or {})
        self._reference_field = reference_field
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.auth = basic_auth
        self._session.verify = ca_file or True
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter())

    def send(self, to: str, text: str, key: str) -> SmsReceipt:
        token = message_token(key)
        values = {"to": to, "text": text, "key": token}
        headers = {name: value.replace("{key}", token) for name, value in self._headers.items()}
        if self._key_header is not None:
            headers[self._key_header] = token
        # The library's errors name the URL, in which number and text may stand: hence `from None`
        # and words of our own everywhere.
        try:
            answer = self._session.request(
                self._method,
                _fill(self._url, {name: quote(value, safe="") for name, value in values.items()}),
                data=None if self._form is None else _fill(self._form, values),
                json=None if self._json is None else _fill(self._json, values),
                headers=headers,
                timeout=(self._timeout_s, self._timeout_s),
                allow_redirects=False,
                stream=True,
            )
        except requests.exceptions.SSLError:
            raise Temporary("SMS gateway: TLS refused") from None
        except requests.exceptions.ConnectTimeout:
            raise Temporary("SMS gateway: no connection in time") from None
        except requests.exceptions.ReadTimeout:
            raise Temporary("SMS gateway: no answer in time", maybe_sent=True) from None
        except requests.exceptions.ConnectionError as fault:
            # Refused or unknown host: nothing was sent. Broken later: nobody knows.
            cause = getattr(fault.args[0], "reason", None) if fault.args else None
            unsent = isinstance(cause, NewConnectionError)
            raise Temporary("SMS gateway: connection failed", maybe_sent=not unsent) from None
        except requests.exceptions.RequestException as fault:
            raise Temporary(f"SMS gateway: {type(fault).__name__}", maybe_sent=True) from None
        with answer:
            return self._judge(answer, token, len(segment(text).parts))

    def _judge(self, answer: requests.Response, token: str, parts: int) -> SmsReceipt:
        code = answer.status_code
        if code in self._success:
            body, whole = _body(answer)
            if not self._is_success(body):
                raise Temporary(
                    f"SMS gateway: HTTP {code}, but the answer is not the one that means success",
                    maybe_sent=not whole,
                )
            return SmsReceipt(self._reference(body) or token, parts)
        if code in self._permanent:
            raise Permanent(f"SMS gateway: HTTP {code}")
        raise Temporary(
            f"SMS gateway: HTTP {code}",
            retry_after_s=_seconds(answer.headers.get("Retry-After")),
            # A gateway that fails or gives up within itself may have sent the message before.
            maybe_sent=code in (500, 502, 504),
        )

    def _is_success(self, body: bytes) -> bool:
        if self._success_pattern is not None:
            text = body.decode("utf-8", "replace")
            if self._success_pattern.search(text) is None:
                return False
        # A value stands for itself and its kind: to Python, True equals 1.
        return all(
            (found := _member(body, path)) == wanted and type(found) is type(wanted)
            for path, wanted in self._success_fields.items()
        )

    def _reference(self, body: bytes) -> str | None:
        """The operator's name for the message; None if it gives none. The message is sent either
        way, so an odd answer is never an error.
        """
        if self._reference_field is None:
            return None
        found = _member(body, self._reference_field)
        return None if found is None else str(found)


class _Connection(HTTPConnection):
    response_class = TimedAnswer


class _TlsConnection(HTTPSConnection):
    response_class = TimedAnswer


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


def _body(answer: requests.Response) -> tuple[bytes, bool]:
    """An answer's body as far as it came in time, and whether that was to its end."""
    body = b""
    try:
        # Read to the end also if nothing in it is wanted: the connection can then serve again.
        for chunk in answer.iter_content(4096):
            body += chunk
            if len(body) > _ANSWER_LIMIT:
                return body[:_ANSWER_LIMIT], False
    except requests.exceptions.RequestException:
        return body, False
    return body, True


def _member(body: bytes, path: str) -> Any:
    """The member of a JSON text under a path with dots; None if there is none."""
    try:
        found = loads(body)
        for name in path.split("."):
            found = found[int(name) if isinstance(found, list) else name]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return found


def _fill(template: Any, values: Mapping[str, str]) -> Any:
    """The template with its placeholders filled in, in one pass: a text that happens to hold
    "{to}" stays as it is.
    """
    if isinstance(template, str):
        pieces = template.split("{")
        filled = pieces[0]
        for piece in pieces[1:]:
            name, brace, rest = piece.partition("}")
            filled += values[name] + rest if brace and name in values else "{" + piece
        return filled
    if isinstance(template, Mapping):
        return {name: _fill(value, values) for name, value in template.items()}
    if isinstance(template, list | tuple):
        return [_fill(value, values) for value in template]
    return template


def _seconds(retry_after: str | None) -> float | None:
    """The seconds of a Retry-After header (RFC 9110, 10.2.3); its date form is not used here."""
    if retry_after is None or not retry_after.isascii() or not retry_after.isdigit():
        return None
    return float(min(int(retry_after[:9]), 86400))
