"""A premium call whose worker is killed at every statement and after every commit: charged once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, event, func, select

from billing.clock import FixedClock
from billing.database import Database
from billing.premium.charging import Charged
from billing.premium.consents import verify
from billing.premium.credit import CreditView
from billing.premium.schema import consents, premium_calls, reservations
from billing.premium.slices import Grant
from billing.schema import outbox
from tests.charging_house import House

T = TypeVar("T")


class Killed(BaseException):
    """The process is gone: nobody catches this."""


class Mortal(Database):
    """A database whose user is killed before a statement, or after a commit."""

    def __init__(self, url: str) -> None:
        super().__init__(url, deadline=20.0)
        self._before_statement = 0
        self._after_commit = 0
        event.listen(self.engine, "before_cursor_execute", self._statement)

    @contextmanager
    def killed(self, *, before_statement: int = 0, after_commit: int = 0) -> Iterator[None]:
        """Count down from here on; 0 never comes."""
        self._before_statement, self._after_commit = before_statement, after_commit
        try:
            yield
        finally:
            self._before_statement = self._after_commit = 0

    def write(self, work: Callable[[Connection], T]) -> T:
        result = super().write(work)
        self._after_commit -= 1
        if self._after_commit == 0:
            raise Killed
        return result

    def _statement(self, *_: Any) -> None:
        self._before_statement -= 1
        if self._before_statement == 0:
            raise Killed


@pytest.fixture
def mortal(database_url: str) -> Iterator[Mortal]:
    """The database."""
    database = Mortal(database_url)
    yield database
    database.close()


def conversation(house: House, name: str, line: int, service: Any) -> Charged:
    """A whole call, as a worker carries it; a second one goes through the same again."""
    began = house.clock.now()
    consent = house.consent(name, line, *service)
    standing = house.charging.standing(name)
    if standing is None or standing.status in ("begun", "connected"):
        granted = house.charging.begin(name, consent, service[0], line, None, "+982188776655")
        assert isinstance(granted, Grant)
        house.charging.waiting(name)
        house.charging.connected(name, began)
        house.charging.extend(name)
    # 90 seconds after the connection, whichever worker has said that.
    end = (house.standing(name).connected_at or began) + timedelta(seconds=90)
    house.clock.advance(max(0.0, (end - house.clock.now()).total_seconds()))
    return house.charging.ended(name, end)


def check(house: House, line: int, name: str, calls: int) -> None:
    """All is there once, nothing is held."""
    assert house.view(line) == CreditView(140508, 10_000_000, calls * 12_000, 0)
    standing = house.standing(name)
    assert (standing.status, standing.seconds, standing.amount) == ("charged", 90, 12_000)
    with house.database.read() as conn:
        for table in (consents, premium_calls, reservations):
            assert conn.scalar(select(func.count()).select_from(table)) == calls
        assert conn.scalar(select(func.count()).where(outbox.c.kind == "post_charge")) == calls
        assert verify(conn, line) == []


@pytest.mark.parametrize("where", ["before_statement", "after_commit"])
def test_killed_anywhere_a_second_worker_ends_it(
    mortal: Mortal, clock: FixedClock, where: str
) -> None:
    """Wherever the first worker dies, the second one's whole repetition charges once."""
    house = House(mortal, clock)
    line, service = house.line(10_000_000), house.service()
    place = 0
    while True:
        place += 1
        name = f"call {place}"
        try:
            with mortal.killed(**{where: place}):
                conversation(house, name, line, service)
            died = False
        except Killed:
            died = True
            assert conversation(house, name, line, service) == Charged(90, 12_000)
        check(house, line, name, place)
        if not died:
            break
    assert place > (20 if where == "before_statement" else 5)


@pytest.mark.parametrize("where", ["before_statement", "after_commit"])
def test_killed_anywhere_nobody_comes(mortal: Mortal, clock: FixedClock, where: str) -> None:
    """Where nobody takes over, the sweep leaves nothing held, and charges what was seen at most."""
    house = House(mortal, clock)
    line, service = house.line(10_000_000), house.service()
    place = 0
    died = True
    while died:
        place += 1
        name = f"call {place}"
        try:
            with mortal.killed(**{where: place}):
                conversation(house, name, line, service)
            died = False
        except Killed:
            pass
        clock.advance(1000)
        # The sweeper may be killed, too.
        for step in range(1, 30):
            try:
                with mortal.killed(before_statement=step):
                    house.charging.sweep()
                break
            except Killed:
                continue
        assert house.charging.sweep() == []
        assert house.view(line).held == 0
        standing = house.charging.standing(name)
        assert standing is None or standing.status in ("charged", "free")
    with house.database.read() as conn:
        used = conn.scalar(select(func.sum(premium_calls.c.amount)))
        charged = select(func.count()).where(premium_calls.c.status == "charged")
        posts = select(func.count()).where(outbox.c.kind == "post_charge")
        assert conn.scalar(charged) == conn.scalar(posts)
        assert verify(conn, line) == []
    assert used == house.view(line).used
