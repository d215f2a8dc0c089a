"""A premium-rate service from outside: from the provider's file to a posted, explained charge."""

from __future__ import annotations

import json
import re

import pytest

from tests.e2e.conftest import ROOT, furnish, house_in
from tests.e2e.test_run import all_parts, until

SAMPLES = ROOT / "conf" / "sample" / "premium"
POLL, CALLER = "70705000", "02188776655"
PRICE = 5000
# Slow enough that the content lasts a second or two of real time: less costs nothing.
SPEED = "20"


def run(house, *words, **more):
    done = house.run(*words, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def publish(house, provider, title, file, number):
    run(house, "provider", "add", provider, title)
    terms = ("--kind", "b", "--share", "80", "--levy", "vat=9", "--from", "1405/08/01")
    run(house, "provider", "contract", provider, *terms)
    submitted = run(house, "service", "submit", str(SAMPLES / file), timeout=180)
    assert "version 1 is pending" in submitted
    run(house, "service", "approve", number)


@pytest.fixture(scope="module")
def operator(tmp_path_factory, sounds_dir):
    """All parts, running, with the sample poll published and a line that has credit."""
    house = house_in(tmp_path_factory.mktemp("house"), sounds_dir)
    # Charges are posted at once: no call record comes from the embedded switch.
    house.environment["CALLFLOWS_PREMIUM_CDR_WAIT_S"] = "0"
    house.environment["CALLFLOWS_CALENDARS_DIR"] = str(ROOT / "conf" / "calendars")
    furnish(house)
    publish(house, "sima", "Sima Festival", "film-poll.yaml", POLL)
    run(house, "credit", "set", CALLER, "60000", "--reason", "test")
    with all_parts(house) as running:
        yield running[0]


def dial(house, *keys, number=POLL, caller=CALLER):
    words = ("call", number, "--from", caller, "--keys", ",".join(keys), "--speed", SPEED, "--json")
    steps = json.loads(run(house, *words))
    return [phrase for step in steps if "heard" in step for phrase in step["heard"]["phrases"]]


def newest_call(house):
    """The id of the call that was placed last."""
    return re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", run(house, "journal", "--last", "1"))[0]


def posted(house, call):
    """What a call cost and why, once its charge is posted."""
    explained = house.run("explain", call, "--language", "en").stdout
    return explained if explained and "not been posted" not in explained else None


def test_from_the_price_to_the_posted_charge(operator):
    """Dialled, told, accepted, voted, told what it cost; then posted, explained, itemised."""
    heard = dial(operator, "named", "1", "2")
    assert heard[:2] == ["premium_welcome", "premium_price_call"]
    assert heard[-2:] == ["premium_cost_call", "premium_goodbye"]
    call = newest_call(operator)
    explained = until(lambda: posted(operator, call), 30, "the posting")
    assert "5,000 rials in all" in explained
    assert "has not been altered since" in explained
    shown = run(operator, "credit", "show", CALLER)
    assert re.search(rf"used +{PRICE:,} rials", shown)
    answers = run(operator, "service", "answers", POLL, "--csv")
    assert "yard" in answers
    assert "everything adds up" in run(operator, "premium-audit")


def test_without_credit_nobody_is_connected(operator):
    """Another line has none: its caller hears how to ask for it, and nothing is charged."""
    heard = dial(operator, caller="02155667788")
    assert heard == ["premium_no_credit"]


def test_a_wrong_digit_accepts_nothing(operator):
    """0 is never the digit that is named."""
    heard = dial(operator, "0", "0", "0")
    assert heard.count("premium_wrong_key") == 2
    assert heard[-1] == "premium_not_accepted"


def test_a_number_that_nobody_has(operator):
    """Its own words, and a call that ends in good order."""
    heard = dial(operator, number="9099999999")
    assert heard == ["premium_no_service"]
