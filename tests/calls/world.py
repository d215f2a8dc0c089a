"""The world of a scenario: lines and bills in a database, a desk, a clock that stands still."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from billing import outbox
from billing.clock import FixedClock
from billing.database import Database
from billing.desk import Desk
from billing.limits import Limits
from billing.links import Links
from billing.numbers import parse_number
from billing.schema import email_requests
from callflows.services import Services
from tests import migrated
from tests.calls.scenario import BILLS, LINES, Scenario, Sent

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ORDERS = ("sms.bill", "sms.app_links", "sms.email_link")


class World:
    """Everything that a call of `scenario` can see, in a SQLite file under `folder`.

    `furnished` is the database of a world that was made before, perhaps by another process.
    """

    def __init__(
        self,
        folder: Path,
        scenario: Scenario,
        clock: FixedClock | None = None,
        *,
        furnished: Database | None = None,
    ) -> None:
        self.clock = clock or FixedClock(NOW)
        self._payments = 0
        path = folder / "calls.db"
        self.database = furnished or Database(f"sqlite:///{path}")
        most = 5 if scenario.sms_used else 1000
        self.desk = Desk(
            self.database,
            self.clock,
            limits=replace(
                Limits(caller_per_day=1000, destination_per_day=most, destination_per_hour=most),
                **scenario.limits,
            ),
            links=Links(b"0123456789abcdef0123", lifetime=timedelta(hours=24)),
        )
        self.services = Services(desk=self.desk, clock=self.clock)
        self._meanwhile = list(scenario.meanwhile)
        self._before: set[int] = set()
        if furnished is None:
            bills = BILLS + "".join(f"{row}\n" for row in scenario.more_bills)
            path.write_bytes(migrated.furnished(LINES, bills))
            self._furnish(scenario)

    def _furnish(self, scenario: Scenario) -> None:
        for number in scenario.paid:
            self.pay(number)
        for to, count in scenario.sms_used.items():
            for serial in range(count):
                self.desk.send_app_links(
                    f"earlier:{to}:{serial}",
                    None,
                    to,
                    "fa",
                    caller=None,
                    call_id=f"earlier{serial}",
                )
        self._before = {job.id for job in self._orders()}

    def sent(self) -> list[Sent]:
        """The messages that the call has ordered, oldest first."""
        return [
            Sent(job.kind, job.payload["to"], self._names(job))
            for job in self._orders()
            if job.id not in self._before
        ]

    def heard(self, phrases: Sequence[str]) -> None:
        """The caller hears these phrases (keys): post what is paid at that moment."""
        for payment in [each for each in self._meanwhile if each.phrase in phrases]:
            self._meanwhile.remove(payment)
            self.pay(payment.number, payment.amount)

    def pay(self, number: str, amount: int | None = None) -> None:
        """Post a payment of the oldest open bill of a line: `amount` rials, or what is to pay."""
        bill = self.desk.opening(parse_number(number)).open_bills[0]
        self._payments += 1
        receipt = self.desk.receive_payment(
            f"paid-{self._payments}",
            bill.bill_id,
            bill.payment_id,
            amount or bill.payable,
            "transfer",
            NOW,
        )
        assert self.desk.post_payment(receipt.payment).status == "posted"

    def _names(self, job: outbox.Job) -> bool | None:
        """Whether names go out with it; for an image that is asked for, its request knows."""
        if job.kind != "sms.email_link":
            return job.payload.get("names")
        wanted = select(email_requests.c.names).where(
            email_requests.c.reference == job.payload["request"]
        )
        with self.database.read() as conn:
            return bool(conn.execute(wanted).scalar_one())

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def _orders(self) -> list[outbox.Job]:
        # Each look claims with a lease that is over before the next one.
        self.clock.advance(10)
        jobs = outbox.claim(self.database, "test", self.clock.now(), lease_s=1, limit=1000)
        return sorted((job for job in jobs if job.kind in ORDERS), key=lambda job: job.id)
