"""Premium services: submitted, approved, refused, suspended; what callers get, when and where."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from billing.calendars import Calendars
from billing.clock import FixedClock
from billing.database import Database
from billing.entities import Line
from billing.premium.book import ServiceBook, UnknownService, allowed
from billing.premium.definitions import InvalidService, canonical, checked
from billing.premium.hours import Hours, is_open, next_open, parse_hours
from billing.premium.schema import consultants, tariffs
from billing.premium.supervision import WrongDecision
from billing.premium.tariffs import InvalidTariff
from callflows.premium.shelf import TreeShelf
from tests.service_house import NUMBER, ZONE, ServiceHouse, service

CALENDARS = Calendars(Path(__file__).parents[2] / "conf" / "calendars")


@pytest.fixture
def house(database: Database, clock: FixedClock) -> ServiceHouse:
    """A provider with a contract, and no service."""
    return ServiceHouse(database, clock)


def test_only_an_approved_version_is_heard(house: ServiceHouse) -> None:
    """Before the approval the number does not exist; after it, with tariff and names (D15)."""
    version = house.supervision.submit(service(), "provider")
    assert (version.version, version.decision) == (1, "pending")
    assert house.book.at(NUMBER) is None
    with house.database.read() as conn:
        assert conn.execute(select(tariffs)).all() == []
    approved = house.supervision.approve(NUMBER, 1, "operator")
    assert (approved.decision, approved.decided_by) == ("approved", "operator")
    found = house.book.at(NUMBER)
    assert found is not None
    assert (found.number, found.version, found.provider_code) == (NUMBER, 1, "hafez")
    assert (found.status, found.category, found.authentication) == ("published", "poetry", "none")
    assert found.names["en"] == "The Oracle of Hafez"
    assert found.recording("name", "fa") == f"services/{NUMBER}/1/fa/name.wav"
    assert found.tree == service()["content"]["tree"]
    with house.database.read() as conn:
        (row,) = conn.execute(select(tariffs)).all()
    assert (row.service, row.price, row.approved_by) == (found.id, 6000, "operator")


def test_submitted_and_approved_again_is_the_same(house: ServiceHouse) -> None:
    """The same file twice is one version, approved twice it is approved once."""
    first = house.supervision.submit(service(), "provider")
    assert house.supervision.submit(service(), "provider") == first
    approved = house.supervision.approve(NUMBER, 1, "operator")
    assert house.supervision.approve(NUMBER, 1, "somebody else") == approved
    assert house.supervision.submit(service(), "provider").version == 1


def test_a_tree_starts_where_its_writer_began(house: ServiceHouse) -> None:
    """The order of the nodes survives the database: without `start`, the first one is the start."""
    say = service()["content"]["tree"]["nodes"]["poem"]["say"]
    nodes = {
        "welcome": {"type": "prompt", "say": say, "next": "ask"},
        "ask": {"type": "menu", "say": say, "keys": {2: "welcome", 1: "ask"}},
    }
    found = house.publish(content={"tree": {"nodes": nodes}})
    shelf = TreeShelf()
    tree = shelf.tree(found)
    assert tree is not None
    assert (tree.start, list(tree.nodes["ask"].keys)) == ("welcome", ["2", "1"])
    assert tree.folder == f"services/{NUMBER}/1"
    assert shelf.tree(house.book.get(NUMBER, 1)) is tree


def test_a_new_version_waits_beside_the_published_one(house: ServiceHouse) -> None:
    """Callers keep the old version until the new one is approved; running calls keep theirs."""
    house.publish()
    changed = service(category="stories")
    assert house.supervision.submit(changed, "provider").version == 2
    found = house.book.at(NUMBER)
    assert found is not None
    assert found.version == 1
    (listed,) = house.supervision.listed()
    assert (listed.published, listed.waiting) == (1, 2)
    house.supervision.approve(NUMBER, 2, "operator")
    found = house.book.at(NUMBER)
    assert found is not None
    assert (found.version, found.category) == (2, "stories")
    assert house.book.get(NUMBER, 1).category == "poetry"
    with pytest.raises(UnknownService):
        house.book.get(NUMBER, 3)


def test_a_refusal_has_a_reason_and_ends_a_version(house: ServiceHouse) -> None:
    """What was refused is not approved later; the provider hands in a new version."""
    house.supervision.submit(service(), "provider")
    refused = house.supervision.refuse(NUMBER, 1, "operator", "the price is not what was agreed")
    assert (refused.decision, refused.reason) == ("refused", "the price is not what was agreed")
    with pytest.raises(WrongDecision, match="refused already"):
        house.supervision.approve(NUMBER, 1, "operator")
    assert house.supervision.submit(service(), "provider").version == 2
    house.supervision.approve(NUMBER, 2, "operator")
    with pytest.raises(WrongDecision, match="approved already"):
        house.supervision.refuse(NUMBER, 2, "operator", "late")


def test_an_older_version_does_not_replace_a_newer_one(house: ServiceHouse) -> None:
    """Versions are published in order: a forgotten one is not approved by mistake."""
    house.supervision.submit(service(), "provider")
    house.supervision.submit(service(category="stories"), "provider")
    house.supervision.approve(NUMBER, 2, "operator")
    with pytest.raises(WrongDecision, match="newer"):
        house.supervision.approve(NUMBER, 1, "operator")
    assert house.supervision.versions(NUMBER)[1].decision == "pending"


def test_a_suspended_service_says_so(house: ServiceHouse) -> None:
    """Callers are told; an approval does not end a suspension, and a withdrawal is for good."""
    house.publish()
    assert house.supervision.suspend(NUMBER)
    assert not house.supervision.suspend(NUMBER)
    house.supervision.submit(service(category="stories"), "provider")
    house.supervision.approve(NUMBER, 2, "operator")
    found = house.book.at(NUMBER)
    assert found is not None
    assert found.status == "suspended"
    assert house.supervision.resume(NUMBER)
    assert house.book.at(NUMBER).status == "published"  # type: ignore[union-attr]
    assert house.supervision.withdraw(NUMBER)
    assert house.book.at(NUMBER) is None
    with pytest.raises(UnknownService, match="withdrawn"):
        house.supervision.submit(service(), "provider")


def test_a_suspended_provider_suspends_all_services(house: ServiceHouse) -> None:
    """One command stops a provider that misbehaves."""
    house.publish()
    house.providers.set_status("hafez", "suspended")
    assert house.book.at(NUMBER).status == "suspended"  # type: ignore[union-attr]


def test_no_approval_without_a_contract(house: ServiceHouse) -> None:
    """Nobody could say whose money it is."""
    house.providers.add("saadi", "Saadi House")
    house.supervision.submit(service(provider="saadi"), "provider")
    with pytest.raises(WrongDecision, match="no contract"):
        house.supervision.approve(NUMBER, 1, "operator")
    assert house.supervision.versions(NUMBER)[0].decision == "pending"
    assert house.book.at(NUMBER) is None


def test_a_tariff_of_the_past_is_not_approved(house: ServiceHouse) -> None:
    """A version whose tariff would change what callers were told is not published at all."""
    house.publish()
    raised = [{"from": "2026-11-10", "model": "per_minute", "price": 60_000}]
    house.supervision.submit(service(tariffs=raised), "provider")
    with pytest.raises(InvalidTariff):
        house.supervision.approve(NUMBER, 2, "operator")
    assert house.book.at(NUMBER).version == 1  # type: ignore[union-attr]


def test_a_number_has_one_provider(house: ServiceHouse) -> None:
    """Nobody hands in a version of somebody else's service."""
    house.publish()
    house.providers.add("saadi", "Saadi House")
    with pytest.raises(UnknownService, match="another provider's"):
        house.supervision.submit(service(provider="saadi"), "saadi")
    with pytest.raises(UnknownService, match="no provider"):
        house.supervision.submit(service(number="9097654321", provider="nobody"), "x")


def test_simultaneous_submissions_are_numbered(
    house: ServiceHouse, in_threads: Callable[..., list[object]]
) -> None:
    """Eight versions handed in at once are eight versions."""
    submit = [
        lambda place=place: house.supervision.submit(service(category=f"c{place}"), "x").version
        for place in range(8)
    ]
    assert sorted(in_threads(submit)) == list(range(1, 9))  # type: ignore[type-var]


def test_consultants_follow_the_version(house: ServiceHouse) -> None:
    """Approved consultants answer in their order; who is no longer listed does not."""
    people = [
        {"code": "ali", "number": "02188776655"},
        {"code": "sara", "number": "09123456789", "hours": [{"from": "08:00", "to": "12:00"}]},
    ]
    tree = service()["content"]["tree"]
    house.publish(content={"tree": tree, "consultants": {"order": "all", "list": people}})
    house.publish(content={"consultants": {"order": "least_recent", "list": people[1:]}})
    with house.database.read() as conn:
        rows = {row.code: row for row in conn.execute(select(consultants))}
    assert (rows["ali"].active, rows["sara"].active) == (0, 1)
    assert (rows["sara"].number, rows["sara"].place) == ("+989123456789", 1)
    assert parse_hours(json.loads(rows["sara"].hours)) == (Hours(frozenset(range(7)), 480, 720),)
    found = house.book.at(NUMBER)
    assert found is not None
    assert (found.order, found.tree) == ("least_recent", None)


def test_lookups_are_kept_for_seconds(house: ServiceHouse) -> None:
    """A decision reaches callers within seconds, and a lookup of a second ago costs nothing."""
    book = ServiceBook(house.database, house.clock, ZONE, kept_s=5)
    assert book.at(NUMBER) is None
    house.publish()
    assert book.at(NUMBER) is None
    house.clock.advance(5)
    assert book.at(NUMBER) is not None
    house.supervision.suspend(NUMBER)
    house.clock.advance(4.9)
    assert book.at(NUMBER).status == "published"  # type: ignore[union-attr]
    house.clock.advance(0.1)
    assert book.at(NUMBER).status == "suspended"  # type: ignore[union-attr]


def line(number: str, kind: Any = "fixed") -> Line:
    return Line(1, number, kind, "fa", None, "", "")


def test_regions_are_area_codes(house: ServiceHouse) -> None:
    """D10: a service may be for some regions only, by the caller's line; mobiles are a region."""
    everywhere = house.publish()
    tehran = house.publish(regions=["021", "026"])
    mobile = house.publish(regions=["mobile", "021"])
    callers = [line("+982188776655"), line("+983132345678"), line("+989123456789", "mobile")]
    assert [allowed(everywhere, each) for each in callers] == [True, True, True]
    assert [allowed(tehran, each) for each in callers] == [True, False, False]
    assert [allowed(mobile, each) for each in callers] == [True, False, True]


def test_hours_and_holidays(house: ServiceHouse) -> None:
    """Open by the operator's clock, closed on the calendar's holidays; when next is known."""
    found = house.publish(
        hours=[{"days": ["saturday", "sunday"], "from": "08:00", "to": "20:00"}],
        holidays={"calendar": "iran", "open": False},
    )

    def at(*moment: int) -> datetime:
        return datetime(*moment, tzinfo=ZONE).astimezone(UTC)

    saturday = (2026, 11, 21)
    assert house.book.open_at(found, at(*saturday, 8, 0), CALENDARS)
    assert house.book.open_at(found, at(*saturday, 19, 59), CALENDARS)
    assert not house.book.open_at(found, at(*saturday, 20, 0), CALENDARS)
    assert not house.book.open_at(found, at(2026, 11, 23, 12, 0), CALENDARS)
    assert house.book.next_open(found, at(*saturday, 20, 0), CALENDARS) == at(2026, 11, 22, 8, 0)
    holiday = next(
        day
        for day in sorted(CALENDARS.get("iran").holidays)
        if day.weekday() in (5, 6) and day.year == 2026
    )
    noon = datetime(holiday.year, holiday.month, holiday.day, 12, 0, tzinfo=ZONE)
    assert not house.book.open_at(found, noon, CALENDARS)
    assert house.book.open_at(found, noon)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"number": "021234567"}, "field number: 6 to 13 digits that start with 909 or 7070"),
    ({"number": "909../../x"}, "field number: "),
    ({"number": 909.5}, "field number: "),
    ({"provider": "Hafez!"}, "field provider: "),
    ({"category": None}, "field category: "),
    ({"names": {"fa": "x"}}, "field names.en: a text is needed"),
    ({"names": "Hafez"}, "field names: a text in fa, ar, ru, en is needed"),
    ({"names": dict.fromkeys(("fa", "ar", "ru", "en"), "x" * 81)}, "field names.fa: longer than"),
    ({"names": dict.fromkeys(("fa", "ar", "ru", "en"), "a\nb")}, "field names.fa: one line"),
    ({"names": dict.fromkeys(("fa", "ar", "ru", "en", "de"), "x")}, "field names.de: not a lang"),
    ({"languages": ["de"]}, "field languages: "),
    ({"languages": [["fa"]]}, "field languages: "),
    ({"conditions": {"fa": 5}}, "field conditions.fa: a text is needed"),
    ({"regions": "021"}, "field regions: "),
    ({"regions": [21]}, "field regions[0]: an area code"),
    ({"hours": [{"from": "20:00", "to": "08:00"}]}, "field hours[0].to: must be after from"),
    ({"hours": [{"from": "8", "to": "9"}]}, "field hours[0].from: a time"),
    ({"hours": [{"from": "08:00", "to": "09:00", "days": ["friyay"]}]}, "field hours[0].days: "),
    ({"hours": [{"from": "08:00", "to": "25:00"}]}, "field hours[0].to: a time"),
    ({"hours": [{"from": "08:00", "to": "09:00", "x": 1}]}, "field hours[0].x: no such entry"),
    ({"hours": 5}, "field hours: a list"),
    ({"holidays": "iran"}, "field holidays: entries calendar"),
    ({"authentication": "sms"}, "field authentication: one of none, pin, code, approval"),
    ({"authentication": ["pin"]}, "field authentication: "),
    ({"tariffs": []}, "field tariffs[0]: at least one"),
    (
        {"tariffs": [{"from": "2026-11-01", "model": "per_call", "price": -5}]},
        "field tariffs[0].price: ",
    ),
    ({"content": {}}, "field content: a tree, consultants, or both"),
    ({"content": {"script": "x"}}, "field content: "),
    ({"content": {"tree": []}}, "field content.tree: "),
    ({"content": {"consultants": {"list": []}}}, "field content.consultants.list: 1 to 500"),
    (
        {"content": {"consultants": {"order": "random", "list": [{}]}}},
        "field content.consultants.order: one of ring_order, all, least_recent",
    ),
    (
        {"content": {"consultants": {"list": [{"code": "a", "number": "sofia/gateway/x"}]}}},
        "field content.consultants.list[0].number: not a telephone number",
    ),
    (
        {"content": {"consultants": {"list": [{"code": "a", "number": "02188776655"}] * 2}}},
        "field content.consultants.list[1].code: a stands here twice",
    ),
    ({"colour": "red"}, "field colour: no such entry"),
]


@pytest.mark.parametrize(("changes", "fault"), WRONG)
def test_a_wrong_service_is_named_with_its_field(changes: dict[str, Any], fault: str) -> None:
    """Each fault says where it is and what would be right."""
    with pytest.raises(InvalidService) as caught:
        checked(service(**changes), ZONE)
    assert any(line.startswith(fault) for line in str(caught.value).splitlines()), caught.value


def test_every_fault_is_told_at_once() -> None:
    """A provider sees all faults of a file, not one for each try."""
    with pytest.raises(InvalidService) as caught:
        checked(service(number="5", names=None, content=None), ZONE)
    assert {fault.field for fault in caught.value.faults} == {"number", "names", "content"}


SCRAPS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["fa", "list", "order", "code", "number", "from", "to", "days", "tree"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from([*sorted(service()), "hours", "regions", "x"]), SCRAPS))
def test_no_service_crashes_the_reader(changes: dict[str, Any]) -> None:
    """Whatever stands in the file: a definition that can be stored, or faults."""
    try:
        definition = checked(service() | changes, ZONE)
    except InvalidService as error:
        found = error.faults
    else:
        assert json.loads(canonical(definition))["number"] == definition["number"]
        found = ()
    assert all("\n" not in fault.reason for fault in found)


MINUTES = st.integers(0, 1440)


@given(
    st.lists(
        st.builds(
            lambda days, ends: Hours(frozenset(days), min(ends), max(ends)),
            st.sets(st.integers(0, 6), min_size=1),
            st.tuples(MINUTES, MINUTES).filter(lambda ends: ends[0] != ends[1]),
        ),
        max_size=4,
    ),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 1)),
)
def test_the_next_opening_is_open_and_the_first(hours: list[Hours], moment: datetime) -> None:
    """What a caller is told holds: open then, and closed all the time until then."""
    assert parse_hours([each.as_dict() for each in hours]) == tuple(hours)
    now = moment.replace(tzinfo=UTC)
    opens = next_open(hours, None, now, ZONE)
    assert opens is not None
    assert is_open(hours, None, opens, ZONE)
    if opens != now:
        step = (opens - now) / 20
        assert not any(is_open(hours, None, now + step * part, ZONE) for part in range(20))
        assert not is_open(hours, None, opens - timedelta(seconds=1), ZONE)
