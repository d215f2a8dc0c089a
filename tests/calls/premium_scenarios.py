"""All scenarios of the premium-rate call (domain D1, D2, D8-D12, D14)."""

from __future__ import annotations

from datetime import timedelta

from argon2 import PasswordHasher
from sqlalchemy import update

from billing.premium.schema import consultants, owner_approvals, owners, premium_services, providers
from callflows.scripted import Event, HangsUp, IsHungUp, hears, presses, talks_to, waits
from tests.calls.premium_world import CREDIT, Premiere, PremiumWorld, texts

WELCOME, BILLED = "premium_welcome", "premium_billed"
PRICE = ("premium_price_minute", "premium_by_minute")
TERMS = (WELCOME, *PRICE, BILLED)
ACCEPT, KEY = "premium_accept", "premium_accept_key"
CONNECTING = "premium_connecting"
COST = ("premium_cost_minutes", "premium_goodbye")


def asked(*before: str, key: str) -> list[Event]:
    """The acceptance is asked for, and answered with `key`."""
    return [hears(*before, ACCEPT), hears(KEY), presses(key)]


def taken(*before: str, key: str) -> list[Event]:
    """... with the digit that was named."""
    return [*asked(*before, key=key), hears("premium_accepted")]


ACCEPTED = [hears(*TERMS), *taken(key="7")]
# Menu, poem, menu, last words: 80 seconds of content.
CONTENT = [
    hears("said"),
    presses("1"),
    hears("said"),
    presses(""),
    hears("said"),
    presses("2"),
    hears("said"),
]
POEM_FOR_EVER = [hears("said"), presses("1"), hears("said"), presses("")]
END = [hears(*COST), IsHungUp()]


def refusal(*keys: str) -> list[Event]:
    """All that this caller hears."""
    return [hears(*keys), IsHungUp()]


def block(by: str):
    return lambda world: world.owners.block(world.line.id, by)


def suspend_service(world: PremiumWorld) -> None:
    world.sql(update(premium_services).values(status="suspended"))


def suspend_provider(world: PremiumWorld) -> None:
    world.sql(update(providers).values(status="suspended"))


def withdraw(world: PremiumWorld) -> None:
    world.sql(update(premium_services).values(status="withdrawn"))


def busy_line(world: PremiumWorld) -> None:
    """The line has two calls already."""
    for serial in range(2):
        call = f"00000000-0000-4000-8000-00000000010{serial}"
        tariffs = world.premium.prices.announced(world.service, world.clock.now())
        now = world.clock.now()
        consent = world.consents.accept(
            call,
            world.line.id,
            world.service,
            1,
            tariffs,
            "fa",
            [["x", "fa", {}]],
            "1",
            "1",
            now,
            now,
        )
        world.charging.begin(call, consent, world.service, world.line.id, None, world.line.number)


def credit_of(number: str):
    """That line has credit, too."""

    def arrange(world: PremiumWorld) -> None:
        line = world.owners.line_of(number)
        assert line is not None
        now = world.clock.now()
        world.database.write(lambda conn: world.credit.set_standing(conn, line.id, CREDIT, now))

    return arrange


def greeted(world: PremiumWorld) -> None:
    world.owners.set_greeting(world.line.id, "greetings/sara.wav")


def born_today(world: PremiumWorld) -> None:
    # 2026-11-21 is the 30th of Aban, the eighth month, 1405.
    world.owners.set_birthday(world.line.id, "0830")


PIN = "40961738"


def with_pin(world: PremiumWorld) -> None:
    """The owner has set a PIN."""
    hashed = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PIN)
    world.add(owners, line=world.line.id, pin_hash=hashed, pin_set_at=world.clock.now())


def asks_for_pin(world: PremiumWorld) -> None:
    """... and wants it asked for in each premium call from the line."""
    with_pin(world)
    world.owners.set_authentication(world.line.id, "pin")


def approved(ceiling: int):
    """The owner has approved the service, up to so many rials."""

    def arrange(world: PremiumWorld) -> None:
        now = world.clock.now()
        world.add(
            owner_approvals,
            line=world.line.id,
            service=world.service,
            ceiling=ceiling,
            granted_at=now,
            valid_until=now + timedelta(days=1),
            via="sms",
        )

    return arrange


FIXED_PRICE = {"tariffs": [{"from": "2026-01-01", "model": "per_call", "price": 20_000}]}
SATURDAY_EVENING = {"hours": [{"days": ["saturday"], "from": "18:00", "to": "22:00"}]}
SUNDAYS = {"hours": [{"days": ["sunday"], "from": "08:00", "to": "12:00"}]}
WEDNESDAYS = {"hours": [{"days": ["wednesday"], "from": "08:30", "to": "12:00"}]}
PEAK = {
    "tariffs": [
        {
            "from": "2026-01-01",
            "model": "per_minute",
            "price": 6000,
            "bands": [{"from": "15:31", "to": "20:00", "price": 12_000}],
        }
    ]
}

ADVICE = {
    "content": {
        "consultants": {
            "order": "ring_order",
            "list": [
                {"code": "ahmadi", "number": "02188770001"},
                {"code": "rezaei", "number": "02188770002"},
            ],
        }
    }
}


def staff(world: PremiumWorld) -> None:
    """The service's consultants, as an approval enters them."""
    for place, code in enumerate(("ahmadi", "rezaei"), start=1):
        number = f"+98218877000{place}"
        world.add(consultants, service=world.service, code=code, number=number, place=place)


SCENARIOS = [
    # -- from the price to what it cost
    Premiere(
        "price, digit, content, what it cost",
        [*ACCEPTED, hears(CONNECTING), *CONTENT, *END],
        costs=12_000,
        accepted=True,
    ),
    Premiere(
        "a call of fixed price",
        [
            hears(WELCOME, "premium_price_call", BILLED),
            *taken(key="7"),
            hears(CONNECTING),
            *CONTENT,
            hears("premium_cost_call", "premium_goodbye"),
            IsHungUp(),
        ],
        service=FIXED_PRICE,
        costs=20_000,
        accepted=True,
    ),
    Premiere(
        "the provider's conditions are heard",
        [
            hears(WELCOME, *PRICE, "premium_conditions", BILLED),
            *taken(key="7"),
            hears(CONNECTING),
            *CONTENT,
            *END,
        ],
        service={"conditions": texts("conditions")},
        costs=12_000,
        accepted=True,
    ),
    Premiere(
        "a price that rises within the call is announced and charged",
        [
            hears(WELCOME, *PRICE, "premium_price_minute_from", BILLED, language="fa"),
            *taken(key="7"),
            hears(CONNECTING),
            *CONTENT,
            *END,
        ],
        service=PEAK,
        # The second minute begins in the peak.
        costs=18_000,
        accepted=True,
    ),
    Premiere(
        "the terms once more, then accepted",
        [
            hears(*TERMS),
            *asked(key="*"),
            hears(*TERMS),
            *taken(key="3"),
            hears(CONNECTING),
            *CONTENT,
            *END,
        ],
        costs=12_000,
        accepted=True,
        counts_tries=True,
    ),
    Premiere(
        "silence, a wrong digit, then the new one",
        [
            hears(*TERMS),
            *asked(key=""),
            *asked("no_input", key="4"),
            *taken("premium_wrong_key", key="3"),
            hears(CONNECTING),
            *CONTENT,
            *END,
        ],
        costs=12_000,
        accepted=True,
        counts_tries=True,
    ),
    Premiere(
        "the digit that was named before is not the one that is named now",
        [
            hears(*TERMS),
            *asked(key="4"),
            *asked("premium_wrong_key", key="7"),
            *asked("premium_wrong_key", key="7"),
            hears("premium_not_accepted"),
            IsHungUp(),
        ],
        refused="not_accepted",
        counts_tries=True,
    ),
    Premiere(
        "who presses on has accepted nothing, even with the right digit",
        [
            hears(*TERMS),
            *taken(key="7"),
            presses("7"),
            *taken("premium_many_keys", key="3"),
            presses("5"),
            *taken("premium_many_keys", key="1"),
            presses("1"),
            hears("premium_not_accepted"),
            IsHungUp(),
        ],
        refused="not_accepted",
        counts_tries=True,
        timed=True,
    ),
    Premiere(
        "nobody presses anything: not accepted",
        [
            hears(*TERMS),
            *asked(key=""),
            *asked("no_input", key=""),
            *asked("no_input", key=""),
            hears("premium_not_accepted"),
            IsHungUp(),
        ],
        refused="not_accepted",
        counts_tries=True,
    ),
    Premiere(
        "the terms for ever: not accepted",
        [
            *[step for _ in range(5) for step in (hears(*TERMS), *asked(key="*"))],
            hears("premium_not_accepted"),
            IsHungUp(),
        ],
        draws="77777",
        refused="not_accepted",
        counts_tries=True,
    ),
    # -- the money
    Premiere(
        "the credit is exactly the price",
        [*ACCEPTED, hears(CONNECTING), *CONTENT, *END],
        credit=12_000,
        costs=12_000,
        accepted=True,
    ),
    Premiere(
        "the credit ends in the content: no prompt is cut, why it ended, what it cost",
        [
            *ACCEPTED,
            hears(CONNECTING),
            *POEM_FOR_EVER,
            # 40 seconds of the minute are gone: the menu would end with it, the poem after it.
            hears("said"),
            presses("1"),
            hears("premium_credit_ended", *COST),
            IsHungUp(),
        ],
        credit=6000,
        costs=6000,
        accepted=True,
        counts_tries=True,
        timed=True,
    ),
    Premiere(
        "no credit at all: how to ask for it, before a long announcement",
        refusal("premium_no_credit"),
        credit=0,
        refused="no_credit",
    ),
    Premiere(
        "one rial too little",
        refusal("premium_no_credit"),
        credit=5_999,
        refused="no_credit",
    ),
    Premiere(
        "the credit goes elsewhere while the price is read out",
        [
            hears(*TERMS),
            *taken(key="7"),
            hears("premium_no_credit"),
            IsHungUp(),
        ],
        during={BILLED: lambda world: world.set_credit(0)},
        accepted=True,
        refused="no_credit",
    ),
    # -- consultants
    Premiere(
        "a consultant: ringing costs nothing, talking does",
        [
            *ACCEPTED,
            hears("consulting_connecting"),
            talks_to("ahmadi", by="ahmadi", seconds=80, rings_s=20),
            *END,
        ],
        service=ADVICE,
        arrange=staff,
        costs=12_000,
        accepted=True,
        counts_tries=True,
    ),
    Premiere(
        "the first consultant does not answer, the second does",
        [
            *ACCEPTED,
            hears("consulting_connecting"),
            talks_to("ahmadi"),
            talks_to("rezaei", by="rezaei", seconds=50),
            *END,
        ],
        service=ADVICE,
        arrange=staff,
        costs=6000,
        accepted=True,
        counts_tries=True,
    ),
    Premiere(
        "the credit ends the talk, to the second",
        [
            *ACCEPTED,
            hears("consulting_connecting"),
            talks_to("ahmadi", by="ahmadi", seconds=500),
            hears("premium_credit_ended", *COST),
            IsHungUp(),
        ],
        service=ADVICE,
        arrange=staff,
        credit=12_000,
        costs=12_000,
        accepted=True,
        counts_tries=True,
    ),
    Premiere(
        "the caller hangs up in the talk",
        [
            *ACCEPTED,
            hears("consulting_connecting"),
            talks_to("ahmadi", by="ahmadi", seconds=61, caller_ends=True),
        ],
        service=ADVICE,
        arrange=staff,
        outcome="caller_gone",
        costs=12_000,
        accepted=True,
        counts_tries=True,
    ),
    Premiere(
        "no consultant works at this hour",
        [
            *ACCEPTED,
            hears("consulting_closed", "premium_cost_nothing", "premium_farewell"),
            IsHungUp(),
        ],
        service=ADVICE,
        accepted=True,
    ),
    # -- who is greeted
    Premiere(
        "a returning caller by name",
        [hears("premium_greeting", *TERMS), *taken(key="7"), hears(CONNECTING), *CONTENT, *END],
        arrange=greeted,
        calls_before=3,
        costs=12_000,
        accepted=True,
    ),
    Premiere(
        "nobody is greeted by name at the first call",
        [*ACCEPTED, hears(CONNECTING), HangsUp()],
        arrange=greeted,
        outcome="caller_gone",
        accepted=True,
    ),
    Premiere(
        "a birthday, by the calendar of the line's language",
        [hears("premium_birthday", *TERMS), HangsUp()],
        arrange=born_today,
        outcome="caller_gone",
    ),
    Premiere(
        "in the language of the line",
        [hears(*TERMS, language="ru"), HangsUp()],
        caller="02144556677",
        arrange=credit_of("+982144556677"),
        outcome="caller_gone",
    ),
    # -- refusals, each in its own words
    Premiere(
        "nothing has this number",
        refusal("premium_no_service"),
        dialled="9099999999",
        refused="no_service",
    ),
    Premiere("withdrawn", refusal("premium_no_service"), arrange=withdraw, refused="no_service"),
    Premiere(
        "suspended", refusal("premium_suspended"), arrange=suspend_service, refused="suspended"
    ),
    Premiere(
        "its provider is suspended",
        refusal("premium_suspended"),
        arrange=suspend_provider,
        refused="suspended",
    ),
    Premiere(
        "the number is withheld",
        refusal("premium_withheld"),
        caller="anonymous",
        refused="withheld",
    ),
    Premiere(
        "a number that no trusted trunk asserts is nobody's",
        refusal("premium_withheld"),
        identity=None,
        refused="withheld",
    ),
    Premiere(
        "a made-up identity is none",
        refusal("premium_withheld"),
        identity="asserted,please",
        refused="withheld",
    ),
    Premiere(
        "a number from abroad",
        refusal("premium_foreign"),
        caller="+4930901820",
        refused="foreign",
    ),
    Premiere(
        "a line of another operator",
        refusal("premium_unknown_line"),
        caller="02199999999",
        refused="unknown_line",
    ),
    Premiere(
        "blocked by its owner",
        refusal("premium_blocked_by_owner"),
        arrange=block("owner"),
        refused="blocked_by_owner",
    ),
    Premiere(
        "blocked by the operator",
        refusal("premium_blocked_by_operator"),
        arrange=block("operator"),
        refused="blocked_by_operator",
    ),
    Premiere(
        "not in this region",
        refusal("premium_region"),
        service={"regions": ["031", "mobile"]},
        refused="region",
    ),
    Premiere(
        "closed, opens this evening",
        refusal("premium_closed_today"),
        service=SATURDAY_EVENING,
        refused="closed",
    ),
    Premiere(
        "closed, opens tomorrow",
        refusal("premium_closed_tomorrow"),
        service=SUNDAYS,
        refused="closed",
    ),
    Premiere(
        "closed, opens on Wednesday",
        refusal("premium_closed_until"),
        service=WEDNESDAYS,
        refused="closed",
    ),
    Premiere(
        "too many calls from this line at a time",
        refusal("premium_guarded"),
        arrange=busy_line,
        refused="guarded",
    ),
    # -- the owner
    Premiere(
        "the owner's approval is asked for, and does not come",
        [
            hears(*TERMS),
            *taken(key="7"),
            hears("owner_approval_ask"),
            presses("1"),
            hears("owner_approval_wait"),
            waits(500),
            hears("premium_approval_needed"),
            IsHungUp(),
        ],
        service={"authentication": "approval"},
        accepted=True,
        refused="owner_no_answer",
        counts_tries=True,
    ),
    Premiere(
        "by the owner's PIN",
        [
            *ACCEPTED,
            hears("owner_ask_pin"),
            presses(f"{PIN}#"),
            hears(CONNECTING),
            *CONTENT,
            *END,
        ],
        service={"authentication": "pin"},
        arrange=with_pin,
        costs=12_000,
        accepted=True,
    ),
    Premiere(
        "the line itself asks for the PIN, which is wrong",
        [
            *ACCEPTED,
            hears("owner_ask_pin"),
            presses("1111#"),
            hears("owner_pin_wrong", "owner_ask_pin"),
            presses("2222#"),
            hears("owner_pin_wrong", "owner_ask_pin"),
            presses("3333#"),
            hears("owner_pin_locked", "premium_not_authenticated"),
            IsHungUp(),
        ],
        arrange=asks_for_pin,
        accepted=True,
        refused="owner_locked",
        counts_tries=True,
    ),
    Premiere(
        "with the owner's approval, up to its ceiling",
        [*ACCEPTED, hears(CONNECTING), *CONTENT, *END],
        service={"authentication": "approval"},
        arrange=approved(12_000),
        costs=12_000,
        accepted=True,
    ),
    Premiere(
        "the approval is used up in the content, the credit is not",
        [
            *ACCEPTED,
            hears(CONNECTING),
            *POEM_FOR_EVER,
            hears("said"),
            presses("1"),
            hears("premium_approval_ended", *COST),
            IsHungUp(),
        ],
        service={"authentication": "approval"},
        arrange=approved(6000),
        costs=6000,
        accepted=True,
        counts_tries=True,
        timed=True,
    ),
    Premiere(
        "an approval that does not reach for a beginning",
        [*ACCEPTED, hears("premium_approval_used_up"), IsHungUp()],
        service={"authentication": "approval"},
        arrange=approved(5999),
        accepted=True,
        refused="approval_used_up",
    ),
    Premiere(
        "the owner need not be asked",
        [
            hears(*TERMS),
            *taken(key="7"),
            hears("owner_approval_ask"),
            presses("*"),
            hears("premium_not_authenticated"),
            IsHungUp(),
        ],
        service={"authentication": "approval"},
        accepted=True,
        refused="owner_declined",
    ),
    Premiere(
        "no mobile of the owner to send a code to",
        [
            hears(*TERMS),
            *taken(key="7"),
            hears("premium_owner_unreachable"),
            IsHungUp(),
        ],
        caller="02166554433",
        arrange=credit_of("+982166554433"),
        service={"authentication": "code"},
        accepted=True,
        refused="owner_no_mobile",
    ),
]
