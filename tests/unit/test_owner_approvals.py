"""Approvals: asked for, answered once whichever way, listed, revoked; replays approve nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from billing.clock import FixedClock
from billing.errors import Limited
from billing.limits import Limits
from billing.links import Links
from billing.premium.approval_calls import ApprovalCalls
from billing.premium.approvals import Terms
from billing.premium.owners import NoMobile
from billing.premium.schema import approval_requests, owner_approvals
from tests.owner_house import (
    FIXED,
    LONELY,
    MOBILE,
    OWNER,
    SECOND,
    TEHRAN,
    OwnerHouse,
)


@pytest.fixture
def house(database, clock) -> OwnerHouse:
    return OwnerHouse(database, clock)


def sms(house: OwnerHouse, text: str, message: str, sender: str = OWNER) -> str | None:
    answer = house.sms.answer(sender, text, message)
    return None if answer is None else answer.value


def valid(house: OwnerHouse, service: int | None = None, category: str = "poetry"):
    return house.approvals.valid(house.line().id, service or house.service, category)


# -- asking ----------------------------------------------------------------------------------------


def test_a_request_goes_to_the_registered_mobile(house):
    """With a number to answer by; once for a key, and once while one is open."""
    request = house.ask()
    assert request.mobile == OWNER
    assert 1000 <= int(request.number) <= 9999
    assert house.ask() == request
    assert house.ask("call-2:4:approval") == request
    assert len(house.sent("sms.approval_request")) == 1
    assert house.approvals.standing(request.id) == "open"


def test_without_a_mobile_nobody_is_asked(house):
    """And the caller is told so."""
    with pytest.raises(NoMobile):
        house.ask(number=LONELY)


def test_limits_hold_for_requests(database, clock):
    """Beyond them nothing is written: no request that nobody could answer."""
    house = OwnerHouse(database, clock, limits=Limits(destination_per_hour=1))
    house.ask()
    with pytest.raises(Limited):
        house.ask("call-2:4:approval", SECOND)
    with database.read() as conn:
        assert len(conn.execute(select(approval_requests.c.id)).all()) == 1


def test_the_outbox_holds_neither_number_nor_token(house):
    """Both are read, and made again, when the SMS is sent."""
    request = house.ask()
    payload = str(house.sent("sms.approval_request"))
    assert request.number not in payload
    assert house.token() not in payload


# -- answering by SMS ------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["YES {}", "yes {}.", "بله {}", "{} نعم", "Да {}", "آری  {}"])
def test_yes(house, clock: FixedClock, text):
    """With the request's number, in four languages: approved for the ceiling and the days."""
    request = house.ask()
    assert sms(house, text.format(request.number), "m1") == "approved"
    assert house.approvals.standing(request.id) == "approved"
    approval = valid(house)
    assert (approval.service, approval.left, approval.via) == ("9091234567", 500_000, "sms")
    assert approval.valid_until == clock.now() + timedelta(days=90)
    assert valid(house, house.other_service) is None


@pytest.mark.parametrize("text", ["NO {}", "نه {}", "لا {}", "нет {}"])
def test_no(house, text):
    """Refused, in four languages; nothing is approved."""
    request = house.ask()
    assert sms(house, text.format(request.number), "m1") == "refused"
    assert house.approvals.standing(request.id) == "refused"
    assert valid(house) is None


def test_delivered_twice(house):
    """The gateway repeats itself: obeyed once, answered once."""
    request = house.ask()
    assert sms(house, f"yes {request.number}", "m1") == "approved"
    assert sms(house, f"yes {request.number}", "m1") == "repeated"
    assert len(house.sent("sms.owner_reply")) == 1
    assert len(house.approvals.of_line(house.line().id)) == 1


def test_replayed_later(house):
    """The same text as a new message, after an answer or a revocation, approves nothing."""
    request = house.ask()
    assert sms(house, f"yes {request.number}", "m1") == "approved"
    approval = valid(house)
    assert sms(house, f"stop {approval.id}", "m2") == "revoked"
    assert sms(house, f"yes {request.number}", "m3") == "over"
    assert valid(house) is None


def test_a_number_is_never_drawn_again_for_a_mobile(house):
    """So an old YES fits no new request: of 60 requests in a row no two bear the same number."""
    numbers = set()
    for serial in range(60):
        request = house.ask(f"call-{serial}:4:approval")
        numbers.add(request.number)
        assert sms(house, f"no {request.number}", f"m{serial}") == "refused"
    assert len(numbers) == 60


def test_yes_needs_its_number(house):
    """YES alone is asked for the number, though only one request is open."""
    request = house.ask()
    assert sms(house, "YES", "m1") == "which_request"
    assert house.approvals.standing(request.id) == "open"


def test_trying_numbers_out(house):
    """Five numbers that no request bears close the open one: then the right one is too late."""
    request = house.ask()
    guesses = [number for number in range(1000, 1010) if str(number) != request.number][:5]
    for serial, guess in enumerate(guesses):
        assert house.approvals.standing(request.id) == "open"
        assert sms(house, f"yes {guess}", f"m{serial}") == "unknown_request"
    assert house.approvals.standing(request.id) == "expired"
    assert sms(house, f"yes {request.number}", "m9") == "over"
    assert valid(house) is None


def test_somebody_elses_yes(house):
    """Another owner's mobile, or one that owns nothing, answers no request of this line."""
    request = house.ask()
    assert sms(house, f"yes {request.number}", "m1", MOBILE) == "unknown_request"
    assert sms(house, f"yes {request.number}", "m2", "+989190000000") == "no_line"
    assert house.approvals.standing(request.id) == "open"


def test_too_late(house, clock):
    """After the link's life the request is over."""
    request = house.ask()
    clock.advance(24 * 3600)
    assert house.approvals.standing(request.id) == "expired"
    assert sms(house, f"yes {request.number}", "m1") == "over"
    assert valid(house) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yes please, by all means",
        "Yes 12345678901234567890",
        "+1000 yes",
        "yes 1000 2000",
        "STOP",
        "sara@example.com",
        "'; DROP TABLE lines; --",
        "\u202eyes" * 30,
        "yes\0 1000\ud800",
        "1000",
        "CREDIT -5",
    ],
)
def test_what_is_no_order(house, text):
    """Any other text is left to whom it concerns, and changes nothing."""
    house.ask()
    before = house.orders()
    assert sms(house, text, "m1") is None
    assert house.orders() == before


def test_a_machine_that_answers_replies_falls_silent(database, clock):
    """Replies count as messages; orders are obeyed all the same."""
    house = OwnerHouse(database, clock, limits=Limits(destination_per_hour=3))
    request = house.ask()
    for serial in range(10):
        assert sms(house, "LIST", f"m{serial}") == "listed"
    assert len(house.sent("sms.owner_reply")) == 2
    assert sms(house, f"yes {request.number}", "m99") == "approved"


# -- list, stop ------------------------------------------------------------------------------------


def test_stop(house):
    """Revokes one of the sender's own approvals; a second time there is none."""
    approval = house.granted()
    assert sms(house, f"STOP {approval}", "m1", MOBILE) == "unknown_approval"
    assert valid(house) is not None
    assert sms(house, f"لغو {approval}", "m2") == "revoked"
    assert valid(house) is None
    assert sms(house, f"стоп {approval}", "m3") == "unknown_approval"
    assert sms(house, "stop 99999999999999", "m4") == "unknown_approval"


def test_list(house):
    """All lines of the owner are in the reply, as ids."""
    assert sms(house, "لیست", "m1") == "listed"
    lines = {house.line(FIXED).id, house.line(SECOND).id}
    assert set(house.sent("sms.owner_reply")[-1]["lines"]) == lines


# -- link, phone, call -----------------------------------------------------------------------------


def test_by_link(house, clock):
    """With a ceiling and an end of the owner's own, for the whole category if wished."""
    request = house.ask()
    token = house.token()
    page = house.approvals.page(token)
    assert (page.standing, page.line_number, page.service) == ("open", FIXED, "9091234567")
    decision = house.approvals.answer_by_link(token, True, 200_000, 30, whole_category=True)
    assert decision == "approved"
    approval = valid(house, house.other_service)
    assert (approval.category, approval.ceiling, approval.via) == ("poetry", 200_000, "link")
    assert approval.valid_until == clock.now() + timedelta(days=30)
    assert house.approvals.answer_by_link(token, True, 900_000, 30) == "already"
    assert house.approvals.standing(request.id) == "approved"
    assert len(house.approvals.of_line(house.line().id)) == 1


def test_links_that_are_not_genuine(house):
    """Forged, cut, or signed for another page: unknown."""
    house.ask()
    token = house.token()
    of_email = Links(b"a secret only for tests").token(
        house.sent("sms.approval_request")[0]["reference"], 2_000_000_000
    )
    for forged in ("", token[:-1], token[:-1] + "A", of_email, "é" * 32, "x" * 5000):
        if forged != token:
            assert house.approvals.page(forged) is None
            assert house.approvals.answer_by_link(forged, True) == "unknown"
    assert valid(house) is None


def test_link_terms_are_checked(house):
    """No endless approval, no negative ceiling."""
    house.ask()
    for ceiling, days in ((-1, 1), (0, 1), (10**15, 1), (1, 0), (1, 100_000)):
        with pytest.raises(ValueError, match=r"ceiling|days"):
            house.approvals.answer_by_link(house.token(), True, ceiling, days)


def test_by_phone_for_ones_own_line_only(house):
    """An owner answers requests of the line that was proven, no other."""
    request = house.ask()
    other = house.line(MOBILE).id
    assert house.approvals.answer_by_phone(other, request.id, True, "phone") == "unknown"
    assert house.approvals.answer_by_phone(house.line().id, request.id, True, "call") == "approved"
    assert valid(house).via == "call"


def test_two_answers_at_once(house, in_threads):
    """SMS, link and telephone at the same moment: one counts, one approval is made at most."""
    request = house.ask()
    token, line = house.token(), house.line().id
    acts = [
        lambda: sms(house, f"yes {request.number}", "m1"),
        lambda: house.approvals.answer_by_link(token, True),
        lambda: house.approvals.answer_by_phone(line, request.id, True, "phone"),
        lambda: house.approvals.answer_by_phone(line, request.id, False, "call"),
        lambda: sms(house, f"no {request.number}", "m2"),
    ]
    results = in_threads(acts)
    assert not [each for each in results if isinstance(each, Exception)], results
    assert sum(each in ("approved", "refused") for each in results) == 1
    with house.database.read() as conn:
        made = len(conn.execute(select(owner_approvals.c.id)).all())
    assert made == (1 if "approved" in results else 0)


# -- what holds ------------------------------------------------------------------------------------


def test_valid_prefers_the_service_and_what_has_most_left(house):
    """One for the service before one for its category; used up, revoked or over is none."""
    house.ask()
    house.approvals.answer_by_link(house.token(), True, 900_000, 90, whole_category=True)
    category = valid(house)
    assert category.category == "poetry"
    assert valid(house, category="jokes") is None
    house.ask("call-2:1:approval")
    house.approvals.answer_by_link(house.token(), True, 100_000, 90)
    assert valid(house).service == "9091234567"
    with house.database.begin() as conn:
        conn.execute(
            update(owner_approvals)
            .where(owner_approvals.c.service.is_not(None))
            .values(used=60_000, held=40_000)
        )
    assert valid(house) == category
    assert house.approvals.revoke(house.line().id, category.id)
    assert not house.approvals.revoke(house.line().id, category.id)
    assert valid(house) is None


def test_an_approval_ends(house, clock):
    """At its end it is neither valid nor listed."""
    house.granted()
    clock.advance(90 * 86_400 - 1)
    assert valid(house) is not None
    clock.advance(1)
    assert valid(house) is None
    assert house.approvals.of_line(house.line().id) == []


# -- the automatic call ----------------------------------------------------------------------------


def calls(house: OwnerHouse) -> ApprovalCalls:
    return ApprovalCalls(house.database, house.clock, TEHRAN)


def test_who_has_not_answered_is_called_once(house, clock):
    """After the configured time, at the registered mobile; the call knows its request."""
    request = house.ask()
    assert calls(house).claim() == []
    clock.advance(60)
    (call,) = calls(house).claim()
    assert (call.request, call.number) == (request.id, OWNER)
    assert calls(house).claim() == []
    about = house.approvals.of_call(call.call_id)
    assert (about.id, about.line_number, about.number) == (request.id, FIXED, request.number)
    assert house.approvals.of_call("another call") is None


def test_two_dialers_at_once(house, clock, in_threads):
    """One of them gets the call."""
    house.ask()
    clock.advance(60)
    results = in_threads([calls(house).claim for _ in range(6)])
    assert sorted(len(each) for each in results) == [0] * 5 + [1]


def test_who_has_answered_is_not_called(house, clock):
    """Nor is anybody about a request that is over, or long after, or by night."""
    request = house.ask()
    sms(house, f"no {request.number}", "m1")
    clock.advance(60)
    assert calls(house).claim() == []
    house.ask("call-2:4:approval")
    clock.advance(60 + 600)
    assert calls(house).claim() == []


def test_nobody_is_called_by_night(house, clock):
    """The window is the owner's own clock's."""
    clock.advance(12 * 3600)  # 23:30 in Tehran
    house.ask()
    clock.advance(60)
    assert calls(house).claim() == []


def test_a_call_that_was_not_placed_is_tried_again(house, clock):
    """Under another id."""
    house.ask()
    clock.advance(60)
    (first,) = calls(house).claim()
    calls(house).give_back(first, clock.now() + timedelta(seconds=20))
    assert calls(house).claim() == []
    clock.advance(20)
    (second,) = calls(house).claim()
    assert second.call_id != first.call_id
    assert house.approvals.of_call(first.call_id) is None


def test_who_calls_from_the_registered_mobile_itself_is_not_called(house, clock):
    """It is engaged with the very call that asks."""
    house.ask(number=MOBILE)
    clock.advance(60)
    assert calls(house).claim() == []


def test_calling_can_be_switched_off(database, clock):
    """call_after_s None: nobody is ever called."""
    house = OwnerHouse(database, clock, terms=Terms(call_after_s=None))
    house.ask()
    clock.advance(3600)
    assert calls(house).claim() == []
