"""Monthly credit asked for: by policy, once for a key, by SMS and by operations."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from billing.errors import KeyConflict
from billing.importing import import_bills
from billing.premium.credit_policy import History, Policy, ceiling, decide
from billing.schema import bills
from tests.owner_house import FIXED, MOBILE, OWNER, SECOND, OwnerHouse

POLICY = Policy(first=500_000, most=5_000_000, bills=6)


@pytest.fixture
def house(database, clock) -> OwnerHouse:
    return OwnerHouse(database, clock)


def pay_history(house: OwnerHouse, *, in_time: int = 0, late: int = 0, overdue: int = 0) -> None:
    """Bills of the fixed line that fell due before the clock's day: settled so, or not at all."""
    rows = ["number,period,year,amount,bill_id,payment_id,due_date"]
    total = in_time + late + overdue
    rows += [
        f"02188776655,{period},1405,100000,,,2026-{period + 2:02d}-01"
        for period in range(1, total + 1)
    ]
    report = import_bills(house.database, io.StringIO("\n".join(rows)), now=house.clock.now())
    assert not report.rejected, report.rejected
    with house.database.begin() as conn:
        for period in range(1, in_time + late + 1):
            day = "2026-02-20" if period <= in_time else "2026-11-20"
            settled = datetime.fromisoformat(day).replace(tzinfo=UTC)
            conn.execute(
                update(bills)
                .where(bills.c.period == period)
                .values(status="paid", paid=bills.c.amount, settled_at=settled)
            )


# -- the policy ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("history", "asked", "standing", "granted"),
    [
        (History(0, 0, 0), 300_000, 0, (300_000, "granted")),
        (History(0, 0, 0), 600_000, 0, (500_000, "first")),
        (History(0, 6, 6), 9_000_000, 500_000, (5_000_000, "history")),
        (History(0, 6, 6), 5_000_000, 500_000, (5_000_000, "granted")),
        (History(0, 6, 3), 9_000_000, 500_000, (2_750_000, "history")),
        (History(0, 6, 0), 600_000, 0, (500_000, "history")),
        (History(1, 6, 5), 600_000, 500_000, (500_000, "overdue")),
        (History(1, 6, 5), 600_000, 0, (0, "overdue")),
        (History(1, 6, 5), 400_000, 500_000, (400_000, "lowered")),
        (History(3, 6, 0), 0, 500_000, (0, "lowered")),
        # What operations have granted is not taken away by asking for more.
        (History(0, 6, 6), 9_000_000, 8_000_000, (8_000_000, "history")),
    ],
)
def test_policy(history, asked, standing, granted):
    """Good payers get more; nobody gets more while a bill is overdue; less is always granted."""
    decision = decide(history, asked, standing, POLICY)
    assert (decision.amount, decision.reason) == granted


histories = st.builds(
    lambda overdue, bills_, share: History(overdue, bills_, min(bills_, share)),
    st.integers(0, 3),
    st.integers(0, 12),
    st.integers(0, 12),
)


@given(histories, st.integers(0, 10**12), st.integers(0, 10**12))
def test_policy_never_grants_more_than_was_asked_for(history, asked, standing):
    """Nor raises beyond the most, nor takes away from whoever asks for more."""
    granted = decide(history, asked, standing, POLICY).amount
    assert 0 <= granted <= asked
    assert granted <= max(POLICY.most, standing)
    assert granted >= min(asked, standing)


@given(st.integers(0, 5))
def test_each_bill_paid_in_time_counts(paid):
    """One more is never worth less."""
    assert ceiling(History(0, 6, paid), POLICY) <= ceiling(History(0, 6, paid + 1), POLICY)


@pytest.mark.parametrize("terms", [(-1, 1, 1), (2, 1, 1), (1, 2, 0)])
def test_policies_that_make_no_sense(terms):
    """Are refused."""
    with pytest.raises(ValueError, match=r"first|bill"):
        Policy(*terms)


# -- requests --------------------------------------------------------------------------------------


def test_history_is_read_from_the_bills(house):
    """In time, late and overdue, of the last six."""
    pay_history(house, in_time=3, late=2, overdue=1)
    history = house.credit_requests.history(house.line().id)
    assert (history.overdue, history.bills, history.in_time) == (1, 6, 3)


def test_asking(house):
    """What is granted holds from this month on, and is kept with its reason."""
    pay_history(house, in_time=6)
    line = house.line().id
    granted = house.credit_requests.ask("call-1:4:credit", line, 3_000_000, "phone")
    assert (granted.amount, granted.reason) == (3_000_000, "granted")
    assert house.credit.view(line).ceiling == 3_000_000
    (request,) = house.credit_requests.requests(line)
    assert (request.asked, request.granted, request.via) == (3_000_000, 3_000_000, "phone")


def test_asking_twice_with_one_key(house):
    """Is asking once, also after the credit was changed otherwise; other content is a conflict."""
    line = house.line().id
    first = house.credit_requests.ask("call-1:4:credit", line, 400_000, "phone")
    house.credit_requests.set("operator-1", line, 100_000, "asked by letter")
    assert house.credit_requests.ask("call-1:4:credit", line, 400_000, "phone") == first
    assert house.credit.view(line).ceiling == 100_000
    with pytest.raises(KeyConflict):
        house.credit_requests.ask("call-1:4:credit", line, 500_000, "phone")
    assert len(house.credit_requests.requests(line)) == 2


@pytest.mark.parametrize("amount", [-1, 10**12 + 1])
def test_amounts_nobody_means(house, amount):
    """Are refused, and nothing is kept."""
    line = house.line().id
    with pytest.raises(ValueError, match="credit is"):
        house.credit_requests.ask("k", line, amount, "phone")
    with pytest.raises(ValueError, match="credit is"):
        house.credit_requests.set("k", line, amount, "x")
    assert house.credit_requests.requests(line) == []


def test_many_requests_at_once(house, in_threads):
    """One line, many requests at the same moment: the credit is one of those that were granted."""
    line = house.line().id
    amounts = [100_000 * step for step in range(1, 6)]
    results = in_threads([
        lambda amount=amount: house.credit_requests.ask(f"k{amount}", line, amount, "sms")
        for amount in amounts
    ])  # fmt: skip
    assert not [each for each in results if isinstance(each, Exception)], results
    assert house.credit.view(line).ceiling in amounts


# -- by SMS ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["CREDIT 400000", "اعتبار ۴۰۰٬۰۰۰", "رصيد 400,000", "кредит 400.000", "лимит 400000"]
)
def test_credit_by_sms(house, text):
    """In four languages, for the only line; once for a message."""
    answer = house.sms.answer(MOBILE, text, "m1")
    assert answer.value == "credit"
    assert house.credit.view(house.line(MOBILE).id).ceiling == 400_000
    assert house.sms.answer(MOBILE, text, "m1").value == "repeated"
    assert house.sent("sms.owner_reply")[-1]["reason"] == "granted"


def test_credit_by_sms_of_an_owner_with_several_lines(house):
    """The line is named too; somebody else's is none of theirs."""
    assert house.sms.answer(OWNER, "credit 400000", "m1").value == "which_line"
    assert house.sms.answer(OWNER, "credit 400000 09123456789", "m2").value == "which_line"
    assert house.sms.answer(OWNER, "credit 400000 02144556677", "m3").value == "credit"
    assert house.credit.view(house.line(SECOND).id).ceiling == 400_000
    assert house.credit.view(house.line(FIXED).id).ceiling == 0
    assert house.credit.view(house.line(MOBILE).id).ceiling == 0


@pytest.mark.parametrize("text", ["CREDIT", "CREDIT 9999999999999999"])
def test_credit_by_sms_without_a_usable_amount(house, text):
    """Is asked for one."""
    assert house.sms.answer(MOBILE, text, "m1").value == "which_credit"
