"""Credit for premium calls: reserved, extended, committed, released, expired; never exceeded."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from billing.clock import FixedClock
from billing.database import Database
from billing.errors import KeyConflict
from billing.premium.credit import Credit, CreditView, NoReservation
from billing.premium.schema import premium_credits
from tests.credit_till import MONTH, TEHRAN, Till


@pytest.fixture
def till(database: Database, clock: FixedClock) -> Till:
    """A till over a fresh database."""
    return Till(database, clock)


# -- the server's state machine of RFC 8506, section 7 --------------------------------------------
# Each test is one row of its table "Server, Session and Event-Based Credit-Control".


def test_idle_initial_request_granted_opens(till: Till) -> None:
    """Idle: an initial request that is processed reserves units and starts the timer; Open."""
    line = till.line(1000)
    assert till.reserve("a", line, 400)
    assert till.status("a") == ("open", 400, 0)
    assert till.credit.view(line) == CreditView(MONTH, 1000, 0, 400)


def test_idle_initial_request_refused_stays_idle(till: Till) -> None:
    """Idle: one that is over the credit reserves nothing, and leaves nothing; Idle."""
    line = till.line(1000)
    assert not till.reserve("a", line, 1001)
    assert till.database.query(lambda conn: till.credit.find(conn, "a")) is None
    assert till.credit.view(line) == CreditView(MONTH, 1000, 0, 0)
    assert till.shortage(line, None, 1001) == "no_credit"
    assert till.reserve("a", line, 1000), "the same call may ask for less"


def test_open_update_request_granted_stays_open(till: Till) -> None:
    """Open: an update that is processed reserves more and starts the timer anew; Open."""
    line = till.line(1000)
    till.reserve("a", line, 400)
    till.clock.advance(100)
    assert till.extend("a", 600)
    assert till.status("a") == ("open", 1000, 0)
    till.clock.advance(119)
    assert till.expire() == []


def test_open_update_request_refused_keeps_the_final_units(till: Till) -> None:
    """Open: an update over the credit reserves nothing more; what is held is the final unit.

    Here the RFC debits and goes to Idle; ours stays Open, because the call may use what it holds
    (its Final-Unit-Indication) and is debited once, at its end.
    """
    line = till.line(1000)
    till.reserve("a", line, 400)
    assert not till.extend("a", 601)
    assert till.status("a") == ("open", 400, 0)
    assert till.credit.view(line).held == 400
    till.commit("a", 400)
    assert till.credit.view(line) == CreditView(MONTH, 1000, 400, 0)


def test_open_termination_request_debits_and_ends(till: Till) -> None:
    """Open: a termination stops the timer, debits the used units, gives back the rest; Idle."""
    line = till.line(1000)
    till.reserve("a", line, 400)
    till.commit("a", 150)
    assert till.status("a") == ("committed", 400, 150)
    assert till.credit.view(line) == CreditView(MONTH, 1000, 150, 0)
    till.clock.advance(1000)
    assert till.expire() == []


def test_open_termination_request_without_use_releases(till: Till) -> None:
    """Open: a termination of a call that was never connected gives back everything; Idle."""
    line = till.line(1000)
    till.reserve("a", line, 400)
    till.release("a")
    assert till.status("a") == ("released", 400, 0)
    assert till.credit.view(line) == CreditView(MONTH, 1000, 0, 0)


def test_open_supervision_timer_releases(till: Till) -> None:
    """Open: when the timer Tcc ends, what is reserved is released; Idle."""
    line = till.line(1000)
    till.reserve("a", line, 400)
    till.clock.advance(119)
    assert till.expire() == []
    till.clock.advance(1)
    assert till.expire() == ["a"]
    assert till.status("a") == ("expired", 400, 0)
    assert till.credit.view(line) == CreditView(MONTH, 1000, 0, 0)
    assert till.expire() == []


@pytest.mark.parametrize("request_", ["extend", "extend_to", "commit", "release"])
def test_idle_knows_no_session(till: Till, request_: str) -> None:
    """Idle: an update or termination of a session that never was is an error."""
    arguments: tuple[Any, ...] = ("never",) if request_ == "release" else ("never", 1)
    with pytest.raises(NoReservation):
        getattr(till, request_)(*arguments)


@pytest.mark.parametrize("over", ["committed", "released", "expired"])
def test_a_resolved_session_takes_nothing_more(till: Till, over: str) -> None:
    """Idle again: an update is refused; a termination or a new initial request is an error."""
    line = till.line(1000)
    till.reserve("a", line, 400)
    if over == "committed":
        till.commit("a", 100)
    elif over == "released":
        till.release("a")
    else:
        till.clock.advance(120)
        till.expire()
    before = till.credit.view(line)
    assert not till.extend("a", 1)
    assert not till.extend_to("a", 401)
    with pytest.raises(KeyConflict):
        till.commit("a", 101)
    with pytest.raises(KeyConflict):
        till.reserve("a", line, 400)
    if over == "committed":
        with pytest.raises(KeyConflict):
            till.release("a")
    assert till.credit.view(line) == before


# -- repeated, and wrong --------------------------------------------------------------------------


def test_everything_may_be_said_again(till: Till) -> None:
    """A repeated request, whose answer was lost, changes nothing and gets the same answer."""
    line = till.line(500)
    assert till.reserve("a", line, 400)
    assert till.reserve("a", line, 400), "though 400 more would be over the credit"
    assert till.reserve("b", line, 50)
    assert till.reserve("b", line, 50), "though 50 more would be within it"
    assert till.extend_to("b", 100)
    assert till.extend_to("b", 100)
    assert till.credit.view(line).held == 500
    till.commit("a", 300)
    till.commit("a", 300)
    till.release("b")
    till.release("b")
    assert till.credit.view(line) == CreditView(MONTH, 500, 300, 0)


def test_a_key_is_one_call_of_one_line(till: Till) -> None:
    """Another line, or another approval, under a key that is open is refused and holds nothing."""
    line, other = till.line(1000), till.line(1000)
    approval = till.approval(line, 1000)
    till.reserve("a", line, 400)
    with pytest.raises(KeyConflict):
        till.reserve("a", other, 400)
    with pytest.raises(KeyConflict):
        till.reserve("a", line, 400, approval)
    assert till.credit.view(other).held == 0
    assert till.credit.view(line).held == 400
    assert till.purse(approval) == (0, 0)


def test_more_than_what_is_held_is_not_committed(till: Till) -> None:
    """Nobody uses a rial that was not reserved."""
    line = till.line(1000)
    till.reserve("a", line, 400)
    with pytest.raises(KeyConflict, match="400"):
        till.commit("a", 401)
    assert till.status("a") == ("open", 400, 0)


@pytest.mark.parametrize("amount", [0, -1])
def test_only_positive_amounts_are_held(till: Till, amount: int) -> None:
    """A negative reservation would be money out of nothing."""
    line = till.line(1000)
    with pytest.raises(ValueError, match="positive"):
        till.reserve("a", line, amount)
    till.reserve("a", line, 1)
    with pytest.raises(ValueError, match="positive"):
        till.extend("a", amount)
    with pytest.raises(ValueError, match="positive"):
        till.extend_to("a", amount)
    with pytest.raises(ValueError, match="less than nothing"):
        till.commit("a", -1)
    with pytest.raises(ValueError, match="negative"):
        till.set_standing(line, -1)
    with pytest.raises(ValueError, match="negative"):
        Credit(till.database, till.clock, TEHRAN, default=-1)


def test_the_tables_refuse_a_rial_over_the_credit(till: Till) -> None:
    """Whatever is wrong in a program: the database does not hold more than the credit."""
    line = till.line(1000)
    till.reserve("a", line, 1000)
    statement = premium_credits.update().values(held=premium_credits.c.held + 1)
    with pytest.raises(IntegrityError):
        till.database.write(lambda conn: conn.execute(statement))


# -- months, ceilings -----------------------------------------------------------------------------


def test_without_a_credit_there_is_the_default(till: Till) -> None:
    """A line whose owner has not asked has the configured credit: usually none."""
    line = till.line()
    assert till.credit.view(line) == CreditView(MONTH, 0, 0, 0)
    assert not till.reserve("a", line, 1)
    other = till.line()
    till.credit = Credit(till.database, till.clock, TEHRAN, default=500)
    assert till.credit.view(other).available == 500
    assert till.reserve("b", other, 500)
    assert till.shortage(other, None, 1) == "no_credit"


def test_a_call_counts_against_the_month_it_began_in(till: Till) -> None:
    """A new month has its own credit; what a running call adds is still the old month's."""
    line = till.line(1000)
    till.reserve("a", line, 900)
    till.clock.advance(86400)  # 1405/09/01
    assert till.credit.view(line) == CreditView(MONTH + 1, 1000, 0, 0)
    assert till.reserve("b", line, 1000)
    assert till.extend("a", 100)
    assert not till.extend("a", 1)
    till.commit("a", 950)
    assert till.credit.view(line) == CreditView(MONTH + 1, 1000, 0, 1000)


def test_a_gregorian_operator_has_gregorian_months(database: Database, clock: FixedClock) -> None:
    """The calendar of the month is the operator's choice."""
    till = Till(database, clock)
    till.credit = Credit(database, clock, TEHRAN, "gregorian")
    assert till.credit.view(till.line(10)).month == 202611


def test_a_raised_credit_holds_at_once(till: Till) -> None:
    """A credit granted during a call is there for its next slice."""
    line = till.line(500)
    till.reserve("a", line, 500)
    assert not till.extend("a", 1)
    till.set_standing(line, 501)
    assert till.extend("a", 1)


def test_a_lowered_credit_never_goes_below_what_is_used_and_held(till: Till) -> None:
    """What was promised to running calls stays; nothing more is given."""
    line = till.line(1000)
    till.reserve("a", line, 300)
    till.reserve("b", line, 300)
    till.commit("b", 200)
    till.set_standing(line, 100)
    assert till.credit.view(line) == CreditView(MONTH, 500, 200, 300)
    assert not till.reserve("c", line, 1)
    till.clock.advance(86400)
    assert till.credit.view(line).ceiling == 100


# -- owners' approvals ----------------------------------------------------------------------------


def test_an_approval_moves_with_the_credit(till: Till) -> None:
    """Held, extended, used and given back in both."""
    line = till.line(1000)
    approval = till.approval(line, 600)
    assert till.reserve("a", line, 400, approval)
    assert till.extend("a", 100)
    assert till.purse(approval) == (0, 500)
    till.commit("a", 450)
    assert till.purse(approval) == (450, 0)
    assert till.reserve("b", line, 150, approval)
    till.clock.advance(120)
    assert till.expire() == ["b"]
    assert till.purse(approval) == (450, 0)
    assert till.reserve("c", line, 150, approval)
    till.release("c")
    assert till.purse(approval) == (450, 0)
    assert till.credit.view(line) == CreditView(MONTH, 1000, 450, 0)


def test_neither_credit_nor_approval_is_held_alone(till: Till) -> None:
    """Where one of them does not reach, the other is left as it was."""
    line = till.line(1000)
    small, large = till.approval(line, 100), till.approval(line, 5000)
    assert not till.reserve("a", line, 101, small)
    assert till.shortage(line, small, 101) == "approval_used_up"
    assert not till.reserve("a", line, 1001, large)
    assert till.shortage(line, large, 1001) == "no_credit"
    assert till.reserve("a", line, 100, small)
    assert not till.extend("a", 1)
    assert till.credit.view(line) == CreditView(MONTH, 1000, 0, 100)
    assert (till.purse(small), till.purse(large)) == ((0, 100), (0, 0))
    assert till.shortage(line, large, 900) is None


@pytest.mark.parametrize("how", ["revoked", "ended", "another line's"])
def test_an_approval_that_does_not_hold_holds_nothing(till: Till, how: str) -> None:
    """Revoked or out of date, it gives a running call no more; another line's never any."""
    line = till.line(1000)
    approval = till.approval(line if how != "another line's" else till.line(1000), 1000, days=1)
    if how != "another line's":
        assert till.reserve("before", line, 100, approval)
    if how == "revoked":
        till.revoke(approval)
    elif how == "ended":
        till.clock.advance(86400)
    assert not till.reserve("after", line, 100, approval)
    assert till.shortage(line, approval, 100) == "approval_used_up"
    if how != "another line's":
        assert not till.extend("before", 1)
        till.commit("before", 100)
        assert till.purse(approval) == (100, 0)
