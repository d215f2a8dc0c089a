"""How much money a running call holds: slices of time, reserved ahead while there is credit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from billing.premium.consents import Consent
from billing.premium.credit import Credit, Reservation, Shortage
from billing.premium.rating import affordable_s, least_use, rate
from billing.premium.schema import owner_approvals, premium_credits
from billing.premium.tariffs import Tariff

_SECOND = timedelta(seconds=1)
_BOUNDLESS = 2**62


@dataclass(frozen=True, slots=True)
class Grant:
    """How long the reserved money lasts: ``seconds`` in all, which is up to ``until``.

    Before the call is connected, ``until`` is as if it were connected now. ``final``: nothing
    follows, because the credit or approval is used up or because no call may be longer. 0 seconds
    say that the call has to be ended at once.
    """

    until: datetime
    final: bool
    seconds: int
    held: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing is reserved, and why; nothing was written."""

    reason: Shortage


class Slices:
    """Reserves ``slice_s`` seconds ahead, up to ``longest_call_s`` in all.

    ``grace`` is how long after its reserved time a call's reservation lives on.
    """

    def __init__(
        self,
        credit: Credit,
        zone: ZoneInfo,
        slice_s: int,
        longest_call_s: int,
        grace: timedelta,
    ) -> None:
        """Raises ValueError for a slice that is not from 1 to the longest call."""
        if not 1 <= slice_s <= longest_call_s:
            raise ValueError("slice_s: from 1 to the longest call")
        self._credit = credit
        self._zone = zone
        self._slice_s = slice_s
        self._longest_call_s = longest_call_s
        self._grace = grace

    def begin(
        self,
        conn: Connection,
        consent: Consent,
        approval: int | None,
        now: datetime,
        expires: datetime,
    ) -> Grant | Refused:
        """Make a call's reservation: a slice, or as much as there is, if that is a beginning."""
        key, line, tariffs = consent.call_id, consent.line, consent.tariffs
        total = rate(tariffs, now, self._slice_s, self._zone).amount
        if self._credit.reserve(conn, key, line, approval, total, expires, now):
            return self._grant(tariffs, now, total, exhausted=False)
        month = self._credit.month(now)
        room = self._credit.available(conn, line, now)
        while True:
            total = self._whole(tariffs, now, min(room, self._purse(conn, approval, now)))
            if total == 0:
                return self._refused(conn, tariffs, line, approval, 0, now)
            if self._credit.reserve(conn, key, line, approval, total, expires, now):
                return self._grant(tariffs, now, total, exhausted=True)
            # Another call was quicker: what it left is less.
            room = min(total - 1, self._room(conn, line, month))

    def keep(
        self,
        conn: Connection,
        tariffs: tuple[Tariff, ...],
        held: Reservation,
        now: datetime,
        expires: datetime,
    ) -> Grant | Refused:
        """Keep the reservation of a call that is not connected yet, at the price of ``now``."""
        grant = self._cover(conn, tariffs, held, now, self._slice_s, now, expires)
        if grant.seconds == 0:
            return self._refused(conn, tariffs, held.line, held.approval, held.held, now)
        return grant

    def extend(
        self,
        conn: Connection,
        tariffs: tuple[Tariff, ...],
        held: Reservation,
        start: datetime,
        now: datetime,
        ahead_s: int = 0,
    ) -> Grant:
        """Reserve a slice from ``now`` on for a call connected at ``start``, or what there is.

        ``ahead_s``: so many seconds, where they are more than a slice.
        """
        target = max(0, (now - start) // _SECOND) + max(self._slice_s, ahead_s)
        return self._cover(conn, tariffs, held, start, target, now, None)

    def charge(
        self, tariffs: tuple[Tariff, ...], held: Reservation, start: datetime, end: datetime
    ) -> tuple[int, int]:
        """Return the seconds and rials to charge from ``start`` to ``end``, within what is held."""
        most = affordable_s(tariffs, start, held.held, self._zone, self._longest_call_s)
        seconds = max(0, min((end - start) // _SECOND, most))
        return seconds, rate(tariffs, start, seconds, self._zone).amount

    def _cover(
        self,
        conn: Connection,
        tariffs: tuple[Tariff, ...],
        held: Reservation,
        start: datetime,
        target: int,
        now: datetime,
        expires: datetime | None,
    ) -> Grant:
        """Reserve for ``target`` seconds from ``start`` on, or for as many as there is money."""
        want = rate(tariffs, start, min(target, self._longest_call_s), self._zone).amount
        want = max(want, held.held)
        exhausted = False
        while True:
            grant = self._grant(tariffs, start, want, exhausted)
            end = expires or grant.until + self._grace
            if self._credit.extend_to(conn, held.key, want, end, now) or want == held.held:
                return grant
            exhausted = True
            room = min(
                self._room(conn, held.line, held.month),
                self._purse(conn, held.approval, now),
                # Another call may be quicker each time: then what it left is less.
                want - held.held - 1,
            )
            want = max(held.held, self._whole(tariffs, start, held.held + room))

    def _grant(
        self, tariffs: tuple[Tariff, ...], start: datetime, held: int, exhausted: bool
    ) -> Grant:
        seconds = affordable_s(tariffs, start, held, self._zone, self._longest_call_s)
        final = exhausted or seconds >= self._longest_call_s
        return Grant(start + seconds * _SECOND, final, seconds, held)

    def _whole(self, tariffs: tuple[Tariff, ...], start: datetime, amount: int) -> int:
        """What of ``amount`` buys whole increments."""
        seconds = affordable_s(tariffs, start, amount, self._zone, self._longest_call_s)
        return rate(tariffs, start, seconds, self._zone).amount

    def _room(self, conn: Connection, line: int, month: int) -> int:
        credit = premium_credits.c
        row = conn.execute(
            select(credit.ceiling - credit.used - credit.held).where(
                credit.line == line, credit.month == month
            )
        ).scalar_one_or_none()
        return row or 0

    def _purse(self, conn: Connection, approval: int | None, now: datetime) -> int:
        """What an owner's approval has left; without one, there is no such bound."""
        if approval is None:
            return _BOUNDLESS
        purse = owner_approvals.c
        left = conn.execute(
            select(purse.ceiling - purse.used - purse.held).where(
                purse.id == approval, purse.revoked_at.is_(None), purse.valid_until > now
            )
        ).scalar_one_or_none()
        return left or 0

    def _refused(
        self,
        conn: Connection,
        tariffs: tuple[Tariff, ...],
        line: int,
        approval: int | None,
        held: int,
        now: datetime,
    ) -> Refused:
        least = least_use(tariffs, now, self._zone) - held
        return Refused(self._credit.shortage(conn, line, approval, least, now) or "no_credit")
