"""The PIN of a line's owner: argon2id, and a lockout that grows and survives restarts (D9).

A try is counted *before* its PIN is verified, and forgotten when the PIN was right: whoever guesses
in many calls at the same moment gets no more tries than in one, and a worker that dies in between
has counted one too many rather than one too few.

Verifying takes some 20 ms of CPU and 19 MiB (OWASP's second choice for argon2id). It runs in
`in_thread`, where a process has one greenlet for each call and must not stand still for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, bindparam, exists, or_, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing.clock import Clock
from billing.database import Database
from billing.errors import BillingError
from billing.premium.schema import owner_codes, owners

SHORTEST_PIN = 4
LONGEST_PIN = 8
# How long after its SMS code a new PIN may be set, in the call that had the code.
SETTING_TIME = timedelta(minutes=15)

_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
# Verified where no PIN is set, so that it takes as long as where one is. Of no PIN: it holds a
# character that no telephone has.
_NOBODYS = _HASHER.hash("no PIN")

InThread = Callable[[Callable[[], object]], object]
"""Runs a piece of work where it holds up nobody else, and returns what it returns."""


class InvalidPin(BillingError, ValueError):
    """A PIN that cannot be taken: ``reason`` is "length" or "simple"."""

    def __init__(self, reason: Literal["length", "simple"]) -> None:
        """Say why, and not what."""
        super().__init__(f"not a PIN: {reason}")
        self.reason = reason


class NotProven(BillingError):
    """A PIN may be set only in a call whose SMS code was keyed in just now."""


@dataclass(frozen=True, slots=True)
class Lockout:
    """After how many wrong PINs in a row the PIN is locked, and for how long (seconds).

    From the ``free``-th wrong PIN on it is locked for ``first_s``, then twice as long with each
    further one, ``longest_s`` at most.
    """

    free: int = 3
    first_s: int = 30
    longest_s: int = 86_400

    def delay(self, failures: int) -> timedelta | None:
        """For how long the PIN is locked after so many failures in a row; None: not at all."""
        if failures < self.free:
            return None
        doublings = min(failures - self.free, 32)
        return timedelta(seconds=min(self.first_s << doublings, self.longest_s))


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of a PIN; ``until`` says when a locked one may be tried again."""

    result: Literal["ok", "wrong", "locked", "not_set"]
    until: datetime | None = None

    @property
    def ok(self) -> bool:
        """Whether it was the right one."""
        return self.result == "ok"


def check_pin(pin: str) -> str:
    """Return ``pin`` if an owner may have it: 4 to 8 digits that nobody guesses first.

    Raises:
        InvalidPin: too short or long, or all digits alike, or counted up or down.
    """
    if not (pin.isascii() and pin.isdecimal() and SHORTEST_PIN <= len(pin) <= LONGEST_PIN):
        raise InvalidPin("length")
    steps = {(int(later) - int(earlier)) % 10 for earlier, later in pairwise(pin)}
    if steps in ({0}, {1}, {9}):
        raise InvalidPin("simple")
    return pin


def _directly(work: Callable[[], object]) -> object:
    return work()


_UNLOCKED = or_(
    owners.c.pin_locked_until.is_(None),
    owners.c.pin_locked_until <= bindparam("now", type_=owners.c.pin_locked_until.type),
)

_TRY = (
    update(owners)
    .where(owners.c.line == bindparam("of"), owners.c.pin_hash.is_not(None), _UNLOCKED)
    .values(pin_failures=owners.c.pin_failures + 1)
    .returning(owners.c.pin_failures, owners.c.pin_hash)
)

_LOCK = (
    update(owners)
    .where(owners.c.line == bindparam("of"))
    .values(pin_locked_until=bindparam("until", type_=owners.c.pin_locked_until.type))
)

# Only while it is still the PIN that was verified.
_RIGHT = (
    update(owners)
    .where(owners.c.line == bindparam("of"), owners.c.pin_hash == bindparam("verified"))
    .values(pin_failures=0, pin_locked_until=None)
)

_LOCKED = select(owners.c.pin_locked_until).where(
    owners.c.line == bindparam("of"), owners.c.pin_hash.is_not(None)
)


class Pins:
    """Checks and sets owners' PINs."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        in_thread: InThread = _directly,
        lockout: Lockout = Lockout(),
    ) -> None:
        self._database = database
        self._clock = clock
        self._in_thread = in_thread
        self._lockout = lockout

    def check(self, line: int, pin: str) -> Checked:
        """Whether ``pin`` is the one of the line's owner.

        Where none is set this takes as long and answers "not_set".

        Raises:
            Unavailable: the database is locked or away; the try may have been counted.
        """
        now = self._clock.now()

        def take(conn: Connection) -> tuple[str | None, datetime | None]:
            row = conn.execute(_TRY, {"of": line, "now": now}).one_or_none()
            if row is None:
                return None, conn.execute(_LOCKED, {"of": line}).scalar()
            delay = self._lockout.delay(row.pin_failures)
            if delay is not None:
                conn.execute(_LOCK, {"of": line, "until": now + delay})
            return row.pin_hash, now + delay if delay else None

        stored, until = self._database.write(take)
        if stored is None and until is not None:
            return Checked("locked", until)
        right = bool(self._in_thread(lambda: _is(stored or _NOBODYS, pin)))
        if stored is None:
            return Checked("not_set")
        if not right:
            return Checked("locked", until) if until is not None else Checked("wrong")
        self._database.write(lambda conn: conn.execute(_RIGHT, {"of": line, "verified": stored}))
        return Checked("ok")

    def set(self, line: int, pin: str, call_id: str) -> None:
        """Set the owner's PIN, in the call ``call_id`` that had the SMS code for it.

        It unlocks a locked one, too: whoever has the registered mobile may begin anew.

        Raises:
            InvalidPin: not a PIN that an owner may have.
            NotProven: no code was keyed in for this, in this call, lately.
            Unavailable: the database is locked or away; nothing was written.
        """
        check_pin(pin)
        now = self._clock.now()
        hashed = str(self._in_thread(lambda: _HASHER.hash(pin)))
        proven = select(
            exists().where(
                owner_codes.c.line == line,
                owner_codes.c.call_id == call_id,
                owner_codes.c.purpose == "pin",
                owner_codes.c.status == "used",
                owner_codes.c.created_at > now - SETTING_TIME,
            )
        )
        values = {
            "pin_hash": hashed,
            "pin_set_at": now,
            "pin_failures": 0,
            "pin_locked_until": None,
        }

        def work(conn: Connection) -> None:
            if not conn.execute(proven).scalar():
                raise NotProven("no code was keyed in for a new PIN")
            conn.execute(
                insert(owners)
                .values(line=line, **values)
                .on_conflict_do_update(index_elements=[owners.c.line], set_=values)
            )

        self._database.write(work)

    def clear(self, line: int) -> bool:
        """Forget the owner's PIN (operations, at the owner's wish); False where none was set.

        Raises:
            Unavailable: the database is locked or away; nothing was written.
        """
        statement = (
            update(owners)
            .where(owners.c.line == line, owners.c.pin_hash.is_not(None))
            .values(pin_hash=None, pin_set_at=None, pin_failures=0, pin_locked_until=None)
        )
        return self._database.write(lambda conn: conn.execute(statement).rowcount == 1)


def _is(stored: str, pin: str) -> bool:
    try:
        return _HASHER.verify(stored, pin)
    except (VerificationError, InvalidHashError):
        return False
