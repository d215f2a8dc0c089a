"""A small house behind the pages: database, desk, one line with one bill, and the application.

Used by the tests of web/; the personal data that must never come out (A9) is in the database.
"""

import io
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from billing import outbox
from billing.clock import FixedClock
from billing.database import Database
from billing.desk import Desk
from billing.importing import import_bills, import_lines
from billing.links import Links
from sounds import load_catalogue
from tests.migrated import migrated
from web.app import create_app
from web.signing import signed_headers

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
FIXED, MOBILE = "+982188776655", "+989123456789"
PRIVATE = ("Yaghoubi Alley 9", "1415893411", "maryam@private.example", "Maryam", "Rezaei")
PAYMENT_KEY, SMS_KEY = "payment-key", "sms-key"

LINES = (
    "number,kind,first_name,last_name,language,mobile,email,address,postal_code\n"
    "02188776655,fixed,Maryam,Rezaei,{language},09123456789,maryam@private.example,"
    "Yaghoubi Alley 9,1415893411\n"
)
BILLS = """\
number,period,year,amount,bill_id,payment_id,due_date
02188776655,5,1405,129456,,,2026-12-06
"""


class House:
    """The parts, and the client of the application."""

    def __init__(self, folder, language="fa", clock=None, cdr=None, **settings):
        self.clock = clock or FixedClock(NOW)
        path = Path(folder) / "web.db"
        path.write_bytes(migrated())
        self.database = Database(f"sqlite:///{path}")
        self.links = Links(b"a secret of the links", lifetime=timedelta(hours=24))
        self.desk = Desk(self.database, self.clock, links=self.links)
        reports = (
            import_lines(self.database, io.StringIO(LINES.format(language=language))),
            import_bills(self.database, io.StringIO(BILLS), now=NOW),
        )
        assert not any(report.rejected for report in reports)
        self.language = language
        self.bill = self.desk.opening(FIXED).open_bills[0]
        self.nudges = 0
        self.seconds = 0.0
        self.asked = 0
        self.app = create_app(
            desk=self.desk,
            catalogue=load_catalogue(),
            clock=self.clock,
            nudge=self.nudge,
            payment_keys=[PAYMENT_KEY, "next-payment-key"],
            sms_keys=[SMS_KEY],
            cdr=cdr and cdr(self),
            monotonic=lambda: self.seconds,
            **settings,
        )
        self.client = self.app.test_client()

    def nudge(self):
        self.nudges += 1

    def ask(self):
        """Ask for the bill by e-mail, as a call does; the token of the link in the SMS."""
        self.asked += 1
        key = f"call-{self.asked}:email"
        self.desk.ask_email(
            key, self.bill, MOBILE, self.language, True, FIXED, f"call-{self.asked}"
        )
        jobs = [job for job in self.jobs() if job.kind == "sms.email_link"]
        payload = jobs[-1].payload
        return self.links.token(payload["request"], payload["expires"])

    def jobs(self):
        """All jobs of the outbox that wait, oldest first (they are leased for no time at all)."""
        jobs = outbox.claim(self.database, "test", self.clock.now(), 0)
        return sorted(jobs, key=lambda job: job.id)

    def post_signed(self, path, body, key, **headers):
        return self.client.post(
            path,
            data=body,
            headers={
                "Content-Type": "application/json",
                **signed_headers(key, body, self.clock.now()),
                **headers,
            },
        )

    def close(self):
        self.database.close()


@contextmanager
def house(folder, **settings):
    """A house that is closed at the end."""
    it = House(folder, **settings)
    try:
        yield it
    finally:
        it.close()
