"""What a line's owner has set for premium services (D8, D9, D14); no row means all defaults.

Setting a thing twice is setting it once, so nothing here needs a key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, case, or_, select, update

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing.clock import Clock
from billing.database import Database
from billing.entities import Line
from billing.errors import BillingError
from billing.premium.schema import owners
from billing.schema import lines

Authentication = Literal["none", "pin", "code", "approval"]
AUTHENTICATIONS: tuple[Authentication, ...] = ("none", "pin", "code", "approval")
BlockedBy = Literal["owner", "operator"]

# One mobile may be registered for a family's lines; beyond this nobody hears them all out.
_MOST_LINES = 8
_BIRTHDAY = re.compile(r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])")
_GREETING = re.compile(r"(?:[a-z0-9_-][a-z0-9_.-]*/)*[a-z0-9_-][a-z0-9_.-]*\.wav")


class NoMobile(BillingError):
    """No mobile is registered for the line: its owner can be sent nothing."""


@dataclass(frozen=True, slots=True)
class OwnerView:
    """What an owner has set.

    ``authentication`` is what each premium call from the line needs, whatever its service asks
    for. ``pin_locked_until`` is in the future while the PIN is locked. ``greeting`` is the
    recording of the caller's name, below the recordings folder; ``birthday`` is MMDD.
    """

    authentication: Authentication = "none"
    has_pin: bool = False
    pin_locked_until: datetime | None = None
    blocked_by: BlockedBy | None = None
    charge_sms: bool = False
    greeting: str | None = None
    birthday: str | None = None


BOTH = "both"
"""Stored where owner and operator have blocked a line, each for themselves."""

_BLOCKED = owners.c.blocked_by

_VIEW = select(
    owners.c.authentication,
    owners.c.pin_hash.is_not(None).label("has_pin"),
    owners.c.pin_locked_until,
    owners.c.blocked_by,
    owners.c.charge_sms,
    owners.c.greeting,
    owners.c.birthday,
).where(owners.c.line == bindparam("of"))

_LINE = (
    lines.c.id,
    lines.c.number,
    lines.c.kind,
    lines.c.language,
    lines.c.mobile,
    lines.c.first_name,
    lines.c.last_name,
)

_LINES_OF = (
    select(*_LINE)
    .where(or_(lines.c.number == bindparam("number"), lines.c.mobile == bindparam("number")))
    .order_by(lines.c.number != bindparam("number"), lines.c.number)
    .limit(_MOST_LINES)
)


def registered_mobile(line: Line) -> str | None:
    """Where the line's owner is reached: the mobile on file, else a mobile line itself (E.164)."""
    if line.mobile is not None:
        return line.mobile
    return line.number if line.kind == "mobile" else None


def lines_of(conn: Connection, number: str) -> list[Line]:
    """The lines whose owner calls or writes from ``number`` (E.164), its own line first.

    A mobile line with another mobile on file belongs to whoever has that one, and is not among
    the lines of its own number's bearer.
    """
    found = [Line(*row) for row in conn.execute(_LINES_OF, {"number": number})]
    return [line for line in found if registered_mobile(line) == number]


def view(conn: Connection, line: int) -> OwnerView:
    """Return what the line's owner has set, by the line's row id."""
    row = conn.execute(_VIEW, {"of": line}).one_or_none()
    if row is None:
        return OwnerView()
    return OwnerView(
        authentication=row.authentication,
        has_pin=bool(row.has_pin),
        pin_locked_until=row.pin_locked_until,
        blocked_by="operator" if row.blocked_by == BOTH else row.blocked_by,
        charge_sms=bool(row.charge_sms),
        greeting=row.greeting,
        birthday=row.birthday,
    )


class Owners:
    """Owners' settings. Every method raises Unavailable while the database is locked or away."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def view(self, line: int) -> OwnerView:
        """What the line's owner has set, by the line's row id."""
        return self._database.query(lambda conn: view(conn, line))

    def line_of(self, number: str) -> Line | None:
        """The line with this number (E.164)."""
        statement = select(*_LINE).where(lines.c.number == number)

        def work(conn: Connection) -> Line | None:
            row = conn.execute(statement).one_or_none()
            return None if row is None else Line(*row)

        return self._database.query(work)

    def lines_of(self, number: str) -> list[Line]:
        """The lines whose owner calls from ``number`` (E.164)."""
        return self._database.query(lambda conn: lines_of(conn, number))

    def set_authentication(self, line: int, authentication: Authentication) -> None:
        """Say what each premium call from the line needs.

        Raises:
            ValueError: there is no such thing.
        """
        if authentication not in AUTHENTICATIONS:
            raise ValueError(f"authentication is one of {', '.join(AUTHENTICATIONS)}")
        self._set(line, authentication=authentication)

    def block(self, line: int, by: BlockedBy) -> None:
        """Let no premium call through from the line. The operator's block outweighs the owner's.

        Each is kept beside the other: lifting one does not lift what the other has asked for.
        """
        other = "owner" if by == "operator" else "operator"
        both = case((_BLOCKED.in_((other, BOTH)), BOTH), else_=by)
        statement = insert(owners).values(line=line, blocked_by=by)
        self._database.write(
            lambda conn: conn.execute(
                statement.on_conflict_do_update(
                    index_elements=[owners.c.line], set_={"blocked_by": both}
                )
            )
        )

    def unblock(self, line: int, by: BlockedBy) -> bool:
        """Let premium calls through again; False where the other side has blocked them, too.

        The owner lifts only the owner's own block; the operator the operator's, or, where there is
        none, the owner's.
        """
        other = "owner" if by == "operator" else "operator"
        left = case((_BLOCKED == BOTH, other), else_=None)
        statement = update(owners).where(owners.c.line == line).values(blocked_by=left)
        if by == "owner":
            statement = statement.where(_BLOCKED.is_distinct_from("operator"))

        def work(conn: Connection) -> bool:
            conn.execute(statement)
            return view(conn, line).blocked_by is None

        return self._database.write(work)

    def set_charge_sms(self, line: int, wanted: bool) -> None:
        """Say whether each charge is told to the owner by SMS."""
        self._set(line, charge_sms=int(wanted))

    def set_greeting(self, line: int, recording: str | None) -> None:
        """Greet callers from the line by this recording (below the recordings folder), or not.

        Raises:
            ValueError: not the name of a recording.
        """
        if recording is not None and not _GREETING.fullmatch(recording):
            raise ValueError("not the name of a recording: a-z, 0-9, _ - . / and .wav only")
        self._set(line, greeting=recording)

    def set_birthday(self, line: int, birthday: str | None) -> None:
        """Congratulate on this day each year (MMDD), or not.

        Raises:
            ValueError: not a month and a day.
        """
        if birthday is not None and not _BIRTHDAY.fullmatch(birthday):
            raise ValueError("a birthday is MMDD, such as 0115")
        self._set(line, birthday=birthday)

    def _set(self, line: int, **values: Any) -> None:
        statement = (
            insert(owners)
            .values(line=line, **values)
            .on_conflict_do_update(index_elements=[owners.c.line], set_=values)
        )
        self._database.write(lambda conn: conn.execute(statement))
