"""What the SMS to lines' owners say: codes, requests for approval, answers to orders (D8, D9).

As in `jobs.messages`, a row holds ids and a destination. The code of a row is made when it is sent;
one that came too late is not sent at all, for it opens nothing any more.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from billing.clock import Clock
from billing.links import Links
from billing.outbox import Job
from billing.premium.codes import Codes
from billing.premium.owner_notices import Notice, OwnerNotices
from gateways.errors import Permanent
from gateways.sms import SmsGateway
from jobs.consumers import Handler
from sounds import Catalogue, Phrase

# More approvals than these are heard in the telephone menu: a message has an end.
_LISTED = 5

_PLAIN = {
    "over": "sms_approval_over",
    "unknown_request": "sms_approval_unknown",
    "which_request": "sms_approval_unknown",
    "unknown_approval": "sms_approval_not_found",
    "which_credit": "sms_credit_which",
    "which_line": "sms_credit_which_line",
    "no_line": "sms_owner_no_line",
}
_CREDIT = {
    "granted": "sms_credit_granted",
    "lowered": "sms_credit_granted",
    "first": "sms_credit_partly",
    "history": "sms_credit_partly",
    "overdue": "sms_credit_overdue",
}


class OwnerMessages:
    """Renders and sends the messages to owners.

    `link_base` is where subscribers reach our pages; an approval's page is `/a/<token>` there.
    """

    def __init__(
        self,
        codes: Codes,
        notices: OwnerNotices,
        clock: Clock,
        catalogue: Catalogue,
        links: Links,
        *,
        sms: SmsGateway,
        link_base: str,
        zone: ZoneInfo,
    ) -> None:
        self._codes = codes
        self._notices = notices
        self._clock = clock
        self._catalogue = catalogue
        self._links = links
        self._sms = sms
        self._link_base = link_base.rstrip("/") + "/a/"
        self._zone = zone

    def handlers(self) -> dict[str, Handler]:
        """The handler of each kind of row."""
        return {
            "sms.owner_code": self.code,
            "sms.approval_request": self.approval_request,
            "sms.owner_reply": self.reply,
        }

    def code(self, job: Job) -> None:
        """A one-time code."""
        message = self._codes.message(job.payload["code"])
        if message is None:
            raise Permanent("the code expired or was replaced before the SMS could be sent")
        self._send(job, Phrase("sms_owner_code", code=message.code, minutes=message.minutes))

    def approval_request(self, job: Job) -> None:
        """The question whether a service may be used."""
        payload = job.payload
        notice = self._found(self._notices.request, payload["request"])
        left = payload["expires"] - self._clock.now().timestamp()
        if left <= 0 or notice.standing != "open":
            raise Permanent("the request was over before the SMS could be sent")
        until = self._clock.now() + timedelta(days=payload["days"])
        token = self._links.token(payload["reference"], payload["expires"])
        self._send(
            job,
            Phrase(
                "sms_approval_request",
                number=notice.line_number,
                service=notice.about(payload["language"]),
                ceiling=payload["ceiling"],
                until=until.astimezone(self._zone).date(),
                request=notice.request,
                url=self._link_base + token,
            ),
        )

    def reply(self, job: Job) -> None:
        """The answer to an owner's order by SMS."""
        payload = job.payload
        answer = payload["answer"]
        if answer in _PLAIN:
            self._send(job, Phrase(_PLAIN[answer]))
            return
        makers: dict[str, Callable[[dict[str, Any]], Phrase]] = {
            "approved": self._approved,
            "refused": self._refused,
            "revoked": self._revoked,
            "credit": self._credit,
        }
        if answer in makers:
            self._send(job, makers[answer](payload))
        elif answer == "listed":
            self._list(job)
        else:
            raise Permanent(f"no reply is known for {answer}")

    def _approved(self, payload: dict[str, Any]) -> Phrase:
        notice = self._found(self._notices.request, payload["request"])
        if notice.approval is None or notice.valid_until is None:
            raise Permanent("the request has no approval")
        return Phrase(
            "sms_approval_approved",
            service=notice.about(payload["language"]),
            number=notice.line_number,
            ceiling=notice.ceiling,
            until=notice.valid_until.astimezone(self._zone).date(),
            approval=str(notice.approval),
        )

    def _refused(self, payload: dict[str, Any]) -> Phrase:
        notice = self._found(self._notices.request, payload["request"])
        return Phrase(
            "sms_approval_refused",
            service=notice.about(payload["language"]),
            number=notice.line_number,
        )

    def _revoked(self, payload: dict[str, Any]) -> Phrase:
        notice = self._found(self._notices.approval, payload["approval"])
        return Phrase("sms_approval_revoked", service=notice.about(payload["language"]))

    def _credit(self, payload: dict[str, Any]) -> Phrase:
        return Phrase(
            _CREDIT[payload["reason"]],
            number=self._notices.line_number(payload["line"]),
            amount=payload["amount"],
        )

    def _list(self, job: Job) -> None:
        """One block for each line: what is approved, with the numbers to revoke by."""
        language = job.payload["language"]
        blocks: list[Phrase] = []
        for line in job.payload["lines"]:
            current = self._notices.approvals(line, self._clock.now())[:_LISTED]
            if not current:
                number = self._notices.line_number(line)
                blocks.append(Phrase("sms_approval_none", number=number))
                continue
            blocks.append(Phrase("sms_approval_list", number=current[0][1]))
            blocks += [
                Phrase(
                    "sms_approval_item",
                    approval=str(approval.id),
                    service=service.name(language),
                    left=approval.left,
                    until=approval.valid_until.astimezone(self._zone).date(),
                )
                for approval, _, service in current
            ]
        text = "\n".join(self._catalogue.text(block, language) for block in blocks)
        self._sms.send(job.payload["to"], text, job.key)

    def _found(self, read: Callable[[int], Notice], key: int) -> Notice:
        try:
            return read(key)
        except LookupError as error:
            raise Permanent(str(error)) from error

    def _send(self, job: Job, phrase: Phrase) -> None:
        text = self._catalogue.text(phrase, job.payload["language"])
        self._sms.send(job.payload["to"], text, job.key)
