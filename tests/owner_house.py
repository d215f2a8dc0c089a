"""Lines with owners, published services, and what owners can do: for tests of billing and web."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import insert, select

from billing.clock import Clock
from billing.database import Database
from billing.entities import Line
from billing.importing import import_lines
from billing.limits import Limits
from billing.links import APPROVAL_REQUEST, Links
from billing.premium.approvals import Approvals, Terms
from billing.premium.codes import Codes
from billing.premium.credit import Credit
from billing.premium.credit_requests import CreditRequests
from billing.premium.owner_notices import OwnerNotices
from billing.premium.owner_sms import OwnerSms
from billing.premium.owners import Owners
from billing.premium.pins import Pins
from billing.premium.schema import premium_services, providers, service_versions
from billing.schema import outbox

TEHRAN = ZoneInfo("Asia/Tehran")
SECRET = b"a secret only for tests"
FIXED, OWNER = "+982188776655", "+989121112233"
# A mobile line of its own, another line of the same owner, and one that has no mobile.
MOBILE, SECOND, LONELY = "+989123456789", "+982144556677", "+982133221100"
NUMBER, OTHER_NUMBER = "9091234567", "9097654321"
LINES = """\
number,kind,first_name,last_name,language,mobile,email,address,postal_code
02188776655,fixed,Maryam,Rezaei,fa,09121112233,maryam@private.example,Yaghoubi Alley 9,1415893411
09123456789,mobile,John,Roe,en,,,9 Short Street,1411713123
02144556677,fixed,Ivan,Petrov,ru,09121112233,,Mira 5,1411713118
02133221100,fixed,Layla,Hasan,ar,,,Salam 7,1411713119
"""
NAMES = {"fa": "فالِ حافظ", "ar": "فال حافظ", "ru": "Гадание", "en": "Divination"}
GENEROUS = Limits(
    caller_per_day=1000, destination_per_day=1000, destination_per_hour=1000, total_per_day=None
)


class OwnerHouse:
    """Everything that an owner can reach, over one database."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        limits: Limits = GENEROUS,
        terms: Terms | None = None,
        default_credit: int = 0,
    ) -> None:
        self.database = database
        self.clock = clock
        report = import_lines(database, io.StringIO(LINES))
        assert not report.rejected
        self.links = Links(SECRET, timedelta(hours=24), APPROVAL_REQUEST)
        self.owners = Owners(database, clock)
        self.pins = Pins(database, clock)
        self.codes = Codes(database, clock, SECRET, limits=limits)
        self.terms = terms or Terms()
        self.approvals = Approvals(database, clock, self.links, limits=limits, terms=self.terms)
        self.credit = Credit(database, clock, TEHRAN, "persian", default_credit)
        self.credit_requests = CreditRequests(database, clock, self.credit, zone=TEHRAN)
        self.sms = OwnerSms(database, clock, self.credit_requests, limits=limits, terms=self.terms)
        self.notices = OwnerNotices(database)
        self.provider = self._add(providers, code="hafez", title="Hafez")
        self.service = self.publish(NUMBER)
        self.other_service = self.publish(OTHER_NUMBER)

    def line(self, number: str = FIXED) -> Line:
        """A line by its number."""
        line = self.owners.line_of(number)
        assert line is not None
        return line

    def publish(self, number: str) -> int:
        """A published service of the category "poetry"."""
        service = self._add(
            premium_services,
            number=number,
            provider=self.provider,
            category="poetry",
            status="published",
            published=1,
        )
        self._add(
            service_versions,
            service=service,
            version=1,
            definition=json.dumps({"names": NAMES}),
            digest=number,
            submitted_at=datetime(2026, 1, 1, tzinfo=UTC),
            submitted_by="test",
            decision="approved",
            decided_at=datetime(2026, 1, 1, tzinfo=UTC),
            decided_by="test",
        )
        return service

    def ask(self, key: str = "call-1:5:approval", number: str = FIXED) -> Any:
        """A request for the service, from a line."""
        return self.approvals.request(key, self.line(number), self.service, key.split(":")[0])

    def granted(self, number: str = FIXED) -> int:
        """An approval of the service for a line, given by SMS; its row id."""
        request = self.ask(f"granted-{number}:1:approval", number)
        assert self.sms.answer(request.mobile, f"yes {request.number}", f"granted-{number}")
        (approval, *_) = self.approvals.of_line(self.line(number).id)
        return approval.id

    def token(self) -> str:
        """The token of the link in the newest request."""
        payload = self.sent("sms.approval_request")[-1]
        return self.links.token(payload["reference"], payload["expires"])

    def sent(self, kind: str) -> list[dict[str, Any]]:
        """The payloads of the messages of a kind, oldest first."""
        return [payload for each, payload in self.orders() if each == kind]

    def orders(self) -> list[tuple[str, dict[str, Any]]]:
        """Kind and payload of every row of the outbox, oldest first."""
        statement = select(outbox.c.kind, outbox.c.payload).order_by(outbox.c.id)
        with self.database.read() as conn:
            return [(row.kind, json.loads(row.payload)) for row in conn.execute(statement)]

    def _add(self, table: Any, **values: Any) -> int:
        def work(conn: Any) -> int:
            key = conn.execute(insert(table).values(**values)).inserted_primary_key
            return int(key[0])

        return self.database.write(work)


def everything(database: Database) -> str:
    """All that stands in the database, as one text: to look for what must not be there."""
    from billing.schema import metadata

    found: list[str] = []
    with database.read() as conn:
        for table in metadata.sorted_tables:
            found += [str(tuple(row)) for row in conn.execute(select(table))]
    return "\n".join(found)
