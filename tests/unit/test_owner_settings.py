"""What owners set: blocks, authentication, greeting, birthday; and whose lines they are."""

from __future__ import annotations

import pytest

from billing.premium.owners import OwnerView
from tests.owner_house import FIXED, LONELY, MOBILE, OWNER, SECOND, OwnerHouse


@pytest.fixture
def house(database, clock) -> OwnerHouse:
    return OwnerHouse(database, clock)


def test_defaults(house):
    """No row is all defaults."""
    assert house.owners.view(house.line().id) == OwnerView()


def test_settings(house):
    """Each is set without touching the others; set twice it is set once."""
    line, owners = house.line().id, house.owners
    for _ in range(2):
        owners.set_authentication(line, "approval")
        owners.set_charge_sms(line, True)
        owners.set_greeting(line, "greetings/1-a.wav")
        owners.set_birthday(line, "0715")
    assert owners.view(line) == OwnerView(
        authentication="approval",
        charge_sms=True,
        greeting="greetings/1-a.wav",
        birthday="0715",
    )
    owners.set_greeting(line, None)
    owners.set_birthday(line, None)
    assert (owners.view(line).greeting, owners.view(line).birthday) == (None, None)


def test_blocking(house):
    """The owner lifts the owner's block only; the operator any."""
    line, owners = house.line().id, house.owners
    assert owners.unblock(line, "owner")
    owners.block(line, "owner")
    assert owners.view(line).blocked_by == "owner"
    assert owners.unblock(line, "owner")
    owners.block(line, "operator")
    owners.block(line, "owner")
    assert owners.view(line).blocked_by == "operator"
    assert not owners.unblock(line, "owner")
    assert owners.view(line).blocked_by == "operator"
    assert owners.unblock(line, "operator")
    assert owners.view(line).blocked_by is None


def test_the_operator_s_block_does_not_make_the_owner_s_forgotten(house):
    """An owner who has blocked a line finds it blocked when the operator's block is over."""
    owners, line = house.owners, house.line().id
    for first, second in (("owner", "operator"), ("operator", "owner")):
        owners.block(line, first)
        owners.block(line, second)
        owners.block(line, second)
        assert owners.view(line).blocked_by == "operator"
        assert not owners.unblock(line, "operator")
        assert owners.view(line).blocked_by == "owner"
        assert owners.unblock(line, "operator")
        assert owners.view(line).blocked_by is None


@pytest.mark.parametrize("birthday", ["1301", "0032", "015", "01 5", "۰۱۰۵", ""])
def test_days_that_are_none(house, birthday):
    """Are refused."""
    with pytest.raises(ValueError, match="birthday"):
        house.owners.set_birthday(house.line().id, birthday)


@pytest.mark.parametrize("name", ["../x.wav", "a!b.wav", "/etc/x.wav", "x.mp3", "é.wav", ""])
def test_recordings_that_are_none(house, name):
    """Nothing leads out of the recordings folder."""
    with pytest.raises(ValueError, match="recording"):
        house.owners.set_greeting(house.line().id, name)


def test_whose_lines(house):
    """A number owns the lines that it is registered for; a fixed line is reached at its mobile."""

    def numbers(number: str) -> list[str]:
        return [line.number for line in house.owners.lines_of(number)]

    assert numbers(OWNER) == [SECOND, FIXED]
    assert numbers(MOBILE) == [MOBILE]
    assert numbers(FIXED) == numbers(LONELY) == numbers("+989190000000") == []
