"""POST /payments: the payment system reports a payment made by transfer, app or bank.

The report is recorded, whatever it is about: money that came in is never turned away. Posting it
to the ledger is a job; what fits no bill is parked there for a person to look at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, Response, jsonify, request

from billing.clock import Clock
from billing.desk import Desk
from billing.errors import InvalidPayment, PaymentConflict
from web.api import ApiError, invalid, json_object, text_field, time_field
from web.signing import SIGNATURE_HEADER, TIMESTAMP_HEADER, verify

FIELDS = ("reference", "bill_id", "payment_id", "amount", "channel", "paid_at")

_ID = re.compile(r"[0-9]{1,32}")
_CLOCKS_APART = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class PaymentReport:
    """One payment as the payment system reports it; `amount` in rials, `paid_at` in UTC."""

    reference: str
    bill_id: str
    payment_id: str
    amount: int
    channel: str
    paid_at: datetime

    @classmethod
    def parse(cls, body: bytes, now: datetime) -> PaymentReport:
        """Read a report strictly. Raises ApiError that names the field."""
        data = json_object(body, FIELDS)
        report = cls(
            reference=text_field(data, "reference", longest=64),
            bill_id=_digits(data, "bill_id"),
            payment_id=_digits(data, "payment_id"),
            amount=_amount(data),
            channel=text_field(data, "channel", longest=32),
            paid_at=time_field(data, "paid_at"),
        )
        if report.paid_at > now + _CLOCKS_APART:
            raise invalid("paid_at", "is in the future")
        return report


def _digits(data: dict[str, Any], field: str) -> str:
    # A string, because a reader may lose leading zeros of a number; longer than an ID can be,
    # because a wrong ID is a payment to be parked, not one to be turned away.
    value = text_field(data, field, longest=32)
    if not _ID.fullmatch(value):
        raise invalid(field, "must be a string of digits 0-9")
    return value


def _amount(data: dict[str, Any]) -> int:
    amount = data["amount"]
    # A bool is an int to Python, and 129000.0 would be one to a careless reader.
    if type(amount) is not int or amount <= 0:
        raise invalid("amount", "must be a whole number of rials, 1 or more")
    return amount


class Payments:
    """The end point of the payment system."""

    def __init__(
        self, desk: Desk, clock: Clock, nudge: Callable[[], None], keys: Sequence[str]
    ) -> None:
        self._desk = desk
        self._clock = clock
        self._nudge = nudge
        self._keys = tuple(keys)

    def blueprint(self) -> Blueprint:
        """The route, to be registered."""
        blueprint = Blueprint("payments", __name__)
        blueprint.add_url_rule("/payments", view_func=self.report, methods=["POST"])
        return blueprint

    def report(self) -> Response:
        """Record a payment: 202 (posting follows), or 200 with the same body when repeated."""
        body = request.get_data()
        now = self._clock.now()
        headers = request.headers
        verify(self._keys, headers.get(TIMESTAMP_HEADER), headers.get(SIGNATURE_HEADER), body, now)
        report = PaymentReport.parse(body, now)
        try:
            receipt = self._desk.receive_payment(
                report.reference,
                report.bill_id,
                report.payment_id,
                report.amount,
                report.channel,
                report.paid_at,
            )
        except PaymentConflict:
            raise ApiError(
                409,
                "conflict",
                "this reference was reported before with other content; nothing was changed",
                "reference",
            ) from None
        except InvalidPayment as error:
            # Billing's own texts begin with the name of the field.
            field, _, message = str(error).partition(": ")
            raise invalid(field, message) from None
        response = jsonify(status="recorded", reference=report.reference, payment=receipt.payment)
        if receipt.new:
            self._nudge()
            response.status_code = 202
        return response
