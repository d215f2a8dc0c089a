"""What the SMS and e-mails say, and sending them: the handlers of the queues sms and email.

A row holds ids and a destination; names and amounts are read when the message is sent, so that
it says what is true then, and nothing personal lies about in the outbox but the destination.
"""

from __future__ import annotations

import logging
import math

from billing.clock import Clock
from billing.desk import Desk
from billing.entities import Bill
from billing.entities import BillView as Printed
from billing.links import Links
from billing.outbox import Job
from gateways.errors import Permanent
from gateways.mail import Attachment, Mail, MailGateway
from gateways.sms import SmsGateway
from jobs.bill_image import BillView, render
from jobs.consumers import Handler
from sounds import Catalogue, Phrase

_PAYMENT_PHRASES = {
    "full": "sms_payment_full",
    "partial": "sms_payment_partial",
    "over": "sms_payment_over",
}

_log = logging.getLogger(__name__)


class Messages:
    """Renders and sends every message of the service.

    `link_base` is where subscribers reach our pages (`https://pay.example`); the link that asks
    for an e-mail address is its page `/e/<token>`. `android_url` and `ios_url` are the app's (A6);
    `operator` is the name in the head of a bill's image.
    """

    def __init__(
        self,
        desk: Desk,
        clock: Clock,
        catalogue: Catalogue,
        links: Links,
        *,
        sms: SmsGateway,
        mail: MailGateway,
        link_base: str,
        android_url: str,
        ios_url: str,
        operator: str = "",
    ) -> None:
        self._desk = desk
        self._clock = clock
        self._catalogue = catalogue
        self._links = links
        self._sms = sms
        self._mail = mail
        self._link_base = link_base.rstrip("/") + "/e/"
        self._apps = {"android": android_url, "ios": ios_url}
        self._operator = operator

    def handlers(self) -> dict[str, Handler]:
        """The handler of each kind of row."""
        return {
            "sms.bill": self.bill_by_sms,
            "sms.app_links": self.app_links,
            "sms.email_link": self.email_link,
            "sms.email_accepted": self.plain_sms,
            "sms.email_not_an_address": self.plain_sms,
            "sms.email_no_request": self.plain_sms,
            "sms.payment_confirmation": self.payment_confirmation,
            "sms.debt_notice": self.debt_by_sms,
            "email.bill": self.bill_by_email,
            "email.debt_notice": self.debt_by_email,
        }

    def bill_by_sms(self, job: Job) -> None:
        """A5: number, names (for the line's own caller only, A9), amount, IDs, due date."""
        printed = self._bill(job)
        bill, line = printed.bill, printed.line
        if bill.status == "paid":
            self._bill_is_paid(job, bill)
            return
        slots = _bill_slots(bill)
        if job.payload["names"]:
            phrase = Phrase(
                "sms_bill", first_name=line.first_name, last_name=line.last_name, **slots
            )
        else:
            phrase = Phrase("sms_bill_no_name", **slots)
        self._send(job, phrase)

    def app_links(self, job: Job) -> None:
        """A6: where the app is found."""
        self._send(job, Phrase("sms_app_links", **self._apps))

    def email_link(self, job: Job) -> None:
        """A8: the question for an e-mail address, with the link to answer by."""
        expires = job.payload["expires"]
        left_s = expires - self._clock.now().timestamp()
        if left_s <= 0:
            raise Permanent("the link expired before the SMS could be sent")
        bill = self._bill(job).bill
        if bill.status == "paid":
            self._bill_is_paid(job, bill)
            return
        token = self._links.token(job.payload["request"], expires)
        self._send(
            job,
            Phrase(
                "sms_email_link",
                number=bill.number,
                url=self._link_base + token,
                hours=math.ceil(left_s / 3600),
            ),
        )

    def plain_sms(self, job: Job) -> None:
        """An answer that is always the same words: its phrase is named like its kind."""
        self._send(job, Phrase(job.kind.replace(".", "_")))

    def payment_confirmation(self, job: Job) -> None:
        """E4: paid what, new balance, and whether the debt is fully paid."""
        payload = job.payload
        self._send(
            job,
            Phrase(
                _PAYMENT_PHRASES[payload["result"]],
                amount=payload["amount"],
                number=payload["number"],
                reference=payload["reference"],
                balance=payload["balance"],
            ),
        )

    def debt_by_sms(self, job: Job) -> None:
        """A2: an overdue bill, to the line's own mobile; nothing once it has been paid."""
        bill = self._bill(job).bill
        if bill.status == "paid":
            _log.info("job %s: the bill has been paid meanwhile, nothing sent", job.id)
            return
        self._send(job, Phrase("sms_debt_notice", **_bill_slots(bill)))

    def bill_by_email(self, job: Job) -> None:
        """A8: the picture of the bill, as PNG to look at and PDF to print.

        Of a bill that has been paid there is no picture: its barcode would be paid once more.
        """
        printed = self._bill(job)
        if printed.bill.status == "paid":
            paid = Phrase("email_paid", **_paid_slots(printed.bill))
            self._mail_out(job, printed.bill, "email_subject", paid)
            return
        self._mail_bill(job, printed, "email_subject", "email_body")

    def debt_by_email(self, job: Job) -> None:
        """A3: an overdue bill with its picture; nothing once it has been paid."""
        printed = self._bill(job)
        if printed.bill.status == "paid":
            _log.info("job %s: the bill has been paid meanwhile, nothing sent", job.id)
            return
        self._mail_bill(job, printed, "email_debt_subject", "email_debt_body")

    def _mail_bill(self, job: Job, printed: Printed, subject: str, body: str) -> None:
        bill = printed.bill
        image = render(
            BillView.of(
                printed.line,
                bill,
                names=job.payload["names"],
                section=self._desk.premium_section(bill.id),
                language=job.payload["language"],
            ),
            job.payload["language"],
            self._catalogue,
            operator=self._operator,
        )
        name = f"bill-{bill.year}-{bill.period:02d}"
        self._mail_out(
            job,
            bill,
            subject,
            Phrase(body, **_bill_slots(bill)),
            Attachment(f"{name}.png", "image/png", image.png),
            Attachment(f"{name}.pdf", "application/pdf", image.pdf),
        )

    def _bill(self, job: Job) -> Printed:
        printed = self._desk.bill(job.payload["bill"])
        if printed is None:
            raise Permanent("the bill is not in the database any more")
        return printed

    def _bill_is_paid(self, job: Job, bill: Bill) -> None:
        """Say so instead: IDs sent now would only be paid once more, and silence would be a lie."""
        _log.info("job %s: the bill has been paid meanwhile", job.id)
        self._send(job, Phrase("sms_bill_paid", **_paid_slots(bill)))

    def _mail_out(
        self, job: Job, bill: Bill, subject: str, body: Phrase, *attachments: Attachment
    ) -> None:
        language = job.payload["language"]
        title = Phrase(subject, number=bill.number, period=bill.period, year=bill.year)
        self._mail.send(
            Mail(
                to=job.payload["to"],
                subject=self._catalogue.text(title, language),
                text=self._catalogue.text(body, language),
                language=language,
                attachments=attachments,
            ),
            job.key,
        )

    def _send(self, job: Job, phrase: Phrase) -> None:
        text = self._catalogue.text(phrase, job.payload["language"])
        self._sms.send(job.payload["to"], text, job.key)


def _bill_slots(bill: Bill) -> dict[str, object]:
    """What is paid now with the bill's present IDs, by when."""
    return {
        "number": bill.number,
        "amount": bill.instalment,
        "bill_id": bill.bill_id,
        "payment_id": bill.payment_id,
        "due": bill.due_date,
    }


def _paid_slots(bill: Bill) -> dict[str, object]:
    """Which bill has been paid, and what was paid for it."""
    return {
        "number": bill.number,
        "period": bill.period,
        "year": bill.year,
        "amount": bill.paid,
    }
