"""SMS from owners: approvals given and refused, listed and revoked, credit asked for (D8, D9).

The sender is who the SMS gateway says (its requests are signed), and owns the lines whose
registered mobile that is. A message delivered twice is obeyed once; one that is sent again later
names a request that is answered, and a number that no later request bears.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from sqlalchemy import Connection

# This insert compiles for SQLite too, whose ON CONFLICT is PostgreSQL's.
from sqlalchemy.dialects.postgresql import insert

from billing import outbox
from billing.clock import Clock
from billing.database import Database
from billing.entities import Line
from billing.errors import InvalidNumber, Limited
from billing.limits import Counter, Limits
from billing.numbers import parse_number
from billing.premium import approval_requests, approvals
from billing.premium.approvals import Terms
from billing.premium.credit_requests import LARGEST_CREDIT, CreditRequests
from billing.premium.owner_commands import Command, parse_command
from billing.premium.owners import lines_of
from billing.schema import inbound_messages
from billing.texts import storable

_LONGEST_MESSAGE_ID = 128
# Row ids that every database takes.
_LARGEST_ID = 2**31 - 1

_REMEMBER = (
    insert(inbound_messages).on_conflict_do_nothing().returning(inbound_messages.c.message_id)
)


class OwnerAnswer(Enum):
    """What became of an owner's SMS; each is also what the reply is about."""

    APPROVED = "approved"
    REFUSED = "refused"
    # It was answered before, or its time is over.
    OVER = "over"
    UNKNOWN_REQUEST = "unknown_request"
    WHICH_REQUEST = "which_request"
    LISTED = "listed"
    REVOKED = "revoked"
    UNKNOWN_APPROVAL = "unknown_approval"
    CREDIT = "credit"
    WHICH_CREDIT = "which_credit"
    WHICH_LINE = "which_line"
    NO_LINE = "no_line"
    REPEATED = "repeated"


_DECISIONS = {
    "approved": OwnerAnswer.APPROVED,
    "refused": OwnerAnswer.REFUSED,
    "already": OwnerAnswer.OVER,
    "expired": OwnerAnswer.OVER,
    "unknown": OwnerAnswer.UNKNOWN_REQUEST,
}


@dataclass(frozen=True, slots=True)
class _Reply:
    answer: OwnerAnswer
    facts: Mapping[str, Any]


class OwnerSms:
    """Obeys owners' messages. Methods raise Unavailable."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        credit_requests: CreditRequests,
        *,
        limits: Limits | None = None,
        terms: Terms | None = None,
        region: str = "IR",
    ) -> None:
        self._database = database
        self._clock = clock
        self._credit_requests = credit_requests
        self._counter = Counter(limits or Limits())
        self._terms = terms or Terms()
        self._region = region

    def answer(
        self, mobile: str, text: str, message_id: str, now: datetime | None = None
    ) -> OwnerAnswer | None:
        """Obey an SMS from ``mobile`` (E.164); None, and nothing done, for one that is no order.

        The reply is written too, as far as the limits on messages to that mobile allow.
        """
        command = parse_command(text)
        if command is None:
            return None
        moment = now or self._clock.now()
        identity = storable(message_id, _LONGEST_MESSAGE_ID)

        def work(conn: Connection) -> OwnerAnswer:
            if conn.execute(_REMEMBER, {"message_id": identity, "at": moment}).first() is None:
                return OwnerAnswer.REPEATED
            owned = lines_of(conn, mobile)
            reply = self._obey(conn, command, mobile, owned, identity, moment)
            language = owned[0].language if owned else "fa"
            if self._may_reply(conn, mobile, moment):
                payload = {
                    "to": mobile,
                    "language": language,
                    "answer": reply.answer.value,
                    **reply.facts,
                }
                key = f"owner_reply:{identity}"
                outbox.put(conn, key, "sms", "sms.owner_reply", payload, moment)
            return reply.answer

        return self._database.write(work)

    def _obey(
        self,
        conn: Connection,
        command: Command,
        mobile: str,
        owned: list[Line],
        identity: str,
        now: datetime,
    ) -> _Reply:
        if not owned:
            return _Reply(OwnerAnswer.NO_LINE, {})
        if command.order in ("yes", "no"):
            return self._decide(conn, command, mobile, now)
        if command.order == "list":
            return _Reply(OwnerAnswer.LISTED, {"lines": [line.id for line in owned]})
        if command.order == "stop":
            return self._revoke(conn, command, owned, now)
        return self._ask_credit(conn, command, owned, identity, now)

    def _decide(self, conn: Connection, command: Command, mobile: str, now: datetime) -> _Reply:
        if command.number is None:
            return _Reply(OwnerAnswer.WHICH_REQUEST, {})
        request = approval_requests.by_number(conn, mobile, str(command.number), now)
        if request is None:
            # One that was answered before, or a replay; else somebody who tries numbers out.
            if approval_requests.was_asked(conn, mobile, str(command.number)):
                return _Reply(OwnerAnswer.OVER, {})
            approval_requests.wrong_number(conn, mobile, now)
            return _Reply(OwnerAnswer.UNKNOWN_REQUEST, {})
        until = now + timedelta(days=self._terms.days)
        decision = approval_requests.decide(
            conn, request, command.order == "yes", "sms", self._terms.ceiling, until, now
        )
        return _Reply(_DECISIONS[decision], {"request": request})

    def _revoke(
        self, conn: Connection, command: Command, owned: list[Line], now: datetime
    ) -> _Reply:
        number = command.number or 0
        if number <= _LARGEST_ID:
            for line in owned:
                if approvals.revoke(conn, line.id, number, now):
                    return _Reply(OwnerAnswer.REVOKED, {"approval": number})
        return _Reply(OwnerAnswer.UNKNOWN_APPROVAL, {})

    def _ask_credit(
        self, conn: Connection, command: Command, owned: list[Line], identity: str, now: datetime
    ) -> _Reply:
        if command.number is None or not 0 <= command.number <= LARGEST_CREDIT:
            return _Reply(OwnerAnswer.WHICH_CREDIT, {})
        line = self._named(command, owned)
        if line is None:
            return _Reply(OwnerAnswer.WHICH_LINE, {})
        granted = self._credit_requests.ask_in(
            conn, f"sms:{identity}", line.id, command.number, "sms", now
        )
        facts = {"line": line.id, "amount": granted.amount, "reason": granted.reason}
        return _Reply(OwnerAnswer.CREDIT, facts)

    def _named(self, command: Command, owned: list[Line]) -> Line | None:
        """The line that an order is about: the one it names, or the only one there is."""
        if command.line is None:
            return owned[0] if len(owned) == 1 else None
        try:
            number = parse_number(command.line, region=self._region)
        except InvalidNumber:
            return None
        return next((line for line in owned if line.number == number), None)

    def _may_reply(self, conn: Connection, mobile: str, now: datetime) -> bool:
        # A machine that answers every reply with another message falls silent.
        savepoint = conn.begin_nested()
        try:
            self._counter.count(conn, mobile, mobile, now)
        except Limited:
            savepoint.rollback()
            return False
        savepoint.commit()
        return True
