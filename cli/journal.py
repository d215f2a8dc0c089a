"""`callflows journal`: what was heard and pressed in a call."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from billing.journal import Journal, Step
from billing.numbers import mask
from callflows.journal import phrase_of
from cli.main import settings_of
from cli.parts import Parts
from sounds import Catalogue


@click.command()
@click.argument("call_id", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--last", type=click.IntRange(1, 1000), default=20, help="How many calls to list.")
def command(call_id: str | None, as_json: bool, last: int) -> None:
    """List the last calls, or tell one call step by step: what was heard and what was pressed.

    \b
    Examples:
      callflows journal
      callflows journal cf43ed9d-f95a-4daa-93d2-14de65edab91
    """
    settings = settings_of()
    parts = Parts(settings)
    journal = Journal(parts.database)
    if call_id is None and as_json:
        headers = [
            {**asdict(header), "caller": _caller(header.caller)} for header in journal.recent(last)
        ]
        click.echo(json.dumps(headers, ensure_ascii=False, indent=2, default=str))
        return
    if call_id is None:
        for header in journal.recent(last):
            caller = _caller(header.caller)
            started = header.started_at.astimezone(settings.zone)
            click.echo(
                f"{header.call_id}  {started:%Y-%m-%d %H:%M:%S}  {caller}  "
                f"{header.language or '-'}  {header.outcome or 'in progress'}  "
                f"{' '.join(header.methods)}"
            )
        return
    call = journal.read(call_id)
    if call is None:
        raise click.ClickException(
            f"no journal of a call {call_id}; `callflows journal` lists the last calls"
        )
    steps = [told(step, parts.catalogue) for step in call.steps]
    if as_json:
        click.echo(json.dumps(steps, ensure_ascii=False, indent=2))
        return
    for step in steps:
        what = step.get("text") or step.get("pressed") or step.get("event", "")
        verb = "heard  " if "text" in step else "pressed" if "pressed" in step else "event  "
        click.echo(f"{step['at']:8.1f} s  {step['state']:<16} {verb} {what}")


def _caller(number: str | None) -> str:
    """The masked number; one word for a caller who has none, whatever the network said instead."""
    shown = mask(number)
    return "anonymous" if shown in ("-", "***") else shown


def told(step: Step, catalogue: Catalogue) -> dict[str, Any]:
    """One step in words: the sentence is made from the catalogue now."""
    told: dict[str, Any] = {"at": step.at_ms / 1000, "state": step.state}
    if step.kind == "heard":
        phrases = step.data["phrases"]
        told["phrases"] = [key for key, _, _ in phrases]
        told["text"] = " ".join(
            catalogue.text(phrase_of(key, language, slots), language)
            for key, language, slots in phrases
        )
    elif step.kind == "pressed":
        told["pressed"] = step.data["keys"]
    else:
        told.update(step.data)
    return told
