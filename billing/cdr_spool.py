"""The disk spool of a switch: call records that it could not deliver, taken in from files.

mod_json_cdr writes a record that no server took to its ``err-log-dir``, and never looks at it
again. Here each file is stored first, and moved aside only after that; a file that cannot be
stored is moved to a folder of its own, under its name and with the reason reported. Whatever dies
in between, a file is taken twice rather than lost, and twice is once (see `billing.cdrs`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from billing import cdrs
from billing.cdr_document import LONGEST, parse
from billing.database import Database
from billing.errors import CdrConflict, InvalidCdr
from billing.premium.charge_check import TOLERANCE

SUFFIX = ".cdr.json"
TAKEN = "taken"
BAD = "bad"

WRITING = timedelta(seconds=60)
"""How long a file that makes no sense may still be one that the switch is writing."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file that was put aside, or could not be read, and why."""

    file: Path
    reason: str


@dataclass(slots=True)
class TakeIn:
    """What became of the files: ``stored`` new records, ``repeated`` ones that were there already,
    ``waiting`` files that may still be being written, and the ``rejected`` ones."""

    stored: int = 0
    repeated: int = 0
    waiting: int = 0
    rejected: list[Rejected] = field(default_factory=list)


def take_in(
    database: Database,
    folder: Path,
    now: datetime,
    *,
    remove: bool = False,
    limit: int | None = None,
    tolerance: timedelta = TOLERANCE,
) -> TakeIn:
    """Take in the spooled records under ``folder``, oldest name first.

    Taken files go to ``folder/taken/``, those that cannot be taken to ``folder/bad/``.

    Args:
        database: where records are stored.
        folder: the switch's err-log-dir, with the subfolders that its parameter rotate makes.
        now: the moment of taking in.
        remove: remove taken files instead of keeping them.
        limit: at most so many files.
        tolerance: how much a premium charge may differ from its record.

    Raises:
        OSError: the folder cannot be read, or files in it cannot be moved: the first one ends it,
            since the others would be taken again and again.
        Unavailable: the database is locked or away; what was taken until then is.
    """
    result = TakeIn()
    os.listdir(folder)  # says at once what is wrong with it
    for number, file in enumerate(_files(folder)):
        if number == limit:
            break
        _take_one(database, folder, file, now, result, remove, tolerance)
    return result


def _files(folder: Path) -> Iterator[Path]:
    for where, subfolders, names in os.walk(folder):
        if Path(where) == folder:
            subfolders[:] = [each for each in subfolders if each not in (TAKEN, BAD)]
        subfolders.sort()
        for name in sorted(names):
            if name.endswith(SUFFIX):
                yield Path(where, name)


def _take_one(
    database: Database,
    folder: Path,
    file: Path,
    now: datetime,
    result: TakeIn,
    remove: bool,
    tolerance: timedelta,
) -> None:
    try:
        body, changed_at = _read(file)
    except FileNotFoundError:
        return  # another take-in was faster
    except OSError as error:
        result.rejected.append(Rejected(file, f"cannot be read: {error.strerror}"))
        return
    try:
        new = cdrs.store(database, parse(body), now, tolerance)
    except (InvalidCdr, CdrConflict) as error:
        if isinstance(error, InvalidCdr) and now.timestamp() - changed_at < WRITING.total_seconds():
            result.waiting += 1
            return
        result.rejected.append(Rejected(file, str(error)))
        _aside(file, folder / BAD)
        return
    if new:
        result.stored += 1
    else:
        result.repeated += 1
    if remove:
        file.unlink(missing_ok=True)
    else:
        _aside(file, folder / TAKEN)


def _read(file: Path) -> tuple[bytes, float]:
    """The content and the time of the last change (s since 1970).

    Nothing but a plain file is opened: the folder is the switch's, and a link or a pipe in it
    could lead anywhere or never end.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "not a plain file")
        # One byte more than a record may have: `parse` says that it is too long.
        return stream.read(LONGEST + 1), status.st_mtime


def _aside(file: Path, target: Path) -> None:
    # Records hold what callers pressed: for this account only.
    target.mkdir(mode=0o700, exist_ok=True)
    place = target / file.name
    attempt = 1
    while True:
        try:
            os.link(file, place, follow_symlinks=False)
            break
        except FileExistsError:
            attempt += 1
            place = target / f"{file.name}.{attempt}"
        except FileNotFoundError:
            return  # another take-in was faster
    file.unlink(missing_ok=True)
