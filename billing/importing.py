"""Lines and bills from CSV files: good rows load, bad rows are named by line and reason.

A row is one line of the file: a quote that is never closed spoils its own row and no other. UTF-8
with or without byte order mark, any line end, Persian and Arabic digits. Reasons never repeat what
stands in the row, so a report can be shown and logged.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import jdatetime  # type: ignore[import-untyped]
from sqlalchemy import Connection, bindparam, func, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing import ledger
from billing.addresses import extract_address
from billing.bill_ids import (
    SERVICE_CODES,
    THOUSAND,
    compute_bill_id,
    compute_payment_id,
    parse_bill_id,
    verify,
)
from billing.database import Database
from billing.digits import ascii_digits, parse_digits
from billing.entities import LANGUAGES, instalment, payable
from billing.errors import InvalidAddress, InvalidFile, InvalidIds, InvalidNumber, InvalidRow
from billing.numbers import Kind, parse_number
from billing.schema import bill_ids, bill_lines, bills, lines, payment_ids

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

Source = str | Path | Iterable[str]
Progress = Callable[[int], None]
R = TypeVar("R")

_LONGEST_TEXT = {"first_name": 100, "last_name": 100, "address": 500}


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that was not loaded: its line in the file (the header is 1) and why."""

    line_no: int
    reason: str


@dataclass(slots=True)
class Report:
    """What became of a file: rows loaded, rows that were there already just so, rows rejected."""

    loaded: int = 0
    unchanged: int = 0
    rejected: list[Rejected] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Row(Generic[R]):
    line_no: int
    content: R


@dataclass(frozen=True, slots=True)
class _BillRow:
    number: str
    period: int
    year: int
    amount: int
    bill_id: str | None
    payment_id: str | None
    due_date: date


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
        InvalidFile: no header, or a column is missing; nothing was loaded.
        OSError: the file cannot be opened.
        Unavailable: the database is locked or away; batches before that are loaded, and loading the
            file again completes it.
    """
    seen: dict[str, int] = {}

    def parse(record: dict[str, str], line_no: int) -> dict[str, Any]:
        content = _parse_line(record)
        _refuse_repeated(seen, content["number"], line_no)
        return content

    return _run(database, file, LINE_COLUMNS, parse, _store_lines, progress, batch)


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
    bills of the line left below a thousand rials is added as a carried line, then the IDs are
    computed. With IDs the issuer has done the carrying: amount and IDs must agree. Bills of one
    line stand in the file in the order of their periods, or the remainder waits for the next.

    Args:
        database: migrated.
        file: a path, or the file's lines as text.
        now: the moment of the posting; the system's when None.
        progress: called with the number of rows read after each batch.
        batch: rows per transaction.

    Raises:
        InvalidFile: no header, or a column is missing; nothing was loaded.
        OSError: the file cannot be opened.
        Unavailable: as for `import_lines`.
    """
    seen: dict[tuple[str, int, int], int] = {}
    moment = now or datetime.now(UTC)

    def parse(record: dict[str, str], line_no: int) -> _BillRow:
        row = _parse_bill(record)
        _refuse_repeated(seen, (row.number, row.year, row.period), line_no)
        return row

    def store(conn: Connection, rows: list[_Row[_BillRow]]) -> Report:
        return _BillBatch(conn, moment).store(rows)

    return _run(database, file, BILL_COLUMNS, parse, store, progress, batch)


def _run(
    database: Database,
    file: Source,
    columns: tuple[str, ...],
    parse: Callable[[dict[str, str], int], R],
    store: Callable[[Connection, list[_Row[R]]], Report],
    progress: Progress | None,
    batch: int,
) -> Report:
    report = Report()
    waiting: list[_Row[R]] = []
    read = 0

    def flush() -> None:
        if waiting:
            stored = database.write(lambda conn: _alone(conn, store, waiting))
            report.loaded += stored.loaded
            report.unchanged += stored.unchanged
            report.rejected += stored.rejected
            waiting.clear()
        if progress is not None:
            progress(read)

    with _opened(file) as text_lines:
        for line_no, fields in _records(text_lines, columns):
            read += 1
            try:
                if isinstance(fields, InvalidRow):
                    raise fields
                waiting.append(_Row(line_no, parse(fields, line_no)))
            except InvalidRow as error:
                report.rejected.append(Rejected(line_no, str(error)))
            if read % batch == 0:
                flush()
    flush()
    report.rejected.sort(key=lambda rejected: rejected.line_no)
    return report


def _alone(
    conn: Connection, store: Callable[[Connection, list[_Row[R]]], Report], rows: list[_Row[R]]
) -> Report:
    if conn.dialect.name == "postgresql":
        # Two files at once would each decide by what they saw before the other.
        conn.exec_driver_sql("SELECT pg_advisory_xact_lock(7267101)")
    return store(conn, rows)


@contextmanager
def _opened(file: Source) -> Iterator[Iterable[str]]:
    if isinstance(file, str | Path):
        # Bytes that are not UTF-8 become surrogates, which only spoil the row they are in.
        with open(file, encoding="utf-8-sig", errors="surrogateescape") as stream:
            yield stream
    else:
        yield file


def _records(
    text_lines: Iterable[str], columns: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, str] | InvalidRow]]:
    """Yield line number and fields by column, or what is wrong with the row."""
    header: list[str] | None = None
    for line_no, text_line in enumerate(text_lines, start=1):
        if not text_line.strip("\ufeff \t\r\n,"):
            continue
        try:
            fields = _split(text_line)
        except InvalidRow as error:
            if header is None:
                raise InvalidFile(f"the header cannot be read: {error}") from None
            yield line_no, error
            continue
        if header is None:
            header = [name.strip("\ufeff \t").lower() for name in fields]
            missing = [name for name in columns if name not in header]
            if missing:
                raise InvalidFile(f"missing columns: {', '.join(missing)}")
            if len(set(header)) < len(header):
                raise InvalidFile("a column stands twice in the header")
        elif len(fields) != len(header):
            yield (
                line_no,
                InvalidRow(f"{len(fields)} fields instead of the header's {len(header)}"),
            )
        else:
            yield line_no, dict(zip(header, fields, strict=True))
    if header is None:
        raise InvalidFile("the file is empty: there is no header")


def _split(text_line: str) -> list[str]:
    content = text_line.rstrip("\r\n")
    if not content.isprintable() and re.search(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]", content):
        raise InvalidRow("control characters, or bytes that are not UTF-8")
    try:
        return [value.strip() for value in next(csv.reader([content], strict=True))]
    except csv.Error:
        raise InvalidRow("the quotes do not close, or a field is too long") from None


def _refuse_repeated(seen: dict[Any, int], key: object, line_no: int) -> None:
    first = seen.setdefault(key, line_no)
    if first != line_no:
        raise InvalidRow(f"duplicate: the same stands in line {first}")


# --- lines


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


def _store_lines(conn: Connection, rows: list[_Row[dict[str, Any]]]) -> Report:
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


# --- bills


def _parse_bill(record: dict[str, str]) -> _BillRow:
    number = _number(record["number"], "number", None)
    period = _integer(record["period"], "period", 1, 99)
    year = _integer(record["year"], "year", 1300, 2999)
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
    return _BillRow(number, period, year, amount, bill_id, payment_id, due_date)


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
        if year < 1700:
            return _gregorian(year, month, day)
        return date(year, month, day)
    except ValueError:
        raise InvalidRow("due_date: there is no such day") from None


def _gregorian(year: int, month: int, day: int) -> date:
    if year < 1300:
        raise ValueError("long before there were bills")
    converted: date = jdatetime.date(year, month, day).togregorian()
    return converted


@dataclass(slots=True)
class _Remainder:
    """Rials below a thousand that an earlier bill has left; ``bill`` is None while it is new."""

    year: int
    period: int
    amount: int
    bill: int | None
    new: dict[str, Any] | None = None


_LINES = select(lines.c.id, lines.c.number, lines.c.kind).where(
    lines.c.number.in_(bindparam("numbers", expanding=True))
)

_CHARGES = (
    select(bill_lines.c.amount)
    .where(bill_lines.c.bill == bills.c.id, bill_lines.c.kind == "charges")
    .scalar_subquery()
)

_left = bills.c.amount - bills.c.paid - bills.c.carried_out

_KNOWN = select(
    bills.c.id,
    bills.c.line_id,
    bills.c.year,
    bills.c.period,
    bills.c.amount,
    bills.c.bill_id,
    bills.c.due_date,
    func.coalesce(_CHARGES, 0).label("charges"),
).where(
    bills.c.line_id.in_(bindparam("line_ids", expanding=True)),
    bills.c.year.in_(bindparam("years", expanding=True)),
    bills.c.period.in_(bindparam("periods", expanding=True)),
)

_KNOWN_IDS = select(payment_ids.c.bill, payment_ids.c.payment_id).where(
    payment_ids.c.bill_id.in_(bindparam("bill_ids", expanding=True))
)

_REMAINDERS = (
    select(
        bills.c.id, bills.c.line_id, bills.c.year, bills.c.period, (_left % THOUSAND).label("rest")
    )
    .where(bills.c.line_id.in_(bindparam("line_ids", expanding=True)), _left % THOUSAND != 0)
    .order_by(bills.c.id)
    .with_for_update()
)

_OWNERS = select(bill_ids.c.bill_id, bill_ids.c.line_id).where(
    bill_ids.c.bill_id.in_(bindparam("bill_ids", expanding=True))
)

_ADD_BILLS = insert(bills).returning(bills.c.id, bills.c.line_id, bills.c.year, bills.c.period)

_CARRY_OUT = (
    update(bills)
    .where(bills.c.id == bindparam("bill"))
    .values(carried_out=bills.c.carried_out + bindparam("rest"))
)


class _BillBatch:
    """One batch of bill rows in one transaction."""

    def __init__(self, conn: Connection, now: datetime) -> None:
        self._conn = conn
        self._now = now
        self._report = Report()
        self._new: dict[tuple[int, int, int], dict[str, Any]] = {}
        self._carried: dict[tuple[int, int, int], int] = {}
        self._carry_out: list[dict[str, int]] = []
        self._postings: list[ledger.Posting] = []

    def store(self, rows: list[_Row[_BillRow]]) -> Report:
        self._look_up(rows)
        for row in rows:
            try:
                if self._add(row.content):
                    self._report.loaded += 1
                else:
                    self._report.unchanged += 1
            except InvalidRow as error:
                self._report.rejected.append(Rejected(row.line_no, str(error)))
        if self._new:
            self._insert()
        return self._report

    def _look_up(self, rows: list[_Row[_BillRow]]) -> None:
        contents = [row.content for row in rows]
        self._lines = {
            number: (identity, kind)
            for identity, number, kind in self._conn.execute(
                _LINES, {"numbers": list({content.number for content in contents})}
            )
        }
        line_ids = [identity for identity, _ in self._lines.values()]
        self._known = {
            (row.line_id, row.year, row.period): row
            for row in self._conn.execute(
                _KNOWN,
                {
                    "line_ids": line_ids,
                    "years": list({content.year for content in contents}),
                    "periods": list({content.period for content in contents}),
                },
            )
        }
        known_ids = {row.bill_id for row in self._known.values()}
        self._known_ids = (
            set(map(tuple, self._conn.execute(_KNOWN_IDS, {"bill_ids": list(known_ids)})))
            if known_ids
            else set()
        )
        self._remainders: dict[int, list[_Remainder]] = {}
        for row in self._conn.execute(_REMAINDERS, {"line_ids": line_ids}):
            self._remainders.setdefault(row.line_id, []).append(
                _Remainder(row.year, row.period, row.rest, row.id)
            )
        # The bill ID is the given one, or the one computed from the number.
        self._bill_ids: dict[tuple[str, str | None], str] = {}
        for content in contents:
            if content.number in self._lines:
                self._bill_ids[content.number, content.bill_id] = self._bill_id(content)
        wanted = list(set(self._bill_ids.values()))
        self._owners: dict[str, int] = {
            row.bill_id: row.line_id for row in self._conn.execute(_OWNERS, {"bill_ids": wanted})
        }

    def _bill_id(self, row: _BillRow) -> str:
        if row.bill_id is not None:
            return row.bill_id
        return compute_bill_id(row.number, self._lines[row.number][1])

    def _add(self, row: _BillRow) -> bool:
        """Take a row up; False when the bill is known just so."""
        found = self._lines.get(row.number)
        if found is None:
            raise InvalidRow("number: there is no line with it; load lines first")
        line_id, kind = found
        key = (line_id, row.year, row.period)
        known = self._known.get(key)
        if known is not None:
            self._compare(row, known)
            return False
        bill_id = self._bill_ids[row.number, row.bill_id]
        if bill_id[-2] != SERVICE_CODES[kind]:
            raise InvalidRow(
                f"bill ID: service code is {bill_id[-2]}, a {kind} line's is {SERVICE_CODES[kind]}"
            )
        if self._owners.setdefault(bill_id, line_id) != line_id:
            raise InvalidRow("bill ID: belongs to another line")
        self._create(row, key, bill_id)
        return True

    def _compare(self, row: _BillRow, known: Any) -> None:
        given = row.payment_id is not None
        if row.amount != (known.amount if given else known.charges):
            raise InvalidRow("duplicate: the bill is known with another amount")
        if row.due_date != known.due_date:
            raise InvalidRow("duplicate: the bill is known with another due_date")
        if (row.bill_id is not None and row.bill_id != known.bill_id) or (
            given and (known.id, row.payment_id) not in self._known_ids
        ):
            raise InvalidRow("duplicate: the bill is known with other IDs")

    def _create(self, row: _BillRow, key: tuple[int, int, int], bill_id: str) -> None:
        line_id, year, period = key
        earlier = [
            remainder
            for remainder in self._remainders.get(line_id, [])
            if (remainder.year, remainder.period) < (year, period)
        ]
        carried = sum(remainder.amount for remainder in earlier)
        amount = row.amount
        if row.payment_id is None:
            amount += carried
        elif carried > amount:
            # The issuer cannot have carried more than the bill asks for: it stays to be carried.
            earlier, carried = [], 0
        payment_id = row.payment_id or compute_payment_id(bill_id, instalment(amount), year, period)
        self._take(line_id, earlier)
        bill = {
            "line_id": line_id,
            "year": year,
            "period": period,
            "amount": amount,
            "carried_out": 0,
            "bill_id": bill_id,
            "payment_id": payment_id,
            "due_date": row.due_date,
            # Less than a thousand rials is not paid by itself: the next bill asks for it.
            "status": "open" if payable(amount) else "paid",
            "settled_at": None if payable(amount) else self._now,
        }
        self._new[key] = bill
        self._carried[key] = carried
        rest = amount % THOUSAND
        if rest:
            self._remainders.setdefault(line_id, []).append(
                _Remainder(year, period, rest, None, bill)
            )
        if amount > carried:
            self._postings.append(
                ledger.Posting(
                    f"bill:{row.number}:{year}:{period}",
                    "bill",
                    [ledger.Transfer(ledger.receivable(line_id), ledger.REVENUE, amount - carried)],
                )
            )

    def _take(self, line_id: int, earlier: list[_Remainder]) -> None:
        for remainder in earlier:
            self._remainders[line_id].remove(remainder)
            if remainder.new is not None:
                remainder.new["carried_out"] += remainder.amount
            elif remainder.bill is not None:
                self._carry_out.append({"bill": remainder.bill, "rest": remainder.amount})

    def _insert(self) -> None:
        conn = self._conn
        conn.execute(
            insert(bill_ids).on_conflict_do_nothing(),
            [
                {"bill_id": bill["bill_id"], "line_id": bill["line_id"]}
                for bill in self._new.values()
            ],
        )
        rows = conn.execute(_ADD_BILLS, list(self._new.values()))
        ids = {(row.line_id, row.year, row.period): row.id for row in rows}
        parts = []
        for key, bill in self._new.items():
            carried = self._carried[key]
            for kind, amount in (("charges", bill["amount"] - carried), ("carried", carried)):
                if amount:
                    parts.append({"bill": ids[key], "kind": kind, "amount": amount})
        conn.execute(bill_lines.insert(), parts)
        conn.execute(
            payment_ids.insert(),
            [
                {
                    "bill_id": bill["bill_id"],
                    "payment_id": bill["payment_id"],
                    "bill": ids[key],
                }
                for key, bill in self._new.items()
            ],
        )
        if self._carry_out:
            conn.execute(_CARRY_OUT, self._carry_out)
        ledger.post_many(conn, self._postings, self._now)
