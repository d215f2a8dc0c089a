"""Rows out of CSV files, loaded in batches: good rows load, bad rows are named.

A row is one line of the file: a quote that is never closed spoils its own row and no other. A field
with a line break in quotes is one bad row, named once: nothing here has two lines. UTF-8 with or
without byte order mark, any line end. Reasons never repeat what stands in the row, so a report can
be shown and logged.
"""

from __future__ import annotations

import csv
import re
from collections import deque
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

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What spreadsheets write between fields where they do not write commas."""

# Controls but the tab, line and paragraph separators, bytes that are not UTF-8. What makes no mark
# but shapes Persian words (U+200C) is text.
_UNFIT = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_LINES_IN_A_FIELD = 20
"""So many lines after an open quote are looked at for the quote that closes it."""


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
        InvalidFile: no header, or a column is missing, and nothing was loaded; or the file cannot
            be read to its end, and the batches before are loaded.
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
            yield _read(stream)
    else:
        yield file


def _read(stream: Iterable[str]) -> Iterator[str]:
    try:
        yield from stream
    except OSError as error:
        raise InvalidFile(f"the file cannot be read: {error.strerror}") from error


class _Lines:
    """The file's lines with their numbers from 1; lines looked at too far ahead come back."""

    def __init__(self, text_lines: Iterable[str]) -> None:
        self._rest = enumerate(text_lines, start=1)
        self._returned: deque[tuple[int, str]] = deque()

    def __iter__(self) -> Iterator[tuple[int, str]]:
        while (line := self.take()) is not None:
            yield line

    def take(self) -> tuple[int, str] | None:
        """Return the next line, or None at the end."""
        return self._returned.popleft() if self._returned else next(self._rest, None)

    def give_back(self, text_lines: list[tuple[int, str]]) -> None:
        """Put lines back to be taken again, in their order."""
        self._returned.extendleft(reversed(text_lines))


def _records(
    text_lines: Iterable[str], columns: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, str] | InvalidRow]]:
    """Yield line number and fields by column, or what is wrong with the row."""
    header: list[str] | None = None
    source = _Lines(text_lines)
    for line_no, text_line in source:
        if not text_line.strip("\ufeff \t\r\n,"):
            continue
        try:
            fields = _split(text_line)
        except _OpenQuote as error:
            if header is None:
                raise InvalidFile(f"the header cannot be read: {error}") from None
            broken = _skip_tail(text_line, source, len(header))
            yield line_no, InvalidRow("a field holds a line break") if broken else error
            continue
        except InvalidRow as error:
            if header is None:
                raise InvalidFile(f"the header cannot be read: {error}") from None
            yield line_no, error
            continue
        if header is None:
            header = [name.strip("\ufeff \t").lower() for name in fields]
            missing = [name for name in columns if name not in header]
            if missing:
                raise InvalidFile(_missing(missing, header))
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


def _missing(missing: list[str], header: list[str]) -> str:
    """Return what is wrong with a header without these columns, and the cause if it shows."""
    reason = f"missing columns: {', '.join(missing)}"
    for separator, name in _SEPARATORS.items():
        if len(header) == 1 and separator in header[0]:
            return f"{reason} (the fields are separated by {name}; they have to be by commas)"
    return reason


class _OpenQuote(InvalidRow):
    """The line ends within quotes."""


def _split(text_line: str) -> list[str]:
    content = text_line.rstrip("\r\n")
    if not content.isprintable() and _UNFIT.search(content):
        raise InvalidRow("control characters, or bytes that are not UTF-8")
    return [value.strip() for value in _parse(content)]


def _parse(content: str) -> list[str]:
    try:
        return next(csv.reader([content], strict=True))
    except csv.Error as error:
        # The reader's own words, which are all that tells its errors apart.
        if "unexpected end" in str(error):
            raise _OpenQuote("the quotes do not close") from None
        if "field limit" in str(error):
            raise InvalidRow("a field is too long") from None
        raise InvalidRow("text beside quotes within a field") from None


def _skip_tail(text_line: str, source: _Lines, width: int) -> bool:
    """Take the lines that belong to a field begun in this one, if its quotes close later on.

    They do when the lines together are a row as wide as the header; else no line is taken.
    """
    content, taken = text_line, []
    for _ in range(_LINES_IN_A_FIELD):
        following = source.take()
        if following is None:
            break
        taken.append(following)
        content = f"{content.rstrip(chr(13) + chr(10))} {following[1]}"
        try:
            fields = _parse(content.rstrip("\r\n"))
        except _OpenQuote:
            continue
        except InvalidRow:
            break
        if len(fields) == width:
            return True
        break
    source.give_back(taken)
    return False
