"""What the switch's record (CDR) tells of a premium call: its leg, and its talks with consultants.

The switch itself writes on the caller's leg when the two sides of a bridge were connected and when
they parted (hooks that the worker sets before it): `callflows_connected` and `callflows_ended` of
the last bridge, and both of each bridge that has ended in `callflows_talks`, microseconds since
1970. So the record of that leg tells all, and no far leg's is needed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, literal_column, select

from billing.schema import cdrs, from_microseconds

Interval = tuple[datetime, datetime]

CONNECTED = "callflows_connected"
ENDED = "callflows_ended"
TALKS = "callflows_talks"

_NOTHING = timedelta(0)
_SLACK = timedelta(seconds=1)  # a talk that began longer before its leg is no talk of this call
_LATEST = 4_102_444_800_000_000  # the year 2100: what is later is no time but a fault
_MOMENT = re.compile(r"[0-9]{1,16}\Z")
_TALK = re.compile(r"([0-9]{1,16})-([0-9]{1,16})\Z")
_LONGEST = 40_000

_OWN = (
    select(cdrs.c.answered_at, cdrs.c.ended_at, cdrs.c.raw)
    .where(cdrs.c.uuid == bindparam("call"), cdrs.c.leg == literal_column("'a'"))
    .order_by(cdrs.c.received_at)
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Record:
    """When the caller's leg was up, and when it talked with somebody.

    ``up`` is None where nobody answered. ``talks`` lie within it, in order, and apart.
    """

    up: Interval | None
    talks: tuple[Interval, ...]

    def confirms(self, begin: datetime, end: datetime, *, talks_only: bool) -> timedelta:
        """Return how much of ``begin`` to ``end`` the leg was up; ``talks_only``: and talked."""
        known = self.talks if talks_only else () if self.up is None else (self.up,)
        return sum(
            (max(_NOTHING, min(end, until) - max(begin, since)) for since, until in known), _NOTHING
        )


def record(conn: Connection, call_id: str) -> Record | None:
    """Return what is recorded of a call; None: its record is not there."""
    own = conn.execute(_OWN, {"call": call_id}).one_or_none()
    if own is None:
        return None
    if own.answered_at is None:
        return Record(None, ())
    up = (own.answered_at, own.ended_at)
    # The text of an old record is gone; its charge was settled long before.
    variables = json.loads(own.raw)["variables"] if own.raw else {}
    return Record(up, tuple(_talks(variables, up)))


def _talks(variables: Mapping[str, str], up: Interval) -> list[Interval]:
    """Read the talks; what is no time, or not within the leg's, is left out."""
    told = [
        (int(found[1]), int(found[2]))
        for each in variables.get(TALKS, "")[:_LONGEST].split(",")
        if (found := _TALK.match(each))
    ]
    since = _moment(variables.get(CONNECTED, ""))
    if since is not None and since not in [begin for begin, _ in told]:
        # The leg may have ended together with the bridge, before anybody could write that down.
        until = _moment(variables.get(ENDED, ""))
        told.append((since, until if until is not None and until >= since else _LATEST))
    talks: list[Interval] = []
    reached = up[0]
    for begin, end in sorted(told):
        started = from_microseconds(min(begin, _LATEST))
        # No time counts twice.
        start, stop = max(reached, started), min(up[1], from_microseconds(min(end, _LATEST)))
        if started >= up[0] - _SLACK and start < stop:
            talks.append((start, stop))
            reached = stop
    return talks


def _moment(text: str) -> int | None:
    return int(text) if _MOMENT.match(text) else None
