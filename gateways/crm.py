"""Asking a content provider's CRM what to do with a caller, while the caller waits (D7).

A provider writes the address, and the operator approves it; all the same it could name a machine of
the operator's own. So what is asked goes to public addresses only, but for hosts that are
configured, and to the very address that was looked at.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ipaddress
import json
import logging
import re
import socket
import ssl
import time
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from gateways.deadline import TimedAnswer

log = logging.getLogger(__name__)

LONGEST_ANSWER = 16_384
"""Bytes; the rest of a longer answer is not read, and it is no answer."""

_RESULT = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_LEAST_S = 0.05


class _Refused(Exception):
    """The CRM cannot be asked, or did not answer as it should; the text says why."""


class _Connection(http.client.HTTPConnection):
    response_class = TimedAnswer


class Crm:
    """HTTP POST of a JSON question, signed; the answer is ``{"result": name}``.

    The signature is that of all our requests between machines: ``X-Callflows-Timestamp`` (Unix
    seconds) and ``X-Callflows-Signature``, the hexadecimal HMAC-SHA256 of timestamp, full stop and
    body, under the provider's own key (`key`). The request's ``Idempotency-Key`` is the same when a
    call asks again after a crash.
    """

    def __init__(
        self, secret: bytes, *, private: Collection[str] = (), ca_file: str | None = None
    ) -> None:
        """Prepare.

        Args:
            secret: all providers' keys are made of it.
            private: hosts (as in the address) that may have addresses which are not public, and
                may be asked without TLS.
            ca_file: certificates to trust instead of the system's.
        """
        self._secret = secret
        self._private = frozenset(private)
        self._tls = ssl.create_default_context(cafile=ca_file)

    def key(self, provider: str) -> bytes:
        """The key that signs what a provider (its code) is asked: 32 bytes; given out as hex."""
        return hmac.digest(self._secret, b"crm:" + provider.encode(), hashlib.sha256)

    def ask(
        self, url: str, provider: str, question: Mapping[str, Any], key: str, timeout_s: float
    ) -> str | None:
        """The result that the CRM names; None for whatever is no such answer in time.

        ``key`` is the question's own, for the CRM to know one that comes again; ``timeout_s`` is
        for everything together, but for the time that the resolver of names takes.
        """
        try:
            return self._ask(url, provider, question, key, time.monotonic() + timeout_s)
        except _Refused as error:
            log.warning("CRM of %s: %s", provider, error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # Without the text: a CRM's answer could write our log.
            log.warning("CRM of %s: %s", provider, type(error).__name__)
        return None

    def _ask(
        self, url: str, provider: str, question: Mapping[str, Any], key: str, deadline: float
    ) -> str:
        parts = urlsplit(url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        if not secure and host not in self._private:
            raise _Refused("asked over TLS only")
        port = parts.port or (443 if secure else 80)
        body = json.dumps(question, ensure_ascii=False).encode()
        timestamp = str(int(time.time()))
        signed = hmac.new(self.key(provider).hex().encode(), digestmod=hashlib.sha256)
        signed.update(timestamp.encode() + b"." + body)
        headers = {
            "Content-Type": "application/json",
            "Connection": "close",
            "User-Agent": "callflows",
            "Idempotency-Key": hashlib.sha256(key.encode()).hexdigest()[:32],
            "X-Callflows-Timestamp": timestamp,
            "X-Callflows-Signature": signed.hexdigest(),
        }
        connection = _Connection(host, port, timeout=_left(deadline))
        try:
            connection.sock = self._connected(host, port, secure, deadline)
            connection.sock.settimeout(_left(deadline))
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", target, body, headers)
            connection.sock.settimeout(_left(deadline))
            answer = connection.getresponse()
            if answer.status != 200:
                raise _Refused(f"HTTP {answer.status}")
            return _result(answer.read(LONGEST_ANSWER + 1))
        finally:
            connection.close()

    def _connected(self, host: str, port: int, secure: bool, deadline: float) -> socket.socket:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if host not in self._private:
            # One name with a public and a private address is a trick, not a mistake.
            for address in addresses:
                if not _is_public(address):
                    raise _Refused("its address is not public")
        fault: OSError = OSError("no address")
        for address in addresses:
            try:
                plain = socket.create_connection((address, port), timeout=_left(deadline))
            except OSError as error:
                fault = error
                continue
            if not secure:
                return plain
            try:
                plain.settimeout(_left(deadline))
                return self._tls.wrap_socket(plain, server_hostname=host)
            except BaseException:
                plain.close()
                raise
        raise fault


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left < _LEAST_S:
        raise _Refused("no answer in time")
    return left


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    found = mapped or found
    return found.is_global and not found.is_multicast


def _result(body: bytes) -> str:
    if len(body) > LONGEST_ANSWER:
        raise _Refused("an answer too long")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise _Refused("the answer is no JSON") from None
    result = answer.get("result") if isinstance(answer, dict) else None
    if not isinstance(result, str) or not _RESULT.fullmatch(result):
        raise _Refused("the answer names no result")
    return result
