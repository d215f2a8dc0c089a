"""What a service is called, in each language: for SMS and pages that speak of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, select

from billing.premium.schema import premium_services, service_versions


@dataclass(frozen=True, slots=True)
class Named:
    """A service's number and category, and its names by language, the usual one first."""

    number: str
    category: str
    names: Mapping[str, str] = field(default_factory=dict)

    def name(self, language: str) -> str:
        """Its name in this language, else in its usual one, as callers hear it; else its number."""
        return self.names.get(language) or next(iter(self.names.values()), self.number)


_NAMED = (
    select(premium_services.c.number, premium_services.c.category, service_versions.c.definition)
    .select_from(
        premium_services.outerjoin(
            service_versions,
            (service_versions.c.service == premium_services.c.id)
            & (service_versions.c.version == premium_services.c.published),
        )
    )
    .where(premium_services.c.id == bindparam("service"))
)


def named(conn: Connection, service: int) -> Named:
    """Return how a service is called, by its row id.

    Raises:
        LookupError: there is no such service.
    """
    row = conn.execute(_NAMED, {"service": service}).one_or_none()
    if row is None:
        raise LookupError("no such service")
    definition = json.loads(row.definition) if row.definition else {}
    names = definition.get("names", {})
    spoken = [each for each in definition.get("languages", names) if each in names]
    return Named(row.number, row.category, {language: names[language] for language in spoken})
