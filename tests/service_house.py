"""A provider with a contract and a service as it would be written, for tests of the book."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from billing.clock import FixedClock
from billing.database import Database
from billing.premium.book import Service, ServiceBook
from billing.premium.providers import Providers
from billing.premium.supervision import Supervision

ZONE = ZoneInfo("Asia/Tehran")
NUMBER = "9091234567"

SERVICE: dict[str, Any] = {
    "number": NUMBER,
    "provider": "hafez",
    "category": "poetry",
    "names": {
        "fa": "فالِ حافظ",
        "ar": "ديوان حافظ",
        "ru": "Гадание по Хафизу",
        "en": "The Oracle of Hafez",
    },
    "tariffs": [{"from": "2026-11-01", "model": "per_minute", "price": 6000}],
    "content": {
        "tree": {
            "nodes": {
                "poem": {
                    "type": "prompt",
                    "say": {"fa": "شعر", "ar": "شعر", "ru": "стих", "en": "poem"},
                }
            }
        }
    },
}
"""The least that a service needs."""


def service(**changes: Any) -> dict[str, Any]:
    """The service with other entries; None leaves one out."""
    content = copy.deepcopy(SERVICE) | changes
    return {name: value for name, value in content.items() if value is not None}


class ServiceHouse:
    """Provider, contract, supervision and book over one database."""

    def __init__(self, database: Database, clock: FixedClock) -> None:
        self.database = database
        self.clock = clock
        self.providers = Providers(database, clock)
        self.supervision = Supervision(database, clock, ZONE)
        self.book = ServiceBook(database, clock, ZONE, kept_s=0)
        self.providers.add("hafez", "Hafez Institute")
        self.providers.agree(
            "hafez", valid_from=clock.now() - timedelta(days=60), kind="b", share_bp=8000
        )

    def publish(self, **changes: Any) -> Service:
        """Submit and approve the service with other entries; return what callers get."""
        version = self.supervision.submit(service(**changes), "provider")
        self.supervision.approve(version.number, version.version, "operator")
        found = self.book.at(version.number)
        assert found is not None
        return found
