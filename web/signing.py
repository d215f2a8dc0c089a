"""Signed requests between machines: HMAC-SHA256 over a time and the raw body (RFC 2104).

The payment system and the SMS gateway sign what they post to us; the demonstration's payment
system signs with the same functions. The signed text is the decimal Unix time, a full stop and
the body's bytes, so that neither can be changed nor an old request be sent again much later.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

TIMESTAMP_HEADER = "X-Callflows-Timestamp"
SIGNATURE_HEADER = "X-Callflows-Signature"
WINDOW_S = 300
"""How far a request's time may be from ours, either way: clocks differ, and requests wait."""


class BadSignature(Exception):
    """A request that was not signed by a holder of a current key, or not just now."""


def sign(key: str, timestamp: int, body: bytes) -> str:
    """The hexadecimal HMAC-SHA256 of `timestamp`.`body` (`timestamp` in Unix seconds)."""
    text = b"%d." % timestamp + body
    return hmac.new(key.encode(), text, hashlib.sha256).hexdigest()


def signed_headers(key: str, body: bytes, now: datetime) -> dict[str, str]:
    """The two headers that a caller adds to a POST of `body` at `now` (an aware time)."""
    timestamp = int(now.timestamp())
    return {TIMESTAMP_HEADER: str(timestamp), SIGNATURE_HEADER: sign(key, timestamp, body)}


def verify(
    keys: Sequence[str],
    timestamp: str | None,
    signature: str | None,
    body: bytes,
    now: datetime,
) -> None:
    """Returns when one of `keys` signed `body` within WINDOW_S of `now`; else BadSignature.

    Several keys let a key be changed without a gap: accept old and new, change the sender, drop
    the old. Every key is always tried, so that time does not tell which one is in use.
    """
    if not timestamp or not signature:
        raise BadSignature(f"the headers {TIMESTAMP_HEADER} and {SIGNATURE_HEADER} are needed")
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 12):
        raise BadSignature(f"{TIMESTAMP_HEADER} is a Unix time in whole seconds")
    if abs(now.timestamp() - int(timestamp)) > WINDOW_S:
        raise BadSignature(f"{TIMESTAMP_HEADER} is more than {WINDOW_S} seconds from our time")
    # Bytes, because compare_digest refuses text that is not ASCII.
    given = signature.strip().lower().encode("utf-8", "replace")
    matches = [hmac.compare_digest(sign(key, int(timestamp), body).encode(), given) for key in keys]
    if not any(matches):
        raise BadSignature("the signature fits none of the keys")
