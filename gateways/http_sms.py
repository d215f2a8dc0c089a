"""SMS through any operator's HTTP interface, described by a handful of settings."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from json import loads
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from urllib3.exceptions import NewConnectionError

from gateways.errors import Permanent, Temporary
from gateways.keys import message_token
from gateways.sms import SmsReceipt
from gateways.sms_parts import segment

# An answer longer than this is read no further: only its code (and reference) matter.
_ANSWER_LIMIT = 65536

SUCCESS = frozenset({200, 201, 202, 204})
# The message itself is refused. 401 and 403 are not here: a wrong password is our fault, and
# every message would land in the failed list until somebody notices.
PERMANENT = frozenset({400, 404, 405, 410, 413, 415, 422})


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
    - `reference_field`: member of a JSON answer that names the message at the operator.
    - `timeout_s`: for connecting, and again for the whole answer.
    - `ca_file`: certificates to trust instead of the usual ones.

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
        self._url = url
        self._method = method
        self._form = form
        self._json = json
        self._headers = dict(headers or {})
        self._key_header = key_header
        self._success = frozenset(success)
        self._permanent = frozenset(permanent)
        self._reference_field = reference_field
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.auth = basic_auth
        self._session.verify = ca_file or True

    def send(self, to: str, text: str, key: str) -> SmsReceipt:
        token = message_token(key)
        values = {"to": to, "text": text, "key": token}
        headers = {name: value.replace("{key}", token) for name, value in self._headers.items()}
        if self._key_header is not None:
            headers[self._key_header] = token
        deadline = time.monotonic() + 2 * self._timeout_s
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
            return self._judge(answer, token, len(segment(text).parts), deadline)

    def _judge(
        self, answer: requests.Response, token: str, parts: int, deadline: float
    ) -> SmsReceipt:
        code = answer.status_code
        if code in self._success:
            return SmsReceipt(self._reference(answer, deadline) or token, parts)
        if code in self._permanent:
            raise Permanent(f"SMS gateway: HTTP {code}")
        raise Temporary(
            f"SMS gateway: HTTP {code}",
            retry_after_s=_seconds(answer.headers.get("Retry-After")),
            # A gateway that fails or gives up within itself may have sent the message before.
            maybe_sent=code in (500, 502, 504),
        )

    def _reference(self, answer: requests.Response, deadline: float) -> str | None:
        """The operator's name for the message; None if it gives none. The message is sent either
        way, so an odd answer is never an error.
        """
        body = b""
        try:
            # Read to the end also if nothing in it is wanted: the connection can then serve again.
            for chunk in answer.iter_content(4096):
                body += chunk
                if len(body) > _ANSWER_LIMIT or time.monotonic() > deadline:
                    return None
            return (
                None if self._reference_field is None else str(loads(body)[self._reference_field])
            )
        except (requests.exceptions.RequestException, ValueError, TypeError, LookupError):
            return None


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
