"""Consents: accepted once, by the digit that was named, chained so that tampering shows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import IntegrityError

from billing.clock import FixedClock
from billing.database import Database
from billing.errors import KeyConflict
from billing.premium.consents import GENESIS, Broken, Consent, digest, seal, verify
from billing.premium.schema import consent_chains, consents
from tests.charging_house import HEARD, House


@pytest.fixture
def house(database: Database, clock: FixedClock) -> House:
    """The operator."""
    return House(database, clock)


def broken(house: House, line: int | None = None) -> list[Broken]:
    """Where chains do not hold."""
    with house.database.read() as conn:
        return verify(conn, line)


def test_an_acceptance_is_evidence(house: House, clock: FixedClock) -> None:
    """Tariffs, phrases, digit, times and call are kept as they were."""
    line, (service, tariffs) = house.line(), house.service()
    made = house.consent("a", line, service, tariffs)
    kept = house.consents.of("a")
    assert kept == made
    assert (kept.line, kept.place, kept.service, kept.version) == (line, 1, service, 1)
    assert kept.tariffs == tariffs
    assert list(kept.heard) == HEARD
    assert (kept.digit, kept.language, kept.previous) == ("4", "fa", GENESIS)
    assert (kept.heard_at, kept.pressed_at) == (clock.now() - timedelta(seconds=20), clock.now())
    assert house.consents.of("b") is None


def test_an_acceptance_said_again_is_the_first(house: House, clock: FixedClock) -> None:
    """A second worker's word changes nothing, and lengthens no chain."""
    line, (service, tariffs) = house.line(), house.service()
    first = house.consent("a", line, service, tariffs)
    clock.advance(5)
    again = house.consent("a", line, service, tariffs, named_digit="7", pressed_digit="7")
    assert again == first
    with pytest.raises(KeyConflict):
        house.consent("a", line, *house.service())
    assert broken(house) == []


@pytest.mark.parametrize(
    "change",
    [
        {"pressed_digit": "5"},
        {"named_digit": "5"},
        {"named_digit": "", "pressed_digit": ""},
        {"named_digit": "44", "pressed_digit": "44"},
        {"named_digit": "#", "pressed_digit": "#"},
        {"named_digit": "۴", "pressed_digit": "۴"},
        {"tariffs": ()},
        {"heard": []},
        {"language": "de"},
        {"heard_at": timedelta(seconds=1)},
    ],
)
def test_what_is_no_acceptance(house: House, change: dict[str, Any]) -> None:
    """Another digit than the one named, nothing heard, nothing announced: nothing is written."""
    line, (service, tariffs) = house.line(), house.service()
    if "heard_at" in change:
        change = {"heard_at": house.clock.now() + change["heard_at"]}
    with pytest.raises(ValueError, match=r"digit|announced|spoken|before"):
        house.consent("a", line, service, **{"tariffs": tariffs, **change})
    assert house.consents.of("a") is None


def test_another_services_tariffs_are_refused(house: House) -> None:
    """What is accepted are the approved tariffs of the service that is dialled."""
    line, (_, tariffs) = house.line(), house.service()
    with pytest.raises(ValueError, match="approved"):
        house.consent("a", line, house.service()[0], tariffs)


def test_chains_are_per_line(house: House) -> None:
    """Each consent of a line follows the one before it; lines do not wait for each other."""
    (service, tariffs), first, second = house.service(), house.line(), house.line()
    made = [
        house.consent(f"c{place}", line, service, tariffs)
        for place, line in enumerate([first, second, first, first])
    ]
    assert [(each.line, each.place) for each in made] == [
        (first, 1),
        (second, 1),
        (first, 2),
        (first, 3),
    ]
    assert made[2].previous == made[0].hash
    assert made[3].previous == made[2].hash
    assert broken(house) == []


def test_simultaneous_acceptances_make_one_chain(
    house: House, in_threads: Callable[[list[Callable[[], object]]], list[object]]
) -> None:
    """Ten calls of one line at the same moment stand one behind the other; the same call once."""
    line, (service, tariffs) = house.line(), house.service()
    made = in_threads(
        [lambda i=i: house.consent(f"c{i % 5}", line, service, tariffs) for i in range(10)]  # type: ignore[misc]
    )
    assert all(isinstance(each, Consent) for each in made), made
    places = {each.call_id: each.place for each in made if isinstance(each, Consent)}
    assert sorted(places.values()) == [1, 2, 3, 4, 5]
    assert broken(house) == []


def test_the_database_refuses_to_change_a_consent(house: House) -> None:
    """Neither change nor removal is possible by an ordinary statement."""
    house.consent("a", house.line(), *house.service())
    for statement in (consents.update().values(heard="[]"), consents.delete()):
        with pytest.raises(IntegrityError), house.database.begin() as conn:
            conn.execute(statement)


# -- tampering, by somebody who can switch the triggers off ---------------------------------------


def tamper(house: House, work: Callable[[Connection], object]) -> None:
    """Do what the triggers refuse."""
    with house.database.begin() as conn:
        if house.database.is_sqlite:
            names = conn.execute(
                text(
                    "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name='consents'"
                )
            )
            for name in list(names.scalars()):
                conn.execute(text(f"DROP TRIGGER {name}"))
        else:
            conn.execute(text("ALTER TABLE consents DISABLE TRIGGER ALL"))
        work(conn)


def chain(house: House, length: int) -> int:
    """A line with so many consents, c1, c2, ..."""
    line, (service, tariffs) = house.line(), house.service()
    for place in range(1, length + 1):
        house.consent(f"c{place}", line, service, tariffs)
    return line


CHANGES: dict[str, dict[str, Any]] = {
    "call": {"call_id": "other"},
    "tariffs": {"tariffs": "[]"},
    "heard": {"heard": "[]"},
    "language": {"language": "en"},
    "digit": {"named_digit": "5", "pressed_digit": "5"},
    "version": {"version": 2},
    "previous": {"previous": "1" * 64},
    "hash": {"hash": "1" * 64},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_consent_shows(house: House, change: str) -> None:
    """Whatever column is changed, its place is named."""
    line = chain(house, 3)
    tamper(
        house,
        lambda conn: conn.execute(
            consents.update().where(consents.c.place == 2).values(**CHANGES[change])
        ),
    )
    assert 2 in {each.place for each in broken(house, line)}
    assert {each.line for each in broken(house)} == {line}


def test_a_moved_moment_shows(house: House) -> None:
    """A millisecond is enough."""
    line = chain(house, 2)
    tamper(
        house,
        lambda conn: conn.execute(text("UPDATE consents SET pressed_at = pressed_at + 1000")),
    )
    assert [each.place for each in broken(house, line)] == [1, 2]


@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_removed_consent_shows(house: House, place: int) -> None:
    """The first, one in the middle, the newest: the gap is named."""
    line = chain(house, 3)
    tamper(
        house,
        lambda conn: conn.execute(consents.delete().where(consents.c.place == place)),
    )
    assert place in {each.place for each in broken(house, line)}


def test_a_whole_chain_that_is_gone_shows(house: House) -> None:
    """No consent left, or no head left."""
    line = chain(house, 2)
    tamper(house, lambda conn: conn.execute(consents.delete()))
    assert broken(house) == [Broken(line, 1, None, "the consents of the line are missing")]


def test_a_chain_computed_anew_changes_the_seal(house: House) -> None:
    """Who rewrites a chain with all its hashes is caught by the seal that was written down."""
    line = chain(house, 2)
    with house.database.read() as conn:
        before = seal(conn)

    def rewrite(conn: Connection) -> None:
        head = GENESIS
        for row in conn.execute(select(consents).order_by(consents.c.place)).all():
            content = {**row._mapping, "heard": "[]", "previous": head}
            head = digest(content)
            conn.execute(
                consents.update()
                .where(consents.c.id == row.id)
                .values(heard="[]", previous=content["previous"], hash=head)
            )
        conn.execute(consent_chains.update().values(head=head))

    tamper(house, rewrite)
    assert broken(house, line) == [], "which the chain alone cannot show"
    with house.database.read() as conn:
        assert seal(conn) != before


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXTS, st.dictionaries(TEXTS, TEXTS | st.integers())), min_size=1))
def test_whatever_was_heard_is_kept_and_verified(
    house: House, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    """Any text and slots come back as they were, and the hash holds."""
    line, (service, tariffs) = house.line(), house.service()
    call = f"call-{line}"
    told = [[key, "fa", slots] for key, slots in heard]
    made = house.consent(call, line, service, tariffs, heard=told)
    assert list(made.heard) == told
    kept = house.consents.of(call)
    assert kept == made
    assert broken(house, line) == []
