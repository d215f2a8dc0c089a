"""Rows out of CSV files, loaded in batches: good rows load, bad rows are named.

A row is one line of the file: a quote that is never closed spoils its own row and no other. UTF-8
with or without byte order mark, any line end. Reasons never repeat what stands in the row, so a
report can be shown and logged.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from sqlalchemy import Connection

from billing.database import Database
from billing.errors import InvalidFile, InvalidRow

Source = str | Path | Iterable[str]
"""A path, or the file's lines as text."""

Progress = Callable[[int], None]
"""Called with the number of rows read so far."""

R = TypeVar("R")


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
class Row(Generic[R]):
    """What a row says, and its line in the file."""

    line_no: int
    content: R


def load(
    database: Database,
    file: Source,
    columns: tuple[str, ...],
    parse: Callable[[dict[str, str], int], R],
    store: Callable[[Connection, list[Row[R]]], Report],
    progress: Progress | None,
    batch: int,
) -> Report:
    """Load a file: parse each row, store them by batches of ``batch``, each in one transaction.

    Args:
        database: where.
        file: a path, or the file's lines.
        columns: those that the header must have.
        parse: makes content of the fields by column and the line number; raises InvalidRow.
        store: stores rows; may run again, so it keeps nothing between runs.
        progress: called after each batch and at the end.
        batch: rows in a transaction.

    Raises:
        InvalidFile: no header, or a column is missing; nothing was loaded.
        OSError: the file cannot be opened.
        Unavailable: the database is locked or away; the batches before are loaded.
    """
    report = Report()
    waiting: list[Row[R]] = []
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
                waiting.append(Row(line_no, parse(fields, line_no)))
            except InvalidRow as error:
                report.rejected.append(Rejected(line_no, str(error)))
            if read % batch == 0:
                flush()
    flush()
    report.rejected.sort(key=lambda rejected: rejected.line_no)
    return report


def _alone(
    conn: Connection, store: Callable[[Connection, list[Row[R]]], Report], rows: list[Row[R]]
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
