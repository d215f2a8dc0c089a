"""A call scenario: who calls, what is heard, what is pressed, what must be true afterwards.

Written once, run at every height: on the flow alone, through the worker over a real socket with
the embedded switch, and on FreeSWITCH.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from callflows.scripted import Event

LINES = """\
number,kind,first_name,last_name,language,mobile,email,address,postal_code
02188776655,fixed,سارا,احمدی,fa,09121112233,sara@example.com,خیابان آزادی ۱۲,1411713117
02144556677,fixed,Иван,Петров,ru,,,улица Мира 5,1411713118
02133221100,fixed,ليلى,حسن,ar,,,شارع السلام ٧,1411713119
02155667788,fixed,Mary,Major,en,,,12 Long Lane,1411713120
02166554433,fixed,نادر,کریمی,fa,,,خیابان بهار ۳,1411713121
09123456789,mobile,رضا,مرادی,fa,,,کوچه گل ۸,1411713122
09351112233,mobile,John,Roe,en,,,9 Short Street,1411713123
"""

BILLS = """\
number,period,year,amount,bill_id,payment_id,due_date
02188776655,4,1405,129000,,,2026-12-05
02144556677,3,1405,955000,,,2026-10-01
02144556677,4,1405,310000,,,2026-12-05
02133221100,4,1405,999999999000,,,2026-12-05
02155667788,4,1405,17000,,,2026-11-20
09123456789,4,1405,250000,,,2026-12-05
"""


@dataclass(frozen=True)
class Sent:
    """An outbox row that must be there after the call: kind, destination (E.164), with names."""

    kind: str
    to: str
    names: bool | None = None


@dataclass(frozen=True)
class Meanwhile:
    """A payment that is posted while the caller hears a phrase for the first time.

    Of the oldest open bill of a line (as dialled): `amount` rials, or all that is to pay.
    """

    phrase: str
    number: str
    amount: int | None = None


@dataclass(frozen=True)
class Scenario:
    """One call; `paid` are lines (as dialled) whose bill is paid before the call starts.

    `more_bills` are rows loaded besides BILLS, `limits` are those on messages that differ from
    the world's.
    """

    title: str
    script: Sequence[Event]
    caller: str = "02188776655"
    dialled: str = "2000"
    outcome: str = "completed"
    sent: Sequence[Sent] = ()
    paid: Sequence[str] = ()
    sms_used: dict[str, int] = field(default_factory=dict)
    meanwhile: Sequence[Meanwhile] = ()
    more_bills: Sequence[str] = ()
    limits: dict[str, int] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    # Whether the conversation depends on the number of tries so far, which another worker that
    # takes the call over counts anew.
    counts_tries: bool = False
