"""Height 3: the premium scenarios through FreeSWITCH, with a SIP caller, real RTP, RFC 2833 keys.

As `test_scenarios_freeswitch.py`: what was heard is proven from the recording of the call, among it
the digit that is named for accepting; and the money is what the scenario says.
"""

from __future__ import annotations

import pytest

from callflows.scripted import HangsUp, Hears
from tests.calls.freeswitch import ModulesMissing, find_binary
from tests.calls.test_scenarios_freeswitch import MISSING, REASON

if not MISSING:
    from tests.calls import audio
    from tests.calls.premium_exchange import SPOKEN, PremiumExchange, PremiumVisit, in_real_time

BINARY = find_binary()
LIMIT_S = 200.0

pytestmark = [
    pytest.mark.freeswitch,
    pytest.mark.skipif(BINARY is None or bool(MISSING), reason=REASON),
    pytest.mark.xdist_group("freeswitch"),
    pytest.mark.timeout(LIMIT_S + 60),
]
VISITS = [] if MISSING else [PremiumVisit(each.title, each) for each in SPOKEN]


@pytest.fixture(scope="module")
def exchange(request, tmp_path_factory):
    """The exchange, with the callers of all selected tests on their way."""
    wanted = {
        id(visit): visit
        for item in request.session.items
        if item.fspath == request.fspath and hasattr(item, "callspec")
        for visit in [item.callspec.params["visit"]]
    }
    place = PremiumExchange(BINARY, tmp_path_factory.mktemp("fs"), None, list(wanted.values()))
    try:
        try:
            place.start()
        except ModulesMissing as missing:
            pytest.skip(f"NOTHING RAN ON FREESWITCH: {missing}")
        yield place
    finally:
        place.stop()


@pytest.mark.parametrize("visit", VISITS, ids=lambda visit: visit.name)
def test_premiere(exchange, visit):
    """The conversation as written, heard by ear; who pays what; nothing is left reserved."""
    premiere = visit.scenario
    there = exchange.visited(visit, LIMIT_S)
    report = there.report
    assert report.trouble is None
    assert report.code == 200
    library = exchange.library(visit)
    assert audio.prove(there.recording, visit.parts(library), library, exchange.hearing(visit))
    assert report.ended_by == ("caller" if isinstance(premiere.script[-1], HangsUp) else "service")
    (call,) = there.calls
    assert call["dialled"] == premiere.dialled
    assert call["outcome"] == premiere.outcome
    assert [tuple(key for key, *_ in prompt) for prompt in call["heard"]] == [
        step.keys for step in premiere.script if isinstance(step, Hears)
    ]
    costs = in_real_time(premiere)
    money = there.money
    assert money == {
        "charged": costs,
        "used": costs,
        "held": 0,
        "accepted": int(premiere.accepted),
        "refused": [premiere.refused] if premiere.refused else [],
    }
