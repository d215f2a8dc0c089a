"""Who has called a provider before: for the consultant's whisper and the provider's CRM (D7).

A provider learns how often and when, never which number: it is masked, and beside it stands a token
that is the same at each call of a line to this provider, and another one at every other provider.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select

from billing.database import Database
from billing.numbers import mask
from billing.premium.schema import premium_calls, premium_services

_TOKEN_DIGITS = 24


@dataclass(frozen=True, slots=True)
class History:
    """Earlier calls of a line to a provider's services.

    ``calls`` were connected, for ``seconds`` together; ``last_at`` is when the last one was, to
    ``last_service`` (its number). None for a line that has never called.
    """

    calls: int = 0
    seconds: int = 0
    last_at: datetime | None = None
    last_service: str | None = None


_CALLS = (
    select(
        func.count().label("calls"),
        func.coalesce(func.sum(premium_calls.c.seconds), 0).label("seconds"),
    )
    .join(premium_services, premium_services.c.id == premium_calls.c.service)
    .where(
        premium_calls.c.line == bindparam("line"),
        premium_services.c.provider == bindparam("provider"),
        premium_calls.c.connected_at.is_not(None),
        premium_calls.c.ended_at.is_not(None),
    )
)
_LAST = (
    select(premium_calls.c.connected_at, premium_services.c.number)
    .join(premium_services, premium_services.c.id == premium_calls.c.service)
    .where(
        premium_calls.c.line == bindparam("line"),
        premium_services.c.provider == bindparam("provider"),
        premium_calls.c.connected_at.is_not(None),
        premium_calls.c.ended_at.is_not(None),
    )
    .order_by(premium_calls.c.connected_at.desc())
    .limit(1)
)


class Histories:
    """Callers' histories, over one database."""

    def __init__(self, database: Database, secret: bytes) -> None:
        """``secret`` makes the tokens that stand for lines."""
        self._database = database
        self._secret = secret

    def of(self, provider: int, line: int | None) -> History:
        """Return the earlier, ended calls of a line (its id) to a provider (its id).

        Raises:
            Unavailable: the database is locked or away.
        """
        if line is None:
            return History()
        wanted = {"line": line, "provider": provider}

        def work(conn: Any) -> History:
            totals = conn.execute(_CALLS, wanted).one()
            if not totals.calls:
                return History()
            last = conn.execute(_LAST, wanted).one()
            return History(totals.calls, int(totals.seconds), last.connected_at, last.number)

        return self._database.query(work)

    def told(self, provider: int, line: int | None, caller: str) -> dict[str, Any]:
        """Return the history as a CRM gets it; ``caller`` is the E.164 number, "" for withheld.

        Raises:
            Unavailable: the database is locked or away.
        """
        found = self.of(provider, line)
        return {
            "number": mask(caller) if caller else None,
            "token": self._token(provider, caller) if caller else None,
            "calls": found.calls,
            "seconds": found.seconds,
            "last_at": None if found.last_at is None else found.last_at.isoformat(),
            "last_service": found.last_service,
        }

    def _token(self, provider: int, caller: str) -> str:
        text = f"history:{provider}:{caller}".encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()[:_TOKEN_DIGITS]
