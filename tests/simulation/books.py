"""What happens to the charges of simulated calls: posted, billed, paid, disputed, settled.

The same troubles as the calls have: consumers die at every write, Redis forgets what it was told,
payments are reported twice, bills are loaded again.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, literal_column, select

from billing import outbox, payments
from billing.importing import import_bills
from billing.outbox import Job
from billing.premium import settlement_check
from billing.premium.disputes import Complaints, NotDisputable, NotOpen
from billing.premium.months import month_of, preceding
from billing.premium.posting import Charges
from billing.premium.settlement import NotOver, Settlements
from billing.schema import bills, lines
from billing.schema import outbox as outbox_rows
from tests.simulation.clockwork import FOREVER, TEHRAN
from tests.simulation.faults import Killed

if TYPE_CHECKING:
    from tests.simulation.world import World

_HEADER = "number,period,year,amount,bill_id,payment_id,due_date"
_ROW = outbox_rows.c
_PENDING = (
    select(_ROW.id)
    .where(
        _ROW.queue == "billing",
        _ROW.status == literal_column("'pending'"),
        _ROW.available_at <= bindparam("until", type_=_ROW.available_at.type),
    )
    .limit(1)
)
_LEASE_S = 60.0
_LOOK_S = 600.0
_SELDOM = 20
_AT_ONCE = 20


class Books:
    """The office behind the calls of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._database = world.database
        self._charges = Charges(world.database, world.clock, TEHRAN)
        self._complaints = Complaints(world.database, world.clock)
        self._settlements = Settlements(world.database, world.clock, TEHRAN)
        self._asked = False
        self._period = 0
        self._complained = self._paid = 0
        self.redis_is_lost = False

    def open(self) -> None:
        """Begin with everything that comes again and again."""
        world = self._world
        self._bills_every_s = max(1.0, world.days / 5) * 86400
        world.agenda.after(_LOOK_S, self._look)
        world.agenda.after(self._bills_every_s, self._bill)
        world.agenda.after(86400, self._settle)

    def nudge(self) -> None:
        """Something has to be done, as Redis tells the consumers, unless it is lost."""
        if not self._asked and not self.redis_is_lost:
            self._asked = True
            self._world.agenda.after(self._world.draw.uniform(1, 30), self._consume)

    # -- the queue billing ------------------------------------------------------------------------

    def _look(self) -> None:
        """The relay finds what a lost Redis has forgotten."""
        self._consume()
        if self._world.busy or self._waiting():
            self._world.agenda.after(_LOOK_S, self._look)

    def _waiting(self, until: datetime = FOREVER) -> bool:
        return self._database.query(
            lambda conn: conn.execute(_PENDING, {"until": until}).first() is not None
        )

    def _consume(self) -> None:
        world, database = self._world, self._database
        self._asked = False
        now = world.clock.now()
        if not self._waiting(now):
            # A claim that finds nothing writes nothing, and only costs the simulation its time.
            return
        try:
            with world.at_risk("claim"):
                jobs = outbox.claim(
                    database, "consumer", now, _LEASE_S, queue="billing", limit=_AT_ONCE
                )
            for job in jobs:
                with world.at_risk(job.kind):
                    self._do(job)
            if jobs:
                with world.at_risk("done"):
                    outbox.done(database, jobs, world.clock.now())
        except Killed:
            world.happened["consumer died"] += 1
            return
        if len(jobs) == _AT_ONCE:
            self.nudge()

    def _do(self, job: Job) -> None:
        if job.kind == "post_charge":
            posted = self._charges.post(job.payload["call"])
            if posted.new and self._world.draw.random() < 0.03:
                self._world.agenda.after(self._world.draw.uniform(0, 86400 * 3), self._complain)
        else:
            now = self._world.clock.now()
            payment = job.payload["payment"]
            outcome = self._database.write(lambda conn: payments.post(conn, payment, now))
            self._world.happened[f"payment {outcome.status}"] += 1

    # -- bills and payments -----------------------------------------------------------------------

    def _bill(self) -> None:
        """All lines get a bill, of odd rials, so that remainders are carried."""
        self._period += 1
        draw = self._world.draw
        numbers = self._database.query(
            lambda conn: list(conn.scalars(select(lines.c.number).order_by(lines.c.id)))
        )
        year, period = 1405 + self._period // 99, self._period % 99 + 1
        rows = [f"{n},{period},{year},{draw.randrange(500_000)},,,2027-01-20" for n in numbers]
        self._load(rows, year, period)
        if self._world.busy:
            self._world.agenda.after(self._bills_every_s, self._bill)

    def _load(self, rows: list[str], year: int, period: int) -> None:
        world = self._world
        try:
            with world.at_risk("bills", _SELDOM):
                report = import_bills(
                    self._database, [_HEADER, *rows], now=world.clock.now(), batch=50
                )
        except Killed:
            world.agenda.after(60, lambda: self._load(rows, year, period))
            return
        world.wrong += [f"bill: {reason}" for _, reason in report.rejected]
        for line in world.lines:
            if world.draw.random() < 0.85:
                wait = world.draw.uniform(60, self._bills_every_s)
                world.agenda.after(wait, lambda line=line: self._pay(line, year, period))

    def _pay(self, line: int, year: int, period: int) -> None:
        world = self._world
        bill = self._database.query(
            lambda conn: conn.execute(
                select(bills).where(
                    bills.c.line_id == line, bills.c.year == year, bills.c.period == period
                )
            ).one()
        )
        payable = (bill.amount - bill.paid - bill.carried_out) // 1000 * 1000
        if payable <= 0 or bill.status != "open":
            return
        amount = payable
        if world.draw.random() < 0.2:
            amount = world.draw.randrange(1, payable + 1)
            world.agenda.after(world.draw.uniform(60, 86400), lambda: self._pay(line, year, period))
        self._paid += 1
        self._report(f"pay-{self._paid}", bill, amount, world.clock.true)

    def _report(self, reference: str, bill: Any, amount: int, paid_at: datetime) -> None:
        """The payment system reports a payment until it is taken, now and then once more."""
        world = self._world
        try:
            with world.at_risk("payment"):
                self._database.write(
                    lambda conn: payments.receive(
                        conn,
                        reference,
                        bill.bill_id,
                        bill.payment_id,
                        amount,
                        "bank",
                        paid_at,
                        world.clock.now(),
                    )
                )
        except Killed:
            world.agenda.after(5, lambda: self._report(reference, bill, amount, paid_at))
            return
        if world.draw.random() < 0.1:
            again = world.draw.uniform(1, 86400)
            world.agenda.after(again, lambda: self._report(reference, bill, amount, paid_at))
        self.nudge()

    # -- complaints and settlement ----------------------------------------------------------------

    def _complain(self) -> None:
        world = self._world
        line = world.draw.choice(world.lines)
        for charge in self._complaints.recent(line):
            if charge.complaint is None:
                self._complained += 1
                self._dispute(f"complaint-{self._complained}", line, charge.charge)
                return

    def _dispute(self, key: str, line: int, charge: int) -> None:
        world = self._world
        try:
            with world.at_risk("complaint", _SELDOM):
                number = self._complaints.open(key, line, charge, key)
        except Killed:
            world.agenda.after(2, lambda: self._dispute(key, line, charge))
            return
        except NotDisputable:
            return
        world.happened["complaint"] += 1
        wait, accepted = world.draw.uniform(60, 86400 * 3), world.draw.random() < 0.5
        world.agenda.after(wait, lambda: self._decide(number, accepted))

    def _decide(self, number: int, accepted: bool) -> None:
        world = self._world
        decide = self._complaints.accept if accepted else self._complaints.reject
        try:
            with world.at_risk("complaint decided", _SELDOM):
                decide(number, "Sara", "-")
        except Killed:
            world.agenda.after(60, lambda: self._decide(number, accepted))
        except NotOpen:
            return  # decided, though the answer was lost

    def _settle(self) -> None:
        """Whatever month is over is settled, as often as anybody asks."""
        world = self._world
        month = preceding(month_of(world.clock.now(), TEHRAN, "persian"))
        try:
            with world.at_risk("settlement", _SELDOM):
                world.happened["statement"] += len(self._settlements.settle_all(month))
        except (Killed, NotOver):
            pass
        if world.busy:
            world.agenda.after(86400, self._settle)

    def wrong(self) -> list[str]:
        """What the ledger and the statements do not agree about."""
        return [f"settlement: {each}" for each in settlement_check.check(self._database)]
