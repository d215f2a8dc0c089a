"""A flow that is nothing but a tree, and a caller who presses what a test or chance says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from billing.clock import FixedClock
from billing.premium.answers import Kind
from callflows.call import Call, CallerGone, Digits, Prompt
from callflows.connection import Recorded, Recording
from callflows.flow import Flow, State, restore, state
from callflows.journal import Journal
from callflows.runner import run
from callflows.trees import Tree, parse_tree
from callflows.trees.ports import Caller, TreeServices
from callflows.trees.runner import TreeStates
from sounds import Catalogue, Library, load_catalogue

CATALOGUE = load_catalogue()
LANGUAGES = ("en",)
START = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
CALL_ID = "00000000-0000-4000-8000-000000000001"


def text(words: str) -> dict[str, str]:
    """The words as a tree in one language has them."""
    return {"en": words}


def tree_of(start: str | None = None, /, **nodes: Any) -> Tree:
    """A valid tree in English of these nodes."""
    return parse_tree(content_of(start, **nodes), LANGUAGES)


def content_of(start: str | None = None, /, **nodes: Any) -> dict[str, Any]:
    """The same as written."""
    return {"nodes": nodes} | ({"start": start} if start else {})


class KeptAnswers:
    """An answer book in memory; `broken` makes it fail."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, Kind, dict[str, Any]]] = {}
        self.broken: Exception | None = None

    def put(
        self,
        key: str,
        *,
        service: int,
        version: int,
        node: str,
        call_id: str,
        line: int | None,
        kind: Kind,
        answer: Mapping[str, Any],
    ) -> bool:
        """Keep the first answer of each key."""
        if self.broken is not None:
            raise self.broken
        if key in self.kept:
            return False
        self.kept[key] = (node, kind, dict(answer))
        return True

    def withdraw(self, key: str) -> None:
        """Forget a message."""
        del self.kept[key]

    @property
    def all(self) -> list[tuple[str, Kind, dict[str, Any]]]:
        """What was left, in order."""
        return list(self.kept.values())


class FixedCrm:
    """A CRM with one answer; remembers what it was asked."""

    def __init__(self, result: str | None) -> None:
        self.result = result
        self.asked: list[tuple[str, dict[str, Any], str]] = []

    def ask(
        self, url: str, provider: str, question: Mapping[str, Any], key: str, timeout_s: float
    ) -> str | None:
        """Give the answer."""
        self.asked.append((url, dict(question), key))
        return self.result


class NoHistory:
    """Nobody has called before."""

    def told(self, provider: int, line: int | None, caller: str) -> Mapping[str, Any]:
        """Nothing."""
        return {"calls": 0}


class Lengths(Library):
    """Every recording of a service lasts as long as the test says, seconds."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(Path("/nonexistent"))
        self.seconds = seconds

    def prompt_ms(self, names: Iterable[str]) -> int:
        """The recordings of the tree only."""
        return sum(round(self.seconds * 1000) for name in names if name.startswith("services/"))


Money = Callable[[], float]
"""How many seconds the money lasts from now."""


class TreeFlow(TreeStates, Flow):
    """A tree from its start to its end."""

    name = "tree"

    def __init__(self, tree: Tree, trees: TreeServices, money_s: float | Money = 1e9) -> None:
        super().__init__()
        self.tree = tree
        self.trees = trees
        self.money_s = money_s

    @state(initial=True)
    def begin(self, call: Call) -> State | None:
        return self.content

    def tree_caller(self, call: Call) -> Caller:
        return Caller(7, "9091234567", 1, 3, "hafez", 11, "+989123456789")

    def remaining_s(self, call: Call, wanted_s: float = 0.0) -> float:
        return self.money_s if isinstance(self.money_s, int | float) else self.money_s()

    def content_ended(self, call: Call) -> State | None:
        return None

    @state
    def consult(self, call: Call) -> State | None:
        call.journal.event("consultant")
        return self.content


Press = Callable[[str, int], str]
"""Given what was heard last and the most digits, the keys pressed; raise CallerGone to hang up."""


class Listener:
    """The `Channel` port, with a caller who presses what `press` says and writes down all words."""

    def __init__(self, press: Press, catalogue: Catalogue = CATALOGUE) -> None:
        self.id = CALL_ID
        self.caller = "+989123456789"
        self.dialled = "9091234567"
        self.heard: list[str] = []
        self.variables: dict[str, str] = {}
        self.hung_up = False
        self.recorded: list[str] = []
        self.terms: list[Recording] = []
        self.speaks_s = 5.0
        self._press = press
        self._catalogue = catalogue

    def keep(self, place: Mapping[str, str]) -> None:
        self.variables.update(place)

    def play(self, prompt: Prompt) -> None:
        self._hear(prompt)

    def collect(self, prompt: Prompt, digits: Digits) -> str:
        said = self._hear(prompt)
        if digits.first_s < 0.1:
            return ""
        return self._press(said, digits.most).rstrip(digits.terminator)

    def record(self, prompt: Prompt, name: str, terms: Recording) -> Recorded | None:
        self._hear(prompt)
        self._press("record", 0)
        self.recorded.append(name)
        self.terms.append(terms)
        return Recorded(name, self.speaks_s) if self.speaks_s >= terms.least_s else None

    def variable(self, name: str) -> str | None:
        return self.variables.get(name)

    def hangup(self, cause: str = "NORMAL_CLEARING") -> None:
        self.hung_up = True

    def _hear(self, prompt: Prompt) -> str:
        words = [self._catalogue.text(phrase, prompt.language) for phrase in prompt.phrases]
        self.heard += words
        return " ".join(words)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a tree does not use {name}")


def keys(*pressed: str) -> Press:
    """A caller who presses these, one at each question, and then hangs up."""
    left: Iterator[str] = iter(pressed)

    def press(_heard: str, most: int) -> str:
        if not most:
            return ""
        answer = next(left, None)
        if answer is None:
            raise CallerGone
        return answer

    return press


class TreeHouse:
    """A tree, what it uses, and how a call through it went."""

    def __init__(self, tree: Tree, *, crm: str | None = None, seconds: float = 0.0) -> None:
        self.tree = tree
        self.answers = KeptAnswers()
        self.crm = FixedCrm(crm)
        self.clock = FixedClock(START)
        self.trees = TreeServices(
            self.answers,
            self.crm,
            NoHistory(),
            CATALOGUE,
            Lengths(seconds),
            self.clock,
            ZoneInfo("Asia/Tehran"),
        )
        self.speaks_s = 5.0
        self.outcome = ""
        self.why = ""

    def call(
        self,
        press: Press,
        *,
        money_s: float | Money = 1e9,
        variables: Mapping[str, str] | None = None,
        language: Any = "en",
    ) -> Listener:
        """Run a call; with `variables` one that another worker had before."""
        self.channel = channel = Listener(press)
        channel.speaks_s = self.speaks_s
        call = Call(channel, Journal(), language=language)  # type: ignore[arg-type]
        flow = TreeFlow(self.tree, self.trees, money_s)
        start = restore(flow, call, variables) if variables else None
        self.outcome = run(flow, call, start)
        self.why = str(flow.context.get("content_end", ""))
        self.events = [step.data for step in call.journal.steps if step.kind == "event"]
        return channel
