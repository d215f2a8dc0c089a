"""What the SMS to owners say, in four languages, and what is not sent because it came too late."""

from __future__ import annotations

import re

import pytest

from billing import outbox
from billing.outbox import Job
from billing.premium.owner_sms import OwnerAnswer
from gateways.errors import Permanent
from gateways.sms_parts import segment
from jobs.owner_messages import OwnerMessages
from sounds import load_catalogue, written
from tests.owner_house import MOBILE, OWNER, TEHRAN, OwnerHouse


class Sms:
    """A gateway that keeps what it is given."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []

    def send(self, to: str, text: str, key: str) -> None:
        self.texts.append((to, text))


@pytest.fixture
def house(database, clock) -> OwnerHouse:
    return OwnerHouse(database, clock)


@pytest.fixture
def sms() -> Sms:
    return Sms()


@pytest.fixture
def messages(house, sms) -> OwnerMessages:
    return OwnerMessages(
        house.codes,
        house.notices,
        house.clock,
        load_catalogue(),
        house.links,
        sms=sms,
        link_base="https://pay.example/",
        zone=TEHRAN,
    )


def newest(house: OwnerHouse) -> Job:
    jobs = outbox.claim(house.database, "test", house.clock.now(), 0)
    return jobs[-1]


def deliver(house: OwnerHouse, messages: OwnerMessages, **changes: object) -> None:
    """Send the newest row, its payload changed so."""
    job = newest(house)
    job.payload.update(changes)
    messages.handlers()[job.kind](job)


def answer(house: OwnerHouse, text: str, sender: str = OWNER) -> None:
    assert house.sms.answer(sender, text, f"m-{text}-{sender}") is not None


LANGUAGES = pytest.mark.parametrize("language", ["fa", "ar", "ru", "en"])


@LANGUAGES
def test_code(house, messages, sms, language):
    """Six ASCII digits that can be copied, and how long they hold; one part, to arrive quickly."""
    house.codes.send("call-1:1:code", house.line(), "call", "call-1", language)
    deliver(house, messages)
    ((to, text),) = sms.texts
    assert len(segment(text).parts) == 1
    (code,) = re.findall(r"\b[0-9]{6}\b", text)
    assert to == OWNER
    assert written.numerals("5", language) in text
    assert house.codes.check(house.line().id, "call-1", "call", code) == "ok"


def test_code_that_came_too_late(house, messages, sms):
    """Is not sent: it would open nothing. The reason holds no code."""
    house.codes.send("call-1:1:code", house.line(), "call", "call-1", "fa")
    house.clock.advance(300)
    with pytest.raises(Permanent, match="expired"):
        deliver(house, messages)
    assert sms.texts == []


@LANGUAGES
def test_request(house, messages, sms, language):
    """Who asks (the line), for what, up to how much; the number, and a link that opens the page."""
    request = house.ask()
    deliver(house, messages, language=language)
    ((to, text),) = sms.texts
    assert to == OWNER
    for part in (request.number, written.phone("+982188776655", language)):
        assert part in text
    assert any(name in text for name in ("فالِ حافظ", "فال حافظ", "Гадание", "Divination"))
    (token,) = re.findall(r"https://pay\.example/a/(\S+)", text)
    assert house.approvals.page(token).standing == "open"
    for secret in ("Maryam", "Rezaei", "Yaghoubi", "1415893411"):
        assert secret not in text


def test_request_that_was_answered_before_it_left(house, messages, sms):
    """Is not asked any more."""
    request = house.ask()
    job = newest(house)
    house.approvals.answer_by_phone(house.line().id, request.id, False, "phone")
    with pytest.raises(Permanent, match="over"):
        messages.approval_request(job)
    assert sms.texts == []


@LANGUAGES
def test_approved_and_revoked(house, messages, sms, language):
    """The reply names what is approved and how it is revoked; and that works."""
    request = house.ask()
    answer(house, f"yes {request.number}")
    deliver(house, messages, language=language)
    text = sms.texts[-1][1]
    (approval,) = house.approvals.of_line(house.line().id)
    assert re.search(rf"\b{approval.id}\b", text)
    answer(house, f"stop {approval.id}")
    deliver(house, messages, language=language)
    assert sms.texts[-1][1] != text


@LANGUAGES
def test_list(house, messages, sms, language):
    """One block for each line: its approvals with their numbers, or that there are none."""
    approval = house.granted()
    answer(house, "list")
    deliver(house, messages, language=language)
    lines = sms.texts[-1][1].split("\n")
    assert len(lines) == 3
    assert any(line.startswith(str(approval)) for line in lines)


@LANGUAGES
@pytest.mark.parametrize("reason", ["granted", "lowered", "first", "history", "overdue"])
def test_credit(house, messages, sms, language, reason):
    """What was granted, and why no more."""
    answer(house, "credit 400000", MOBILE)
    deliver(house, messages, language=language, reason=reason)
    assert written.numerals("400,000", language)[:3] in sms.texts[-1][1]


@LANGUAGES
@pytest.mark.parametrize("kind", OwnerAnswer)
def test_every_answer_has_words(house, messages, sms, language, kind):
    """No order stays without a reply that can be made; a repeated message has none."""
    approval = house.granted()
    facts = {
        "request": 1,
        "approval": approval,
        "lines": [house.line().id],
        "line": house.line().id,
        "amount": 1000,
        "reason": "granted",
    }
    job = newest(house)
    job.payload.clear()
    job.payload.update({"to": OWNER, "language": language, "answer": kind.value, **facts})
    if kind is OwnerAnswer.REPEATED:
        with pytest.raises(Permanent):
            messages.reply(job)
        return
    messages.reply(job)
    assert sms.texts[-1][1]


def test_what_is_gone_is_no_endless_retry(house, messages):
    """A row that names nothing that is there fails for good."""
    house.ask()
    job = newest(house)
    job.payload["request"] = 10_000
    with pytest.raises(Permanent):
        messages.approval_request(job)
