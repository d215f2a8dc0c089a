"""Height 3: every scenario through FreeSWITCH, with a SIP caller, real RTP and RFC 2833 keys.

The caller listens, and presses when the prompt has been heard; it records the call, and the
recording proves which recordings were played. Recordings are short codes here, each unlike all
others, so that a conversation takes seconds; one conversation for each language has the real ones.

`make test-freeswitch` runs this; without a freeswitch binary it is skipped, with the reason.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import pytest

from callflows.scripted import HangsUp, Hears, IsHungUp, IsTransferred, Presses, hears, presses
from tests.calls.freeswitch import BINARY_VARIABLE, ModulesMissing, find_binary
from tests.calls.scenario import Scenario, Sent
from tests.calls.scenarios import END, LANGUAGE_MENU, OPENING, SCENARIOS, SUMMARY, mobile, promised
from tests.calls.test_scenarios_flow import matches

MISSING = [name for name in ("numpy",) if importlib.util.find_spec(name) is None]
if not MISSING:
    from tests.calls import audio
    from tests.calls.exchange import Exchange, Visit

BINARY = find_binary()
REASON = (
    "NOTHING RAN ON FREESWITCH: no numpy here (requirements-dev.txt)"
    if MISSING
    else f"NOTHING RAN ON FREESWITCH: no binary in {BINARY_VARIABLE} or PATH"
)
LIMIT_S = 200.0

pytestmark = [
    pytest.mark.freeswitch,
    pytest.mark.skipif(BINARY is None or bool(MISSING), reason=REASON),
    # One switch serves all: under xdist they stay in one process.
    pytest.mark.xdist_group("freeswitch"),
    pytest.mark.timeout(LIMIT_S + 60),
]


def visits(scenarios, **more):
    """A visit for each scenario; none where the caller cannot run."""
    return [] if MISSING else [Visit(each.title, each, **more) for each in scenarios]


PLAIN = visits(SCENARIOS)
SPOKEN = visits(
    [
        Scenario(
            f"the real recordings: {language}",
            [
                *opening,
                presses("2"),
                *mobile("09123334455#"),
                hears(*promised("bill"), language=language),
                HangsUp(),
            ],
            caller=caller,
            sent=[Sent("sms.bill", "+989123334455", names=True)],
            outcome="caller_gone",
        )
        for language, caller, opening in [
            ("fa", "02188776655", [hears(*OPENING)]),
            ("ar", "02133221100", [hears(*OPENING)]),
            (
                "ru",
                "02144556677",
                [
                    hears("welcome", "open_bills", "bill_option", "bill_option", "open_bills_keys"),
                    presses("2"),
                    hears(*SUMMARY),
                ],
            ),
            ("en", "02155667788", [hears("welcome", "bill_summary_overdue", "payment_menu")]),
        ]
    ],
    real=True,
    heard_s=7.0,
)
AHEAD = visits(
    [
        Scenario(
            "keys pressed ahead",
            [hears(*OPENING), presses("2"), *mobile(), hears(*promised("bill")), *END],
            sent=[Sent("sms.bill", "+989121234567", names=True)],
        )
    ],
    ahead=True,
)
KNOWN = Scenario("", [hears(*OPENING), HangsUp()], outcome="caller_gone")
UNKNOWN = Scenario("", [LANGUAGE_MENU, HangsUp()], caller="", outcome="caller_gone")
HOSTILE = [
    visit
    for scenario, caller in [
        (KNOWN, '"\\" X: 1" <sip:02188776655@127.0.0.1>'),
        (KNOWN, '"%0Avariable_callflows_state:%20promise" <sip:02188776655@127.0.0.1>'),
        (KNOWN, '"${hangup_cause}${api(status)}" <sip:02188776655@127.0.0.1>'),
        (KNOWN, '"سارا" <sip:02188776655@127.0.0.1>'),
        (UNKNOWN, "<sip:02188776655%0Avariable_callflows_state:%20promise@127.0.0.1>"),
        (UNKNOWN, "<sip:$%7Bapi(status)%7D@127.0.0.1>"),
        (UNKNOWN, f"<sip:{'*' * 400}@127.0.0.1>"),
    ]
    for visit in visits([replace(scenario, title=f"hostile: {caller[:50]}")], caller=caller)
]


@pytest.fixture(scope="module")
def exchange(request, tmp_path_factory):
    """The exchange, with the callers of all selected tests on their way."""
    wanted = {
        id(visit): visit
        for item in request.session.items
        if item.fspath == request.fspath and hasattr(item, "callspec")
        for visit in [item.callspec.params["visit"]]
    }
    real = None
    if any(visit.real for visit in wanted.values()):
        real = request.getfixturevalue("sounds_dir")
    place = Exchange(BINARY, tmp_path_factory.mktemp("fs"), real, list(wanted.values()))
    try:
        try:
            place.start()
        except ModulesMissing as missing:
            pytest.skip(f"NOTHING RAN ON FREESWITCH: {missing}")
        yield place
    finally:
        place.stop()


def each(visits):
    return pytest.mark.parametrize("visit", visits, ids=lambda visit: visit.name)


def pressed_in(scenario):
    return [
        step.keys.rstrip("#") or step.keys
        for step in scenario.script
        if isinstance(step, Presses) and step.keys
    ]


def check(exchange, visit):
    """What was heard, ordered and noted is what the scenario says; returns what is left."""
    scenario = visit.scenario
    there = exchange.visited(visit, LIMIT_S)
    report = there.report
    assert report.trouble is None
    assert report.code == 200
    library = exchange.library(visit)
    over = scenario.script[-1]
    hearing = exchange.hearing(visit)
    scores = audio.prove(there.recording, visit.parts(library), library, hearing)
    assert scores
    assert report.ended_by == ("caller" if isinstance(over, HangsUp) else "service")
    if isinstance(over, IsHungUp | IsTransferred):
        assert "cause=16" in report.cause
    assert matches(there.sent, list(scenario.sent)), there.sent
    (call,) = there.calls
    assert call["dialled"] == scenario.dialled
    assert call["caller"] == (scenario.caller or "anonymous")
    assert call["outcome"] == scenario.outcome
    assert [keys.rstrip("#") or keys for keys in call["pressed"]] == pressed_in(scenario)
    assert [tuple(key for key, *_ in prompt) for prompt in call["heard"]] == [
        step.keys for step in scenario.script if isinstance(step, Hears)
    ]
    return there


@each(PLAIN)
def test_scenario(exchange, visit):
    """The conversation as written: heard by ear, orders, journal, and who ended it how."""
    check(exchange, visit)


@each(AHEAD)
def test_keys_pressed_ahead_are_kept(exchange, visit):
    """Who knows the menus presses everything at once: no key is lost, the order is made."""
    check(exchange, visit)


@each(HOSTILE)
def test_hostile_caller_id_changes_nothing(exchange, visit):
    """Display name and number are read, never obeyed: no header forged, nothing expanded."""
    check(exchange, visit)


@each(SPOKEN)
def test_real_recordings(exchange, visit):
    """The recordings that subscribers hear, interrupted by keys, in the line's language."""
    check(exchange, visit)


@each(SPOKEN[:2] + PLAIN[:2])
def test_the_proof_can_fail(exchange, visit):
    """The same recording proves no other language, no missing, additional or exchanged words."""
    there = check(exchange, visit)
    library = exchange.library(visit)
    hearing = exchange.hearing(visit)
    parts = visit.parts(library)
    names = parts[0].names
    sounding = [place for place, name in enumerate(names) if not name.startswith("silence")]
    middle = sounding[len(sounding) // 2]
    other = next(names[place] for place in sounding if names[place] != names[middle])
    foreign = tuple(f"en{name[2:]}" if name[2] == "/" else name for name in names)
    for wrong in (
        foreign,
        names[:middle] + names[middle + 1 :],
        (*names[:middle], other, *names[middle:]),
        (*names[:middle], other, *names[middle + 1 :]),
        names[1:],
    ):
        with pytest.raises(audio.NotHeard):
            audio.prove(
                there.recording, [audio.Part(wrong), *parts[1:]], library, hearing, ends=False
            )
