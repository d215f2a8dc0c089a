"""Whether statements add up: to each other, to the collections, and to the ledger (D13)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, case, func, select

from billing import ledger
from billing.database import Database
from billing.premium import accounts
from billing.premium.payouts import Deduction
from billing.premium.schema import charges, collections, providers, settlement_lines
from billing.premium.settlement import Statement, statements


@dataclass(frozen=True, slots=True)
class Difference:
    """Two sums that should be the same: ``found`` and ``expected`` rials."""

    where: str
    found: int
    expected: int


def check(database: Database) -> list[Difference]:
    """Compare every statement and account of all providers; return what differs.

    Raises:
        Unavailable: the database is locked or away.
    """
    with database.read() as conn:
        if database.is_sqlite:
            conn.exec_driver_sql("BEGIN")
        else:
            conn.rollback()
            conn.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            conn.exec_driver_sql("SET LOCAL statement_timeout = 0")
        return list(_differences(conn))


def _differences(conn: Connection) -> Iterator[Difference]:
    withheld: dict[str, int] = {}
    paid_out = 0
    for provider, code in conn.execute(select(providers.c.id, providers.c.code)).all():
        made = statements(conn, provider)
        yield from _chain(code, made)
        yield from _lines(conn, code, made)
        yield from _accounts(conn, provider, code, made)
        for statement in made:
            for each in statement.deductions:
                withheld[each.code] = withheld.get(each.code, 0) + each.amount
            paid_out += statement.payable if statement.status == "paid" else 0
    for deduction, amount in sorted(withheld.items()):
        account = accounts.deduction(deduction)
        yield from _same(account, -ledger.balance(conn, account), amount)
    yield from _same(accounts.PAID_OUT, -ledger.balance(conn, accounts.PAID_OUT), paid_out)


def _same(where: str, found: int, expected: int) -> Iterator[Difference]:
    if found != expected:
        yield Difference(where, found, expected)


def _chain(code: str, made: list[Statement]) -> Iterator[Difference]:
    """Each statement in itself, and with those before it."""
    carried = gross = collected = 0
    for each in made:
        where = f"{code} {each.period}"
        gross += each.gross
        collected += each.collected
        yield from _same(f"{where}: carried in", each.carried_in, carried)
        carried = each.carried_out
        yield from _same(
            f"{where}: charged so far", each.not_collected + each.held_back + collected, gross
        )
        yield from _same(
            f"{where}: withheld", sum(part.amount for part in each.deductions), each.withheld
        )
        yield from _same(
            f"{where}: share and carried in",
            each.withheld + each.carried_out + each.payable,
            each.share + each.carried_in,
        )
        yield from _order(where, each.share + each.carried_in, each.deductions)


def _order(where: str, left: int, deductions: tuple[Deduction, ...]) -> Iterator[Difference]:
    for each in deductions:
        yield from _same(f"{where}: {each.code} of", each.of, left)
        left -= each.amount


def _lines(conn: Connection, code: str, made: list[Statement]) -> Iterator[Difference]:
    """What each statement settles."""
    for each in made:
        row = conn.execute(
            select(
                func.coalesce(func.sum(collections.c.amount), 0),
                func.coalesce(func.sum(collections.c.provider_part), 0),
            )
            .select_from(
                settlement_lines.join(
                    collections, collections.c.id == settlement_lines.c.collection
                )
            )
            .where(settlement_lines.c.settlement == each.id)
        ).one()
        where = f"{code} {each.period}"
        yield from _same(f"{where}: collected", each.collected, int(row[0]))
        yield from _same(f"{where}: share", each.share, int(row[1]))


def _accounts(
    conn: Connection, provider: int, code: str, made: list[Statement]
) -> Iterator[Difference]:
    """The provider's accounts in the ledger."""
    standing: Any = case((charges.c.status == "reversed", 0), else_=charges.c.provider_part)
    parts = conn.execute(
        select(func.coalesce(func.sum(standing), 0)).where(charges.c.provider == provider)
    ).scalar_one()
    taken = conn.execute(
        select(func.coalesce(func.sum(collections.c.provider_part), 0))
        .select_from(collections.join(charges, charges.c.id == collections.c.charge))
        .where(charges.c.provider == provider)
    ).scalar_one()
    to_pay = sum(each.payable for each in made if each.status != "paid")
    expected = {
        accounts.uncollected(provider): int(parts) - int(taken),
        accounts.collected(provider): int(taken) - sum(each.share for each in made),
        accounts.settled(provider): made[-1].carried_out if made else 0,
        accounts.payable(provider): to_pay,
    }
    for account, amount in expected.items():
        yield from _same(f"{account} ({code})", -ledger.balance(conn, account), amount)
