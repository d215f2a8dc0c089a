"""Charges of premium calls: posting them, and what their owners are told of them (D3, D8, D12)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from zoneinfo import ZoneInfo

from billing.database import Database
from billing.outbox import Job
from billing.premium.charge_notices import charge_notice
from billing.premium.disputes import Complaint, Complaints
from billing.premium.posting import Charges, Inconsistent, NotCharged, NoTerms
from gateways.errors import Permanent
from gateways.sms import SmsGateway
from jobs.consumers import Handler
from sounds import Catalogue, Phrase

_log = logging.getLogger(__name__)


class ChargePostings:
    """Posts charges; `nudge` is called when a posting put an SMS into the outbox."""

    def __init__(self, charges: Charges, nudge: Callable[[], None]) -> None:
        self._charges = charges
        self._nudge = nudge

    def handlers(self) -> dict[str, Handler]:
        """The handler of each kind of row."""
        return {"post_charge": self.post_charge}

    def post_charge(self, job: Job) -> None:
        """Post a call's charge; once, however often it is called.

        A parked or waived call is a result. One that cannot be posted fails at once, and stays
        among the failed jobs for a person: without a contract, or with an amount that its consent
        does not tell, trying again does not help.
        """
        call_id = job.payload["call"]
        try:
            posted = self._charges.post(call_id)
        except (NoTerms, Inconsistent, NotCharged) as error:
            raise Permanent(str(error)) from error
        if posted.status != "posted":
            _log.info("call %s is %s: nothing is posted", call_id, posted.status)
        if posted.sms:
            self._nudge()


class ChargeMessages:
    """Renders and sends the SMS about charges and complaints.

    `complaints_number` is the one that takes complaints.
    """

    def __init__(
        self,
        database: Database,
        complaints: Complaints,
        catalogue: Catalogue,
        *,
        sms: SmsGateway,
        zone: ZoneInfo,
        complaints_number: str,
    ) -> None:
        self._database = database
        self._complaints = complaints
        self._catalogue = catalogue
        self._sms = sms
        self._zone = zone
        self._complaints_number = complaints_number

    def handlers(self) -> dict[str, Handler]:
        """The handler of each kind of row."""
        return {
            "sms.charge": self.charge,
            "sms.complaint_opened": self.complaint,
            "sms.complaint_accepted": self.complaint,
            "sms.complaint_rejected": self.complaint,
        }

    def charge(self, job: Job) -> None:
        """What a call has cost."""
        try:
            notice = charge_notice(self._database, job.payload["charge"])
        except LookupError as error:
            raise Permanent(str(error)) from error
        local = notice.connected_at.astimezone(self._zone)
        self._send(
            job,
            Phrase(
                "sms_charge",
                number=notice.line,
                service=notice.service.name(job.payload["language"]),
                amount=notice.amount,
                day=local.date(),
                at=local.time(),
                complaints=self._complaints_number,
            ),
        )

    def complaint(self, job: Job) -> None:
        """That a complaint is written down, or how it was decided; by the kind of the row."""
        try:
            found = self._complaints.find(job.payload["complaint"])
        except LookupError as error:
            raise Permanent(str(error)) from error
        slots = self._slots(found, job.payload["language"])
        if job.kind == "sms.complaint_rejected":
            slots["complaints"] = self._complaints_number
        self._send(job, Phrase(job.kind.replace(".", "_"), **slots))

    def _slots(self, found: Complaint, language: str) -> dict[str, object]:
        return {
            "complaint": str(found.id),
            "number": found.line,
            "service": found.service.name(language),
            "amount": found.amount,
            "day": found.connected_at.astimezone(self._zone).date(),
        }

    def _send(self, job: Job, phrase: Phrase) -> None:
        text = self._catalogue.text(phrase, job.payload["language"])
        self._sms.send(job.payload["to"], text, job.key)
