"""Lines with overdue bills, campaigns about them, and what tests ask the database afterwards."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from billing import campaigns, outbox
from billing.announcing import Announcements
from billing.calendars import Calendars
from billing.campaigns import Campaign, Rules, Selection
from billing.clock import Clock
from billing.database import Database
from billing.desk import Desk
from billing.dialling import Dialling
from billing.importing import import_bills, import_lines
from billing.links import Links
from billing.schema import campaign_calls, campaign_targets

CALENDARS = Path(__file__).parents[1] / "conf" / "calendars"
LINES = "number,kind,first_name,last_name,language,mobile,email,address,postal_code\n"
BILLS = "number,period,year,amount,bill_id,payment_id,due_date\n"
DUE = "2026-11-01"
RULES = Rules(
    window="09:00-20:00",
    zone="Asia/Tehran",
    caller_id="2000",
    calendar="iran",
    cps=100.0,
    simultaneous=1000,
)


def number(place: int) -> str:
    """The number of the n-th line, E.164."""
    return f"+9821{88000000 + place}"


class House:
    """A database with ``count`` fixed lines, each with one bill of 100,000 due on `DUE`."""

    def __init__(self, database: Database, clock: Clock, count: int = 5) -> None:
        self.database = database
        self.clock = clock
        self.desk = Desk(database, clock, links=Links(b"a secret only for tests"))
        self.announcements = Announcements(database, clock)
        self.calendars = Calendars(CALENDARS)
        self.add(
            [
                f"{number(place)},fixed,Ali,Rezaei,fa,0912{1000000 + place},a{place}@example.ir,,"
                for place in range(count)
            ],
            [f"{number(place)},8,1405,100000,,,{DUE}" for place in range(count)],
        )

    def add(self, lines: list[str], bills: list[str]) -> None:
        """Load further rows."""
        now = self.clock.now()
        for report in (
            import_lines(self.database, io.StringIO(LINES + "\n".join(lines))),
            import_bills(self.database, io.StringIO(BILLS + "\n".join(bills)), now=now),
        ):
            assert not report.rejected, report.rejected

    def campaign(self, name: str = "october", *, overdue: int = 10, **changes: object) -> Campaign:
        """A running campaign with `RULES` and these changes."""
        rules = Rules(**{**asdict(RULES), **changes})  # type: ignore[arg-type]
        now = self.clock.now()
        campaigns.create(self.database, name, Selection(overdue), rules, now)
        return campaigns.move(self.database, name, "start", now)

    def dialling(self, name: str = "dialer", **options: float) -> Dialling:
        """A dialer's hand on the database."""
        return Dialling(self.database, self.calendars.get, name, **options)  # type: ignore[arg-type]

    def pay(self, e164: str) -> None:
        """Pay all that a line owes."""
        for bill in self.desk.opening(e164).open_bills:
            receipt = self.desk.receive_payment(
                f"pay{bill.id}", bill.bill_id, bill.payment_id, bill.payable, "cash",
                self.clock.now(),
            )  # fmt: skip
            assert self.desk.post_payment(receipt.payment).status == "posted"

    def targets(self) -> dict[str, str]:
        """How each number stands."""
        statement = select(campaign_targets.c.number, campaign_targets.c.status)
        with self.database.read() as conn:
            return {row.number: row.status for row in conn.execute(statement)}

    def calls(self) -> dict[str, list[str | None]]:
        """The results of each number's calls, in order."""
        statement = (
            select(campaign_targets.c.number, campaign_calls.c.result)
            .join_from(campaign_calls, campaign_targets)
            .order_by(campaign_calls.c.seq)
        )
        found: dict[str, list[str | None]] = {}
        with self.database.read() as conn:
            for row in conn.execute(statement):
                found.setdefault(row.number, []).append(row.result)
        return found

    def statuses(self) -> Counter[str]:
        """How many numbers stand how."""
        return Counter(self.targets().values())

    def notices(self) -> list[outbox.Job]:
        """The announcements by SMS and e-mail that wait to be sent, whenever."""
        jobs = outbox.claim(
            self.database, "test", self.clock.now() + timedelta(days=30), 0.001, limit=1000
        )
        return [job for job in jobs if job.kind.endswith("debt_notice")]
