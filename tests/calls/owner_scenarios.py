"""The calls of lines' owners: who calls, what is heard and pressed, what is set afterwards.

`{code}` in what is pressed is the newest code by SMS, `{number}` the one of the newest request.
"""

from __future__ import annotations

import atexit
import functools
import io
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import insert, select

from billing.clock import FixedClock
from billing.database import Database
from billing.importing import import_lines
from billing.premium.credit_requests import CreditRequests
from billing.premium.schema import approval_requests
from billing.schema import sms_counters
from callflows.call import Digits, Prompt
from callflows.connection import MUSIC
from callflows.premium.desk import Premium
from callflows.scripted import (
    Event,
    IsHungUp,
    IsTransferred,
    Presses,
    hears,
    presses,
    says,
)
from tests.calls.premium_world import TEHRAN, Line, Premiere, PremiumWorld

FIXED, REGISTERED, LONELY = "02188776655", "09121112233", "02144556677"
PIN, NEW_PIN = "4096", "9275"
CALL_ID = "00000000-0000-4000-8000-000000000001"


@dataclass(frozen=True)
class OwnerCall(Premiere):
    """A call to the owner's number; `after` looks at what is set then."""

    dialled: str = "2021"
    after: Callable[[OwnerWorld], bool] = lambda _: True


@functools.cache
def migrated() -> Path:
    """A migrated database, made once: there are hundreds of worlds."""
    path = Path(tempfile.mkdtemp(prefix="callflows-owner-")) / "migrated.db"
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


class OwnerWorld(PremiumWorld):
    """A premium world whose owners may ask for credit."""

    def __init__(self, folder: Path, premiere: Premiere, clock: FixedClock | None = None) -> None:
        shutil.copy(migrated(), folder / "calls.db")
        super().__init__(folder, premiere, clock)
        requests = CreditRequests(self.database, self.clock, self.credit, zone=TEHRAN)
        self.premium: Premium = replace(self.premium, credit_requests=requests)
        self.services = replace(self.services, premium=self.premium)
        self.secrets: set[str] = set()

    def filled_in(self, keys: str) -> str:
        """Keys with the code or number of the newest message in them."""
        if "{code}" in keys:
            codes = [payload for kind, payload in self.orders() if kind == "sms.owner_code"]
            message = self.premium.codes.message(codes[-1]["code"])
            code = message.code if message else "000000"
            self.secrets.add(code)
            return keys.replace("{code}", code)
        if "{wrong}" in keys:
            codes = [payload for kind, payload in self.orders() if kind == "sms.owner_code"]
            message = self.premium.codes.message(codes[-1]["code"])
            assert message is not None
            return keys.replace("{wrong}", f"{(int(message.code) + 1) % 10**6:06d}")
        if "{number}" in keys:
            newest = select(approval_requests.c.number).order_by(approval_requests.c.id.desc())
            with self.database.read() as conn:
                return keys.replace("{number}", conn.scalars(newest.limit(1)).one())
        return keys

    def pin(self, pin: str = PIN) -> None:
        """Set the owner's PIN, as in an earlier call."""
        premium, line = self.premium, self.line
        premium.codes.send("earlier:1:code", line, "pin", "earlier", "fa")
        payload = self.orders()[-1][1]
        message = premium.codes.message(payload["code"])
        assert message is not None
        assert premium.codes.check(line.id, "earlier", "pin", message.code) == "ok"
        premium.pins.set(line.id, pin, "earlier")

    def ask(self) -> int:
        """A request from the line that waits for its owner; its row id."""
        service = self.service
        return self.premium.approvals.request(
            "earlier:4:approval", self.line, service, "earlier"
        ).id

    def approve(self) -> None:
        """An approval that holds."""
        request = self.ask()
        approvals = self.premium.approvals
        assert approvals.answer_by_phone(self.line.id, request, True, "phone") == "approved"

    def another_line(self) -> None:
        """A second line with the same registered mobile."""
        row = f"02177665544,fixed,Ali,Karimi,fa,{REGISTERED},,,"
        header = "number,kind,first_name,last_name,language,mobile,email,address,postal_code"
        assert not import_lines(self.database, io.StringIO(f"{header}\n{row}")).rejected

    def messages_used_up(self) -> None:
        """No further SMS to the owner's mobile in this hour."""
        local = self.clock.now().astimezone(TEHRAN)
        for scope, span, ceiling in (
            ("hour", f"{local.date()}T{local.hour:02d}", 4),
            ("destination", str(local.date()), 5),
        ):
            row = {"scope": scope, "key": "+989121112233", "span": span}
            self.sql(insert(sms_counters).values(**row, count=ceiling, ceiling=ceiling))


class OwnerLine(Line):
    """A caller who reads the code out of the SMS that has come meanwhile."""

    def collect(self, prompt: Prompt, digits: Digits) -> str:
        """As the script says, with the code filled in."""
        place = self.position + 1
        if place < len(self.script):
            answer = self.script[place]
            if isinstance(answer, Presses):
                assert isinstance(self.world, OwnerWorld)
                self.script[place] = Presses(self.world.filled_in(answer.keys))
        return super().collect(prompt, digits)


def entering(pin: str = PIN) -> list[Event]:
    """By PIN."""
    return [hears("owner_welcome", "owner_ask_pin"), presses(f"{pin}#")]


SENT = ("owner_code_sent", "owner_ask_code", *["said"] * len(MUSIC))
BY_CODE: list[Event] = [hears("owner_welcome", *SENT), presses("{code}")]
MENU = hears("owner_menu")
END: list[Event] = [presses("*"), hears("goodbye"), IsHungUp()]
CARE: list[Event] = [IsTransferred("2020", "care")]


def owner(world: OwnerWorld) -> object:
    """What the owner of the line has set."""
    return world.owners.view(world.line.id)


def approvals_of(world: OwnerWorld) -> list[str]:
    """Via what the line's approvals were given."""
    return [each.via for each in world.premium.approvals.of_line(world.line.id)]


def ceiling(world: OwnerWorld) -> int:
    """The line's credit of this month."""
    return world.credit.view(world.line.id).ceiling


def scenario(title: str, *script: Event | Iterable[Event], **more: object) -> OwnerCall:
    """One call; lists in the script are spread out."""
    steps: list[Event] = []
    for step in script:
        if isinstance(step, Iterable):
            steps.extend(step)
        else:
            steps.append(step)
    return OwnerCall(title, steps, **more)  # type: ignore[arg-type]


SCENARIOS = [
    scenario(
        "comes in by PIN and gets the credit that was asked for",
        entering(), MENU, presses("1"),
        hears("owner_credit_state", "owner_ask_credit"), presses("400000#"),
        hears("owner_confirm_credit"), presses("1"),
        hears("owner_credit_granted", "owner_menu"), END,
        arrange=OwnerWorld.pin,
        after=lambda world: ceiling(world) == 400_000,
    ),
    scenario(
        "asks for more than a newcomer gets, keyed in anew once",
        entering(), MENU, presses("1"),
        hears("owner_credit_state", "owner_ask_credit"), presses("5#"),
        hears("owner_confirm_credit"), presses("2"),
        hears("owner_ask_credit"), presses("900000#"),
        hears("owner_confirm_credit"), presses("1"),
        hears("owner_credit_partly", "owner_menu"), END,
        arrange=OwnerWorld.pin,
        after=lambda world: ceiling(world) == 500_000,
    ),
    scenario(
        "comes in by code and sets a PIN",
        BY_CODE, MENU, presses("3"),
        hears(*SENT), presses("{code}"),
        hears("owner_new_pin"), presses(f"{NEW_PIN}#"),
        hears("owner_new_pin_again"), presses(f"{NEW_PIN}#"),
        hears("owner_pin_set", "owner_menu"), END,
        after=lambda world: world.premium.pins.check(world.line.id, NEW_PIN).ok,
    ),
    scenario(
        "two PINs that differ, one that is simple, and going back",
        BY_CODE, MENU, presses("3"),
        hears(*SENT), presses("{code}"),
        hears("owner_new_pin"), presses(f"{NEW_PIN}#"),
        hears("owner_new_pin_again"), presses("9276#"),
        hears("owner_pins_differ", "owner_new_pin"), presses("1234#"),
        hears("owner_new_pin_again"), presses("1234#"),
        hears("owner_pin_simple", "owner_new_pin"), presses("*"),
        MENU, END,
        after=lambda world: not owner(world).has_pin,
    ),
    scenario(
        "a wrong PIN is asked for again",
        entering("1111"), hears("owner_pin_wrong", "owner_ask_pin"), presses("99#"),
        hears("owner_invalid_pin", "owner_ask_pin"), presses(f"{PIN}#"), MENU, END,
        arrange=OwnerWorld.pin,
        counts_tries=True,
    ),
    scenario(
        "three wrong PINs lock; a code opens",
        entering("1111"), hears("owner_pin_wrong", "owner_ask_pin"), presses("1111#"),
        hears("owner_pin_wrong", "owner_ask_pin"), presses("1111#"),
        hears("owner_pin_locked", "owner_code_instead"), presses("1"),
        hears(*SENT), presses("{code}"), MENU, END,
        arrange=OwnerWorld.pin,
        after=lambda world: world.premium.pins.check(world.line.id, PIN).result == "locked",
        counts_tries=True,
    ),
    scenario(
        "the PIN is forgotten; a code opens",
        entering("*"), hears("owner_code_instead"), presses("1"),
        hears(*SENT), presses("{code}"), MENU, END,
        arrange=OwnerWorld.pin,
    ),
    scenario(
        "the PIN is forgotten, and no code is wanted",
        entering("*"), hears("owner_code_instead"), presses("*"),
        hears("owner_not_proved"), IsHungUp(),
        arrange=OwnerWorld.pin,
    ),
    scenario(
        "a wrong code, then the right one",
        hears("owner_welcome", *SENT), presses("{wrong}"),
        hears("owner_code_wrong", *SENT[1:]), presses("{code}"), MENU, END,
    ),
    scenario(
        "five wrong codes, a second code, and it is right",
        hears("owner_welcome", *SENT), presses("{wrong}"),
        *[step for _ in range(4)
          for step in (hears("owner_code_wrong", *SENT[1:]), presses("{wrong}"))],
        hears("owner_code_expired", "owner_code_again"), presses("1"),
        hears(*SENT), presses("{code}"), MENU, END,
        counts_tries=True,
    ),
    scenario(
        "no SMS has come; the second one neither",
        hears("owner_welcome", *SENT), presses("*"),
        hears("owner_code_again"), presses("1"),
        hears(*SENT), presses("*"), hears("owner_not_proved"), IsHungUp(),
    ),
    scenario(
        "no further SMS may be sent",
        hears("owner_welcome", "owner_sms_limited", "owner_not_proved"), IsHungUp(),
        arrange=OwnerWorld.messages_used_up,
    ),
    scenario(
        "approves a request, then revokes it",
        entering(), MENU, presses("2"),
        hears("owner_pending", "owner_pending_keys"), presses("1"),
        hears("owner_approved", "owner_approval", "owner_approval_keys"), presses("1"),
        hears("owner_revoked", "owner_nothing_more", "owner_menu"), END,
        arrange=lambda world: (world.pin(), world.ask()),
        after=lambda world: approvals_of(world) == [],
    ),
    scenario(
        "refuses a request",
        entering(), MENU, presses("2"),
        hears("owner_pending", "owner_pending_keys"), presses("2"),
        hears("owner_refused", "owner_nothing_more", "owner_menu"), END,
        arrange=lambda world: (world.pin(), world.ask()),
        after=lambda world: approvals_of(world) == [],
    ),
    scenario(
        "hears what holds and leaves it",
        entering(), MENU, presses("2"),
        hears("owner_approval", "owner_approval_keys"), presses("3"),
        hears("owner_nothing_more", "owner_menu"), presses("2"),
        hears("owner_approval", "owner_approval_keys"), presses("*"), MENU, END,
        arrange=lambda world: (world.pin(), world.approve()),
        after=lambda world: approvals_of(world) == ["phone"],
    ),
    scenario(
        "each call is to need the PIN",
        entering(), MENU, presses("4"),
        hears("owner_mode_none", "owner_modes"), presses("2"),
        hears("owner_saved", "owner_menu"), END,
        arrange=OwnerWorld.pin,
        after=lambda world: owner(world).authentication == "pin",
    ),
    scenario(
        "no PIN is set that each call could need",
        BY_CODE, MENU, presses("4"),
        hears("owner_mode_none", "owner_modes"), presses("2"),
        hears("owner_pin_first", "owner_menu"), presses("4"),
        hears("owner_mode_none", "owner_modes"), presses("4"),
        hears("owner_saved", "owner_menu"), presses("4"),
        hears("owner_mode_approval", "owner_modes"), presses("*"), MENU, END,
        after=lambda world: owner(world).authentication == "approval",
    ),
    scenario(
        "blocks, and unblocks again",
        entering(), MENU, presses("5"),
        hears("owner_is_open"), presses("1"),
        hears("owner_saved", "owner_menu"), presses("5"),
        hears("owner_is_blocked"), presses("1"),
        hears("owner_saved", "owner_menu"), presses("5"),
        hears("owner_is_open"), presses("*"), MENU, END,
        arrange=OwnerWorld.pin,
        after=lambda world: owner(world).blocked_by is None,
    ),
    scenario(
        "what the operator has blocked stays blocked",
        entering(), MENU, presses("5"),
        hears("owner_operator_blocked", "owner_menu"), END,
        arrange=lambda world: (world.pin(), world.owners.block(world.line.id, "operator")),
        after=lambda world: owner(world).blocked_by == "operator",
    ),
    scenario(
        "wants an SMS about each charge",
        entering(), MENU, presses("6"),
        hears("owner_sms_is_off"), presses("1"),
        hears("owner_saved", "owner_menu"), presses("6"),
        hears("owner_sms_is_on"), presses("*"), MENU, END,
        arrange=OwnerWorld.pin,
        after=lambda world: owner(world).charge_sms,
    ),
    scenario(
        "records the name and gives a birthday",
        entering(), MENU, presses("7"),
        hears("owner_greeting_menu"), presses("1"),
        hears("owner_say_name"), says(f"greetings/1-{CALL_ID}-5.wav", 2.0),
        hears("owner_name_heard"), presses("1"),
        hears("owner_saved", "owner_menu"), presses("7"),
        hears("owner_greeting_menu"), presses("3"),
        hears("owner_ask_birthday"), presses("1399"),
        hears("owner_invalid_birthday", "owner_ask_birthday"), presses("0715"),
        hears("owner_saved", "owner_greeting_menu"), presses("*"), MENU, END,
        arrange=OwnerWorld.pin,
        after=lambda world: (owner(world).greeting, owner(world).birthday)
        == (f"greetings/1-{CALL_ID}-5.wav", "0715"),
    ),
    scenario(
        "says no name, and forgets name and birthday",
        entering(), MENU, presses("7"),
        hears("owner_greeting_menu"), presses("1"),
        hears("owner_say_name"), says(f"greetings/1-{CALL_ID}-5.wav", 0),
        hears("owner_nothing_heard", "owner_greeting_menu"), presses("2"),
        hears("owner_saved", "owner_menu"), presses("7"),
        hears("owner_greeting_menu"), presses("4"),
        hears("owner_saved", "owner_menu"), END,
        arrange=lambda world: (
            world.pin(),
            world.owners.set_greeting(world.line.id, "greetings/old.wav"),
            world.owners.set_birthday(world.line.id, "0101"),
        ),
        after=lambda world: (owner(world).greeting, owner(world).birthday) == (None, None),
    ),
    scenario(
        "calls from the registered mobile",
        hears("owner_welcome", "owner_ask_pin"), presses(f"{PIN}#"), MENU, END,
        arrange=OwnerWorld.pin,
        caller=REGISTERED,
    ),
    scenario(
        "calls from a mobile that is registered for two lines",
        hears("owner_welcome", "owner_line_option", "owner_line_option"), presses("2"),
        hears("owner_ask_pin"), presses(f"{PIN}#"), MENU, END,
        arrange=lambda world: (world.pin(), world.another_line()),
        caller=REGISTERED,
    ),
    scenario(
        "an untrusted trunk proves no number",
        hears("owner_withheld"), IsHungUp(),
        arrange=OwnerWorld.pin,
        identity=None,
    ),
    scenario(
        "a made-up word proves no number",
        hears("owner_withheld"), IsHungUp(),
        arrange=OwnerWorld.pin,
        identity="verified",
    ),
    scenario(
        "a trunk whose From is trusted proves it",
        entering(), MENU, END,
        arrange=OwnerWorld.pin,
        identity="from",
    ),
    scenario(
        "a number that owns nothing",
        hears("owner_unknown_line"), IsHungUp(),
        caller="09190000000",
    ),
    scenario(
        "neither PIN nor mobile: a person helps",
        hears("owner_welcome", "owner_no_mobile", "connecting_care"), CARE,
        caller=LONELY, outcome="transferred",
    ),
    scenario(
        "wrong keys in the menu bring a person",
        entering(), MENU, presses("8"), hears("invalid_key", "owner_menu"), presses("#"),
        hears("invalid_key", "owner_menu"), presses("8"),
        hears("giving_up_invalid", "connecting_care"), CARE,
        arrange=OwnerWorld.pin, outcome="transferred", counts_tries=True,
    ),
    scenario(
        "silence ends the call",
        entering(), MENU, presses(""), hears("no_input", "owner_menu"), presses(""),
        hears("no_input", "owner_menu"), presses(""), hears("giving_up_no_input"), IsHungUp(),
        arrange=OwnerWorld.pin, counts_tries=True,
    ),
    scenario(
        "asks for care",
        entering(), MENU, presses("0"), hears("connecting_care"), CARE,
        arrange=OwnerWorld.pin, outcome="transferred",
    ),
    scenario(
        "a flood of digits is no PIN and no amount",
        entering("1" * 32), hears("owner_invalid_pin", "owner_ask_pin"), presses(f"{PIN}#"),
        MENU, presses("1"), hears("owner_credit_state", "owner_ask_credit"), presses("9" * 16),
        hears("owner_invalid_amount", "owner_ask_credit"), presses("*"), MENU, END,
        arrange=OwnerWorld.pin, counts_tries=True,
    ),
]  # fmt: skip
