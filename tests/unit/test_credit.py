"""What a line has paid too much pays its next bill: at once, once, to the rial."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from billing import ledger, payments, reports
from billing.bill_ids import compute_payment_id, verify
from billing.clock import FixedClock
from billing.csv_rows import Report
from billing.database import Database
from billing.desk import Desk
from billing.entities import Bill
from billing.importing import BILL_COLUMNS, import_bills

FIXED = "02188776655"
HEADER = ",".join(BILL_COLUMNS)

Pay = Callable[..., str | None]
Load = Callable[..., Report]


@pytest.fixture
def pay(desk: Desk, clock: FixedClock) -> Pay:
    """Reports a payment for a bill and posts it; returns its result."""

    def pay_bill(bill: Bill, amount: int, reference: str) -> str | None:
        receipt = desk.receive_payment(
            reference, bill.bill_id, bill.payment_id, amount, "bank", clock.now()
        )
        return desk.post_payment(receipt.payment).result

    return pay_bill


@pytest.fixture
def bills(database: Database, clock: FixedClock) -> Load:
    """Imports rows of bills."""

    def load(*rows: str, batch: int = 2000) -> Report:
        return import_bills(database, [HEADER, *rows], now=clock.now(), batch=batch)

    return load


@pytest.fixture
def credit(desk: Desk, pay: Pay) -> Callable[[int], Bill]:
    """Pays the fixed line's bill of 17,450 rials, and so many rials more; returns the bill."""

    def overpay(amount: int) -> Bill:
        (bill,) = desk.opening(FIXED).open_bills
        assert pay(bill, 17_450 + amount, "over") == "over"
        return bill

    return overpay


Overpay = Callable[[int], Bill]


def _balances(database: Database, line: int = 1) -> tuple[int, int]:
    """What the line owes and what is owed to it, after an audit of the whole ledger."""
    with database.read() as conn:
        assert ledger.audit(conn) == []
        return (
            ledger.balance(conn, ledger.receivable(line)),
            -ledger.balance(conn, ledger.credit(line)),
        )


def _postings(database: Database) -> list[str]:
    with database.read() as conn:
        keys = conn.execute(text("SELECT key FROM postings WHERE kind = 'credit' ORDER BY id"))
        return list(keys.scalars())


def test_credit_pays_a_part_of_the_next_bill(
    database: Database, desk: Desk, credit: Overpay, bills: Load, pay: Pay
) -> None:
    """The bill is part paid from the start; its payment ID asks for the rest, which settles it."""
    credit(2_550)
    bills(f"{FIXED},9,1405,20000,,,2027-01-05")
    opening = desk.opening(FIXED)
    (bill,) = opening.open_bills
    assert (bill.amount, bill.paid, bill.payable, bill.remainder) == (20_000, 2_550, 17_000, 450)
    assert verify(bill.bill_id, bill.payment_id)[1].amount == 17_000
    assert opening.owed == 17_450
    assert _balances(database) == (17_450, 0)
    assert _postings(database) == [f"credit:+98{FIXED[1:]}:1405:9:0"]
    assert pay(bill, 17_000, "rest") == "full"
    assert desk.opening(FIXED).open_bills == []
    assert _balances(database) == (450, 0)


def test_credit_covers_the_next_bill(
    database: Database, desk: Desk, credit: Overpay, bills: Load
) -> None:
    """Nobody is asked for a bill that is paid; what is left of the credit pays the one after."""
    credit(20_700)
    bills(f"{FIXED},9,1405,20000,,,2027-01-05", f"{FIXED},10,1405,30000,,,2027-02-05")
    opening = desk.opening(FIXED)
    assert opening.last_paid is not None
    assert (opening.last_paid.period, opening.last_paid.paid) == (9, 20_000)
    (bill,) = opening.open_bills
    assert (bill.period, bill.paid, bill.payable) == (10, 700, 29_000)
    assert _balances(database) == (29_300, 0)


def test_credit_pays_what_no_payment_id_can_carry(
    database: Database, desk: Desk, credit: Overpay, bills: Load
) -> None:
    """A bill below a thousand rials is paid, and carries nothing on."""
    credit(5_000)
    bills(f"{FIXED},9,1405,999,,,2027-01-05", f"{FIXED},10,1405,30000,,,2027-02-05")
    (bill,) = desk.opening(FIXED).open_bills
    assert (bill.amount, bill.carried, bill.paid) == (30_000, 0, 4_001)
    assert _balances(database) == (25_999, 0)


def test_the_issuers_ids_keep_finding_a_bill_that_credit_has_paid_in_part(
    database: Database, desk: Desk, credit: Overpay, bills: Load, clock: FixedClock
) -> None:
    """The paper bill asks for the whole: paid by it, what is too much is credit again."""
    bill_id = credit(2_550).bill_id
    printed = compute_payment_id(bill_id, 20_000, 1405, 9)
    row = f"{FIXED},9,1405,20000,{bill_id},{printed},2027-01-05"
    assert bills(row) == Report(1, 0, [])
    assert bills(row) == Report(0, 1, [])
    (bill,) = desk.opening(FIXED).open_bills
    assert bill.payment_id != printed
    receipt = desk.receive_payment("paper", bill_id, printed, 20_000, "bank", clock.now())
    assert desk.post_payment(receipt.payment).result == "over"
    assert _balances(database) == (0, 2_550)


def test_a_little_credit_may_leave_the_payment_id(
    database: Database, desk: Desk, credit: Overpay, bills: Load
) -> None:
    """300 rials of 17,450: the thousands to pay stay the same, and so do the IDs."""
    credit(300)
    bills(f"{FIXED},9,1405,17450,,,2027-01-05")
    (bill,) = desk.opening(FIXED).open_bills
    assert (bill.paid, bill.payable, bill.remainder) == (300, 17_000, 150)
    assert _balances(database) == (17_150, 0)


def test_importing_again_moves_no_credit_twice(
    database: Database, desk: Desk, credit: Overpay, bills: Load
) -> None:
    """The same file again finds the bill as it is."""
    credit(2_550)
    for loaded in (1, 0, 0):
        assert bills(f"{FIXED},9,1405,20000,,,2027-01-05") == Report(loaded, 1 - loaded, [])
    assert _balances(database) == (17_450, 0)
    assert len(_postings(database)) == 1


def test_a_bill_sent_again_takes_credit_that_has_come_up_since(
    database: Database, desk: Desk, pay: Pay, bills: Load
) -> None:
    """Two bills are open and the first is overpaid: the second, sent again, takes the credit.

    The bill after them carries what then remains of it, not what did before.
    """
    row = f"{FIXED},9,1405,20700,,,2027-01-05"
    bills(row)
    first, second = desk.opening(FIXED).open_bills
    assert (first.carried_out, second.amount) == (450, 21_150)
    assert pay(first, 17_300, "over") == "over"
    assert _balances(database) == (21_150, 300)
    report = bills(row, f"{FIXED},10,1405,30000,,,2027-02-05")
    assert report == Report(1, 1, [])
    second, third = desk.opening(FIXED).open_bills
    # 21,150 less 300: 850 are carried, and 20,000 are asked for by a payment ID of their own.
    assert (second.paid, second.carried_out, second.payable) == (300, 850, 20_000)
    assert verify(second.bill_id, second.payment_id)[1].amount == 20_000
    assert (third.amount, third.carried) == (30_850, 850)
    assert _balances(database) == (50_850, 0)
    # With another amount it is refused, and takes nothing.
    assert pay(third, 40_000, "over-again") == "over"
    assert bills(f"{FIXED},9,1405,1,,,2027-01-05").loaded == 0
    assert _balances(database) == (20_000, 9_150)


def test_credit_shows_in_the_days_figures(
    database: Database, credit: Overpay, bills: Load, clock: FixedClock
) -> None:
    """As postings of their own, not as money that came in."""
    credit(2_550)
    bills(f"{FIXED},9,1405,20000,,,2027-01-05")
    day = reports.daily(database, clock.now().date())
    assert day["posted"]["credit"] == {"count": 1, "amount": 2_550}
    assert day["payments"] == {"bank": {"count": 1, "amount": 20_000}}


def test_lines_with_credit_are_listed(
    database: Database, desk: Desk, credit: Overpay, pay: Pay, bills: Load
) -> None:
    """The largest first, as many as are asked for; a credit that is used up is not there."""
    assert payments.credits(database) == []
    credit(2_550)
    (mobile,) = desk.opening("09123456789").open_bills
    pay(mobile, 129_000 + 7, "m")
    listed = payments.credits(database)
    assert listed == [
        payments.Credit(1, "+982188776655", 2_550),
        payments.Credit(2, "+989123456789", 7),
    ]
    assert payments.credits(database, limit=1) == listed[:1]
    bills(f"{FIXED},9,1405,20000,,,2027-01-05")
    assert payments.credits(database) == listed[1:]


def test_overpaying_and_importing_at_the_same_moment(
    database: Database,
    desk: Desk,
    pay: Pay,
    bills: Load,
    in_threads: Callable[..., list[object]],
) -> None:
    """Whichever comes first: no rial of credit is used twice, and none is lost."""
    (bill,) = desk.opening(FIXED).open_bills
    rows = [f"{FIXED},{period},1405,20000,,,2027-01-05" for period in range(9, 13)]
    results = in_threads(
        [lambda n=n: pay(bill, 17_000, f"r{n}") for n in range(6)]
        + [lambda row=row: bills(row) for row in rows]
        + [lambda: bills(*rows, batch=1)]
    )
    assert not [result for result in results if isinstance(result, Exception)]
    owed, owed_to = _balances(database)
    assert owed - owed_to == 17_450 + 80_000 - 6 * 17_000
    with database.read() as conn:
        left = conn.execute(
            text("SELECT sum(amount - paid - carried_out) FROM bills WHERE line_id = 1")
        ).scalar_one()
    assert owed == left
    assert owed_to >= 0


_numbers = iter(range(8_000_000, 9_000_000))
_amounts = st.integers(1, 30_000)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("bill"), _amounts),
            st.tuples(st.just("again"), st.integers(0, 9)),
            st.tuples(st.just("pay"), st.integers(1, 60_000)),
            st.tuples(st.just("pay first"), st.integers(1, 60_000)),
        ),
        min_size=3,
        max_size=12,
    )
)
@example(
    steps=[("bill", 17_450), ("bill", 20_700), ("pay first", 17_300), ("again", 1), ("bill", 30)]
)
@example(steps=[("bill", 999), ("bill", 1), ("pay", 60_000), ("bill", 20_700), ("again", 0)])
def test_money_that_came_in_is_on_bills_or_is_credit(
    database: Database,
    desk: Desk,
    clock: FixedClock,
    load: Callable[..., None],
    steps: list[tuple[str, int]],
) -> None:
    """Any bills, payments and bills sent again: what came in is what is paid and what is credit;
    what is owed is what the bills have left; every open bill's payment ID asks for its instalment;
    with all bills sent once more, credit is left only where no bill is open."""
    number = f"021{8}{next(_numbers)}"
    channel = f"c{number}"
    load([f"{number},fixed,A,B,fa,,,,"], [])
    rows: list[str] = []
    first: Bill | None = None
    for n, (what, value) in enumerate(steps, start=1):
        if what == "bill":
            rows.append(f"{number},{n},1405,{value},,,2026-12-05")
            load([], rows[-1:])
        elif what == "again" and rows:
            load([], [rows[value % len(rows)]])
        open_bills = desk.opening(number).open_bills
        first = first or (open_bills[0] if open_bills else None)
        target = open_bills[0] if what == "pay" and open_bills else first
        if what.startswith("pay") and target is not None:
            receipt = desk.receive_payment(
                f"{number}-{n}", target.bill_id, target.payment_id, value, channel, clock.now()
            )
            assert desk.post_payment(receipt.payment).status == "posted"
    opening = desk.opening(number)
    assert opening.line is not None
    owed, owed_to = _balances(database, opening.line.id)
    assert owed == opening.owed
    assert owed_to >= 0
    with database.read() as conn:
        came_in = ledger.balance(conn, ledger.cash(channel))
        paid, left = conn.execute(
            text(
                "SELECT coalesce(sum(paid), 0), coalesce(sum(amount - paid - carried_out), 0)"
                " FROM bills WHERE line_id = :line"
            ),
            {"line": opening.line.id},
        ).one()
    assert came_in == paid + owed_to
    assert owed == left
    for bill in opening.open_bills:
        assert verify(bill.bill_id, bill.payment_id)[1].amount == bill.instalment
    if rows:
        load([], rows)
        _, owed_to = _balances(database, opening.line.id)
        assert not (owed_to and desk.opening(number).open_bills)
