"""The simulated operator: services, lines, callers, workers that die, records, what sweeps up.

All that happens is drawn from one seed, in an order that only the seed decides: a run with the same
seed and size is the same to the last row, which `World.fingerprint` shows.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select

from billing import cdrs
from billing.cdr_document import Cdr
from billing.errors import CdrConflict
from billing.premium import tariffs
from billing.premium.audit import audit
from billing.premium.charge_check import ParkedCharges
from billing.premium.charging import Charging
from billing.premium.consents import Consents
from billing.premium.credit import Credit
from billing.premium.rating import rate
from billing.premium.schema import (
    charges,
    collections,
    complaints,
    consents,
    owner_approvals,
    premium_calls,
    premium_credits,
    premium_services,
    provider_contracts,
    providers,
    reservations,
    service_versions,
    settlements,
)
from billing.premium.tariffs import Band, Tariff
from billing.schema import accounts, bills, lines, to_microseconds
from tests.simulation.books import Books
from tests.simulation.caller import SimulatedCall, Steps
from tests.simulation.clockwork import TEHRAN, Agenda, VirtualClock
from tests.simulation.faults import PHASES, FragileDatabase, Killed

START = datetime(2026, 11, 18, 20, 30, tzinfo=UTC)
"""Midnight in Tehran, 1405/08/28: a month ends within every run."""

_LEFT_BEHIND = (
    premium_calls,
    reservations,
    premium_credits,
    owner_approvals,
    consents,
    charges,
    collections,
    complaints,
    settlements,
    bills,
    accounts,
)
_CALLS_A_DAY = 1250
_CALLS_A_LINE = 125
# A clock may be an hour behind from the first call on.
_BEFORE = START - timedelta(days=1)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Service:
    """A service that is called."""

    id: int
    consultants: bool
    needs_approval: bool


@dataclass(frozen=True)
class Trouble:
    """How often things go wrong: probabilities a step, or a call."""

    death_at_write: float = 0.01
    death_between: float = 0.001
    never_taken_over: float = 0.15
    frozen: float = 0.0003
    record_lost: float = 0.02
    record_late: float = 0.1
    record_repeated: float = 0.1
    record_changed: float = 0.002
    clock_jumps_a_day: float = 1.0
    redis_losses_a_day: float = 2.0


NONE = Trouble(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


class World:
    """One run, over one fresh database."""

    workers = 4

    def __init__(
        self, database: FragileDatabase, seed: int, calls: int, trouble: Trouble | None = None
    ) -> None:
        self.database = database
        self.draw = random.Random(seed)
        self.trouble = trouble or Trouble()
        self.clock = VirtualClock(START)
        self.agenda = Agenda(self.clock)
        self.credit = Credit(database, self.clock, TEHRAN)
        self.consents = Consents(database, self.clock)
        self.charging = Charging(database, self.clock, TEHRAN, self.credit, cdr_wait_s=120)
        self.parked = ParkedCharges(database, self.clock)
        self.calls = calls
        self.days = min(40.0, max(4.0, calls / _CALLS_A_DAY))
        self.live: dict[str, SimulatedCall] = {}
        self.refused: Counter[str] = Counter()
        self.happened: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._made = 0
        with self._calm():
            self._build()
        self.books = Books(self)

    # -- what is there ----------------------------------------------------------------------------

    def _build(self) -> None:
        draw = self.draw
        provider = self._add(providers, code="sim", title="Simulated")
        self._add(
            provider_contracts,
            provider=provider,
            valid_from=_BEFORE,
            kind="b",
            share_bp=8000,
            levies=json.dumps([{"code": "vat", "bp": 333}]),
            deductions=json.dumps([{"code": "tax", "bp": 300}]),
            least_payout=100_000,
        )
        evening = Band((0, 1, 2, 3, 4, 5, 6), 20 * 60, 24 * 60, 9000)
        dear = START + timedelta(days=self.days / 2)
        plans = [
            (False, False, [_tariff("per_minute", 6000, 60)]),
            (False, False, [_tariff("per_minute", 6000, 10, 30, (evening,))]),
            (False, True, [_tariff("per_call", 25_000), _tariff("per_call", 30_000, begins=dear)]),
            (True, False, [_tariff("per_minute", 12_000, 6)]),
        ]
        self.services = []
        for place, (consultants, approval, versions) in enumerate(plans):
            service = self._add(
                premium_services,
                number=f"909{place:07}",
                provider=provider,
                category="stories",
                status="published",
                published=1,
            )
            content = {"consultants": {}} if consultants else {"tree": {}}
            self._add(
                service_versions,
                service=service,
                version=1,
                definition=json.dumps({"content": content}),
                digest="-",
                submitted_at=START,
                submitted_by="provider",
                decision="approved",
                decided_at=START,
                decided_by="operator",
            )
            self.database.write(
                lambda conn, service=service, versions=versions: tariffs.add(
                    conn, service, versions, "operator", START
                )
            )
            self.services.append(Service(service, consultants, approval))
        self.lines = []
        for place in range(max(8, self.calls // _CALLS_A_LINE)):
            line = self._add(
                lines,
                number=f"+9821{66000000 + place}",
                kind="fixed",
                language="fa",
                first_name="",
                last_name="",
            )
            self.lines.append(line)
            ceiling = draw.choice([100_000, 400_000, 2_000_000, 10_000_000])
            self.database.write(
                lambda conn, line=line, ceiling=ceiling: self.credit.set_standing(
                    conn, line, ceiling, START
                )
            )
        self._announced: dict[int, list[Tariff]] = {
            service.id: self.database.query(
                lambda conn, service=service: tariffs.coming(
                    conn, service.id, _LONG_AGO, START + timedelta(days=100)
                )
            )
            for service in self.services
        }

    def announced(self, service: Service, now: datetime) -> list[Tariff]:
        """The versions that a caller hears of: in force, and beginning while a call may last."""
        known = self._announced[service.id]
        until = now + timedelta(seconds=self.charging.longest_call_s)
        first = max((each for each in known if each.valid_from <= now), key=lambda t: t.valid_from)
        return [first, *(each for each in known if now < each.valid_from <= until)]

    def approval_for(self, line: int, service: Service, now: datetime) -> int | None:
        """The owner's approval, given at once where it is needed and there is none that holds."""
        if not service.needs_approval:
            return None
        purse = owner_approvals.c
        found = self.database.query(
            lambda conn: (
                conn.execute(
                    select(purse.id)
                    .where(
                        purse.line == line,
                        purse.service == service.id,
                        purse.valid_until > now,
                        purse.ceiling - purse.used - purse.held >= 30_000,
                    )
                    .order_by(purse.id)
                )
                .scalars()
                .first()
            )
        )
        if found is not None:
            return int(found)
        with self._calm():
            return self._add(
                owner_approvals,
                line=line,
                service=service.id,
                ceiling=self.draw.choice([30_000, 100_000, 300_000]),
                granted_at=now,
                valid_until=now + timedelta(days=self.draw.randrange(1, 20)),
                via="sms",
            )

    # -- the run ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Let all calls happen, then let everything come to its end."""
        gap = self.days * 86400 / self.calls
        self.agenda.after(0, lambda: self._arrive(gap))
        self.agenda.after(300, self._sweep)
        self.agenda.after(3600, self._decide)
        self.books.open()
        self._plan(self.trouble.clock_jumps_a_day, self._jump)
        self._plan(self.trouble.redis_losses_a_day, self._lose_redis)
        self.agenda.run()
        self._judge_whole()

    @property
    def busy(self) -> bool:
        """Whether calls are still to come or go on."""
        return self._made < self.calls or bool(self.live)

    def _arrive(self, gap: float) -> None:
        # Now and then several calls come from one line at the same moment.
        together = self.draw.randrange(2, 7) if self.draw.random() < 0.05 else 1
        line = self.draw.choice(self.lines)
        for _ in range(min(together, self.calls - self._made)):
            self._made += 1
            call = SimulatedCall(self, self._made, line, self.draw.choice(self.services))
            call.disturbed = bool(self.clock.skew)
            self.live[call.id] = call
            self._carry(call)
        if self._made < self.calls:
            self.agenda.after(
                self.draw.expovariate(1 / (gap * together)), lambda: self._arrive(gap)
            )

    def _carry(self, call: SimulatedCall) -> None:
        call.running = call.converse()
        self._go_on(call, call.running)

    def _go_on(self, call: SimulatedCall, steps: Steps) -> None:
        if call.running is not steps:
            return  # its worker is dead
        if self.draw.random() < self.trouble.death_between:
            self.happened["died between writes"] += 1
            self._worker_dies(call.worker)
            return
        try:
            with self.at_risk():
                wait = next(steps)
        except StopIteration:
            call.running = None
            self._finished(call)
        except Killed:
            self._worker_dies(call.worker)
        else:
            if self.draw.random() < self.trouble.frozen:
                self.happened["frozen"] += 1
                call.disturbed = True
                wait += self.draw.uniform(300, 3000)
            self.agenda.after(wait, lambda: self._go_on(call, steps))

    def _worker_dies(self, worker: int) -> None:
        self.happened["worker died"] += 1
        for call in [each for each in self.live.values() if each.worker == worker]:
            if call.running is None:
                continue
            call.dies()
            if self.draw.random() < self.trouble.never_taken_over:
                self.happened["never taken over"] += 1
                if not call.bridged:
                    # The dialplan goes on to the apology.
                    self.agenda.after(3, call.hang_up)
                self.agenda.after(0, lambda call=call: self._await_end(call))
            else:
                self.agenda.after(
                    self.draw.uniform(0.05, 2), lambda call=call: self._take_over(call)
                )

    def _take_over(self, call: SimulatedCall) -> None:
        if call.over:
            # It has ended in between: nobody is asked.
            self._finished(call)
            return
        self.happened["taken over"] += 1
        call.worker = (call.worker + self.draw.randrange(1, self.workers)) % self.workers
        self._carry(call)

    def _await_end(self, call: SimulatedCall) -> None:
        if call.over:
            self._finished(call)
        else:
            self.agenda.after(30, lambda: self._await_end(call))

    def _finished(self, call: SimulatedCall) -> None:
        self.live.pop(call.id, None)
        self._judge(call)

    # -- records, postings, what sweeps up --------------------------------------------------------

    def record_of(self, call: SimulatedCall) -> None:
        """The switch sends the records of an ended call, some late, some twice, some never."""
        draw, trouble = self.draw, self.trouble
        assert call.hung_up_at is not None
        talked = call.connected_at if call.bridged else None
        leg = _record(call.id, call.started_at, call.hung_up_at, talked)
        if draw.random() < trouble.record_lost:
            self.happened["record lost"] += 1
            return
        wait = draw.uniform(0.1, 30)
        if draw.random() < trouble.record_late:
            wait = draw.uniform(30, 20_000)
        self.agenda.after(wait, lambda: self._deliver(leg))
        if draw.random() < trouble.record_repeated:
            self.happened["record repeated"] += 1
            again = leg
            if draw.random() < trouble.record_changed:
                again = replace(leg, ended_at=leg.ended_at + timedelta(hours=1), digest="x")
            self.agenda.after(wait + draw.uniform(0, 100), lambda: self._deliver(again))

    def _deliver(self, leg: Cdr) -> None:
        try:
            with self.at_risk("record"):
                cdrs.store(self.database, leg, self.clock.now())
        except CdrConflict:
            self.happened["changed record refused"] += 1
        except Killed:
            # The switch sends it again until it is taken.
            self.agenda.after(5, lambda: self._deliver(leg))
            return
        self.books.nudge()

    def _sweep(self) -> None:
        try:
            with self.at_risk("sweep"):
                self.happened["swept"] += len(self.charging.sweep())
        except Killed:
            pass
        if self.busy or self._unresolved():
            self.agenda.after(300, self._sweep)

    def _decide(self) -> None:
        """Operations look at what waits for a person."""
        try:
            with self.at_risk("decide"):
                for difference in self.parked.parked(1000):
                    if self.draw.random() < 0.5:
                        self.parked.release(difference.call_id, "Sara")
                    else:
                        self.parked.waive(difference.call_id, "Sara", "no")
                    self.happened["decided"] += 1
        except Killed:
            pass
        if self.busy:
            self.agenda.after(6 * 3600, self._decide)

    def _unresolved(self) -> bool:
        held = reservations.c
        statement = select(held.key).where(held.status == "open").limit(1)
        return self.database.query(lambda conn: conn.execute(statement).first()) is not None

    # -- clocks and Redis -------------------------------------------------------------------------

    def _plan(self, a_day: float, happens: Any) -> None:
        if a_day and self.busy:
            wait = self.draw.expovariate(a_day / 86400)
            self.agenda.after(wait, lambda: self._happen(a_day, happens))

    def _happen(self, a_day: float, happens: Any) -> None:
        if self.busy:
            happens()
        self._plan(a_day, happens)

    def _jump(self) -> None:
        """The clocks of our machines are wrong for a while."""
        self.happened["clock jumped"] += 1
        self._set_skew(self.draw.choice([-3600, -90, -5, 5, 90, 3600, self.draw.gauss(0, 600)]))
        self.agenda.after(self.draw.uniform(10, 3600), lambda: self._set_skew(0))

    def _set_skew(self, seconds: float) -> None:
        self.clock.skew = seconds
        for call in self.live.values():
            call.disturbed = True

    def _lose_redis(self) -> None:
        self.happened["Redis lost"] += 1
        self.books.redis_is_lost = True
        self.agenda.after(self.draw.uniform(1, 7200), self._find_redis)

    def _find_redis(self) -> None:
        self.books.redis_is_lost = False

    # -- the judgement ----------------------------------------------------------------------------

    def _judge(self, call: SimulatedCall) -> None:
        """Whether an undisturbed call came to what its caller, the switch and the tariffs say."""
        if call.disturbed:
            return
        self.happened["judged"] += 1
        standing = self.charging.standing(call.id)
        if call.connected_at is None:
            if standing is not None and standing.status != "free":
                self.wrong.append(f"{call.id}: never connected, {standing.status}")
            return
        assert standing is not None
        assert call.hung_up_at is not None
        seconds = (call.hung_up_at - call.connected_at) // timedelta(seconds=1)
        tariffs_ = self.announced(call.service, call.heard_at)
        price = rate(tariffs_, call.connected_at, seconds, TEHRAN).amount
        if (standing.seconds, standing.amount) != (seconds, price):
            self.wrong.append(
                f"{call.id}: {seconds} s for {price}, charged {standing.seconds} s"
                f" for {standing.amount}"
            )

    def _judge_whole(self) -> None:
        """What must hold whatever has happened."""
        call = premium_calls.c
        statement = select(call.call_id, call.status).where(call.status.in_(("begun", "connected")))
        for name, status in self.database.query(lambda conn: conn.execute(statement).all()):
            self.wrong.append(f"{name}: {status} for ever")
        self.wrong += [f"{each.where}: {each.what}" for each in audit(self.database, TEHRAN)]
        self.wrong += self.books.wrong()

    def fingerprint(self) -> str:
        """A hash over what the run has left in the tables."""

        def work(conn: Connection) -> str:
            whole = hashlib.sha256()
            for table in _LEFT_BEHIND:
                for row in conn.execute(select(table).order_by(*table.primary_key.columns)):
                    whole.update(repr(tuple(row)).encode())
            return whole.hexdigest()

        return self.database.query(work)

    # ---------------------------------------------------------------------------------------------

    @contextmanager
    def at_risk(self, point: str = "", times: float = 1) -> Iterator[None]:
        """Within this the process may die at a write, which is that of ``point``.

        ``times`` as often as usual, for what comes seldom.
        """
        self.database.point = point or self.database.point
        if self.draw.random() < min(0.4, self.trouble.death_at_write * times):
            self.database.arm(self.draw.choice(PHASES))
        try:
            yield
        finally:
            self.database.arm(None)

    @contextmanager
    def _calm(self) -> Iterator[None]:
        """Within this nothing goes wrong, and no write is anybody's."""
        point = self.database.point
        self.database.point = "set up"
        self.database.arm(None)
        yield
        self.database.point = point

    def _add(self, table: Any, **values: Any) -> int:
        def work(conn: Connection) -> int:
            key = conn.execute(insert(table).values(**values)).inserted_primary_key
            assert key is not None
            return int(key[0])

        return self.database.write(work)


def _tariff(
    model: Any,
    price: int,
    increment_s: int = 1,
    minimum_s: int = 0,
    bands: tuple[Band, ...] = (),
    begins: datetime = _BEFORE,
) -> Tariff:
    return Tariff(0, 0, begins, model, price, minimum_s, increment_s, bands)


def _record(uuid: str, begin: datetime, end: datetime, talked: datetime | None) -> Cdr:
    """A call's record; ``talked``: from then to its end it talked with a consultant."""
    variables = {}
    if talked is not None:
        # Nobody writes the end of a talk with which the call ends.
        variables["callflows_connected"] = str(to_microseconds(talked))
    return Cdr(
        uuid=uuid,
        core_uuid="sim",
        leg="a",
        switch="sim",
        direction="inbound",
        caller=None,
        dialled=None,
        started_at=begin,
        answered_at=begin,
        ended_at=end,
        billsec=int((end - begin).total_seconds()),
        hangup_cause="NORMAL_CLEARING",
        hung_up_by=None,
        flow="premium",
        offered=True,
        handovers=(),
        raw=json.dumps({"variables": variables}),
        digest=uuid,
    )
