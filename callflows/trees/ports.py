"""What a tree needs of the rest of the house while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from billing.clock import Clock
from billing.premium.answers import Kind
from sounds import Catalogue, Library


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is in the tree, and of which service.

    ``service`` and ``provider_id`` are database ids, ``number`` is the service's number and
    ``provider`` its provider's code, ``line`` the id of the caller's line, ``caller`` their E.164
    number.
    """

    service: int
    number: str
    version: int
    provider_id: int
    provider: str
    line: int | None
    caller: str


class AnswerBook(Protocol):
    """Where votes, orders and messages are kept."""

    def put(
        self,
        key: str,
        *,
        service: int,
        version: int,
        node: str,
        call_id: str,
        line: int | None,
        kind: Kind,
        answer: Mapping[str, Any],
    ) -> bool:
        """Keep an answer; False if one of this key is there. Raises Unavailable."""

    def withdraw(self, key: str) -> None:
        """Forget a message in which nothing was said. Raises Unavailable."""


class Crm(Protocol):
    """A provider's CRM, asked over HTTP."""

    def ask(
        self, url: str, provider: str, question: Mapping[str, Any], key: str, timeout_s: float
    ) -> str | None:
        """The result that it names; None for whatever is no such answer in time."""


class Histories(Protocol):
    """What is known of a line's earlier calls to a provider."""

    def told(self, provider: int, line: int | None, caller: str) -> Mapping[str, Any]:
        """As the CRM gets it: plain data, the number masked. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class TreeServices:
    """What trees may use. ``region`` is the country whose national numbers are keyed in."""

    answers: AnswerBook
    crm: Crm
    histories: Histories
    catalogue: Catalogue
    library: Library
    clock: Clock
    zone: ZoneInfo
    region: str = "IR"

    def today(self) -> date:
        """The date at the operator's place."""
        return self.clock.now().astimezone(self.zone).date()
