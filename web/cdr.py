"""POST /cdr: a switch's mod_json_cdr delivers the record of a call that is over.

The module takes any answer of 2xx for delivered, so that is said only after the commit. After
anything else it tries again and then writes the record to its disk (see `billing.cdr_spool`), so
a refusal never loses one.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta

from flask import Blueprint, Response, jsonify, request

from billing import cdrs
from billing.cdr_document import LONGEST, parse
from billing.clock import Clock
from billing.database import Database
from billing.errors import CdrConflict, InvalidCdr
from billing.premium.charge_check import TOLERANCE
from web.api import ApiError

USER = "callflows"
"""The user of the module's `cred`; the password is the key cdr_password."""

_log = logging.getLogger(__name__)


def _uncounted(_result: str) -> None:
    """Where no metrics are kept."""


class CdrIntake:
    """The end point of the switches.

    `passwords`: more than one while they are changed. `counted` is told what became of each
    delivery: stored, repeated, conflict, invalid or unauthorized. `tolerance` is how much a
    premium charge may differ from its record.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        passwords: Sequence[str],
        counted: Callable[[str], None] = _uncounted,
        tolerance: timedelta = TOLERANCE,
    ) -> None:
        if not passwords or not all(passwords):
            raise ValueError("cdr_password: at least one is needed, and none may be empty")
        self._database = database
        self._clock = clock
        self._passwords = tuple(passwords)
        self._counted = counted
        self._tolerance = tolerance

    def blueprint(self) -> Blueprint:
        """The route, to be registered."""
        blueprint = Blueprint("cdr", __name__)
        blueprint.add_url_rule("/cdr", view_func=self.receive, methods=["POST"])
        return blueprint

    def receive(self) -> Response:
        """Store one record: 201, or 200 when it was there already."""
        if not self._is_allowed():
            self._counted("unauthorized")
            answer = ApiError(401, "unauthorized", "user and password are needed").response()
            answer.headers["WWW-Authenticate"] = 'Basic realm="cdr", charset="UTF-8"'
            return answer
        # Only for those who know the password; everybody else's limit is far lower.
        request.max_content_length = LONGEST
        # Never as a form: the content types that the module names do not tell what is inside.
        body = request.get_data(parse_form_data=False)
        try:
            cdr = parse(body)
        except InvalidCdr as error:
            self._counted("invalid")
            _log.warning("a record of a call is refused: %s", error)
            raise ApiError(422, "invalid_cdr", str(error)) from None
        try:
            new = cdrs.store(self._database, cdr, self._clock.now(), self._tolerance)
        except CdrConflict as error:
            self._counted("conflict")
            _log.error("%s", error)
            raise ApiError(409, "conflict", str(error)) from None
        self._counted("stored" if new else "repeated")
        answer = jsonify(status="stored" if new else "repeated", uuid=cdr.uuid)
        answer.status_code = 201 if new else 200
        return answer

    def _is_allowed(self) -> bool:
        given = request.authorization
        if given is None or given.type != "basic":
            return False
        user, password = (given.username or "").encode(), (given.password or "").encode()
        # Every password is compared, so that time does not tell which one is in use.
        right = [hmac.compare_digest(password, each.encode()) for each in self._passwords]
        return hmac.compare_digest(user, USER.encode()) and any(right)
