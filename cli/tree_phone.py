"""A telephone in the terminal for one tree: no switch, no database, no money."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import click

from billing.entities import Language
from billing.premium.answers import Kind
from callflows.call import AT_ONCE_S, Call, CallerGone, Channel, Digits, Prompt
from callflows.connection import Recorded, Recording
from callflows.flow import Flow, State, state
from callflows.journal import Journal
from callflows.runner import run
from callflows.trees.format import Tree
from callflows.trees.ports import Caller, TreeServices
from callflows.trees.runner import TreeStates

if TYPE_CHECKING:
    from cli.parts import Parts

HANG_UP = ("h", "H", "q", "hangup")
CALL_ID = "00000000-0000-4000-8000-000000000001"
# Words a second, about; to tell how long texts last that nobody has recorded yet.
_LETTERS_A_SECOND = 14.0

Left = tuple[str, Kind, dict[str, Any]]
"""What a caller has left: node, kind and content."""


class TreePhone:
    """Runs a tree with whoever sits at the terminal, or with prepared answers.

    ``left`` is what would have been kept.
    """

    def __init__(
        self,
        parts: Parts,
        tree: Tree,
        language: Language,
        *,
        keys: Sequence[str] | None,
        crm: str | None,
        money_s: int | None,
    ) -> None:
        self.left: list[Left] = []
        settings = parts.settings
        trees = TreeServices(
            answers=_Shown(self.left),
            crm=_FixedCrm(crm),
            histories=_NoHistory(),
            catalogue=parts.catalogue,
            library=parts.library,
            clock=parts.clock,
            zone=settings.zone,
            region=settings.region,
        )
        self._language = language
        self._channel = _Terminal(parts, keys)
        self._flow = _TreeFlow(tree, trees, money_s, lambda: self._channel.passed_s)

    def run(self) -> str:
        """Run the tree to its end; why it is over."""
        channel = cast(Channel, self._channel)
        call = Call(channel, Journal(), language=self._language, language_set=True)
        outcome = run(self._flow, call)
        if outcome == "caller_gone":
            return "hung up"
        return str(self._flow.context.get("content_end", outcome))


class _TreeFlow(TreeStates, Flow):
    """A tree and nothing else."""

    name = "tree"

    def __init__(
        self,
        tree: Tree,
        trees: TreeServices,
        money_s: int | None,
        passed_s: Callable[[], float],
    ) -> None:
        super().__init__()
        self.tree = tree
        self.trees = trees
        self._money_s = money_s
        self._passed_s = passed_s

    @state(initial=True)
    def begin(self, call: Call) -> State | None:
        return self.content

    def tree_caller(self, call: Call) -> Caller:
        return Caller(0, "draft", 0, 0, "draft", None, "")

    def remaining_s(self, call: Call, wanted_s: float = 0.0) -> float:
        if self._money_s is None:
            return super().remaining_s(call, wanted_s)
        return self._money_s - self._passed_s()

    def content_ended(self, call: Call) -> State | None:
        return None

    @state
    def consult(self, call: Call) -> State | None:
        click.secho("  [connected with a consultant, who hangs up]", dim=True)
        return self.content


class _Terminal:
    """As much of the `Channel` port as a tree uses: prints what is heard, reads what is pressed."""

    id = CALL_ID
    caller = ""
    dialled = ""

    def __init__(self, parts: Parts, keys: Sequence[str] | None) -> None:
        self.passed_s = 0.0
        self._catalogue = parts.catalogue
        self._library = parts.library
        self._keys = None if keys is None else list(keys)

    def keep(self, place: Mapping[str, str]) -> None:
        """Nobody takes this call over."""

    def play(self, prompt: Prompt) -> None:
        """Print it."""
        for phrase in prompt.phrases:
            language = phrase.language or prompt.language
            words = self._catalogue.text(phrase, language)
            click.echo(f"  {words}")
            ms = self._library.prompt_ms(self._catalogue.recordings(phrase, language))
            self.passed_s += max(ms / 1000, len(words) / _LETTERS_A_SECOND if not ms else 0)

    def collect(self, prompt: Prompt, digits: Digits) -> str:
        """Print it, and ask for keys unless nobody waits for any."""
        self.play(prompt)
        if digits.first_s <= AT_ONCE_S:
            return ""
        answer = self._answer()
        self.passed_s += 1.0 if answer else digits.first_s
        kept = answer[: digits.most]
        return kept.rstrip(digits.terminator) if digits.terminator else kept

    def record(self, prompt: Prompt, name: str, terms: Recording) -> Recorded | None:
        """Nothing is recorded; Enter is a message of three seconds, a key is none."""
        self.play(prompt)
        click.secho("  [beep: a message of three seconds]", dim=True)
        self.passed_s += 3.0
        return Recorded(name, 3.0)

    def variable(self, name: str) -> str | None:
        """There is no switch."""
        return None

    def hangup(self, cause: str = "NORMAL_CLEARING") -> None:
        """The end."""

    def _answer(self) -> str:
        if self._keys is not None:
            if not self._keys:
                raise CallerGone
            answer = self._keys.pop(0)
        else:
            click.echo("  keys> ", nl=False)
            sys.stdout.flush()
            line = sys.stdin.readline()
            if not line:
                raise CallerGone
            answer = line.strip()
        if answer in HANG_UP:
            raise CallerGone
        if self._keys is not None:
            click.secho(f"  > {answer or '(silence)'}", bold=True)
        return "".join(key for key in answer if key in "0123456789*#")


class _Shown:
    """An answer book that keeps nothing."""

    def __init__(self, left: list[Left]) -> None:
        self._left = left
        self._keys: list[str] = []

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
        """Remember it until the end of the call."""
        if key in self._keys:
            return False
        self._keys.append(key)
        self._left.append((node, kind, dict(answer)))
        return True

    def withdraw(self, key: str) -> None:
        """Forget it."""
        place = self._keys.index(key)
        del self._keys[place], self._left[place]


class _FixedCrm:
    """A CRM with one answer, or none."""

    def __init__(self, result: str | None) -> None:
        self._result = result

    def ask(
        self, url: str, provider: str, question: Mapping[str, Any], key: str, timeout_s: float
    ) -> str | None:
        """Say whom would be asked, and give the answer."""
        click.secho(f"  [asks {url}: {self._result or 'no answer'}]", dim=True)
        return self._result


class _NoHistory:
    """Nobody has called before."""

    def told(self, provider: int, line: int | None, caller: str) -> Mapping[str, Any]:
        """Nothing."""
        return {"calls": 0}
