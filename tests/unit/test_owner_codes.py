"""One-time codes: in no table, for one call and one purpose, five tries, five minutes."""

from __future__ import annotations

import pytest

from billing import outbox
from billing.clock import FixedClock
from billing.errors import Limited
from billing.limits import Limits
from billing.premium.codes import Codes
from billing.premium.owners import NoMobile
from tests.owner_house import FIXED, LONELY, MOBILE, OWNER, SECRET, OwnerHouse, everything


@pytest.fixture
def house(database, clock) -> OwnerHouse:
    return OwnerHouse(database, clock)


def send(house: OwnerHouse, key: str = "call-1:3:code", purpose: str = "call") -> str:
    """Send a code in call-1; the code, as the SMS says it."""
    house.codes.send(key, house.line(), purpose, "call-1", "fa")
    message = house.codes.message(house.sent("sms.owner_code")[-1]["code"])
    assert message is not None
    return message.code


def check(house: OwnerHouse, code: str, *, call: str = "call-1", purpose: str = "call") -> str:
    return house.codes.check(house.line().id, call, purpose, code)


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06d}"


def test_where_it_goes(house):
    """To the mobile on file; a mobile line without one is its own."""
    assert house.codes.send("a:1:code", house.line(FIXED), "call", "a", "fa") == OWNER
    assert house.codes.send("b:1:code", house.line(MOBILE), "call", "b", "en") == MOBILE
    with pytest.raises(NoMobile):
        house.codes.send("c:1:code", house.line(LONELY), "call", "c", "ar")


def test_the_right_code(house):
    """Six digits; taken, and taken again within the same call only (another worker's takeover)."""
    code = send(house)
    assert len(code) == 6
    assert check(house, code) == "ok"
    assert check(house, code) == "ok"
    assert check(house, code, call="call-2") == "expired"


def test_no_table_holds_the_code(house):
    """Neither the outbox nor any other table, before and after it was used; it is made again."""
    code = send(house)
    assert code not in everything(house.database)
    check(house, wrong(code))
    check(house, code)
    assert code not in everything(house.database)


def test_another_secret_opens_nothing(house, database, clock):
    """When the secret is changed, codes that were sent die."""
    code = send(house)
    other = Codes(database, clock, b"another secret for tests")
    assert other.check(house.line().id, "call-1", "call", code) == "wrong"
    assert Codes(database, clock, SECRET).check(house.line().id, "call-1", "call", code) == "ok"


def test_five_tries(house):
    """Four wrong ones are told so; with the fifth the code is worthless, right or not."""
    code = send(house)
    assert [check(house, wrong(code)) for _ in range(5)] == ["wrong"] * 4 + ["expired"]
    assert check(house, code) == "expired"


def test_a_flood_of_tries_at_once(house, in_threads):
    """Forty guesses at the same moment get five tries together."""
    code = send(house)
    results = in_threads([lambda: check(house, wrong(code)) for _ in range(40)])
    assert sorted(results) == ["expired"] * 36 + ["wrong"] * 4
    assert check(house, code) == "expired"


def test_five_minutes(house, clock: FixedClock):
    """Then it is worthless, and its SMS is not sent any more."""
    code = send(house)
    clock.advance(299)
    number = house.sent("sms.owner_code")[-1]["code"]
    assert house.codes.message(number).minutes == 1
    clock.advance(1)
    assert check(house, code) == "expired"
    assert house.codes.message(number) is None


def test_a_new_one_replaces_the_old_one(house):
    """One is open at a time for a line and call; the old one's SMS is not sent any more."""
    old = send(house)
    new = send(house, "call-1:7:code")
    assert house.codes.message(house.sent("sms.owner_code")[0]["code"]) is None
    assert check(house, old) == "wrong"
    assert check(house, new) == "ok"


def test_it_is_for_one_purpose(house):
    """A code for this call sets no PIN and opens no menu."""
    code = send(house)
    assert check(house, code, purpose="pin") == "expired"
    assert check(house, code, purpose="owner") == "expired"
    assert check(house, code) == "ok"


def test_sent_once_for_a_key(house):
    """A state that another worker runs again sends nothing again."""
    first = send(house)
    assert send(house) == first
    assert len(house.sent("sms.owner_code")) == 1


def test_limits(database, clock):
    """Codes count as messages: beyond the limit none is sent, and the one before holds still."""
    house = OwnerHouse(database, clock, limits=Limits(destination_per_hour=2))
    send(house)
    code = send(house, "call-1:7:code")
    with pytest.raises(Limited):
        house.codes.send("call-1:9:code", house.line(), "call", "call-1", "fa")
    assert len(house.sent("sms.owner_code")) == 2
    assert check(house, code) == "ok"


def test_hostile_codes(house):
    """Whatever is keyed in or forged, nothing breaks."""
    send(house)
    for code in ("", "*#", "0" * 500, "\0\ud800", "۱۲۳۴۵۶"):
        assert check(house, code) in ("wrong", "expired")


def test_a_short_secret_is_refused(database, clock):
    """As for links."""
    with pytest.raises(ValueError, match="16 bytes"):
        Codes(database, clock, b"short")


def test_the_row_in_the_outbox(house):
    """Ids and a destination, claimed as any message."""
    send(house)
    (job,) = outbox.claim(house.database, "test", house.clock.now(), 1)
    assert set(job.payload) == {"to", "language", "code", "call"}
