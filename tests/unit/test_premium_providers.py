"""Providers and their contracts: kept as agreed, changed by new terms only."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from billing.clock import FixedClock
from billing.database import Database
from billing.premium.providers import (
    InvalidProvider,
    Part,
    Providers,
    UnknownProvider,
    contract_at,
    parse_parts,
)


@pytest.fixture
def providers(database: Database, clock: FixedClock) -> Providers:
    """One provider, without a contract."""
    found = Providers(database, clock)
    found.add("hafez", "Hafez Institute")
    return found


def test_a_provider_is_added_once(providers: Providers) -> None:
    """The same again is the same; another under the same code is refused."""
    assert providers.add("mehr", "Mehr Centre")
    assert not providers.add("hafez", "Hafez  Institute")
    with pytest.raises(InvalidProvider, match="another provider's"):
        providers.add("hafez", "Somebody else")
    assert providers.find("hafez").title == "Hafez Institute"
    assert [each.code for each in providers.listed()] == ["hafez", "mehr"]


@pytest.mark.parametrize("code", ["", "Hafez", "a b", "1a", "a" * 33, "a/b", "حافظ"])
def test_a_code_is_a_short_name(providers: Providers, code: str) -> None:
    """It stands in accounts and commands: nothing but lower case letters, digits and hyphens."""
    with pytest.raises(InvalidProvider, match="code"):
        providers.add(code, "x")


def test_suspended_and_active_again(providers: Providers) -> None:
    """Said twice it is said once; an unknown provider is an error."""
    assert providers.set_status("hafez", "suspended")
    assert not providers.set_status("hafez", "suspended")
    assert providers.set_status("hafez", "active")
    with pytest.raises(UnknownProvider):
        providers.set_status("saadi", "suspended")


def test_terms_hold_from_their_beginning(
    providers: Providers, database: Database, clock: FixedClock
) -> None:
    """The first terms may begin in the past; later ones only in the future, and once."""
    now = clock.now()
    terms: dict[str, Any] = {
        "kind": "a",
        "share_bp": 8000,
        "levies": (Part("vat", 900),),
        "deductions": (Part("tax", 300), Part("insurance", 1667)),
        "least_payout": 100_000,
    }
    first = providers.agree("hafez", valid_from=now - timedelta(days=30), **terms)
    assert providers.agree("hafez", valid_from=now - timedelta(days=30), **terms) == first
    with pytest.raises(InvalidProvider, match="other terms begin at this moment"):
        providers.agree("hafez", valid_from=first.valid_from, **(terms | {"share_bp": 7000}))
    with pytest.raises(InvalidProvider, match="in the future"):
        providers.agree("hafez", valid_from=now, **(terms | {"share_bp": 7000}))
    later = now + timedelta(days=1)
    second = providers.agree("hafez", valid_from=later, **(terms | {"share_bp": 7000}))
    assert providers.contracts("hafez") == [first, second]
    provider = providers.find("hafez").id
    with database.read() as conn:
        assert contract_at(conn, provider, first.valid_from - timedelta(seconds=1)) is None
        assert contract_at(conn, provider, now) == first
        assert contract_at(conn, provider, later) == second


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"kind": "c"}, "kind"),
        ({"share_bp": 10_001}, "share"),
        ({"share_bp": -1}, "share"),
        ({"share_bp": 9500, "levies": (Part("vat", 900),)}, "share"),
        ({"levies": (Part("vat", 0),)}, "levies"),
        ({"levies": (Part("vat", 1), Part("vat", 1))}, "levies"),
        ({"deductions": (Part("VAT", 1),)}, "deductions"),
        ({"least_payout": -1}, "least payout"),
    ],
)
def test_terms_that_do_not_add_up_are_refused(
    providers: Providers, clock: FixedClock, wrong: dict[str, Any], fault: str
) -> None:
    """No contract gives away more than the whole."""
    with pytest.raises(InvalidProvider, match=fault):
        providers.agree(
            "hafez", **({"valid_from": clock.now(), "kind": "a", "share_bp": 8000} | wrong)
        )


def test_contracts_are_never_changed(
    providers: Providers, database: Database, clock: FixedClock
) -> None:
    """The database itself refuses to change or remove terms."""
    providers.agree("hafez", valid_from=clock.now(), kind="a", share_bp=8000)
    for statement in (
        "UPDATE provider_contracts SET share_bp = 1",
        "DELETE FROM provider_contracts",
    ):
        with pytest.raises(DBAPIError), database.begin() as conn:
            conn.execute(text(statement))


def test_parts_are_written_in_per_cent() -> None:
    """vat=9,fund=0.5 is 900 and 50 hundredths of a per cent."""
    assert parse_parts("vat=9, fund=0.5,x=0.05") == (
        Part("vat", 900),
        Part("fund", 50),
        Part("x", 5),
    )
    assert parse_parts("") == ()
    for wrong in ("vat", "vat=", "vat=x", "vat=9.555", "=9"):
        with pytest.raises(InvalidProvider, match="write it as"):
            parse_parts(wrong)
