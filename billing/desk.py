"""The desk: what a conversation, a page or a gateway may do. Each call is one transaction.

Every write takes a key (call id and step): done again after a crash or a takeover it changes
nothing and answers as before. Errors common to all: `Unavailable` when the database is locked or
away, with nothing written.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection

from billing import bills, email_requests, outbox, payments
from billing.clock import Clock
from billing.database import Database
from billing.email_requests import Answer, EmailPage
from billing.entities import Bill, BillView, Language, Line, Opening
from billing.errors import BillPaid, InvalidNumber
from billing.limits import Counter, Limits
from billing.links import Links
from billing.numbers import parse_number
from billing.payments import Outcome, Receipt
from billing.premium.bill_section import PremiumSection, section


class Desk:
    """Serves conversations over one database."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        limits: Limits | None = None,
        links: Links | None = None,
    ) -> None:
        """Serve over ``database`` by the time of ``clock``.

        Args:
            database: migrated.
            clock: tells the time for everything that is written.
            limits: on messages; the defaults of `Limits` when None.
            links: signs the links for e-mail requests; needed by `ask_email`,
                `answer_email_by_link` and `email_request` only.

        Raises:
            ValueError: a limit is negative, or the limits' time zone unknown.
        """
        self._database = database
        self._clock = clock
        self._counter = Counter(limits or Limits())
        self._links_or_none = links

    @property
    def _links(self) -> Links:
        if self._links_or_none is None:
            raise RuntimeError("this desk was made without links")
        return self._links_or_none

    def opening(self, number: str | None) -> Opening:
        """Return line, open bills and last paid bill of a number as switch or caller give it.

        Hostile text or no number is a number without a line.

        Raises:
            Unavailable: the database is locked or away.
        """
        e164 = _number_or_none(number)
        if e164 is None:
            return Opening(None, [], None)
        return self._database.query(lambda conn: bills.opening(conn, e164))

    def bill(self, bill: int) -> BillView | None:
        """Return a bill with its line by row id, for rendering.

        Raises:
            Unavailable: the database is locked or away.
        """
        return self._database.query(lambda conn: bills.view(conn, bill))

    def premium_section(self, bill: int) -> PremiumSection:
        """Return what a bill asks for of premium services, by its row id.

        Raises:
            Unavailable: the database is locked or away.
        """
        return self._database.query(lambda conn: section(conn, bill))

    def as_it_stands(self, known: Bill) -> Bill | None:
        """Return a bill read before as it is now; None for one that is gone.

        Raises:
            Unavailable: the database is locked or away.
        """
        return self._database.query(lambda conn: bills.as_it_stands(conn, known))

    def line(self, line: int) -> Line | None:
        """Return a line by row id.

        Raises:
            Unavailable: the database is locked or away.
        """
        return self._database.query(lambda conn: bills.line(conn, line))

    def send_bill(
        self,
        key: str,
        bill: Bill,
        to: str,
        language: Language,
        names: bool,
        caller: str | None,
        call_id: str,
    ) -> bool:
        """Promise the bill by SMS (A5); False when ``key`` did so before.

        Args:
            key: call id and step.
            bill: which.
            to: the mobile, in any form.
            language: of the message.
            names: whether the SMS may hold first and last name (A9: only to the line's own people).
            caller: the caller's number as the switch gives it, or None.
            call_id: the call, for the journal's sake.

        Raises:
            BillPaid: the bill has been paid since the caller heard of it; nothing was written.
            InvalidNumber: ``to`` is not a mobile number.
            Limited: too many messages; nothing was written.
            Unavailable: the database is locked or away; nothing was written.
        """
        payload = {"language": language, "bill": bill.id, "names": names, "call": call_id}
        return self._send(key, "sms.bill", to, payload, caller, bill)

    def send_app_links(
        self,
        key: str,
        line: Line | None,
        to: str,
        language: Language,
        caller: str | None,
        call_id: str,
    ) -> bool:
        """Promise the app's download links by SMS (A6); otherwise as `send_bill`.

        Raises:
            InvalidNumber: ``to`` is not a mobile number.
            Limited: too many messages; nothing was written.
            Unavailable: the database is locked or away; nothing was written.
        """
        line_id = None if line is None else line.id
        payload = {"language": language, "line": line_id, "call": call_id}
        return self._send(key, "sms.app_links", to, payload, caller)

    def ask_email(
        self,
        key: str,
        bill: Bill,
        to: str,
        language: Language,
        names: bool,
        caller: str | None,
        call_id: str,
    ) -> bool:
        """Promise an SMS that asks for an e-mail address (A8); otherwise as `send_bill`.

        Raises:
            BillPaid: as for `send_bill`.
            InvalidNumber: ``to`` is not a mobile number.
            Limited: too many messages; nothing was written.
            Unavailable: the database is locked or away; nothing was written.
        """
        mobile = parse_number(to, kind="mobile")
        asker = _number_or_none(caller)
        now = self._clock.now()

        def work(conn: Connection) -> bool:
            if not email_requests.ask(
                conn, self._links, key, bill, mobile, language, names, call_id, now
            ):
                return False
            _refuse_paid(conn, bill)
            self._counter.count(conn, asker, mobile, now)
            return True

        return self._database.write(work)

    def answer_email_by_sms(
        self, mobile: str, text: str, message_id: str, now: datetime | None = None
    ) -> Answer:
        """Take an SMS that came in as the answer to the newest open request of its sender.

        The replying SMS is written too, unless the sender is no mobile number.

        Returns:
            ACCEPTED, NO_REQUEST, NOT_AN_ADDRESS, or REPEATED for a message seen before.

        Raises:
            Unavailable: the database is locked or away; nothing was written.
        """
        moment = now or self._clock.now()
        try:
            sender = parse_number(mobile, kind="mobile")
        except InvalidNumber:
            return Answer.NO_REQUEST
        return self._database.write(
            lambda conn: email_requests.answer_by_sms(
                conn, self._counter, sender, text, message_id, moment
            )
        )

    def answer_email_by_link(self, token: str, address: str) -> Answer:
        """Take the address typed on the page behind a link.

        Returns:
            ACCEPTED, EXPIRED, USED, INVALID or NOT_AN_ADDRESS.

        Raises:
            Unavailable: the database is locked or away; nothing was written.
        """
        now = self._clock.now()
        return self._database.write(
            lambda conn: email_requests.answer_by_link(conn, self._links, token, address, now)
        )

    def email_request(self, token: str) -> EmailPage:
        """Return what the page behind a link shows; no personal data.

        Raises:
            Unavailable: the database is locked or away.
        """
        now = self._clock.now()
        return self._database.query(lambda conn: email_requests.page(conn, self._links, token, now))

    def receive_payment(
        self,
        reference: str,
        bill_id: str,
        payment_id: str,
        amount: int,
        channel: str,
        paid_at: datetime,
    ) -> Receipt:
        """Write a payment that the payment system reports, and the job that posts it.

        The arguments are those of `payments.receive`.

        Raises:
            InvalidPayment: a field is malformed.
            PaymentConflict: the reference was reported before with other content.
            Unavailable: the database is locked or away; report again.
        """
        now = self._clock.now()
        return self._database.write(
            lambda conn: payments.receive(
                conn, reference, bill_id, payment_id, amount, channel, paid_at, now
            )
        )

    def post_payment(self, payment: int) -> Outcome:
        """Post a received payment to ledger and bill, with its confirmation SMS, or park it.

        Raises:
            LookupError: there is no such payment.
            Unavailable: the database is locked or away; nothing was written.
        """
        now = self._clock.now()
        return self._database.write(lambda conn: payments.post(conn, payment, now))

    def _send(
        self,
        key: str,
        kind: str,
        to: str,
        payload: Mapping[str, object],
        caller: str | None,
        bill: Bill | None = None,
    ) -> bool:
        mobile = parse_number(to, kind="mobile")
        asker = _number_or_none(caller)
        now = self._clock.now()

        def work(conn: Connection) -> bool:
            # First the row: of a repetition nothing is counted, and what it promised stands.
            if not outbox.put(conn, key, "sms", kind, {"to": mobile, **payload}, now):
                return False
            if bill is not None:
                _refuse_paid(conn, bill)
            self._counter.count(conn, asker, mobile, now)
            return True

        return self._database.write(work)


def _refuse_paid(conn: Connection, bill: Bill) -> None:
    if not bills.is_open(conn, bill.id):
        raise BillPaid("the bill has been paid")


def _number_or_none(number: str | None) -> str | None:
    if number is None:
        return None
    try:
        return parse_number(number)
    except InvalidNumber:
        return None
