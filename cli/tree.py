"""`callflows tree`: menu trees before they are published: checked, drawn, tried."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from billing.entities import LANGUAGES, Language
from billing.errors import BillingError
from callflows.trees.draw import draw as drawing
from callflows.trees.format import Tree
from callflows.trees.validate import parse_tree
from callflows.trees.yaml_file import read_yaml
from cli.main import settings_of
from cli.parts import Parts

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
LANGUAGE = click.option(
    "--language", type=click.Choice(LANGUAGES), help="Default: the file's first one."
)


@click.group("tree")
def command() -> None:
    """Menu trees of services: check, draw, try.

    FILE is a service's file, or holds a tree alone (start and nodes).

    \b
    Examples:
      callflows tree draw conf/sample/premium/hafez.yaml -o hafez.svg --language en
      callflows tree try conf/sample/premium/hafez.yaml --language en
    """


def read_tree(path: Path) -> Tree:
    """The tree in a file. Raises ClickException naming file, node and field."""
    try:
        content = read_yaml(path)
        inner: Any = content.get("content")
        if "nodes" in content:
            languages = content.pop("languages", list(LANGUAGES))
            return parse_tree(content, _languages(languages))
        if not isinstance(inner, dict) or "tree" not in inner:
            raise click.ClickException(f"{path}: there is no tree in it")
        languages = content.get("languages", list(LANGUAGES))
        return parse_tree(inner["tree"], _languages(languages), consultants="consultants" in inner)
    except BillingError as error:
        lines = "\n".join(f"{path}: {line}" for line in str(error).splitlines())
        raise click.ClickException(f"the tree cannot be used\n{lines}") from error


def _languages(found: Any) -> list[str]:
    known = [each for each in LANGUAGES if isinstance(found, list) and each in found]
    if not known or len(known) != len(found):
        raise click.ClickException(f"languages: a list of {', '.join(LANGUAGES)}")
    return [str(each) for each in found]


@command.command("check")
@click.argument("file", type=FILE)
def check(file: Path) -> None:
    """Check the tree in FILE: every fault is named, with node and field."""
    tree = read_tree(file)
    recordings = sum(1 for _ in tree.recordings())
    click.echo(f"{file}: whole; {len(tree.nodes)} nodes, {recordings} recordings")


@command.command("draw")
@click.argument("file", type=FILE)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File; default: the screen.",
)
@LANGUAGE
def draw(file: Path, output: Path | None, language: str | None) -> None:
    """Draw the tree in FILE as a picture (SVG); dashed ways are those nobody presses a key for."""
    tree = read_tree(file)
    try:
        picture = drawing(tree, language or tree.languages[0])
    except ValueError as error:
        raise click.ClickException(f"{file}: {error}") from error
    if output is None:
        click.echo(picture, nl=False)
        return
    output.write_text(picture, encoding="utf-8")
    click.echo(f"written: {output}", err=True)


@command.command("try")
@click.argument("file", type=FILE)
@LANGUAGE
@click.option(
    "--keys",
    help="Answers, one a question, with commas between; without them you are asked.",
)
@click.option("--crm", help="What the provider's CRM answers; default: it cannot be reached.")
@click.option(
    "--money", type=click.IntRange(min=1), help="Seconds that the credit lasts; default: for ever."
)
def try_out(
    file: Path, language: Language | None, keys: str | None, crm: str | None, money: int | None
) -> None:
    """Try the tree in FILE in this terminal: read what callers hear, press keys.

    Nothing is recorded, charged or asked of a CRM. At a question, type keys and Enter; Enter alone
    is silence, h hangs up.
    """
    from cli.tree_phone import TreePhone

    tree = read_tree(file)
    if language is not None and language not in tree.languages:
        raise click.ClickException(f"{file}: the tree has no {language}")
    phone = TreePhone(
        Parts(settings_of()),
        tree,
        language or tree.languages[0],  # type: ignore[arg-type]
        keys=None if keys is None else keys.split(","),
        crm=crm,
        money_s=money,
    )
    outcome = phone.run()
    click.echo(f"over: {outcome}")
    for node, kind, answer in phone.left:
        said = ", ".join(f"{name}: {value}" for name, value in answer.items())
        click.echo(f"would be kept: {kind} of {node}: {said}")
    sys.exit(0 if outcome in ("end", "hung up", "no_time", "gave_up") else 1)
