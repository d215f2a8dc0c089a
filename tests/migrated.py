"""SQLite files that many tests begin with, made once a process and copied: migrating is slow."""

from __future__ import annotations

import functools
import io
import tempfile
from pathlib import Path

from billing.database import Database
from billing.importing import import_bills, import_lines


@functools.cache
def migrated() -> bytes:
    """The content of a database with this release's schema and no rows."""
    return _made(lines=None, bills=None)


@functools.lru_cache(maxsize=32)
def furnished(lines: str, bills: str) -> bytes:
    """The content of a database with the lines and bills of two CSV texts, all of them good."""
    return _made(lines, bills)


def _made(lines: str | None, bills: str | None) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "begin.db"
        if lines is not None:
            path.write_bytes(migrated())
        database = Database(f"sqlite:///{path}")
        if lines is None:
            database.migrate()
        else:
            for report in (
                import_lines(database, io.StringIO(lines)),
                import_bills(database, io.StringIO(bills or "")),
            ):
                assert not report.rejected, report.rejected
        database.close()
        # Closing has put the write-ahead log into the file.
        return path.read_bytes()
