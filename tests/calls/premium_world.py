"""The world of a premium-rate call: a published service, lines with credit, their owners.

Real billing over a real database; only the prompts' lengths, the CRM and the clock are the test's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, insert, select

from billing.clock import FixedClock
from billing.links import APPROVAL_REQUEST, Links
from billing.premium.answers import Answers
from billing.premium.approvals import Approvals
from billing.premium.book import ServiceBook
from billing.premium.charging import Charging, Standing
from billing.premium.codes import Codes
from billing.premium.consents import Consent, Consents
from billing.premium.consultants import Consultants
from billing.premium.credit import Credit
from billing.premium.definitions import canonical, checked, digest
from billing.premium.disputes import Complaints
from billing.premium.guards import Guards
from billing.premium.owners import Owners
from billing.premium.pins import Pins
from billing.premium.price_list import PriceList
from billing.premium.schema import (
    consents,
    premium_calls,
    premium_services,
    provider_contracts,
    providers,
    reservations,
    service_versions,
)
from billing.premium.tariffs import add, parse_tariffs
from callflows.call import Prompt
from callflows.premium.desk import Premium
from callflows.premium.shelf import TreeShelf
from callflows.scripted import Event, ScriptedChannel
from callflows.trees.ports import TreeServices
from sounds import Library, load_catalogue
from tests.calls.scenario import Scenario
from tests.calls.world import NOW, World

TEHRAN = ZoneInfo("Asia/Tehran")
NUMBER = "9091234567"
CALLER = "02188776655"
CREDIT = 100_000
# What a prompt of the content takes, seconds; all others take none.
CONTENT_S = 20


def texts(words: str) -> dict[str, str]:
    """The same words for all languages: nobody listens."""
    return {"fa": f"{words} یک", "ar": f"{words} واحد", "ru": f"{words} один", "en": f"{words} one"}


TREE: dict[str, Any] = {
    "start": "menu",
    "nodes": {
        "menu": {"type": "menu", "say": texts("a"), "keys": {"1": "poem", "2": "bye"}},
        "poem": {"type": "prompt", "say": texts("b"), "next": "menu"},
        "bye": {"type": "end", "say": texts("c")},
    },
}
SERVICE: dict[str, Any] = {
    "number": NUMBER,
    "provider": "hafez",
    "category": "poetry",
    "names": {"fa": "فالِ حافظ", "ar": "فال حافظ", "ru": "Гадание", "en": "Divination"},
    "tariffs": [{"from": "2026-01-01", "model": "per_minute", "price": 6000}],
    "content": {"tree": TREE},
}


class Running(FixedClock):
    """Goes at the pace of the machine's clock, from the hour of all scenarios on."""

    def __init__(self) -> None:
        super().__init__(NOW)
        self._began = time.monotonic()

    def now(self) -> datetime:
        """So much later."""
        return super().now() + timedelta(seconds=time.monotonic() - self._began)


class Lengths(Library):
    """Recordings of services take CONTENT_S, all others nothing."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"))

    def prompt_ms(self, names: Iterable[str]) -> int:
        """How long a prompt takes, milliseconds."""
        return 1000 * sum(seconds_of(name) for name in names)


def seconds_of(name: str) -> int:
    """How long a recording takes."""
    return CONTENT_S if name.startswith("services/") and "/tree/" in name else 0


class Crm:
    """A CRM that does not answer."""

    def ask(self, *_: object) -> None:
        """Nothing."""


@dataclass
class Histories:
    """How often somebody has called this provider."""

    calls: int = 0

    def told(self, provider: int, line: int | None, caller: str) -> Mapping[str, Any]:
        """As the CRM gets it."""
        return {"calls": self.calls}


@dataclass(frozen=True)
class Premiere:
    """One premium call: who calls what, what is heard and pressed, what must be true afterwards.

    `service` are entries that differ from SERVICE, `arrange` changes the world before the call,
    `during` when a phrase is heard for the first time. `draws` are the digits drawn, in order.
    `costs` is what must be charged (0: nothing, and no reservation is left), `accepted` whether a
    consent must be there.
    """

    title: str
    script: Sequence[Event]
    costs: int = 0
    accepted: bool = False
    outcome: str = "completed"
    caller: str = CALLER
    dialled: str = NUMBER
    identity: str | None = "asserted"
    credit: int = CREDIT
    service: Mapping[str, Any] = field(default_factory=dict)
    arrange: Callable[[PremiumWorld], object] = lambda _: None
    during: Mapping[str, Callable[[PremiumWorld], object]] = field(default_factory=dict)
    draws: str = "731"
    calls_before: int = 0
    language: str | None = None
    refused: str | None = None
    # Whether the conversation depends on how often something was tried, or on the time so far:
    # then another worker may say something else.
    counts_tries: bool = False
    # Keys in a row depend on real time at the second height.
    timed: bool = False


class PremiumWorld(World):
    """Everything that a premium call can see, in a SQLite file under `folder`."""

    def __init__(self, folder: Path, premiere: Premiere, clock: FixedClock | None = None) -> None:
        super().__init__(folder, Scenario("", ()), clock)
        self.premiere = premiere
        self.folder = folder
        database, clock = self.database, self.clock
        self.credit = Credit(database, clock, TEHRAN, "persian")
        self.charging = Charging(database, clock, TEHRAN, self.credit)
        self.consents = Consents(database, clock)
        self.owners = Owners(database, clock)
        secret = b"0123456789abcdef0123"
        self._draws = list(premiere.draws)
        self._during = dict(premiere.during)
        self.premium = Premium(
            book=ServiceBook(database, clock, TEHRAN, kept_s=0.0),
            prices=PriceList(database, TEHRAN, self.charging.longest_call_s),
            consents=self.consents,
            charging=self.charging,
            credit=self.credit,
            credit_requests=None,  # type: ignore[arg-type]
            owners=self.owners,
            pins=Pins(database, clock),
            codes=Codes(database, clock, secret),
            approvals=Approvals(
                database, clock, Links(secret, timedelta(hours=1), APPROVAL_REQUEST)
            ),
            consultants=Consultants(database, clock, TEHRAN),
            trees=TreeServices(
                Answers(database, clock),
                Crm(),
                Histories(premiere.calls_before),
                load_catalogue(),
                Lengths(),
                clock,
                TEHRAN,
            ),
            shelf=TreeShelf(),
            calendars=None,
            guards=Guards(database, clock),
            complaints=Complaints(database, clock),
            draw=lambda used: self._draws.pop(0),
        )
        self.services = replace(self.services, premium=self.premium)
        self.provider = self.add(providers, code="hafez", title="Hafez")
        self.add(
            provider_contracts,
            provider=self.provider,
            valid_from=datetime(2026, 1, 1, tzinfo=UTC),
            kind="b",
            share_bp=8000,
        )
        self.service = self.publish({**SERVICE, **premiere.service})
        line = self.owners.line_of("+982188776655")
        assert line is not None
        self.line = line
        self.set_credit(premiere.credit)
        premiere.arrange(self)

    # -- arranging ----------------------------------------------------------------------------

    def publish(self, definition: Mapping[str, Any], version: int = 1) -> int:
        """A service with a published version; its id."""
        whole = checked(definition, TEHRAN)
        text = canonical(whole)
        service = self.add(
            premium_services,
            number=whole["number"],
            provider=self.provider,
            category=whole["category"],
            status="published",
            published=version,
        )
        self.add(
            service_versions,
            service=service,
            version=version,
            definition=text,
            digest=digest(text),
            submitted_at=NOW,
            submitted_by="test",
            decision="approved",
            decided_at=NOW,
            decided_by="test",
        )
        tariffs = parse_tariffs(whole["tariffs"], TEHRAN)
        self.database.write(lambda conn: add(conn, service, tariffs, "test", NOW))
        return service

    def set_credit(self, amount: int) -> None:
        """The monthly credit of the caller's line, rials."""
        now = self.clock.now()
        self.database.write(lambda conn: self.credit.set_standing(conn, self.line.id, amount, now))

    def sql(self, statement: Any) -> None:
        """Change something behind everybody's back."""
        self.database.write(lambda conn: conn.execute(statement))

    def add(self, table: Any, **values: Any) -> int:
        """A row; its id."""

        def work(conn: Connection) -> int:
            key = conn.execute(insert(table).values(**values)).inserted_primary_key
            assert key is not None
            return int(key[0])

        return self.database.write(work)

    def heard(self, phrases: Sequence[str]) -> None:
        """See `World`."""
        self.happens(phrases)

    # -- while it runs ------------------------------------------------------------------------

    def happens(self, keys: Iterable[str]) -> None:
        """The caller hears these phrases."""
        for key in keys:
            act = self._during.pop(key, None)
            if act is not None:
                act(self)

    # -- afterwards ---------------------------------------------------------------------------

    def standing(self, call_id: str) -> Standing | None:
        """How the call stands."""
        return self.charging.standing(call_id)

    def consent(self, call_id: str) -> Consent | None:
        """What the call has accepted."""
        return self.consents.of(call_id)

    def held(self) -> int:
        """Rials that any call still holds."""
        wanted = select(reservations.c.held).where(reservations.c.status == "open")
        with self.database.read() as conn:
            return sum(conn.scalars(wanted))

    def charged(self) -> int:
        """Rials that all calls were charged."""
        with self.database.read() as conn:
            return sum(
                conn.scalars(select(premium_calls.c.amount).where(premium_calls.c.amount > 0))
            )

    def used(self) -> int:
        """Rials of the line's credit of this month that are used."""
        return self.credit.view(self.line.id).used

    def accepted(self) -> int:
        """How many acceptances are recorded."""
        with self.database.read() as conn:
            return len(conn.scalars(select(consents.c.id)).all())

    def charges_without_consent(self) -> int:
        """Charged calls that have no acceptance; the schema lets none be."""
        wanted = (
            select(premium_calls.c.call_id)
            .select_from(
                premium_calls.outerjoin(consents, consents.c.call_id == premium_calls.c.call_id)
            )
            .where(premium_calls.c.amount > 0, consents.c.id.is_(None))
        )
        with self.database.read() as conn:
            return len(conn.scalars(wanted).all())

    def orders(self) -> list[tuple[str, dict[str, Any]]]:
        """The outbox: kind and payload of each row, oldest first."""
        from billing.schema import outbox

        with self.database.read() as conn:
            rows = conn.execute(select(outbox.c.kind, outbox.c.payload).order_by(outbox.c.id))
            return [(row.kind, json.loads(row.payload)) for row in rows]


class Line(ScriptedChannel):
    """A caller in a premium world: prompts of the content take time, and things happen."""

    def __init__(self, world: PremiumWorld, script: Iterable[Event], **options: Any) -> None:
        premiere = world.premiere
        options = {"caller": premiere.caller, "dialled": premiere.dialled, **options}
        super().__init__(script, clock=world.clock, **options)
        self.world = world
        if premiere.identity is not None:
            self.variables["callflows_identity"] = premiere.identity
        self.heard: list[Prompt] = []

    def _hear(self, prompt: Prompt) -> None:
        super()._hear(prompt)
        self.heard.append(prompt)
        self.world.happens(prompt.keys)
        catalogue = self.world.premium.trees.catalogue
        for phrase in prompt.phrases:
            for name in catalogue.recordings(phrase, phrase.language or prompt.language):
                self._pass(seconds_of(name))
