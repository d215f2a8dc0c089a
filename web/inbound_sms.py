"""POST /sms/inbound: the SMS gateway hands over what a subscriber answered (A8) or orders (D9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Blueprint, Response, jsonify, request

from billing.clock import Clock
from billing.desk import Desk
from billing.email_requests import Answer
from billing.errors import InvalidNumber
from billing.numbers import parse_number
from billing.premium.owner_sms import OwnerAnswer, OwnerSms
from web.api import invalid, json_object, text_field, time_field
from web.signing import SIGNATURE_HEADER, TIMESTAMP_HEADER, verify

FIELDS = ("id", "from", "text", "received_at")
LONGEST_TEXT = 2_000
"""Characters; a gateway joins at most about ten parts."""


class InboundSms:
    """The end point of the SMS gateway, and the way in for the sandbox's own form."""

    def __init__(
        self,
        desk: Desk,
        clock: Clock,
        nudge: Callable[[], None],
        keys: Sequence[str],
        owners: OwnerSms | None = None,
    ) -> None:
        """``owners`` obeys the messages that are orders of lines' owners; None: nobody does."""
        self._owners = owners
        self._desk = desk
        self._clock = clock
        self._nudge = nudge
        self._keys = tuple(keys)

    def blueprint(self) -> Blueprint:
        """The route, to be registered."""
        blueprint = Blueprint("inbound_sms", __name__)
        blueprint.add_url_rule("/sms/inbound", view_func=self.receive, methods=["POST"])
        return blueprint

    def receive(self) -> Response:
        """Take one SMS; 200 whatever became of it, so that the gateway does not repeat it."""
        body = request.get_data()
        headers = request.headers
        verify(
            self._keys,
            headers.get(TIMESTAMP_HEADER),
            headers.get(SIGNATURE_HEADER),
            body,
            self._clock.now(),
        )
        data = json_object(body, FIELDS)
        message_id = text_field(data, "id", longest=128)
        sender = text_field(data, "from", longest=40)
        text = text_field(data, "text", longest=LONGEST_TEXT, empty=True)
        time_field(data, "received_at")
        try:
            mobile = parse_number(sender, kind="mobile")
        except InvalidNumber as error:
            raise invalid("from", str(error)) from None
        return jsonify(status=self.answer(mobile, text, message_id).value)

    def answer(self, mobile: str, text: str, message_id: str) -> Answer | OwnerAnswer:
        """Act on an SMS from `mobile` (E.164), and wake whoever sends the reply.

        What is an owner's order, wholly, is one; anything else answers a request for an address.
        """
        order = None
        if self._owners is not None:
            order = self._owners.answer(mobile, text, message_id)
        answer = order or self._desk.answer_email_by_sms(mobile, text, message_id)
        if answer not in (Answer.REPEATED, OwnerAnswer.REPEATED):
            self._nudge()
        return answer
