"""Menu trees carried out in a call: every kind of node, back and repeat, money, takeover."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.errors import Unavailable
from callflows.call import CallerGone
from callflows.connection import Recording
from callflows.trees import InvalidTree, Tree, parse_tree
from tests.tree_house import LANGUAGES, TreeHouse, keys, text, tree_of
from tests.tree_strategies import trees, valid_trees

POEMS = [text(f"poem {number}") for number in range(1, 8)]
MENU = {
    "type": "menu",
    "say": text("main menu"),
    "keys": {"1": "poem", "2": "more"},
}
MORE = {"type": "menu", "say": text("more menu"), "keys": {"1": "poem", "2": "over"}}
TREE = tree_of(
    "hello",
    hello={"type": "prompt", "say": text("hello"), "next": "main"},
    main=MENU,
    more=MORE,
    poem={"type": "random", "items": POEMS, "pick": "day", "next": "main"},
    over={"type": "end", "say": text("the end")},
)


def test_prompts_menus_and_the_end() -> None:
    """A prompt leads to the menu, the key to the next one, and the end has its last words."""
    house = TreeHouse(TREE)
    channel = house.call(keys("2", "2"))
    assert channel.heard == ["hello", "main menu", "more menu", "the end"]
    assert (house.outcome, house.why, channel.hung_up) == ("completed", "end", True)


def test_back_and_repeat_are_everywhere() -> None:
    """9 says a menu again, * goes to the one before, and from the first one nowhere else."""
    house = TreeHouse(TREE)
    channel = house.call(keys("9", "*", "2", "9", "*", "2", "2"))
    assert channel.heard[1:] == [
        *["main menu"] * 3,
        *["more menu"] * 2,
        "main menu",
        "more menu",
        "the end",
    ]


def test_the_poem_of_the_day_is_the_same_for_all_and_changes() -> None:
    """All callers of a day hear the same item; the next day has the next one."""
    heard = []
    house = TreeHouse(TREE)
    for _ in range(8):
        heard.append(house.call(keys("1")).heard[2])
        assert house.call(keys("1")).heard[2] == heard[-1]
        house.clock.advance(86_400)
    assert sorted(heard[:7]) == [item["en"] for item in POEMS]
    assert heard[7] == heard[0]


def test_a_day_begins_at_the_operators_midnight() -> None:
    """20:29 UTC is still the old day in Tehran, 20:30 the new one."""
    house = TreeHouse(TREE)
    house.clock.advance(12 * 3600 + 29 * 60)
    before = house.call(keys("1")).heard[2]
    house.clock.advance(60)
    assert house.call(keys("1")).heard[2] != before


def test_a_drawn_item_stays_in_a_takeover() -> None:
    """An item drawn for the call is the same when another worker runs the visit again."""
    tree = tree_of(
        "draw",
        draw={"type": "random", "items": POEMS, "next": "ask"},
        ask={"type": "menu", "say": text("again?"), "keys": {"1": "draw"}},
    )
    house = TreeHouse(tree)
    first = house.call(keys("1", "1", "1"))
    drawn = [words for words in first.heard if words.startswith("poem")]
    assert len(drawn) == 4
    variables = dict(first.variables) | {"callflows_state": "content"}
    variables |= {"callflows_visits": "1", "callflows_context": "{}"}
    again = house.call(keys(), variables=variables)
    assert again.heard[0] == drawn[0]


def test_silence_has_a_way_of_its_own_or_ends() -> None:
    """Silence goes where the menu says; without it, three times asked is the end."""
    tree = tree_of(
        "ask",
        ask={"type": "menu", "say": text("ask"), "keys": {"1": "ask"}, "silence": "over"},
        over={"type": "end"},
    )
    house = TreeHouse(tree)
    assert house.call(keys("")).heard == ["ask"]
    assert house.why == "end"
    house = TreeHouse(TREE)
    channel = house.call(keys("", "", ""))
    assert channel.heard.count("main menu") == 3
    assert (house.why, house.outcome) == ("gave_up", "completed")


POLL = tree_of(
    "vote",
    vote={
        "type": "poll",
        "say": text("press 1 for yes, 2 for no"),
        "choices": {"1": "yes", "2": "no"},
        "once": True,
        "next": "bye",
    },
    bye={"type": "prompt", "say": text("bye")},
)


def test_a_vote_is_recorded_once() -> None:
    """A vote is kept; a line's second vote is told that the first one counts."""
    house = TreeHouse(POLL)
    assert house.call(keys("5", "1")).heard[-2:] == [
        "Your vote has been counted. Thank you.",
        "bye",
    ]
    assert house.answers.all == [("vote", "poll", {"choice": "yes"})]
    assert house.call(keys("2")).heard[-2].startswith("This line has voted before")
    assert house.answers.all == [("vote", "poll", {"choice": "yes"})]


def test_only_what_is_recorded_is_promised() -> None:
    """With the database away the caller is told so, and the tree goes on."""
    house = TreeHouse(POLL)
    house.answers.broken = Unavailable("away")
    channel = house.call(keys("1"))
    assert channel.heard[-2:] == [
        "We are sorry. Your answer could not be recorded. Please try again later.",
        "bye",
    ]


ORDER = tree_of(
    "menu",
    menu={"type": "menu", "say": text("1 to order"), "keys": {"1": "order"}},
    order={
        "type": "order",
        "fields": [
            {"name": "item", "say": text("item?"), "least": 2, "most": 4},
            {"name": "pay", "say": text("how much?"), "kind": "amount"},
            {"name": "call", "say": text("which number?"), "kind": "phone"},
            {"name": "day", "say": text("which day?"), "kind": "date"},
        ],
        "next": "menu",
    },
)


def test_an_order_is_keyed_in_read_back_and_kept() -> None:
    """Each field is checked, read back, changed if wrong, and all are kept together."""
    house = TreeHouse(ORDER)
    channel = house.call(
        keys(
            "1",
            "7",  # too short
            "77",
            "2",  # wrong: again
            "78",
            "1",
            "150000",
            "1",
            "09123456789",
            "1",
            "14050915",
            "1",
        )
    )
    assert house.answers.all == [
        (
            "order",
            "order",
            {"item": "78", "pay": "150000", "call": "+989123456789", "day": "2026-12-06"},
        )
    ]
    assert "This entry cannot be accepted." in channel.heard
    assert any("150,000 rials" in words for words in channel.heard)
    assert "Your order has been recorded. Thank you." in channel.heard


def test_star_leaves_an_order() -> None:
    """Nothing is kept of a form that the caller leaves; he is in the menu again."""
    house = TreeHouse(ORDER)
    channel = house.call(keys("1", "77", "1", "*"))
    assert channel.heard[-1] == "1 to order"
    assert house.answers.all == []


RECORD = tree_of(
    "leave",
    leave={"type": "record", "say": text("speak"), "next": "bye"},
    bye={"type": "prompt", "say": text("bye")},
)


def test_a_message_is_kept_before_it_is_spoken() -> None:
    """Whoever hangs up having spoken has left a message; whoever says nothing has not."""
    house = TreeHouse(RECORD)

    def hang_up(_heard: str, _most: int) -> str:
        raise CallerGone

    house.call(hang_up)
    ((node, kind, answer),) = house.answers.all
    assert (node, kind) == ("leave", "recording")
    house = TreeHouse(RECORD)
    channel = house.call(keys())
    assert channel.recorded == [house.answers.all[0][2]["name"]] == [answer["name"]]
    assert channel.heard[-2:] == ["Your message has been recorded. Thank you.", "bye"]


def test_an_empty_message_is_forgotten() -> None:
    """Nothing said, nothing kept."""
    house = TreeHouse(RECORD)
    house.speaks_s = 0.0
    assert house.call(keys()).heard[-2:] == ["We heard nothing, so nothing was recorded.", "bye"]
    assert house.answers.all == []


def test_a_message_ends_with_the_money() -> None:
    """A recording is as long as is left after its prompt, at most."""
    house = TreeHouse(RECORD, seconds=10.0)
    house.call(keys(), money_s=25.5)
    assert house.channel.terms == [Recording(most_s=15, silence_s=3)]
    house = TreeHouse(RECORD)
    house.call(keys())
    assert house.channel.terms == [Recording(most_s=60, silence_s=3)]


def test_wrong_keys_and_silence_are_told_apart() -> None:
    """Each has its words, and three of a kind are the end, whoever carries the call."""
    house = TreeHouse(TREE)
    channel = house.call(keys("5", "", "5", "", "7"))
    told = [words for words in channel.heard if words not in ("hello", "main menu")]
    wrong, silent = "That key is not in this menu.", "We did not hear any key."
    assert told == [wrong, silent, wrong, silent]
    assert house.why == "gave_up"


CALLOUT = tree_of(
    "crm",
    crm={
        "type": "callout",
        "url": "https://crm.example.com/calls",
        "results": {"gold": "gold"},
        "fallback": "plain",
    },
    gold={"type": "end", "say": text("dear friend")},
    plain={"type": "end", "say": text("welcome")},
)


@pytest.mark.parametrize(
    ("result", "heard"),
    [("gold", "dear friend"), ("silver", "welcome"), (None, "welcome"), ("__class__", "welcome")],
)
def test_the_crm_decides_or_the_fallback_does(result: str | None, heard: str) -> None:
    """A known result leads on; no answer, or one that the tree does not know, to the fallback."""
    house = TreeHouse(CALLOUT, crm=result)
    assert house.call(keys()).heard == [heard]
    ((url, question, _key),) = house.crm.asked
    assert url == "https://crm.example.com/calls"
    assert (question["service"], question["caller"]) == ("9091234567", {"calls": 0})
    assert "+989123456789" not in json.dumps(question)


def test_a_consultant_comes_in_between() -> None:
    """The flow's own state connects, and the tree goes on behind the node."""
    tree = tree_of(
        "ask",
        ask={"type": "consultants", "next": "bye"},
        bye={"type": "prompt", "say": text("bye")},
    )
    house = TreeHouse(tree)
    assert house.call(keys()).heard == ["bye"]
    assert {"event": "consultant"} in house.events


def test_no_prompt_begins_that_would_not_end() -> None:
    """A prompt longer than the money lasts is not begun, of whatever node it is."""
    for tree in (
        TREE,
        POLL,
        RECORD,
        tree_of("o", o=ORDER.nodes["order"].model_dump() | {"next": None}),
    ):
        house = TreeHouse(tree, seconds=10.0)
        channel = house.call(keys("1"), money_s=9.9)
        assert (channel.heard, house.why) == ([], "no_time")
        house.call(keys(), money_s=10.0)
        assert house.why != "no_time"


def test_a_caller_who_speaks_another_language_is_served() -> None:
    """The tree speaks its first language to whoever's it does not have."""
    house = TreeHouse(TREE)
    assert house.call(keys(), language="ru").heard[0] == "hello"


def test_a_place_that_is_no_more_ends_the_content() -> None:
    """A node that this version does not have is no error for the caller."""
    house = TreeHouse(TREE)
    variables = dict(house.call(keys()).variables)
    variables |= {"callflows_state": "content"}
    variables |= {"callflows_context": json.dumps({"tree": {"at": "gone"}})}
    assert house.call(keys(), variables=variables).heard == []
    assert house.why == "stale"


class Died(BaseException):
    """The worker is gone."""


@pytest.mark.parametrize("tree", [TREE, POLL, ORDER, RECORD, CALLOUT])
def test_a_takeover_at_every_question_leaves_the_same(tree: Tree) -> None:
    """Whichever question the worker dies in: nothing is lost, and nothing is kept twice."""
    pressed = ["1"]
    if tree is ORDER:
        pressed += ["77", "1", "5000", "1", "02188776655", "1", "20261205", "1"]
    whole = TreeHouse(tree)
    whole.call(keys(*pressed))
    for dies_at in range(len(pressed) + 1):
        house = TreeHouse(tree)
        first = iter(pressed[:dies_at])

        def until_death(_heard: str, _most: int, first: Iterator[str] = first) -> str:
            for key in first:
                return key
            raise Died

        with contextlib.suppress(Died):
            house.call(until_death)
        again = pressed[dies_at:]
        house.call(keys(*again), variables=house.channel.variables)
        assert house.answers.all == whole.answers.all


@settings(max_examples=150)
@given(content=st.one_of(valid_trees(), trees()), data=st.data())
def test_no_valid_tree_gets_a_call_stuck(content: object, data: st.DataObject) -> None:
    """Whatever is pressed, a call in a valid tree asks again or ends, never on and on."""
    try:
        tree = parse_tree(content, LANGUAGES)
    except InvalidTree:
        return
    house = TreeHouse(tree, crm=data.draw(st.sampled_from(["a", "b", None])))
    asked = 0

    def press(_heard: str, _most: int) -> str:
        nonlocal asked
        asked += 1
        if asked > 30:
            raise CallerGone
        return data.draw(st.sampled_from(["", "1", "2", "3", "9", "*", "#", "12345678"]))

    channel = house.call(press)
    assert house.outcome in ("completed", "caller_gone")
    # Between two questions lies less than the tree has nodes.
    assert len(channel.heard) <= (asked + 2) * (len(tree.nodes) + 2) * 3


@settings(max_examples=150)
@given(content=valid_trees(), money_s=st.integers(0, 60), data=st.data())
def test_nothing_is_cut_off_by_the_end_of_the_money(
    content: object, money_s: int, data: st.DataObject
) -> None:
    """Whatever the tree and the keys: every prompt that begins ends before the money does."""
    tree = parse_tree(content, LANGUAGES)
    house = TreeHouse(tree, crm="a", seconds=7.0)

    def played_s() -> float:
        # The texts of these trees are words; the house's own phrases take no time here.
        return 7.0 * sum(words in ("word", "another word") for words in house.channel.heard)

    def press(_heard: str, _most: int) -> str:
        assert played_s() <= money_s
        return data.draw(st.sampled_from(["", "1", "2", "9", "*", "12345678"]))

    house.call(press, money_s=lambda: money_s - played_s())
    assert played_s() <= money_s
    assert house.outcome == "completed"


# Mostly those that lead on.
KEYS = st.one_of(
    st.sampled_from(["1", "1", "2"]),
    st.sampled_from(["", "3", "9", "*", "12345678", "09123456789", "20261205"]),
)


class Hand:
    """A caller who answers on, whoever asks; and a worker that dies at its step `dies_at`.

    A step is a question, a message, or what is just written down.
    """

    def __init__(self, pressed: list[str], dies_at: int | None = None) -> None:
        self.steps = 0
        self._left = list(pressed)
        self._dies_at = dies_at

    def step(self) -> None:
        """The worker gets as far as this."""
        self.steps += 1
        if self.steps == self._dies_at:
            raise Died

    def press(self, _heard: str, most: int) -> str:
        """Answer a question; without an answer left, hang up."""
        self.step()
        if not most:
            return ""
        if not self._left:
            raise CallerGone
        return self._left.pop(0)

    def call(self, tree: Tree) -> list[object]:
        """What is left behind by a call in the tree that is carried on by a second worker."""
        house = TreeHouse(tree, crm="a")
        put = house.answers.put

        def put_then_perhaps_die(*args: Any, **kwargs: Any) -> bool:
            new = put(*args, **kwargs)
            self.step()
            return new

        house.answers.put = put_then_perhaps_die  # type: ignore[method-assign]
        try:
            house.call(self.press)
        except Died:
            house.call(self.press, variables=house.channel.variables)
        return [*house.answers.all, house.why]


@settings(max_examples=60)
@given(content=valid_trees(), pressed=st.lists(KEYS, max_size=12))
def test_wherever_a_worker_dies_the_same_is_left(content: object, pressed: list[str]) -> None:
    """Dead at any question, message or write: nothing lost, nothing kept twice, no way missed."""
    tree = parse_tree(content, LANGUAGES)
    whole = Hand(pressed)
    left = whole.call(tree)
    for dies_at in range(1, whole.steps + 1):
        assert Hand(pressed, dies_at).call(tree) == left
