"""The call port: tries, no input, invalid input, giving up, type-ahead; the scripted channel."""

from __future__ import annotations

import pytest

from callflows.call import Call, CallerGone, GaveUp
from callflows.journal import Journal, phrase_of
from callflows.scripted import (
    HangsUp,
    IsHungUp,
    IsTransferred,
    ScriptedChannel,
    Unscripted,
    hears,
    presses,
)
from sounds import Phrase

MENU = Phrase("payment_menu")
NUMBER = Phrase("ask_line_number")


def call_of(*script, language="fa"):
    channel = ScriptedChannel(script)
    return Call(channel, Journal(), language=language), channel


def ask(call, accept=str, **kwargs):
    return call.ask(
        NUMBER,
        accept,
        digits=call.digits(15, terminator="#", **kwargs),
        invalid=Phrase("invalid_number"),
    )


def test_choose_returns_the_option_of_the_key():
    """A key of the menu gives its option at once."""
    call, channel = call_of(hears("payment_menu"), presses("2"))
    assert call.choose(MENU, {"1": "one", "2": "two"}) == "two"
    channel.done()


def test_what_is_said_leads_the_question():
    """`say` plays nothing by itself, so that keys pressed meanwhile reach the question."""
    call, channel = call_of(hears("welcome", "payment_menu"), presses("1"))
    call.say(Phrase("welcome"))
    assert call.choose(MENU, {"1": 1}) == 1
    channel.done()


def test_silence_and_wrong_keys_are_counted_apart():
    """Two silences and two wrong keys are neither three silences nor three wrong keys."""
    call, channel = call_of(
        hears("payment_menu"),
        presses(""),
        hears("no_input", "payment_menu"),
        presses("7"),
        hears("invalid_key", "payment_menu"),
        presses(""),
        hears("no_input", "payment_menu"),
        presses("8"),
        hears("invalid_key", "payment_menu"),
        presses("1"),
    )
    assert call.choose(MENU, {"1": "found"}) == "found"
    channel.done()


@pytest.mark.parametrize(
    ("key", "reason", "words"),
    [
        ("", "no_input", "no_input"),
        ("7", "invalid", "invalid_key"),
    ],
)
def test_giving_up_says_why(key, reason, words):
    """After three tries the question is given up, and the reason is known."""
    call, channel = call_of(
        hears("payment_menu"),
        presses(key),
        hears(words, "payment_menu"),
        presses(key),
        hears(words, "payment_menu"),
        presses(key),
    )
    with pytest.raises(GaveUp) as caught:
        call.choose(MENU, {"1": 1})
    assert (caught.value.reason, caught.value.phrase) == (reason, "payment_menu")
    channel.done()


def test_silence_may_have_a_meaning():
    """Where silence means "no more", it is an answer and no fault."""
    call, channel = call_of(hears("anything_else"), presses(""))
    assert call.choose(Phrase("anything_else"), {"1": "menu"}, otherwise="goodbye") == "goodbye"
    channel.done()


def test_refused_digits_are_asked_for_again():
    """`accept` decides; the caller hears why and is asked again."""
    call, channel = call_of(
        hears("ask_line_number"),
        presses("12#"),
        hears("invalid_number", "ask_line_number"),
        presses("021#"),
    )

    def accept(keys):
        if len(keys) < 3:
            raise ValueError
        return keys

    assert ask(call, accept) == "021"
    channel.done()


def test_what_is_no_key_of_a_telephone_is_refused():
    """A switch that hands over anything but keys cannot get it to a flow."""
    call, channel = call_of(
        hears("ask_line_number"),
        presses("1;DROP"),
        hears("invalid_number", "ask_line_number"),
        presses("1"),
    )
    assert ask(call) == "1"
    channel.done()


def test_secret_digits_leave_only_their_count():
    """A PIN is in no journal."""
    call, _ = call_of(hears("ask_line_number"), presses("4711#"))
    assert ask(call, secret=True) == "4711"
    assert "4711" not in repr(call.journal.steps)
    assert call.journal.steps[-1].data == {"keys": "••••"}


def test_hanging_up_ends_the_conversation():
    """CallerGone passes through every `except Exception`."""
    call, channel = call_of(hears("payment_menu"), HangsUp())

    def careless():
        try:
            call.choose(MENU, {"1": 1})
        except Exception:  # pragma: no cover - must not be reached
            pytest.fail("an except Exception has swallowed the end of the call")

    with pytest.raises(CallerGone):
        careless()
    channel.done()


def test_hangup_plays_the_last_words_first():
    """What was said before a hangup is heard."""
    call, channel = call_of(hears("goodbye"), IsHungUp())
    call.say(Phrase("goodbye"))
    call.hangup()
    channel.done()


def test_transfer_plays_the_last_words_first():
    """What was said before a transfer is heard, and the conversation is over."""
    call, channel = call_of(hears("connecting_payment"), IsTransferred("2000", "payment"))
    call.say(Phrase("connecting_payment"))
    with pytest.raises(CallerGone):
        call.transfer("2000", "payment")
    channel.done()


def test_pen_and_paper_may_take_a_key_or_the_time():
    """Waiting is no question: silence is fine, any key is fine."""
    for key in ("", "1", "*"):
        call, channel = call_of(hears("read_ids_prepare"), presses(key))
        call.wait_for_key(Phrase("read_ids_prepare"), 20)
        channel.done()


def test_the_script_fails_at_the_first_difference():
    """The scripted call is a test that can fail: wrong phrase, wrong end, unfinished script."""
    call, _ = call_of(hears("payment_menu"), presses("1"))
    call.say(Phrase("welcome"))
    with pytest.raises(Unscripted, match=r"step 1: .*welcome"):
        call.choose(MENU, {"1": 1})
    call, channel = call_of(hears("goodbye"), IsHungUp())
    with pytest.raises(Unscripted, match="ended before step 1"):
        channel.done()
    call, _ = call_of()
    with pytest.raises(Unscripted, match="after the end"):
        call.hangup()


def test_the_script_knows_the_language():
    """A phrase in the wrong language fails the script."""
    call, _ = call_of(hears("goodbye", language="ar"), language="ru")
    call.say(Phrase("goodbye"))
    with pytest.raises(Unscripted, match="in ru"):
        call.flush()


def test_the_journal_tells_what_was_heard_and_pressed():
    """Steps carry time, state, phrases with their slots, keys; sentences can be made again."""
    ticks = iter([100.0, 100.5, 102.25])
    channel = ScriptedChannel([hears("number_read_back", "confirm_number"), presses("1")])
    journal = Journal(clock=lambda: next(ticks))
    journal.enter("confirm_line")
    call = Call(channel, journal, language="ru")
    phrase = Phrase("number_read_back", number="+982188776655")
    call.choose((phrase, Phrase("confirm_number")), {"1": 1})
    heard, pressed = journal.steps
    assert (heard.seq, heard.at_ms, heard.state, heard.kind) == (0, 0, "confirm_line", "heard")
    assert (pressed.seq, pressed.at_ms, pressed.data) == (1, 500, {"keys": "1"})
    key, language, slots = heard.data["phrases"][0]
    assert phrase_of(key, language, slots) == phrase.spoken_in("ru")
