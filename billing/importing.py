"""Lines and bills from CSV files: what a row must hold, and where it goes.

Persian, Arabic and fullwidth digits are read everywhere; dates are Gregorian (2026-12-05) or Solar
Hijri (1405/09/14: a year before 1700).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

import jdatetime  # type: ignore[import-untyped]
from sqlalchemy import Connection, select

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing.addresses import extract_address
from billing.bill_batch import BillBatch, BillRow
from billing.bill_ids import parse_bill_id, verify
from billing.csv_rows import Progress, Rejected, Report, Row, Source, load
from billing.database import Database
from billing.digits import ascii_digits, parse_digits
from billing.entities import LANGUAGES, instalment
from billing.errors import InvalidAddress, InvalidIds, InvalidNumber, InvalidRow
from billing.numbers import Kind, parse_number
from billing.schema import lines

LINE_COLUMNS = (
    "number",
    "kind",
    "first_name",
    "last_name",
    "language",
    "mobile",
    "email",
    "address",
    "postal_code",
)
BILL_COLUMNS = ("number", "period", "year", "amount", "bill_id", "payment_id", "due_date")

LARGEST_AMOUNT = 999_999_999_999
"""Rials on one bill at most: twelve digits are what is spoken and printed."""

_LONGEST_TEXT = {"first_name": 100, "last_name": 100, "address": 500}


def import_lines(
    database: Database,
    file: Source,
    *,
    progress: Progress | None = None,
    batch: int = 2000,
) -> Report:
    """Load lines from a CSV file with the columns LINE_COLUMNS.

    A line that is there already with the same content is unchanged; with other content, or twice in
    the file, it is rejected.

    Args:
        database: migrated.
        file: a path, or the file's lines as text.
        progress: called with the number of rows read after each batch.
        batch: rows per transaction.

    Raises:
        InvalidFile: no header, or a column is missing, and nothing was loaded; or the file cannot
            be read to its end, and the batches before are loaded.
        OSError: the file cannot be opened.
        Unavailable: the database is locked or away; batches before that are loaded, and loading the
            file again completes it.
    """
    seen: dict[str, int] = {}

    def parse(record: dict[str, str], line_no: int) -> dict[str, Any]:
        content = _parse_line(record)
        _refuse_repeated(seen, content["number"], line_no)
        return content

    return load(database, file, LINE_COLUMNS, parse, _store_lines, progress, batch)


def import_bills(
    database: Database,
    file: Source,
    *,
    now: datetime | None = None,
    progress: Progress | None = None,
    batch: int = 2000,
) -> Report:
    """Load bills from a CSV file with the columns BILL_COLUMNS, and post them to the ledger.

    The line has to be loaded before. With empty IDs the row's amount is the charges: what earlier
    bills of the line left below a thousand rials is added as a carried line, and what it has used
    of premium services as another; then the IDs are computed. With IDs the issuer has done the
    carrying: amount and IDs must agree. Bills of one line stand in the file in the order of their
    periods, or the remainder waits for the next.

    What a line has paid too much pays its next bill at once: what is left of that gets a payment
    ID of its own, or the bill is paid. A bill known just so, sent again while it is open, takes
    credit that has come up since.

    Args:
        database: migrated.
        file: a path, or the file's lines as text.
        now: the moment of the posting; the system's when None.
        progress: called with the number of rows read after each batch.
        batch: rows per transaction.

    Raises:
        InvalidFile: no header, or a column is missing, and nothing was loaded; or the file cannot
            be read to its end, and the batches before are loaded.
        OSError: the file cannot be opened.
        Unavailable: as for `import_lines`.
    """
    seen: dict[tuple[str, int, int], int] = {}
    moment = now or datetime.now(UTC)

    def parse(record: dict[str, str], line_no: int) -> BillRow:
        row = _parse_bill(record)
        _refuse_repeated(seen, (row.number, row.year, row.period), line_no)
        return row

    def store(conn: Connection, rows: list[Row[BillRow]]) -> Report:
        return BillBatch(conn, moment).store(rows)

    return load(database, file, BILL_COLUMNS, parse, store, progress, batch)


def _refuse_repeated(seen: dict[Any, int], key: object, line_no: int) -> None:
    first = seen.setdefault(key, line_no)
    if first != line_no:
        raise InvalidRow(f"duplicate: the same stands in line {first}")


def _parse_line(record: dict[str, str]) -> dict[str, Any]:
    kind = _kind(record["kind"].lower())
    language = record["language"].lower() or "fa"
    if language not in LANGUAGES:
        raise InvalidRow(f"language: one of {', '.join(LANGUAGES)}")
    return {
        "number": _number(record["number"], "number", kind),
        "kind": kind,
        "language": language,
        "mobile": _number(record["mobile"], "mobile", "mobile") if record["mobile"] else None,
        "first_name": _text(record, "first_name"),
        "last_name": _text(record, "last_name"),
        "email": _email(record["email"]) if record["email"] else None,
        "address": _text(record, "address") or None,
        "postal_code": _postal_code(record["postal_code"]) if record["postal_code"] else None,
    }


def _kind(text: str) -> Kind:
    if text == "fixed":
        return "fixed"
    if text == "mobile":
        return "mobile"
    raise InvalidRow("kind: fixed or mobile")


def _number(text: str, column: str, kind: Kind | None) -> str:
    try:
        return parse_number(text, kind=kind)
    except InvalidNumber as error:
        raise InvalidRow(f"{column}: {error}") from None


def _text(record: dict[str, str], column: str) -> str:
    text = record[column]
    if len(text) > _LONGEST_TEXT[column]:
        raise InvalidRow(f"{column}: longer than {_LONGEST_TEXT[column]} characters")
    return text


def _email(text: str) -> str:
    try:
        return extract_address(text)
    except InvalidAddress as error:
        raise InvalidRow(f"email: {error}") from None


def _postal_code(text: str) -> str:
    digits = ascii_digits(text).replace("-", "")
    if not re.fullmatch(r"[0-9]{10}", digits):
        raise InvalidRow("postal_code: not ten digits")
    return digits


_ADD_LINES = (
    insert(lines).on_conflict_do_nothing(index_elements=[lines.c.number]).returning(lines.c.number)
)


def _store_lines(conn: Connection, rows: list[Row[dict[str, Any]]]) -> Report:
    report = Report()
    added = set(conn.execute(_ADD_LINES, [row.content for row in rows]).scalars())
    report.loaded = len(added)
    repeated = {row.content["number"]: row for row in rows if row.content["number"] not in added}
    if not repeated:
        return report
    for stored in conn.execute(select(lines).where(lines.c.number.in_(repeated))).mappings():
        row = repeated[stored["number"]]
        other = [name for name, value in row.content.items() if stored[name] != value]
        if other:
            report.rejected.append(
                Rejected(row.line_no, f"duplicate: the line is known with another {other[0]}")
            )
        else:
            report.unchanged += 1
    return report


def _parse_bill(record: dict[str, str]) -> BillRow:
    number = _number(record["number"], "number", None)
    period = _integer(record["period"], "period", 1, 99)
    year = _integer(record["year"], "year", 1300, 2999)
    if not (1390 <= year <= 1450 or 2020 <= year <= 2060):
        # What cannot be said on the telephone must not come up in a call.
        raise InvalidRow("year: not 1390 to 1450 (Solar Hijri) or 2020 to 2060 (Gregorian)")
    amount = _integer(record["amount"], "amount", 1, LARGEST_AMOUNT)
    due_date = _date(record["due_date"])
    bill_id: str | None = None
    payment_id: str | None = None
    try:
        if record["bill_id"] and record["payment_id"]:
            bill, payment = verify(record["bill_id"], record["payment_id"])
            bill_id, payment_id = bill.text, payment.text
            if payment.amount != instalment(amount):
                raise InvalidRow(
                    f"payment ID: carries {payment.amount} rials, the amount asks for"
                    f" {instalment(amount)}"
                )
            if (payment.year, payment.period) != (str(year % 10), period):
                raise InvalidRow("payment ID: is for another year or period than the row")
        elif record["bill_id"]:
            bill_id = parse_bill_id(record["bill_id"]).text
        elif record["payment_id"]:
            raise InvalidRow("payment ID: given without a bill ID")
    except InvalidIds as error:
        raise InvalidRow(str(error)) from None
    return BillRow(number, period, year, amount, bill_id, payment_id, due_date)


def _integer(text: str, column: str, least: int, most: int) -> int:
    try:
        value = int(parse_digits(text, 15))
    except ValueError as error:
        raise InvalidRow(f"{column}: {error}") from None
    if not least <= value <= most:
        raise InvalidRow(f"{column}: not between {least} and {most}")
    return value


_DATE = re.compile(r"([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})")


@lru_cache(maxsize=1024)
def _date(text: str) -> date:
    """Read 2026-12-05 (Gregorian) or 1405/09/14 (Solar Hijri: years before 1700)."""
    found = _DATE.fullmatch(ascii_digits(text))
    if found is None:
        raise InvalidRow("due_date: not a date like 2026-12-05 or 1405/09/14")
    year, month, day = map(int, found.groups())
    try:
        day_due = _gregorian(year, month, day) if year < 1700 else date(year, month, day)
    except ValueError:
        raise InvalidRow("due_date: there is no such day") from None
    if not 2020 <= day_due.year <= 2060:
        raise InvalidRow("due_date: not in the years 2020 to 2060")
    return day_due


def _gregorian(year: int, month: int, day: int) -> date:
    if year < 1300:
        raise ValueError("long before there were bills")
    converted: date = jdatetime.date(year, month, day).togregorian()
    return converted
