"""Content providers, and the terms on which they earn (D3, D13, D15)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from sqlalchemy import Connection, Row, bindparam, literal, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing.clock import Clock
from billing.database import Database
from billing.errors import BillingError
from billing.premium.schema import provider_contracts, providers

ContractKind = Literal["a", "b"]
"""D13: 'a' has its own platform and sends an invoice; 'b' is computed and paid by the region."""

ALL_BP = 10_000
"""Hundredths of a per cent in the whole."""

_CODE = re.compile(r"[a-z][a-z0-9-]{0,31}")
_LONGEST_TITLE = 120
_MOST_PARTS = 20


class InvalidProvider(BillingError, ValueError):
    """A provider or contract cannot be made so; the text names the field."""


class UnknownProvider(BillingError, LookupError):
    """There is no provider of this code."""


@dataclass(frozen=True, slots=True)
class Part:
    """A levy or deduction: ``bp`` hundredths of a per cent go to ``code``."""

    code: str
    bp: int


@dataclass(frozen=True, slots=True)
class Contract:
    """The terms of a provider from ``valid_from`` on.

    Of each charge ``share_bp`` is the provider's and ``levies`` go to others; the rest is the
    operator's. ``deductions`` are withheld in order of the provider's collected share; less than
    ``least_payout`` rials are carried forward.
    """

    id: int
    provider: int
    valid_from: datetime
    kind: ContractKind
    share_bp: int
    levies: tuple[Part, ...]
    deductions: tuple[Part, ...]
    least_payout: int


@dataclass(frozen=True, slots=True)
class Provider:
    """A content provider."""

    id: int
    code: str
    title: str
    status: Literal["active", "suspended"]


class Providers:
    """All providers, over one database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def add(self, code: str, title: str) -> bool:
        """Add a provider; False if there is one with the same code and title.

        Raises:
            InvalidProvider: code or title cannot be used, or the code is another provider's.
        """
        if not _CODE.fullmatch(code):
            raise InvalidProvider("code: a-z, 0-9 and -, 32 at most, a letter first")
        title = " ".join(title.split())
        if not 0 < len(title) <= _LONGEST_TITLE or not title.isprintable():
            raise InvalidProvider(f"title: 1 to {_LONGEST_TITLE} printable characters")

        def work(conn: Connection) -> bool:
            new = conn.execute(
                insert(providers)
                .values(code=code, title=title)
                .on_conflict_do_nothing(index_elements=[providers.c.code])
                .returning(providers.c.id)
            ).one_or_none()
            if new is None and _provider(conn, code).title != title:
                raise InvalidProvider(f"code: {code} is another provider's")
            return new is not None

        return self._database.write(work)

    def find(self, code: str) -> Provider:
        """Return the provider of this code.

        Raises:
            UnknownProvider: there is none.
        """
        return self._database.query(lambda conn: _provider(conn, code))

    def listed(self) -> list[Provider]:
        """Return all providers by code."""
        wanted = select(providers).order_by(providers.c.code)
        return self._database.query(
            lambda conn: [Provider(*row) for row in conn.execute(wanted).all()]
        )

    def set_status(self, code: str, status: Literal["active", "suspended"]) -> bool:
        """Suspend a provider with all services, or let it go on; False if it stood so already.

        Raises:
            UnknownProvider: there is none.
        """

        def work(conn: Connection) -> bool:
            done = conn.execute(
                update(providers)
                .where(providers.c.code == code, providers.c.status != status)
                .values(status=status)
            )
            if done.rowcount != 1:
                # Said for an unknown one.
                _provider(conn, code)
            return done.rowcount == 1

        return self._database.write(work)

    def agree(
        self,
        code: str,
        *,
        valid_from: datetime,
        kind: ContractKind,
        share_bp: int,
        levies: Sequence[Part] = (),
        deductions: Sequence[Part] = (),
        least_payout: int = 0,
    ) -> Contract:
        """Write down new terms; the same again is the same.

        The first may begin in the past, later ones only in the future: what was earned by the old
        terms stays earned by them.

        Raises:
            UnknownProvider: there is none of this code.
            InvalidProvider: the terms make no sense, or others begin at that moment.
        """
        _check_terms(kind, share_bp, levies, deductions, least_payout)
        now = self._clock.now()

        def work(conn: Connection) -> Contract:
            provider = _provider(conn, code)
            known = {contract.valid_from: contract for contract in _contracts(conn, provider.id)}
            wanted = Contract(
                0,
                provider.id,
                valid_from,
                kind,
                share_bp,
                tuple(levies),
                tuple(deductions),
                least_payout,
            )
            if valid_from not in known:
                if known and valid_from <= now:
                    raise InvalidProvider("from: new terms begin in the future")
                conn.execute(
                    insert(provider_contracts)
                    .values(
                        provider=provider.id,
                        valid_from=valid_from,
                        kind=kind,
                        share_bp=share_bp,
                        levies=_stored(levies),
                        deductions=_stored(deductions),
                        least_payout=least_payout,
                    )
                    .on_conflict_do_nothing(
                        index_elements=[
                            provider_contracts.c.provider,
                            provider_contracts.c.valid_from,
                        ]
                    )
                )
                known = {each.valid_from: each for each in _contracts(conn, provider.id)}
            found = known[valid_from]
            if _terms(found) != _terms(wanted):
                raise InvalidProvider("from: other terms begin at this moment")
            return found

        return self._database.write(work)

    def contracts(self, code: str) -> list[Contract]:
        """Return all terms of a provider, oldest first.

        Raises:
            UnknownProvider: there is none of this code.
        """
        return self._database.query(lambda conn: _contracts(conn, _provider(conn, code).id))


_IN_FORCE = (
    select(provider_contracts)
    .where(
        provider_contracts.c.provider == bindparam("provider"),
        provider_contracts.c.valid_from
        <= bindparam("at", type_=provider_contracts.c.valid_from.type),
    )
    .order_by(provider_contracts.c.valid_from.desc())
    .limit(1)
)


def contract_at(conn: Connection, provider: int, at: datetime) -> Contract | None:
    """Return the terms in force for a provider (its id) at a moment; None before the first ones."""
    row = conn.execute(_IN_FORCE, {"provider": provider, "at": at}).one_or_none()
    return None if row is None else _contract(row)


def contract(conn: Connection, contract_id: int) -> Contract:
    """Return terms by their row id.

    Raises:
        LookupError: there are none.
    """
    row = conn.execute(
        select(provider_contracts).where(provider_contracts.c.id == contract_id)
    ).one_or_none()
    if row is None:
        raise LookupError(f"no contract {contract_id}")
    return _contract(row)


def provider(conn: Connection, provider_id: int) -> Provider:
    """Return a provider by its row id.

    Raises:
        UnknownProvider: there is none.
    """
    row = conn.execute(select(providers).where(providers.c.id == provider_id)).one_or_none()
    if row is None:
        raise UnknownProvider(f"there is no provider {provider_id}")
    return Provider(*row)


def parse_parts(text: str) -> tuple[Part, ...]:
    """Read ``vat=9,fund=0.5``: codes and per cent, to hundredths.

    Raises:
        InvalidProvider: it is not that.
    """
    parts = []
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        match = re.fullmatch(r"([a-z][a-z0-9-]{0,31})=([0-9]{1,3})(?:\.([0-9]{1,2}))?", piece)
        if match is None:
            raise InvalidProvider(f"{piece[:40]!r}: write it as vat=9 or fund=0.5")
        parts.append(Part(match[1], int(match[2]) * 100 + int((match[3] or "0").ljust(2, "0"))))
    return tuple(parts)


def _check_terms(
    kind: str, share_bp: int, levies: Sequence[Part], deductions: Sequence[Part], least_payout: int
) -> None:
    if kind not in ("a", "b"):
        raise InvalidProvider("kind: a or b")
    for name, parts in (("levies", levies), ("deductions", deductions)):
        codes = [part.code for part in parts]
        if len(parts) > _MOST_PARTS or len(set(codes)) != len(codes):
            raise InvalidProvider(f"{name}: {_MOST_PARTS} at most, each code once")
        for part in parts:
            if not _CODE.fullmatch(part.code) or not 0 < part.bp <= ALL_BP:
                raise InvalidProvider(f"{name}: {part.code[:40]!r}: over 0 to 100 per cent")
    if not 0 <= share_bp <= ALL_BP or share_bp + sum(part.bp for part in levies) > ALL_BP:
        raise InvalidProvider("share: with the levies, 0 to 100 per cent")
    if least_payout < 0:
        raise InvalidProvider("least payout: 0 rials or more")


def _terms(contract: Contract) -> tuple[Any, ...]:
    return (
        contract.kind,
        contract.share_bp,
        contract.levies,
        contract.deductions,
        contract.least_payout,
    )


def _provider(conn: Connection, code: str) -> Provider:
    row = conn.execute(select(providers).where(providers.c.code == code)).one_or_none()
    if row is None:
        raise UnknownProvider(f"there is no provider {code[:40]!r}")
    return Provider(*row)


def _contracts(conn: Connection, provider: int) -> list[Contract]:
    column = provider_contracts.c
    rows = conn.execute(
        select(provider_contracts)
        .where(column.provider == literal(provider))
        .order_by(column.valid_from)
    )
    return [_contract(row) for row in rows]


def _contract(row: Row[Any]) -> Contract:
    return Contract(
        id=row.id,
        provider=row.provider,
        valid_from=row.valid_from,
        kind=cast(ContractKind, row.kind),
        share_bp=row.share_bp,
        levies=_parts(json.loads(row.levies)),
        deductions=_parts(json.loads(row.deductions)),
        least_payout=row.least_payout,
    )


def _parts(stored: Sequence[Mapping[str, Any]]) -> tuple[Part, ...]:
    return tuple(Part(part["code"], part["bp"]) for part in stored)


def _stored(parts: Sequence[Part]) -> str:
    return json.dumps([{"code": part.code, "bp": part.bp} for part in parts])
