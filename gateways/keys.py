"""The name under which a gateway recognises a repeated message."""

from __future__ import annotations

import hashlib


def message_token(key: str) -> str:
    """32 hexadecimal digits that stand for an idempotency key at the outside.

    The key itself (call id and step) stays inside: as a digest it is safe in headers, URLs and
    file names whatever it holds, and tells an outsider nothing about the call.
    """
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
