"""CSV files of lines and bills: good rows load, bad rows are named by line and reason."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from billing import csv_rows, ledger
from billing.bill_ids import compute_payment_id, verify
from billing.clock import FixedClock, SystemClock
from billing.csv_rows import Rejected, Report
from billing.database import Database
from billing.desk import Desk
from billing.entities import Bill
from billing.errors import InvalidFile
from billing.importing import BILL_COLUMNS, LINE_COLUMNS, import_bills, import_lines

SAMPLE = Path(__file__).parents[2] / "conf" / "sample"
LINES = ",".join(LINE_COLUMNS)
BILLS = ",".join(BILL_COLUMNS)
FIXED = "02188776655,fixed,Ali,Rezaei,fa,09121111111,ali@example.ir,Street,1234567890"


@pytest.fixture
def bills(database: Database) -> Callable[..., Report]:
    """Imports rows of bills for the one fixed line."""
    import_lines(database, [LINES, FIXED])

    def import_rows(*rows: str) -> Report:
        return import_bills(database, [BILLS, *rows])

    return import_rows


def _open_bills(database: Database, number: str = "02188776655") -> list[Bill]:
    return Desk(database, SystemClock()).opening(number).open_bills


def test_the_sample_files_load_whole(database: Database) -> None:
    """conf/sample is what the demo starts from: every row good, every kind of line and bill."""
    lines = import_lines(database, SAMPLE / "lines.csv")
    bills = import_bills(database, SAMPLE / "bills.csv")
    assert (lines.rejected, bills.rejected) == ([], [])
    assert (lines.loaded, bills.loaded) == (13, 14)
    with database.read() as conn:
        kinds = conn.execute(text("SELECT DISTINCT kind, language FROM lines")).all()
        assert len(kinds) == 8
        assert ledger.audit(conn) == []
    (bill,) = _open_bills(database, "09191000744")
    assert (bill.bill_id, bill.payment_id) == ("9100074409153", "12908199")


def test_importing_again_changes_nothing(database: Database) -> None:
    """A file loaded twice is unchanged the second time, also after a bill was part paid."""
    import_lines(database, SAMPLE / "lines.csv")
    import_bills(database, SAMPLE / "bills.csv")
    clock = FixedClock(SystemClock().now())
    desk = Desk(database, clock)
    for number in ("02188776655", "09191000744"):
        (bill,) = desk.opening(number).open_bills
        receipt = desk.receive_payment(
            number, bill.bill_id, bill.payment_id, 5_000, "bank", clock.now()
        )
        assert desk.post_payment(receipt.payment).result == "partial"
    assert import_lines(database, SAMPLE / "lines.csv") == Report(0, 13, [])
    assert import_bills(database, SAMPLE / "bills.csv") == Report(0, 14, [])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("02188,fixed,A,B,fa,,,,", "number: not a complete telephone number"),
        ("09123456789,fixed,A,B,fa,,,,", "number: a mobile number, not a fixed line's"),
        ("02188776656,fax,A,B,fa,,,,", "kind: fixed or mobile"),
        ("02188776656,fixed,A,B,de,,,,", "language: one of fa, ar, ru, en"),
        ("02188776656,fixed,A,B,fa,02188776656,,,", "mobile: a fixed line's number"),
        ("02188776656,fixed,A,B,fa,,nobody,,", "email: there is no e-mail address"),
        ("02188776656,fixed,A,B,fa,,,,123", "postal_code: not ten digits"),
        ("02188776656,fixed," + "A" * 101 + ",B,fa,,,,", "first_name: longer than 100"),
        ("02188776656,fixed,A,B,fa", "5 fields instead of the header's 9"),
        ('02188776656,fixed,"A,B,fa,,,,', "the quotes do not close"),
        ('02188776656,fixed,"A"x,B,fa,,,,', "text beside quotes"),
        ("02188776656,fixed," + "A" * 140_000 + ",B,fa,,,,", "a field is too long"),
        ("02188776656,fixed,A\x00,B,fa,,,,", "control characters"),
        ("02188776656,fixed,A\x85B,B,fa,,,,", "control characters"),
        ("02188776656,fixed,A,B\u2028C,fa,,,,", "control characters"),
        ("02188776656,fixed,A,B,fa,,,Street\u20291,", "control characters"),
        ('02188776656,fixed,"A\x9f",B,fa,,,,', "control characters"),
        ("02188776656,fixed,A\udcff,B,fa,,,,", "not UTF-8"),
    ],
)
def test_a_bad_line_is_named_and_the_good_ones_load(
    database: Database, row: str, reason: str
) -> None:
    """The report has the bad row's place in the file and why; its neighbours are there."""
    mobile = "09123456789,mobile,Sara,Karimi,en,,,,"
    report = import_lines(database, [LINES, FIXED, row, mobile])
    assert report.loaded == 2
    (rejected,) = report.rejected
    assert rejected.line_no == 3
    assert reason in rejected.reason


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("02188776655,8,1405,17450,8877665502146,,2026-12-05", "C is 6, should be 5"),
        ("02188776655,8,1405,17450,8877665502145,1750803,2026-12-05", "C2 is 3, should be 4"),
        ("02188776655,8,1405,18000,8877665502145,1750804,2026-12-05", "carries 17000 rials"),
        ("02188776655,9,1405,17450,8877665502145,1750804,2026-12-05", "another year or period"),
        ("02188776655,8,1404,17450,8877665502145,1750804,2026-12-05", "another year or period"),
        ("02188776655,8,1405,17450,,1750804,2026-12-05", "given without a bill ID"),
        ("02188776655,81,1400,129000,9174639504124,12908190,2026-12-05", "service code is 2"),
        ("02188776656,8,1405,17450,,,2026-12-05", "there is no line with it"),
        ("02188776655,0,1405,17450,,,2026-12-05", "period: not between 1 and 99"),
        ("02188776655,8,5,17450,,,2026-12-05", "year: not between"),
        ("02188776655,8,1405,0,,,2026-12-05", "amount: not between"),
        ("02188776655,8,1405,-5,,,2026-12-05", "amount: digits only"),
        ("02188776655,8,1405,17450.0,,,2026-12-05", "amount: digits only"),
        ("02188776655,8,1405,1000000000000,,,2026-12-05", "amount: not between"),
        ("02188776655,8,1405,17450,,,2026-02-30", "no such day"),
        ("02188776655,8,1405,17450,,,1405/12/30", "no such day"),
        ("02188776655,8,1405,17450,,,tomorrow", "not a date"),
    ],
)
def test_a_bad_bill_is_named_and_the_good_ones_load(
    bills: Callable[..., Report], database: Database, row: str, reason: str
) -> None:
    """Wrong check digits, amounts that disagree, impossible dates: each with its reason."""
    report = bills(row, "02188776655,7,1405,20000,,,2026-12-05")
    assert report.loaded == 1
    (rejected,) = report.rejected
    assert rejected.line_no == 2
    assert reason in rejected.reason
    assert [bill.period for bill in _open_bills(database)] == [7]


def test_duplicates_are_named(bills: Callable[..., Report], database: Database) -> None:
    """The same bill twice in a file; another amount, date or ID for a known one."""
    report = bills("02188776655,8,1405,17450,,,2026-12-05", "02188776655,8,1405,17450,,,2026-12-05")
    assert report == Report(1, 0, [Rejected(3, "duplicate: the same stands in line 2")])
    for row, what in (
        ("02188776655,8,1405,17451,,,2026-12-05", "amount"),
        ("02188776655,8,1405,17450,,,2026-12-06", "due_date"),
    ):
        assert bills(row).rejected == [
            Rejected(2, f"duplicate: the bill is known with another {what}")
        ]
    lines = import_lines(
        database, [LINES, FIXED.replace("Ali", "Eve"), FIXED, "+982188776655" + FIXED[11:]]
    )
    assert [rejected.line_no for rejected in lines.rejected] == [2, 3, 4]
    assert "another first_name" in lines.rejected[0].reason


def test_a_bill_id_never_names_two_lines(bills: Callable[..., Report], database: Database) -> None:
    """An ID given for one line's bill is refused for another's, in the same file and later."""
    import_lines(database, [LINES, "02188776656,fixed,A,B,fa,,,,"])
    own = "02188776655,8,1405,17450,8877665502145,,2026-12-05"
    other = "02188776656,8,1405,17450,8877665502145,,2026-12-05"
    for rows in ((own, other), (other,)):
        assert [rejected.reason for rejected in bills(*rows).rejected] == [
            "bill ID: belongs to another line"
        ]


def test_remainders_are_carried_to_the_next_bill(
    bills: Callable[..., Report], database: Database
) -> None:
    """What a payment ID cannot carry is asked for by the next bill, as its own line, once."""
    bills(
        "02188776655,7,1405,17450,,,2026-10-05",
        "02188776655,8,1405,20700,,,2026-11-05",
    )
    bills("02188776655,9,1405,30000,,,2026-12-05")
    seven, eight, nine = _open_bills(database)
    assert (seven.amount, seven.carried, seven.carried_out, seven.payable) == (17450, 0, 450, 17000)
    assert (eight.amount, eight.carried, eight.carried_out) == (21150, 450, 150)
    assert (nine.amount, nine.carried, nine.remainder) == (30150, 150, 150)
    for bill in (seven, eight, nine):
        assert verify(bill.bill_id, bill.payment_id)[1].amount == bill.payable
    with database.read() as conn:
        # What was charged, whatever was carried between the bills.
        assert ledger.balance(conn, ledger.receivable(seven.line_id)) == 17450 + 20700 + 30000


def test_a_bill_with_ids_has_been_carried_by_its_issuer(
    bills: Callable[..., Report], database: Database
) -> None:
    """Its amount holds the earlier remainder already: it is not charged a second time."""
    bills("02188776655,7,1405,17450,,,2026-10-05")
    payment_id = compute_payment_id("8877665502145", 21150, 1405, 8)
    row = f"02188776655,8,1405,21150,8877665502145,{payment_id},2026-11-05"
    assert bills(row).loaded == 1
    assert bills(row).unchanged == 1
    _, eight = _open_bills(database)
    assert (eight.amount, eight.carried) == (21150, 450)
    with database.read() as conn:
        assert ledger.balance(conn, ledger.receivable(eight.line_id)) == 17450 + 20700


def test_a_bill_below_a_thousand_waits_for_the_next(
    bills: Callable[..., Report], database: Database
) -> None:
    """It cannot be paid by IDs, so nobody is asked to; the next bill carries all of it."""
    bills("02188776655,7,1405,999,,,2026-10-05")
    assert _open_bills(database) == []
    bills("02188776655,8,1405,1,,,2026-11-05")
    (bill,) = _open_bills(database)
    assert (bill.amount, bill.carried, bill.payable) == (1000, 999, 1000)


@pytest.mark.parametrize("due", ["2026-12-06", "1405/09/15", "1405-9-15", "۱۴۰۵/۰۹/۱۵"])
def test_due_dates_are_gregorian_or_solar_hijri(
    bills: Callable[..., Report], database: Database, due: str
) -> None:
    """A year before 1700 is Solar Hijri; digits may be Persian."""
    bills(f"02188776655,8,1405,17450,,,{due}")
    assert [bill.due_date for bill in _open_bills(database)] == [date(2026, 12, 6)]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + LINES + "\r\n" + FIXED + "\r\n",
        LINES + "\r" + FIXED + "\r",
        LINES.upper() + "\n\n" + FIXED.replace("02188776655", "۰۲۱۸۸۷۷۶۶۵۵") + "\n,,,,\n",
        "note," + LINES + "\nx," + FIXED + "\n",
    ],
)
def test_files_come_as_spreadsheets_write_them(
    database: Database, tmp_path: Path, content: str
) -> None:
    """Byte order mark, any line end, blank rows, further columns, Persian digits."""
    path = tmp_path / "lines.csv"
    path.write_bytes(content.encode())
    assert import_lines(database, path) == Report(1, 0, [])
    assert Desk(database, SystemClock()).opening("02188776655").line is not None


def test_bytes_that_are_not_utf8_spoil_only_their_row(database: Database, tmp_path: Path) -> None:
    """A row in another encoding is named; the rows around it load."""
    path = tmp_path / "lines.csv"
    bad = "02188776656,fixed,علي,B,fa,,,,".encode("cp1256")
    path.write_bytes(b"\n".join([LINES.encode(), bad, FIXED.encode()]))
    report = import_lines(database, path)
    assert (report.loaded, [rejected.line_no for rejected in report.rejected]) == (1, [2])


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "empty"),
        ([""], "empty"),
        (["number,kind"], "missing columns: first_name"),
        ([LINES.replace(",", ";")], "missing columns: number, .* separated by semicolons"),
        ([LINES.replace(",", "\t")], "separated by tabs"),
        ([f'"{LINES}"'], "missing columns: [a-z_, ]+$"),
        ([LINES + ",number"], "twice"),
        (['"' + LINES], "header cannot be read"),
        ([FIXED], "missing columns"),
    ],
)
def test_a_file_without_the_right_header_is_refused(
    database: Database, rows: list[str], reason: str
) -> None:
    """The error names what is missing, and nothing is loaded."""
    with pytest.raises(InvalidFile, match=reason):
        import_lines(database, rows)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_break_in_quotes_is_one_bad_row(
    database: Database, tmp_path: Path, end: str
) -> None:
    """As spreadsheets write a cell of two lines: named once, by its first line; the rest loads."""
    rows = [
        LINES,
        '02188776656,fixed,A,B,fa,,,"Street 1' + end + "Floor 2" + end + '",1234567890',
        FIXED,
        '02188776657,fixed,"A' + end + '",B,fa,,,,',
        '02188776658,fixed,"A,B,fa,,,,',
        '02188776659,fixed,"C, the second",D,fa,,,,',
    ]
    path = tmp_path / "lines.csv"
    path.write_bytes(end.join(rows).encode())
    assert import_lines(database, path) == Report(
        2,
        0,
        [
            Rejected(2, "a field holds a line break"),
            Rejected(6, "a field holds a line break"),
            Rejected(8, "the quotes do not close"),
        ],
    )


def test_a_quote_that_never_closes_spoils_no_other_row(database: Database) -> None:
    """However many lines are looked at for its end, they are read as rows of their own."""
    rows = [f"0218877{number:04d},fixed,A,B,fa,,,," for number in range(50)]
    rows[10] = '02188770010,fixed,"A,B,fa,,,,'
    rows[12] = '02188770012,fixed,"A,B,fa,,,,'
    report = import_lines(database, [LINES, *rows])
    assert report.loaded == 48
    assert [(bad.line_no, bad.reason) for bad in report.rejected] == [
        (12, "the quotes do not close"),
        (14, "the quotes do not close"),
    ]


def test_a_file_that_cannot_be_read_to_its_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails half-way: what was read before is loaded, and the error says what it is."""

    class Failing(io.StringIO):
        def __next__(self) -> str:
            if line := self.readline():
                return line
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(csv_rows, "open", lambda *_, **__: Failing(f"{LINES}\n{FIXED}\n"), False)
    with pytest.raises(InvalidFile, match="cannot be read: Input/output error"):
        import_lines(database, "lines.csv", batch=1)
    assert Desk(database, SystemClock()).opening("02188776655").line is not None


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="there is no such file here")
def test_a_file_that_cannot_be_read_at_all(database: Database) -> None:
    """It opens, and reading fails: an error of the file, not of the programme."""
    with pytest.raises(InvalidFile, match="cannot be read"):
        import_lines(database, "/proc/self/mem")


def test_a_reason_never_repeats_the_row(database: Database) -> None:
    """Reports are shown and logged: no name, number, address or e-mail may be in them."""
    rows = [
        "02188776699x,fixed,Secretname,B,fa,,,,",
        "02188776655,fixed,Secretname,B,fa,,secret@@example.ir,,",
        "02188776655,fixed,Secretname,B,fa,,,Secret Street,secret",
    ]
    reasons = str(import_lines(database, [LINES, *rows]).rejected).lower()
    assert reasons.count("line_no") == 3
    assert "secret" not in reasons
    assert "88776" not in reasons


def test_progress_is_told_after_each_batch(database: Database) -> None:
    """Whoever waits sees how far it is, to the end."""
    told: list[int] = []
    rows = [f"0218877{number:04d},fixed,A,B,fa,,,," for number in range(25)]
    report = import_lines(database, [LINES, *rows], progress=told.append, batch=10)
    assert (report.loaded, told) == (25, [10, 20, 25])


def test_batches_carry_like_one(bills: Callable[..., Report], database: Database) -> None:
    """Where a batch ends makes no difference to what is carried."""
    rows = [f"02188776655,{period},1405,10{period:03d},,,2026-12-05" for period in range(1, 10)]
    assert import_bills(database, [BILLS, *rows], batch=2).loaded == 9
    found = _open_bills(database)
    assert [bill.carried for bill in found] == [0, 1, 3, 6, 10, 15, 21, 28, 36]


def test_the_same_file_twice_at_once_loads_once(
    bills: Callable[..., Report], database: Database, in_threads: Callable[..., list[object]]
) -> None:
    """Two operators, one file: every bill once, the other import finds them unchanged."""
    rows = [f"02188776655,{period},1405,10{period:03d},,,2026-12-05" for period in range(1, 10)]
    reports = in_threads([lambda: import_bills(database, [BILLS, *rows], batch=3)] * 3)
    assert all(isinstance(report, Report) for report in reports)
    assert sum(report.loaded for report in reports) == 9  # type: ignore[attr-defined]
    assert sum(report.unchanged for report in reports) == 18  # type: ignore[attr-defined]
    with database.read() as conn:
        assert ledger.audit(conn) == []


_field = st.one_of(
    st.sampled_from(LINES.split(",") + FIXED.split(",")),
    st.sampled_from(["", "8", "1405", "17450", "2026-12-05", "8877665502145", "1750804"]),
    st.sampled_from(['"', "۸", "-1", "9" * 17, "mobile", "09123456789"]),
    st.text(max_size=12),
)
_row = st.lists(_field, min_size=1, max_size=10).map(",".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(rows=st.lists(st.one_of(_row, st.text(max_size=60)), max_size=12))
def test_any_rows_at_all_end_in_a_report(database: Database, rows: list[str]) -> None:
    """Whatever stands in the rows: each is loaded, unchanged, blank or named; nothing is raised."""
    for load, header in ((import_lines, LINES), (import_bills, BILLS)):
        report = load(database, [header, *rows])
        lines = [rejected.line_no for rejected in report.rejected]
        assert lines == sorted(set(lines))
        assert all(2 <= line <= len(rows) + 1 for line in lines)
        assert report.loaded + report.unchanged + len(lines) <= len(rows)
        assert all(rejected.reason.isprintable() for rejected in report.rejected)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(content=st.binary(max_size=300))
def test_any_bytes_at_all_end_in_a_report_or_a_refused_file(
    database: Database, tmp_path: Path, content: bytes
) -> None:
    """Binary rubbish: a report, or InvalidFile for the header."""
    path = tmp_path / "rubbish.csv"
    for header in (b"", BILLS.encode() + b"\n"):
        path.write_bytes(header + content)
        try:
            report = import_bills(database, path)
        except InvalidFile:
            assert not header
            continue
        assert report.loaded == 0
