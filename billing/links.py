"""The signed, expiring link in an SMS: for an e-mail address (A8), for an owner's approval (D9).

A token is 24 bytes as 32 URL-safe characters: the request's reference (8 bytes), the moment it
expires (4 bytes, unix seconds), and an HMAC-SHA256 over both, cut to 12 bytes (RFC 2104 section 5
allows half; 96 bits are beyond guessing on line). It is made again from reference and expiry when
the SMS is sent: so neither the database nor the outbox, its failed list or a backup ever holds a
token that works. The database keeps its SHA-256, which dies with the secret when that is changed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_TOKEN = struct.Struct(">8sI12s")
_REFERENCE_BYTES = 8
_MAC_BYTES = 12
EMAIL_REQUEST = b"callflows e-mail request\0"
APPROVAL_REQUEST = b"callflows approval request\0"
"""What a token is for is signed with it: one kind's tokens never open the other's page."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a genuine token says."""

    reference: str
    expires_at: datetime


class Links:
    """Makes and opens tokens of one purpose under one secret."""

    def __init__(
        self,
        secret: bytes,
        lifetime: timedelta = timedelta(hours=24),
        purpose: bytes = EMAIL_REQUEST,
    ) -> None:
        """Sign with ``secret`` (at least 16 bytes); a link lives for ``lifetime``.

        Raises:
            ValueError: the secret is too short, or the lifetime not positive.
        """
        if len(secret) < 16:
            raise ValueError("the secret for links needs at least 16 bytes")
        if lifetime < timedelta(seconds=1):
            raise ValueError("a link lives for at least a second")
        self._secret = secret
        self._purpose = purpose
        self.lifetime = lifetime

    def new_reference(self) -> str:
        """Return a fresh random reference: 11 URL-safe characters."""
        return _encode(secrets.token_bytes(_REFERENCE_BYTES))

    def expiry(self, now: datetime) -> datetime:
        """Return when a link made ``now`` expires (whole seconds, as the token counts)."""
        return (now + self.lifetime).replace(microsecond=0)

    def token(self, reference: str, expires_at: datetime | int) -> str:
        """Return the token of a request; ``expires_at`` aware, or unix seconds.

        Raises:
            ValueError: ``reference`` is not one that `new_reference` made.
        """
        seconds = expires_at if isinstance(expires_at, int) else int(expires_at.timestamp())
        head = _TOKEN.pack(_decode(reference, _REFERENCE_BYTES), seconds, b"")[:-_MAC_BYTES]
        return _encode(head + self._mac(head))

    def open(self, token: str) -> Opened | None:
        """Return what a token says, or None when it is not genuine. Expiry is not looked at."""
        try:
            raw = _decode(token, _TOKEN.size)
        except ValueError:
            return None
        head = raw[:-_MAC_BYTES]
        if not hmac.compare_digest(self._mac(head), raw[-_MAC_BYTES:]):
            return None
        reference, seconds, _ = _TOKEN.unpack(raw)
        return Opened(_encode(reference), datetime.fromtimestamp(seconds, UTC))

    def _mac(self, head: bytes) -> bytes:
        return hmac.digest(self._secret, self._purpose + head, "sha256")[:_MAC_BYTES]


def fingerprint(token: str) -> str:
    """Return the SHA-256 of a token, which is all of it that is kept."""
    return hashlib.sha256(token.encode()).hexdigest()


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str, size: int) -> bytes:
    length = (size * 4 + 2) // 3
    if len(text) != length or not text.isascii():
        raise ValueError("not a token")
    try:
        raw = base64.b64decode(text + "=" * (-length % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not a token") from None
    # Unused bits of the last character would make several texts of one token.
    if len(raw) != size or _encode(raw) != text:
        raise ValueError("not a token")
    return raw
